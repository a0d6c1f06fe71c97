//! Signature algorithms (RFC 7518 section 3.1, RFC 8037, RFC 9864).

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

/// A signature algorithm that the gate verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema, Serialize)]
#[expect(missing_docs, reason = "the names are those of the registry")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    /// With the curve Ed25519; RFC 9864 calls it `Ed25519`.
    #[serde(alias = "Ed25519")]
    #[schemars(transform = with_alias)]
    EdDSA,
}

/// Both names of EdDSA, of which the derivation knows one.
fn with_alias(schema: &mut Schema) {
    schema.remove("const");
    schema.insert("enum".to_owned(), serde_json::json!(["EdDSA", "Ed25519"]));
}

/// The kinds of key; an algorithm works with exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the registry")]
pub enum KeyKind {
    Hmac,
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Algorithm {
    /// The algorithm named by a header's or a key's `alg`; none for `none` and what is unknown.
    #[must_use]
    pub fn named(alg: &str) -> Option<Self> {
        Some(match alg {
            "HS256" => Self::HS256,
            "HS384" => Self::HS384,
            "HS512" => Self::HS512,
            "RS256" => Self::RS256,
            "RS384" => Self::RS384,
            "RS512" => Self::RS512,
            "PS256" => Self::PS256,
            "PS384" => Self::PS384,
            "PS512" => Self::PS512,
            "ES256" => Self::ES256,
            "ES384" => Self::ES384,
            "EdDSA" | "Ed25519" => Self::EdDSA,
            _ => return None,
        })
    }

    /// The kind of key that it works with.
    #[must_use]
    pub const fn key_kind(self) -> KeyKind {
        match self {
            Self::HS256 | Self::HS384 | Self::HS512 => KeyKind::Hmac,
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 => KeyKind::Rsa,
            Self::ES256 => KeyKind::P256,
            Self::ES384 => KeyKind::P384,
            Self::EdDSA => KeyKind::Ed25519,
        }
    }

    /// The smallest secret, in bytes, for the HMAC algorithms: the size of the hash (RFC 7518
    /// section 3.2).
    #[must_use]
    pub const fn min_secret_bytes(self) -> usize {
        match self {
            Self::HS384 => 48,
            Self::HS512 => 64,
            Self::HS256
            | Self::RS256
            | Self::RS384
            | Self::RS512
            | Self::PS256
            | Self::PS384
            | Self::PS512
            | Self::ES256
            | Self::ES384
            | Self::EdDSA => 32,
        }
    }

    pub(super) const fn backend(self) -> jsonwebtoken::Algorithm {
        use jsonwebtoken::Algorithm as Backend;
        match self {
            Self::HS256 => Backend::HS256,
            Self::HS384 => Backend::HS384,
            Self::HS512 => Backend::HS512,
            Self::RS256 => Backend::RS256,
            Self::RS384 => Backend::RS384,
            Self::RS512 => Backend::RS512,
            Self::PS256 => Backend::PS256,
            Self::PS384 => Backend::PS384,
            Self::PS512 => Backend::PS512,
            Self::ES256 => Backend::ES256,
            Self::ES384 => Backend::ES384,
            Self::EdDSA => Backend::EdDSA,
        }
    }
}

impl KeyKind {
    /// The algorithm of a key that does not say which: the field's usual one.
    #[must_use]
    pub const fn usual(self) -> Algorithm {
        match self {
            Self::Hmac => Algorithm::HS256,
            Self::Rsa => Algorithm::RS256,
            Self::P256 => Algorithm::ES256,
            Self::P384 => Algorithm::ES384,
            Self::Ed25519 => Algorithm::EdDSA,
        }
    }
}
