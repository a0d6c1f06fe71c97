//! The only reader of the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::clock::UnixTime;

/// What time it is.
#[must_use]
pub fn now() -> UnixTime {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
