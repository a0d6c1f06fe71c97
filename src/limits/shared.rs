//! Buckets in a Redis that all replicas share: one script judges all buckets of a request at once, by the server's clock.
//!
//! Each worker thread has one connection of its own, over which its requests follow each other without waiting. When Redis fails or is
//! silent for the time-out, it counts as lost at once, so that one request waits and the others do not; a task that asks it all the time
//! says when it is back.

mod line;
mod pulse;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use deadpool_redis::redis::{Cmd, ErrorKind, Script, ServerErrorKind, Value};
use prometheus_client::metrics::histogram::Histogram;
use smallvec::SmallVec;
use thread_local::ThreadLocal;
use tokio::sync::{Notify, OnceCell};

use super::memory::Memory;
use crate::clock::UnixTime;
use crate::gate::ports::{BoxFuture, Bucket, KeptBy, Taken, Taking};
use crate::policy::limit::Level;
use crate::redis::{Failure, Link, Redis};
use line::{Line, Place, patiently};

/// With what every key begins: one hash tag, so that one script can judge all buckets of a request in a cluster, too.
const PREFIX: &str = "{portcullis:limits}:";

/// The longest name of a bucket that is a key as it is; what is longer (a claim may be) is one by its hash.
const MAX_NAME_BYTES: usize = 200;

/// Of so many answers the time of one is measured.
const MEASURED: u8 = 16;

/// Upper bounds of the times of answers, in seconds: from a Redis on the same host to the longest that is waited.
const BUCKETS: [f64; 10] = [50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 25e-3, 0.1, 0.4];

/// What happens while Redis is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLoss {
    /// Who is limited is refused.
    Refuse,
    /// Each replica lets its share through.
    Local,
    /// Nobody is limited.
    Allow,
}

impl OnLoss {
    /// Its name in the settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Local => "local",
            Self::Allow => "danger_allow",
        }
    }
}

/// What is asked of buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Take,
    Give,
    Read,
}

/// The store.
pub struct Shared {
    redis: Redis,
    /// One connection for each thread that asks.
    links: ThreadLocal<Mutex<Place>>,
    /// How often it was lost. Connections of before are not used again: they lead to a server that is gone, or is no master any more, and
    /// nobody notices before he asks.
    losses: AtomicU64,
    buckets: Script,
    beat: Script,
    memory: Arc<Memory>,
    on_loss: OnLoss,
    name: String,
    is_lost: AtomicBool,
    /// Told when it is lost.
    noticed: Notify,
    timeout: Duration,
    replicas: AtomicU32,
    failures: AtomicU64,
    alone: AtomicU64,
    latency: Histogram,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("on_loss", &self.on_loss).field("is_lost", &self.is_lost).finish_non_exhaustive()
    }
}

impl Shared {
    /// The buckets in `redis`, with `memory` beside it. It counts as lost when nothing comes on a connection for `timeout`; the time-out of
    /// `redis` itself is a longer one. Until the replicas have been counted there are `replicas`.
    #[must_use]
    pub fn new(redis: Redis, timeout: Duration, memory: Arc<Memory>, on_loss: OnLoss, replicas: u32) -> Self {
        Self {
            redis,
            links: ThreadLocal::new(),
            losses: AtomicU64::new(0),
            buckets: Script::new(include_str!("buckets.lua")),
            beat: Script::new(include_str!("beat.lua")),
            memory,
            on_loss,
            name: format!("{:032x}", fastrand::u128(..)),
            is_lost: AtomicBool::new(false),
            noticed: Notify::new(),
            timeout,
            replicas: AtomicU32::new(replicas.max(1)),
            failures: AtomicU64::new(0),
            alone: AtomicU64::new(0),
            latency: Histogram::new(BUCKETS),
        }
    }

    /// What happens while Redis is lost.
    #[must_use]
    pub fn on_loss(&self) -> OnLoss {
        self.on_loss
    }

