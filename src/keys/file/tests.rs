use serde_json::json;

use super::*;
use crate::policy::Reason;
use crate::signer::Signer;
use crate::token::Jws;

fn verifies(loaded: &Loaded, token: &str) -> Result<(), Reason> {
    loaded.keys.signer(&Jws::parse(token)?).map(|_| ())
}

fn set(members: &[Value]) -> Vec<u8> {
    json!({ "keys": members }).to_string().into_bytes()
}

#[test]
fn every_algorithm_verifies_with_its_key_from_a_set_and_from_pem() {
    for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"] {
        let signer = Signer::new("k", alg);
        let token = signer.token(&json!({}));
        let from_set = jwk_set(&set(&[signer.jwk()]), &[]).expect(alg);
        assert_eq!(verifies(&from_set, &token), Ok(()), "{alg}");
        let allowed = [Algorithm::named(alg).expect(alg)];
        let from_pem = pem(signer.pem().as_bytes(), &allowed).expect(alg);
        assert_eq!(verifies(&from_pem, &token), Ok(()), "{alg}");
        let tampered = token.replacen('.', "A.", 1);
        assert!(verifies(&from_set, &tampered).is_err(), "{alg}");
        let other = jwk_set(&set(&[Signer::new("k", alg).jwk()]), &[]).expect(alg);
        assert_eq!(verifies(&other, &token), Err(Reason::BadSignature), "{alg}");
    }
}

#[test]
fn a_key_is_bound_to_its_algorithm() {
    let signer = Signer::new("k", "RS256");
    let token = |alg: &str| signer.sign(&json!({"alg": alg, "kid": "k"}), &json!({}));
    let bound = jwk_set(&set(&[signer.jwk()]), &[]).expect("set");
    for alg in ["RS384", "PS256", "HS256", "ES256", "none", "None", "rs256", ""] {
        assert_eq!(verifies(&bound, &token(alg)), Err(Reason::AlgorithmNotAllowed), "{alg}");
    }
    // Without `alg`, a key has the usual one of its kind, or what the issuer allows of its kind.
    let mut free = signer.jwk();
    free.as_object_mut().expect("object").remove("alg");
    assert_eq!(
        verifies(&jwk_set(&set(&[free.clone()]), &[]).expect("set"), &token("PS256")),
        Err(Reason::AlgorithmNotAllowed)
    );
    let narrowed = jwk_set(&set(&[free]), &[Algorithm::PS256, Algorithm::ES256]).expect("set");
    assert_eq!(verifies(&narrowed, &token("RS256")), Err(Reason::AlgorithmNotAllowed));
    assert_eq!(verifies(&narrowed, &token("PS256")), Err(Reason::BadSignature), "tried, and signed as RS256");
    assert!(jwk_set(&set(&[signer.jwk()]), &[Algorithm::ES256]).is_err());
}

#[test]
fn odd_members_are_set_aside_and_the_rest_serves() {
    let good = Signer::new("good", "ES256");
    let with = |name: &str, value: Value| {
        let mut jwk = Signer::new("odd", "ES256").jwk();
        jwk[name] = value;
        jwk
    };
    let odd = [
        json!({"kty": "AKP", "kid": "a"}),
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "b"}),
        json!({"kid": "c"}),
        json!("text"),
        with("d", json!("AAAA")),
        with("use", json!("enc")),
        with("use", json!(null)),
        with("key_ops", json!(["sign"])),
        with("key_ops", json!("verify")),
        with("kid", json!(7)),
        with("alg", json!("ES256K")),
        with("alg", json!("RS256")),
        with("alg", json!(null)),
        with("crv", json!("P-521")),
        with("crv", json!("P-384")),
        with("x", json!("AAAA")),
        with("x", json!("not base64!")),
        json!({"kty": "RSA", "kid": "its own signature", "n": crate::signer::encode([255; 256]), "e": "AQ"}),
        json!({"kty": "RSA", "kid": "one, written longer", "n": crate::signer::encode([255; 256]), "e": "AAAB"}),
        json!({"kty": "RSA", "kid": "even", "n": crate::signer::encode([255; 256]), "e": "AQAA"}),
        json!({"kty": "RSA", "kid": "no exponent", "n": crate::signer::encode([255; 256]), "e": ""}),
        json!({"kty": "RSA", "kid": "weak", "n": crate::signer::encode([255; 128]), "e": "AQAB"}),
        json!({"kty": "OKP", "crv": "X25519", "x": crate::signer::encode([1; 32])}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": crate::signer::encode([1; 31])}),
    ];
    let mut members = odd.to_vec();
    members.push(good.jwk());
    let loaded = jwk_set(&set(&members), &[]).expect("set");
    assert_eq!((loaded.keys.len(), loaded.set_aside.len()), (1, odd.len()), "{:?}", loaded.set_aside);
    assert_eq!(verifies(&loaded, &good.token(&json!({}))), Ok(()));
    let only_odd = jwk_set(&set(&odd), &[]).expect_err("no key");
    assert!(only_odd.contains("no key in it can be used") && only_odd.contains("key `weak`"), "{only_odd}");
}

