//! A token bucket as arithmetic: the generic cell rate algorithm (ITU-T I.371), which keeps one moment for each bucket.
//!
//! A bucket of capacity C that is refilled by one token each T is known by the moment in which it will be full again. Each token that is
//! taken moves that moment T further; it may not lie further than C·T ahead.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::clock::UnixTime;

/// How a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    tokens: u32,
    period: Duration,
    burst: u32,
    /// Nanoseconds until the next token.
    interval: i64,
    /// Nanoseconds from empty to full.
    window: i64,
}

/// How full a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// How it fills: of a replica that is alone, its share.
    pub rate: Rate,
    /// Whole tokens that are left.
    pub left: u32,
    /// How long until there is one; zero if there is.
    pub next_in: Duration,
    /// How long until it is full.
    pub full_in: Duration,
}

/// When a bucket will be full again, in nanoseconds since 1970. A bucket of which nothing is known is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FullAt(pub i64);

/// Shortest time between two tokens: beyond 100 000 a second nothing is limited, and Redis' microseconds would be too coarse.
const MIN_INTERVAL: Duration = Duration::from_micros(10);

/// Longest time from empty to full: a year.
pub const MAX_WINDOW: Duration = Duration::from_secs(366 * 24 * 3600);

/// Largest capacity.
pub const MAX_BURST: u32 = 1_000_000;

impl Rate {
    /// `tokens` each `period`, and at most `burst` at once; none if that is nothing, or more or longer than can be counted.
    #[must_use]
    pub fn new(tokens: u32, period: Duration, burst: u32) -> Option<Self> {
        if tokens == 0 || !(1..=MAX_BURST).contains(&burst) {
            return None;
        }
        // Rounded up: never more than was said.
        let interval = period.as_nanos().div_ceil(u128::from(tokens));
        let window = interval.checked_mul(u128::from(burst))?;
        let shortest = MIN_INTERVAL.as_nanos().saturating_mul(tokens.into());
        let sane = period.as_nanos() >= shortest && window <= MAX_WINDOW.as_nanos();
        let (interval, window) = (i64::try_from(interval).ok()?, i64::try_from(window).ok()?);
        sane.then_some(Self { tokens, period, burst, interval, window })
    }

    /// How much it holds.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// How long it takes until there is one more.
    #[must_use]
    pub fn interval(&self) -> Duration {
        duration(self.interval)
    }

    /// How long it takes from empty to full.
    #[must_use]
    pub fn window(&self) -> Duration {
        duration(self.window)
    }

    /// What one of `replicas` lets through that know nothing of each other: its share of the refill and, in whole tokens, of the
    /// capacity; but one at least, since with none it would refuse for ever.
    #[must_use]
    pub fn share(&self, replicas: u32) -> Self {
        let replicas = replicas.max(1);
        let burst = self.burst.checked_div(replicas).unwrap_or(0).max(1);
        let interval = self.interval.saturating_mul(replicas.into());
        Self { burst, interval, window: interval.saturating_mul(burst.into()), ..*self }
    }

    /// Takes a token at `now` from a bucket that is full at `full_at`. Gives back when it is full then.
    ///
    /// # Errors
    /// How long to wait until there is one.
    pub fn take(&self, full_at: FullAt, now: UnixTime) -> Result<FullAt, Duration> {
        let now = nanos(now);
        let next = self.debt(full_at, now).saturating_add(self.interval);
        if next > self.window {
            Err(duration(next.saturating_sub(self.window)))
        } else {
            Ok(FullAt(now.saturating_add(next)))
        }
    }

    /// Gives a token back.
    #[must_use]
    pub fn give_back(&self, full_at: FullAt) -> FullAt {
        FullAt(full_at.0.saturating_sub(self.interval))
    }

    /// When a bucket is full that has one token at `now`.
    #[must_use]
    pub fn with_one_token(&self, now: UnixTime) -> FullAt {
        FullAt(nanos(now).saturating_add(self.window).saturating_sub(self.interval))
    }

    /// How full a bucket is at `now`.
    #[must_use]
    pub fn level(&self, full_at: FullAt, now: UnixTime) -> Level {
        self.level_of(duration(self.debt(full_at, nanos(now))))
    }

    /// How full a bucket is that will be full in `full_in`.
    #[must_use]
    pub fn level_of(&self, full_in: Duration) -> Level {
        let debt = i64::try_from(full_in.as_nanos()).unwrap_or(i64::MAX).min(self.window);
        let left = self.window.saturating_sub(debt).checked_div(self.interval).unwrap_or(0);
        let next_in = if left > 0 { 0 } else { debt.saturating_add(self.interval).saturating_sub(self.window) };
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        Level { rate: *self, left, next_in: duration(next_in), full_in: duration(debt) }
    }

    /// What is missing to a full bucket, as time. Never more than all of it, whatever became of the clock or of the numbers since: a clock
    /// that was put back an hour must not shut everybody out for an hour.
    fn debt(&self, full_at: FullAt, now: i64) -> i64 {
        full_at.0.saturating_sub(now).clamp(0, self.window)
    }
}

