//! An issuer's keys: an immutable set, replaced whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use jsonwebtoken::DecodingKey;

use super::algorithm::KeyKind;
use super::{Algorithm, Jws};
use crate::policy::Reason;

/// How many keys are tried for a token that names none. Each try costs a signature check, and the
/// token is not yet believed: more would be a lever for whoever sends it.
const MAX_TRIES: usize = 4;

/// Identifies a key by what it is: kind, algorithms and material.
pub type KeyId = u128;

/// A verification key, bound to the algorithms that may be used with it.
pub struct Key {
    kid: Option<Box<str>>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
    id: KeyId,
}

impl Key {
    /// A key for `algorithms`, which must all be of its kind; `material` is what identifies it.
    pub(super) fn new(
        kid: Option<&str>,
        kind: KeyKind,
        algorithms: Vec<Algorithm>,
        decoding: DecodingKey,
        material: &[&[u8]],
    ) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(format!("{kind:?} {algorithms:?} {kid:?}").as_bytes());
        for part in material {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let digest = context.finish();
        let id = digest.as_ref().first_chunk().map_or(0, |bytes| KeyId::from_be_bytes(*bytes));
        Self { kid: kid.map(Into::into), algorithms, decoding, id }
    }

    /// The name that tokens call it by.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What identifies it.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether `signature`, in strict base64url, is this key's over `signing_input` by `algorithm`, to which it must be bound.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, signing_input: &[u8], signature: &str) -> bool {
        self.algorithms.contains(&algorithm)
            && jsonwebtoken::crypto::verify(signature, signing_input, &self.decoding, algorithm.backend())
                .unwrap_or(false)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the material: an HMAC key is a secret.
        f.debug_struct("Key").field("kid", &self.kid).field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

/// The keys of one issuer at one time.
#[derive(Debug, Default)]
pub struct KeySet {
    named: HashMap<Box<str>, Vec<Arc<Key>>, ahash::RandomState>,
    unnamed: Vec<Arc<Key>>,
    ids: HashSet<KeyId, ahash::RandomState>,
}

impl FromIterator<Key> for KeySet {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        let mut set = Self::default();
        for key in keys.into_iter().map(Arc::new) {
            set.ids.insert(key.id);
            match &key.kid {
                Some(kid) => set.named.entry(kid.clone()).or_default().push(key),
                None => set.unnamed.push(key),
            }
        }
        set
    }
}

impl KeySet {
    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the key is still in the set: a cached result of a key that is gone is worth nothing.
    #[must_use]
    pub fn holds(&self, id: KeyId) -> bool {
        self.ids.contains(&id)
    }

    /// Whether a key has this name.
    #[must_use]
    pub fn names(&self, kid: &str) -> bool {
        self.named.contains_key(kid)
    }

    /// The key that signed the message: the one place where a signature is checked.
    ///
    /// A message with `kid` is checked with the keys of that name, or, if none has it, with the keys
    /// that have no name (a PEM file, an HMAC secret). One without `kid` is tried with at most
    /// four keys that fit its algorithm.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`], [`Reason::AlgorithmNotAllowed`] or [`Reason::BadSignature`].
    pub fn signer(&self, jws: &Jws<'_>) -> Result<&Arc<Key>, Reason> {
        let algorithm = jws.text("alg")?.and_then(Algorithm::named).ok_or(Reason::AlgorithmNotAllowed)?;
        let candidates: Vec<&Arc<Key>> = match jws.kid()? {
            Some(kid) => self.named.get(kid).unwrap_or(&self.unnamed).iter().collect(),
            None => self.unnamed.iter().chain(self.named.values().flatten()).collect(),
        };
        if candidates.is_empty() {
            return Err(Reason::UnknownKey);
        }
        let mut fitting =
            candidates.into_iter().filter(|key| key.algorithms.contains(&algorithm)).take(MAX_TRIES).peekable();
        if fitting.peek().is_none() {
            return Err(Reason::AlgorithmNotAllowed);
        }
        let input = jws.signing_input().as_bytes();
        fitting.find(|key| key.verifies(algorithm, input, jws.signature())).ok_or(Reason::BadSignature)
    }
}
