//! How services of this kind let people in who met no rule: health checks, errors, preflights, defaults. T-E1, T-E4 and T-E6 are about
//! sessions, introspection and pages, which are not there yet; T-E3 stands in `server::decisions::tests` and here, T-E9 also in `keys`
//! and `tls`, T-E10 in `threats_e10`.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpListener;

use super::probe::{BOTH, BY_THE_PARSER, DIALECTS, Dialect, Probe, STEPS, together};
use crate::support::gate::{Config, Gate, KEY, claims, token};
use crate::support::raw;

/// Everything on the host is for people who are known, and half of it for admins.
const CLOSED: &str = "\
rules:
  - {id: all, hosts: [shop.localhost], paths: ['/**'], allow: authenticated}
  - {id: admin, hosts: [shop.localhost], paths: ['/admin/**'], allow: {roles: {any: [admin]}}}
";

/// What health checks, monitors and robots call themselves.
const MONITORS: [&str; 32] = [
    "GoogleHC/1.0",
    "GoogleStackdriverMonitoring-UptimeChecks(https://cloud.google.com/monitoring)",
    "kube-probe/1.34",
    "kube-probe/",
    "ELB-HealthChecker/2.0",
    "Amazon-Route53-Health-Check-Service (ref 1)",
    "Amazon CloudFront",
    "Edge Health Probe",
    "Load Balancer Agent",
    "AlwaysOn",
    "HealthCheck/1.0",
    "Azure Traffic Manager Endpoint Monitor",
    "Consul Health Check",
    "Envoy/HC",
    "HAProxy/2.8",
    "Traefik",
    "Prometheus/3.5.0",
    "Blackbox Exporter/0.27.0",
    "Datadog Agent/7.70.0",
    "NewRelicPinger/1.0",
    "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
    "UptimeRobot/2.0",
    "Better Uptime Bot",
    "StatusCake_Pagespeed_Indev",
    "Site24x7",
    "check_http/v2.4 (monitoring-plugins)",
    "Zabbix",
    "Uptime-Kuma/2.0",
    "Googlebot/2.1 (+http://www.google.com/bot.html)",
    "curl/8.16.0",
    "portcullis/0.1.0",
    "",
];

/// Where such services answer probes, operators and themselves.
const OPERATORS: [&str; 30] = [
    "/ping",
    "/health",
    "/healthz",
    "/health/live",
    "/livez",
    "/live",
    "/ready",
    "/readyz",
    "/-/healthy",
    "/-/ready",
    "/status",
    "/metrics",
    "/fail",
    "/oauth2/ping",
    "/oauth2/ready",
    "/oauth2/auth",
    "/oauth2/static/x",
    "/outpost.goauthentik.io/ping",
    "/outpost.goauthentik.io/auth",
    "/api/verify",
    "/api/authz/forward-auth",
    "/decisions/x",
    "/actuator/health",
    "/debug/pprof/",
    "/server-status",
    "/robots.txt",
    "/favicon.ico",
    "/.well-known/jwks.json",
    "/admin",
    "/",
];

#[tokio::test]
async fn t_e2_nobody_is_let_in_for_what_he_calls_himself() {
    let gate = &Gate::start(&Config::with_policy(CLOSED));
    together(MONITORS.iter().flat_map(|agent| DIALECTS.map(|dialect| (agent, dialect))).map(
        async |(agent, dialect)| {
            for name in ["User-Agent", "X-Health-Check", "X-Probe", "Purpose", "X-Forwarded-User-Agent"] {
                let probe = || Probe::new(dialect).header(name, agent);
                probe().ask(gate).await.expect(401, "no_credential");
                probe().uri("/healthz").ask(gate).await.expect(401, "no_credential");
                probe().method("HEAD").uri("/").ask(gate).await.expect(401, "no_credential");
                probe().uri("/admin").bearer(&token("alice", &["user"])).ask(gate).await.expect(403, "missing_role");
                probe().bearer("x").ask(gate).await.expect(401, "malformed_token");
            }
        },
    ))
    .await;
}

