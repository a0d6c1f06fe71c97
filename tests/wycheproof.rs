//! Project Wycheproof's signatures, valid and forged, against the keys as they are made from PEM files and JWK sets.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on panics"
)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::keys::member;
use portcullis::token::{Algorithm, Key, jwk};
use serde_json::{Value, json};
use wycheproof::ecdsa::TestName as Ecdsa;
use wycheproof::eddsa::TestName as Eddsa;
use wycheproof::rsa_pkcs1_verify::TestName as Pkcs1;
use wycheproof::rsa_pss_verify::TestName as Pss;

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap()).collect()
}

/// The group's key, once as a PEM file and once as a member of a JWK set.
fn keys(group: &Value, algorithm: Algorithm) -> [Result<Key, String>; 2] {
    let public = &group["publicKey"];
    // As RFC 7518 section 6 wants them: numbers of RSA without, coordinates with leading zeros.
    let number =
        |hex: &Value| URL_SAFE_NO_PAD.encode(bytes(hex).into_iter().skip_while(|b| *b == 0).collect::<Vec<_>>());
    let sized = |hex: &Value, size: usize| {
        let number: Vec<u8> = bytes(hex).into_iter().skip_while(|b| *b == 0).collect();
        URL_SAFE_NO_PAD.encode([vec![0; size - number.len()], number].concat())
    };
    let jwk = match algorithm {
        Algorithm::ES256 => {
            json!({"kty": "EC", "crv": "P-256", "x": sized(&public["wx"], 32), "y": sized(&public["wy"], 32)})
        }
        Algorithm::ES384 => {
            json!({"kty": "EC", "crv": "P-384", "x": sized(&public["wx"], 48), "y": sized(&public["wy"], 48)})
        }
        Algorithm::EdDSA => json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(bytes(&public["pk"]))}),
        _ => json!({"kty": "RSA", "n": number(&public["modulus"]), "e": number(&public["publicExponent"])}),
    };
    let pem = group["publicKeyPem"].as_str().unwrap();
    [jwk::from_pem(pem.as_bytes(), &[algorithm]), member::key(&jwk, &[algorithm])]
}

/// Runs a set; tells how many signatures it wanted accepted, and how many refused.
fn run(name: &str, set: &str, algorithm: Algorithm, salted_as_jws: bool) -> (usize, usize) {
    let set: Value = serde_json::from_str(set).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for group in set["testGroups"].as_array().unwrap() {
        for (source, key) in ["PEM", "JWK"].into_iter().zip(keys(group, algorithm)) {
            let key = key.unwrap_or_else(|why| panic!("{name}, key as {source}: {why}"));
            for test in group["tests"].as_array().unwrap() {
                let signature = URL_SAFE_NO_PAD.encode(bytes(&test["sig"]));
                let verifies = key.verifies(algorithm, &bytes(&test["msg"]), &signature);
                match test["result"].as_str().unwrap() {
                    "valid" if salted_as_jws => {
                        assert!(verifies, "{name}, key as {source}, not accepted: {test}");
                        accepted += 1;
                    }
                    // What a set of another padding calls invalid may be good by ours.
                    "invalid" if !salted_as_jws => {}
                    "valid" | "invalid" => {
                        assert!(!verifies, "{name}, key as {source}, not refused: {test}");
                        refused += 1;
                    }
                    "acceptable" => {}
                    other => panic!("{name}: `{other}` is no result"),
                }
            }
        }
    }
    (accepted, refused)
}

#[test]
fn rsa_with_pkcs1_padding() {
    for (set, algorithm) in [
        (Pkcs1::Rsa2048Sha256, Algorithm::RS256),
        (Pkcs1::Rsa2048Sha384, Algorithm::RS384),
        (Pkcs1::Rsa2048Sha512, Algorithm::RS512),
        (Pkcs1::Rsa3072Sha256, Algorithm::RS256),
        (Pkcs1::Rsa3072Sha384, Algorithm::RS384),
        (Pkcs1::Rsa3072Sha512, Algorithm::RS512),
        (Pkcs1::Rsa4096Sha256, Algorithm::RS256),
        (Pkcs1::Rsa4096Sha384, Algorithm::RS384),
        (Pkcs1::Rsa4096Sha512, Algorithm::RS512),
        (Pkcs1::Rsa8192Sha256, Algorithm::RS256),
        (Pkcs1::Rsa8192Sha384, Algorithm::RS384),
        (Pkcs1::Rsa8192Sha512, Algorithm::RS512),
    ] {
        let (accepted, refused) = run(&format!("{set:?}"), set.json_data(), algorithm, true);
        assert!(accepted > 0 && refused > 200, "{set:?}: {accepted} accepted, {refused} refused");
    }
}

#[test]
fn rsa_with_pss_padding_whose_salt_is_as_long_as_the_hash() {
    for (set, algorithm, salted_as_jws) in [
        (Pss::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::PS256, true),
        (Pss::RsaPss3072Sha256Mgf1SaltLen32, Algorithm::PS256, true),
        (Pss::RsaPss4096Sha256Mgf1SaltLen32, Algorithm::PS256, true),
        (Pss::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::PS384, true),
        (Pss::RsaPss4096Sha384Mgf1SaltLen48, Algorithm::PS384, true),
        (Pss::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::PS512, true),
        // Another length of the salt, or another hash in the mask (RFC 7518 section 3.5): none of these is a JWS signature.
        (Pss::RsaPss2048Sha256Mgf1SaltLen0, Algorithm::PS256, false),
        (Pss::RsaPss4096Sha512Mgf1SaltLen32, Algorithm::PS512, false),
        (Pss::RsaPss2048Sha256Mgf1Sha1_20, Algorithm::PS256, false),
    ] {
        let (accepted, refused) = run(&format!("{set:?}"), set.json_data(), algorithm, salted_as_jws);
        assert!((accepted > 0) == salted_as_jws && refused > 0, "{set:?}: {accepted} accepted, {refused} refused");
    }
}

#[test]
fn ecdsa_with_both_numbers_in_a_row() {
    for (set, algorithm) in
        [(Ecdsa::EcdsaSecp256r1Sha256P1363, Algorithm::ES256), (Ecdsa::EcdsaSecp384r1Sha384P1363, Algorithm::ES384)]
    {
        let (accepted, refused) = run(&format!("{set:?}"), set.json_data(), algorithm, true);
        assert!(accepted > 100 && refused > 100, "{set:?}: {accepted} accepted, {refused} refused");
    }
}

#[test]
fn eddsa_with_ed25519() {
    let (accepted, refused) = run("Ed25519", Eddsa::Ed25519.json_data(), Algorithm::EdDSA, true);
    assert!(accepted > 50 && refused > 20, "{accepted} accepted, {refused} refused");
}
