//! What an issuer is asked about can be revoked by everything that token or answer says, for as long as it holds.

use super::*;
use crate::revocations::{in_memory, ready, revoke};

/// A JWT with these claims on top, of which the issuer says this.
fn asked_about(issuer: &Issuer, own: Value, answered: &Value) -> String {
    let token = KEY.token(&claims(own));
    issuer.says(&token, answered);
    token
}

#[tokio::test]
async fn a_jwt_is_revoked_by_what_it_says_itself_though_the_answer_does_not() {
    let issuer = Issuer::start().await;
    let gate = ready(&asking(in_memory(), &issuer, "      about: [jwt]\n")).await;
    let bare = |subject: &str| active(subject, json!({"iat": null}));
    for (number, key) in ["token", "jti", "sid", "subject"].into_iter().enumerate() {
        let (name, other) = (format!("u{number}"), format!("v{number}"));
        let own =
            |name: &str| json!({"sub": name, "jti": format!("j-{name}"), "sid": format!("s-{name}"), "iat": now() - 9});
        let token = asked_about(&issuer, own(&name), &bare(&name));
        let good = asked_about(&issuer, own(&other), &bare(&other));
        for token in [&token, &good] {
            ask(&gate, token).await.expect(200, "allowed");
        }
        let value = match key {
            "token" => token.clone(),
            "subject" => name.clone(),
            _ => format!("{}-{name}", &key[..1]),
        };
        revoke(&gate, json!({key: value})).await;
        ask(&gate, &token).await.expect(401, "revoked");
        ask(&gate, &good).await.expect(200, "allowed");
    }
    // The answer's session counts as well, and the JWT's `iat` keeps a new token from an old revocation of its subject.
    let token = asked_about(&issuer, json!({"jti": "j"}), &active("carol", json!({"sid": "answered", "sub": "carol"})));
    ask(&gate, &token).await.expect(401, "malformed_claim");
    let token = asked_about(&issuer, json!({"sub": "carol", "jti": "j"}), &active("carol", json!({"sid": "answered"})));
    ask(&gate, &token).await.expect(200, "allowed");
    revoke(&gate, json!({"sid": "answered"})).await;
    ask(&gate, &token).await.expect(401, "revoked");
    revoke(&gate, json!({"subject": "dave", "issued_before": now() - 60})).await;
    let later = asked_about(&issuer, json!({"sub": "dave"}), &bare("dave"));
    ask(&gate, &later).await.expect(200, "allowed");
    // Nor does a later `iat` of the answer save an old one.
    let old = json!({"sub": "dave", "iat": now() - 100});
    let old = asked_about(&issuer, old, &active("dave", json!({"iat": now()})));
    ask(&gate, &old).await.expect(401, "revoked");
    // A name that nobody can write into a revocation is refused here as everywhere.
    let odd = asked_about(&issuer, json!({"sub": "erin", "jti": 5}), &bare("erin"));
    ask(&gate, &odd).await.expect(401, "malformed_claim");
}

/// Whether an opaque token ends, its issuer may say or not: nobody knows for how long it must be refused.
#[tokio::test]
async fn a_revocation_where_opaque_tokens_are_asked_about_never_ends_before_them() {
    let issuer = Issuer::start().await;
    let (opaque, jwts) = (
        ready(&asking(in_memory(), &issuer, "")).await,
        ready(&asking(in_memory(), &issuer, "      about: [jwt]\n")).await,
    );
    let day = 86_400.0;
    for what in [json!({"jti": "j"}), json!({"sid": "s"}), json!({"subject": "alice"})] {
        let ends = |entry: Value| entry["ends_at"].as_f64().unwrap() - now() as f64;
        let (endless, bounded) = (ends(revoke(&opaque, what.clone()).await), ends(revoke(&jwts, what.clone()).await));
        assert!(endless > 1000.0 * 365.0 * day, "{what}: {endless}");
        assert!((day..day + 300.0).contains(&bounded), "{what}: each JWT has an end: {bounded}");
    }
}
