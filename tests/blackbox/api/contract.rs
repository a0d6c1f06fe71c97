//! What the service must do to be right behind every proxy, one test for each rule of the contract. C4 is about gRPC.

use std::collections::{BTreeSet, HashSet};

use serde_json::json;

use super::probe::{BOTH, BY_THE_PARSER, Dialect, Kept, Probe, STEPS, Step, absent, counted, said, together};
use crate::support::gate::{Config, Gate, KEY, claims, token};
use crate::support::raw;

/// The shop with two more identity headers and a preflight rule.
fn shop_with_more_headers() -> Config {
    let config = Config::shop();
    let policy = format!(
        "identity_headers:\n  extra:\n    - {{header: X-User-Mail, claim: email}}\n    - {{header: X-Tenant, claim: org.tenant}}\n{}
  - {{id: preflight, hosts: [shop.localhost], paths: [/orders], methods: [OPTIONS], allow: anonymous}}\n",
        config.policy
    );
    Config { policy, ..config }
}

const NAMES: [&str; 5] = ["x-user-id", "x-user-role", "x-user-tier", "x-user-mail", "x-tenant"];

#[tokio::test]
async fn c1_an_allow_is_200_exactly_and_empty() {
    let gate = Gate::start(&shop_with_more_headers());
    let user = token("alice", &["user"]);
    let mut cases = Vec::new();
    for (dialect, step) in BOTH.iter().flat_map(|dialect| STEPS.map(|step| (*dialect, step))) {
        let probe = Probe::new(dialect).step(step);
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND", "M-SEARCH"] {
            cases.push(probe.clone().method(method).uri("/orders/7?a=b").bearer(&user));
            cases.push(probe.clone().method(method).uri("/health"));
        }
        cases.push(probe.method("OPTIONS").uri("/orders"));
    }
    together(cases.iter().map(async |probe| {
        let answer = probe.ask(&gate).await;
        answer.expect(200, "allowed");
        assert!(answer.response.body.is_empty(), "{answer:?}");
    }))
    .await;
}

#[tokio::test]
async fn c2_an_allow_speaks_of_every_identity_header_once() {
    let gate = Gate::start(&shop_with_more_headers());
    let full = json!({"roles": ["user", "admin"], "tier": "pro", "email": "a@b", "org": {"tenant": "acme"}});
    let principals = [
        (full, Some(["alice", "user,admin", "pro", "a@b", "acme"].map(Some))),
        (json!({}), Some([Some("alice"), Some("user"), Some("free"), None, None])),
        (json!({"roles": null}), Some([Some("alice"), None, Some("free"), None, None])),
        (json!({"roles": [], "tier": ""}), Some([Some("alice"), None, Some("free"), None, None])),
        (json!({"roles": [""], "email": ["a", "b"]}), Some([Some("alice"), None, Some("free"), Some("a,b"), None])),
        (json!({"tier": 3, "email": {"a": 1}, "org": "x"}), Some([Some("alice"), Some("user"), Some("3"), None, None])),
        (json!({}), None),
    ];
    for (dialect, step) in BOTH.iter().flat_map(|dialect| STEPS.map(|step| (*dialect, step))) {
        together(principals.iter().map(async |(changes, wanted)| {
            let probe = Probe::new(dialect).step(step);
            let probe = match wanted {
                Some(_) => probe.uri("/products/7").bearer(&KEY.token(&claims(changes.clone()))),
                None => probe.uri("/health"),
            };
            // What the client claims about itself changes nothing.
            let spoofed = NAMES.iter().fold(probe.clone(), |probe, name| probe.header(name, "root"));
            for probe in [probe, spoofed] {
                let answer = probe.ask(&gate).await;
                answer.expect(200, "allowed");
                for (place, name) in NAMES.iter().enumerate() {
                    let value = wanted.and_then(|values| values[place]);
                    // After authentication alone only the user is known.
                    let value = value.filter(|_| step != Step::Authn || place == 0);
                    assert_eq!(said(&answer, name), value.or(absent(dialect)), "{name} {answer:#?}");
                }
                let mut seen = HashSet::new();
                for (name, _) in &answer.response.headers {
                    assert!(seen.insert(name.to_ascii_lowercase()), "`{name}` stands twice: {answer:#?}");
                }
                assert_eq!(seen.contains("x-envoy-auth-headers-to-remove"), dialect == Dialect::Envoy);
            }
        }))
        .await;
    }
}

