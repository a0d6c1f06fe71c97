//! A member of a JWK set (RFC 7517 section 4), read with the types of `jwks_client_rs`.
//!
//! Those types keep names and numbers only. What says that a member is no key for us they drop, or take in more spellings than there
//! are: `d`, `use`, `key_ops`, `kty`, an `alg` that is no text. So that is looked at first.

use jwks_client_rs::JsonWebKey;
use serde_json::{Map, Value};

use crate::token::jwk::{self, Numbers};
use crate::token::{Algorithm, Key};

/// What the types are to read. Not `x5c`: a certificate proves nothing here, and a broken one is no reason to lose the key.
const READ: [&str; 6] = ["kty", "crv", "n", "e", "x", "y"];

/// The key that a member is. `allowed` narrows the algorithms; empty means: the key's own `alg`, or the usual one of its kind.
///
/// # Errors
/// Why it is no key that verifies signatures.
pub fn key(member: &Value, allowed: &[Algorithm]) -> Result<Key, String> {
    let members = member.as_object().ok_or("it is no object")?;
    let kid = name(members)?;
    check_purpose(members)?;
    let own = match members.get("alg") {
        None => None,
        Some(alg) => Some(alg.as_str().and_then(Algorithm::named).ok_or("its `alg` is not verified here")?),
    };
    let read = READ.iter().filter_map(|name| members.get_key_value(*name));
    let mut read: Map<String, Value> = read.map(|(name, value)| (name.clone(), value.clone())).collect();
    // The types demand a name, which a key need not have.
    read.insert("kid".to_owned(), Value::String(kid.unwrap_or_default().to_owned()));
    let read = serde_json::from_value(Value::Object(read)).map_err(|error| format!("it cannot be read: {error}"))?;
    let numbers = match &read {
        JsonWebKey::Rsa(key) => Numbers::Rsa { n: key.modulus(), e: key.exponent() },
        JsonWebKey::Ec(key) => Numbers::Ec { crv: key.curve(), x: key.x(), y: key.y() },
        JsonWebKey::Okp(key) => Numbers::Okp { crv: key.curve(), x: key.x() },
    };
    jwk::from_numbers(kid, own, numbers, allowed)
}

fn name(members: &Map<String, Value>) -> Result<Option<&str>, String> {
    match members.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) => Ok(Some(kid)),
        Some(_) => Err("its `kid` is no text".to_owned()),
    }
}

/// Whether it is a public key for signatures at all.
fn check_purpose(members: &Map<String, Value>) -> Result<(), String> {
    if members.contains_key("d") {
        return Err("it holds the private half, which belongs to the issuer alone".to_owned());
    }
    if members.get("use").is_some_and(|usage| usage != "sig") {
        return Err("its `use` is not `sig`".to_owned());
    }
    if let Some(operations) = members.get("key_ops")
        && !operations.as_array().is_some_and(|list| list.iter().any(|op| op == "verify"))
    {
        return Err("its `key_ops` do not contain `verify`".to_owned());
    }
    match members.get("kty").and_then(Value::as_str) {
        Some("RSA" | "EC" | "OKP") => Ok(()),
        Some("oct") => Err("it is a shared secret, which no key set may publish".to_owned()),
        Some(other) => Err(format!("its kind `{other}` is not verified here")),
        None => Err("it has no `kty`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::signer::Signer;

    /// Why [`key`] looks before the types do. Where the types get stricter, the look can go.
    #[test]
    fn the_types_alone_would_take_what_is_refused_and_refuse_what_is_good() {
        let with = |name: &str, value: Value| {
            let mut member = Signer::new("k", "ES256").jwk();
            member[name] = value;
            member
        };
        let by_types = |member: &Value| serde_json::from_value::<JsonWebKey>(member.clone()).is_ok();
        for member in [
            with("use", json!("enc")),
            with("key_ops", json!(["sign"])),
            with("d", json!("AAAA")),
            with("kty", json!("Ec")),
            with("alg", json!(null)),
            with("crv", json!("P-521")),
            json!({"kty": "OKP", "crv": "X25519", "kid": "k", "x": "AAAA"}),
            json!({"kty": "RSA", "kid": "k", "n": "AAAA", "e": "AQ"}),
        ] {
            assert!(by_types(&member) && key(&member, &[]).is_err(), "{member}");
        }
        let mut unnamed = with("x5c", json!("no list"));
        unnamed.as_object_mut().expect("an object").remove("kid");
        let mut rsa = Signer::new("k", "RS256").jwk();
        rsa["x5c"] = json!("no list");
        for member in [unnamed, rsa] {
            assert!(!by_types(&member) && key(&member, &[]).is_ok(), "{member}");
        }
    }
}
