//! Every token that was recorded from a real Keycloak (`tests/keycloak/recorded`), judged as its kind says, a second after it was
//! issued, by the gate in this process with the settings that an operator would write.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on panics")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis::clock::UnixTime;
use portcullis::config::{Loaded, load};
use portcullis::credential::Presented;
use portcullis::gate::Ask;
use portcullis::policy::{CanonicalPath, Decision, Host, Method, Reason, RequestFacts, Step};
use serde_json::Value;

const ALICE: &str = "d64ec2c9-7fd0-4bd7-8292-0e92bc794e6d";
const MALLORY: &str = "35ef85f6-9e1c-47ca-9fde-322e3b14ebb0";
const SERVICE: &str = "aa0edb7b-e439-4173-9e4d-88e6135750ac";
/// The roles that Keycloak gives to everybody.
const NOISE: &str = "offline_access,default-roles-shop,uma_authorization";

const POLICY: &str = "\
rules:
  - {id: any, hosts: [shop.test], paths: [/any], allow: authenticated}
  - {id: customers, hosts: [shop.test], paths: [/customers], allow: {roles: {any: [customer]}}}
  - {id: readers, hosts: [shop.test], paths: [/readers], allow: {roles: {any: ['orders-service:orders:read']}}}
  - {id: admins, hosts: [shop.test], paths: [/admins], allow: {roles: {any: [admin, manage-account]}}}
";

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keycloak/recorded").join(format!("{name}.json"))
}

fn document(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(recorded(name)).unwrap()).unwrap()
}

/// A gate that trusts the realm with the keys of this file, and more lines about it.
fn gate(jwks: &Path, more: &[&str]) -> Loaded {
    let folder = tempfile::TempDir::new().unwrap();
    let lines: String = more.iter().map(|line| format!("    {line}\n")).collect();
    let settings = format!(
        "policy: policy.yaml\nissuers:\n  - name: keycloak\n    issuer: http://127.0.0.1:8280/realms/shop\n    preset: keycloak\n    \
         keys: {{jwks_file: '{}'}}\n{lines}",
        jwks.display()
    );
    fs::write(folder.path().join("portcullis.yaml"), settings).unwrap();
    fs::write(folder.path().join("policy.yaml"), POLICY).unwrap();
    load(&folder.path().join("portcullis.yaml"), &Vec::new()).unwrap_or_else(|report| panic!("{report}"))
}

/// With the keys at rest, for the service that the tokens are meant for.
fn usual() -> Loaded {
    gate(&recorded("jwks"), &["audiences: [orders-service]", "claims: {client_roles: [orders-service]}"])
}