#[tokio::test]
async fn c2_renamed_headers_too_and_the_list_has_no_empty_member() {
    let names = "identity_headers: {user: User, roles: Roles, tier: Plan}\n";
    let config = Config::shop();
    let policy = format!("{names}{}", config.policy);
    let gate = Gate::start(&Config { policy, ..config });
    for dialect in BOTH {
        for (probe, known) in [
            (Probe::new(dialect).uri("/health"), false),
            (Probe::new(dialect).bearer(&token("alice", &["user"])), true),
        ] {
            let answer = probe.ask(&gate).await;
            let wanted = ["alice", "user", "free"].map(|value| if known { Some(value) } else { absent(dialect) });
            assert_eq!(["user", "roles", "plan"].map(|name| said(&answer, name)), wanted, "{answer:#?}");
            assert_eq!(answer.header("x-user-id"), None, "it is called otherwise now");
            for list in answer.response.header_all("x-envoy-auth-headers-to-remove") {
                assert!(list.split(',').all(|name| !name.is_empty()), "an empty member: {answer:#?}");
            }
        }
    }
}

#[tokio::test]
async fn c3_whatever_the_client_did_the_answer_is_no_5xx() {
    let gate = Gate::shop();
    let good = token("alice", &["user"]);
    let mut cases = Vec::new();
    for dialect in BOTH {
        let probe = Probe::new(dialect);
        for header in
            ["X-Forwarded-For", "X-Forwarded-Proto", "X-Request-ID", "Cookie", "Authorization", "X-Original-URL"]
        {
            let long = "a".repeat(9000);
            for value in [&b""[..], b",", b"\xff\xfe", b"\t", b"%", b"a,b", b"\"", long.as_bytes()] {
                cases.push(probe.clone().header(header, value));
                cases.push(probe.clone().instead(header, value));
                cases.push(probe.clone().instead(header, value).header(header, value).bearer(&good));
            }
        }
        for uri in [&b"/"[..], b"/%", b"/\xff", b"/a//b", b"/?", b"/a?%zz", b"/a%00"] {
            cases.push(probe.clone().uri(uri).bearer(&good));
        }
        for method in ["get", "A", "CONNECT", "G\"T", "TRACE", "OPTIONS"] {
            cases.push(probe.clone().method(method));
        }
        for host in [&b""[..], b"\xff", b"a b", b"[", b"a:b", b":", b"."] {
            cases.push(probe.clone().host(host));
        }
        for token in ["", "x", "..", "a.b.c", &good[1..], &"a.".repeat(3000), "\u{1f980}"] {
            cases.push(probe.clone().bearer(token));
            cases.push(probe.clone().cookie(token));
        }
    }
    together(cases.iter().map(async |probe| {
        let answer = probe.ask(&gate).await;
        assert!(answer.status() == 200 || (400..=499).contains(&answer.status()), "{answer:#?}");
    }))
    .await;
    for reason in ["keys_unavailable", "deadline"] {
        assert_eq!(counted(&gate, &format!("reason=\"{reason}\"")).await, 0, "{reason}");
    }
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
}

