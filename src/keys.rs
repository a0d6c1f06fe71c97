//! L3: where keys come from.

pub mod file;
pub mod url;

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::gate::Keys;
use crate::gate::ports::BoxFuture;
use crate::token::KeySet;

/// The keys of the issuers, in their configured order: each set is replaced whole and read without waiting.
#[derive(Debug)]
pub struct KeyStore(Vec<ArcSwapOption<KeySet>>);

impl KeyStore {
    /// The sets that are known from the start; none for an issuer whose keys are still to be fetched.
    #[must_use]
    pub fn new(sets: Vec<Option<KeySet>>) -> Self {
        Self(sets.into_iter().map(|set| ArcSwapOption::new(set.map(Arc::new))).collect())
    }

    /// Replaces an issuer's keys. An empty set replaces nothing: an issuer without keys is one that is broken.
    pub fn replace(&self, issuer: usize, keys: KeySet) {
        if let Some(current) = self.0.get(issuer).filter(|_| !keys.is_empty()) {
            current.store(Some(Arc::new(keys)));
        }
    }
}

impl Keys for KeyStore {
    fn current(&self, issuer: usize) -> Option<Arc<KeySet>> {
        self.0.get(issuer)?.load_full()
    }

    fn newer(&self, _issuer: usize) -> BoxFuture<'_, Option<Arc<KeySet>>> {
        Box::pin(std::future::ready(None))
    }
}
