//! Times of the week, and spans between two moments.

use std::fmt;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::clock::UnixTime;

/// Hours of some days of each week, in a time zone. Hours past midnight belong to the day on which they began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// The days; empty for all of them.
    pub days: Vec<Weekday>,
    /// From this time of the day.
    pub from: Time,
    /// To before this one; the next day's, if it is the earlier one.
    pub to: Time,
    /// Whose clock counts.
    pub zone: TimeZone,
}

impl Hours {
    /// Whether `now` is one of them.
    #[must_use]
    pub fn hold(&self, now: UnixTime) -> bool {
        let Some(local) = timestamp(now).map(|now| Zoned::new(now, self.zone.clone())) else {
            return false;
        };
        let on = |day: Weekday| self.days.is_empty() || self.days.contains(&day);
        let (time, day) = (local.time(), local.weekday());
        if self.from < self.to {
            on(day) && (self.from..self.to).contains(&time)
        } else {
            (time >= self.from && on(day)) || (time < self.to && on(day.previous()))
        }
    }
}

/// From one moment to before another; either may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Not before this.
    pub from: Option<Timestamp>,
    /// Not at or after this.
    pub until: Option<Timestamp>,
}

impl Span {
    /// Whether `now` lies within.
    #[must_use]
    pub fn holds(self, now: UnixTime) -> bool {
        timestamp(now)
            .is_some_and(|now| self.from.is_none_or(|from| now >= from) && self.until.is_none_or(|until| now < until))
    }
}

fn timestamp(now: UnixTime) -> Option<Timestamp> {
    Timestamp::from_microsecond(now.micros()).ok()
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for day in &self.days {
            let name = format!("{day:?}");
            write!(f, "{} ", name.get(..3).unwrap_or(&name))?;
        }
        let zone = self.zone.iana_name().unwrap_or("UTC");
        write!(f, "{} to {} {zone}", self.from.strftime("%H:%M"), self.to.strftime("%H:%M"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.until) {
            (Some(from), Some(until)) => write!(f, "from {from} until {until}"),
            (Some(from), None) => write!(f, "from {from}"),
            (None, Some(until)) => write!(f, "until {until}"),
            (None, None) => f.write_str("at any time"),
        }
    }
}
