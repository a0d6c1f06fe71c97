//! What a decision looks up: until when a mark is revoked, and up to which `iat`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::clock::UnixTime;
use crate::gate::ports::Mark;
use crate::revocations::entry::Entry;

/// How many maps share the marks. A reader meets a writer in one of sixty-four, for the time of one insertion; a map that grows copies
/// a sixty-fourth.
const SHARDS: usize = 64;

/// How far the entries of a mark reach, merged into their later ends: an entry never ends before its tokens, so what a merged one
/// refuses for longer has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) until: UnixTime,
    pub(super) issued: UnixTime,
    /// How many entries were merged at most: when the only one is taken back, nobody has to look for others.
    pub(super) entries: u32,
}

impl Reach {
    pub(super) fn of(ends: UnixTime, entry: &Entry) -> Self {
        Self { until: ends, issued: entry.what.reaches(), entries: 1 }
    }

    pub(super) fn merged(self, other: Self) -> Self {
        Self {
            until: self.until.max(other.until),
            issued: self.issued.max(other.issued),
            entries: self.entries.saturating_add(other.entries),
        }
    }
}

type Shard = RwLock<HashMap<Mark, Reach, ahash::RandomState>>;

/// The reaches of all marks.
#[derive(Debug)]
pub(super) struct Reaches {
    shards: [Shard; SHARDS],
    /// How many marks there are: none is the usual case, and then nothing is looked up.
    count: AtomicUsize,
}

impl Reaches {
    pub(super) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Shard::default()), count: AtomicUsize::new(0) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// How far the mark reaches; none if it is not revoked.
    pub(super) fn of(&self, mark: Mark) -> Option<Reach> {
        // A map that somebody left in a panic is whole: it does not panic between its own changes.
        let shard = self.shard(mark)?.read().unwrap_or_else(PoisonError::into_inner);
        shard.get(&mark).copied()
    }

    /// Makes the mark reach as `change` says of how it reaches now.
    pub(super) fn change(&self, mark: Mark, change: impl FnOnce(Option<Reach>) -> Option<Reach>) {
        let Some(shard) = self.shard(mark) else { return };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        let before = shard.get(&mark).copied();
        match (before, change(before)) {
            (None, Some(reach)) => {
                shard.insert(mark, reach);
                self.count.fetch_add(1, Ordering::AcqRel);
            }
            (Some(_), Some(reach)) => {
                shard.insert(mark, reach);
            }
            (Some(_), None) => {
                shard.remove(&mark);
                self.count.fetch_sub(1, Ordering::AcqRel);
            }
            (None, None) => {}
        }
    }

    fn shard(&self, mark: Mark) -> Option<&Shard> {
        self.shards.get(mark.place(SHARDS))
    }
}
