//! A token bucket as arithmetic: the generic cell rate algorithm (ITU-T I.371), which keeps one moment for each bucket.
//!
//! A bucket of capacity C that is refilled by one token each T is known by the moment in which it will be full again. Each token that is
//! taken moves that moment T further; it may not lie further than C·T ahead. Where one bucket has several numbers, of a user's two
//! tiers or before and after a change of the policy, it stays as full as it was, as a fraction.

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

/// What is remembered of a bucket: when it will be full again, in nanoseconds since 1970, and how many nanoseconds it took from empty to
/// full when that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fill {
    full_at: i64,
    window: i64,
}

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
        // Sums of these must not reach the end of the numbers, where nothing is larger than a window.
        const LONGEST: i64 = i64::MAX / 4;
        let replicas = replicas.max(1);
        let burst = self.burst.checked_div(replicas).unwrap_or(0).max(1);
        let interval = self.interval.saturating_mul(replicas.into()).min(LONGEST);
        Self { burst, interval, window: interval.saturating_mul(burst.into()).min(LONGEST), ..*self }
    }

    /// Takes a token at `now`. Gives back what is to be remembered.
    ///
    /// # Errors
    /// If there is none: what is to be remembered all the same.
    pub fn take(&self, fill: Fill, now: UnixTime) -> Result<Fill, Fill> {
        let debt = self.debt(fill, now);
        let next = debt.saturating_add(self.interval);
        if next > self.window { Err(self.fill(debt, now)) } else { Ok(self.fill(next, now)) }
    }

    /// Gives a token back.
    #[must_use]
    pub fn give_back(&self, fill: Fill, now: UnixTime) -> Fill {
        self.fill(self.debt(fill, now).saturating_sub(self.interval).max(0), now)
    }

    /// A bucket that is as full as another one, but has one token at least.
    #[must_use]
    pub fn inherit(&self, fill: Fill, now: UnixTime) -> Fill {
        self.fill(self.debt(fill, now).min(self.window.saturating_sub(self.interval)), now)
    }

    /// How full a bucket is at `now`.
    #[must_use]
    pub fn level(&self, fill: Fill, now: UnixTime) -> Level {
        self.level_of(duration(self.debt(fill, now)))
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

    fn fill(&self, debt: i64, now: UnixTime) -> Fill {
        Fill { full_at: nanos(now).saturating_add(debt), window: self.window }
    }

    /// What is missing to a full bucket, as time. Never more than all of it: a clock that was put back must not shut anybody out for as
    /// long. And as a fraction what it was by other numbers.
    fn debt(&self, fill: Fill, now: UnixTime) -> i64 {
        let debt = fill.full_at.saturating_sub(nanos(now)).clamp(0, fill.window);
        if fill.window == self.window || fill.window == 0 {
            return debt;
        }
        let debt = i128::from(debt).saturating_mul(self.window.into()).checked_div(fill.window.into());
        debt.and_then(|debt| i64::try_from(debt).ok()).unwrap_or(self.window)
    }
}

impl Fill {
    /// Of a bucket of which nothing is known.
    pub const FULL: Self = Self { full_at: i64::MIN, window: 0 };

