//! Everything that is revoked, in this process' memory: what a decision asks.

mod reaches;

use std::collections::{BTreeMap, HashSet};
use std::hash::Hasher as _;
use std::ops::Bound;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::entry::{Entry, Id, Line, MAX_VALUE_BYTES, What, Written};
use crate::clock::UnixTime;
use crate::gate::Revocations;
use crate::gate::ports::{Mark, Marks};
use crate::policy::Reason;
use crate::token::VerifiedClaims;
use reaches::{Reach, Reaches};

/// What is done when nobody knows what is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenStale {
    /// Nobody is let in by a token.
    Refuse,
    /// What is known decides: the operator said so with `danger_go_on`.
    GoOn,
}

impl std::fmt::Display for WhenStale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Refuse => "every token is refused (revocations_stale) until the store answers",
            Self::GoOn => "the last knowledge decides (on_stale: danger_go_on) until the store answers",
        })
    }
}

/// The live set.
#[derive(Debug)]
pub struct Live {
    reaches: Reaches,
    /// Everything that was stored before this moment is here; microseconds.
    complete: AtomicI64,
    max_age: Duration,
    when_stale: WhenStale,
    hasher: SipHasher13,
    known: Mutex<Known>,
}

/// What is needed to list, to write back and to forget; no decision looks at it.
#[derive(Debug, Default)]
struct Known {
    lines: BTreeMap<Id, Held>,
    /// One text for each issuer instead of one for each entry.
    issuers: HashSet<Arc<str>>,
    /// How many lines are no removals.
    entries: usize,
    /// The number of the running comparison with the store.
    round: u32,
}

#[derive(Debug)]
struct Held {
    ends: UnixTime,
    entry: Option<Entry>,
    /// The comparison in which it was last known to be in the store.
    seen: u32,
}

/// Which entries are asked for.
#[derive(Debug, Default)]
pub struct Filter<'a> {
    /// Only of this issuer, by its identifier.
    pub issuer: Option<&'a str>,
    /// Only with this `jti`, `sid` or subject.
    pub value: Option<(&'static str, &'a str)>,
}

/// The moment of a feed that was never there.
const NEVER: i64 = i64::MIN;

impl Live {
    /// An empty set that knows nothing yet. `hash_key` must be nobody else's.
    #[must_use]
    pub fn new(max_age: Duration, when_stale: WhenStale, hash_key: [u8; 16]) -> Self {
        Self {
            reaches: Reaches::new(),
            complete: AtomicI64::new(NEVER),
            max_age,
            when_stale,
            hasher: SipHasher13::new_with_key(&hash_key),
            known: Mutex::default(),
        }
    }

    /// Takes lines over, as they come and as often as they come.
    pub fn apply(&self, lines: impl IntoIterator<Item = Line>, now: UnixTime) {
        let mut known = self.known();
        for line in lines.into_iter().filter(|line| line.ends > now) {
            let round = known.round;
            match known.lines.get_mut(&line.id) {
                // An entry that was removed here stays so, and its removal is what the store lacks.
                Some(held) if held.entry.is_none() && line.entry.is_some() => {}
                Some(held) => {
                    held.seen = round;
                    if line.entry.is_none()
                        && let Some(removed) = held.entry.take()
                    {
                        known.entries = known.entries.saturating_sub(1);
                        self.mark_again(&known, &removed);
                    }
                }
                None => {
                    let entry = line.entry.map(|entry| known.with_shared_issuer(entry));
                    if let Some(entry) = &entry {
                        known.entries = known.entries.saturating_add(1);
                        let reach = Reach::of(line.ends, entry);
                        self.reaches.change(self.mark_of(entry), |there| {
                            Some(there.map_or(reach, |there| there.merged(reach)))
                        });
                    }
                    known.lines.insert(line.id, Held { ends: line.ends, entry, seen: round });
                }
            }
        }
    }

