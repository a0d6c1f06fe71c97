//! Who signs in at a provider is let in as who he is; whatever else the provider signs is not.

use serde_json::json;

use super::{ask, claims_of, config, entry, provided, ready, trusting};
use crate::support::authority::Authority;
use crate::support::gate::{Answer, Gate, KEY, claims, within};
use crate::support::provider::{API, Habits, Provider};
use crate::support::stand_in::{StandIn, http, jwks};

const CLIENTS: [&str; 3] = ["gate", "gate-es", "gate-ed"];

/// Asserts an allow for this subject with these roles.
#[track_caller]
fn allowed(answer: &Answer, subject: &str, roles: &str) {
    answer.expect(200, "allowed");
    assert_eq!((answer.header("x-user-id"), answer.header("x-user-role")), (Some(subject), Some(roles)));
}

#[tokio::test]
async fn keycloak_is_found_by_its_realm_and_its_tokens_are_taken() {
    let provider = Provider::start(Habits::Keycloak).await;
    // The clients' own names are among the audiences, and this provider's ID tokens have no `typ`: only their kind keeps them out.
    let audiences = format!("['{API}', gate, gate-es, gate-ed]");
    let more = ["claims: {client_roles: [gate]}", "types: [JWT, none]"];
    let entry = provided(&provider, &more).replace(&format!("['{API}']"), &audiences);
    let gate = Gate::start(&config(&[entry]));
    ready(&gate).await;
    for client in CLIENTS {
        let alice = provider.sign_in(client, "alice").await;
        allowed(&ask(&gate, "/admin", &alice.access).await, "alice", "user,admin,gate:user,gate:admin");
        ask(&gate, "/any", &alice.id).await.expect(401, "wrong_kind");
        let bob = provider.sign_in(client, "bob").await;
        allowed(&ask(&gate, "/any", &bob.access).await, "bob", "user,gate:user");
        ask(&gate, "/admin", &bob.access).await.expect(403, "missing_role");
    }
    let carol = provider.sign_in("gate", "carol").await;
    allowed(&ask(&gate, "/any", &carol.access).await, "carol", "");
    allowed(&ask(&gate, "/any", &provider.service_token().await).await, "svc", "");
}

#[tokio::test]
async fn auth0_is_found_by_its_tenant_and_its_tokens_are_taken() {
    let provider = Provider::start(Habits::Auth0).await;
    let audiences = format!("['{API}', gate, gate-es, gate-ed]");
    let entry = provided(&provider, &["types: [JWT, none]"]).replace(&format!("['{API}']"), &audiences);
    let gate = Gate::start(&config(&[entry]));
    ready(&gate).await;
    for client in CLIENTS {
        let alice = provider.sign_in(client, "alice").await;
        for uri in ["/any", "/admin", "/do-admin"] {
            allowed(&ask(&gate, uri, &alice.access).await, "alice", "user,admin");
        }
        ask(&gate, "/any", &alice.id).await.expect(401, "wrong_kind");
        let bob = provider.sign_in(client, "bob").await;
        ask(&gate, "/admin", &bob.access).await.expect(403, "missing_role");
        ask(&gate, "/do-admin", &bob.access).await.expect(403, "missing_scope");
    }
    // One of several audiences is enough, and another API is none of them.
    let alice = provider.sign_in("gate", "alice").await;
    for (audience, status, reason) in
        [(provider.url("userinfo"), 200, "allowed"), ("https://other.example.test".to_owned(), 401, "wrong_audience")]
    {
        let entry = provided(&provider, &[]).replace(API, &audience);
        let gate = Gate::start(&config(&[entry]));
        ready(&gate).await;
        ask(&gate, "/any", &alice.access).await.expect(status, reason);
    }
}

#[tokio::test]
async fn an_id_token_opens_nothing_unless_the_settings_say_so() {
    for habits in [Habits::Keycloak, Habits::Auth0] {
        let provider = Provider::start(habits).await;
        let alice = provider.sign_in("gate", "alice").await;
        let only = provided(&provider, &["accepts: [id_token]", "types: [JWT, none]"]).replace(API, "gate");
        let gate = Gate::start(&config(&[only]));
        ready(&gate).await;
        allowed(&ask(&gate, "/any", &alice.id).await, "alice", "user,admin");
        let reason = if habits == Habits::Keycloak { "wrong_kind" } else { "wrong_audience" };
        ask(&gate, "/any", &alice.access).await.expect(401, reason);
        assert!(gate.log().contains("has its ID tokens accepted"), "{}", gate.log());
        ask(&trusting(&provider, &[]).await, "/any", &alice.id).await.expect(401, "wrong_type");
    }
}

