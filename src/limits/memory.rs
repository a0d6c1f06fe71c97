//! Buckets in memory, of which there is a fixed number at most, whoever asks for how many.
//!
//! A bucket that is full again says no more than one that is not there, so it can be forgotten; each new one makes up for it by looking at
//! two others. If nothing can be forgotten and all places are taken, the fullest of a few others gives up its place, and the new one
//! begins as full as that was: nobody gets more by being forgotten, and whoever floods the table with others fills it with buckets that
//! are fuller than his own. But one token is in each new bucket, so that no flood of others shuts out who was never seen.

use std::hash::Hasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use smallvec::SmallVec;

use crate::clock::UnixTime;
use crate::gate::ports::{Bucket, KeptBy, Taken};
use crate::policy::limit::rate::Fill;
use crate::policy::limit::{Level, Rate};

/// How many maps there are, each with a lock of its own: many more than threads, so that two seldom meet.
const SHARDS: usize = 64;

/// Of so many the fullest gives up its place. Of eight taken at random it is among the fullest quarter with nine in ten.
const SAMPLE: usize = 8;

/// So many others are looked at for each new bucket, and forgotten if they are full: more leave than come.
const LOOKED_AT: usize = 2;

/// So often a place is looked for that is taken: with a half of them taken all are free once in 256.
const TRIES: usize = 8;

/// The buckets.
pub struct Memory {
    shards: Box<[Mutex<Shard>]>,
    max_of_shard: usize,
    /// Under a key of its own, so that nobody can prepare names that meet.
    hasher: SipHasher13,
    displaced: AtomicU64,
}

/// The buckets under one lock. The table is asked by the name itself, which is a hash already; and it can be looked at anywhere.
type Shard = HashTable<Entry>;

/// A bucket: a hash of its name, and how full it is. Of a million names two meet with a probability of 1 in 37 million, and then share a
/// bucket.
#[derive(Debug, Clone, Copy)]
struct Entry {
    name: u64,
    fill: Fill,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("buckets", &self.len()).finish_non_exhaustive()
    }
}