    /// Takes over what a store gives back. Of what is known already nothing is read.
    ///
    /// # Errors
    /// If a line cannot be read. Those before it are here.
    pub fn take(&self, lines: Vec<Written>, now: UnixTime) -> Result<(), String> {
        let unknown = {
            let mut known = self.known();
            let round = known.round;
            let mut is_known = |line: &Written| {
                let Some(held) = known.lines.get_mut(&line.id) else { return false };
                let is_same = held.entry.is_none() == line.is_removal();
                if is_same {
                    held.seen = round;
                }
                is_same || held.entry.is_none()
            };
            lines.into_iter().filter(|line| !is_known(line)).collect::<Vec<_>>()
        };
        for line in unknown {
            self.apply([line.read()?], now);
        }
        Ok(())
    }

    /// Everything that was stored before `moment` is here.
    pub fn complete_up_to(&self, moment: UnixTime) {
        self.complete.store(moment.micros(), Ordering::Release);
    }

    /// How old the knowledge is; none if there was never any. A clock that was set back makes it old, too, until the feed speaks
    /// again: the set could lack what was stored meanwhile.
    #[must_use]
    pub fn age(&self, now: UnixTime) -> Option<Duration> {
        let complete = self.complete.load(Ordering::Acquire);
        (complete != NEVER).then(|| Duration::from_micros(now.micros().abs_diff(complete)))
    }

    /// Whether the knowledge is older than it may be, or there was never any.
    #[must_use]
    pub fn is_stale(&self, now: UnixTime) -> bool {
        self.age(now).is_none_or(|age| age > self.max_age)
    }

    /// What is done then.
    #[must_use]
    pub fn when_stale(&self) -> WhenStale {
        self.when_stale
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known().entries
    }