#[tokio::test]
async fn t_e2_the_decision_listener_has_no_other_endpoints() {
    let gate = &Gate::start(&Config::with_policy(CLOSED));
    together(OPERATORS.iter().map(async |path| {
        for agent in ["GoogleHC/1.0", "kube-probe/1.34", "Mozilla/5.0"] {
            for method in ["GET", "HEAD", "POST", "OPTIONS"] {
                gate.send(method, path, &[("User-Agent", agent)]).await.expect(404, "unknown_endpoint");
            }
            // As a client's path it is a path like any other.
            for dialect in DIALECTS {
                let probe = Probe::new(dialect).uri(path).header("User-Agent", agent);
                probe.ask(gate).await.expect(401, "no_credential");
            }
        }
    }))
    .await;
}

/// An issuer that takes the connection and says nothing: there is no wait at all, and no permission.
#[tokio::test]
async fn t_e3_an_issuer_that_hangs_costs_no_time_and_lets_nobody_in() {
    let issuer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("http://{}/jwks", issuer.local_addr().expect("an address"));
    let hanging = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = issuer.accept().await {
            taken.push(stream);
        }
    });
    let keys = format!("jwks_url: \"{url}\"\n    danger_allow_http_issuer: true");
    let gate = Gate::start(&Config::shop().edit("jwks_file: jwks.json", &keys));
    let user = token("alice", &["user", "admin"]);
    for dialect in BOTH {
        for step in STEPS {
            let started = Instant::now();
            let answer = Probe::new(dialect).step(step).bearer(&user).ask(&gate).await;
            answer.expect(503, "keys_unavailable");
            assert!(answer.audit["us"].as_u64().is_some_and(|us| us < 400_000), "{answer:#?}");
            assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        }
    }
    let together = Instant::now();
    let many = (0..50).map(|_| async { Probe::traefik().bearer(&user).ask(&gate).await });
    for answer in futures_util::future::join_all(many).await {
        answer.expect(503, "keys_unavailable");
    }
    assert!(together.elapsed() < Duration::from_secs(5), "{:?}", together.elapsed());
    hanging.abort();
}

/// Bytes that are no UTF-8, and some that are no ASCII.
const BYTES: [&[u8]; 9] = [
    b"\xff",
    b"\x80",
    b"\xe9",
    b"\xc3\x28",
    b"\xe2\x82",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf5\x80\x80\x80",
    b"\xc3\xa9",
];

/// `good` with `odd` before, in and behind it, and `odd` alone.
fn spoilt(good: &[u8], odd: &[u8]) -> [Vec<u8>; 4] {
    let (front, back) = good.split_at(good.len() / 2);
    [[odd, good].concat(), [front, odd, back].concat(), [good, odd].concat(), odd.to_vec()]
}