#[tokio::test]
async fn c5_the_decision_listener_has_decisions_and_nothing_else() {
    let gate = Gate::start(&Config::shop().edit("  admin:\n", "  admin:\n    danger_fault_endpoint: true\n"));
    let facts = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/health"),
        ("X-Forwarded-Host", raw::HOST),
        ("X-Forwarded-For", "203.0.113.7"),
    ];
    for path in [
        "/",
        "/health",
        "/healthz",
        "/ready",
        "/metrics",
        "/fail",
        "/favicon.ico",
        "/envoy",
        "/envoy/",
        "/envoy/validate",
    ] {
        for method in ["GET", "HEAD", "POST"] {
            gate.send(method, path, &[]).await.expect(404, "unknown_endpoint");
            gate.send(method, path, &facts).await.expect(404, "unknown_endpoint");
        }
    }
    for path in ["/validate", "/validate/authn", "/validate/authz", "/envoy/validate/health", "/"] {
        let response = raw::send(gate.admin(), raw::request("GET", path, &facts, b"")).await;
        assert_eq!((response.status, response.header("x-user-id")), (404, None), "{path} {response:?}");
    }
    assert_eq!(gate.admin_get("/health").await.status, 200, "nobody could call /fail on the decision listener");
}

#[tokio::test]
async fn c6_incoming_identity_headers_are_the_attackers() {
    let gate = Gate::shop();
    let user = token("alice", &["user"]);
    for (dialect, step) in BOTH.iter().flat_map(|dialect| STEPS.map(|step| (*dialect, step))) {
        let spoof = |probe: Probe| {
            probe
                .header("X-User-ID", "root")
                .header("X-User-Role", "admin")
                .header("X-User-Tier", "gold")
                .header("X-Envoy-Auth-Headers-To-Remove", "x-user-id")
        };
        let probe = spoof(Probe::new(dialect).step(step));
        probe.ask(&gate).await.expect(401, "no_credential");
        let allowed = probe.clone().bearer(&user).ask(&gate).await;
        assert_eq!(said(&allowed, "x-user-id"), Some("alice"), "{allowed:#?}");
        let admin = probe.clone().uri("/products/admin").bearer(&user).ask(&gate).await;
        // Authentication alone asks nobody for a role.
        if step == Step::Authn {
            admin.expect(200, "allowed")
        } else {
            admin.expect(403, "missing_role")
        };
        let open = probe.uri("/health").ask(&gate).await;
        for name in ["x-user-id", "x-user-role", "x-user-tier"] {
            assert_eq!(said(&open, name), absent(dialect), "{open:#?}");
        }
    }
}

#[tokio::test]
async fn c7_each_fact_has_one_source() {
    let gate = Gate::shop();
    let traefik = || Probe::traefik().uri("/health");
    let envoy = || Probe::envoy().uri("/health");
    let mut cases = vec![(traefik(), 200, "allowed"), (envoy(), 200, "allowed")];
    for name in ["X-Forwarded-Method", "X-Forwarded-Host", "X-Forwarded-Uri", "X-Forwarded-For"] {
        cases.push((traefik().without(name), 400, "missing_forwarded"));
    }
    cases.push((envoy().without("X-Forwarded-For"), 400, "missing_forwarded"));
    cases.push((envoy().without("Host"), 400, BY_THE_PARSER));
    for (name, value) in [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Host", "shop.localhost"),
        ("X-Forwarded-Uri", "/health"),
        ("X-Forwarded-For", "203.0.113.7"),
    ] {
        // Doubled, even with the same value; the order counts for nothing.
        cases.push((traefik().header(name, value), 400, "doubled_forwarded"));
        cases.push((traefik().header(&name.to_lowercase(), "x"), 400, "doubled_forwarded"));
    }
    cases.push((envoy().header("X-Forwarded-For", "203.0.113.7"), 400, "doubled_forwarded"));
    cases.push((envoy().header("Host", "shop.localhost"), 400, BY_THE_PARSER));
    for (name, reason) in [
        ("X-Forwarded-Method", "malformed_method"),
        ("X-Forwarded-Host", "malformed_host"),
        ("X-Forwarded-Uri", "malformed_uri"),
        ("X-Forwarded-For", "malformed_client"),
    ] {
        cases.push((traefik().instead(name, ""), 400, reason));
        cases.push((traefik().instead(name, "\u{e9}"), 400, reason));
    }
    for uri in [
        "health",
        "*",
        "?x",
        "http://shop.localhost/health",
        "/health x",
        "/health#x",
        "/health?a#x",
        "/h\u{e9}",
        "\\health",
    ] {
        cases.push((traefik().uri(uri), 400, "malformed_uri"));
    }
    // No dialect reads the other's places, neither in their stead nor over them.
    cases.push((traefik().host("other.localhost").instead("Host", raw::HOST), 403, "no_rule"));
    cases.push((traefik().without("X-Forwarded-Host").instead("Host", raw::HOST), 400, "missing_forwarded"));
    let orders = || Probe::envoy().uri("/orders");
    cases.push((orders().header("X-Forwarded-Uri", "/health"), 401, "no_credential"));
    cases.push((orders().header("X-Forwarded-Uri", "/a").header("X-Forwarded-Uri", "/b"), 401, "no_credential"));
    cases.push((orders().header("X-Forwarded-Method", "OPTIONS"), 401, "no_credential"));
    cases.push((orders().host("other.localhost").header("X-Forwarded-Host", raw::HOST), 403, "no_rule"));
    cases.push((Probe::envoy().uri("/products").method("POST").header("X-Forwarded-Method", "GET"), 403, "no_rule"));
    together(cases.iter().map(async |(probe, status, reason)| {
        probe.ask(&gate).await.expect(*status, reason);
    }))
    .await;
}

