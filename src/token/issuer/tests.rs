#![expect(clippy::arithmetic_side_effects, reason = "small numbers")]

use serde_json::{Value, json};

use super::*;
use crate::keys::member;
use crate::policy::ClaimPath;
use crate::signer::Signer;
use crate::token::TokenKind;
use crate::token::kind::ToldBy;

const NOW: UnixTime = UnixTime::from_secs(1_000_000);

fn issuer() -> Issuer {
    let mut issuer = Issuer::new("a", "https://a/", Audiences::OneOf(vec!["shop".into(), "shop2".into()]));
    issuer.mapping.roles = ClaimPath::new("realm_access.roles");
    issuer
}

fn good() -> Value {
    json!({"iss": "https://a/", "aud": "shop", "sub": "alice", "exp": NOW.secs() + 60})
}

fn verify(issuer: &Issuer, signer: &Signer, header: &Value, claims: &Value) -> Result<Principal, Reason> {
    let keys = [member::key(&signer.jwk(), &[]).expect("key")].into_iter().collect();
    let token = signer.sign(header, claims);
    issuer
        .verify(UnverifiedToken::parse(&token)?, &keys, NOW)
        .map(|verified| issuer.principal(&verified, &["tenant".into()]))
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
    let accepts = Accepts { types: vec![], untyped: true, ..Accepts::default() };
    let untyped = Issuer { accepts, ..issuer.clone() };
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
    assert_eq!((full.subject(), full.issuer()), ("alice", "a"));
    assert_eq!((full.wire_roles(), full.wire_tier()), ("user,x%2Cadmin", Some("pro")));
    assert!(full.has_scope("read") && full.has_scope("write") && !full.has_scope("read,write") && !full.has_scope(""));
    for role in ["user", "x,admin"] {
        assert!(full.has_role(role), "{role}");
    }
    for other in ["admin", "x", "", "user,x%2Cadmin", "x%2Cadmin"] {
        assert!(!full.has_role(other), "{other}");
    }
    let mut claims = with("scope", json!(["a b", "c"]));
    claims["realm_access"] = json!({"roles": "user,admin"});
    claims["tier"] = json!({"name": "pro"});
    let odd = principal(claims);
    assert_eq!((odd.wire_roles(), odd.wire_tier()), ("user%2Cadmin", None), "one text is one role");
    assert!(odd.has_role("user,admin") && !odd.has_role("admin"));
    assert!(odd.has_scope("a b") && !odd.has_scope("a") && odd.has_scope("c"));
    assert_eq!(principal(with("tier", json!(""))).wire_tier(), None);
    assert!(principal(good()).wire_roles().is_empty() && !principal(good()).has_role(""));
}

#[test]
fn of_the_claims_those_are_kept_that_somebody_reads() {
    let signer = Signer::new("k", "EdDSA");
    let claims = with("tenant", json!({"id": "acme"}));
    let principal = verify(&issuer(), &signer, &signer.header(), &claims).expect("good");
    assert_eq!(Value::Object(principal.claims().clone()), json!({"tenant": {"id": "acme"}}));
}

fn accepting(kinds: &[TokenKind], told_by: ToldBy) -> Issuer {
    Issuer { accepts: Accepts { kinds: kinds.to_vec(), told_by, ..Accepts::default() }, ..issuer() }
}