#[tokio::test]
async fn only_the_clients_that_are_named_may_have_got_the_token() {
    let provider = Provider::start(Habits::Keycloak).await;
    let gate = trusting(&provider, &["authorized_parties: [gate, svc]"]).await;
    allowed(&ask(&gate, "/any", &provider.sign_in("gate", "bob").await.access).await, "bob", "user");
    ask(&gate, "/any", &provider.service_token().await).await.expect(200, "allowed");
    ask(&gate, "/any", &provider.sign_in("gate-es", "bob").await.access).await.expect(401, "wrong_party");
}

#[tokio::test]
async fn several_issuers_stand_beside_each_other_and_none_speaks_for_another() {
    let (keycloak, auth0) = (Provider::start(Habits::Keycloak).await, Provider::start(Habits::Auth0).await);
    let file = "  - {name: file, issuer: https://id.shop.localhost, audiences: [shop], keys: {jwks_file: jwks.json}}\n";
    let gate = Gate::start(&config(&[provided(&keycloak, &[]), file.to_owned(), provided(&auth0, &[])]));
    ready(&gate).await;
    let tokens = [
        ("keycloak", keycloak.sign_in("gate", "alice").await.access),
        ("file", KEY.token(&claims(json!({})))),
        ("auth0", auth0.sign_in("gate-es", "alice").await.access),
    ];
    for (issuer, token) in &tokens {
        let answer = ask(&gate, "/any", token).await;
        answer.expect(200, "allowed");
        assert_eq!(answer.audit["issuer"], *issuer);
    }
    // The file's key signs for the others; so does nobody.
    for provider in [&keycloak, &auth0] {
        let borrowed = KEY.token(&claims_of(&provider.issuer()));
        ask(&gate, "/any", &borrowed).await.expect(401, "unknown_key");
    }
    // The same name at two issuers is two subjects.
    let cookie = format!("jwt={}", tokens[2].1);
    let both = [("Authorization", &*format!("Bearer {}", tokens[0].1)), ("Cookie", &*cookie)];
    gate.ask("GET", "/any", &both).await.expect(400, "conflicting_credentials");
}

#[tokio::test]
async fn a_provider_that_is_down_at_the_start_is_waited_for() {
    let mut provider = Provider::stopped(Habits::Keycloak);
    let gate = Gate::start(&config(&[provided(&provider, &[])]));
    within("a failure in the log", async || gate.log().contains("keys cannot be fetched; none serve")).await;
    let ready = gate.admin_get("/ready").await;
    assert_eq!((ready.status, ready.json()["issuers_without_keys"].clone()), (503, json!(["keycloak"])));
    ask(&gate, "/any", &KEY.token(&claims_of(&provider.issuer()))).await.expect(503, "keys_unavailable");
    gate.ask("GET", "/open", &[]).await.expect(200, "allowed");

    provider.run().await;
    super::ready(&gate).await;
    let alice = provider.sign_in("gate", "alice").await;
    allowed(&ask(&gate, "/any", &alice.access).await, "alice", "user,admin");
}

#[tokio::test]
async fn keys_at_a_url_need_no_metadata() {
    let provider = Provider::start(Habits::Auth0).await;
    let before = provider.control("/set?discMode=500").await["discHits"].clone();
    let gate = trusting(&provider, &[&format!("keys: {{jwks_url: '{}'}}", provider.url("jwks"))]).await;
    assert_eq!(provider.control("/state").await["discHits"], before, "nobody asked for it");
    provider.control("/set?discMode=ok").await;
    let alice = provider.sign_in("gate-ed", "alice").await;
    allowed(&ask(&gate, "/any", &alice.access).await, "alice", "user,admin");
}