#[tokio::test]
async fn t_e5_bytes_that_are_no_text_are_no_error_and_no_permission() {
    let gate = &Gate::start(&Config::with_policy(CLOSED));
    let user = token("alice", &["user"]);
    let bearer = format!("Bearer {user}");
    let cookie = format!("jwt={user}");
    let read = |dialect| match dialect {
        Dialect::Envoy => vec![("Host", raw::HOST)],
        Dialect::Traefik | Dialect::Nginx | Dialect::Caddy => {
            vec![("X-Forwarded-Host", raw::HOST), ("X-Forwarded-Uri", "/products"), ("X-Forwarded-Method", "GET")]
        }
    };
    together(DIALECTS.iter().flat_map(|dialect| BYTES.map(|odd| (*dialect, odd))).map(async |(dialect, odd)| {
        // What a decision rests on.
        let mut facts = read(dialect);
        facts.push(("X-Forwarded-For", "203.0.113.7"));
        for (name, good) in facts {
            for value in spoilt(good.as_bytes(), odd) {
                let answer = Probe::new(dialect).bearer(&user).instead(name, &value).ask(gate).await;
                let real = answer
                    .header("x-portcullis-status")
                    .map_or(answer.status(), |status| status.parse().expect("a status"));
                assert_eq!(real, 400, "{name}: {}: {answer:#?}", value.escape_ascii());
            }
        }
        for value in spoilt(b"/products", odd) {
            let answer = Probe::new(dialect).bearer(&user).header("X-Original-URL", &value).ask(gate).await;
            assert_eq!(answer.reason(), "conflicting_uri", "{answer:#?}");
        }
        for value in spoilt(bearer.as_bytes(), odd) {
            let answer = Probe::new(dialect).header("Authorization", &value).ask(gate).await;
            assert_eq!(answer.status(), 401, "{}: {answer:#?}", value.escape_ascii());
        }
        for value in spoilt(cookie.as_bytes(), odd) {
            let answer = Probe::new(dialect).header("Cookie", &value).ask(gate).await;
            assert_eq!(answer.status(), 401, "{}: {answer:#?}", value.escape_ascii());
        }
        // The method and the target of the check request itself.
        for value in spoilt(b"GET", odd) {
            let bytes = [
                &value[..],
                b" /envoy/validate/products HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n",
            ]
            .concat();
            gate.exchange(&bytes).await.expect(400, BY_THE_PARSER);
        }
        for value in spoilt(b"/envoy/validate/products", odd) {
            let bytes =
                [b"GET ", &value[..], b" HTTP/1.1\r\nHost: shop.localhost\r\nConnection: close\r\n\r\n"].concat();
            gate.exchange(&bytes).await.expect(400, BY_THE_PARSER);
        }
        // What nothing rests on: the answer is what it is without, in both directions.
        for name in [
            "User-Agent",
            "Referer",
            "Accept",
            "X-Note",
            "X-User-ID",
            "Forwarded",
            "Via",
            "X-Real-Ip",
            "Origin",
            "Traceparent",
            "X-Envoy-Original-Path",
            "X_Forwarded_Uri",
            "X-Forwarded-Prefix",
            "Content-Type",
            "X-Forwarded-Proto",
            "X-Request-ID",
        ] {
            let probe = || Probe::new(dialect).without("X-Forwarded-Proto").header(name, odd);
            let allowed = probe().bearer(&user).ask(gate).await;
            allowed.expect(200, "allowed");
            assert_eq!(allowed.header("x-user-id"), Some("alice"));
            probe().ask(gate).await.expect(401, "no_credential");
            probe().uri("/admin").bearer(&user).ask(gate).await.expect(403, "missing_role");
        }
        let beside = [b"other=", odd, b"; ", cookie.as_bytes(), b"; ", odd, b"=x"].concat();
        Probe::new(dialect).header("Cookie", beside).ask(gate).await.expect(200, "allowed");
    }))
    .await;
    // Header names are the parser's matter.
    for odd in BYTES {
        let bytes =
            [&b"GET /validate HTTP/1.1\r\nHost: x\r\nX-"[..], odd, b": y\r\nConnection: close\r\n\r\n"].concat();
        gate.exchange(&bytes).await.expect(400, BY_THE_PARSER);
    }
    assert_eq!(gate.admin_get("/ready").await.status, 200);
}

#[test]
fn t_e5_the_shipped_envoy_refuses_when_the_gate_fails() {
    let envoy = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy/envoy.yaml")).expect("a file");
    let code: Vec<&str> = envoy.lines().map(|line| line.split(" #").next().unwrap_or_default().trim()).collect();
    let code: Vec<&str> = code.into_iter().filter(|line| !line.starts_with('#')).collect();
    let filters = code
        .iter()
        .filter(|line| {
            line.contains("filters.http.ext_authz.v3.ExtAuthz\"")
                || line.ends_with("filters.http.ext_authz.v3.ExtAuthz")
        })
        .count();
    let closed = code.iter().filter(|line| line.contains("failure_mode_allow: false")).count();
    assert!(filters > 0 && closed == filters, "{filters} filters, {closed} of them closed");
    for open in [
        "failure_mode_allow: true",
        "failure_mode_allow_header_add",
        "bypass_cors_preflight: true",
        "default_value: false",
    ] {
        assert!(!code.iter().any(|line| line.contains(open)), "{open}");
    }
}

