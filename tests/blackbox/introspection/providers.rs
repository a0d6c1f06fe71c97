//! Opaque tokens of real OpenID Providers (`tests/op`).

use crate::support::gate::{Answer, Config, Gate, within};
use crate::support::provider::{API, Habits, Provider};

async fn ask(gate: &Gate, path: &str, token: &str) -> Answer {
    gate.ask("GET", path, &[("Authorization", &format!("Bearer {token}"))]).await
}

/// A gate that asks this provider, as its documentation and ours would have it.
fn asking(provider: &Provider) -> Gate {
    let more = match provider.habits() {
        Habits::Keycloak => "preset: keycloak",
        Habits::Auth0 => "claims: {roles: 'https://gate.example.test/roles'}",
    };
    let settings = format!(
        "listeners: {{decisions: {{address: 127.0.0.1:0}}, admin: {{address: 127.0.0.1:0}}}}\npolicy: policy.yaml\n\
         shutdown: {{not_ready_for: 0s}}\nissuers:\n  - name: op\n    issuer: '{}'\n    audiences: ['{API}']\n    {more}\n    \
         danger_allow_http_issuer: true\n    introspection: {{client_id: svc, client_secret_env: OP_SECRET, max_age: 1s}}\n",
        provider.issuer()
    );
    let policy = "rules:\n  - {id: any, hosts: [shop.localhost], paths: [/any], allow: authenticated}\n  \
                  - {id: admin, hosts: [shop.localhost], paths: [/admin], allow: {roles: {any: [admin]}}}\n";
    Gate::start(&Config { settings, ..Config::with_policy(policy) }.env("OP_SECRET", "secret"))
}

#[tokio::test]
async fn opaque_tokens_of_a_real_provider_pass_until_they_are_revoked_and_other_kinds_never() {
    for habits in [Habits::Keycloak, Habits::Auth0] {
        let provider = Provider::start(habits).await;
        let jwt = provider.sign_in("gate", "alice").await.access;
        provider.control("/set?format=opaque").await;
        let gate = asking(&provider);
        within("ready", async || gate.admin_get("/ready").await.status == 200).await;
        let (alice, bob) = (provider.sign_in("gate", "alice").await, provider.sign_in("gate-es", "bob").await);
        assert!(!alice.access.contains('.'), "{} is no opaque token", alice.access);
        // The first question finds the endpoint, too.
        within("the first answer", async || ask(&gate, "/any", &alice.access).await.status() == 200).await;
        let answer = ask(&gate, "/admin", &alice.access).await;
        answer.expect(200, "allowed");
        let identity = [answer.header("x-user-id"), answer.header("x-user-role")];
        assert_eq!(identity, [Some("alice"), Some("user,admin")], "{habits:?}");
        ask(&gate, "/any", &bob.access).await.expect(200, "allowed");
        ask(&gate, "/admin", &bob.access).await.expect(403, "missing_role");
        // Active, and nobody's business here.
        let refresh = alice.refresh.as_deref().expect("a refresh token");
        ask(&gate, "/any", refresh).await.expect(401, "wrong_kind");
        ask(&gate, "/any", &format!("{}x", alice.access)).await.expect(401, "inactive");
        // What is a JWT goes its own way.
        ask(&gate, "/any", &jwt).await.expect(200, "allowed");
        provider.revoke("gate", &alice.access).await;
        within("it is taken back", async || ask(&gate, "/any", &alice.access).await.reason() == "inactive").await;
        ask(&gate, "/any", &bob.access).await.expect(200, "allowed");
    }
}
