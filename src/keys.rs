//! L3: where keys come from.

mod asked;
pub mod file;
pub mod member;
pub mod refresh;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use asked::Asked;

use crate::gate::Keys;
use crate::gate::ports::BoxFuture;
use crate::token::KeySet;

/// The keys of the issuers, in their configured order: each set is replaced whole and read without waiting.
#[derive(Debug)]
pub struct KeyStore(Vec<Slot>);

#[derive(Debug)]
struct Slot {
    current: ArcSwapOption<Held>,
    /// Of an issuer whose keys are fetched.
    asked: Option<Asked>,
    fetched: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Clone)]
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
            asked: loaded.is_none().then(Asked::default),
            current: ArcSwapOption::new(loaded.map(Held::now)),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        Self(sets.into_iter().map(slot).collect())
    }

    /// Takes an issuer's keys over from another store. Nothing changes unless both have them from files.
    pub fn take(&self, issuer: usize, other: &Self) {
        let both = self.0.get(issuer).zip(other.0.get(issuer));
        if let Some((slot, new)) = both.filter(|(slot, new)| slot.asked.is_none() && new.asked.is_none()) {
            slot.current.store(new.current.load_full());
        }
    }

    /// A fetch begins.
    fn fetching(&self, issuer: usize) {
        if let Some(asked) = self.0.get(issuer).and_then(|slot| slot.asked.as_ref()) {
            asked.begin();
        }
    }

    /// Waits until a token names a key that is not there, and a fetch may be made for it.
    async fn wanted(&self, issuer: usize) {
        match self.0.get(issuer).and_then(|slot| slot.asked.as_ref()) {
            Some(asked) => asked.wanted().await,
            None => std::future::pending().await,
        }
    }

    /// Takes what a fetch has brought.
    fn fetched(&self, issuer: usize, loaded: file::Loaded) {
        let Some(slot) = self.0.get(issuer) else { return };
        slot.current.store(Some(Held::now(loaded)));
        slot.ended(true);
    }

    /// A fetch has shown that the keys are still the same.
    fn confirmed(&self, issuer: usize) {
        let Some(slot) = self.0.get(issuer) else { return };
        let held = slot.current.load_full();
        slot.current.store(held.map(|held| Arc::new(Held { since: Instant::now(), ..Held::clone(&held) })));
        slot.ended(true);
    }

    /// A fetch has brought nothing. The last good set serves on until it is older than `max_stale`; tells for how long yet.
    fn failed(&self, issuer: usize, max_stale: Duration) -> Option<Duration> {
        let slot = self.0.get(issuer)?;
        let rest = slot.current.load().as_ref().and_then(|held| max_stale.checked_sub(held.since.elapsed()));
        if rest.is_none() {
            slot.current.store(None);
        }
        slot.ended(false);
        rest
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

impl Slot {
    fn ended(&self, brought: bool) {
        let count = if brought { &self.fetched } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(asked) = &self.asked {
            asked.end(brought);
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

    fn newer<'a>(&'a self, issuer: usize, kid: &'a str) -> BoxFuture<'a, Option<Arc<KeySet>>> {
        Box::pin(async move {
            let slot = self.0.get(issuer)?;
            let asked = slot.asked.as_ref()?;
            asked.wait_for(kid, || self.current(issuer).filter(|keys| keys.names(kid))).await
        })
    }
}