#[tokio::test]
async fn t_e7_a_preflight_is_what_the_policy_says_it_is() {
    const POLICY: &str = "\
rules:
  - {id: plain, hosts: [shop.localhost], paths: ['/plain/**'], allow: authenticated}
  - {id: cors, hosts: [shop.localhost], paths: ['/cors/**'], allow: authenticated}
  - {id: cors-preflight, hosts: [shop.localhost], paths: ['/cors/**'], methods: [OPTIONS], allow: anonymous}
  - {id: cors-admin, hosts: [shop.localhost], paths: ['/cors/admin'], allow: {roles: {any: [admin]}}}
";
    let gate = &Gate::start(&Config::with_policy(POLICY));
    let user = token("alice", &["user"]);
    // With everything that makes a preflight, with half of it, with nothing: it is only the method that counts.
    let preflights: [&[(&str, &str)]; 5] = [
        &[],
        &[("Origin", "https://app.example")],
        &[("Access-Control-Request-Method", "DELETE")],
        &[("Origin", "https://app.example"), ("Access-Control-Request-Method", "DELETE")],
        &[
            ("Origin", "null"),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "authorization"),
            ("Sec-Fetch-Mode", "cors"),
        ],
    ];
    for dialect in DIALECTS {
        for headers in preflights {
            let probe = |method: &str, uri: &str| {
                let probe = Probe::new(dialect).method(method).uri(uri);
                headers.iter().fold(probe, |probe, (name, value)| probe.header(name, value))
            };
            // A rule that does not name OPTIONS has no say in it, not even for those whom it would let in.
            probe("OPTIONS", "/plain/x").ask(gate).await.expect(403, "no_rule");
            probe("OPTIONS", "/plain/x").bearer(&user).ask(gate).await.expect(403, "no_rule");
            probe("TRACE", "/plain/x").bearer(&user).ask(gate).await.expect(403, "no_rule");
            probe("GET", "/plain/x").ask(gate).await.expect(401, "no_credential");
            probe("OPTIONS", "/cors/x").ask(gate).await.expect(200, "allowed");
            // It opens nothing else.
            probe("OPTIONS", "/cors/admin").ask(gate).await.expect(403, "no_rule");
            for method in ["GET", "DELETE", "OPTION", "OPTIONSX", "POST"] {
                probe(method, "/cors/x").ask(gate).await.expect(401, "no_credential");
            }
            for method in ["options", "Options"] {
                let answer = probe(method, "/cors/x").ask(gate).await;
                assert_eq!(answer.reason(), "malformed_method", "{answer:#?}");
            }
            for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Original-Method"] {
                probe("GET", "/cors/x").header(name, "OPTIONS").ask(gate).await.expect(401, "no_credential");
            }
        }
    }
    // The other dialect's source of the method is none.
    let own = |method: &str, headers: &str| {
        format!(
            "{method} /validate HTTP/1.1\r\nHost: gate\r\nX-Forwarded-Host: shop.localhost\r\nX-Forwarded-Uri: /cors/x\r\n\
             X-Forwarded-For: 203.0.113.7\r\n{headers}Connection: close\r\n\r\n"
        )
    };
    gate.exchange(own("OPTIONS", "X-Forwarded-Method: GET\r\n").as_bytes()).await.expect(401, "no_credential");
    gate.exchange(own("OPTIONS", "").as_bytes()).await.expect(400, "missing_forwarded");
    let both = "X-Forwarded-Method: GET\r\nX-Forwarded-Method: OPTIONS\r\n";
    gate.exchange(own("GET", both).as_bytes()).await.expect(400, "doubled_forwarded");
    gate.exchange(own("GET", "X-Forwarded-Method: GET, OPTIONS\r\n").as_bytes()).await.expect(400, "malformed_method");
    Probe::envoy().uri("/cors/x").header("X-Forwarded-Method", "OPTIONS").ask(gate).await.expect(401, "no_credential");
    // And from whom is no proxy of ours, nothing is.
    let trusted = "trusted_proxies: [127.0.0.0/8, \"::1/128\"]";
    let config = Config::with_policy(POLICY).edit(trusted, "trusted_proxies: [127.0.0.5/32]");
    let gate = Gate::start(&config);
    for dialect in DIALECTS {
        let bytes = Probe::new(dialect).method("OPTIONS").uri("/cors/x").bytes();
        gate.exchange_from([127, 0, 0, 6], &bytes).await.expect(403, "untrusted_peer");
        gate.exchange_from([127, 0, 0, 5], &bytes).await.expect(200, "allowed");
    }
}

