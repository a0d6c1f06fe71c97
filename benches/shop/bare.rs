//! The least that a token never seen before can cost: the check of its signature, and nothing else.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::Jwk;

use crate::signer::Signer;

/// A signature, what it is over, and the key.
pub(crate) struct Bare<'t> {
    input: &'t [u8],
    signature: &'t str,
    key: DecodingKey,
    algorithm: jsonwebtoken::Algorithm,
}

impl<'t> Bare<'t> {
    pub(crate) fn of(signer: &Signer, token: &'t str) -> Self {
        let jwk: Jwk = serde_json::from_value(signer.jwk()).unwrap();
        let (input, signature) = token.rsplit_once('.').unwrap();
        let algorithm = jsonwebtoken::decode_header(token).unwrap().alg;
        Self { input: input.as_bytes(), signature, key: DecodingKey::from_jwk(&jwk).unwrap(), algorithm }
    }

    pub(crate) fn check(&self) {
        assert!(jsonwebtoken::crypto::verify(self.signature, self.input, &self.key, self.algorithm).unwrap());
    }
}