#[tokio::test]
async fn c8_one_canonical_path_and_no_second_reading() {
    let gate = Gate::shop();
    let user = token("alice", &["user"]);
    for dialect in BOTH {
        let probe = Probe::new(dialect).bearer(&user);
        for uri in
            ["/products", "/products/", "/%70roducts", "/products/7", "/products/%37?x=/../%2f", "/products?a=//b;c"]
        {
            let answer = probe.clone().uri(uri).ask(&gate).await;
            answer.expect(200, "allowed");
            assert_eq!(answer.rule(), "products", "{answer:#?}");
        }
        // The same path in another spelling meets the same, stricter rule.
        for uri in
            ["/products/admin", "/products/admin/", "/products/%61dmin", "/products/admin/x", "/%70roducts/a%64min"]
        {
            let answer = probe.clone().uri(uri).ask(&gate).await;
            answer.expect(403, "missing_role");
            assert_eq!(answer.rule(), "products-admin", "{answer:#?}");
        }
        let dangerous = [
            "%2f", "%2F", "%5c", "%5C", "%00", "%25", "%2e", "%2E", "..", ".", "/", ";", "%3b", "%3f", "%23", "\\",
            "%0a", "%7f",
        ];
        together(
            dangerous
                .iter()
                .flat_map(|bad| {
                    [format!("/products/{bad}"), format!("/products/{bad}/admin"), format!("/{bad}/products")]
                })
                .map(async |uri| {
                    probe.clone().uri(&uri).ask(&gate).await.expect(400, "ambiguous_path");
                }),
        )
        .await;
    }
}

#[tokio::test]
async fn c9_one_canonical_host() {
    let gate = Gate::shop();
    let bytes = |host: &str, dialect| Probe::new(dialect).uri("/health").host(host);
    for dialect in BOTH {
        for host in [
            "shop.localhost",
            "SHOP.Localhost",
            "shop.localhost.",
            "shop.localhost:443",
            "sHop.localhost.:8443",
            "shop.localhost:",
        ] {
            let answer = bytes(host, dialect).ask(&gate).await;
            answer.expect(200, "allowed");
            assert_eq!(answer.audit["host"], "shop.localhost", "{answer:#?}");
        }
        for host in [
            "a,shop.localhost",
            "shop.localhost, a",
            "u@shop.localhost",
            "u:p@shop.localhost",
            "shop.localhost/x",
            "shop.localhost?x",
            "shop.localhost#x",
            "shop.localhost\\x",
            "shop.localhost:abc",
            "shop.localhost:80:80",
            "shop.localhost:99999",
            "shop.localhost..",
            ".shop.localhost",
            "shop..localhost",
            "shop.localhost x",
            "shop%2elocalhost",
            "[::1",
            "sh\u{f6}p.localhost",
            "",
        ] {
            bytes(host, dialect).ask(&gate).await.expect(400, "malformed_host");
        }
        for host in
            ["localhost", "x.shop.localhost", "shop.localhost.evil.example", "shop-localhost", "127.0.0.1", "[::1]"]
        {
            bytes(host, dialect).ask(&gate).await.expect(403, "no_rule");
        }
    }
}

