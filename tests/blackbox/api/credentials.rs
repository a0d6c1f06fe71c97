//! Where a credential is looked for, and what happens when there are several.

use serde_json::json;

use super::probe::{BOTH, Probe, STEPS, Step, absent, said, together};
use crate::support::gate::{Config, Gate, KEY, claims, token};
use crate::support::signer::Signer;

/// One path for each order and choice of kinds.
const POLICY: &str = "\
rules:
  - {id: default, hosts: [shop.localhost], paths: [/default], allow: {roles: {any: [admin]}}}
  - {id: cookie-first, hosts: [shop.localhost], paths: [/cookie-first], credentials: [cookie, bearer], allow: {roles: {any: [admin]}}}
  - {id: bearer-only, hosts: [shop.localhost], paths: [/bearer-only], credentials: [bearer], allow: authenticated}
  - {id: cookie-only, hosts: [shop.localhost], paths: [/cookie-only], credentials: [cookie], allow: authenticated}
  - {id: any, hosts: [shop.localhost], paths: [/any], allow: authenticated}
  - {id: open, hosts: [shop.localhost], paths: [/open], allow: anonymous}
";

type Case = (Probe, u16, &'static str);

async fn all(gate: &Gate, cases: &[Case]) {
    together(cases.iter().map(async |(probe, status, reason)| {
        probe.ask(gate).await.expect(*status, reason);
    }))
    .await;
}

/// The cases of every dialect and step.
fn everywhere(cases: impl Fn(&dyn Fn(&str) -> Probe) -> Vec<Case>) -> Vec<Case> {
    let questions = BOTH.iter().flat_map(|dialect| STEPS.map(|step| (*dialect, step)));
    questions.flat_map(|(dialect, step)| cases(&|uri| Probe::new(dialect).step(step).uri(uri))).collect()
}

#[tokio::test]
async fn a_bearer_token_and_a_cookie_are_read_where_they_stand() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    let token = token("alice", &["user"]);
    let bearer = |line: String| move |probe: Probe| probe.header("Authorization", &line);
    let cookie = |line: String| move |probe: Probe| probe.header("Cookie", &line);
    type Add = Box<dyn Fn(Probe) -> Probe>;
    let read: Vec<Add> = vec![
        Box::new(bearer(format!("Bearer {token}"))),
        Box::new(bearer(format!("bearer {token}"))),
        Box::new(bearer(format!("BEARER    {token}  "))),
        Box::new(cookie(format!("jwt={token}"))),
        Box::new(cookie(format!("a=b;jwt={token};c=d"))),
        Box::new(cookie(format!("a=b;   jwt={token} ; c=d"))),
        Box::new(cookie(format!("a; =; jwt={token}"))),
    ];
    let not_read: Vec<Add> = vec![
        Box::new(|probe| probe),
        Box::new(bearer("Basic YWxpY2U6eA==".to_owned())),
        Box::new(bearer(format!("Bearer{token}"))),
        Box::new(bearer(format!("JWT {token}"))),
        Box::new(bearer(format!("Token {token}"))),
        Box::new(bearer(format!("DPoP {token}"))),
        Box::new(bearer(format!("\"Bearer {token}\""))),
        Box::new(bearer(token.clone())),
        Box::new(bearer(String::new())),
        Box::new(cookie(format!("JWT={token}"))),
        Box::new(cookie(format!("xjwt={token}; jwtx={token}; jwt-2={token}"))),
        Box::new(cookie("jwt=".to_owned())),
        Box::new(cookie("jwt".to_owned())),
        Box::new(cookie(format!("a=\"; jwt\"={token}"))),
        Box::new(cookie(format!("__Host-jwt={token}"))),
        Box::new(cookie(String::new())),
        Box::new({
            let token = token.clone();
            move |probe: Probe| probe.header("Proxy-Authorization", format!("Bearer {token}"))
        }),
        Box::new({
            let token = token.clone();
            move |probe: Probe| {
                probe
                    .header("X-Authorization", format!("Bearer {token}"))
                    .header("Authorization_", format!("Bearer {token}"))
            }
        }),
        Box::new({
            let token = token.clone();
            move |probe: Probe| {
                probe.header("Set-Cookie", format!("jwt={token}")).header("Cookie2", format!("jwt={token}"))
            }
        }),
        Box::new({
            let token = token.clone();
            move |probe: Probe| probe.uri(format!("/any?access_token={token}&jwt={token}"))
        }),
    ];
    let mut cases = Vec::new();
    for (adds, status, reason) in [(&read, 200, "allowed"), (&not_read, 401, "no_credential")] {
        for add in adds {
            cases.extend(everywhere(|probe| vec![(add(probe("/any")), status, reason)]));
        }
    }
    all(&gate, &cases).await;
}

