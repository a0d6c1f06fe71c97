//! Durations as an operator writes them.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Serialize, Serializer};

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

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(self.0))
    }
}

/// What `humantime` reads: numbers, each with its unit.
impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        const UNITS: &str = "nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|\
                             weeks?|wks?|w|months?|M|years?|yrs?|y";
        json_schema!({
            "description": "A length of time with its unit: 500ms, 5s, 2min.",
            "type": "string",
            "pattern": format!(r"^\s*([0-9][0-9\s]*(\.\s*[0-9][0-9\s]*)?({UNITS})\s*)+$"),
        })
    }
}
