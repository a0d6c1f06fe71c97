//! The settings file as an operator writes it.

pub mod issuers;
pub mod limits;
pub mod redis;
pub mod revocations;

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::{self, Network};
use super::period::Period;
pub use issuers::{ClaimsFile, IssuerFile, KeysFile};
use limits::LimitsFile;
use revocations::RevocationsFile;

/// The settings file.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsFile {
    /// Where the gate listens.
    #[serde(default)]
    pub listeners: ListenersFile,
    /// The policy file; a relative path starts at the settings file.
    pub policy: PathBuf,
    /// Whose tokens are trusted.
    pub issuers: Vec<IssuerFile>,
    /// Where credentials sit in a request.
    #[serde(default)]
    pub credentials: CredentialsFile,
    /// What is kept, and where.
    #[serde(default)]
    pub stores: StoresFile,
    /// What is revoked before its time. Default: nothing can be.
    #[serde(default)]
    pub revocations: Option<RevocationsFile>,
    /// Where the buckets of the policy's limits are kept.
    #[serde(default)]
    pub limits: LimitsFile,
    /// What is read again while the gate runs.
    #[serde(default)]
    pub reload: ReloadFile,
    /// The audit line.
    #[serde(default)]
    pub audit: AuditFile,
    /// How the gate ends.
    #[serde(default)]
    pub shutdown: ShutdownFile,
    /// The operational log, on standard error.
    #[serde(default)]
    pub log: LogFile,
}

/// The listeners.
#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenersFile {
    /// For proxies only: the decisions, and nothing else.
    pub decisions: DecisionsFile,
    /// For operators: health, readiness, metrics.
    pub admin: AdminFile,
    /// For browsers, through a proxy. Default: there is none, since nothing is served there yet.
    pub public: Option<PublicFile>,
}

/// The listener for proxies.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionsFile {
    /// Its address. Default `127.0.0.1:7400`.
    #[serde(deserialize_with = "address::listen")]
    #[schemars(schema_with = "address::listen_schema")]
    pub address: SocketAddr,
    /// The networks of the proxies: only they may ask. Default loopback.
    pub trusted_proxies: Vec<Network>,
    /// How long an idle connection is kept; proxies keep theirs 90 s. Default `120s`.
    pub keep_alive: Period,
    /// How long a decision may take before it is 503. Default `500ms`, less than `1s`.
    pub deadline: Period,
    /// How many threads serve it. Default: one for each core.
    pub workers: Option<usize>,
    /// Speaks TLS. Default: plain HTTP.
    pub tls: Option<TlsFile>,
}

/// TLS on a listener. The files are looked at every second; a changed certificate serves new connections.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFile {
    /// The certificate and its chain, in PEM.
    pub certificate_file: PathBuf,
    /// Its private key, in PEM.
    pub key_file: PathBuf,
}

/// The listener for operators.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminFile {
    /// Its address. Default `127.0.0.1:7401`.
    #[serde(deserialize_with = "address::listen")]
    #[schemars(schema_with = "address::listen_schema")]
    pub address: SocketAddr,
    /// Whether `/fail` is there, which makes `/health` answer 500 until restart. Default `false`.
    pub danger_fault_endpoint: bool,
    /// A file with the token that whoever changes something must show; a line feed at its end is not part of it.
    pub token_file: Option<PathBuf>,
    /// The environment variable that holds it.
    pub token_env: Option<String>,
    /// Speaks TLS. Default: plain HTTP.
    pub tls: Option<TlsFile>,
}

/// The listener for browsers.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublicFile {
    /// Its address. Default `127.0.0.1:7402`.
    #[serde(deserialize_with = "address::listen")]
    #[schemars(schema_with = "address::listen_schema")]
    pub address: SocketAddr,
    /// Speaks TLS. Default: plain HTTP.
    pub tls: Option<TlsFile>,
}

/// Where credentials sit in a request.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CredentialsFile {
    /// The cookie that holds a token. Default `jwt`.
    pub cookie_name: String,
}

/// What is kept, and where.
#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoresFile {
    /// Verified tokens, in memory.
    pub verified_tokens: VerifiedTokensFile,
}

/// The cache of verified tokens.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifiedTokensFile {
    /// About how much memory it may take, in MiB. Default `64`; `0` turns it off.
    pub max_mebibytes: u64,
}

/// What is read again while the gate runs.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadFile {
    /// Whether policy and key files are taken up when they change. Default `true`; otherwise on SIGHUP only.
    pub watch: bool,
}

/// The audit line.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditFile {
    /// Where it goes: `stdout` (default), `stderr`, `file` or `off`.
    pub to: AuditTo,
    /// The file, for `to: file`; lines are appended.
    pub file: Option<PathBuf>,
    /// Whether it holds roles, groups, scopes, tier and the claims that the policy reads, for `portcullis replay`. They are personal
    /// data. Default `false`.
    pub principal: bool,
}

/// Where the audit line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditTo {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The file in `file`.
    File,
    /// Nowhere.
    Off,
}

/// How the gate ends.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownFile {
    /// How long it still answers while `/ready` says no, so that nobody sends it new work. Default
    /// `2s`.
    pub not_ready_for: Period,
    /// How long running requests may take to end after that. Default `10s`.
    pub drain: Period,
}

/// The operational log.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogFile {
    /// From which level on: `error`, `warn`, `info` (default), `debug`, `trace`.
    pub level: LogLevel,
}

/// A level of the operational log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the field's")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

impl Default for DecisionsFile {
    fn default() -> Self {
        let net = |address: std::net::IpAddr, bits| Network(IpNet::new_assert(address, bits));
        Self {
            address: loopback(7400),
            trusted_proxies: vec![net([127, 0, 0, 0].into(), 8), net(std::net::Ipv6Addr::LOCALHOST.into(), 128)],
            keep_alive: Period::millis(120_000),
            deadline: Period::millis(500),
            workers: None,
            tls: None,
        }
    }
}

impl Default for AdminFile {
    fn default() -> Self {
        Self { address: loopback(7401), danger_fault_endpoint: false, token_file: None, token_env: None, tls: None }
    }
}

impl Default for PublicFile {
    fn default() -> Self {
        Self { address: loopback(7402), tls: None }
    }
}

impl Default for CredentialsFile {
    fn default() -> Self {
        Self { cookie_name: "jwt".to_owned() }
    }
}

impl Default for VerifiedTokensFile {
    fn default() -> Self {
        Self { max_mebibytes: 64 }
    }
}

impl Default for ReloadFile {
    fn default() -> Self {
        Self { watch: true }
    }
}

impl Default for AuditFile {
    fn default() -> Self {
        Self { to: AuditTo::Stdout, file: None, principal: false }
    }
}

impl Default for ShutdownFile {
    fn default() -> Self {
        Self { not_ready_for: Period::millis(2_000), drain: Period::millis(10_000) }
    }
}

impl Default for LogFile {
    fn default() -> Self {
        Self { level: LogLevel::Info }
    }
}
