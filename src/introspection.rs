//! L3: what an issuer says of tokens that only it can read (RFC 7662). One call answers all who ask about a token at the same time,
//! its answer serves for a while, and no decision waits for long.

pub mod circuit;
pub mod exchange;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::Expiry;
use tokio::sync::{Semaphore, watch};

use crate::clock::UnixTime;
use crate::gate::Introspection;
use crate::gate::ports::{Answer, BoxFuture, Question};
use crate::policy::Reason;
use circuit::Circuit;
use exchange::{Exchange, Told};

/// How long a decision waits for an answer. Below the decision's own deadline (500 ms by default), so that the reason is told; the call
/// goes on, and its answer is there for the next request.
const WAIT: Duration = Duration::from_millis(400);

/// How many calls to one issuer run at once. At 50 ms an answer that is more than a thousand new tokens a second, and a server that
/// hangs, or a flood of invented tokens, holds no more connections than that. Further ones queue for [`WAIT`].
const MOST_CALLS: usize = 64;

/// How many decisions wait at once. Each holds a connection of its proxy.
const MOST_WAITING: usize = 1024;

/// How long a token whose call failed is not asked about again: whoever repeats one that makes the issuer stumble costs it a call a
/// second. Short, since it may have been the issuer's fault.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Memory for answers of one issuer, in bytes. Invented tokens fill it with refusals of some 500 bytes each, and push out no verified
/// token: these are kept apart.
const ANSWERS_BYTES: u64 = 16 * 1024 * 1024;

/// What an answer takes beside its claims: moka's nodes, as for verified tokens.
const ENTRY_BYTES: usize = 500;

/// Bytes of claims in memory for each byte of their JSON text: names and values of ten bytes take about forty each.
const CLAIMS_FACTOR: usize = 4;

/// The issuers that are asked, in their configured order; none for one that is not.
#[derive(Debug)]
pub struct Introspectors(Vec<Option<Arc<Introspector>>>);

/// One issuer that is asked. Its answers are its own: no other issuer's are ever looked up here.
#[derive(Debug)]
pub struct Introspector {
    issuer: Box<str>,
    exchange: Exchange,
    max_age: Duration,
    negative_max_age: Duration,
    known: moka::sync::Cache<u128, Known, ahash::RandomState>,
    flights: Mutex<HashMap<u128, Flight, ahash::RandomState>>,
    circuit: Circuit,
    calls: Semaphore,
    waiting: Semaphore,
    counts: Counts,
}

/// A call that has not ended, for those who wait for it.
type Flight = watch::Receiver<Option<Said>>;

/// What came of a call.
#[derive(Debug, Clone)]
enum Said {
    Active(Answer),
    Inactive,
    Failed,
}

#[derive(Debug, Clone)]
struct Known {
    said: Said,
    keep: Duration,
    bytes: u32,
}

/// What became of the questions.
#[derive(Debug, Default)]
struct Counts {
    active: AtomicU64,
    inactive: AtomicU64,
    failed: AtomicU64,
    not_asked: AtomicU64,
}

/// What became of the questions to one issuer since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct IntrospectionState {
    /// Calls that called the token active.
    pub active: u64,
    /// Calls that called it inactive.
    pub inactive: u64,
    /// Calls that brought no usable answer.
    pub failed: u64,
    /// Questions that were not put, since the issuer had just failed or too many were under way.
    pub not_asked: u64,
}

impl Introspectors {
    /// These issuers.
    #[must_use]
    pub fn new(issuers: Vec<Option<Introspector>>) -> Self {
        Self(issuers.into_iter().map(|issuer| issuer.map(Arc::new)).collect())
    }

    /// How it fares with an issuer.
    #[must_use]
    pub fn state(&self, issuer: usize) -> IntrospectionState {
        let Some(Some(introspector)) = self.0.get(issuer) else { return IntrospectionState::default() };
        let counts = &introspector.counts;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IntrospectionState {
            active: read(&counts.active),
            inactive: read(&counts.inactive),
            failed: read(&counts.failed),
            not_asked: read(&counts.not_asked),
        }
    }
}

impl Introspection for Introspectors {
    fn ask<'a>(&'a self, issuer: usize, question: Question<'a>) -> BoxFuture<'a, Result<Answer, Reason>> {
        Box::pin(async move {
            let introspector = self.0.get(issuer).and_then(Option::as_ref).ok_or(Reason::IntrospectionFailed)?;
            match introspector.ask(question).await {
                Some(Said::Active(answer)) => Ok(answer),
                Some(Said::Inactive) => Err(Reason::Inactive),
                Some(Said::Failed) | None => Err(Reason::IntrospectionFailed),
            }
        })
    }
}

