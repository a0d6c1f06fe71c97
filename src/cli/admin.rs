//! The admin listener of a running gate, as the commands ask it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::{Certificate, Client, Method, StatusCode, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{EXIT_FAILED, complain};

/// How long an answer may take: longer than the gate waits for its store.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Which gate, and who asks.
#[derive(Debug, Args)]
pub(super) struct Gate {
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

/// Runs what asks.
pub(super) fn run(task: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    actix_web::rt::System::new().block_on(task)
}

/// The exit code, and why it failed if it did.
pub(super) fn ended(command: &str, done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&format!("portcullis {command}: {why}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

impl Gate {
    /// Asks for what is at `path`.
    ///
    /// # Errors
    /// Why there is no good answer, in words.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Value>,
    ) -> Result<Value, String> {
        let token = std::fs::read_to_string(&self.token_file)
            .map_err(|error| format!("{} cannot be read: {error}", self.token_file.display()))?;
        let token = SecretString::from(token.trim_end_matches(['\r', '\n']).to_owned());
        let mut request = self.client()?.request(method, self.url(path, query)?).bearer_auth(token.expose_secret());
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
            (None, StatusCode::NOT_FOUND) => {
                "it has no such endpoint: that needs a token (listeners.admin.token_file), and revoking a section `revocations`"
            }
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

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url, String> {
        let is_here = self.admin.host_str().is_some_and(|host| {
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        });
        // The token is sent: in the clear to nobody but this machine.
        if self.admin.scheme() != "https" && !(self.admin.scheme() == "http" && is_here) {
            return Err(format!("{} is not https", self.admin));
        }
        let mut url = self.admin.clone();
        url.path_segments_mut().map_err(|()| "this URL has no path".to_owned())?.pop_if_empty().extend(path);
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
