//! Keeps the live set and the store together, and revokes.
//!
//! Two tasks run beside the decisions. One follows the news of the store: each answer, even that there are none, proves that the
//! set is complete up to the moment of the question. The other compares everything: at the start, after every interruption, and
//! at intervals; it takes over what the store has and writes back what the store has lost. Since lines merge in any order, the two
//! need not wait for each other.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::entry::{Entry, Id, Line, Written};
use super::live::Live;
use super::store::{Failure, PAGE, Store, TIMEOUT};
use crate::clock::UnixTime;

/// The pauses between attempts that fail: from a tenth of a second, twice as long each time, up to a second, so that an entry is
/// known soon after the store is back, and before a store that lost its data counts as settled (`store/redis.rs`).
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often a replica that starts looks whether a store that lost its data has settled.
const UNSETTLED_PAUSE: Duration = Duration::from_millis(500);

/// For how long a replica may have been without the feed and still count, when the store loses its data, as one that held everything
/// until then: one pause and one attempt to connect. Longer, and it may have been cut off alone while others revoked.
const SHORTLY: Duration = LONGEST_PAUSE.saturating_add(TIMEOUT);

/// Why nothing was revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no room: neither for entries nor for removals, which are remembered as long. Nothing is ever dropped to make some.
    #[error("there are as many revocations, or as many taken back, as `revocations.max_entries` allows")]
    Full,
    /// The store did not confirm. It may have kept it all the same; to repeat it does no harm.
    #[error("the store did not confirm: {0}")]
    Store(#[from] Failure),
    /// The system gives no random bytes.
    #[error("no name can be made: {0}")]
    NoName(#[from] getrandom::Error),
}

/// The register of revocations.
#[derive(Debug)]
pub struct Register {
    live: Arc<Live>,
    store: Box<dyn Store>,
    clock: fn() -> UnixTime,
    resync: Duration,
    max_entries: usize,
    /// Asks for a comparison.
    compare: Notify,
    /// How many interruptions there were after which only a comparison tells what is in the store.
    gaps: AtomicU64,
    /// How many of them a comparison has closed.
    closed: AtomicU64,
    /// The last of them that only a store that has settled can close: the start, and every loss of data while this replica was cut off.
    /// Beyond it this replica is one of those that hold entries.
    cut_off: AtomicU64,
    failures: AtomicU64,
}

impl Register {
    /// A register over `store` for the set `live`. Everything is compared every `resync`; more than `max_entries` are not added.
    #[must_use]
    pub fn new(
        live: Arc<Live>,
        store: Box<dyn Store>,
        clock: fn() -> UnixTime,
        resync: Duration,
        max_entries: usize,
    ) -> Self {
        Self {
            live,
            store,
            clock,
            resync,
            max_entries,
            compare: Notify::new(),
            gaps: AtomicU64::new(1),
            closed: AtomicU64::new(0),
            cut_off: AtomicU64::new(1),
            failures: AtomicU64::new(0),
        }
    }

    /// The live set.
    #[must_use]
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Whether everything that the store holds has been here once, and the feed has spoken since.
    #[must_use]
    pub fn has_loaded(&self) -> bool {
        self.age().is_some()
    }

    /// How often the store failed since the start.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// How old the knowledge of what is revoked is; none if there was never any.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.live.age((self.clock)())
    }

    /// Revokes until `ends`: returns once it is stored, and refused here.
    ///
    /// # Errors
    /// Why it was not, or may not have been.
    pub async fn revoke(&self, entry: Entry, ends: UnixTime) -> Result<Line, Refused> {
        if self.live.len().max(self.live.removals()) >= self.max_entries {
            return Err(Refused::Full);
        }
        let line = Line { id: Id::new((self.clock)())?, ends, entry: Some(entry) };
        self.merge(line.clone()).await?;
        Ok(line)
    }

    /// Takes a revocation back; tells whether there was one.
    ///
    /// # Errors
    /// If the store did not confirm.
    pub async fn restore(&self, id: Id) -> Result<bool, Refused> {
        match self.live.line(id) {
            None | Some(Line { entry: None, .. }) => Ok(false),
            Some(line) => self.merge(Line { entry: None, ..line }).await.map(|()| true),
        }
    }

    async fn merge(&self, line: Line) -> Result<(), Refused> {
        self.counted(self.store.merge(vec![line.clone()], false).await)?;
        self.live.apply([line], (self.clock)());
        Ok(())
    }

    /// Keeps the set complete, for ever.
    pub async fn keep(self: Arc<Self>) {
        futures_util::future::join(self.follow(), self.stay_equal()).await;
    }

    async fn follow(&self) {
        let mut place = Place { last: None, pause: FIRST_PAUSE, complaint: None, is_stale: false };
        loop {
            let Err(why) = self.follow_once(&mut place).await;
            // Said once, not each second.
            if place.complaint.as_ref() != Some(&why) {
                tracing::warn!(store = self.store.name(), %why, "the feed of revocations is interrupted");
                place.complaint = Some(why);
            }
            if !place.is_stale && self.live.is_stale((self.clock)()) && self.has_loaded() {
                let does = self.live.when_stale();
                tracing::error!(store = self.store.name(), "what is revoked is not known any more: {does}");
                place.is_stale = true;
            }
            sleep(jittered(place.pause)).await;
            place.pause = place.pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// Follows the news until something is wrong.
    async fn follow_once(&self, place: &mut Place) -> Result<Infallible, Failure> {
        let standing = self.counted(self.store.standing().await)?;
        let (epoch, mut at) = match place.last.take() {
            Some((epoch, at)) if epoch == standing.epoch && at <= standing.last => (epoch, at),
            lost => {
                if lost.is_some() && self.age().is_none_or(|age| age > SHORTLY) {
                    // Before the gap itself, so that no comparison that began earlier closes it.
                    self.cut_off.store(self.gaps.load(Ordering::Acquire).saturating_add(1), Ordering::Release);
                }
                self.gap();
                (standing.epoch, standing.last)
            }
        };
        // Whatever happened meanwhile, the whole is looked at soon.
        self.compare.notify_one();
        loop {
            place.last = Some((epoch.clone(), at));
            let asked = (self.clock)();
            let news = self.counted(self.store.news(at).await)?;
            if news.epoch != epoch {
                return Err(Failure("the store is another one, or has lost its data".to_owned()));
            }
            for (number, _) in &news.lines {
                if *number != at.saturating_add(1) {
                    self.gap();
                    self.compare.notify_one();
                }
                at = *number;
            }
            let is_all = news.lines.len() < PAGE;
            self.take(news.lines.into_iter().map(|(_, line)| line).collect())?;
            if is_all && self.closed.load(Ordering::Acquire) == self.gaps.load(Ordering::Acquire) {
                self.live.complete_up_to(asked);
            }
            place.pause = FIRST_PAUSE;
            place.is_stale &= self.live.is_stale((self.clock)());
            if place.complaint.take().is_some() {
                tracing::info!(store = self.store.name(), "the feed of revocations is back");
            }
        }
    }

    fn gap(&self) {
        self.gaps.fetch_add(1, Ordering::AcqRel);
    }

    async fn stay_equal(&self) {
        let (mut pause, mut complaint) = (FIRST_PAUSE, None);
        // What is read before the feed has its place could lack what comes in between.
        self.compare.notified().await;
        loop {
            let next = match self.equalise().await {
                Ok(true) => {
                    (pause, complaint) = (FIRST_PAUSE, None);
                    self.resync
                }
                Ok(false) => UNSETTLED_PAUSE,
                Err(why) => {
                    if complaint.as_ref() != Some(&why) {
                        tracing::warn!(store = self.store.name(), %why, "revocations cannot be compared with the store");
                        complaint = Some(why);
                    }
                    let this = pause;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                    this
                }
            };
            tokio::select! {
                () = sleep(jittered(next)) => {}
                () = self.compare.notified() => {}
            }
        }
    }

    /// Takes over what the store has, writes back what it lacks, and forgets what has ended; tells whether this set now holds all.
    async fn equalise(&self) -> Result<bool, Failure> {
        let gaps = self.gaps.load(Ordering::Acquire);
        let standing = self.counted(self.store.standing().await)?;
        self.take_over().await?;
        // Who held everything before holds it still; who starts, or was cut off, may have come before the others have written back.
        let held = self.closed.load(Ordering::Acquire) >= self.cut_off.load(Ordering::Acquire);
        let holds_all = standing.is_settled || held;
        if holds_all {
            self.closed.store(gaps, Ordering::Release);
            if !held {
                tracing::info!(store = self.store.name(), entries = self.live.len(), "revocations loaded");
            }
        }
        let written = self.write_back().await?;
        if written > 0 {
            tracing::warn!(store = self.store.name(), lines = written, "written back: the store had lost revocations");
        }
        self.counted(self.store.sweep().await)?;
        let mut from = Some(Id::FIRST);
        while let Some(id) = from {
            from = self.live.sweep(id, PAGE, (self.clock)());
            // Other tasks of this thread have their turn.
            yield_now().await;
        }
        Ok(holds_all)
    }

    async fn take_over(&self) -> Result<(), Failure> {
        self.live.compare();
        let mut from = None;
        loop {
            let page = self.counted(self.store.page(from).await)?;
            self.take(page.lines)?;
            yield_now().await;
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    async fn write_back(&self) -> Result<usize, Failure> {
        let (mut before, mut written) = (Id::LAST, 0_usize);
        loop {
            let lines = self.live.unseen(before, PAGE);
            let Some(oldest) = lines.last() else { return Ok(written) };
            before = oldest.id;
            written = written.saturating_add(lines.len());
            self.counted(self.store.merge(lines, true).await)?;
        }
    }

    fn take(&self, lines: Vec<Written>) -> Result<(), Failure> {
        self.counted(self.live.take(lines, (self.clock)()).map_err(Failure))
    }

    fn counted<T>(&self, answer: Result<T, Failure>) -> Result<T, Failure> {
        if answer.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

/// Where the follower is.
struct Place {
    /// The epoch, and the number of the last change.
    last: Option<(String, u64)>,
    /// How long to wait before the next attempt.
    pause: Duration,
    /// What was last complained of.
    complaint: Option<Failure>,
    /// Whether it was told that the knowledge is too old.
    is_stale: bool,
}

/// Up to a tenth longer, so that replicas do not ask together.
fn jittered(pause: Duration) -> Duration {
    pause.saturating_add(pause.mul_f64(fastrand::f64() / 10.0))
}

#[cfg(test)]
mod tests;
