use serde_json::json;

use super::*;
use crate::credential::Presented;
use crate::gate::cache::TokenCache;
use crate::gate::ports::BoxFuture;
use crate::gate::{Authenticator, Introspection, Keys, NoRevocations};
use crate::introspection::Introspectors;
use crate::keys::KeyStore;
use crate::keys::member;
use crate::limits::memory::Memory;
use crate::limits::{Limits, Unlimited};
use crate::policy::{CanonicalPath, Host, Method, RequestFacts, Step};
use crate::server::metrics::Observed;
use crate::signer::Signer;
use crate::token::issuer::Audiences;
use crate::token::{Issuer, KeySet};

/// Keys that know one key and hang when asked for newer ones: a source that does not keep its own bounds.
#[derive(Debug)]
struct Hanging(Arc<KeySet>);

impl Keys for Hanging {
    fn current(&self, _: usize) -> Option<Arc<KeySet>> {
        Some(Arc::clone(&self.0))
    }

    fn newer<'a>(&'a self, _: usize, _: &'a str) -> BoxFuture<'a, Option<Arc<KeySet>>> {
        Box::pin(std::future::pending())
    }
}

fn decisions(known: &Signer, deadline: Duration) -> Decisions {
    let policy = json!({"rules": [{"id": "r", "hosts": ["*"], "paths": ["/**"], "allow": "authenticated"}]});
    let policy = Policy::compile(&serde_json::from_value(policy).expect("a policy")).expect("a policy");
    let issuer = Issuer::new("a", "https://a", Audiences::Any);
    let key = member::key(&known.jwk(), &[]).expect("a key");
    let keys = Arc::new(Hanging(Arc::new([key].into_iter().collect())));
    let introspectors = Arc::new(Introspectors::new(Vec::new()));
    let asking = Arc::clone(&introspectors) as Arc<dyn Introspection>;
    let cache = TokenCache::new(1 << 20, [3; 16]);
    let authenticator = Authenticator::new(vec![issuer], keys, asking, Arc::new(NoRevocations), cache, "jwt");
    let gate = Arc::new(Gate::new(policy, "a", authenticator, Arc::new(Unlimited)));
    let (lifecycle, audit) = (Arc::new(Lifecycle::default()), Arc::new(AuditLog::off()));
    let observed = Observed {
        gate: Arc::clone(&gate),
        lifecycle: Arc::clone(&lifecycle),
        audit: Arc::clone(&audit),
        keys: Arc::new(KeyStore::new(Vec::new())),
        introspectors,
        register: None,
        limits: Arc::new(Limits::new(Arc::new(Memory::new(1, [0; 16])), None)),
        reloads: Arc::default(),
    };
    Decisions {
        trusted_proxies: TrustedProxies::new(Vec::new()).expect("none"),
        deadline,
        metrics: Arc::new(Metrics::new(observed)),
        lifecycle,
        audit,
        records_principal: false,
        headers: Headers::of(&gate.in_force().policy),
        gate,
    }
}

async fn decide(decisions: &Decisions, signer: &Signer) -> Decision {
    let now = clock::now();
    let token = signer.token(&json!({"iss": "https://a", "sub": "alice", "exp": now.secs().saturating_add(60)}));
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
    let in_force = decisions.gate.in_force();
    decisions.decide(&in_force, &Ask { step: Step::Validate, facts, presented }, now).await
}

/// What does not come in time is no permission.
#[tokio::test]
async fn t_e3_a_decision_that_hangs_is_refused_at_the_deadline() {
    let (known, unknown) = (Signer::new("known", "EdDSA"), Signer::new("unknown", "EdDSA"));
    let deadline = Duration::from_millis(50);
    let decisions = decisions(&known, deadline);
    let started = Instant::now();
    let refusal = decide(&decisions, &unknown).await.expect_err("no key, no answer");
    assert_eq!(refusal.reason, Reason::Deadline);
    assert!((deadline..Duration::from_secs(1)).contains(&started.elapsed()), "{:?}", started.elapsed());
    assert!(decide(&decisions, &known).await.is_ok(), "a known key never waits");
}
