//! A store in this process' memory: a restart forgets everything, and no other replica hears of anything. For trials, and for
//! tests of whatever stands on a store.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Answer, KEEP, NEWS_EVERY, News, PAGE, Page, Standing, Store};
use crate::clock::UnixTime;
use crate::revocations::entry::{Id, Line, Written};

/// Keeps lines for as long as the process lives.
#[derive(Debug)]
pub struct Memory {
    clock: fn() -> UnixTime,
    kept: Mutex<Kept>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    lines: BTreeMap<Id, Line>,
    changes: BTreeMap<u64, Id>,
    last: u64,
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new(clock: fn() -> UnixTime) -> Self {
        Self { clock, kept: Mutex::default(), changed: Notify::new() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn since(&self, after: u64) -> Vec<(u64, Written)> {
        let changes = self.changes.range((Bound::Excluded(after), Bound::Unbounded));
        changes.filter_map(|(number, id)| Some((*number, self.lines.get(id)?.written()))).take(PAGE).collect()
    }

    fn merge(&mut self, line: Line) {
        let is_news = self.lines.get(&line.id).is_none_or(|there| there.entry.is_some() && line.entry.is_none());
        if is_news {
            self.last = self.last.saturating_add(1);
            self.changes.insert(self.last, line.id);
            self.lines.insert(line.id, line);
        }
    }
}

impl Store for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn standing(&self) -> Answer<'_, Standing> {
        Box::pin(async { Ok(Standing { epoch: String::new(), last: self.kept().last, is_settled: true }) })
    }

    fn news(&self, after: u64) -> Answer<'_, News> {
        Box::pin(async move {
            let changed = self.changed.notified();
            let mut lines = self.kept().since(after);
            if lines.is_empty() {
                tokio::time::timeout(NEWS_EVERY, changed).await.ok();
                lines = self.kept().since(after);
            }
            Ok(News { epoch: String::new(), lines })
        })
    }

    fn page(&self, from: Option<String>) -> Answer<'_, Page> {
        Box::pin(async move {
            let after = from.and_then(|from| from.parse::<Id>().ok()).map_or(Bound::Unbounded, Bound::Excluded);
            let lines: Vec<Written> =
                self.kept().lines.range((after, Bound::Unbounded)).take(PAGE).map(|(_, line)| line.written()).collect();
            let next = lines.last().filter(|_| lines.len() == PAGE).map(|line| line.id.to_string());
            Ok(Page { lines, next })
        })
    }

    fn merge(&self, lines: Vec<Line>, _: bool) -> Answer<'_, ()> {
        Box::pin(async move {
            {
                let mut kept = self.kept();
                lines.into_iter().for_each(|line| kept.merge(line));
            }
            self.changed.notify_waiters();
            Ok(())
        })
    }

    fn sweep(&self) -> Answer<'_, ()> {
        Box::pin(async {
            let until = (self.clock)().before(KEEP);
            let mut kept = self.kept();
            kept.lines.retain(|_, line| line.ends > until);
            let Kept { lines, changes, .. } = &mut *kept;
            changes.retain(|_, id| lines.contains_key(id));
            Ok(())
        })
    }
}
