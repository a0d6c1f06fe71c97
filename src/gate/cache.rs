//! The cache of verified tokens: a signature is checked once, everything else at each request.

use std::hash::Hasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::notification::RemovalCause;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::Kept;
use super::ports::Marks;
use crate::clock::UnixTime;
use crate::policy::Principal;
use crate::token::claims::{Basis, Lifetime};
use crate::token::{Issuer, VerifiedClaims};

/// What an entry takes beside the texts and claims of its principal: the proof with both reference counts, and 470 bytes for the
/// entry's nodes in moka's map, queues and timer wheel with what the allocator rounds up, measured with 4 000 to 100 000 entries, and
/// 160 for its place among the readers', measured with a million tokens passing through 64 MiB.
const ENTRY_BYTES: usize = size_of::<Proven>() + 2 * 2 * size_of::<usize>() + 470 + 160;

/// Of so many uses moka is told of one, to know what is used at all. To tell it of each costs more than everything else that a
/// use of the cache does (0.6 µs with 100 000 entries), and what is used often is among the told ones soon.
const TOLD_OF: u64 = 16;

/// What was proven about a token.
#[derive(Debug)]
pub struct Proven {
    /// The issuer as it was configured then.
    pub issuer: Arc<Issuer>,
    /// Its number.
    pub issuer_index: usize,
    /// On what that rests: the key that signed, the issuer's own answer.
    pub basis: Basis,
    /// When the token holds.
    pub lifetime: Lifetime,
    /// By what it can be revoked.
    pub marks: Marks,
    /// Who it speaks of.
    pub principal: Arc<Principal>,
    /// Which claims were kept of it.
    pub kept: Kept,
    /// How long from the proof to the end of its lifetime, or to the next question.
    pub ends_in: Duration,
}

/// What a cache has done since the start, and how full it is.
#[derive(Debug, Clone, Copy)]
pub struct CacheState {
    /// About how many entries it holds.
    pub entries: u64,
    /// About how many bytes they take.
    pub bytes: u64,
    /// How many bytes they may take.
    pub max_bytes: u64,
    /// How often something was there.
    pub hits: u64,
    /// How often nothing was there.
    pub misses: u64,
    /// How many entries went because their time was over.
    pub expired: u64,
    /// How many entries went to keep the bound.
    pub evicted: u64,
    /// How many entries went because they no longer held: their key was gone, or another policy reads other claims.
    pub stale: u64,
}

/// Each is one relaxed addition. The removals are told by moka as it tidies up, on the path of a new proof.
#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    expired: AtomicU64,
    evicted: AtomicU64,
    stale: AtomicU64,
}

/// A bounded cache of proofs by token. It holds no token: the key is a keyed 128-bit hash (SipHash,
/// a pseudo-random function under a key that never leaves the process, so that nobody can prepare
/// a collision) of the whole token, signature included.
///
/// moka decides who stays; readers ask a map of their own, from which goes what moka lets go.
#[derive(Debug)]
pub struct TokenCache {
    entries: moka::sync::Cache<u128, Arc<Proven>, ahash::RandomState>,
    readable: Readable,
    hasher: SipHasher13,
    counts: Arc<Counts>,
}

type Readable = Arc<papaya::HashMap<u128, Arc<Proven>, ahash::RandomState>>;

