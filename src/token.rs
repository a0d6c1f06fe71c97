//! L1: from bytes, keys and `now` to verified claims. Nobody here knows where keys come from.

pub mod algorithm;
pub mod check;
pub mod claims;
pub mod issuer;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod keyset;
pub mod kind;
pub mod mapping;
pub mod unverified;

pub use algorithm::Algorithm;
pub use check::{Check, Unwatched, Watch};
pub use claims::VerifiedClaims;
pub use issuer::{Issuer, SignedToken};
pub use jws::Jws;
pub use keyset::{Key, KeySet};
pub use kind::TokenKind;
pub use unverified::UnverifiedToken;