#[tokio::test]
async fn t_e8_what_no_rule_names_is_refused_to_everybody() {
    const POLICY: &str = "\
rules:
  - {id: exact, hosts: [shop.localhost], paths: [/exact], methods: [GET], allow: anonymous}
  - {id: one, hosts: [shop.localhost], paths: ['/one/{id}'], allow: anonymous}
  - {id: below, hosts: ['*.shop.localhost'], paths: ['/**'], allow: anonymous}
  - {id: open, hosts: [open.localhost], paths: ['/**'], allow: anonymous}
  - {id: rest, hosts: ['*'], paths: [/rest], allow: anonymous}
";
    let gate = &Gate::start(&Config::with_policy(POLICY));
    let everything =
        KEY.token(&claims(json!({"roles": ["admin", "root", "*"], "scope": "* admin openid", "admin": true})));
    for dialect in DIALECTS {
        for (host, method, path) in [
            ("shop.localhost", "GET", "/exact"),
            ("shop.localhost", "HEAD", "/exact/"),
            ("shop.localhost", "DELETE", "/one/7"),
            ("a.b.shop.localhost", "PURGE", "/x/y/z"),
            ("OPEN.localhost:8443", "GET", "/"),
            ("unknown.example", "GET", "/rest"),
        ] {
            Probe::new(dialect).host(host).method(method).uri(path).ask(gate).await.expect(200, "allowed");
        }
        for (host, method, path) in [
            ("shop.localhost", "GET", "/"),
            ("shop.localhost", "GET", "/exactly"),
            ("shop.localhost", "GET", "/exact/x"),
            ("shop.localhost", "GET", "/Exact"),
            ("shop.localhost", "POST", "/exact"),
            ("shop.localhost", "OPTIONS", "/exact"),
            ("shop.localhost", "GETS", "/exact"),
            ("shop.localhost", "GET", "/one"),
            ("shop.localhost", "GET", "/one/7/8"),
            ("shop.localhost", "OPTIONS", "/one/7"),
            ("shop.localhost", "TRACE", "/one/7"),
            // A host that is named has its own rules only.
            ("shop.localhost", "GET", "/rest"),
            ("open.localhost", "OPTIONS", "/rest"),
            ("a.shop.localhost", "TRACE", "/rest"),
            ("shop.localhost.evil.example", "GET", "/exact"),
            ("evilshop.localhost", "GET", "/x"),
            ("localhost", "GET", "/exact"),
            ("127.0.0.1", "GET", "/exact"),
            ("[::1]", "GET", "/exact"),
            ("unknown.example", "GET", "/"),
            ("unknown.example", "GET", "/rest/x"),
        ] {
            let probe = || Probe::new(dialect).host(host).method(method).uri(path);
            for step in STEPS {
                probe().step(step).ask(gate).await.expect(403, "no_rule");
                probe().step(step).bearer(&everything).ask(gate).await.expect(403, "no_rule");
                probe().step(step).cookie(&everything).ask(gate).await.expect(403, "no_rule");
            }
        }
    }
}