impl Memory {
    /// No buckets yet, and at most about `max` of them; under a hash key that nobody else has.
    #[must_use]
    pub fn new(max: usize, hash_key: [u8; 16]) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            max_of_shard: max.div_ceil(SHARDS).max(1),
            hasher: SipHasher13::new_with_key(&hash_key),
            displaced: AtomicU64::new(0),
        }
    }

    /// Takes a token from each, or from none; from those that are only looked at none, but it must be there.
    pub fn take(&self, buckets: &[Bucket], now: UnixTime) -> Taken {
        let mut levels: SmallVec<[Level; 2]> = SmallVec::new();
        for (i, bucket) in buckets.iter().enumerate() {
            let taken = if bucket.takes {
                self.change(bucket, now, |fill| bucket.rate.take(fill, now))
            } else {
                let fill = self.fill(bucket);
                bucket.rate.take(fill, now).and(Ok(fill))
            };
            match taken {
                Ok(fill) => levels.push(bucket.rate.level(fill, now)),
                Err(fill) => {
                    self.give_back(buckets.get(..i).unwrap_or_default(), now);
                    let rest = buckets.iter().enumerate().skip(i.saturating_add(1));
                    let others = rest.map(|(i, other)| (i, other.rate.level(self.fill(other), now)));
                    let first = (i, bucket.rate.level(fill, now));
                    // Whoever is told to wait must not find another one empty then.
                    let (i, level) =
                        others.fold(first, |one, other| if other.1.next_in > one.1.next_in { other } else { one });
                    return Taken::Empty(i, level);
                }
            }
        }
        Taken::All(levels, KeptBy::Memory)
    }

    /// How full each is now.
    pub fn levels(&self, buckets: &[Bucket], now: UnixTime) -> Vec<Level> {
        buckets.iter().map(|bucket| bucket.rate.level(self.fill(bucket), now)).collect()
    }

    /// Gives a token back to each from which one was taken.
    pub fn give_back(&self, buckets: &[Bucket], now: UnixTime) {
        for bucket in buckets.iter().filter(|bucket| bucket.takes) {
            self.change(bucket, now, |fill| Ok(bucket.rate.give_back(fill, now))).ok();
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| locked(shard).len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many gave up their place while they were not full.
    #[must_use]
    pub fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Relaxed)
    }

    fn fill(&self, bucket: &Bucket) -> Fill {
        let (shard, name) = self.place(&bucket.key);
        let found = shard.and_then(|shard| locked(shard).find(name, |entry| entry.name == name).copied());
        found.map_or(Fill::FULL, |entry| entry.fill)
    }

    /// Changes a bucket, and remembers what comes of it either way.
    fn change(
        &self,
        bucket: &Bucket,
        now: UnixTime,
        change: impl Fn(Fill) -> Result<Fill, Fill>,
    ) -> Result<Fill, Fill> {
        let (Some(shard), name) = self.place(&bucket.key) else { return change(Fill::FULL) };
        let mut shard = locked(shard);
        if let Some(entry) = shard.find_mut(name, |entry| entry.name == name) {
            let changed = change(entry.fill);
            entry.fill = changed.unwrap_or_else(|fill| fill);
            return changed;
        }
        forget(&mut shard, now);
        let is_full = shard.len() >= self.max_of_shard;
        let start = if is_full { self.displace(&mut shard, &bucket.rate, now) } else { Fill::FULL };
        let changed = change(start);
        let fill = changed.unwrap_or_else(|fill| fill);
        shard.insert_unique(name, Entry { name, fill }, |entry| entry.name);
        changed
    }

    /// Makes room, and tells how full a bucket with this rate begins.
    fn displace(&self, shard: &mut Shard, rate: &Rate, now: UnixTime) -> Fill {
        let sample = (0..SAMPLE).filter_map(|_| anywhere(shard));
        let fullest = sample.filter_map(|i| Some((shard.get_bucket(i)?.fill, i))).min();
        let Some((fill, i)) = fullest else { return Fill::FULL };
        if let Ok(entry) = shard.get_bucket_entry(i) {
            entry.remove();
        }
        if fill.is_full(now) {
            return Fill::FULL;
        }
        self.displaced.fetch_add(1, Ordering::Relaxed);
        rate.inherit(fill, now)
    }

    fn place(&self, key: &str) -> (Option<&Mutex<Shard>>, u64) {
        let mut hasher = self.hasher;
        hasher.write(key.as_bytes());
        let hash = hasher.finish128();
        let shard = usize::try_from(hash.h1).unwrap_or(0).checked_rem(SHARDS).unwrap_or(0);
        (self.shards.get(shard), hash.h2)
    }
}

/// Forgets some that are full.
fn forget(shard: &mut Shard, now: UnixTime) {
    for _ in 0..LOOKED_AT {
        let found = anywhere(shard).and_then(|i| shard.get_bucket_entry(i).ok());
        if let Some(entry) = found.filter(|entry| entry.get().fill.is_full(now)) {
            entry.remove();
        }
    }
}

/// The place of a bucket taken at random; none of a table that has hardly any.
fn anywhere(shard: &Shard) -> Option<usize> {
    let places = shard.num_buckets();
    if places == 0 {
        return None;
    }
    // Of a table that has grown a half or more of the places are taken.
    (0..TRIES).map(|_| fastrand::usize(..places)).find(|i| shard.get_bucket(*i).is_some())
}

