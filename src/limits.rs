//! L3: the buckets of limits. In memory ([`memory`]), or in a Redis that replicas share ([`shared`]), beside which memory stands for the
//! time in which that does not answer.

pub mod memory;
pub mod shared;

use std::sync::Arc;

use crate::clock::UnixTime;
use crate::gate::Limiter;
use crate::gate::ports::{Bucket, KeptBy, Taken, Taking};
use crate::policy::limit::Level;
use memory::Memory;
use shared::Shared;

/// The buckets.
#[derive(Debug)]
pub struct Limits {
    memory: Arc<Memory>,
    shared: Option<Arc<Shared>>,
}

impl Limits {
    /// Buckets in memory, or in the `shared` store that falls back to it.
    #[must_use]
    pub fn new(memory: Arc<Memory>, shared: Option<Shared>) -> Self {
        Self { memory, shared: shared.map(Arc::new) }
    }

    /// The buckets of this process.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The store that replicas share, if there is one.
    #[must_use]
    pub fn shared(&self) -> Option<&Arc<Shared>> {
        self.shared.as_ref()
    }

    /// How full buckets are, and who knows.
    pub async fn levels(&self, buckets: &[Bucket], now: UnixTime) -> (Vec<Level>, KeptBy) {
        let shared = match &self.shared {
            Some(shared) => shared.levels(buckets).await,
            None => None,
        };
        match shared {
            Some(levels) => (levels, KeptBy::Shared),
            None => {
                let share = self.shared.as_ref().map(|shared| shared.share(buckets));
                (self.memory.levels(share.as_deref().unwrap_or(buckets), now), KeptBy::Memory)
            }
        }
    }
}

impl Limiter for Limits {
    fn take<'a>(&'a self, buckets: &'a [Bucket], now: UnixTime) -> Taking<'a> {
        match &self.shared {
            None => Taking::Done(self.memory.take(buckets, now)),
            Some(shared) => shared.take(buckets, now),
        }
    }

    fn give_back(&self, buckets: &[Bucket], kept: KeptBy, now: UnixTime) {
        match (kept, &self.shared) {
            (KeptBy::Memory, shared) => {
                let share = shared.as_ref().map(|shared| shared.share(buckets));
                self.memory.give_back(share.as_deref().unwrap_or(buckets), now);
            }
            (KeptBy::Shared, Some(shared)) => shared.give_back(buckets),
            (KeptBy::Shared, None) | (KeptBy::Nobody, _) => {}
        }
    }
}

/// Of a policy that is only tried: nobody is limited.
#[derive(Debug, Clone, Copy)]
pub struct Unlimited;

impl Limiter for Unlimited {
    fn take<'a>(&'a self, _: &'a [Bucket], _: UnixTime) -> Taking<'a> {
        Taking::Done(Taken::All(smallvec::SmallVec::new(), KeptBy::Nobody))
    }

    fn give_back(&self, _: &[Bucket], _: KeptBy, _: UnixTime) {}
}