#[test]
fn the_kind_is_one_of_those_accepted() {
    use TokenKind::{AccessToken, IdToken};
    let signer = Signer::new("k", "EdDSA");
    let at_jwt = json!({"alg": "EdDSA", "kid": "k", "typ": "at+jwt"});
    let jwt = signer.header();
    // Header, a claim on top, and whether it passes where access tokens, ID tokens, both are accepted.
    let by_marks = [
        (&jwt, json!({}), [true, true, true]),
        (&jwt, json!({"nonce": "x"}), [false, true, true]),
        (&jwt, json!({"at_hash": "x"}), [false, true, true]),
        (&jwt, json!({"c_hash": null}), [false, true, true]),
        (&at_jwt, json!({}), [true, false, true]),
        (&at_jwt, json!({"nonce": "x"}), [true, false, true]),
        (&jwt, json!({"events": {}}), [false, false, false]),
        (&at_jwt, json!({"events": null}), [false, false, false]),
    ];
    let by_claim = [
        (&jwt, json!({"typ": "Bearer"}), [true, false, true]),
        (&jwt, json!({"typ": "Bearer", "nonce": "x"}), [true, false, true]),
        (&jwt, json!({"typ": "ID"}), [false, true, true]),
        (&jwt, json!({"typ": "Refresh"}), [false, false, false]),
        (&jwt, json!({"typ": "Offline"}), [false, false, false]),
        (&jwt, json!({"typ": "Logout"}), [false, false, false]),
        (&jwt, json!({"typ": "DPoP"}), [false, false, false]),
        (&jwt, json!({"typ": "bearer"}), [false, false, false]),
        (&jwt, json!({"typ": ["Bearer"]}), [false, false, false]),
        (&at_jwt, json!({}), [false, false, false]),
    ];
    for (told_by, table) in [(ToldBy::Marks, &by_marks[..]), (ToldBy::TypClaim, &by_claim[..])] {
        for (header, more, wanted) in table {
            let mut claims = good();
            claims.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
            let kinds = [&[AccessToken][..], &[IdToken], &[AccessToken, IdToken]];
            let passed = kinds.map(|kinds| {
                let result = verify(&accepting(kinds, told_by), &signer, header, &claims);
                assert!(matches!(result, Ok(_) | Err(Reason::WrongKind)), "{more}: {result:?}");
                result.is_ok()
            });
            assert_eq!(passed, *wanted, "{told_by:?} {header} {more}");
        }
    }
}

#[test]
fn a_token_bound_to_its_holder_is_no_bearer_token() {
    let (issuer, signer) = (issuer(), Signer::new("k", "EdDSA"));
    for cnf in [json!({"jkt": "x"}), json!({"x5t#S256": "x"}), json!({}), json!("x")] {
        let result = verify(&issuer, &signer, &signer.header(), &with("cnf", cnf));
        assert_eq!(result.err(), Some(Reason::SenderConstrained));
    }
    let mut claims = good();
    claims["cnf"] = Value::Null;
    assert_eq!(verify(&issuer, &signer, &signer.header(), &claims).err(), Some(Reason::SenderConstrained));
}

#[test]
fn a_lifetime_has_an_end_that_is_not_too_far() {
    let (mut issuer, signer) = (issuer(), Signer::new("k", "EdDSA"));
    issuer.terms.max_lifetime = Duration::from_secs(100);
    let now = NOW.secs();
    let lived = |issued: Option<i64>, expires: i64| {
        let mut claims = with("exp", json!(expires));
        if let Some(issued) = issued {
            claims["iat"] = json!(issued);
        }
        verify(&issuer, &signer, &signer.header(), &claims).err()
    };
    assert_eq!(lived(None, now + 100), None);
    assert_eq!(lived(None, now + 101), Some(Reason::LifetimeTooLong));
    assert_eq!(lived(Some(now - 50), now + 50), None);
    assert_eq!(lived(Some(now - 50), now + 51), Some(Reason::LifetimeTooLong));
    // An issuer whose clock is a little fast.
    assert_eq!(lived(Some(now + 5), now + 105), None);

    issuer.terms.may_be_endless = true;
    let endless = || with("exp", Value::Null);
    assert!(verify(&issuer, &signer, &signer.header(), &endless()).is_ok());
    assert_eq!(
        verify(&issuer, &signer, &signer.header(), &with("exp", json!("never"))).err(),
        Some(Reason::MalformedClaim)
    );
}

#[test]
fn a_token_of_another_client_is_refused_where_clients_are_named() {
    let (mut issuer, signer) = (issuer(), Signer::new("k", "EdDSA"));
    issuer.authorized_parties = vec!["web".into(), "app".into()];
    let table = [
        (json!({"azp": "web"}), true),
        (json!({"client_id": "app"}), true),
        (json!({"azp": "other", "client_id": "app"}), false),
        (json!({"azp": "other"}), false),
        (json!({"azp": ["web"]}), false),
        (json!({"azp": "Web"}), false),
        (json!({}), false),
    ];
    for (more, passes) in table {
        let mut claims = good();
        claims.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
        let wanted = (!passes).then_some(Reason::WrongParty);
        assert_eq!(verify(&issuer, &signer, &signer.header(), &claims).err(), wanted, "{more}");
    }
}