/// Nobody panics while he holds the lock; if somebody did all the same, what he had written is as good as before.
fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: UnixTime = UnixTime::from_secs(1_700_000_000);

    fn bucket(key: &str, rate: Rate) -> Bucket {
        Bucket { key: key.to_owned(), rate, takes: true }
    }

    fn rate(tokens: u32, burst: u32) -> Rate {
        Rate::new(tokens, Duration::from_secs(60), burst).expect("a rate")
    }

    fn taken(memory: &Memory, buckets: &[Bucket], now: UnixTime, wanted: usize) -> usize {
        (0..wanted).filter(|_| matches!(memory.take(buckets, now), Taken::All(..))).count()
    }

    #[test]
    fn all_or_none() {
        let memory = Memory::new(1000, [1; 16]);
        let (wide, narrow) = (bucket("wide", rate(60, 10)), bucket("narrow", rate(20, 3)));
        let both = [wide.clone(), narrow.clone()];
        assert_eq!(taken(&memory, &both, START, 9), 3);
        let Taken::Empty(1, level) = memory.take(&both, START) else { panic!("the second is empty") };
        assert_eq!((level.left, level.next_in), (0, Duration::from_secs(3)));
        assert_eq!(taken(&memory, &[wide], START, 20), 7, "what was refused cost the other one nothing");
        memory.give_back(std::slice::from_ref(&narrow), START);
        assert_eq!(memory.levels(std::slice::from_ref(&narrow), START)[0].left, 1);
        assert!(matches!(memory.take(&[Bucket { takes: false, ..narrow.clone() }], START), Taken::All(..)));
        assert_eq!(taken(&memory, &[narrow], START, 5), 1, "looking takes nothing");
    }

    #[test]
    fn of_two_empty_ones_the_emptier_is_told() {
        let memory = Memory::new(1000, [1; 16]);
        let both = [bucket("a", rate(60, 1)), bucket("b", rate(1, 1))];
        assert_eq!(taken(&memory, &both, START, 2), 1);
        assert!(matches!(memory.take(&both, START), Taken::Empty(1, level) if level.next_in.as_secs() == 60));
    }

    #[test]
    fn full_ones_are_forgotten_as_others_come() {
        let memory = Memory::new(1_000_000, [1; 16]);
        for round in 0..20_u64 {
            let now = START.after(Duration::from_secs(10 * round));
            (0..10_000).for_each(|i| drop(memory.take(&[bucket(&format!("{round}-{i}"), rate(60, 5))], now)));
        }
        // Each is full again after a second, long before the next round.
        assert!(memory.len() < 25_000, "{} of 200 000 are left", memory.len());
        assert_eq!(memory.displaced(), 0);
    }

    #[test]
    fn a_flood_of_others_makes_nobody_forgotten_who_is_in_debt() {
        let memory = Memory::new(6_400, [1; 16]);
        let greedy = [bucket("greedy", rate(1, 40))];
        assert_eq!(taken(&memory, &greedy, START, 99), 40);
        for i in 0..200_000 {
            memory.take(&[bucket(&format!("other {i}"), rate(1, 40))], START);
        }
        assert!(memory.len() <= 6_400 && memory.displaced() > 190_000, "{memory:?}");
        assert_eq!(taken(&memory, &greedy, START, 99), 0, "the emptiest is not forgotten");
        // Who asks for six times as many buckets as there are tokens in all of them does forget it; and then one token is in it.
        for i in 200_000..400_000 {
            memory.take(&[bucket(&format!("other {i}"), rate(1, 40))], START);
        }
        assert!(taken(&memory, &greedy, START, 99) <= 1);
        // Who comes into a full table begins as full as who went, and with one token at least.
        let newcomers = (0..100).map(|i| taken(&memory, &[bucket(&format!("new {i}"), rate(1, 40))], START, 99));
        let got: Vec<usize> = newcomers.collect();
        assert!(got.iter().all(|got| (1..40).contains(got)), "{got:?}");
    }

    #[test]
    fn threads_together_get_the_capacity() {
        let memory = Memory::new(1000, [1; 16]);
        let one = [bucket("one", rate(1, 1000))];
        let got: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| taken(&memory, &one, START, 500))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(got, 1000);
    }
}
