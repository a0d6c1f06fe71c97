//! Keys that a token names and that are not there: one fetch for all who ask, within a budget, and nobody waits for long.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

/// How long a decision waits for a fetch that somebody has begun. Below the decision's own deadline (500 ms by default), so that the
/// answer is about the token and not about us.
const WAIT: Duration = Duration::from_millis(400);

/// How many may wait. Each holds a connection of its proxy; who sends forged names while an issuer hangs must not hold more.
const MOST_WAITING: usize = 256;

/// Fetches that names may cause: so many at once, then one each [`REFILL`]. A real rotation needs one, and a second if the first
/// was under way before the key was published; so 2 000 names at once cause two. A flood of forged names is worth one request in
/// eight seconds to the issuer (T-H2), so that a new key is found among them within ten.
const BUDGET: u32 = 2;
const REFILL: Duration = Duration::from_secs(8);

/// How long a name that was looked for and not found causes nothing: the same token sent over and over uses up no budget.
const ABSENT_FOR: Duration = REFILL;

/// How many such names are remembered. More are a flood, which the budget stops.
const MOST_ABSENT: usize = 1024;

/// The rendezvous of those who ask with the one who fetches.
#[derive(Debug)]
pub(super) struct Asked {
    state: Mutex<State>,
    kick: Notify,
    last: watch::Sender<Ended>,
    hasher: ahash::RandomState,
}

/// The fetch that ended last.
#[derive(Debug, Default)]
struct Ended {
    number: u64,
    brought: bool,
}

#[derive(Debug)]
struct State {
    /// How many fetches have begun: the number of the last one.
    begun: u64,
    fetching: bool,
    /// A fetch is wanted and has not begun.
    wanted: bool,
    budget: u32,
    refilled: Instant,
    absent: HashMap<u64, Instant>,
    waiting: usize,
}

impl Default for Asked {
    fn default() -> Self {
        let state = State {
            begun: 0,
            fetching: false,
            wanted: false,
            budget: BUDGET,
            refilled: Instant::now(),
            absent: HashMap::new(),
            waiting: 0,
        };
        Self {
            state: Mutex::new(state),
            kick: Notify::new(),
            last: watch::Sender::default(),
            hasher: ahash::RandomState::new(),
        }
    }
}

impl Asked {
    /// Waits, if that makes sense, for a fetch that may bring the key `kid`, which `find` then finds.
    pub(super) async fn wait_for<T>(&self, kid: &str, find: impl Fn() -> Option<T>) -> Option<T> {
        let name = self.hasher.hash_one(kid);
        // Before anything else: an end between here and the wait is seen.
        let mut last = self.last.subscribe();
        // Somebody else's fetch may have brought it since it was missed.
        if let Some(found) = find() {
            return Some(found);
        }
        // What a fetch that is under way does not bring may have been published since it began: only a later one tells.
        let conclusive = self.state().begun.saturating_add(1);
        let _waiting = Waiting::enter(self)?;
        let answered = async {
            loop {
                let goes_on = self.state().turn(name, Instant::now());
                if !goes_on {
                    return None;
                }
                self.kick.notify_one();
                last.changed().await.ok()?;
                let (number, brought) = {
                    let ended = last.borrow_and_update();
                    (ended.number, ended.brought)
                };
                if let Some(found) = find() {
                    return Some(found);
                }
                if number >= conclusive {
                    if brought {
                        self.state().remember(name, Instant::now());
                    }
                    return None;
                }
            }
        };
        tokio::time::timeout(WAIT, answered).await.ok().flatten()
    }

    /// Waits until a fetch is wanted.
    pub(super) async fn wanted(&self) {
        // A kick may be left over from a name that a fetch has answered meanwhile.
        while !self.state().wanted {
            self.kick.notified().await;
        }
    }

    /// A fetch begins.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.begun = state.begun.saturating_add(1);
        state.fetching = true;
        state.wanted = false;
    }

    /// It has ended, and has brought keys or has not.
    pub(super) fn end(&self, brought: bool) {
        let number = {
            let mut state = self.state();
            state.fetching = false;
            state.begun
        };
        self.last.send_replace(Ended { number, brought });
    }

    /// The lock is held for a few instructions and never across a wait.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits, until it does no longer.
struct Waiting<'a>(&'a Asked);

impl<'a> Waiting<'a> {
    fn enter(asked: &'a Asked) -> Option<Self> {
        let mut state = asked.state();
        if state.waiting >= MOST_WAITING {
            return None;
        }
        state.waiting = state.waiting.saturating_add(1);
        drop(state);
        Some(Self(asked))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.waiting = state.waiting.saturating_sub(1);
    }
}

impl State {
    /// Whether a fetch is on its way for whoever asks for this name, or is now.
    fn turn(&mut self, name: u64, now: Instant) -> bool {
        if self.absent.get(&name).is_some_and(|until| *until > now) {
            return false;
        }
        if !self.fetching && !self.wanted {
            self.wanted = self.spend(now);
        }
        self.fetching || self.wanted
    }

    fn spend(&mut self, now: Instant) -> bool {
        while self.budget < BUDGET && now.saturating_duration_since(self.refilled) >= REFILL {
            self.budget = self.budget.saturating_add(1);
            self.refilled = self.refilled.checked_add(REFILL).unwrap_or(now);
        }
        if self.budget == BUDGET {
            self.refilled = now;
        }
        match self.budget.checked_sub(1) {
            Some(rest) => {
                self.budget = rest;
                true
            }
            None => false,
        }
    }

    fn remember(&mut self, name: u64, now: Instant) {
        if self.absent.len() >= MOST_ABSENT {
            self.absent.retain(|_, until| *until > now);
        }
        if self.absent.len() < MOST_ABSENT
            && let Some(until) = now.checked_add(ABSENT_FOR)
        {
            self.absent.insert(name, until);
        }
    }
}

#[cfg(test)]
mod tests;
