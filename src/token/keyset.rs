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

    /// The algorithms that it is bound to.
    #[must_use]
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
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

    /// The names that its keys have.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(|kid| &**kid)
    }

    /// The keys that may have signed the message, none of them tried yet.
    ///
    /// For a message with `kid` those of that name, or, if none has it, those that have no name (a PEM
    /// file, an HMAC secret). For one without `kid` at most four that fit its algorithm.
    ///
    /// # Errors
    /// [`Reason::UnknownKey`] or [`Reason::AlgorithmNotAllowed`].
    pub fn candidates(&self, jws: &Jws<'_>) -> Result<Vec<&Arc<Key>>, Reason> {
        let algorithm = algorithm(jws)?;
        let mut keys: Vec<&Arc<Key>> = match jws.kid()? {
            Some(kid) => self.named.get(kid).unwrap_or(&self.unnamed).iter().collect(),
            None => self.unnamed.iter().chain(self.named.values().flatten()).collect(),
        };
        if keys.is_empty() {
            return Err(Reason::UnknownKey);
        }
        keys.retain(|key| key.algorithms.contains(&algorithm));
        keys.truncate(MAX_TRIES);
        if keys.is_empty() { Err(Reason::AlgorithmNotAllowed) } else { Ok(keys) }
    }

    /// The key that signed the message.
    ///
    /// # Errors
    /// As [`KeySet::candidates`], or [`Reason::BadSignature`].
    pub fn signer(&self, jws: &Jws<'_>) -> Result<&Arc<Key>, Reason> {
        signer(jws, self.candidates(jws)?)
    }
}

fn algorithm(jws: &Jws<'_>) -> Result<Algorithm, Reason> {
    jws.text("alg")?.and_then(Algorithm::named).ok_or(Reason::AlgorithmNotAllowed)
}

/// The key among the candidates that signed the message: the one place where a signature is checked.
///
/// # Errors
/// [`Reason::BadSignature`].
pub(super) fn signer<'k>(jws: &Jws<'_>, candidates: Vec<&'k Arc<Key>>) -> Result<&'k Arc<Key>, Reason> {
    let (algorithm, input) = (algorithm(jws)?, jws.signing_input().as_bytes());
    let mut candidates = candidates.into_iter();
    candidates.find(|key| key.verifies(algorithm, input, jws.signature())).ok_or(Reason::BadSignature)
}
