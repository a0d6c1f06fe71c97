//! How services of this kind were broken by headers that they believed.

use serde_json::Value;

use super::probe::{BOTH, Probe, said, together};
use crate::support::gate::{Config, Gate, token};

/// The shop, of whose loopback addresses only one is a proxy.
fn one_proxy(address: &str) -> Config {
    Config::shop().edit("trusted_proxies: [127.0.0.0/8, \"::1/128\"]", &format!("trusted_proxies: [\"{address}\"]"))
}

#[tokio::test]
async fn t_c1_facts_count_from_our_own_proxies_only() {
    let gate = Gate::start(&one_proxy("127.0.0.5/32"));
    let admin = token("alice", &["admin"]);
    for dialect in BOTH {
        for uri in ["/health", "/products/admin"] {
            let bytes = Probe::new(dialect).uri(uri).bearer(&admin).bytes();
            gate.exchange_from([127, 0, 0, 5], &bytes).await.expect(200, "allowed");
            for stranger in [[127, 0, 0, 1], [127, 0, 0, 4], [127, 0, 0, 6], [127, 5, 0, 0]] {
                gate.exchange_from(stranger, &bytes).await.expect(403, "untrusted_peer");
            }
        }
        // Nobody becomes a proxy by saying so.
        let spoof = Probe::new(dialect)
            .uri("/health")
            .instead("X-Forwarded-For", "127.0.0.5")
            .header("X-Real-Ip", "127.0.0.5")
            .header("Forwarded", "for=127.0.0.5");
        gate.exchange_from([127, 0, 0, 1], &spoof.bytes()).await.expect(403, "untrusted_peer");
    }
    // A stranger learns nothing, not even which endpoints there are.
    let nothing = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    gate.exchange_from([127, 0, 0, 1], nothing).await.expect(403, "untrusted_peer");
    gate.exchange_from([127, 0, 0, 5], nothing).await.expect(404, "unknown_endpoint");
    // Behind a trusted Envoy the client's own X-Forwarded-Uri is no fact.
    let spoof = Probe::envoy()
        .uri("/products/admin")
        .header("X-Forwarded-Uri", "/health")
        .header("X-Forwarded-Method", "OPTIONS");
    gate.exchange_from([127, 0, 0, 5], &spoof.bytes()).await.expect(401, "no_credential");
}

#[test]
fn t_c2_a_gate_that_believes_strangers_does_not_start() {
    for wide in [
        "0.0.0.0/0",
        "::/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "0.0.0.0/7",
        "2000::/3",
        "::/1",
        "::/6",
        "2000::/7",
        "2a00::/8",
        "8.0.0.0/8",
        "172.0.0.0/8",
        "192.0.0.0/8",
        "11.0.0.0/8",
        "8.0.0.0/7",
        "10.0.0.0/7",
        "fe00::/7",
        "2001:db8::/31",
        "203.0.0.0/15",
    ] {
        let config = one_proxy(wide);
        let line = format!(
            "portcullis.yaml:9:22: {wide} holds strangers, who could state any host, path and address; write the networks of your proxies: private ones, or public ones of at most a /16 (IPv6: /32)\n"
        );
        assert_eq!(config.serve_fails(), (64, line.clone()), "{wide}");
        assert_eq!(config.check(), (64, line), "{wide}");
    }
    let (code, text) = Config::shop().edit("[127.0.0.0/8, \"::1/128\"]", "[127.0.0.0/8, \"::/0\"]").serve_fails();
    assert_eq!((code, text.contains("::/0 holds strangers")), (64, true), "{text}");
    let (code, text) = Config::shop().edit("[127.0.0.0/8, \"::1/128\"]", "[]").serve_fails();
    assert_eq!((code, text.contains("nobody may ask; write the networks of your proxies")), (64, true), "{text}");
}

#[tokio::test]
async fn t_c3_no_decision_depends_on_the_protocol() {
    let gate = Gate::shop();
    for dialect in BOTH {
        for (uri, status, reason) in
            [("/products", 401, "no_credential"), ("/health", 200, "allowed"), ("/nowhere", 403, "no_rule")]
        {
            for proto in ["http", "https", "HTTPS", "ftp"] {
                Probe::new(dialect)
                    .uri(uri)
                    .instead("X-Forwarded-Proto", proto)
                    .ask(&gate)
                    .await
                    .expect(status, reason);
            }
            Probe::new(dialect).uri(uri).without("X-Forwarded-Proto").ask(&gate).await.expect(status, reason);
        }
    }
}