#[tokio::test]
async fn metadata_may_be_elsewhere_and_must_speak_of_the_issuer() {
    // The metadata is a stand-in's, as at an address inside a cluster; the keys are the provider's.
    let provider = Provider::start(Habits::Keycloak).await;
    let names =
        |issuer: &str| http("200 OK", "", &json!({"issuer": issuer, "jwks_uri": provider.url("jwks")}).to_string());
    let inside = StandIn::answering({
        let metadata = names(&provider.issuer());
        move |head| {
            if head.starts_with("GET /inside HTTP/1.1\r\n") { metadata.clone() } else { http("404 Not Found", "", "") }
        }
    })
    .await;
    let gate = trusting(&provider, &[&format!("keys: {{discovery_url: 'http://{}/inside'}}", inside.address)]).await;
    let alice = provider.sign_in("gate", "alice").await;
    allowed(&ask(&gate, "/any", &alice.access).await, "alice", "user,admin");

    for stranger in ["http://evil.example".to_owned(), format!("{}/", provider.issuer())] {
        inside.says(names(&stranger));
        let entry = provided(&provider, &[&format!("keys: {{discovery_url: 'http://{}/inside'}}", inside.address)]);
        let gate = Gate::start(&config(&[entry]));
        let wanted = format!("it is the metadata of `{stranger}`");
        within("a refusal in the log", async || gate.log().contains(&wanted)).await;
        ask(&gate, "/any", &alice.access).await.expect(503, "keys_unavailable");
        assert_eq!(gate.admin_get("/ready").await.status, 503);
    }
}

#[tokio::test]
async fn a_provider_that_names_another_issuer_is_believed_when_it_is_itself_again() {
    let provider = Provider::start(Habits::Auth0).await;
    provider.control("/set?discIssuer=https://evil.example/").await;
    let gate = Gate::start(&config(&[provided(&provider, &[])]));
    within("a refusal in the log", async || gate.log().contains("it is the metadata of `https://evil.example/`")).await;
    assert_eq!(provider.jwks_hits().await, 0, "its keys are not asked for");
    assert_eq!(gate.admin_get("/ready").await.status, 503);
    provider.control("/set?discIssuer=").await;
    ready(&gate).await;
    ask(&gate, "/any", &provider.sign_in("gate", "bob").await.access).await.expect(200, "allowed");
}

#[tokio::test]
async fn where_there_is_no_openid_metadata_that_of_rfc_8414_serves() {
    // A stand-in: an authorization server without OpenID Connect.
    let server = StandIn::answering(|head| {
        let mut words = head.split([' ', '\r']);
        let (path, host) = (words.nth(1).unwrap(), head.split("host: ").nth(1).unwrap().split('\r').next().unwrap());
        match path {
            "/.well-known/oauth-authorization-server/tenant" => {
                let metadata =
                    json!({"issuer": format!("http://{host}/tenant"), "jwks_uri": format!("http://{host}/k")});
                http("200 OK", "", &metadata.to_string())
            }
            "/k" => http("200 OK", "", &jwks(&[&KEY])),
            _ => http("404 Not Found", "", ""),
        }
    })
    .await;
    let issuer = format!("http://{}/tenant", server.address);
    let gate = Gate::start(&config(&[entry("as", &issuer, &[&format!("audiences: ['{API}']")])]));
    ready(&gate).await;
    ask(&gate, "/any", &KEY.token(&claims_of(&issuer))).await.expect(200, "allowed");
    let asked: Vec<String> = server.asked().iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect();
    let wanted = ["/tenant/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/tenant", "/k"];
    assert_eq!(asked, wanted);
}

#[tokio::test]
async fn only_the_authority_that_is_named_is_believed() {
    // A stand-in that speaks TLS, with a certificate of an authority that no system knows.
    let (ours, other) = (Authority::new(), Authority::new());
    let server = StandIn::over_tls(&ours, http("200 OK", "", &jwks(&[&KEY]))).await;
    let issuer = format!("https://{}/", server.address);
    let gate = |ca: &str| {
        let keys = format!("keys: {{jwks_url: 'https://{}/jwks'{ca}}}", server.address);
        let entry = entry("tls", &issuer, &[&format!("audiences: ['{API}']"), &keys]);
        let entry = entry.replace("    danger_allow_http_issuer: true\n", "");
        Gate::start(&config(&[entry]).file("ours.pem", &ours.pem()).file("other.pem", &other.pem()))
    };
    for disbelieving in ["", ", ca_file: other.pem"] {
        let gate = gate(disbelieving);
        within("a refusal in the log", async || gate.log().contains("invalid peer certificate")).await;
        ask(&gate, "/any", &KEY.token(&claims_of(&issuer))).await.expect(503, "keys_unavailable");
    }
    assert_eq!(server.asked().len(), 0, "nothing is said to a stranger");
    let gate = gate(", ca_file: ours.pem");
    ready(&gate).await;
    ask(&gate, "/any", &KEY.token(&claims_of(&issuer))).await.expect(200, "allowed");
}
