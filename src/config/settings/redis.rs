//! A Redis, as an operator writes it, for whatever is kept in one.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Redis, by exactly one of the three.
#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisFile {
    /// Its URL, without user and password: `redis://HOST:PORT/DB`, `redis-sentinel://HOST:PORT,HOST:PORT/DB?master=NAME` or
    /// `redis-cluster://HOST:PORT,HOST:PORT`, with `rediss` for TLS.
    pub url: Option<String>,
    /// A file with its URL; a line feed at its end is not part of it.
    pub url_file: Option<PathBuf>,
    /// The environment variable that holds its URL.
    pub url_env: Option<String>,
    /// With TLS: believes only certificates signed by one in this PEM file. Default: the system's authorities.
    pub ca_file: Option<PathBuf>,
}
