//! Tokens of real OpenID Providers (`tests/op`), whose keys come, go and fail to come. Where a provider cannot be made to say what a
//! test wants to hear, a stand-in of the test's own says it, and the test's first line says so.

mod caching;
mod floods;
mod outages;
mod providers;
mod rotation;
mod samples;
mod trust;

use serde_json::{Value, json};

use crate::support::gate::{Answer, Config, Gate, now};
use crate::support::provider::{API, Habits, Provider};
use crate::support::signer::Signer;

/// Rules for whoever is somebody, and for a role and a scope that alice has.
const POLICY: &str = "\
rules:
  - {id: any, hosts: [shop.localhost], paths: [/any], allow: authenticated}
  - {id: open, hosts: [shop.localhost], paths: [/open], allow: anonymous}
  - {id: admin, hosts: [shop.localhost], paths: [/admin], allow: {roles: {any: [admin]}}}
  - {id: do-admin, hosts: [shop.localhost], paths: [/do-admin], allow: {scopes: {any: ['do:admin']}}}
";

/// A gate's files with these entries of `issuers`.
fn config(issuers: &[String]) -> Config {
    let settings = format!(
        "listeners: {{decisions: {{address: 127.0.0.1:0}}, admin: {{address: 127.0.0.1:0}}}}\npolicy: policy.yaml\n\
         shutdown: {{not_ready_for: 0s}}\nissuers:\n{}",
        issuers.concat()
    );
    Config { settings, ..Config::with_policy(POLICY) }
}

/// An entry for an issuer that is asked over http, and more lines of it.
fn entry(name: &str, issuer: &str, more: &[&str]) -> String {
    let lines: String = more.iter().map(|line| format!("    {line}\n")).collect();
    format!("  - name: {name}\n    issuer: '{issuer}'\n    danger_allow_http_issuer: true\n{lines}")
}

/// The entry that a provider's own documentation would lead to, and more lines of it.
fn provided(provider: &Provider, more: &[&str]) -> String {
    let audiences = format!("audiences: ['{API}']");
    let (name, lines) = match provider.habits() {
        Habits::Keycloak => ("keycloak", vec![&*audiences, "preset: keycloak"]),
        Habits::Auth0 => {
            ("auth0", vec![&*audiences, "preset: auth0", "claims: {roles: 'https://gate.example.test/roles'}"])
        }
    };
    entry(name, &provider.issuer(), &[&lines, more].concat())
}

/// A gate that trusts this provider and has its keys.
async fn trusting(provider: &Provider, more: &[&str]) -> Gate {
    let gate = Gate::start(&config(&[provided(provider, more)]));
    ready(&gate).await;
    gate
}

async fn ready(gate: &Gate) {
    crate::support::gate::within("ready", async || gate.admin_get("/ready").await.status == 200).await;
}

async fn ask(gate: &Gate, uri: &str, token: &str) -> Answer {
    gate.ask("GET", uri, &[("Authorization", &format!("Bearer {token}"))]).await
}

/// Claims as an issuer would write them, for an hour.
fn claims_of(issuer: &str) -> Value {
    json!({"iss": issuer, "aud": API, "sub": "alice", "iat": now(), "exp": now() + 3600, "typ": "Bearer"})
}

/// A token that names an issuer and a key of it, and is signed by nobody known.
fn forged(stranger: &Signer, issuer: &str, kid: &str) -> String {
    let mut header = stranger.header();
    header["kid"] = json!(kid);
    stranger.sign(&header, &claims_of(issuer))
}

/// The time that each decision took, in microseconds, from the audit line.
fn us(answer: &Answer) -> u64 {
    answer.audit["us"].as_u64().expect("a time")
}

fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times[times.len() / 2]
}
