//! How services of this kind were broken by identity headers. T-D2 is about gRPC.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::probe::{BOTH, Dialect, Probe, STEPS, Step, absent, said, together};
use crate::support::gate::{Answer, Config, Gate, KEY, claims, token};

/// All kinds of allow, and two headers more than usual.
const POLICY: &str = "\
identity_headers:
  extra:
    - {header: X-User-Groups, claim: groups}
    - {header: X-Tenant, claim: tenant}
rules:
  - {id: open, hosts: [shop.localhost], paths: [/open], allow: anonymous}
  - {id: preflight, hosts: [shop.localhost], paths: [/closed], methods: [OPTIONS], allow: anonymous}
  - {id: closed, hosts: [shop.localhost], paths: [/closed], allow: authenticated}
  - {id: admin, hosts: [shop.localhost], paths: [/admin], allow: {roles: {any: [admin]}}}
  - {id: both, hosts: [shop.localhost], paths: [/both], allow: {roles: {all: [user, admin]}}}
  - {id: write, hosts: [shop.localhost], paths: [/write], allow: {scopes: {any: [write]}}}
  - {id: group, hosts: [shop.localhost], paths: [/group], allow: {claims: [{claim: groups, contains: admin}]}}
  - {id: tenant, hosts: [shop.localhost], paths: [/tenant], allow: {claims: [{claim: tenant, in: [acme, umbrella]}]}}
";

const NAMES: [&str; 5] = ["x-user-id", "x-user-role", "x-user-tier", "x-user-groups", "x-tenant"];

fn gate() -> Gate {
    Gate::start(&Config::with_policy(POLICY))
}

fn signed(changes: Value) -> String {
    KEY.token(&claims(changes))
}

#[tokio::test]
async fn t_d1_an_allow_without_anybody_leaves_no_header_to_the_client() {
    let gate = gate();
    let user = token("alice", &["admin"]);
    let mut cases = Vec::new();
    for (dialect, step) in BOTH.iter().flat_map(|dialect| STEPS.map(|step| (*dialect, step))) {
        for (method, uri) in [("GET", "/open"), ("HEAD", "/open"), ("DELETE", "/open"), ("OPTIONS", "/closed")] {
            let probe = Probe::new(dialect).step(step).method(method).uri(uri);
            let spoofed = NAMES.iter().fold(probe.clone(), |probe, name| probe.header(name, "admin"));
            for probe in [
                probe.clone(),
                spoofed,
                probe.clone().bearer(&user),
                probe.clone().bearer("broken"),
                probe.cookie(&user),
            ] {
                cases.push((dialect, probe));
            }
        }
    }
    together(cases.iter().map(async |(dialect, probe)| {
        let answer = probe.ask(&gate).await;
        answer.expect(200, "allowed");
        for name in NAMES {
            assert_eq!(said(&answer, name), absent(*dialect), "{name} {answer:#?}");
        }
    }))
    .await;
    // OPTIONS is nobody's right: without a rule that names it, it is refused.
    for dialect in BOTH {
        let preflight = Probe::new(dialect)
            .method("OPTIONS")
            .header("Origin", "https://a")
            .header("Access-Control-Request-Method", "GET");
        preflight.clone().uri("/open").ask(&gate).await.expect(403, "no_rule");
        preflight.uri("/admin").bearer(&user).ask(&gate).await.expect(403, "no_rule");
    }
}

#[tokio::test]
async fn t_d3_an_underscore_is_no_hyphen() {
    let gate = gate();
    let user = token("alice", &["user"]);
    for dialect in BOTH {
        let spoof = |probe: Probe| {
            ["X_User_ID", "X-User_ID", "x_user_id", "X_User_Role", "x_user-role"]
                .iter()
                .fold(probe, |probe, name| probe.header(name, "admin"))
        };
        spoof(Probe::new(dialect).uri("/closed")).ask(&gate).await.expect(401, "no_credential");
        spoof(Probe::new(dialect).uri("/admin").bearer(&user)).ask(&gate).await.expect(403, "missing_role");
        let answer = spoof(Probe::new(dialect).uri("/closed").bearer(&user)).ask(&gate).await;
        assert_eq!((said(&answer, "x-user-id"), said(&answer, "x-user-role")), (Some("alice"), Some("user")));
    }
}

