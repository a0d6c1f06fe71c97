//! Tokens (T-F) that are not about one token alone: forged by shifting fields, presented where none is looked for, or presented where
//! none is needed. `tokens` has T-F1, 2, 10 and 14; `issuers` has T-F3, 8, 9 and 11.

use serde_json::json;

use super::probe::{BOTH, Probe, STEPS, said, together};
use crate::support::gate::{Config, Gate, KEY, claims, token};
use crate::support::signer::Signer;

const POLICY: &str = "\
rules:
  - {id: any, hosts: [shop.localhost], paths: [/any], allow: authenticated}
  - {id: open, hosts: [shop.localhost], paths: [/open], allow: anonymous}
";

/// A good token and each other cut of its text into three parts.
fn shifted(good: &str) -> Vec<String> {
    let text = good.replace('.', "");
    let cut = |first: usize, second: usize| format!("{}.{}.{}", &text[..first], &text[first..second], &text[second..]);
    let (first, last) = (good.find('.').expect("a dot"), good.rfind('.').expect("a dot"));
    let (header, payload) = (first, last - 1);
    let all =
        (1..text.len()).flat_map(|at| [cut(at.min(payload), at.max(payload)), cut(at.min(header), at.max(header))]);
    all.filter(|token| token != good).collect()
}

#[tokio::test]
async fn t_f5_a_field_shifted_into_its_neighbour_is_another_token() {
    let secret = b"this secret is known to the issuer and the gate";
    let signer = Signer::hmac("HS256", secret);
    let config = Config::with_policy(POLICY).edit("jwks_file: jwks.json", "hmac_secret_file: secret");
    let gate = Gate::start(&config.file("secret", str::from_utf8(secret).expect("text")));
    let good = signer.token(&claims(json!({})));
    Probe::traefik().uri("/any").bearer(&good).ask(&gate).await.expect(200, "allowed");
    // The MAC is over header and payload with the dot between them: no other cut of the same bytes has it.
    let forged = shifted(&good);
    assert!(forged.len() > good.len());
    for some in forged.chunks(50) {
        together(some.iter().map(async |token| {
            let answer = Probe::traefik().uri("/any").bearer(token).ask(&gate).await;
            let reason = answer.reason().to_owned();
            assert!(["malformed_token", "bad_signature"].contains(&&*reason), "{token}: {answer:#?}");
            answer.expect(401, &reason);
        }))
        .await;
    }
    // What is remembered of the good one is found under its exact text only.
    Probe::traefik().uri("/any").bearer(&good).ask(&gate).await.expect(200, "allowed");
}

#[tokio::test]
async fn t_f6_a_token_counts_only_if_it_is_good_and_where_it_belongs() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    let good = token("alice", &["user"]);
    for dialect in BOTH {
        for step in STEPS {
            let ask = || Probe::new(dialect).step(step);
            ask().uri("/any").bearer("x").ask(&gate).await.expect(401, "malformed_token");
            // RFC 6750 section 2.3 allows it in the query, where it ends in logs: not here, not even a good one.
            for name in ["access_token", "token", "jwt", "id_token"] {
                let uri = format!("/any?{name}={good}");
                ask().uri(&uri).ask(&gate).await.expect(401, "no_credential");
                ask().uri(&uri).bearer("x").ask(&gate).await.expect(401, "malformed_token");
            }
            let elsewhere = [
                "X-Access-Token",
                "X-Auth-Token",
                "X-Forwarded-Access-Token",
                "X-Id-Token",
                "Token",
                "Proxy-Authorization",
            ];
            for name in elsewhere {
                ask().uri("/any").header(name, &good).ask(&gate).await.expect(401, "no_credential");
                ask().uri("/any").header(name, format!("Bearer {good}")).ask(&gate).await.expect(401, "no_credential");
            }
        }
    }
}

#[tokio::test]
async fn t_f7_a_bad_token_is_never_taken_for_none_and_none_never_for_somebody() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    let stranger = Signer::new("test", "EdDSA");
    let bad = [
        ("x".to_owned(), "malformed_token"),
        (stranger.token(&claims(json!({}))), "bad_signature"),
        (KEY.token(&claims(json!({"iss": "https://evil.example"}))), "unknown_issuer"),
        (KEY.token(&claims(json!({"exp": 1}))), "expired"),
        (KEY.token(&claims(json!({"aud": "other"}))), "wrong_audience"),
    ];
    for dialect in BOTH {
        for (token, reason) in &bad {
            Probe::new(dialect).uri("/any").bearer(token).ask(&gate).await.expect(401, reason);
            // Where nobody is asked who he is, nobody is anybody, whatever he shows.
            let answer = Probe::new(dialect).uri("/open").bearer(token).ask(&gate).await;
            answer.expect(200, "allowed");
            assert!(
                said(&answer, "x-user-id").unwrap_or_default().is_empty() && answer.audit["subject"].is_null(),
                "{answer:#?}"
            );
        }
        Probe::new(dialect).uri("/any").ask(&gate).await.expect(401, "no_credential");
    }
}
