//! What the gate needs of the world.

use std::future::Future;
use std::num::NonZeroU128;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Map, Value};
use smallvec::SmallVec;

use crate::clock::UnixTime;
use crate::policy::Reason;
use crate::policy::limit::{Level, Rate};
use crate::token::{KeySet, VerifiedClaims};

/// A boxed future that borrows; only the cold path allocates one.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The keys of the configured issuers, counted as they are configured.
pub trait Keys: std::fmt::Debug + Send + Sync {
    /// The keys of an issuer as they are known now; none if they were never loaded. Never waits.
    fn current(&self, issuer: usize) -> Option<Arc<KeySet>>;

    /// Keys newer than [`Keys::current`] with one of the name `kid`, asked for because a token names it and it is not there.
    /// May wait, within bounds of its own; none if there are no such keys.
    fn newer<'a>(&'a self, issuer: usize, kid: &'a str) -> BoxFuture<'a, Option<Arc<KeySet>>>;
}

/// What has been revoked before its time. Both questions are answered from memory: nothing here waits.
pub trait Revocations: std::fmt::Debug + Send + Sync {
    /// By what a token of `issuer` (its `iss`) can be revoked. Asked once for each proof and kept with it.
    ///
    /// # Errors
    /// [`Reason::MalformedClaim`] if `jti` or `sid` is no text, empty or too long, or the subject is: nobody could revoke such a token by
    /// it.
    fn marks(&self, issuer: &str, claims: &VerifiedClaims) -> Result<Marks, Reason>;

    /// Whether a token with these marks still holds. Asked at each use, of cached proofs too.
    ///
    /// # Errors
    /// [`Reason::Revoked`], or [`Reason::RevocationsStale`] if nobody knows.
    fn check(&self, marks: &Marks, now: UnixTime) -> Result<(), Reason>;
}

/// The name of a `jti`, a `sid` or a subject of one issuer: small and of one size, so that asking is a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark(NonZeroU128);

impl Mark {
    /// The mark that a keyed hash gives.
    #[must_use]
    pub fn new(hash: u128) -> Self {
        Self(NonZeroU128::new(hash).unwrap_or(NonZeroU128::MIN))
    }

    /// One of `places`, the same for the same mark; `places` is a power of two.
    #[must_use]
    pub fn place(self, places: usize) -> usize {
        (self.0.get() >> 64) as usize & places.wrapping_sub(1)
    }
}

/// By what one token can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Itself, its session, its subject: as far as it names them.
    pub names: [Option<Mark>; 3],
    /// When it was issued. A token that does not say so counts as issued at the beginning of time.
    pub issued: UnixTime,
}

/// Of a gate whose operator has configured no revocation: nothing is ever revoked.
#[derive(Debug, Clone, Copy)]
pub struct NoRevocations;

impl Revocations for NoRevocations {
    fn marks(&self, _: &str, _: &VerifiedClaims) -> Result<Marks, Reason> {
        Ok(Marks { names: [None; 3], issued: UnixTime::from_micros(i64::MIN) })
    }

    fn check(&self, _: &Marks, _: UnixTime) -> Result<(), Reason> {
        Ok(())
    }
}

/// The issuers that are asked about tokens (RFC 7662), counted as they are configured.
pub trait Introspection: std::fmt::Debug + Send + Sync {
    /// What an issuer says of a token that it calls active. May wait, within bounds of its own.
    ///
    /// # Errors
    /// [`Reason::Inactive`], or [`Reason::IntrospectionFailed`] if nobody knows.
    fn ask<'a>(&'a self, issuer: usize, question: Question<'a>) -> BoxFuture<'a, Result<Answer, Reason>>;
}

/// A token that is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The token.
    pub token: &'a str,
    /// A keyed hash of all of it, of 128 bits: who asks about the same token may share an answer, and nobody else does.
    pub name: u128,
    /// When it is asked.
    pub now: UnixTime,
}

/// What an issuer says of an active token.
#[derive(Debug, Clone)]
pub struct Answer {
    /// All members of the answer, as they came.
    pub claims: Arc<Map<String, Value>>,
    /// Until when it is believed.
    pub ask_again: UnixTime,
}

/// The buckets of limits, wherever they are kept.
pub trait Limiter: std::fmt::Debug + Send + Sync {
    /// Takes a token from each of the buckets, or from none of them.
    fn take<'a>(&'a self, buckets: &'a [Bucket], now: UnixTime) -> Taking<'a>;

    /// Gives a token back to each from which [`Limiter::take`] took one. Nobody waits for it.
    fn give_back(&self, buckets: &[Bucket], kept: KeptBy, now: UnixTime);
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name, as [`crate::policy::limit::key`] writes it.
    pub key: String,
    /// How it fills.
    pub rate: Rate,
    /// Whether a token is taken. Otherwise it is only looked at: there must be one.
    pub takes: bool,
}

/// Where buckets were, of a store that has a second place for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptBy {
    /// In this process.
    Memory,
    /// In a store that replicas share.
    Shared,
    /// Nowhere: nobody counts.
    Nobody,
}

/// An answer of a [`Limiter`]; what is in memory answers at once.
pub enum Taking<'a> {
    /// The answer.
    Done(Taken),
    /// It comes, within bounds of its own.
    Later(BoxFuture<'a, Taken>),
}

/// What came of taking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Each bucket had a token, and is as full now; nothing is said of any where nobody counts.
    All(SmallVec<[Level; 2]>, KeptBy),
    /// The bucket at this place was the emptiest, and so none was taken.
    Empty(usize, Level),
    /// Nobody knows.
    Unknown,
}

impl std::fmt::Debug for Taking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done(taken) => f.debug_tuple("Done").field(taken).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

impl Taking<'_> {
    /// The answer, waited for if it must be.
    pub async fn answer(self) -> Taken {
        match self {
            Self::Done(taken) => taken,
            Self::Later(taken) => taken.await,
        }
    }
}
