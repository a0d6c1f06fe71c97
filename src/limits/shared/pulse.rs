//! When a store that was lost counts as found, and how many replicas share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool_redis::redis::{Cmd, Value};

use super::line::patiently;
use super::{PREFIX, Shared};
use crate::redis::{Failure, Link};

/// The set of living replicas.
const REPLICAS: &str = "{portcullis:limits}:replicas";

/// How often a replica tells that it lives.
const BEATS_EVERY: Duration = Duration::from_secs(1);

/// How often a lost Redis is asked whether it is back.
const ASKED_EVERY: Duration = Duration::from_millis(250);

/// For how long a replica counts that tells nothing any more: as long as four beats that came late or were lost.
const LIVES_FOR: Duration = Duration::from_secs(5);

/// For so long fewer replicas must be counted before there are fewer: a Redis that was emptied hears of each of them within a beat and a
/// connection, and who believed the first count would take all of the others' shares.
const FEWER_AFTER: Duration = Duration::from_secs(3);

/// Whoever is lost again within this time was not found for good,
const STEADY: Duration = Duration::from_secs(60);

/// and stays lost for this, and each time for twice as long.
const LEAST_HOLD: Duration = Duration::from_secs(1);
const LONGEST_HOLD: Duration = Duration::from_secs(30);

/// What the task that keeps asking remembers.
#[derive(Debug)]
struct Pulse {
    /// Its connection.
    link: Option<Link>,
    /// When as many replicas as are believed to be were counted last.
    enough: Instant,
    /// Since when it is lost.
    lost: Option<Instant>,
    /// When it was found again.
    found: Option<Instant>,
    /// For how long it stays lost.
    hold: Duration,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { link: None, enough: Instant::now(), lost: None, found: None, hold: Duration::ZERO }
    }
}

impl Pulse {
    /// It is lost. Each time that it is lost soon after it was found, it stays so for longer: who lets the shares through and what is in
    /// Redis by turns lets nearly both through.
    fn lost(&mut self) {
        if self.lost.is_some() {
            return;
        }
        let was_steady = self.found.is_none_or(|found| found.elapsed() > STEADY);
        self.hold =
            if was_steady { Duration::ZERO } else { self.hold.saturating_mul(2).clamp(LEAST_HOLD, LONGEST_HOLD) };
        self.lost = Some(Instant::now());
    }

    /// How many replicas there are, if so many are counted and so many were believed to be.
    fn replicas(&mut self, counted: u32, believed: u32) -> u32 {
        if counted >= believed {
            self.enough = Instant::now();
        }
        if self.enough.elapsed() > FEWER_AFTER { counted.max(1) } else { counted.max(believed) }
    }

    /// Nobody was counted.
    fn failed(&mut self) {
        (self.link, self.enough) = (None, Instant::now());
    }

    /// Whether it may count as found.
    fn may_return(&self) -> bool {
        self.lost.is_none_or(|lost| lost.elapsed() >= self.hold)
    }

    /// It is found.
    fn returned(&mut self) {
        (self.lost, self.found) = (None, Some(Instant::now()));
    }
}

impl Shared {
    /// Asks for the first time: how many replicas there are, and whether it answers at all.
    pub async fn begin(&self) {
        self.beat(&mut Pulse::default()).await;
    }

    /// Tells that this replica lives, counts the others, and notices when a lost Redis is back; for ever.
    pub async fn keep(self: Arc<Self>) {
        let mut pulse = Pulse::default();
        loop {
            self.beat(&mut pulse).await;
            let pause = if self.is_lost() { ASKED_EVERY } else { BEATS_EVERY };
            let noticed = self.noticed.notified();
            // Whoever loses it has it asked at once: perhaps it was a connection only.
            tokio::time::timeout(pause, noticed).await.ok();
        }
    }

    /// Tells that this replica is gone, as far as somebody hears it.
    pub async fn leave(&self) {
        let gone = async {
            let mut link = self.connect().await.ok()?;
            Cmd::new().arg("ZREM").arg(REPLICAS).arg(&self.name).query_async::<Value>(&mut link).await.ok()
        };
        gone.await;
    }

    async fn beat(&self, pulse: &mut Pulse) {
        let losses = self.losses.load(Ordering::Relaxed);
        let counted = self.beaten(&mut pulse.link).await;
        if self.is_lost() {
            pulse.lost();
        }
        match counted {
            Ok(counted) => {
                self.replicas.store(pulse.replicas(counted, self.replicas()), Ordering::Relaxed);
                if self.is_lost() && pulse.may_return() {
                    self.is_lost.store(false, Ordering::Relaxed);
                    pulse.returned();
                    tracing::info!(replicas = self.replicas(), "the store of limits answers again");
                }
            }
            Err(failure) => {
                pulse.failed();
                self.lose(&failure, losses);
            }
        }
    }

    async fn beaten(&self, place: &mut Option<Link>) -> Result<u32, Failure> {
        let mut link = match place.take() {
            Some(link) => link,
            None => self.connect().await?,
        };
        let mut call = self.beat.prepare_invoke();
        call.key(REPLICAS).arg(&self.name).arg(u64::try_from(LIVES_FOR.as_millis()).unwrap_or(u64::MAX));
        let alone = AtomicU64::new(0);
        let replicas: u32 = patiently(self.timeout, &alone, call.invoke_async(&mut link)).await??;
        // That it answers the one does not mean that it answers the other: without rights, or memory, it is no store of limits.
        let mut call = self.buckets.prepare_invoke();
        call.key(format!("{PREFIX}probe:{}", self.name)).arg("take").arg(1_000_000).arg(1_000_000).arg(1);
        let _: Value = patiently(self.timeout, &alone, call.invoke_async(&mut link)).await??;
        *place = Some(link);
        Ok(replicas)
    }
}
