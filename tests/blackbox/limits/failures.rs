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

/// A page whose requests all come at once with a new token, where no more may fail than a few: nobody fails.
#[tokio::test]
async fn many_good_credentials_at_once_are_no_failures() {
    let redis = crate::support::redis::Server::start().await;
    for store in ["{}".to_owned(), format!("{{redis: {{url: '{}'}}}}", redis.url())] {
        let limit = format!("- {{name: guesses, by: client, counts: failures, {SLOW}, burst: 2}}");
        let config = policy(&limit, RULES).edit("listeners:\n", &format!("limits: {{store: {store}}}\nlisteners:\n"));
        let gate = Gate::start(&config);
        for round in 0..3 {
            let tokens: Vec<String> = (0..30)
                .map(|number| KEY.token(&claims(json!({"sub": number.to_string(), "jti": round.to_string()}))))
                .collect();
            let answers = futures_util::future::join_all(tokens.iter().map(|token| ask(&gate, "/x", token))).await;
            for answer in &answers {
                answer.expect(200, "allowed");
            }
        }
        for number in 0..2 {
            ask(&gate, "/x", &forged(number)).await.expect(401, "bad_signature");
        }
        ask(&gate, "/x", &forged(2)).await.expect(429, "rate_limited");
    }
}

/// A decision that meets its deadline has cost nobody anything.
#[tokio::test]
async fn a_decision_that_comes_too_late_takes_nothing() {
    // It takes connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let limit = format!("- {{name: strangers, by: client, counts: unauthenticated, {SLOW}, burst: 2}}");
    let address = silent.local_addr().expect("an address");
    let asked = format!(
        "    audiences: [shop]\n    danger_allow_http_issuer: true\n    introspection: {{url: 'http://{address}/', client_id: gate, client_secret_env: GATE_SECRET}}\n"
    );
    let config = policy(&limit, RULES).env("GATE_SECRET", "secret").edit("    audiences: [shop]\n", &asked);
    let gate = Gate::start(&config.edit("  decisions:\n", "  decisions:\n    deadline: 120ms\n"));
    for number in 0..5 {
        let answer = ask(&gate, "/x", &format!("opaque-{number}")).await;
        assert_eq!(answer.status(), 503, "{answer:?}");
    }
    gate.ask("GET", "/x", &[]).await.expect(401, "no_credential");
}

/// A change of the policy makes proofs anew; who was known is no stranger for that.
#[tokio::test]
async fn who_was_known_is_no_stranger_because_the_policy_has_changed() {
    let limit = format!("- {{name: strangers, by: client, counts: unauthenticated, {SLOW}, burst: 1}}");
    let config = policy(&limit, RULES);
    let gate = Gate::start(&config);
    let alice = token("alice", &[]);
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
    gate.ask("GET", "/x", &[]).await.expect(401, "no_credential");
    ask(&gate, "/x", &token("bob", &[])).await.expect(429, "rate_limited");
    // It reads another claim: what was proven says nothing of that.
    let next =
        config.policy.replace("rules:\n", "identity_headers: {extra: [{header: X-Plan, claim: plan}]}\nrules:\n");
    std::fs::write(gate.folder().join("next"), next).expect("a file");
    std::fs::rename(gate.folder().join("next"), gate.folder().join("policy.yaml")).expect("renamed");
    let reloads = "portcullis_reloads_total{what=\"policy\",result=\"ok\"}";
    crate::support::gate::within("the new policy", async || gate.metric(reloads).await == Some(1.0)).await;
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
    ask(&gate, "/x", &token("bob", &[])).await.expect(429, "rate_limited");
}