#[tokio::test]
async fn a_credential_that_is_none_is_malformed() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    let token = token("alice", &["user"]);
    let mut cases = Vec::new();
    for line in [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer a,b",
        "Bearer \u{e9}",
        "Bearer a\tb",
        "Bearer\ta",
        "Bearer \ta",
        &format!("Bearer {token} x"),
        &format!("Bearer Bearer {token}"),
    ] {
        cases.extend(everywhere(|probe| {
            vec![(probe("/any").header("Authorization", line), 401, "malformed_credential")]
        }));
    }
    for line in ["jwt=a b", "jwt=a,b", "jwt=\u{e9}", "jwt=a\tb", "jwt =a", "jwt\t=a", "a=b; jwt =a; c=d"] {
        cases.extend(everywhere(|probe| vec![(probe("/any").header("Cookie", line), 401, "malformed_credential")]));
    }
    cases.extend(everywhere(|probe| {
        vec![
            (probe("/any").header("Authorization", b"Bearer \xff\xfe"), 401, "malformed_credential"),
            (probe("/any").header("Authorization", b"Bea\xffrer x"), 401, "no_credential"),
            (probe("/any").header("Cookie", b"jwt=\xff"), 401, "malformed_credential"),
            // Another cookie's bytes are nobody's matter.
            (probe("/any").header("Cookie", [b"a=\xff; jwt=", token.as_bytes()].concat()), 200, "allowed"),
            (probe("/any").header("Cookie", format!("jwt=\"{token}\"")), 401, "malformed_token"),
            (probe("/any").header("Cookie", "jwt=a=b=c"), 401, "malformed_token"),
            (probe("/any").header("Authorization", "Bearer x"), 401, "malformed_token"),
        ]
    }));
    all(&gate, &cases).await;
}

#[tokio::test]
async fn of_two_credentials_the_rules_first_kind_speaks() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    let (user, admin) = (token("alice", &["user"]), token("alice", &["admin"]));
    let mut cases = Vec::new();
    for dialect in BOTH {
        for step in [Step::Validate, Step::Authz] {
            let probe = |uri: &str| Probe::new(dialect).step(step).uri(uri);
            cases.extend([
                (probe("/default").bearer(&user).cookie(&admin), 403, "missing_role"),
                (probe("/default").bearer(&admin).cookie(&user), 200, "allowed"),
                (probe("/default").cookie(&user).bearer(&admin), 200, "allowed"),
                (probe("/cookie-first").bearer(&user).cookie(&admin), 200, "allowed"),
                (probe("/cookie-first").bearer(&admin).cookie(&user), 403, "missing_role"),
                (probe("/cookie-first").bearer(&admin), 200, "allowed"),
                (probe("/default").cookie(&admin), 200, "allowed"),
            ]);
        }
    }
    all(&gate, &cases).await;
    for dialect in BOTH {
        let answer = Probe::new(dialect).uri("/cookie-first").bearer(&user).cookie(&admin).ask(&gate).await;
        assert_eq!(said(&answer, "x-user-role"), Some("admin"), "one credential's roles, not the sum of both");
    }
}

