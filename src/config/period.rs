//! Durations as an operator writes them.

use std::time::Duration;

use serde::Deserialize;
use serde::de::Error;

/// A length of time with its unit: `500ms`, `5s`, `2min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

impl Period {
    /// A whole number of milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Self).map_err(|_| {
            D::Error::custom(format!(
                "`{text}` is no length of time; write a number with its unit, such as 500ms, 5s or 2min"
            ))
        })
    }
}