    /// Whether Redis is lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    /// How many replicas there were when they were counted last.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.replicas.load(Ordering::Relaxed)
    }

    /// How many questions Redis did not answer.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// How many requests were judged without it.
    #[must_use]
    pub fn alone(&self) -> u64 {
        self.alone.load(Ordering::Relaxed)
    }

    /// How long its answers took.
    #[must_use]
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    pub(super) fn take<'a>(&'a self, buckets: &'a [Bucket], now: UnixTime) -> Taking<'a> {
        let losses = self.losses.load(Ordering::Relaxed);
        if self.is_lost() {
            return Taking::Done(self.take_alone(buckets, now));
        }
        Taking::Later(Box::pin(async move {
            match self.answer(What::Take, buckets).await {
                Ok((0, levels)) => Taken::All(levels, KeptBy::Shared),
                Ok((place, levels)) => {
                    let empty = place.checked_sub(1).and_then(|i| Some((i, *levels.get(i)?)));
                    empty.map_or(Taken::Unknown, |(i, level)| Taken::Empty(i, level))
                }
                Err(failure) => {
                    self.lose(&failure, losses);
                    self.take_alone(buckets, now)
                }
            }
        }))
    }

    /// How full buckets are; none if Redis does not say.
    pub(super) async fn levels(&self, buckets: &[Bucket]) -> Option<Vec<Level>> {
        let losses = self.losses.load(Ordering::Relaxed);
        if self.is_lost() || buckets.is_empty() {
            return None;
        }
        match self.answer(What::Read, buckets).await {
            Ok((_, levels)) => Some(levels.into_vec()),
            Err(failure) => {
                self.lose(&failure, losses);
                None
            }
        }
    }

    pub(super) fn give_back(self: &Arc<Self>, buckets: &[Bucket]) {
        let (store, buckets) = (Arc::clone(self), buckets.to_vec());
        // A thread that ends drops its decisions when nothing runs there any more.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let losses = store.losses.load(Ordering::Relaxed);
            if let Err(failure) = store.answer(What::Give, &buckets).await {
                store.lose(&failure, losses);
            }
        });
    }

    /// This replica's share of buckets.
    pub(super) fn share(&self, buckets: &[Bucket]) -> Vec<Bucket> {
        let replicas = self.replicas();
        let share = |one: &Bucket| Bucket { key: one.key.clone(), rate: one.rate.share(replicas), takes: one.takes };
        buckets.iter().map(share).collect()
    }

    fn take_alone(&self, buckets: &[Bucket], now: UnixTime) -> Taken {
        self.alone.fetch_add(1, Ordering::Relaxed);
        match self.on_loss {
            OnLoss::Refuse => Taken::Unknown,
            OnLoss::Allow => Taken::All(SmallVec::new(), KeptBy::Nobody),
            OnLoss::Local => self.memory.take(&self.share(buckets), now),
        }
    }

    /// The script's answer: the place of the emptiest bucket counted from 1, or 0, and how full each is.
    async fn answer(&self, what: What, buckets: &[Bucket]) -> Result<(usize, SmallVec<[Level; 2]>), Failure> {
        let place = self.links.get_or_default();
        let losses = self.losses.load(Ordering::Relaxed);
        let line = {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            if place.losses != losses {
                *place = Place { losses, ..Place::default() };
            }
            Arc::clone(&place.line)
        };
        let answer = self.answer_on(&line, what, buckets).await;
        if answer.is_err() {
            // What it still answers belongs to questions that nobody waits for.
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            if Arc::ptr_eq(&place.line, &line) {
                place.line = Arc::default();
            }
        }
        answer
    }

    async fn answer_on(
        &self,
        line: &Line,
        what: What,
        buckets: &[Bucket],
    ) -> Result<(usize, SmallVec<[Level; 2]>), Failure> {
        let mut link = match line.link.get() {
            Some(link) => link.clone(),
            None => self.connected(&line.link).await?,
        };
        let command = self.command(what, buckets);
        // To read the clock twice costs as much as the rest of this together.
        let begun = fastrand::u8(..).is_multiple_of(MEASURED).then(Instant::now);
        let value = match patiently(self.timeout, &line.answers, command.query_async::<Value>(&mut link)).await? {
            // A Redis that was started again, or exchanged, does not know the script.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.taught(&command, &mut link).await?
            }
            other => other?,
        };
        if let Some(begun) = begun {
            self.latency.observe(begun.elapsed().as_secs_f64());
        }
        read(&value, buckets).ok_or_else(|| Failure("its answer is none of the script's".to_owned()))
    }

    /// A connection of this thread's. Whoever comes while it is made waits for that one; if there is none to be had, for no other. Boxed, as
    /// is what else is seldom needed: the future of each request would be ten times as large, and it is moved.
    fn connected<'a>(&'a self, cell: &'a OnceCell<Link>) -> BoxFuture<'a, Result<Link, Failure>> {
        let connect = || async {
            if self.is_lost() { Err(Failure("it was lost a moment ago".to_owned())) } else { self.connect().await }
        };
        Box::pin(async move { cell.get_or_try_init(connect).await.cloned() })
    }

    /// Connects. That is several questions, and the first ones of a busy thread.
    async fn connect(&self) -> Result<Link, Failure> {
        let within = self.timeout.saturating_mul(2);
        tokio::time::timeout(within, self.redis.connect())
            .await
            .unwrap_or_else(|_| Err(Failure(format!("no connection within {within:?}"))))
    }

    /// Teaches Redis the script, and asks again.
    fn taught<'a>(&'a self, command: &'a Cmd, link: &'a mut Link) -> BoxFuture<'a, Result<Value, Failure>> {
        Box::pin(async move {
            self.buckets.load_async(link).await?;
            Ok(command.query_async(link).await?)
        })
    }

    fn command(&self, what: What, buckets: &[Bucket]) -> Cmd {
        let mut command = Cmd::with_capacity(buckets.len().saturating_mul(4).saturating_add(4), 160);
        command.arg("EVALSHA").arg(self.buckets.get_hash()).arg(buckets.len());
        let mut key = String::with_capacity(128);
        for bucket in buckets {
            key.clear();
            key.push_str(PREFIX);
            if bucket.key.len() <= MAX_NAME_BYTES {
                key.push_str(&bucket.key);
            } else {
                let hash = digest(&SHA256, bucket.key.as_bytes());
                hash.as_ref().iter().for_each(|byte| key.push_str(&format!("{byte:02x}")));
            }
            command.arg(&*key);
        }
        command.arg(match what {
            What::Take => "take",
            What::Give => "give",
            What::Read => "read",
        });
        for bucket in buckets {
            command.arg(nanos(bucket.rate.interval())).arg(nanos(bucket.rate.window())).arg(u8::from(bucket.takes));
        }
        command
    }

    /// Counts a failure of a question that was put after so many losses. One of before says nothing of now.
    fn lose(&self, failure: &Failure, losses: u64) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let next = losses.wrapping_add(1);
        if self.is_lost() || self.losses.compare_exchange(losses, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        self.is_lost.store(true, Ordering::Relaxed);
        self.noticed.notify_one();
        let (on_loss, replicas) = (self.on_loss.name(), self.replicas());
        tracing::warn!(error = %failure, on_loss, replicas, "the store of limits does not answer");
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn read(value: &Value, buckets: &[Bucket]) -> Option<(usize, SmallVec<[Level; 2]>)> {
    let Value::Array(values) = value else { return None };
    let number = |value: &Value| {
        let Value::Int(number) = value else { return None };
        u64::try_from(*number).ok()
    };
    let (place, debts) = values.split_first()?;
    let levels = buckets.iter().zip(debts).map(|(bucket, debt)| {
        let full_in = Duration::from_micros(number(debt)?);
        Some(bucket.rate.level_of(full_in))
    });
    let levels: Option<SmallVec<[Level; 2]>> = levels.collect();
    let levels = levels.filter(|levels| levels.len() == buckets.len())?;
    Some((usize::try_from(number(place)?).ok()?, levels))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It is moved to the heap for each request; with a connection being made in it, it had 7.8 KiB.
    #[test]
    fn what_each_request_waits_for_is_small() {
        let url = secrecy::SecretString::from("redis://127.0.0.1:1");
        let redis = Redis::new(&url, None, Duration::from_secs(1)).expect("a URL");
        let shared =
            Shared::new(redis, Duration::from_secs(1), Arc::new(Memory::new(1_000, [7; 16])), OnLoss::Refuse, 1);
        let bytes = size_of_val(&shared.answer(What::Take, &[]));
        assert!(bytes < 1024, "{bytes} bytes");
    }
}