#[tokio::test]
async fn a_kind_that_the_rule_does_not_take_is_ignored_whatever_it_holds() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    let (alice, bob) = (token("alice", &["user"]), token("bob", &["user"]));
    let cases = everywhere(|probe| {
        let mut cases = vec![
            (probe("/bearer-only").cookie(&alice), 401, "no_credential"),
            (probe("/cookie-only").bearer(&alice), 401, "no_credential"),
            (probe("/bearer-only").bearer(&alice).cookie(&bob), 200, "allowed"),
            (probe("/cookie-only").cookie(&alice).bearer(&bob), 200, "allowed"),
            (probe("/bearer-only").bearer(&alice).cookie(&bob).cookie(&bob), 200, "allowed"),
            (probe("/cookie-only").cookie(&alice).bearer(&bob).bearer("x"), 200, "allowed"),
        ];
        for broken in ["x", "", "a b", "..."] {
            cases.push((probe("/bearer-only").bearer(&alice).cookie(broken), 200, "allowed"));
            cases.push((probe("/cookie-only").cookie(&alice).bearer(broken), 200, "allowed"));
            cases.push((probe("/open").cookie(broken).bearer(broken), 200, "allowed"));
            cases.push((probe("/open").cookie(broken).cookie(broken).bearer(broken).bearer(broken), 200, "allowed"));
        }
        cases
    });
    all(&gate, &cases).await;
    for dialect in BOTH {
        let answer = Probe::new(dialect).uri("/bearer-only").bearer(&alice).cookie(&bob).ask(&gate).await;
        assert_eq!(said(&answer, "x-user-id"), Some("alice"));
        let answer = Probe::new(dialect).uri("/open").bearer(&alice).cookie(&bob).ask(&gate).await;
        assert_eq!(said(&answer, "x-user-id"), absent(dialect));
    }
}

#[tokio::test]
async fn two_credentials_must_both_be_good_and_of_one_subject() {
    let (alice, bob) = (token("alice", &["user"]), token("bob", &["admin"]));
    let expired = KEY.token(&claims(json!({"exp": 1_000_000_000})));
    let other_name = KEY.token(&claims(json!({"sub": "Alice"})));
    let gate = Gate::start(&Config::with_policy(POLICY));
    let cases = everywhere(|probe| {
        let mut cases = vec![
            (probe("/any").bearer(&alice).cookie(&alice), 200, "allowed"),
            (probe("/any").bearer(&alice).cookie(&bob), 400, "conflicting_credentials"),
            (probe("/any").bearer(&bob).cookie(&alice), 400, "conflicting_credentials"),
            (probe("/cookie-first").bearer(&bob).cookie(&alice), 400, "conflicting_credentials"),
            (probe("/any").bearer(&alice).cookie(&other_name), 400, "conflicting_credentials"),
            (probe("/any").bearer(&alice).cookie(&expired), 401, "expired"),
            (probe("/any").bearer(&expired).cookie(&alice), 401, "expired"),
            (probe("/any").bearer(&alice).cookie("x"), 401, "malformed_token"),
            (probe("/any").bearer("x").cookie(&alice), 401, "malformed_token"),
            (probe("/any").bearer(&alice).cookie("a b"), 401, "malformed_credential"),
            (probe("/any").bearer("").cookie(&alice), 401, "malformed_credential"),
            (probe("/any").bearer(&alice).header("Cookie", format!("jwt={bob}; jwt={bob}")), 400, "doubled_credential"),
            // An empty cookie is a cookie that was taken away.
            (probe("/any").bearer(&alice).cookie(""), 200, "allowed"),
        ];
        // Another scheme is no credential of ours, and takes none away.
        for basic in ["Basic YWxpY2U6eA==", "Negotiate x", "Digest username=\"a\"", ""] {
            cases.push((probe("/any").header("Authorization", basic), 401, "no_credential"));
            cases.push((probe("/any").header("Authorization", basic).cookie(&alice), 200, "allowed"));
        }
        cases
    });
    all(&gate, &cases).await;
}