#[tokio::test]
async fn t_c4_aliases_of_forwarded_headers_are_nobodys() {
    let gate = Gate::shop();
    let aliases = |name: &str| {
        ["_", ".", "~", "!", "+"].map(|mark| name.replace('-', mark)).into_iter().chain([
            name.replace("-U", "_U"),
            name.replace("-", ""),
            name.replace('-', "--"),
        ])
    };
    for dialect in BOTH {
        let mut probe = Probe::new(dialect).uri("/orders");
        for (name, value) in [
            ("X-Forwarded-Uri", "/health"),
            ("X-Forwarded-Method", "OPTIONS"),
            ("X-Forwarded-Host", "other"),
            ("X-Forwarded-For", "evil"),
        ] {
            for alias in aliases(name).filter(|alias| alias != name) {
                probe = probe.header(&alias, value);
            }
        }
        probe.ask(&gate).await.expect(401, "no_credential");
        let answer = probe.bearer(&token("alice", &["user"])).ask(&gate).await;
        answer.expect(200, "allowed");
        assert_eq!(
            [&answer.audit["path"], &answer.audit["method"], &answer.audit["host"]],
            ["/orders", "GET", "shop.localhost"]
        );
    }
    // They do not stand in for the real one either.
    for name in ["X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host", "X-Forwarded-For"] {
        for alias in aliases(name).filter(|alias| alias != name) {
            let value = if name == "X-Forwarded-Uri" { "/health" } else { "GET" };
            Probe::traefik()
                .uri("/health")
                .without(name)
                .header(&alias, value)
                .ask(&gate)
                .await
                .expect(400, "missing_forwarded");
        }
    }
    for alias in ["X_Forwarded_For", "X.Forwarded.For", "X-Forwarded_For"] {
        Probe::envoy()
            .without("X-Forwarded-For")
            .header(alias, "203.0.113.7")
            .ask(&gate)
            .await
            .expect(400, "missing_forwarded");
    }
}

/// Asks with each of these headers, and wants what is answered without them.
async fn changes_nothing(headers: &[(&str, &str)]) {
    let gate = Gate::shop();
    let user = token("alice", &["user"]);
    for dialect in BOTH {
        for (uri, bearer, status, reason, rule) in [
            ("/health", false, 200, "allowed", "open"),
            ("/products", true, 200, "allowed", "products"),
            ("/products", false, 401, "no_credential", "products"),
            ("/products/admin", true, 403, "missing_role", "products-admin"),
            ("/nowhere", true, 403, "no_rule", ""),
        ] {
            let probe = Probe::new(dialect).uri(uri);
            let probe = if bearer { probe.bearer(&user) } else { probe };
            let single = headers.iter().map(|(name, value)| probe.clone().header(name, value));
            let all = headers.iter().fold(probe.clone(), |probe, (name, value)| probe.header(name, value));
            let cases: Vec<Probe> = single.chain([probe.clone(), all]).collect();
            together(cases.iter().map(async |probe| {
                let answer = probe.ask(&gate).await;
                answer.expect(status, reason);
                assert_eq!(
                    (answer.rule(), answer.audit["client"].as_str()),
                    (rule, Some("203.0.113.7")),
                    "{answer:#?}"
                );
            }))
            .await;
        }
    }
}

#[tokio::test]
async fn t_c5_no_decision_depends_on_a_prefix() {
    changes_nothing(&[
        ("X-Forwarded-Prefix", "/health"),
        ("X-Forwarded-Prefix", "/products/admin"),
        ("X-Forwarded-Prefix", "//evil"),
        ("X-Replaced-Path", "/health"),
        ("X-Forwarded-Path", "/health"),
    ])
    .await;
}

#[tokio::test]
async fn t_c6_no_decision_depends_on_a_port() {
    changes_nothing(&[
        ("X-Forwarded-Port", "80"),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Port", "abc"),
        ("X-Forwarded-Port", "-1"),
        ("X-Forwarded-Ssl", "on"),
    ])
    .await;
}

#[test]
fn t_c7_the_shipped_traefik_files_never_trust_the_clients_headers() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("traefik");
    let mut checks = 0;
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if !path.extension().is_some_and(|end| end == "yml" || end == "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a text");
        let file: Value = serde_saphyr::from_str(&text).expect("YAML");
        each_member(&file, &mut |name, value| match name {
            "forwardAuth" => {
                checks += 1;
                assert_eq!(value.get("trustForwardHeader"), Some(&Value::Bool(false)), "{} {value}", path.display());
            }
            "insecure" => assert_ne!(value, &Value::Bool(true), "{}", path.display()),
            _ => {}
        });
    }
    assert!(checks >= 3, "the whole check and both halves, at least: {checks}");
}

fn each_member(value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    for (name, below) in value.as_object().into_iter().flatten() {
        visit(name, below);
        each_member(below, visit);
    }
    value.as_array().into_iter().flatten().for_each(|below| each_member(below, visit));
}

