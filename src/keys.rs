//! L3: where keys come from.

pub mod file;

use std::sync::Arc;

use crate::gate::Keys;
use crate::gate::ports::BoxFuture;
use crate::token::KeySet;

/// Keys that were read once, at the start.
#[derive(Debug)]
pub struct LoadedKeys(Vec<Arc<KeySet>>);

impl LoadedKeys {
    /// The key sets of the issuers, in their configured order.
    #[must_use]
    pub fn new(sets: Vec<KeySet>) -> Self {
        Self(sets.into_iter().map(Arc::new).collect())
    }
}

impl Keys for LoadedKeys {
    fn current(&self, issuer: usize) -> Option<Arc<KeySet>> {
        self.0.get(issuer).filter(|set| !set.is_empty()).cloned()
    }

    fn newer(&self, _issuer: usize) -> BoxFuture<'_, Option<Arc<KeySet>>> {
        Box::pin(std::future::ready(None))
    }
}
