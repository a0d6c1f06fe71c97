//! `portcullis limits`: how full somebody's buckets are, as a running gate knows it.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::admin::{Gate, ended, run};
use super::say;

/// What to do with limits.
#[derive(Debug, Subcommand)]
pub enum Limits {
    /// Shows how full somebody's buckets are. Takes nothing from them.
    Show(Show),
}

/// Whose buckets.
#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    gate: Gate,
    /// The user: the subject (`sub`) of tokens.
    #[arg(value_name = "USER", allow_hyphen_values = true)]
    user: Option<String>,
    /// The configured name of the issuer. Default: the only one.
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// The tenant.
    #[arg(long, value_name = "TENANT", allow_hyphen_values = true)]
    tenant: Option<String>,
    /// The tier. Default: the numbers of every tier are shown.
    #[arg(long, value_name = "TIER", allow_hyphen_values = true)]
    tier: Option<String>,
    /// The client's address, for limits by address.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// Claims, for limits by claims, such as '{"org": "acme"}'.
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
    /// For scripts.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
#[must_use]
pub fn limits(what: &Limits) -> ExitCode {
    let Limits::Show(show) = what;
    ended("limits", run(show.send()))
}

impl Show {
    async fn send(&self) -> Result<(), String> {
        let client = self.client.map(|client| client.to_string());
        let query = [
            ("user", &self.user),
            ("issuer", &self.issuer),
            ("tenant", &self.tenant),
            ("tier", &self.tier),
            ("client", &client),
            ("claims", &self.claims),
        ];
        let query: Vec<(&str, &str)> =
            query.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?))).collect();
        let answer = self.gate.ask(Method::GET, &["limits"], &query, None).await?;
        if self.json {
            say(&answer.to_string());
            return Ok(());
        }
        let buckets = answer.get("buckets").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if buckets.is_empty() {
            say("no limit of the policy has a bucket for that");
        }
        buckets.iter().for_each(|bucket| say(&line(bucket)));
        let kept = |key: &str| answer.get("kept_by").and_then(|kept| kept.get(key)).and_then(Value::as_str);
        let why = kept("why").map(|why| format!(" ({why})")).unwrap_or_default();
        say(&format!("kept by {}{why}", kept("store").unwrap_or("nobody")));
        Ok(())
    }
}

fn line(bucket: &Value) -> String {
    let text = |key: &str| bucket.get(key).and_then(Value::as_str);
    let number = |key: &str| bucket.get(key).and_then(Value::as_u64).unwrap_or_default();
    let period = |key: &str| {
        let seconds = bucket.get(key).and_then(Value::as_f64).unwrap_or_default();
        let rounded = Duration::from_secs(Duration::try_from_secs_f64(seconds.ceil()).unwrap_or_default().as_secs());
        humantime::format_duration(rounded).to_string()
    };
    let of = [("tier", text("tier")), ("rule", text("rule"))];
    let of: String = of.into_iter().filter_map(|(word, name)| Some(format!(", {word} {}", name?))).collect();
    let (left, burst) = (number("left"), number("burst"));
    let state = match left {
        0 => format!("empty, next in {}, full in {}", period("next_in"), period("full_in")),
        _ if left == burst => "full".to_owned(),
        _ => format!("full in {}", period("full_in")),
    };
    let (name, rate) = (text("bucket").unwrap_or_default(), text("rate").unwrap_or_default());
    format!("{name}  {left} of {burst} left, {state}  ({rate}{of})")
}