impl TokenCache {
    /// An empty cache of at most about `max_bytes`, with a hash key that nobody else has.
    #[must_use]
    pub fn new(max_bytes: u64, hash_key: [u8; 16]) -> Self {
        let counts = Arc::new(Counts::default());
        let removals = Arc::clone(&counts);
        let readable = Readable::default();
        let let_go = Arc::clone(&readable);
        let entries = moka::sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_: &u128, proven: &Arc<Proven>| {
                u32::try_from(proven.principal.footprint().saturating_add(ENTRY_BYTES)).unwrap_or(u32::MAX)
            })
            .expire_after(UntilItsEnd)
            .eviction_listener(move |name, _, cause| {
                if cause != RemovalCause::Replaced {
                    let_go.pin().remove(&*name);
                }
                match cause {
                    RemovalCause::Expired => removals.expired.fetch_add(1, Ordering::Relaxed),
                    RemovalCause::Size => removals.evicted.fetch_add(1, Ordering::Relaxed),
                    RemovalCause::Explicit => removals.stale.fetch_add(1, Ordering::Relaxed),
                    // Two requests proved the same token at once: nothing went.
                    RemovalCause::Replaced => 0,
                };
            })
            .build_with_hasher(ahash::RandomState::new());
        Self { entries, readable, hasher: SipHasher13::new_with_key(&hash_key), counts }
    }

    /// The name of a token in this cache.
    #[must_use]
    pub fn name(&self, token: &str) -> u128 {
        let mut hasher = self.hasher;
        hasher.write(token.as_bytes());
        hasher.finish128().as_u128()
    }

    /// What was proven about the token named `name`. The caller must still ask whether the proof
    /// holds: its lifetime, its key, its issuer.
    #[must_use]
    pub fn get(&self, name: u128) -> Option<Arc<Proven>> {
        let found = self.readable.pin().get(&name).map(Arc::clone);
        let counter = if found.is_some() { &self.counts.hits } else { &self.counts.misses };
        let earlier = counter.fetch_add(1, Ordering::Relaxed);
        // Of what is not there moka is told each time: else a full cache would never learn that it is asked for oftener than what
        // it holds, and beside the signature check that follows it costs nothing.
        if found.is_none() || earlier.is_multiple_of(TOLD_OF) {
            drop(self.entries.get(&name));
        }
        found
    }

    /// Remembers a proof.
    pub fn put(&self, name: u128, proven: Arc<Proven>) {
        // moka lets go of what is too much when it tidies up; where nothing may be kept, that is too late.
        if self.entries.policy().max_capacity() == Some(0) {
            return;
        }
        // In this order: what moka does not take it lets go at once, and then it must be there to be removed.
        self.readable.pin().insert(name, Arc::clone(&proven));
        self.entries.insert(name, proven);
    }

    /// Forgets a proof that no longer holds.
    pub fn forget(&self, name: u128) {
        self.entries.invalidate(&name);
    }

    /// About how many proofs it holds.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.entries.entry_count()
    }

    /// How it fares.
    #[must_use]
    pub fn state(&self) -> CacheState {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheState {
            entries: self.entries.entry_count(),
            bytes: self.entries.weighted_size(),
            max_bytes: self.entries.policy().max_capacity().unwrap_or(u64::MAX),
            hits: read(&self.counts.hits),
            misses: read(&self.counts.misses),
            expired: read(&self.counts.expired),
            evicted: read(&self.counts.evicted),
            stale: read(&self.counts.stale),
        }
    }

    /// Does at once what it does in passing: evicts what is over the bound or has ended.
    pub fn settle(&self) {
        self.entries.run_pending_tasks();
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Proven {
    /// A proof made at `now`.
    #[must_use]
    pub fn new(
        issuer: &Arc<Issuer>,
        issuer_index: usize,
        verified: &VerifiedClaims,
        marks: Marks,
        principal: Principal,
        kept: &Kept,
        now: UnixTime,
    ) -> Self {
        let (basis, lifetime) = (verified.basis(), verified.lifetime());
        Self {
            issuer: Arc::clone(issuer),
            issuer_index,
            basis,
            lifetime,
            marks,
            principal: Arc::new(principal),
            kept: kept.clone(),
            ends_in: lifetime.until().min(basis.ask_again).since(now),
        }
    }
}

/// Frees the memory of what has ended; whether it has, the reader checks against `now`.
struct UntilItsEnd;

impl Expiry<u128, Arc<Proven>> for UntilItsEnd {
    fn expire_after_create(&self, _: &u128, proven: &Arc<Proven>, _: Instant) -> Option<Duration> {
        // moka adds this to a clock; a year keeps it far from any overflow.
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
        Some(proven.ends_in.min(LONGEST))
    }
}
