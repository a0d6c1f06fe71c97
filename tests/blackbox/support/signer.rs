//! Keys that sign test tokens, with any header and any claims, honest or not. Used by the black-box tests and, by path, by the
//! unit tests.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Base64url without padding.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key that signs.
#[derive(Debug)]
pub(crate) struct Signer {
    kid: String,
    alg: &'static str,
    key: Secret,
}

#[derive(Debug)]
enum Secret {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Hmac(Vec<u8>),
}

impl Signer {
    /// A new key named `kid` for the algorithm `alg`; an HMAC key needs [`Signer::hmac`].
    pub(crate) fn new(kid: &str, alg: &'static str) -> Self {
        let key = match alg {
            "EdDSA" => Secret::Ed(Ed25519KeyPair::generate().expect("a key")),
            "ES256" => Secret::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")),
            "ES384" => Secret::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key")),
            _ => Secret::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")),
        };
        Self { kid: kid.to_owned(), alg, key }
    }

    /// A shared secret.
    pub(crate) fn hmac(alg: &'static str, secret: &[u8]) -> Self {
        Self { kid: String::new(), alg, key: Secret::Hmac(secret.to_vec()) }
    }

    /// The public half as a member of a JWK set.
    pub(crate) fn jwk(&self) -> Value {
        let (kid, alg) = (&self.kid, self.alg);
        match &self.key {
            Secret::Rsa(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                let (n, e) = (encode(n.big_endian_without_leading_zero()), encode(e.big_endian_without_leading_zero()));
                json!({"kty": "RSA", "use": "sig", "kid": kid, "alg": alg, "n": n, "e": e})
            }
            Secret::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let crv = if alg == "ES256" { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": crv, "use": "sig", "kid": kid, "alg": alg, "x": encode(x), "y": encode(y)})
            }
            Secret::Ed(pair) => {
                let x = encode(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "alg": alg, "x": x})
            }
            Secret::Hmac(secret) => json!({"kty": "oct", "kid": kid, "alg": alg, "k": encode(secret)}),
        }
    }

    /// The public half in PEM (SubjectPublicKeyInfo).
    pub(crate) fn pem(&self) -> String {
        use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
        let der: PublicKeyX509Der<'_> = match &self.key {
            Secret::Rsa(pair) => pair.public_key().as_der().expect("der"),
            Secret::Ec(pair) => pair.public_key().as_der().expect("der"),
            Secret::Ed(pair) => pair.public_key().as_der().expect("der"),
            Secret::Hmac(_) => panic!("a shared secret has no public half"),
        };
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    /// The usual header: `alg`, `typ: JWT`, and `kid` if the key has one.
    pub(crate) fn header(&self) -> Value {
        let mut header = json!({"alg": self.alg, "typ": "JWT"});
        if !self.kid.is_empty() {
            header["kid"] = json!(self.kid);
        }
        header
    }

    /// A token with the usual header.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    /// A token with this header, which may lie.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// A token of two texts that need not be JSON.
    pub(crate) fn sign_text(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", encode(header), encode(claims));
        let signature = self.signature(input.as_bytes());
        format!("{input}.{}", encode(signature))
    }

    fn signature(&self, input: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Secret::Rsa(pair) => {
                let encoding: &dyn aws_lc_rs::signature::RsaEncoding = match self.alg {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, input, &mut signature).expect("a signature");
                signature
            }
            Secret::Ec(pair) => pair.sign(&random, input).expect("a signature").as_ref().to_vec(),
            Secret::Ed(pair) => pair.sign(input).as_ref().to_vec(),
            Secret::Hmac(secret) => {
                let algorithm = match self.alg {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(algorithm, secret), input).as_ref().to_vec()
            }
        }
    }
}