#[tokio::test]
async fn t_c8_a_forwarded_header_that_is_gone_is_missed() {
    let gate = Gate::shop();
    let admin = token("alice", &["admin"]);
    for name in ["X-Forwarded-Uri", "X-Forwarded-Host", "X-Forwarded-Method", "X-Forwarded-For"] {
        for connection in ["close", &format!("close, {name}"), &format!("{}, close", name.to_lowercase())] {
            let probe = Probe::traefik().uri("/health").bearer(&admin).header("Connection", connection);
            probe.ask(&gate).await.expect(200, "allowed");
            probe.without(name).ask(&gate).await.expect(400, "missing_forwarded");
        }
    }
    for connection in ["close", "close, X-Forwarded-For"] {
        let probe = Probe::envoy().uri("/health").without("X-Forwarded-For").header("Connection", connection);
        probe.ask(&gate).await.expect(400, "missing_forwarded");
    }
}

#[tokio::test]
async fn t_c9_naming_an_identity_header_in_connection_changes_nothing() {
    let gate = Gate::shop();
    for dialect in BOTH {
        for connection in
            ["X-User-ID", "close, x-user-id, x-user-role", "keep-alive, X-User-Tier, Authorization, Cookie"]
        {
            let probe = Probe::new(dialect)
                .bearer(&token("alice", &["user"]))
                .header("X-User-ID", "root")
                .header("Connection", connection);
            let answer = probe.ask(&gate).await;
            let values = ["x-user-id", "x-user-role", "x-user-tier"].map(|name| said(&answer, name));
            assert_eq!(values, ["alice", "user", "free"].map(Some), "{answer:#?}");
            assert!(
                answer.response.header_all("connection").iter().all(|line| !line.to_lowercase().contains("x-user")),
                "{answer:#?}"
            );
        }
    }
}

