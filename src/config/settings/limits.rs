//! Where the buckets of limits are kept, as an operator writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::period::Period;

/// Where the buckets of the policy's limits are kept.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsFile {
    /// How many buckets are in memory at most, at about 50 bytes each. Default `1000000`, from `1000` to `100000000`.
    pub max_buckets: usize,
}

impl Default for LimitsFile {
    fn default() -> Self {
        Self { max_buckets: 1_000_000 }
    }
}