impl Introspector {
    /// The issuer of this name, asked by `exchange`. It is believed for `max_age` that a token is active, for `negative_max_age` that it
    /// is not.
    #[must_use]
    pub fn new(issuer: &str, exchange: Exchange, max_age: Duration, negative_max_age: Duration) -> Self {
        let known = moka::sync::Cache::builder()
            .max_capacity(ANSWERS_BYTES)
            .weigher(|_: &u128, known: &Known| known.bytes)
            .expire_after(WhenItIsOld)
            .build_with_hasher(ahash::RandomState::new());
        Self {
            issuer: issuer.into(),
            exchange,
            max_age,
            negative_max_age,
            known,
            flights: Mutex::default(),
            circuit: Circuit::default(),
            calls: Semaphore::new(MOST_CALLS),
            waiting: Semaphore::new(MOST_WAITING),
            counts: Counts::default(),
        }
    }

    /// What is known of the token, or what comes of a call; none if there is nothing in time.
    async fn ask(self: &Arc<Self>, question: Question<'_>) -> Option<Said> {
        if let Some(said) = self.recall(question.name, question.now) {
            return Some(said);
        }
        let Ok(_waits) = self.waiting.try_acquire() else {
            Counts::add(&self.counts.not_asked);
            return None;
        };
        let mut flight = self.flight(question)?;
        let landed = tokio::time::timeout(WAIT, flight.wait_for(Option::is_some)).await;
        landed.ok()?.ok()?.clone()
    }

    fn recall(&self, name: u128, now: UnixTime) -> Option<Said> {
        match self.known.get(&name)?.said {
            Said::Active(answer) if now >= answer.ask_again => None,
            Said::Failed => {
                Counts::add(&self.counts.not_asked);
                Some(Said::Failed)
            }
            said @ (Said::Active(_) | Said::Inactive) => Some(said),
        }
    }

    /// The call about this token that is under way, or a new one.
    fn flight(self: &Arc<Self>, question: Question<'_>) -> Option<Flight> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&question.name) {
            return Some(flight.clone());
        }
        // It may have landed between the first look and the lock.
        let (landing, flight) = watch::channel(self.recall(question.name, question.now));
        if flight.borrow().is_some() {
            return Some(flight);
        }
        if self.circuit.is_open(Instant::now()) {
            Counts::add(&self.counts.not_asked);
            return None;
        }
        flights.insert(question.name, flight.clone());
        let call = Call { of: Arc::clone(self), name: question.name, landing };
        tokio::spawn(call.run(question.token.into(), question.now));
        Some(flight)
    }

    async fn call(&self, token: &str, now: UnixTime) -> Option<Known> {
        let place = tokio::time::timeout(WAIT, self.calls.acquire()).await;
        if !matches!(place, Ok(Ok(_))) || self.circuit.is_open(Instant::now()) {
            Counts::add(&self.counts.not_asked);
            return None;
        }
        let (said, keep, bytes) = match self.exchange.ask(token).await {
            Ok(told) => {
                if self.circuit.succeeded() {
                    tracing::info!(issuer = &*self.issuer, "introspection works again");
                }
                match told {
                    Told::Active { claims, bytes } => {
                        Counts::add(&self.counts.active);
                        // Counted from the question: what happened after it, the answer may not know.
                        let answer = Answer { claims: Arc::new(claims), ask_again: now.after(self.max_age) };
                        (Said::Active(answer), self.max_age, bytes.saturating_mul(CLAIMS_FACTOR))
                    }
                    Told::Inactive => {
                        Counts::add(&self.counts.inactive);
                        (Said::Inactive, self.negative_max_age, 0)
                    }
                }
            }
            Err(why) => {
                Counts::add(&self.counts.failed);
                if self.circuit.failed(Instant::now()) {
                    tracing::warn!(issuer = &*self.issuer, why, "introspection failed");
                }
                (Said::Failed, RETRY_AFTER, 0)
            }
        };
        Some(Known { said, keep, bytes: u32::try_from(bytes.saturating_add(ENTRY_BYTES)).unwrap_or(u32::MAX) })
    }

    /// The lock is held for a few instructions and never across a wait.
    fn flights(&self) -> MutexGuard<'_, HashMap<u128, Flight, ahash::RandomState>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call on its way. However it ends, it is no longer under way then.
struct Call {
    of: Arc<Introspector>,
    name: u128,
    landing: watch::Sender<Option<Said>>,
}

impl Call {
    /// Runs on when nobody waits any longer.
    async fn run(self, token: Box<str>, now: UnixTime) {
        let Some(known) = self.of.call(&token, now).await else { return };
        let said = known.said.clone();
        self.of.known.insert(self.name, known);
        self.landing.send_replace(Some(said));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.of.flights().remove(&self.name);
    }
}

impl Counts {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Forgets what has served its time.
struct WhenItIsOld;

impl Expiry<u128, Known> for WhenItIsOld {
    fn expire_after_create(&self, _: &u128, known: &Known, _: Instant) -> Option<Duration> {
        Some(known.keep)
    }

    fn expire_after_update(&self, _: &u128, known: &Known, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(known.keep)
    }
}