/// What cannot be resolved is no gate with a hole: it is no gate. The same mistakes with their words are in `tests/configs`.
#[test]
fn t_e9_what_cannot_be_resolved_refuses_to_start() {
    let shop = Config::shop;
    let keys = |source: &str| shop().edit("jwks_file: jwks.json", source);
    let tls = |files: &str| shop().edit("  admin:\n", &format!("  admin:\n    tls: {files}\n"));
    let jwks = |text: &str| shop().file("jwks.json", text);
    let mut half = json!({"keys": [KEY.jwk()]}).to_string();
    half.truncate(half.len() - 5);
    let cases = [
        ("no policy", shop().edit("policy: policy.yaml", "policy: gone.yaml")),
        ("an empty policy", Config::with_policy("")),
        ("half a policy", Config::with_policy("rules:\n  - {id: x, hosts: [a], paths: ['/**'], allow")),
        ("a policy without rules", Config::with_policy("rules: []")),
        ("no key file", keys("jwks_file: gone.json")),
        ("an empty key file", jwks("")),
        ("half a key file", jwks(&half)),
        ("no usable key", jwks("{\"keys\": [{\"kty\": \"oct\", \"k\": \"AAAA\"}]}")),
        ("no PEM file", keys("pem_file: gone.pem")),
        ("a broken PEM file", keys("pem_file: it.pem").file("it.pem", "-----BEGIN PUBLIC KEY-----\nAAAA\n")),
        ("no secret file", keys("hmac_secret_file: gone.secret")),
        ("an empty secret file", keys("hmac_secret_file: it.secret").file("it.secret", "\n")),
        ("no secret in the environment", keys("hmac_secret_env: SURELY_NOT_SET_ANYWHERE")),
        ("an empty secret in the environment", keys("hmac_secret_env: EMPTY_ONE").env("EMPTY_ONE", "")),
        ("no authority", keys("jwks_url: \"https://id.example/jwks\"\n      ca_file: gone.pem")),
        ("an empty authority", keys("jwks_url: \"https://id.example/jwks\"\n      ca_file: it.pem").file("it.pem", "")),
        ("no certificate", tls("{certificate_file: gone.crt, key_file: gone.key}")),
        ("a broken certificate", tls("{certificate_file: it.pem, key_file: it.pem}").file("it.pem", "x")),
        ("an empty section of TLS", tls("")),
        ("an empty list of proxies", shop().edit("[127.0.0.0/8, \"::1/128\"]", "[]")),
        (
            "an audit file that cannot be",
            shop().edit("\nshutdown:", "\naudit: {to: file, file: gone/x.log}\nshutdown:"),
        ),
    ];
    for (what, config) in cases {
        for (code, text) in [config.check(), config.serve_fails()] {
            assert_eq!(code, 64, "{what}: {text}");
            assert!(!text.contains("listening"), "{what}: {text}");
        }
    }
}

/// Files are read at the start; losing them later takes nothing away and gives nothing.
#[tokio::test]
async fn t_e9_files_that_break_while_it_runs_change_nothing() {
    let gate = Gate::shop();
    let (user, stranger) = (token("alice", &["user"]), crate::support::signer::Signer::new("test", "EdDSA"));
    let forged = stranger.token(&claims(json!({})));
    for spoil in [
        None,
        Some(""),
        Some("rules: [{id: x, hosts: ['*'], paths: ['/**'], allow: anonymous}]"),
        Some("{\"keys\": []}"),
    ] {
        for name in ["policy.yaml", "jwks.json", "portcullis.yaml"] {
            let path = gate.folder().join(name);
            spoil.map_or_else(|| fs::remove_file(&path), |text| fs::write(&path, text)).expect("the folder is ours");
        }
        for dialect in DIALECTS {
            Probe::new(dialect).bearer(&user).ask(&gate).await.expect(200, "allowed");
            Probe::new(dialect).ask(&gate).await.expect(401, "no_credential");
            Probe::new(dialect).bearer(&forged).ask(&gate).await.expect(401, "bad_signature");
            Probe::new(dialect).uri("/products/admin").bearer(&user).ask(&gate).await.expect(403, "missing_role");
            Probe::new(dialect).uri("/nowhere").bearer(&user).ask(&gate).await.expect(403, "no_rule");
        }
    }
}

/// A configuration with this text in a list.
type With<'a> = &'a dyn Fn(&str) -> Config;