#[tokio::test]
async fn c10_any_one_word_is_a_protocol() {
    let gate = Gate::shop();
    let user = token("alice", &["user"]);
    for dialect in BOTH {
        for proto in ["http", "https", "ws", "wss", "HTTPS", "h3", "", "anything goes"] {
            let probe = Probe::new(dialect).instead("X-Forwarded-Proto", proto);
            probe.ask(&gate).await.expect(401, "no_credential");
            probe.bearer(&user).ask(&gate).await.expect(200, "allowed");
        }
        let probe = Probe::new(dialect).without("X-Forwarded-Proto").bearer(&user);
        probe.ask(&gate).await.expect(200, "allowed");
    }
}

/// What is said of a deadline that is none.
const LATE: &str = "a decision must come within a second; write a time below 1s, such as 500ms";

#[tokio::test]
async fn c11_connections_outlive_the_proxys_and_decisions_come_within_a_second() {
    // That an idle connection really stays for two minutes would cost two minutes: what can be seen at once is that it stays, and
    // that nobody can configure less.
    let gate = Gate::shop();
    let mut kept = Kept::connect(&gate).await;
    for uri in ["/health", "/products", "/health"] {
        kept.write(&Probe::traefik().uri(uri).kept()).await;
        let (status, head, _) = kept.answer().await.expect("an answer on the same connection");
        assert_eq!(status, if uri == "/health" { 200 } else { 401 }, "{head}");
        assert!(!head.contains("connection: close"), "{head}");
    }
    let with = |line: &str| {
        Config::shop().edit(
            "    address: 127.0.0.1:0\n    # The networks",
            &format!("    address: 127.0.0.1:0\n    {line}\n    # The networks"),
        )
    };
    for good in ["keep_alive: 120s", "keep_alive: 10min", "deadline: 999ms", "deadline: 1ms"] {
        assert_eq!(with(good).check().0, 0, "{good}");
    }
    for (bad, line) in [
        ("keep_alive: 119s", "proxies keep idle connections for 90 s and would lose requests; write 120s or more"),
        ("keep_alive: 0s", "proxies keep idle connections for 90 s and would lose requests; write 120s or more"),
        ("deadline: 1s", LATE),
        ("deadline: 0s", LATE),
    ] {
        let column = 5 + bad.find(' ').expect("a space") + 1;
        assert_eq!(with(bad).check(), (64, format!("portcullis.yaml:8:{column}: {line}\n")), "{bad}");
    }
}

/// Headers that a refusal may have; proxies hand all of them to the client.
const REFUSAL_HEADERS: [&str; 7] =
    ["cache-control", "connection", "content-length", "content-type", "date", "www-authenticate", "x-request-id"];