/// What is decided about a recorded token so long after it was issued.
async fn judged_after(gate: &Loaded, uri: &str, name: &str, age: Duration) -> Decision {
    let document = document(name);
    let issued = document["claims"]["iat"].as_i64().unwrap();
    let bearer = format!("Bearer {}", document["compact"].as_str().unwrap());
    let mut presented = Presented::default();
    presented.authorization.push(bearer.as_bytes());
    let facts = RequestFacts {
        rule_set: None,
        preflight: None,
        method: Method::parse(b"GET").unwrap(),
        host: Host::parse(b"shop.test").unwrap(),
        path: CanonicalPath::parse(uri.as_bytes()).unwrap(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let (in_force, now) = (gate.gate.in_force(), UnixTime::from_secs(issued).after(age));
    gate.gate.decide(&in_force, &Ask { step: Step::Validate, facts, presented }, now).await
}

/// The subject and the roles, or why not.
async fn judged(gate: &Loaded, uri: &str, name: &str) -> Result<(String, String), Reason> {
    let decision = judged_after(gate, uri, name, Duration::from_secs(1)).await.map_err(|refusal| refusal.reason)?;
    let principal = decision.principal().unwrap();
    Ok((principal.subject().to_owned(), principal.wire_roles().to_owned()))
}

#[tokio::test]
async fn every_recorded_token_is_judged_as_its_kind_says() {
    let customer = format!("{NOISE},customer,orders-service:orders:read");
    let allowed = |subject: &str, roles: &str| Ok((subject.to_owned(), roles.to_owned()));
    let cases = [
        ("access_token", allowed(ALICE, &customer)),
        ("access_token_es256", allowed(ALICE, &customer)),
        ("access_token_eddsa", allowed(ALICE, &customer)),
        // Of the type at+jwt.
        ("access_token_ps256", allowed(ALICE, &customer)),
        ("access_token_no_roles", allowed(MALLORY, "")),
        ("access_token_client_credentials", allowed(SERVICE, NOISE)),
        ("token_exchange", allowed(ALICE, &customer)),
        // Of a key that came later.
        ("access_token_rotated", Err(Reason::UnknownKey)),
        // It names no audience, and nobody.
        ("access_token_lightweight", Err(Reason::WrongAudience)),
        ("id_token", Err(Reason::WrongKind)),
        // Of keys that only Keycloak has.
        ("refresh_token", Err(Reason::UnknownKey)),
        ("offline_token", Err(Reason::UnknownKey)),
        ("logout_token", Err(Reason::WrongType)),
    ];
    let gate = usual();
    for (name, wanted) in &cases {
        assert_eq!(judged(&gate, "/any", name).await, *wanted, "{name}");
        // The second time from memory, if it is good.
        assert_eq!(judged(&gate, "/any", name).await, *wanted, "{name}, again");
    }
    let files = fs::read_dir(recorded("x").parent().unwrap()).unwrap().map(|file| file.unwrap().path());
    let names = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let names: BTreeSet<String> = names.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let tokens: BTreeSet<&str> =
        names.iter().map(String::as_str).filter(|name| document(name)["compact"].is_string()).collect();
    assert_eq!(tokens, cases.iter().map(|(name, _)| *name).collect(), "every token is judged");
}

#[tokio::test]
async fn the_key_set_at_rest_is_taken_but_for_the_key_that_encrypts() {
    let gate = usual();
    assert_eq!((gate.keys.state(0).usable, gate.keys.state(0).set_aside), (4, 1), "{:?}", gate.warnings);
}

#[tokio::test]
async fn roles_are_the_realms_and_those_of_named_clients_under_their_name() {
    let named = usual();
    assert!(judged(&named, "/customers", "access_token").await.is_ok());
    assert!(judged(&named, "/readers", "access_token").await.is_ok());
    // `manage-account` of the client `account` is no role of the realm.
    assert_eq!(judged(&named, "/admins", "access_token").await, Err(Reason::MissingRole));
    for uri in ["/customers", "/readers", "/admins"] {
        assert_eq!(judged(&named, uri, "access_token_no_roles").await, Err(Reason::MissingRole), "{uri}");
    }
    let unnamed = gate(&recorded("jwks"), &["audiences: [orders-service]"]);
    assert_eq!(judged(&unnamed, "/readers", "access_token").await, Err(Reason::MissingRole));
}

#[tokio::test]
async fn a_token_is_for_its_audience_only() {
    // The exchanged token was narrowed to one service, the other one names several.
    for (audience, whole, exchanged) in
        [("orders-service", true, true), ("portcullis", true, false), ("account", true, false), ("other", false, false)]
    {
        let gate = gate(&recorded("jwks"), &[&format!("audiences: [{audience}]")]);
        for (name, is_meant) in [("access_token", whole), ("token_exchange", exchanged)] {
            let reason = judged(&gate, "/any", name).await.err();
            assert_eq!(reason, (!is_meant).then_some(Reason::WrongAudience), "{name} at {audience}");
        }
    }
    // The ID token has the client's id as its audience, and is none the better for it.
    let client = gate(&recorded("jwks"), &["audiences: [portcullis]"]);
    assert_eq!(judged(&client, "/any", "id_token").await, Err(Reason::WrongKind));
    let parties = gate(&recorded("jwks"), &["audiences: [orders-service]", "authorized_parties: [portcullis]"]);
    assert!(judged(&parties, "/any", "access_token").await.is_ok());
    assert_eq!(judged(&parties, "/any", "access_token_es256").await, Err(Reason::WrongParty));
}

#[tokio::test]
async fn nothing_but_the_right_setting_lets_the_other_kinds_in() {
    // Whoever gives up the audience still gets no token that names nobody, and no token of another kind.
    let anybody = gate(&recorded("jwks"), &["danger_any_audience: true", "types: [JWT, logout+jwt, none]"]);
    for (name, reason) in [
        ("access_token_lightweight", Reason::NoSubject),
        ("id_token", Reason::WrongKind),
        ("logout_token", Reason::WrongKind),
        ("refresh_token", Reason::UnknownKey),
        ("offline_token", Reason::UnknownKey),
    ] {
        assert_eq!(judged(&anybody, "/any", name).await, Err(reason), "{name}");
    }
    let ids = gate(&recorded("jwks"), &["audiences: [portcullis]", "accepts: [id_token]"]);
    assert_eq!(judged(&ids, "/any", "id_token").await, Ok((ALICE.to_owned(), String::new())));
    assert_eq!(judged(&ids, "/any", "access_token").await, Err(Reason::WrongKind));
}

#[tokio::test]
async fn a_rotation_is_seen_in_the_key_sets() {
    let unknown = Some(Reason::UnknownKey);
    for (jwks, old, new) in
        [("jwks", None, unknown), ("jwks_rotated", None, None), ("jwks_old_disabled", unknown, None)]
    {
        let gate = gate(&recorded(jwks), &["audiences: [orders-service]"]);
        assert_eq!(judged(&gate, "/any", "access_token").await.err(), old, "{jwks}");
        assert_eq!(judged(&gate, "/any", "access_token_rotated").await.err(), new, "{jwks}");
        assert_eq!(judged(&gate, "/any", "access_token_es256").await.err(), None, "{jwks}");
    }
}

#[tokio::test]
async fn a_token_holds_for_its_minute() {
    let gate = usual();
    for (age, reason) in [(59, None), (64, None), (65, Some(Reason::Expired)), (3600, Some(Reason::Expired))] {
        let decision = judged_after(&gate, "/any", "access_token", Duration::from_secs(age)).await;
        assert_eq!(decision.err().map(|refusal| refusal.reason), reason, "{age} s");
    }
}
