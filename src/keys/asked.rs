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

/// After a fetch, the next that a name asks for begins so much later: who came while the last one ran is answered by it, and 2 000 at
/// once cause two fetches.
const GAP: Duration = Duration::from_millis(500);

/// Fetches that names may cause: so many at once, then one each [`REFILL`]. A real rotation needs one; a flood of forged names is
/// worth one request in ten seconds to the issuer (T-H2), and a new key is still found by it.
const BUDGET: u32 = 4;
const REFILL: Duration = Duration::from_secs(10);

/// How long a name that was looked for and not found causes nothing: the same token sent over and over uses up no budget.
const ABSENT_FOR: Duration = REFILL;

/// How many such names are remembered. More are a flood, which the budget stops.
const MOST_ABSENT: usize = 1024;

/// The rendezvous of those who ask with the one who fetches.
#[derive(Debug)]
pub(super) struct Asked {
    state: Mutex<State>,
    kick: Notify,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
    hasher: ahash::RandomState,
}

#[derive(Debug)]
struct State {
    fetching: bool,
    /// A fetch is wanted and has not begun.
    wanted: bool,
    last_end: Option<Instant>,
    tokens: u32,
    refilled: Instant,
    absent: HashMap<u64, Instant>,
    waiting: usize,
}

/// What an asker is to do.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// Nothing will come of it.
    Leave,
    /// Wait for the fetch.
    Wait,
}

impl Default for Asked {
    fn default() -> Self {
        let state = State {
            fetching: false,
            wanted: false,
            last_end: None,
            tokens: BUDGET,
            refilled: Instant::now(),
            absent: HashMap::new(),
            waiting: 0,
        };
        Self {
            state: Mutex::new(state),
            kick: Notify::new(),
            ended: watch::Sender::new(0),
            hasher: ahash::RandomState::new(),
        }
    }
}

impl Asked {
    /// Waits, if that makes sense, for a fetch that may bring the key `kid`; tells whether one has ended.
    pub(super) async fn wait_for(&self, kid: &str) -> bool {
        // Before anything else: an end between here and the wait is seen.
        let mut ended = self.ended.subscribe();
        let turn = self.state().turn(self.hasher.hash_one(kid), Instant::now());
        if self.state().wanted {
            self.kick.notify_one();
        }
        if turn == Turn::Leave {
            return false;
        }
        let _waiting = Waiting(self);
        tokio::time::timeout(WAIT, ended.changed()).await.is_ok_and(|changed| changed.is_ok())
    }

    /// Remembers that the newest keys have none of that name.
    pub(super) fn is_absent(&self, kid: &str) {
        self.state().remember(self.hasher.hash_one(kid), Instant::now());
    }

    /// Waits until a fetch is wanted, and may begin.
    pub(super) async fn wanted(&self) {
        // A kick may be left over from a name that a fetch has answered meanwhile.
        while !self.state().wanted {
            self.kick.notified().await;
        }
        let last = self.state().last_end;
        if let Some(rest) = last.and_then(|last| GAP.checked_sub(last.elapsed())) {
            tokio::time::sleep(rest).await;
        }
    }

    /// A fetch begins.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.fetching = true;
        state.wanted = false;
    }

    /// A fetch has ended, one way or the other.
    pub(super) fn end(&self) {
        {
            let mut state = self.state();
            state.fetching = false;
            state.last_end = Some(Instant::now());
        }
        self.ended.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The lock is held for a few instructions and never across a wait.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits, until it does no longer.
struct Waiting<'a>(&'a Asked);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.waiting = state.waiting.saturating_sub(1);
    }
}

impl State {
    fn turn(&mut self, name: u64, now: Instant) -> Turn {
        if self.absent.get(&name).is_some_and(|until| *until > now) {
            return Turn::Leave;
        }
        let rests = self.last_end.is_some_and(|end| now.saturating_duration_since(end) < GAP);
        if !self.fetching && !self.wanted {
            if !self.spend(now) {
                return Turn::Leave;
            }
            self.wanted = true;
        }
        // In the pause after a fetch the next one is on its way, but a decision is not to wait for that.
        if (rests && !self.fetching) || self.waiting >= MOST_WAITING {
            return Turn::Leave;
        }
        self.waiting = self.waiting.saturating_add(1);
        Turn::Wait
    }

    fn spend(&mut self, now: Instant) -> bool {
        while self.tokens < BUDGET && now.saturating_duration_since(self.refilled) >= REFILL {
            self.tokens = self.tokens.saturating_add(1);
            self.refilled = self.refilled.checked_add(REFILL).unwrap_or(now);
        }
        if self.tokens == BUDGET {
            self.refilled = now;
        }
        match self.tokens.checked_sub(1) {
            Some(rest) => {
                self.tokens = rest;
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