#[test]
fn a_clients_roles_are_roles_of_that_client_only() {
    let (mut issuer, signer) = (issuer(), Signer::new("k", "EdDSA"));
    issuer.mapping.client_roles = vec!["my.shop".into(), "absent".into()];
    issuer.mapping.permissions = Some(ClaimPath::new("permissions"));
    let mut claims = good();
    claims["realm_access"] = json!({"roles": ["user"]});
    claims["resource_access"] = json!({"my.shop": {"roles": ["admin"]}, "account": {"roles": ["manage"]}});
    claims["scope"] = json!("read");
    claims["permissions"] = json!(["write:orders", 7, "two words"]);
    let principal = verify(&issuer, &signer, &signer.header(), &claims).expect("good");
    assert_eq!(principal.wire_roles(), "user,my.shop:admin");
    assert!(principal.has_role("my.shop:admin") && !principal.has_role("admin"));
    assert!(["read", "write:orders", "two words"].iter().all(|scope| principal.has_scope(scope)));
    assert!(!principal.has_scope("two") && !principal.has_scope("7"));
}

#[test]
fn the_subject_is_where_the_issuer_puts_it() {
    let (mut issuer, signer) = (issuer(), Signer::new("k", "EdDSA"));
    issuer.mapping.subject = ClaimPath::new("account.id");
    assert_eq!(verify(&issuer, &signer, &signer.header(), &good()).err(), Some(Reason::NoSubject));
    let mut claims = good();
    claims["account"] = json!({"id": "u-7"});
    assert_eq!(verify(&issuer, &signer, &signer.header(), &claims).expect("good").subject(), "u-7");
}

#[test]
fn t_e4_what_an_issuer_answers_is_checked_as_what_it_signs() {
    let asked = Asked { opaque: Some("".into()), jwts: false, may_lack_audience: false, may_lack_type: false };
    let lax = Asked { may_lack_audience: true, may_lack_type: true, ..asked.clone() };
    let (strict, lax) = (Issuer { asked: Some(asked), ..issuer() }, Issuer { asked: Some(lax), ..issuer() });
    let keycloak = Accepts { told_by: ToldBy::TypClaim, ..Accepts::default() };
    let keycloak = Issuer { accepts: keycloak, ..strict.clone() };
    let answer = |issuer: &Issuer, name: &str, value: Value| {
        let mut answer = with(name, value);
        for (name, usual) in [("active", json!(true)), ("token_type", json!("Bearer"))] {
            answer.as_object_mut().expect("object").entry(name).or_insert(usual);
        }
        if answer["token_type"] == "-" {
            answer.as_object_mut().expect("object").remove("token_type");
        }
        let answer = answer.as_object().expect("object");
        issuer.verify_answer(None, answer, NOW, NOW).map(|verified| verified.basis())
    };
    let basis = Basis { key: None, ask_again: NOW };
    let now = NOW.secs();
    for (name, value, wanted) in [
        ("x", json!(1), None),
        ("token_type", json!("bearer"), None),
        ("token_type", json!("DPoP"), Some(Reason::SenderConstrained)),
        ("token_type", json!("N_A"), Some(Reason::WrongKind)),
        ("token_type", json!(["Bearer"]), Some(Reason::WrongKind)),
        ("token_type", json!("-"), Some(Reason::WrongKind)),
        ("token_use", json!("access_token"), None),
        ("token_use", json!("refresh_token"), Some(Reason::WrongKind)),
        ("nonce", json!("n"), Some(Reason::WrongKind)),
        ("events", json!({}), Some(Reason::WrongKind)),
        ("cnf", json!({"jkt": "x"}), Some(Reason::SenderConstrained)),
        ("iss", Value::Null, None),
        ("iss", json!("https://b/"), Some(Reason::UnknownIssuer)),
        ("iss", json!(["https://a/"]), Some(Reason::UnknownIssuer)),
        ("aud", json!(["x", "shop2"]), None),
        ("aud", json!("x"), Some(Reason::WrongAudience)),
        ("aud", Value::Null, Some(Reason::WrongAudience)),
        ("aud", json!({}), Some(Reason::MalformedClaim)),
        ("exp", Value::Null, None),
        ("exp", json!(now - 5), Some(Reason::Expired)),
        ("exp", json!("soon"), Some(Reason::MalformedClaim)),
        ("exp", json!(now + 100_000), Some(Reason::LifetimeTooLong)),
        ("nbf", json!(now + 6), Some(Reason::NotYetValid)),
        ("iat", json!(now + 6), Some(Reason::IssuedInFuture)),
        ("sub", Value::Null, Some(Reason::NoSubject)),
    ] {
        let wanted = wanted.map_or(Ok(basis), Err);
        assert_eq!(answer(&strict, name, value.clone()), wanted, "{name}: {value}");
        // Without them nothing but silence is taken.
        let silent = (name, &value) == ("aud", &Value::Null) || value == "-";
        assert_eq!(answer(&lax, name, value.clone()), if silent { Ok(basis) } else { wanted }, "{name}: {value}");
    }
    assert_eq!(answer(&keycloak, "x", json!(1)), Err(Reason::WrongKind));
    assert_eq!(answer(&keycloak, "typ", json!("Refresh")), Err(Reason::WrongKind));
    assert_eq!(answer(&keycloak, "typ", json!("Bearer")), Ok(basis));
    assert_eq!(answer(&issuer(), "x", json!(1)), Err(Reason::UnknownIssuer), "it is not asked");
}

