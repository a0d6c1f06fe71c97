//! Revocation, as an operator writes it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::redis::RedisFile;
use crate::config::period::Period;

/// What is revoked before its time.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RevocationsFile {
    /// Where revocations are kept. Default: `sqlite`.
    pub store: StoreFile,
    /// How old the knowledge of what is revoked may be. Default `5s`, from `1s` to `1h`.
    pub max_feed_age: Period,
    /// What happens when it is older: `refuse` (default) or `danger_go_on`.
    pub on_stale: OnStale,
    /// How often everything is compared with the store. Default `60s`, from `1s` to `1day`.
    pub resync: Period,
    /// How many there may be. Default `1000000`, at most `10000000`.
    pub max_entries: usize,
}

/// Where revocations are kept: one of these.
#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreFile {
    /// In a SQLite file.
    pub sqlite: Option<SqliteFile>,
    /// In Redis, shared by every replica.
    pub redis: Option<RedisFile>,
    /// In memory only: a restart forgets everything. Default `false`.
    pub danger_memory: bool,
}

/// A SQLite file.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqliteFile {
    /// The file. Default `revocations.db`.
    pub file: PathBuf,
}

/// What happens when nobody knows what is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnStale {
    /// Whoever needs a token is refused.
    Refuse,
    /// What is known decides.
    DangerGoOn,
}

impl Default for RevocationsFile {
    fn default() -> Self {
        Self {
            store: StoreFile::default(),
            max_feed_age: Period::millis(5_000),
            on_stale: OnStale::Refuse,
            resync: Period::millis(60_000),
            max_entries: 1_000_000,
        }
    }
}

impl Default for SqliteFile {
    fn default() -> Self {
        Self { file: "revocations.db".into() }
    }
}
