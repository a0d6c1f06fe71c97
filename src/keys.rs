//! L3: where keys come from.

pub mod file;
pub mod url;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::gate::Keys;
use crate::gate::ports::BoxFuture;
use crate::token::KeySet;

/// The keys of the issuers, in their configured order: each set is replaced whole and read without waiting.
#[derive(Debug)]
pub struct KeyStore(Vec<Slot>);

#[derive(Debug)]
struct Slot {
    current: ArcSwapOption<Held>,
    fetched: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug)]
struct Held {
    keys: Arc<KeySet>,
    set_aside: usize,
    since: Instant,
}

/// How an issuer's keys fare.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeysState {
    /// How many keys are in use.
    pub usable: usize,
    /// How many members of the set were set aside.
    pub set_aside: usize,
    /// How long ago they were loaded or fetched, successfully; none if they never were.
    pub age: Option<Duration>,
    /// How many fetches brought keys.
    pub fetched: u64,
    /// How many fetches did not.
    pub failed: u64,
}

impl KeyStore {
    /// The sets that are known from the start; none for an issuer whose keys are still to be fetched.
    #[must_use]
    pub fn new(sets: Vec<Option<file::Loaded>>) -> Self {
        let slot = |loaded: Option<file::Loaded>| Slot {
            current: ArcSwapOption::new(loaded.map(Held::now)),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        Self(sets.into_iter().map(slot).collect())
    }

    /// Takes what a fetch has brought. An empty set replaces nothing: an issuer without keys is one that is broken.
    pub fn fetched(&self, issuer: usize, loaded: file::Loaded) {
        let Some(slot) = self.0.get(issuer).filter(|_| !loaded.keys.is_empty()) else { return };
        slot.current.store(Some(Held::now(loaded)));
        slot.fetched.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a fetch that brought nothing; the last good set serves on.
    pub fn failed(&self, issuer: usize) {
        if let Some(slot) = self.0.get(issuer) {
            slot.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How an issuer's keys fare.
    #[must_use]
    pub fn state(&self, issuer: usize) -> KeysState {
        let Some(slot) = self.0.get(issuer) else { return KeysState::default() };
        let held = slot.current.load();
        KeysState {
            usable: held.as_ref().map_or(0, |held| held.keys.len()),
            set_aside: held.as_ref().map_or(0, |held| held.set_aside),
            age: held.as_ref().map(|held| held.since.elapsed()),
            fetched: slot.fetched.load(Ordering::Relaxed),
            failed: slot.failed.load(Ordering::Relaxed),
        }
    }
}

impl Held {
    fn now(loaded: file::Loaded) -> Arc<Self> {
        let file::Loaded { keys, set_aside } = loaded;
        Arc::new(Self { keys: Arc::new(keys), set_aside: set_aside.len(), since: Instant::now() })
    }
}

impl Keys for KeyStore {
    fn current(&self, issuer: usize) -> Option<Arc<KeySet>> {
        self.0.get(issuer)?.current.load().as_ref().map(|held| Arc::clone(&held.keys))
    }

    fn newer(&self, _issuer: usize) -> BoxFuture<'_, Option<Arc<KeySet>>> {
        Box::pin(std::future::ready(None))
    }
}