    /// How many removals are remembered, beside the entries.
    #[must_use]
    pub fn removals(&self) -> usize {
        let known = self.known();
        known.lines.len().saturating_sub(known.entries)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The line of that name.
    #[must_use]
    pub fn line(&self, id: Id) -> Option<Line> {
        self.known().lines.get(&id).map(|held| held.line(id))
    }

    /// At most `most` entries behind `after` that the filter lets through, oldest first.
    #[must_use]
    pub fn list(&self, filter: &Filter<'_>, after: Id, most: usize) -> Vec<Line> {
        let known = self.known();
        let behind = known.lines.range((Bound::Excluded(after), Bound::Unbounded));
        let wanted = behind.filter(|(_, held)| held.entry.as_ref().is_some_and(|entry| filter.lets_through(entry)));
        wanted.take(most).map(|(id, held)| held.line(*id)).collect()
    }

    /// Begins a comparison with the store: from now on, what is applied counts as seen in it.
    pub fn compare(&self) {
        let mut known = self.known();
        known.round = known.round.wrapping_add(1);
    }

    /// At most `most` lines that were not seen in this comparison, the newest first and all of them older than `before`: what the
    /// store has lost. The newest first, since other replicas may not have them yet.
    #[must_use]
    pub fn unseen(&self, before: Id, most: usize) -> Vec<Line> {
        let known = self.known();
        let older = known.lines.range(..before).rev().filter(|(_, held)| held.seen != known.round);
        older.take(most).map(|(id, held)| held.line(*id)).collect()
    }

    /// Looks at `most` lines from `from` on and forgets those that have ended, which have no effect any more; tells where to go on,
    /// unless that was all.
    pub fn sweep(&self, from: Id, most: usize, now: UnixTime) -> Option<Id> {
        let mut known = self.known();
        let mut lines = known.lines.range(from..);
        let ended: Vec<Id> =
            lines.by_ref().take(most).filter(|(_, held)| held.ends <= now).map(|(id, _)| *id).collect();
        let next = lines.next().map(|(id, _)| *id);
        for id in ended {
            if let Some(entry) = known.lines.remove(&id).and_then(|held| held.entry) {
                known.entries = known.entries.saturating_sub(1);
                self.reaches.change(self.mark_of(&entry), |reach| reach.filter(|reach| reach.until > now));
            }
        }
        next
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What a panic left is at worst not counted right: every line is whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark_of(&self, entry: &Entry) -> Mark {
        self.mark(entry.what.key(), &entry.issuer, &entry.value)
    }

    /// The mark of a `jti`, a `sid` or a subject (`key`) of `issuer`. The parts are told apart by their lengths.
    #[must_use]
    pub fn mark(&self, key: &str, issuer: &str, value: &str) -> Mark {
        let mut hasher = self.hasher;
        hasher.write(key.as_bytes());
        hasher.write_usize(issuer.len());
        hasher.write(issuer.as_bytes());
        hasher.write(value.as_bytes());
        Mark::new(hasher.finish128().as_u128())
    }

    /// After a removal: what the remaining entries of the mark say.
    fn mark_again(&self, known: &Known, removed: &Entry) {
        let is_same = |entry: &Entry| {
            entry.value == removed.value && entry.issuer == removed.issuer && entry.what.key() == removed.what.key()
        };
        self.reaches.change(self.mark_of(removed), |there| {
            there.filter(|reach| reach.entries > 1)?;
            let rest = known.lines.values().filter_map(|held| Some((held.ends, held.entry.as_ref()?)));
            let rest = rest.filter(|(_, entry)| is_same(entry)).map(|(ends, entry)| Reach::of(ends, entry));
            rest.reduce(Reach::merged)
        });
    }
}

impl Revocations for Live {
    fn marks(&self, issuer: &str, claims: &VerifiedClaims) -> Result<Marks, Reason> {
        // What nobody can write into an entry could not be taken back.
        let mark = |key: &str, value: &str| {
            let fits = (1..=MAX_VALUE_BYTES).contains(&value.len());
            fits.then(|| self.mark(key, issuer, value)).ok_or(Reason::MalformedClaim)
        };
        let named = |key: &str| match claims.all().get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => mark(key, text).map(Some),
            Some(_) => Err(Reason::MalformedClaim),
        };
        let subject = What::Subject { issued_before: UnixTime::from_micros(0) }.key();
        let subject = mark(subject, claims.subject())?;
        let names = [named(What::Token.key())?, named(What::Session.key())?, Some(subject)];
        Ok(Marks { names, issued: claims.issued().unwrap_or(UnixTime::from_micros(i64::MIN)) })
    }

    fn check(&self, marks: &Marks, now: UnixTime) -> Result<(), Reason> {
        if !self.reaches.is_empty() {
            let hits = |mark: &Mark| {
                self.reaches.of(*mark).is_some_and(|reach| now < reach.until && marks.issued <= reach.issued)
            };
            if marks.names.iter().flatten().any(hits) {
                return Err(Reason::Revoked);
            }
        }
        let is_fresh = self.when_stale == WhenStale::GoOn || !self.is_stale(now);
        is_fresh.then_some(()).ok_or(Reason::RevocationsStale)
    }
}

impl Known {
    fn with_shared_issuer(&mut self, entry: Entry) -> Entry {
        if let Some(issuer) = self.issuers.get(&entry.issuer) {
            return Entry { issuer: Arc::clone(issuer), ..entry };
        }
        self.issuers.insert(Arc::clone(&entry.issuer));
        entry
    }
}

impl Held {
    fn line(&self, id: Id) -> Line {
        Line { id, ends: self.ends, entry: self.entry.clone() }
    }
}

impl Filter<'_> {
    fn lets_through(&self, entry: &Entry) -> bool {
        self.issuer.is_none_or(|issuer| *entry.issuer == *issuer)
            && self.value.is_none_or(|(key, value)| entry.what.key() == key && *entry.value == *value)
    }
}

#[cfg(test)]
mod tests;
