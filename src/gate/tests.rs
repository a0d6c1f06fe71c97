use serde_json::{Value, json};

use super::cache::TokenCache;
use super::*;
use crate::introspection::Introspectors;
use crate::keys::{KeyStore, file};
use crate::limits::Unlimited;
use crate::policy::{CanonicalPath, Host, Method, Reason};
use crate::signer::Signer;
use crate::token::Issuer;
use crate::token::issuer::Audiences;

const NOW: UnixTime = UnixTime::from_secs(1_000_000);

/// To prove costs nothing.
pub(super) struct Free;

impl Toll for Free {
    async fn pay(&mut self) -> Result<(), Reason> {
        Ok(())
    }
}

fn gate(version: &str, allow: &Value, signer: &Signer) -> Gate {
    let policy = json!({"rules": [{"id": "r", "hosts": ["*"], "paths": ["/**"], "allow": allow}]});
    let policy = Policy::compile(&serde_json::from_value(policy).expect("a policy")).expect("a policy");
    let keys = file::jwk_set(json!({"keys": [signer.jwk()]}).to_string().as_bytes(), &[]).expect("keys");
    let authenticator = Authenticator::new(
        vec![Issuer::new("a", "https://a", Audiences::Any)],
        Arc::new(KeyStore::new(vec![Some(keys)])),
        Arc::new(Introspectors::new(Vec::new())),
        Arc::new(NoRevocations),
        TokenCache::new(1 << 20, [5; 16]),
        "jwt",
    );
    Gate::new(policy, version, authenticator, Arc::new(Unlimited))
}

async fn decide(gate: &Gate, in_force: &InForce, token: &str) -> Result<(), Reason> {
    let bearer = format!("Bearer {token}");
    let mut presented = Presented::default();
    presented.authorization.push(bearer.as_bytes());
    let facts = RequestFacts {
        rule_set: None,
        preflight: None,
        method: Method::parse(b"GET").expect("a method"),
        host: Host::parse(b"h").expect("a host"),
        path: CanonicalPath::parse(b"/").expect("a path"),
        client: [192, 0, 2, 1].into(),
    };
    let decision = gate.decide(in_force, &Ask { step: Step::Validate, facts, presented }, NOW).await;
    decision.map(drop).map_err(|refusal| refusal.reason)
}

/// Of a token only what the policy reads is remembered: the next policy may read more.
#[tokio::test]
async fn a_proof_is_never_judged_by_a_policy_that_reads_other_claims() {
    let signer = Signer::new("k", "EdDSA");
    let claims =
        json!({"iss": "https://a", "sub": "alice", "exp": NOW.secs().saturating_add(60), "tenant": "acme", "x": 1});
    let token = signer.token(&claims);
    let is = |claim: &str, value: Value| json!({"claims": [{"claim": claim, "equals": value}]});
    let policies = [
        json!("authenticated"),
        is("tenant", json!("acme")),
        is("x", json!(1)),
        json!("authenticated"),
        is("x", json!(1)),
    ];
    let running = gate("0", &json!("anonymous"), &signer);
    let mut earlier = Vec::new();
    for (version, allow) in policies.iter().enumerate() {
        running.exchange(gate(&version.to_string(), allow, &signer));
        let in_force = running.in_force();
        assert_eq!(*in_force.version, version.to_string());
        earlier.push(Arc::clone(&in_force));
        // Whoever began under an earlier policy ends under it, and its proofs do not get in the way of the new ones.
        for in_force in earlier.iter().chain([&*in_force]) {
            assert_eq!(decide(&running, in_force, &token).await, Ok(()), "{allow} {}", in_force.version);
        }
    }
}

#[tokio::test]
async fn the_cache_serves_on_under_a_policy_that_reads_the_same_claims() {
    let signer = Signer::new("k", "EdDSA");
    let token = signer.token(&json!({"iss": "https://a", "sub": "alice", "exp": NOW.secs().saturating_add(60)}));
    let running = gate("0", &json!("authenticated"), &signer);
    decide(&running, &running.in_force(), &token).await.expect("good");
    running.exchange(gate("1", &json!({"roles": {"any": ["admin"]}}), &signer));
    assert_eq!(decide(&running, &running.in_force(), &token).await, Err(Reason::MissingRole));
    let state = running.authenticator().cache_state();
    assert_eq!((state.hits, state.misses, state.stale), (1, 1, 0));
}
