//! The parser of JWK sets: it does not panic, and of what a plain reading of the set calls weak, secret or not for signatures, nothing
//! becomes a key.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use portcullis::keys::file;
use portcullis::policy::Reason;
use portcullis::token::{Algorithm, Jws};
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    for allowed in [&[][..], &[Algorithm::PS256, Algorithm::HS256, Algorithm::ES384]] {
        let Ok(loaded) = file::jwk_set(data, allowed) else { continue };
        let plain: Value = serde_json::from_slice(data).expect("a set is JSON");
        let members = plain["keys"].as_array().expect("a set has keys");
        let usable = members.iter().filter(|member| is_usable(member)).count();
        let taken = loaded.keys.len();
        // The same key twice is one.
        assert!(taken >= 1 && taken <= usable, "{taken} keys of {usable} usable members");
        assert!(loaded.set_aside.len() + taken <= members.len() && loaded.set_aside.len() >= members.len() - usable);
        for secret in ["HS256", "HS384", "HS512", "none", ""] {
            let header = URL_SAFE_NO_PAD.encode(json!({"alg": secret}).to_string());
            let message = format!("{header}.e30.AAAA");
            let candidates = loaded.keys.candidates(&Jws::parse(&message).expect("a signed message"));
            assert_eq!(candidates.err(), Some(Reason::AlgorithmNotAllowed), "a key for {secret}");
        }
    }
});

/// Whether a member may be a key at all.
fn is_usable(member: &Value) -> bool {
    let bytes =
        |name: &str| member[name].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).unwrap_or_default();
    let bits = |bytes: Vec<u8>| bytes.iter().skip_while(|byte| **byte == 0).count() * 8;
    let has_material = match (member["kty"].as_str(), member["crv"].as_str()) {
        (Some("RSA"), _) => bits(bytes("n")) >= 2048 && bytes("e").last().is_some_and(|last| last % 2 == 1),
        (Some("EC"), Some("P-256")) => bytes("x").len() == 32 && bytes("y").len() == 32,
        (Some("EC"), Some("P-384")) => bytes("x").len() == 48 && bytes("y").len() == 48,
        (Some("OKP"), Some("Ed25519")) => bytes("x").len() == 32,
        _ => false,
    };
    let is_for_signatures = member.get("use").is_none_or(|usage| usage == "sig");
    let verifies = |list: &Value| list.as_array().is_some_and(|list| list.contains(&json!("verify")));
    has_material && is_for_signatures && member.get("key_ops").is_none_or(verifies) && member.get("d").is_none()
}
