//! Keys from files and from shared secrets.

use secrecy::{ExposeSecret as _, SecretSlice};
use serde_json::Value;

use super::member;
use crate::token::{Algorithm, Key, KeySet, json, jwk};

/// Largest key file, in bytes: a set of a hundred RSA keys with certificate chains has 500 KiB.
pub const MAX_KEY_FILE_BYTES: usize = 1024 * 1024;

/// A key set, and which of its members were set aside.
#[derive(Debug)]
pub struct Loaded {
    /// The keys that serve.
    pub keys: KeySet,
    /// Why each of the others does not: `kid` or place, and the reason.
    pub set_aside: Vec<String>,
}

/// Reads a JWK set (RFC 7517 section 5). A member that cannot be used is set aside; the rest serves.
///
/// # Errors
/// If it is no JWK set, or no member can be used.
pub fn jwk_set(text: &[u8], allowed: &[Algorithm]) -> Result<Loaded, String> {
    if text.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Err("it is PEM and no JWK set; a public key in PEM is named as `pem_file`".to_owned());
    }
    let document = json::object(text).map_err(|error| format!("it is no JSON object: {error}"))?;
    let members = document.get("keys").and_then(Value::as_array).ok_or("it has no list `keys`")?;
    let mut keys = Vec::new();
    let mut set_aside = Vec::new();
    for (place, member) in members.iter().enumerate() {
        let name = member
            .get("kid")
            .and_then(Value::as_str)
            .map_or_else(|| format!("key {place}"), |kid| format!("key `{kid}`"));
        match member::key(member, allowed) {
            Ok(key) => keys.push(key),
            Err(why) => set_aside.push(format!("{name}: {why}")),
        }
    }
    if keys.is_empty() {
        let reasons = if set_aside.is_empty() { "it is empty".to_owned() } else { set_aside.join("; ") };
        return Err(format!("no key in it can be used ({reasons})"));
    }
    Ok(Loaded { keys: keys.into_iter().collect(), set_aside })
}

/// Reads one public key in PEM.
///
/// # Errors
/// What is wrong with it.
pub fn pem(text: &[u8], allowed: &[Algorithm]) -> Result<Loaded, String> {
    if text.trim_ascii_start().starts_with(b"{") {
        return Err("it is JSON and no PEM; a JWK set is named as `jwks_file`".to_owned());
    }
    jwk::from_pem(text, allowed).map(one)
}

/// Takes a shared secret. It serves the HMAC algorithms among `allowed`, of which there may be at
/// most one; HS256 if none is named.
///
/// # Errors
/// If it is too short, or `allowed` names no or several HMAC algorithms.
pub fn secret(secret: &SecretSlice<u8>, allowed: &[Algorithm]) -> Result<Loaded, String> {
    let algorithm = match allowed {
        [] => Algorithm::HS256,
        [one @ (Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)] => *one,
        _ => {
            return Err(
                "a shared secret serves exactly one of HS256, HS384, HS512: name it alone in `algorithms`".to_owned()
            );
        }
    };
    let bytes = secret.expose_secret();
    let text = bytes.trim_ascii_start();
    if text.starts_with(b"-----BEGIN") || text.starts_with(b"{") {
        return Err(
            "this is a key in PEM or JSON: whoever knows its public half could sign; it is no shared secret".to_owned()
        );
    }
    if bytes.first().is_some_and(|first| bytes.iter().all(|byte| byte == first)) {
        return Err("the secret is one byte over and over; make one: openssl rand -base64 48".to_owned());
    }
    jwk::from_secret(bytes, algorithm).map(one)
}

fn one(key: Key) -> Loaded {
    Loaded { keys: [key].into_iter().collect(), set_aside: Vec::new() }
}

#[cfg(test)]
mod tests;
