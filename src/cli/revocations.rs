//! `portcullis revoke`, `portcullis revocations`: the admin API for people and scripts.

use std::io::Read as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::{Certificate, Client, Method, StatusCode, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::{EXIT_FAILED, complain, say};

/// How long an answer may take: longer than the gate waits for its store.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest token on standard input, in bytes: the gate reads no longer one.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;

/// Which gate, and who asks.
#[derive(Debug, Args)]
struct Gate {
    /// The admin listener of any replica: https://HOST:PORT, or http:// on this machine.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7401")]
    admin: Url,
    /// The file with the token of the admin listener.
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// The listener's certificate is signed by one in this PEM file. Default: the system's authorities.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

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

fn run(task: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    actix_web::rt::System::new().block_on(task)
}

fn ended(command: &str, done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&format!("portcullis {command}: {why}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
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
        let done = self.gate.ask(Method::POST, &[], &[], Some(Value::Object(body))).await?;
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
            let page = self.gate.ask(Method::GET, &[], &[&query[..], &[("limit", "1000")]].concat(), None).await?;
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
        self.gate.ask(Method::DELETE, &[&self.id], &[], None).await?;
        say(&format!("{} removed", self.id));
        Ok(())
    }
}

impl Gate {
    async fn ask(
        &self,
        method: Method,
        below: &[&str],
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Value, String> {
        let token = std::fs::read_to_string(&self.token_file)
            .map_err(|error| format!("{} cannot be read: {error}", self.token_file.display()))?;
        let token = SecretString::from(token.trim_end_matches(['\r', '\n']).to_owned());
        let mut request = self.client()?.request(method, self.url(below, query)?).bearer_auth(token.expose_secret());
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let unasked = |error: reqwest::Error| self.unasked(&error);
        let answer = request.send().await.map_err(unasked)?;
        let status = answer.status();
        let body: Value = serde_json::from_slice(&answer.bytes().await.map_err(unasked)?).unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let why = match (body.get("detail").and_then(Value::as_str), status) {
            (Some(why), _) => why,
            (None, StatusCode::NOT_FOUND) => "it has no revocations, or no token for them (listeners.admin.token_file)",
            (None, _) => "no reason",
        };
        Err(format!("{} answers {status}: {why}", self.admin))
    }

    /// Why there is no answer: the innermost reason, which is the one that says something, and what may be wrong here.
    fn unasked(&self, error: &reqwest::Error) -> String {
        let mut why = "no answer in time".to_owned();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            why = cause.to_string();
            source = cause.source();
        }
        let remedy = match (why.contains("certificate"), &self.ca_file) {
            (true, Some(_)) => "--ca-file must hold the authority of the listener's certificate",
            (true, None) => "name the authority of the listener's certificate with --ca-file",
            (false, _) => "name its admin listener with --admin, https:// if it has `tls`",
        };
        format!("{} cannot be asked: {why}; {remedy}", self.admin)
    }

    fn url(&self, below: &[&str], query: &[(&str, &str)]) -> Result<Url, String> {
        let is_here = self.admin.host_str().is_some_and(|host| {
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        });
        // The token is sent: in the clear to nobody but this machine.
        if self.admin.scheme() != "https" && !(self.admin.scheme() == "http" && is_here) {
            return Err(format!("{} is not https", self.admin));
        }
        let mut url = self.admin.clone();
        url.path_segments_mut()
            .map_err(|()| "this URL has no path".to_owned())?
            .pop_if_empty()
            .push("revocations")
            .extend(below);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    fn client(&self) -> Result<Client, String> {
        let mut client = Client::builder().redirect(redirect::Policy::none()).timeout(TIMEOUT).no_proxy();
        if let Some(ca) = &self.ca_file {
            let pem = std::fs::read(ca).map_err(|error| format!("{} cannot be read: {error}", ca.display()))?;
            let authorities = Certificate::from_pem_bundle(&pem).ok().filter(|list| !list.is_empty());
            let authorities = authorities.ok_or_else(|| format!("{} holds no certificate in PEM", ca.display()))?;
            client = client.tls_certs_only(authorities);
        }
        client.build().map_err(|error| error.to_string())
    }
}