#[tokio::test]
async fn t_c10_no_decision_depends_on_other_names_of_a_path() {
    changes_nothing(&[
        ("X-Envoy-Original-Path", "/health"),
        ("X-Envoy-Original-Method", "OPTIONS"),
        ("X-Envoy-Original-Host", "other"),
        ("X-Original-URI", "/health"),
        ("X-Original-Method", "OPTIONS"),
        ("X-Rewrite-URL", "/health"),
        ("X-Forwarded-Server", "other"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Real-Ip", "127.0.0.1"),
        ("True-Client-IP", "127.0.0.1"),
        ("CF-Connecting-IP", "127.0.0.1"),
        ("X-Client-IP", "127.0.0.1"),
        ("X-Envoy-External-Address", "127.0.0.1"),
        ("X-Envoy-Internal", "true"),
        ("X-Envoy-Auth-Failure-Mode-Allowed", "true"),
        ("X-Host", "other"),
        ("Via", "1.1 other"),
    ])
    .await;
}

#[tokio::test]
async fn t_c11_two_names_of_the_uri_that_differ_are_refused() {
    let gate = Gate::shop();
    let admin = token("alice", &["admin"]);
    for dialect in BOTH {
        let probe = |uri: &str| Probe::new(dialect).uri(uri).bearer(&admin);
        probe("/health").header("X-Original-URL", "/health").ask(&gate).await.expect(200, "allowed");
        probe("/health?a").header("X-Original-URL", "/health?a").ask(&gate).await.expect(200, "allowed");
        for (uri, other) in [
            ("/health", "/products/admin"),
            ("/products/admin", "/health"),
            ("/health", "/health?a"),
            ("/health", "/Health"),
            ("/health", "/%68ealth"),
            ("/health", "/health/"),
        ] {
            probe(uri).header("X-Original-URL", other).ask(&gate).await.expect(400, "conflicting_uri");
            probe(uri)
                .header("x-original-url", uri)
                .header("X-Original-URL", other)
                .ask(&gate)
                .await
                .expect(400, "conflicting_uri");
            probe(uri)
                .header("x-original-url", other)
                .header("X-Original-URL", uri)
                .ask(&gate)
                .await
                .expect(400, "conflicting_uri");
        }
    }
}

#[tokio::test]
async fn t_c12_doubled_and_joined_facts_are_refused() {
    let gate = Gate::shop();
    let admin = token("alice", &["admin"]);
    let traefik = || Probe::traefik().uri("/health").bearer(&admin);
    for (name, first, last, doubled, joined) in [
        ("X-Forwarded-Method", "GET", "POST", "doubled_forwarded", "malformed_method"),
        ("X-Forwarded-Host", "shop.localhost", "other", "doubled_forwarded", "malformed_host"),
        ("X-Forwarded-Uri", "/health", "/products/admin", "doubled_forwarded", "malformed_uri"),
        ("X-Forwarded-Proto", "https", "http", "malformed_proto", "malformed_proto"),
    ] {
        for (first, last) in [(first, last), (last, first), (first, first)] {
            traefik().instead(name, first).header(name, last).ask(&gate).await.expect(400, doubled);
            traefik().instead(name, format!("{first}, {last}")).ask(&gate).await.expect(400, joined);
        }
    }
    // Without a space after it a comma is an ordinary letter of a path, and such a path nobody named.
    traefik().uri("/health,/health").ask(&gate).await.expect(403, "no_rule");
    traefik().instead("X-Forwarded-Method", "GET,POST").ask(&gate).await.expect(400, "malformed_method");
    traefik().instead("X-Forwarded-Host", "shop.localhost,other").ask(&gate).await.expect(400, "malformed_host");
    let envoy = || Probe::envoy().uri("/health").bearer(&admin);
    envoy().header("X-Forwarded-Proto", "http").ask(&gate).await.expect(400, "malformed_proto");
    envoy().instead("X-Forwarded-Proto", "https,http").ask(&gate).await.expect(400, "malformed_proto");
    envoy().header("X-Forwarded-For", "203.0.113.8").ask(&gate).await.expect(400, "doubled_forwarded");
    envoy().host("shop.localhost,other").ask(&gate).await.expect(400, "malformed_host");
}

#[tokio::test]
async fn t_c13_a_client_address_is_an_address() {
    let gate = Gate::shop();
    for dialect in BOTH {
        let probe = |line: &str| Probe::new(dialect).uri("/health").instead("X-Forwarded-For", line);
        for line in [
            "10.0.0.1, evil",
            "evil",
            "unknown",
            "_hidden",
            "for=1.2.3.4",
            "\"1.2.3.4\"",
            "\"1.2.3.4,10.0.0.1;x\"",
            "1.2.3.4;5.6.7.8",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "01.2.3.4",
            "0x7f.0.0.1",
            "2130706433",
            "1.2.3.4,",
            ",",
            "1.2.3.4, ",
            "[::1",
            "::1]",
            "1.2.3.4:99999",
            "1.2.3.4:x",
            "fe80::1%eth0",
            "localhost",
            "203.0.113.7, 127.0.0.1, evil",
            "1.2.3.4 5.6.7.8",
            "",
        ] {
            probe(line).ask(&gate).await.expect(400, "malformed_client");
        }
        // `Forwarded` is not read: neither its good values nor its broken ones count.
        for line in [
            "for=\"1.2.3.4,10.0.0.1;x\"",
            "for=unknown",
            "for=_hidden",
            "for=127.0.0.1;host=other;proto=http",
            ";;;=\"",
        ] {
            let answer = Probe::new(dialect).uri("/health").header("Forwarded", line).ask(&gate).await;
            answer.expect(200, "allowed");
            assert_eq!(answer.audit["client"], "203.0.113.7", "{answer:#?}");
        }
    }
}

#[tokio::test]
async fn t_c14_an_address_that_cannot_be_read_opens_nothing() {
    let gate = Gate::shop();
    let admin = token("alice", &["admin"]);
    for dialect in BOTH {
        for uri in ["/health", "/products/admin"] {
            for line in ["a", "-", "null", "0", "*"] {
                Probe::new(dialect)
                    .uri(uri)
                    .bearer(&admin)
                    .instead("X-Forwarded-For", line)
                    .ask(&gate)
                    .await
                    .expect(400, "malformed_client");
            }
        }
    }
}

#[tokio::test]
async fn t_c15_the_client_is_the_nearest_address_that_is_no_proxy_of_ours() {
    let proxies = "[127.0.0.0/8, 10.0.0.0/8, \"fd00::/8\"]";
    let gate = Gate::start(&Config::shop().edit("[127.0.0.0/8, \"::1/128\"]", proxies));
    let cases = [
        ("203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1, 203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7, 10.1.1.1,127.0.0.1 , fd00::2", "203.0.113.7"),
        ("evil, 203.0.113.7, 10.1.1.1", "203.0.113.7"),
        ("10.9.9.9, 10.1.1.1", "10.9.9.9"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:DB8::1]:443", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, ::ffff:10.0.0.1", "203.0.113.7"),
        ("127.0.0.1", "127.0.0.1"),
    ];
    for (line, client) in cases {
        for dialect in BOTH {
            let answer = Probe::new(dialect).uri("/health").instead("X-Forwarded-For", line).ask(&gate).await;
            answer.expect(200, "allowed");
            assert_eq!(answer.audit["client"], client, "{line} {answer:#?}");
        }
    }
    // One line may hold many; two lines would be two answers.
    for dialect in BOTH {
        let probe = Probe::new(dialect)
            .uri("/health")
            .instead("X-Forwarded-For", "203.0.113.7")
            .header("X-Forwarded-For", "10.0.0.1");
        probe.ask(&gate).await.expect(400, "doubled_forwarded");
    }
}
