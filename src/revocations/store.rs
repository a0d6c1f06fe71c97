//! Where revocations are kept beyond this process. A store is asked in the background only, and every call ends in bounded time.

pub mod memory;
pub mod redis;
pub mod sqlite;

use std::time::Duration;

use super::entry::{Line, Written};
use crate::gate::ports::BoxFuture;

/// How long a store waits for news before it says that there are none: with it and the way there and back, every replica hears of
/// a new entry within a second, and each answer proves that the feed lives.
pub const NEWS_EVERY: Duration = Duration::from_millis(250);

/// How long a store may take for anything else. Decisions do not wait for it; people at the admin API do.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// How many lines are read or written at once: a quarter of a megabyte, and a few milliseconds of everybody's store.
pub const PAGE: usize = 1_000;

/// How much longer than their end lines stay in the store: clocks that are a minute apart are broken.
pub const KEEP: Duration = Duration::from_secs(60);

/// Why a store did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl From<crate::redis::Failure> for Failure {
    fn from(crate::redis::Failure(why): crate::redis::Failure) -> Self {
        Self(why)
    }
}

/// What a store answers, in its own time.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, Failure>>;

/// How a store stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which store it is: another one after every loss of data that it can see.
    pub epoch: String,
    /// The number of the last change.
    pub last: u64,
    /// Whether whoever holds entries has had the time to write back what the store may have lost.
    pub is_settled: bool,
}

/// What is new in a store.
#[derive(Debug, Default)]
pub struct News {
    /// Which store it is.
    pub epoch: String,
    /// The changes, with their numbers: each is one more than the last, unless changes were lost.
    pub lines: Vec<(u64, Written)>,
}

/// Some of the lines of a store.
#[derive(Debug, Default)]
pub struct Page {
    /// The lines. One may come twice.
    pub lines: Vec<Written>,
    /// Where the next page begins; none if this was the last.
    pub next: Option<String>,
}

/// Where revocations are kept.
pub trait Store: std::fmt::Debug + Send + Sync {
    /// Its kind, for logs.
    fn name(&self) -> &'static str;

    /// How it stands.
    fn standing(&self) -> Answer<'_, Standing>;

    /// What is new since the change number `after`; waits up to [`NEWS_EVERY`] for the first.
    fn news(&self, after: u64) -> Answer<'_, News>;

    /// Lines, from `from` on or from the first. All pages together have every line that was there all the while.
    fn page(&self, from: Option<String>) -> Answer<'_, Page>;

    /// Merges lines: one that is not there is added, one that is there becomes its removal if that comes. Both count as changes.
    /// `writing_back`: these were there before, and there may be more of them.
    fn merge(&self, lines: Vec<Line>, writing_back: bool) -> Answer<'_, ()>;

    /// Forgets lines that ended [`KEEP`] ago.
    fn sweep(&self) -> Answer<'_, ()>;
}
