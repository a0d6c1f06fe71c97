//! How services of this kind were broken by hosts.

use super::probe::{BOTH, BY_THE_PARSER, Probe, together};
use crate::support::gate::{Config, Gate};

/// A strict host under a lax wildcard, and a strict wildcard under a laxer one: the one that counts is named by the rule.
const POLICY: &str = "\
rules:
  - {id: admin, hosts: [admin.example.com], paths: ['/**'], allow: {roles: {any: [admin]}}}
  - {id: app, hosts: [app.example.com], paths: ['/**'], allow: authenticated}
  - {id: strict, hosts: ['*.b.example.com'], paths: ['/**'], allow: {roles: {any: [admin]}}}
  - {id: lax, hosts: ['*.example.com'], paths: ['/**'], allow: anonymous}
";

/// Asks for `/` of this host in both dialects, and wants the answer of this rule.
async fn judged_by(gate: &Gate, host: &str, rule: &str, status: u16, reason: &str) {
    for dialect in BOTH {
        let answer = Probe::new(dialect).uri("/").host(host).ask(gate).await;
        answer.expect(status, reason);
        assert_eq!(answer.rule(), rule, "{answer:#?}");
    }
}

#[tokio::test]
async fn t_b1_the_letter_case_of_a_host_chooses_no_laxer_rule() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    judged_by(&gate, "x.example.com", "lax", 200, "allowed").await;
    judged_by(&gate, "X.Example.COM", "lax", 200, "allowed").await;
    for host in ["admin.example.com", "ADMIN.example.com", "admin.EXAMPLE.com", "aDmIn.eXaMpLe.CoM"] {
        judged_by(&gate, host, "admin", 401, "no_credential").await;
    }
    for host in ["a.b.example.com", "a.B.example.com", "A.b.Example.com", "x.y.B.example.com"] {
        judged_by(&gate, host, "strict", 401, "no_credential").await;
    }
    // A host that a policy writes in capitals is the same host.
    let capitals = Gate::start(&Config::with_policy(&POLICY.replace("admin.example", "ADMIN.Example")));
    judged_by(&capitals, "admin.example.com", "admin", 401, "no_credential").await;
    // `*.example.com` is not `example.com`, nor what merely ends alike.
    for host in ["example.com", "evilexample.com", "admin.example.com.evil.test", "com"] {
        judged_by(&gate, host, "", 403, "no_rule").await;
    }
    judged_by(&gate, "b.example.com", "lax", 200, "allowed").await;
}

#[tokio::test]
async fn t_b2_one_host_table_whatever_its_size() {
    for count in [1, 99, 101, 10_000] {
        let others: Vec<String> = (1..count).map(|place| format!("h{place}.example.org")).collect();
        let others = match others.is_empty() {
            true => String::new(),
            false => format!("  - {{id: others, hosts: [{}], paths: ['/**'], allow: anonymous}}\n", others.join(", ")),
        };
        let gate = Gate::start(&Config::with_policy(&format!(
            "rules:\n{others}  - {{id: one, hosts: [Admin.example.org], paths: ['/**'], allow: authenticated}}\n  - {{id: below, hosts: ['*.example.org'], paths: ['/**'], allow: anonymous}}\n"
        )));
        for host in ["admin.example.org", "ADMIN.example.org", "admin.example.org.", "Admin.Example.Org:8443"] {
            judged_by(&gate, host, "one", 401, "no_credential").await;
        }
        if count > 1 {
            judged_by(&gate, &format!("H{}.Example.org:80", count - 1), "others", 200, "allowed").await;
        }
        judged_by(&gate, &format!("H{count}.Example.org"), "below", 200, "allowed").await;
        judged_by(&gate, "example.org", "", 403, "no_rule").await;
    }
}

#[tokio::test]
async fn t_b3_a_final_dot_and_a_port_change_nothing() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    for end in [".", ":443", ":8443", ":", ".:443", ":0", ":65535"] {
        judged_by(&gate, &format!("app.example.com{end}"), "app", 401, "no_credential").await;
        judged_by(&gate, &format!("a.b.example.com{end}"), "strict", 401, "no_credential").await;
    }
    for end in ["..", ":65536", ":-1", ":+80", ":80:", ":80.", ": 80", ":8\u{660}", ":0x50"] {
        judged_by(&gate, &format!("app.example.com{end}"), "", 400, "malformed_host").await;
    }
}

#[tokio::test]
async fn t_b4_a_host_cannot_break_out_of_where_it_is_copied() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    for host in [
        "a\";for=1.2.3.4",
        "a;for=1.2.3.4",
        "x.example.com\"",
        "'x'.example.com",
        "x.example.com;",
        "{x}.example.com",
        "x$.example.com",
    ] {
        judged_by(&gate, host, "", 400, "malformed_host").await;
    }
    for byte in [0_u8, 10, 13, 27] {
        for dialect in BOTH {
            let host = [b"x.example.com", &[byte][..], b"y"].concat();
            Probe::new(dialect).uri("/").host(host).ask(&gate).await.expect(400, BY_THE_PARSER);
        }
    }
}

#[tokio::test]
async fn t_b5_a_host_moves_no_path() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    let hosts = [
        "x.example.com/abc?bar=",
        "x.example.com#",
        "h#",
        "u@x.example.com",
        "x.example.com@admin.example.com",
        "h\\@x",
        "x.example.com\\@admin.example.com",
        "x.example.com?",
        "x.example.com,admin.example.com",
        "x.example.com, admin.example.com",
        "x.example.com admin.example.com",
        "http://x.example.com",
        "x.example.com%2fadmin",
        "%61dmin.example.com",
        "x.example.com,",
        ",",
        "*",
        "*.example.com",
        "[x.example.com]",
    ];
    together(hosts.iter().map(async |host| judged_by(&gate, host, "", 400, "malformed_host").await)).await;
    // Two lines: neither the first nor the last of them counts.
    for (first, last) in [
        ("x.example.com", "admin.example.com"),
        ("admin.example.com", "x.example.com"),
        ("x.example.com", "x.example.com"),
    ] {
        let probe = |probe: Probe| probe.uri("/").host(first);
        probe(Probe::traefik()).header("X-Forwarded-Host", last).ask(&gate).await.expect(400, "doubled_forwarded");
        probe(Probe::traefik()).header("x-forwarded-host", last).ask(&gate).await.expect(400, "doubled_forwarded");
        probe(Probe::envoy()).header("Host", last).ask(&gate).await.expect(400, BY_THE_PARSER);
    }
}
