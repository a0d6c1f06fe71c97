//! Whoever is not known, or shows what does not hold, is limited before that costs anything.

use serde_json::json;

use super::{RULES, SLOW, accepted_of, ask, policy};
use crate::support::gate::{Gate, KEY, claims, token};
use crate::support::signer::Signer;

fn forged(number: usize) -> String {
    Signer::new("test", "EdDSA").token(&claims(json!({"jti": number.to_string()})))
}

#[tokio::test]
async fn strangers_by_their_address() {
    let limit = format!("- {{name: strangers, by: client, counts: unauthenticated, {SLOW}, burst: 4}}");
    let gate = Gate::start(&policy(&limit, RULES));
    let known = token("known", &["user"]);
    // A credential that is proven counts no more; one that was never seen is a stranger's until it is.
    assert_eq!(accepted_of(&gate, 10, &known).await, 10);
    gate.ask("GET", "/open", &[]).await.expect(200, "allowed");
    gate.ask("GET", "/perhaps", &[]).await.expect(200, "allowed");
    gate.ask("GET", "/x", &[]).await.expect(401, "no_credential");
    ask(&gate, "/x", &forged(1)).await.expect(401, "bad_signature");
    for path in ["/open", "/perhaps", "/x"] {
        let refused = gate.ask("GET", path, &[]).await;
        assert_eq!(refused.expect(429, "rate_limited").audit["limit"], "strangers", "{path}");
    }
    ask(&gate, "/x", &forged(2)).await.expect(429, "rate_limited");
    ask(&gate, "/x", &token("new", &["user"])).await.expect(429, "rate_limited");
    assert_eq!(accepted_of(&gate, 10, &known).await, 10, "who is known is not locked out by his neighbours");
    ask(&gate, "/nowhere", "x").await.expect(429, "rate_limited");
}

#[tokio::test]
async fn failed_credentials_by_address() {
    let limit = format!("- {{name: guesses, by: client, counts: failures, {SLOW}, burst: 3}}");
    let gate = Gate::start(&policy(&limit, RULES));
    let expired = KEY.token(&claims(json!({"exp": 1_000, "iat": 1})));
    for _ in 0..9 {
        gate.ask("GET", "/x", &[]).await.expect(401, "no_credential");
        gate.ask("GET", "/open", &[]).await.expect(200, "allowed");
    }
    // Good ones cost nothing, however new they are.
    for number in 0..9 {
        ask(&gate, "/x", &KEY.token(&claims(json!({"jti": number.to_string()})))).await.expect(200, "allowed");
    }
    ask(&gate, "/x", &forged(1)).await.expect(401, "bad_signature");
    ask(&gate, "/x", &expired).await.expect(401, "expired");
    gate.ask("GET", "/x", &[("Authorization", "Bearer ")]).await.expect(401, "malformed_credential");
    ask(&gate, "/x", &forged(2)).await.expect(429, "rate_limited");
    gate.ask("GET", "/x", &[("Authorization", "Bearer ")]).await.expect(429, "rate_limited");
    gate.ask("GET", "/x", &[("Authorization", "Bearer a"), ("Authorization", "Bearer b")])
        .await
        .expect(429, "rate_limited");
    ask(&gate, "/perhaps", &expired).await.expect(429, "rate_limited");
    gate.ask("GET", "/perhaps", &[]).await.expect(200, "allowed");
}

#[tokio::test]
async fn a_token_that_was_good_and_is_revoked_is_a_failure() {
    let limit = format!("- {{name: guesses, by: client, counts: failures, {SLOW}, burst: 2}}");
    let config = policy(&limit, RULES).file("admin.token", &"t".repeat(32));
    let config = config.edit("listeners:\n", "revocations: {store: {danger_memory: true}}\nlisteners:\n");
    let config = config.edit("  admin:\n", "  admin:\n    token_file: admin.token\n");
    let gate = Gate::start(&config);
    let alice = KEY.token(&claims(json!({"jti": "one"})));
    crate::support::gate::within("it is loaded", async || ask(&gate, "/x", &alice).await.status() == 200).await;
    let body = b"{\"jti\": \"one\"}";
    let headers = [("Authorization", &*format!("Bearer {}", "t".repeat(32))), ("Content-Type", "application/json")];
    let revoked =
        crate::support::raw::send(gate.admin(), crate::support::raw::request("POST", "/revocations", &headers, body))
            .await;
    assert_eq!(revoked.status, 201, "{revoked:?}");
    for _ in 0..2 {
        ask(&gate, "/x", &alice).await.expect(401, "revoked");
    }
    ask(&gate, "/x", &alice).await.expect(429, "rate_limited");
}

#[tokio::test]
async fn an_address_that_is_limited_costs_no_signature_check() {
    let limit = format!("- {{name: strangers, by: client, counts: unauthenticated, {SLOW}, burst: 1}}");
    let gate = Gate::start(&policy(&limit, RULES));
    ask(&gate, "/x", &forged(0)).await.expect(401, "bad_signature");
    // Of a key that nobody knows the issuer would be asked, and the answer would be another one.
    let strange = Signer::new("another", "EdDSA").token(&claims(json!({})));
    ask(&gate, "/x", &strange).await.expect(429, "rate_limited");
}
