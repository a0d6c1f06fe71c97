//! An issuer that fails again and again is left alone for a moment.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After so many failures without a success between, it is the issuer and not the tokens. One alone may be the doing of whoever sent
/// the token, and must not refuse everybody else's.
const FAILURES: u32 = 3;

/// How long it is then left alone: nobody waits for a dead server, and one that comes back is noticed a second later.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether an issuer may be asked.
#[derive(Debug, Default)]
pub struct Circuit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    in_a_row: u32,
    open_until: Option<Instant>,
    /// Whoever makes it fail at will fills no log.
    told: Option<Instant>,
}

impl Circuit {
    /// Whether it is to be left alone at `now`.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        self.state().open_until.is_some_and(|until| now < until)
    }

    /// A call has brought an answer; tells whether the issuer seemed to be dead before.
    pub fn succeeded(&self) -> bool {
        let mut state = self.state();
        let seemed_dead = state.in_a_row >= FAILURES;
        state.in_a_row = 0;
        state.open_until = None;
        seemed_dead
    }

    /// A call has failed; tells whether that is worth a line in the log.
    pub fn failed(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.in_a_row = state.in_a_row.saturating_add(1);
        if state.in_a_row >= FAILURES {
            state.open_until = now.checked_add(PAUSE);
        }
        let tell = state.told.is_none_or(|told| now.saturating_duration_since(told) >= PAUSE);
        if tell {
            state.told = Some(now);
        }
        tell
    }

    /// The lock is held for a few instructions and never across a wait.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it_and_a_success_or_a_while_closes_it() {
        let (circuit, start) = (Circuit::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(circuit.failed(at(0)), "the first is told");
        assert!(!circuit.failed(at(1)), "the next are not");
        assert!(!circuit.is_open(at(1)), "two may be the tokens' fault");
        assert!(!circuit.succeeded());
        assert!(!circuit.failed(at(2)) && !circuit.failed(at(3)) && !circuit.is_open(at(3)), "counted anew");
        assert!(!circuit.failed(at(4)) && circuit.is_open(at(5)) && circuit.is_open(at(1_003)));
        assert!(!circuit.is_open(at(1_004)), "then it is tried again");
        assert!(circuit.failed(at(1_010)) && circuit.is_open(at(1_011)), "and one more failure is enough");
        assert!(circuit.succeeded() && !circuit.is_open(at(1_012)));
    }
}