/// What Envoy is told to remove, in lower case.
fn removed(answer: &Answer) -> HashSet<String> {
    let lines = answer.response.header_all("x-envoy-auth-headers-to-remove");
    lines.iter().flat_map(|line| line.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn t_d4_every_alias_of_an_identity_header_is_removed() {
    let gate = gate();
    let user = token("alice", &["user"]);
    let marks = ["-", "_", "."];
    for step in STEPS {
        for probe in [Probe::envoy().uri("/open"), Probe::envoy().uri("/closed").bearer(&user)] {
            let answer = probe.step(step).ask(&gate).await;
            answer.expect(200, "allowed");
            let removed = removed(&answer);
            for alias in [
                "X.User.ID",
                "x-user_id",
                "X-USER.ID",
                "X_User_ID",
                "X.User_Role",
                "x_tenant",
                "X.Tenant",
                "X_User.Groups",
            ] {
                assert!(removed.contains(&alias.to_ascii_lowercase()), "{alias} {removed:?}");
            }
            for name in NAMES {
                let parts: Vec<&str> = name.split('-').collect();
                for (first, second) in marks.iter().flat_map(|first| marks.map(|second| (first, second))) {
                    let alias = match parts[..] {
                        [a, b] => format!("{a}{first}{b}"),
                        [a, b, c] => format!("{a}{first}{b}{second}{c}"),
                        _ => panic!("{name}"),
                    };
                    // The name itself is set, or removed: `said` watches over that.
                    assert!(alias == name || removed.contains(&alias), "{alias} {removed:?}");
                }
            }
            assert!(removed.iter().all(|name| answer.header(name).is_none()), "set and removed: {answer:#?}");
        }
    }
    // Traefik knows no such header, and would hand it to nobody; it removes aliases itself.
    let answer = Probe::traefik().uri("/open").ask(&gate).await;
    assert_eq!(answer.header("x-envoy-auth-headers-to-remove"), None);
}

#[tokio::test]
async fn t_d5_a_repeated_credential_is_refused() {
    let gate = gate();
    let (alice, bob) = (token("alice", &["user"]), token("bob", &["admin"]));
    let bearer = |token: &str| format!("Bearer {token}");
    let mut cases = Vec::new();
    for (dialect, step) in BOTH.iter().flat_map(|dialect| STEPS.map(|step| (*dialect, step))) {
        let probe = || Probe::new(dialect).step(step).uri("/closed");
        for (first, last) in [(&alice, &bob), (&bob, &alice), (&alice, &alice)] {
            for (name, first, last) in [
                ("Authorization", bearer(first), bearer(last)),
                ("Authorization", bearer(first), "Basic eDp5".to_owned()),
                ("Authorization", "Basic eDp5".to_owned(), bearer(last)),
                ("Authorization", bearer(first), String::new()),
                ("Cookie", format!("jwt={first}"), format!("jwt={last}")),
                ("Cookie", format!("a=b; jwt={first}"), format!("jwt={last}; c=d")),
                ("Cookie", format!("jwt={first}; jwt={last}"), "a=b".to_owned()),
                ("Cookie", format!("jwt={first}"), "jwt=".to_owned()),
            ] {
                cases.push((probe().header(name, &first).header(name, &last), 400, "doubled_credential"));
                let (lower, upper) = (name.to_lowercase(), name.to_uppercase());
                cases.push((probe().header(&lower, &first).header(&upper, &last), 400, "doubled_credential"));
            }
            // As one line, as a proxy may join them.
            cases.push((probe().header("Cookie", format!("jwt={first}; jwt={last}")), 400, "doubled_credential"));
            cases.push((probe().header("Cookie", format!("jwt={first},jwt={last}")), 401, "malformed_credential"));
            let joined = format!("Bearer {first}, Bearer {last}");
            cases.push((probe().header("Authorization", joined), 400, "doubled_credential"));
            cases.push((
                probe().header("Authorization", format!("Bearer {first},{last}")),
                401,
                "malformed_credential",
            ));
        }
    }
    together(cases.iter().map(async |(probe, status, reason)| {
        probe.ask(&gate).await.expect(*status, reason);
    }))
    .await;
}

#[tokio::test]
async fn t_d6_a_list_is_a_list_and_each_member_is_one() {
    let gate = gate();
    let cases = [
        (json!({"roles": ["user,admin"]}), "/admin", 403, "missing_role"),
        (json!({"roles": "user,admin"}), "/admin", 403, "missing_role"),
        (json!({"roles": "user admin"}), "/admin", 403, "missing_role"),
        (json!({"roles": "admin"}), "/admin", 200, "allowed"),
        (json!({"roles": ["user", "admin"]}), "/admin", 200, "allowed"),
        (json!({"roles": ["Admin"]}), "/admin", 403, "missing_role"),
        (json!({"roles": [" admin"]}), "/admin", 403, "missing_role"),
        (json!({"roles": ["admin\u{0}"]}), "/admin", 403, "missing_role"),
        (json!({"roles": ["administrator", "adm", "a"]}), "/admin", 403, "missing_role"),
        (json!({"roles": [["admin"]]}), "/admin", 403, "missing_role"),
        (json!({"roles": {"admin": true}}), "/admin", 403, "missing_role"),
        (json!({"roles": {"any": ["admin"]}}), "/admin", 403, "missing_role"),
        (json!({"roles": null, "role": ["admin"]}), "/admin", 403, "missing_role"),
        (json!({"roles": ["user,admin"]}), "/both", 403, "missing_role"),
        (json!({"roles": ["admin", "admin"]}), "/both", 403, "missing_role"),
        (json!({"roles": ["admin", "user"]}), "/both", 200, "allowed"),
        (json!({"scope": "read write"}), "/write", 200, "allowed"),
        (json!({"scope": ["read", "write"]}), "/write", 200, "allowed"),
        (json!({"scope": "read,write"}), "/write", 403, "missing_scope"),
        (json!({"scope": ["read write"]}), "/write", 403, "missing_scope"),
        (json!({"scope": "read\twrite"}), "/write", 403, "missing_scope"),
        (json!({"scope": "writeall rewrite write:x"}), "/write", 403, "missing_scope"),
        (json!({"groups": ["a", "admin"]}), "/group", 200, "allowed"),
        (json!({"groups": ["a,admin"]}), "/group", 403, "claim_mismatch"),
        (json!({"groups": "admin"}), "/group", 403, "claim_mismatch"),
        (json!({"groups": [["admin"]]}), "/group", 403, "claim_mismatch"),
        (json!({"tenant": "acme"}), "/tenant", 200, "allowed"),
        (json!({"tenant": "acme,umbrella"}), "/tenant", 403, "claim_mismatch"),
        (json!({"tenant": ["acme"]}), "/tenant", 403, "claim_mismatch"),
        (json!({}), "/tenant", 403, "claim_mismatch"),
    ];
    for dialect in BOTH {
        together(cases.iter().map(async |(changes, uri, status, reason)| {
            for (step, status, reason) in
                [(Step::Validate, *status, *reason), (Step::Authz, *status, *reason), (Step::Authn, 200, "allowed")]
            {
                Probe::new(dialect)
                    .step(step)
                    .uri(uri)
                    .bearer(&signed(changes.clone()))
                    .ask(&gate)
                    .await
                    .expect(status, reason);
            }
        }))
        .await;
    }
}

#[tokio::test]
async fn t_d7_no_claim_breaks_out_of_its_header() {
    let gate = gate();
    let ask = async |dialect: Dialect, changes: Value| {
        Probe::new(dialect).uri("/closed").bearer(&signed(changes)).ask(&gate).await
    };
    for dialect in BOTH {
        for (claim, wire) in [
            ("a\r\nX-User-Role: admin", "a%0D%0AX-User-Role:%20admin"),
            ("a\nb", "a%0Ab"),
            ("a\u{0}b\u{7f}", "a%00b%7F"),
            ("a,admin", "a%2Cadmin"),
            ("a%2Cadmin", "a%252Cadmin"),
            ("Zo\u{eb} \u{1f980}", "Zo%C3%AB%20%F0%9F%A6%80"),
            (" a ", "%20a%20"),
            ("\u{feff}a\u{202e}b", "%EF%BB%BFa%E2%80%AEb"),
            ("a;b=\"c\"", "a;b=\"c\""),
        ] {
            let answer = ask(dialect, json!({"sub": claim, "roles": [claim, "user"], "tier": claim, "groups": [claim, claim], "tenant": claim})).await;
            answer.expect(200, "allowed");
            let wanted =
                [wire.to_owned(), format!("{wire},user"), wire.to_owned(), format!("{wire},{wire}"), wire.to_owned()];
            assert_eq!(
                NAMES.map(|name| said(&answer, name)),
                wanted.each_ref().map(|wire| Some(wire.as_str())),
                "{answer:#?}"
            );
            assert_eq!(answer.audit["subject"], claim, "the log has the text itself");
        }
        // A member of a list forges no other one, not even an empty member.
        let answer = ask(dialect, json!({"roles": ["a,admin", "", "b"], "groups": ["", ",", "c"]})).await;
        let lists = [said(&answer, "x-user-role"), said(&answer, "x-user-groups")]
            .map(|list| list.unwrap_or_default().to_owned());
        assert!(!lists.iter().any(|list| list.split(',').any(|member| member == "admin")), "{lists:?}");
        // What fits is told whole, and what does not fit is refused, never cut.
        let fits = "x".repeat(8 * 1024);
        let answer = ask(dialect, json!({"sub": fits})).await;
        assert_eq!(said(&answer, "x-user-id"), Some(&*fits));
        let long = "x".repeat(10 * 1024);
        for changes in [
            json!({"sub": format!("{fits}x")}),
            json!({"sub": long}),
            json!({"roles": [long]}),
            json!({"roles": vec!["rolerole"; 950]}),
            json!({"tier": long}),
            json!({"groups": [long]}),
            json!({"tenant": "\u{e9}".repeat(3000)}),
            json!({"sub": ",".repeat(3000)}),
        ] {
            ask(dialect, changes).await.expect(403, "identity_too_large");
        }
    }
}