/// Every list that lets somebody or something in. An empty text in one is what is left of a variable that was not set.
#[test]
fn t_e11_an_empty_text_in_a_list_that_allows_is_refused() {
    let allow = |demand: &str| {
        Config::with_policy(&format!("rules: [{{id: r, hosts: [shop.localhost], paths: [/x], allow: {{{demand}}}}}]"))
    };
    let rule = |hosts: &str, paths: &str, more: &str| {
        let rule = format!("{{id: r, hosts: [{hosts}], paths: [{paths}], allow: authenticated{more}}}");
        Config::with_policy(&format!("rules: [{rule}]"))
    };
    let issuer = |line: &str| Config::shop().edit("audiences: [shop]", line);
    // Each with a good text, which must pass, so that it is the empty one that is refused.
    let lists: [(&str, With<'_>, &str); 18] = [
        ("roles.any", &|text| allow(&format!("roles: {{any: [admin, {text}]}}")), "x"),
        ("roles.all", &|text| allow(&format!("roles: {{all: [{text}]}}")), "x"),
        ("scopes.any", &|text| allow(&format!("scopes: {{any: [{text}]}}")), "x"),
        ("scopes.all", &|text| allow(&format!("scopes: {{all: [read, {text}]}}")), "x"),
        ("claims.equals", &|text| allow(&format!("claims: [{{claim: tenant, equals: {text}}}]")), "x"),
        ("claims.in", &|text| allow(&format!("claims: [{{claim: tenant, in: [acme, {text}]}}]")), "x"),
        ("claims.contains", &|text| allow(&format!("claims: [{{claim: groups, contains: {text}}}]")), "x"),
        ("claims.claim", &|text| allow(&format!("claims: [{{claim: {text}, equals: x}}]")), "x"),
        ("claims.claim as a list", &|text| allow(&format!("claims: [{{claim: [a, {text}], equals: x}}]")), "x"),
        ("hosts", &|text| rule(&format!("shop.localhost, {text}"), "/x", ""), "x"),
        ("paths", &|text| rule("shop.localhost", &format!("/x, {text}"), ""), "/y"),
        ("methods", &|text| rule("shop.localhost", "/x", &format!(", methods: [GET, {text}]")), "PUT"),
        ("credentials", &|text| rule("shop.localhost", "/x", &format!(", credentials: [bearer, {text}]")), "cookie"),
        ("audiences", &|text| issuer(&format!("audiences: [shop, {text}]")), "x"),
        ("types", &|text| issuer(&format!("audiences: [shop]\n    types: [JWT, {text}]")), "x"),
        ("algorithms", &|text| issuer(&format!("audiences: [shop]\n    algorithms: [EdDSA, {text}]")), "ES256"),
        (
            "trusted_proxies",
            &|text| Config::shop().edit("127.0.0.0/8, \"::1/128\"", &format!("127.0.0.0/8, {text}")),
            "10.0.0.1",
        ),
        (
            "cookie_name",
            &|text| Config::shop().edit("\nshutdown:", &format!("\ncredentials: {{cookie_name: {text}}}\nshutdown:")),
            "x",
        ),
    ];
    for (name, config, good) in lists {
        assert_eq!(config(good).check().0, 0, "{name}: {}", config(good).check().1);
        for empty in ["\"\"", "''", "\" \"", "\"\\t\"", "\"\\u00a0\"", "null", "~"] {
            let (code, text) = config(empty).check();
            assert_eq!(code, 64, "{name} {empty}: {text}");
            assert_eq!(config(empty).serve_fails(), (code, text), "{name} {empty}");
        }
    }
    // From the environment, where such texts come from.
    for (name, values) in [
        ("PORTCULLIS__ISSUERS__0__AUDIENCES", &["", ",", "shop,", ",shop", "shop,,other", " "][..]),
        ("PORTCULLIS__ISSUERS__0__AUDIENCES__0", &["", " "]),
        ("PORTCULLIS__ISSUERS__0__ISSUER", &["", " "]),
        ("PORTCULLIS__ISSUERS__0__TYPES", &["", ",", "JWT,"]),
        ("PORTCULLIS__ISSUERS__0__ALGORITHMS", &["", ",", "EdDSA,"]),
        ("PORTCULLIS__LISTENERS__DECISIONS__TRUSTED_PROXIES", &["", ",", "127.0.0.1,"]),
        ("PORTCULLIS__CREDENTIALS__COOKIE_NAME", &["", " "]),
        ("PORTCULLIS__POLICY", &["", " "]),
    ] {
        for value in values {
            let (code, text) = Config::shop().env(name, value).check();
            assert_eq!(code, 64, "{name}={value:?}: {text}");
        }
    }
}
