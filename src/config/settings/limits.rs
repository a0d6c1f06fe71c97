//! Where the buckets of limits are kept, as an operator writes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::redis::RedisFile;
use crate::config::period::Period;

/// Where the buckets of the policy's limits are kept.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsFile {
    /// Where: Redis, for several replicas. Default: in memory, where each replica counts for itself.
    pub store: LimitStoreFile,
    /// What happens while the store does not answer: `local` (default), where each replica lets its share through, `refuse` or
    /// `danger_allow`.
    pub on_loss: OnLossFile,
    /// How many replicas there are, for `local`, until they have been counted in the store. Default `1`, at most `1000`.
    pub replicas: u32,
    /// How long the store may take to answer before it counts as lost. Default `100ms`, from `5ms`, and less than the decisions' `deadline`.
    pub timeout: Period,
    /// How many buckets are in memory at most, at about 55 bytes each. Default `1000000`, from `1000` to `100000000`.
    pub max_buckets: usize,
}

/// Where buckets are kept.
#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitStoreFile {
    /// In Redis, shared by every replica.
    pub redis: Option<RedisFile>,
}

/// What happens while the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLossFile {
    /// Each replica lets its share through.
    Local,
    /// Who is under a limit is refused.
    Refuse,
    /// Nobody is limited.
    DangerAllow,
}

impl Default for LimitsFile {
    fn default() -> Self {
        Self {
            store: LimitStoreFile::default(),
            on_loss: OnLossFile::Local,
            replicas: 1,
            timeout: Period::millis(100),
            max_buckets: 1_000_000,
        }
    }
}