#[test]
fn what_is_no_set_or_no_public_key_is_refused_with_the_remedy() {
    for text in ["", "[]", "{}", r#"{"keys": {}}"#, r#"{"keys": []}"#, r#"{"keys": [], "keys": []}"#] {
        assert!(jwk_set(text.as_bytes(), &[]).is_err(), "{text}");
    }
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n";
    assert!(pem(private.as_bytes(), &[]).expect_err("private").contains("openssl pkey -pubout"));
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(pem(certificate.as_bytes(), &[]).expect_err("certificate").contains("openssl x509 -pubkey"));
    for text in ["", "x", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        assert!(pem(text.as_bytes(), &[]).is_err(), "{text}");
    }
}

#[test]
fn a_secret_serves_one_hmac_algorithm_and_must_be_as_long_as_its_hash() {
    for (alg, bytes) in [("HS256", 32_usize), ("HS384", 48), ("HS512", 64)] {
        let algorithm = Algorithm::named(alg).expect(alg);
        let text: Vec<u8> = (b'0'..).take(bytes).collect();
        let loaded = secret(&SecretSlice::from(text.clone()), &[algorithm]).expect(alg);
        assert_eq!(verifies(&loaded, &Signer::hmac(alg, &text).token(&json!({}))), Ok(()));
        let short = secret(&SecretSlice::from(text[1..].to_vec()), &[algorithm]).expect_err("short");
        assert!(short.contains(&format!("needs at least {bytes}")), "{short}");
    }
    let long = SecretSlice::from((b'0'..).take(64).collect::<Vec<u8>>());
    assert!(secret(&long, &[]).is_ok());
    assert!(secret(&long, &[Algorithm::HS256, Algorithm::HS512]).is_err());
    assert!(secret(&long, &[Algorithm::RS256]).is_err());
}

#[test]
fn tokens_without_kid_are_tried_with_few_keys() {
    let signers: Vec<Signer> = (0..6).map(|i| Signer::new(&format!("k{i}"), "EdDSA")).collect();
    let loaded = jwk_set(&set(&signers.iter().map(Signer::jwk).collect::<Vec<_>>()), &[]).expect("set");
    let tried =
        signers.iter().filter(|s| verifies(&loaded, &s.sign(&json!({"alg": "EdDSA"}), &json!({}))).is_ok()).count();
    assert_eq!(tried, 4);
    assert_eq!(
        verifies(&loaded, &signers[0].sign(&json!({"alg": "EdDSA", "kid": "other"}), &json!({}))),
        Err(Reason::UnknownKey)
    );
}

#[test]
fn what_everybody_knows_is_no_secret() {
    let (rsa, ed) = (Signer::new("k", "RS256"), Signer::new("k", "EdDSA"));
    for known in [
        rsa.pem(),
        ed.pem(),
        rsa.jwk().to_string(),
        format!("\n {}", json!({"keys": [ed.jwk()]})),
        " ".repeat(64),
        "0".repeat(64),
    ] {
        assert!(secret(&SecretSlice::from(known.clone().into_bytes()), &[]).is_err(), "{known}");
    }
}