/// What is made of a JWT with these claims on top and its issuer's answer: subject, `jti`, `sid`, `iat`.
fn answered(own: &Value, answer: &Value) -> Result<[Value; 4], Reason> {
    let asked = Asked { opaque: None, jwts: true, may_lack_audience: false, may_lack_type: false };
    let (mut issuer, signer) = (Issuer { asked: Some(asked), ..issuer() }, Signer::new("k", "EdDSA"));
    issuer.terms.max_lifetime = Duration::MAX;
    let over = |mut all: Value, more: &Value| {
        all.as_object_mut().expect("object").extend(more.as_object().expect("object").clone());
        all
    };
    let keys = [member::key(&signer.jwk(), &[]).expect("key")].into_iter().collect();
    let token = signer.token(&over(json!({"iss": "https://a/", "exp": NOW.secs() + 60}), own));
    let signed = issuer.signed(UnverifiedToken::parse(&token)?, &keys, &mut Unwatched)?;
    let answer = over(json!({"active": true, "token_type": "Bearer", "aud": "shop", "sub": "alice"}), answer);
    let verified = issuer.verify_answer(Some(&signed), answer.as_object().expect("object"), NOW, NOW)?;
    let said = |name: &str| verified.all().get(name).cloned().unwrap_or_default();
    Ok([json!(verified.subject()), said("jti"), said("sid"), json!(verified.issued().map(UnixTime::secs))])
}

#[test]
fn a_jwt_that_is_asked_about_keeps_by_what_it_can_be_revoked() {
    let table = [
        (json!({}), json!({}), Ok(json!(["alice", null, null, null]))),
        (json!({"jti": "j", "sid": "s", "iat": 7}), json!({}), Ok(json!(["alice", "j", "s", 7]))),
        (json!({}), json!({"jti": "j", "sid": "s", "iat": 7}), Ok(json!(["alice", "j", "s", 7]))),
        (json!({"jti": "j", "sid": null}), json!({"jti": null, "sid": "s"}), Ok(json!(["alice", "j", "s", null]))),
        (json!({"iat": 7, "sub": "alice"}), json!({"iat": 9}), Ok(json!(["alice", null, null, 7]))),
        (json!({"iat": 9}), json!({"iat": 7}), Ok(json!(["alice", null, null, 7]))),
        (json!({"sub": "bob"}), json!({}), Err(Reason::MalformedClaim)),
        (json!({"sub": "alice"}), json!({"sub": null}), Err(Reason::NoSubject)),
        (json!({"jti": "j"}), json!({"jti": "k"}), Err(Reason::MalformedClaim)),
        (json!({"jti": 5}), json!({"jti": "5"}), Err(Reason::MalformedClaim)),
        (json!({"sid": "s"}), json!({"sid": "t"}), Err(Reason::MalformedClaim)),
        // Of another kind than the answer tells, or without an end.
        (json!({"nonce": "n", "at_hash": "x"}), json!({}), Err(Reason::WrongKind)),
        (json!({"events": {}}), json!({}), Err(Reason::WrongKind)),
        (json!({"exp": null}), json!({"exp": 1_000_060}), Err(Reason::MalformedClaim)),
        // What it says beside that decides nothing: the answer does.
        (json!({"roles": ["admin"], "aud": "other"}), json!({}), Ok(json!(["alice", null, null, null]))),
    ];
    for (own, answer, wanted) in table {
        let said = answered(&own, &answer).map(|said| json!(said));
        assert_eq!(said, wanted, "{own} {answer}");
    }
}
