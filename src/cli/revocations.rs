//! `portcullis revoke`, `portcullis revocations`: the admin API for people and scripts.

use std::io::Read as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::admin::{Gate, ended, run};
use super::say;

/// Where revocations are on the admin listener.
const PATH: &str = "revocations";

/// Longest token on standard input, in bytes: the gate reads no longer one.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;

/// What to revoke.
#[derive(Debug, Args)]
pub struct Revoke {
    #[command(flatten)]
    gate: Gate,
    #[command(flatten)]
    what: What,
    /// With --subject: only tokens issued at this moment or before it, in seconds since 1970. Default: now.
    #[arg(long, value_name = "SECONDS", requires = "subject", value_parser = seconds)]
    issued_before: Option<f64>,
    /// The configured name of the issuer. Default: the only one.
    #[arg(long, value_name = "NAME", conflicts_with = "stdin")]
    issuer: Option<String>,
    /// How long the tokens may still live, such as 8h. Default: as long as any token.
    #[arg(long = "for", value_name = "TIME", conflicts_with = "stdin")]
    lasts: Option<String>,
    /// Why, for whoever lists it.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// One token, by its `jti`.
    #[arg(long, value_name = "JTI", allow_hyphen_values = true)]
    jti: Option<String>,
    /// All tokens of a session, by their `sid`.
    #[arg(long, value_name = "SID", allow_hyphen_values = true)]
    sid: Option<String>,
    /// All tokens of a subject that were issued before now.
    #[arg(long, value_name = "SUBJECT", allow_hyphen_values = true)]
    subject: Option<String>,
    /// One token, read from standard input.
    #[arg(long)]
    stdin: bool,
}

/// What to do with what is revoked.
#[derive(Debug, Subcommand)]
pub enum Revocations {
    /// Prints what is revoked, one JSON object a line, the oldest first.
    List(List),
    /// Takes a revocation back: its tokens hold again until they end.
    Remove(Remove),
}

/// Which revocations.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    gate: Gate,
    /// Only of the issuer with this configured name.
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Only of this subject.
    #[arg(long, value_name = "SUBJECT", allow_hyphen_values = true)]
    subject: Option<String>,
}

/// Which revocation.
#[derive(Debug, Args)]
pub struct Remove {
    #[command(flatten)]
    gate: Gate,
    /// Its `id`, as it is listed.
    id: String,
}

/// Revokes.
#[must_use]
pub fn revoke(options: &Revoke) -> ExitCode {
    ended("revoke", run(options.send()))
}

/// Lists or removes.
#[must_use]
pub fn revocations(what: &Revocations) -> ExitCode {
    let done = match what {
        Revocations::List(list) => run(list.send()),
        Revocations::Remove(remove) => run(remove.send()),
    };
    ended("revocations", done)
}

impl Revoke {
    async fn send(&self) -> Result<(), String> {
        let token = if self.what.stdin { Some(token_from_stdin()?) } else { None };
        let mut body = Map::new();
        let texts = [
            ("jti", self.what.jti.as_deref()),
            ("sid", self.what.sid.as_deref()),
            ("subject", self.what.subject.as_deref()),
            ("token", token.as_ref().map(|token| token.expose_secret())),
            ("issuer", self.issuer.as_deref()),
            ("for", self.lasts.as_deref()),
            ("reason", self.reason.as_deref()),
        ];
        for (key, value) in texts {
            if let Some(value) = value {
                body.insert(key.to_owned(), value.into());
            }
        }
        if let Some(at) = self.issued_before {
            body.insert("issued_before".to_owned(), at.into());
        }
        let done = self.gate.ask(Method::POST, &[PATH], &[], Some(Value::Object(body))).await?;
        say(&done.to_string());
        Ok(())
    }
}

/// Seconds since 1970. JSON has no infinity: as `null` it would mean now.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| seconds.is_finite());
    seconds.ok_or_else(|| "write seconds since 1970, as `date +%s` prints them".to_owned())
}

fn token_from_stdin() -> Result<SecretString, String> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_TOKEN_BYTES.saturating_add(2)).read_to_string(&mut text);
    read.map_err(|error| format!("standard input cannot be read: {error}"))?;
    Ok(SecretString::from(text.trim().to_owned()))
}

impl List {
    async fn send(&self) -> Result<(), String> {
        let mut after: Option<String> = None;
        loop {
            let query = [("issuer", &self.issuer), ("subject", &self.subject), ("after", &after)];
            let query: Vec<(&str, &str)> =
                query.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?))).collect();
            let page = self.gate.ask(Method::GET, &[PATH], &[&query[..], &[("limit", "1000")]].concat(), None).await?;
            for entry in page.get("revocations").and_then(Value::as_array).into_iter().flatten() {
                say(&entry.to_string());
            }
            after = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if after.is_none() {
                return Ok(());
            }
        }
    }
}

impl Remove {
    async fn send(&self) -> Result<(), String> {
        self.gate.ask(Method::DELETE, &[PATH, &self.id], &[], None).await?;
        say(&format!("{} removed", self.id));
        Ok(())
    }
}