    /// Whether a bucket is full at `now`, so that it need not be remembered.
    #[must_use]
    pub fn is_full(self, now: UnixTime) -> bool {
        self.full_at <= nanos(now)
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
    fn taken(rate: &Rate, fill: &mut Fill, now: UnixTime, wanted: u32) -> u32 {
        let take = |_: &u32| {
            let taken = rate.take(*fill, now);
            *fill = taken.unwrap_or_else(|fill| fill);
            taken.is_ok()
        };
        u32::try_from((0..wanted).filter(take).count()).expect("few")
    }

    fn wait(rate: &Rate, fill: Fill, now: UnixTime) -> Duration {
        rate.level(fill, now).next_in
    }

    #[test]
    fn a_bucket_exactly() {
        let rate = Rate::new(20, Duration::from_secs(60), 40).expect("a rate");
        let mut fill = Fill::FULL;
        assert_eq!(taken(&rate, &mut fill, START, 110), 40, "burst is the capacity");
        assert_eq!(wait(&rate, fill, START), Duration::from_secs(3));
        let after = |secs| START.after(Duration::from_secs(secs));
        assert_eq!(taken(&rate, &mut fill, after(2), 9), 0);
        assert_eq!(taken(&rate, &mut fill, after(15), 9), 5, "after k/r from empty: k");
        assert_eq!(taken(&rate, &mut fill, after(1_000_000), 110), 40, "after any idle time the capacity");
    }

    /// However far the clock goes back, a bucket is empty at the most, and fills from then on.
    #[test]
    fn a_clock_that_is_put_back_shuts_nobody_out() {
        let rate = Rate::new(20, Duration::from_secs(60), 40).expect("a rate");
        let mut fill = Fill::FULL;
        assert_eq!(taken(&rate, &mut fill, START.after(Duration::from_secs(1_000_000)), 1), 1);
        assert_eq!(taken(&rate, &mut fill, START, 9), 0);
        assert_eq!(wait(&rate, fill, START), Duration::from_secs(3));
        assert_eq!(taken(&rate, &mut fill, START.after(Duration::from_secs(3)), 9), 1, "as it was told");
        assert_eq!(taken(&rate, &mut fill, START.after(Duration::from_secs(33)), 99), 10);
    }

    /// A user of two tiers, or a policy that changes: what was used up is used up by the other numbers as well.
    #[test]
    fn a_bucket_is_as_full_by_other_numbers() {
        let free = Rate::new(20, Duration::from_secs(60), 40).expect("a rate");
        let pro = Rate::new(100, Duration::from_secs(1), 200).expect("a rate");
        let mut fill = Fill::FULL;
        assert_eq!(taken(&free, &mut fill, START, 10), 10);
        assert_eq!(pro.level(fill, START).left, 150);
        assert_eq!(taken(&pro, &mut fill, START, 999), 150);
        assert_eq!(taken(&free, &mut fill, START, 9), 0);
        assert_eq!(taken(&pro, &mut fill, START, 9), 0);
        // What is told is enough, though the other numbers were asked in between.
        let wait = wait(&pro, fill, START);
        assert_eq!(wait, Duration::from_millis(10));
        assert_eq!(taken(&pro, &mut fill, START.after(wait), 9), 1);
    }

    #[test]
    fn shares() {
        let rate = Rate::new(20, Duration::from_secs(60), 40).expect("a rate");
        for (replicas, burst, interval) in [(0, 40, 3), (1, 40, 3), (2, 20, 6), (3, 13, 9), (41, 1, 123)] {
            let share = rate.share(replicas);
            assert_eq!((share.burst(), share.interval()), (burst, Duration::from_secs(interval)), "{replicas}");
            assert_eq!(taken(&share, &mut Fill::FULL.clone(), START, 110), burst);
        }
        let slowest = Rate::new(1, MAX_WINDOW, 1).expect("a rate").share(u32::MAX);
        assert_eq!(taken(&slowest, &mut Fill::FULL.clone(), START, 9), 1, "not for ever more");
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
            let (mut fill, mut now, mut model) = (Fill::FULL, START, f64::from(burst));
            for (micros, wanted) in steps {
                now = now.after(Duration::from_micros(micros));
                model = (model + micros as f64 * 1e-6 * f64::from(tokens) / period as f64).min(f64::from(burst));
                let level = rate.level(fill, now);
                prop_assert!((model - f64::from(level.left)).abs() < 1.001, "{model} {level:?}");
                let got = taken(&rate, &mut fill, now, wanted);
                prop_assert_eq!(got, level.left.min(wanted));
                model -= f64::from(got);
                prop_assert!(model > -1e-3);
                if got < wanted {
                    let then = now.after(wait(&rate, fill, now)).after(Duration::from_micros(1));
                    prop_assert!(rate.take(fill, then).is_ok(), "enough for one");
                }
            }
        }

        #[test]
        fn what_is_given_back_is_there_again(before in 0..40_u32) {
            let rate = Rate::new(20, Duration::from_secs(60), 40).expect("a rate");
            let mut fill = Fill::FULL;
            taken(&rate, &mut fill, START, before);
            let next = rate.take(fill, START).expect("one");
            prop_assert_eq!(rate.level(rate.give_back(next, START), START), rate.level(fill, START));
        }
    }
}