impl FullAt {
    /// Whether a bucket is full at `now`, so that it need not be remembered.
    #[must_use]
    pub fn is_past(self, now: UnixTime) -> bool {
        self.0 <= nanos(now)
    }
}

fn nanos(moment: UnixTime) -> i64 {
    moment.micros().saturating_mul(1000)
}

fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

impl Display for Rate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}, burst {}", self.tokens, humantime::format_duration(self.period), self.burst)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: UnixTime = UnixTime::from_secs(1_700_000_000);

    /// How many of `wanted` are let through back to back.
    fn taken(rate: &Rate, full_at: &mut FullAt, now: UnixTime, wanted: u32) -> u32 {
        let take = |_: &u32| rate.take(*full_at, now).map(|next| *full_at = next).is_ok();
        u32::try_from((0..wanted).filter(take).count()).expect("few")
    }

    #[test]
    fn a_bucket_exactly() {
        let rate = Rate::new(20, Duration::from_secs(60), 40).expect("a rate");
        let mut full_at = FullAt(i64::MIN);
        assert_eq!(taken(&rate, &mut full_at, START, 110), 40, "burst is the capacity");
        assert_eq!(rate.take(full_at, START), Err(Duration::from_secs(3)));
        let after = |secs| START.after(Duration::from_secs(secs));
        assert_eq!(taken(&rate, &mut full_at, after(2), 9), 0);
        assert_eq!(taken(&rate, &mut full_at, after(15), 9), 5, "after k/r from empty: k");
        assert_eq!(taken(&rate, &mut full_at, after(1_000_000), 110), 40, "after any idle time at most the capacity");
        // Back to the first moment: the bucket is empty, and no emptier.
        assert_eq!(
            rate.level(full_at, START),
            Level { rate, left: 0, next_in: Duration::from_secs(3), full_in: rate.window() }
        );
        assert_eq!(taken(&rate, &mut full_at, after(3), 9), 0, "the clock was put back: still owed until then");
    }

    #[test]
    fn shares() {
        let rate = Rate::new(20, Duration::from_secs(60), 40).expect("a rate");
        for (replicas, burst, interval) in [(0, 40, 3), (1, 40, 3), (2, 20, 6), (3, 13, 9), (41, 1, 123)] {
            let share = rate.share(replicas);
            assert_eq!((share.burst(), share.interval()), (burst, Duration::from_secs(interval)), "{replicas}");
            assert_eq!(taken(&share, &mut FullAt(0), START, 110), burst);
        }
    }

    #[test]
    fn what_cannot_be_counted_is_no_rate() {
        let second = Duration::from_secs(1);
        assert!(Rate::new(100_000, second, MAX_BURST).is_some());
        for (tokens, period, burst) in [
            (0, second, 1),
            (1, second, 0),
            (1, second, MAX_BURST + 1),
            (100_001, second, 1),
            (1, Duration::ZERO, 1),
            (1, MAX_WINDOW, 2),
            (1, Duration::MAX, MAX_BURST),
        ] {
            assert_eq!(Rate::new(tokens, period, burst), None, "{tokens} {period:?} {burst}");
        }
    }

    proptest! {
        /// Whatever the moments are: never more than the capacity and what came in, never less than that while somebody asks.
        #[test]
        fn a_flood_gets_the_capacity_and_the_refill(
            tokens in 1..500_u32, period in 1..600_u64, burst in 1..200_u32,
            steps in prop::collection::vec((0..20_000_000_u64, 1..300_u32), 1..40),
        ) {
            let rate = Rate::new(tokens, Duration::from_secs(period), burst).expect("a rate");
            let (mut full_at, mut now, mut model) = (FullAt(0), START, f64::from(burst));
            for (micros, wanted) in steps {
                now = now.after(Duration::from_micros(micros));
                model = (model + micros as f64 * 1e-6 * f64::from(tokens) / period as f64).min(f64::from(burst));
                let level = rate.level(full_at, now);
                prop_assert!((model - f64::from(level.left)).abs() < 1.001, "{model} {level:?}");
                let got = taken(&rate, &mut full_at, now, wanted);
                prop_assert_eq!(got, level.left.min(wanted));
                model -= f64::from(got);
                prop_assert!(model > -1e-3);
                if got < wanted {
                    let wait = rate.take(full_at, now).expect_err("empty");
                    prop_assert_eq!(wait, rate.level(full_at, now).next_in);
                    prop_assert!(rate.take(full_at, now.after(wait).after(Duration::from_micros(1))).is_ok(), "enough for one");
                }
            }
        }

        #[test]
        fn what_is_given_back_is_there_again(before in 0..40_u32) {
            let rate = Rate::new(20, Duration::from_secs(60), 40).expect("a rate");
            let mut full_at = FullAt(0);
            taken(&rate, &mut full_at, START, before);
            let next = rate.take(full_at, START).expect("one");
            prop_assert_eq!(rate.level(rate.give_back(next), START), rate.level(full_at, START));
        }
    }
}