#[tokio::test]
async fn the_same_name_at_two_issuers_is_two_subjects() {
    let other = Signer::new("other", "EdDSA");
    let config = Config::with_policy(POLICY).file("other.json", &json!({"keys": [other.jwk()]}).to_string());
    let second =
        "  - {name: other, issuer: https://other.localhost, audiences: [shop], keys: {jwks_file: other.json}}\n";
    let config = config.edit("\nshutdown:", &format!("\n{second}\nshutdown:"));
    let gate = Gate::start(&config);
    let ours = token("alice", &["user"]);
    let theirs = other.token(&claims(json!({"iss": "https://other.localhost"})));
    // Each issuer's key is worth nothing for the other's tokens.
    let forged = other.token(&claims(json!({})));
    let forged_back = KEY.token(&claims(json!({"iss": "https://other.localhost"})));
    let cases = everywhere(|probe| {
        vec![
            (probe("/any").bearer(&ours), 200, "allowed"),
            (probe("/any").bearer(&theirs), 200, "allowed"),
            (probe("/any").bearer(&ours).cookie(&theirs), 400, "conflicting_credentials"),
            (probe("/any").bearer(&theirs).cookie(&ours), 400, "conflicting_credentials"),
            (probe("/any").bearer(&forged), 401, "unknown_key"),
            (probe("/any").bearer(&forged_back), 401, "unknown_key"),
        ]
    });
    all(&gate, &cases).await;
    let answer = Probe::traefik().uri("/any").bearer(&theirs).ask(&gate).await;
    assert_eq!((answer.audit["issuer"].as_str(), answer.audit["subject"].as_str()), (Some("other"), Some("alice")));
}

#[tokio::test]
async fn the_cookies_name_is_the_operators() {
    let alice = token("alice", &["user"]);
    for name in ["session", "__Host-portcullis.token", "a"] {
        let gate = Gate::start(
            &Config::with_policy(POLICY)
                .edit("\nshutdown:", &format!("\ncredentials: {{cookie_name: {name}}}\nshutdown:")),
        );
        let cases = everywhere(|probe| {
            vec![
                (probe("/any").header("Cookie", format!("{name}={alice}")), 200, "allowed"),
                (probe("/any").cookie(&alice), 401, "no_credential"),
                (probe("/any").header("Cookie", format!("{name}={alice}; jwt=broken; jwt=doubled")), 200, "allowed"),
                (probe("/any").header("Cookie", format!("{name}={alice}; {name}={alice}")), 400, "doubled_credential"),
                (
                    probe("/any")
                        .header("Cookie", format!("x{name}={alice}; {name}x={alice}; {}={alice}", name.to_uppercase())),
                    401,
                    "no_credential",
                ),
            ]
        });
        all(&gate, &cases).await;
    }
}

#[tokio::test]
async fn the_second_half_of_a_chain_verifies_by_itself() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    let (user, admin) = (token("alice", &["user"]), token("root", &["admin"]));
    for dialect in BOTH {
        let authz = || Probe::new(dialect).step(Step::Authz).uri("/default");
        // What the first half said is not believed, neither in place of a credential nor over one.
        let told = |probe: Probe| {
            probe.header("X-User-ID", "root").header("X-User-Role", "admin").header("X-User-Tier", "pro")
        };
        told(authz()).ask(&gate).await.expect(401, "no_credential");
        told(authz()).bearer("x").ask(&gate).await.expect(401, "malformed_token");
        told(authz()).bearer(&user).ask(&gate).await.expect(403, "missing_role");
        let answer = authz().header("X-User-ID", "alice").bearer(&admin).ask(&gate).await;
        answer.expect(200, "allowed");
        assert_eq!((said(&answer, "x-user-id"), said(&answer, "x-user-role")), (Some("root"), Some("admin")));
        // The first half states the user and nothing that was not checked.
        let answer = Probe::new(dialect).step(Step::Authn).uri("/default").bearer(&user).ask(&gate).await;
        answer.expect(200, "allowed");
        assert_eq!(said(&answer, "x-user-id"), Some("alice"));
        assert_eq!([said(&answer, "x-user-role"), said(&answer, "x-user-tier")], [absent(dialect); 2]);
    }
}