#[tokio::test]
async fn c12_a_refusal_tells_the_client_nothing_of_the_inside() {
    let gate = Gate::shop();
    let user = token("alice", &["user"]);
    for dialect in BOTH {
        let probe = || Probe::new(dialect);
        for (probe, status, reason) in [
            (probe(), 401, "no_credential"),
            (probe().bearer("x"), 401, "malformed_token"),
            (probe().uri("/products/admin").bearer(&user), 403, "missing_role"),
            (probe().uri("/nowhere").bearer(&user), 403, "no_rule"),
            (probe().uri("//"), 400, "ambiguous_path"),
            (probe().bearer(&user).bearer(&user), 400, "doubled_credential"),
        ] {
            let answer = probe.ask(&gate).await;
            answer.expect(status, reason);
            let names: BTreeSet<String> =
                answer.response.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
            let unknown: Vec<_> = names.iter().filter(|name| !REFUSAL_HEADERS.contains(&name.as_str())).collect();
            assert!(unknown.is_empty() && names.len() == answer.response.headers.len(), "{unknown:?} {answer:#?}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            let body = answer.response.json();
            let keys: Vec<_> = body.as_object().expect("an object").keys().collect();
            assert_eq!(keys, ["detail", "request_id", "status", "title"], "{body}");
            assert_eq!(
                (body["status"].as_u64(), body["request_id"].as_str()),
                (Some(status.into()), answer.header("x-request-id"))
            );
            let told = format!("{:?}{body}", answer.response.headers).to_lowercase();
            for inside in [reason, "alice", "shop", "products", "admin", "nowhere", "actix", "127.0.0.1"] {
                assert!(!told.contains(inside), "`{inside}` is told: {told}");
            }
        }
    }
}

#[tokio::test]
async fn c13_many_and_large_headers_are_taken_or_refused_but_never_an_error() {
    let gate = Gate::shop();
    for dialect in BOTH {
        let own = if dialect == Dialect::Traefik { 6 } else { 3 };
        let probe = |count: usize, size: usize| {
            let padding = "p".repeat(size);
            // `Connection: close` is one more.
            (own + 1..count).fold(Probe::new(dialect).uri("/health"), |probe, place| {
                probe.header(&format!("X-Pad-{place}"), &padding)
            })
        };
        probe(20, 4000).ask(&gate).await.expect(200, "allowed");
        probe(96, 700).ask(&gate).await.expect(200, "allowed");
        Probe::new(dialect)
            .uri("/health")
            .header("X-Pad", "p".repeat(64 * 1024))
            .ask(&gate)
            .await
            .expect(200, "allowed");
        Probe::new(dialect)
            .uri("/health")
            .header("X-Pad", "p".repeat(100 * 1024))
            .ask(&gate)
            .await
            .expect(200, "allowed");
        // More than 96 lines, or more than 128 KiB, are refused by the parser: a plain 431.
        for (count, size) in [(97, 1), (200, 1), (1000, 100), (25, 10_000)] {
            probe(count, size).ask(&gate).await.expect(431, BY_THE_PARSER);
        }
        probe(20, 1).ask(&gate).await.expect(200, "allowed");
    }
}

/// Every class of refusal: its status and its challenge.
#[tokio::test]
async fn each_class_has_its_status_and_its_challenge() {
    let user = token("alice", &["user"]);
    for forbidden in [403, 401] {
        let config = Config::shop();
        let policy = format!("forbidden_status: {forbidden}\nrealm: The Shop\n{}", config.policy);
        let gate = Gate::start(&Config { policy, ..config });
        let plain = "Bearer realm=\"The Shop\"";
        let invalid = format!("{plain}, error=\"invalid_token\"");
        let doubled = format!("{plain}, error=\"invalid_request\"");
        let lacking = format!("{plain}, error=\"insufficient_scope\"");
        for dialect in BOTH {
            let probe = || Probe::new(dialect);
            for (probe, status, reason, challenge) in [
                (probe(), 401, "no_credential", Some(plain)),
                (probe().bearer("x"), 401, "malformed_token", Some(&*invalid)),
                (probe().bearer(&user).bearer(&user), 400, "doubled_credential", Some(&*doubled)),
                (
                    probe().uri("/products/admin").bearer(&user),
                    forbidden,
                    "missing_role",
                    (forbidden == 401).then_some(&*lacking),
                ),
                // Whom no credential would help, nobody asks for one.
                (probe().uri("/nowhere").bearer(&user), 403, "no_rule", None),
                (probe().uri("//").bearer(&user), 400, "ambiguous_path", None),
            ] {
                let answer = probe.ask(&gate).await;
                answer.expect(status, reason);
                assert_eq!(answer.header("www-authenticate"), challenge, "{answer:#?}");
            }
        }
        gate.send("GET", "/nothing", &[]).await.expect(404, "unknown_endpoint");
    }
}
