#![expect(clippy::arithmetic_side_effects, reason = "small numbers")]

use serde_json::{Value, json};

use super::*;
use crate::signer::Signer;
use crate::token::jwk;

const NOW: UnixTime = UnixTime::from_secs(1_000_000);

fn issuer() -> Issuer {
    Issuer {
        name: "a".into(),
        issuer: "https://a/".into(),
        audiences: Audiences::OneOf(vec!["shop".into(), "shop2".into()]),
        types: Types { names: vec!["jwt".into(), "at+jwt".into()], absent: false },
        leeway: Duration::from_secs(5),
        roles: ClaimPath::new("realm_access.roles"),
        scopes: ClaimPath::new("scope"),
        tier: ClaimPath::new("tier"),
    }
}

fn good() -> Value {
    json!({"iss": "https://a/", "aud": "shop", "sub": "alice", "exp": NOW.secs() + 60})
}

fn verify(issuer: &Issuer, signer: &Signer, header: &Value, claims: &Value) -> Result<Principal, Reason> {
    let keys = [jwk::from_jwk(signer.jwk().as_object().expect("object"), &[]).expect("key")].into_iter().collect();
    let token = signer.sign(header, claims);
    issuer.verify(UnverifiedToken::parse(&token)?, &keys, NOW).map(|verified| issuer.principal(verified))
}

/// Claims with one member replaced, or taken away by `null`.
fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    if value.is_null() {
        claims.as_object_mut().expect("object").remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

#[test]
fn every_registered_claim_is_checked() {
    let (issuer, signer) = (issuer(), Signer::new("k", "EdDSA"));
    let now = NOW.secs();
    let table = [
        ("iss", json!("https://a"), Some(Reason::UnknownIssuer)),
        ("iss", json!(["https://a/"]), Some(Reason::UnknownIssuer)),
        ("iss", Value::Null, Some(Reason::UnknownIssuer)),
        ("aud", json!(["x", "shop2"]), None),
        ("aud", json!("Shop"), Some(Reason::WrongAudience)),
        ("aud", json!(["x"]), Some(Reason::WrongAudience)),
        ("aud", Value::Null, Some(Reason::WrongAudience)),
        ("aud", json!([]), Some(Reason::MalformedClaim)),
        ("aud", json!(["shop", 1]), Some(Reason::MalformedClaim)),
        ("aud", json!({}), Some(Reason::MalformedClaim)),
        ("exp", Value::Null, Some(Reason::NoExpiry)),
        ("exp", json!("1000060"), Some(Reason::MalformedClaim)),
        ("exp", json!(u64::MAX), Some(Reason::MalformedClaim)),
        ("exp", json!(1e300), Some(Reason::MalformedClaim)),
        ("exp", json!(-1), Some(Reason::MalformedClaim)),
        ("exp", json!([now + 60]), Some(Reason::MalformedClaim)),
        ("exp", json!(now - 4), None),
        ("exp", json!(now - 5), Some(Reason::Expired)),
        ("exp", json!(now as f64 - 4.5), None),
        ("exp", json!(now as f64 - 5.5), Some(Reason::Expired)),
        ("nbf", json!(now + 5), None),
        ("nbf", json!(now + 6), Some(Reason::NotYetValid)),
        ("nbf", json!("soon"), Some(Reason::MalformedClaim)),
        ("iat", json!(now + 5), None),
        ("iat", json!(now + 6), Some(Reason::IssuedInFuture)),
        ("iat", json!(true), Some(Reason::MalformedClaim)),
        ("sub", Value::Null, Some(Reason::NoSubject)),
        ("sub", json!(""), Some(Reason::NoSubject)),
        ("sub", json!(" "), Some(Reason::NoSubject)),
        ("sub", json!(7), Some(Reason::MalformedClaim)),
    ];
    for (name, value, wanted) in table {
        let result = verify(&issuer, &signer, &signer.header(), &with(name, value.clone()));
        assert_eq!(result.err(), wanted, "{name}: {value}");
    }
    assert_eq!(Issuer { audiences: Audiences::Any, ..issuer }.audiences, Audiences::Any);
}

#[test]
fn the_type_is_one_of_those_configured() {
    let (issuer, signer) = (issuer(), Signer::new("k", "EdDSA"));
    let untyped = Issuer { types: Types { names: vec![], absent: true }, ..issuer.clone() };
    let table = [
        (json!("JWT"), None, Some(Reason::WrongType)),
        (json!("application/AT+jwt"), None, Some(Reason::WrongType)),
        (json!("dpop+jwt"), Some(Reason::WrongType), Some(Reason::WrongType)),
        (json!("logout+jwt"), Some(Reason::WrongType), Some(Reason::WrongType)),
        (json!(""), Some(Reason::WrongType), Some(Reason::WrongType)),
        (json!(1), Some(Reason::MalformedToken), Some(Reason::MalformedToken)),
        (Value::Null, Some(Reason::WrongType), None),
    ];
    for (typ, wanted, wanted_untyped) in table {
        let mut header = json!({"alg": "EdDSA", "kid": "k", "typ": typ});
        if typ.is_null() {
            header.as_object_mut().expect("object").remove("typ");
        }
        assert_eq!(verify(&issuer, &signer, &header, &good()).err(), wanted, "{header}");
        assert_eq!(verify(&untyped, &signer, &header, &good()).err(), wanted_untyped, "{header}");
    }
}

#[test]
fn roles_scopes_and_tier_are_read_where_the_issuer_puts_them() {
    let (issuer, signer) = (issuer(), Signer::new("k", "EdDSA"));
    let principal = |claims: Value| verify(&issuer, &signer, &signer.header(), &claims).expect("good");
    let mut claims = good();
    claims["realm_access"] = json!({"roles": ["user", 7, "x,admin", null]});
    claims["scope"] = json!("read  write");
    claims["tier"] = json!("pro");
    let full = principal(claims);
    assert_eq!(full.roles().collect::<Vec<_>>(), ["user", "x,admin"]);
    assert_eq!(full.scopes().collect::<Vec<_>>(), ["read", "write"]);
    assert_eq!((full.subject(), full.issuer(), full.tier()), ("alice", "a", Some("pro")));
    let mut claims = with("scope", json!(["a b", "c"]));
    claims["realm_access"] = json!({"roles": "user,admin"});
    claims["tier"] = json!({"name": "pro"});
    let odd = principal(claims);
    assert_eq!(odd.roles().collect::<Vec<_>>(), ["user,admin"], "one text is one role");
    assert_eq!(odd.scopes().collect::<Vec<_>>(), ["a b", "c"]);
    assert_eq!(odd.tier(), None);
    assert_eq!(principal(with("tier", json!(""))).tier(), None);
    assert_eq!(principal(good()).roles().count(), 0);
}
