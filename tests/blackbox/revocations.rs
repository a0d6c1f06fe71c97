//! Revocation: the real gate, alone and beside others, with a real Redis.

mod api;
mod command;
mod contract;
mod replicas;
mod settings;
mod shapes;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::gate::{Answer, Config, Gate, KEY, claims};
use crate::support::raw::{self, Response};

/// The token of the admin listener.
const ADMIN: &str = "c2f1e0d9c8b7a6958473625140312f1e";

/// What is promised: a revocation is known everywhere within a second.
const SECOND: Duration = Duration::from_secs(1);

/// The shop with revocations in this store, and more settings of them.
fn config(store: &str, more: &str) -> Config {
    let config = Config::shop().file("admin.token", &format!("{ADMIN}\n"));
    let address = "  admin:\n    address: 127.0.0.1:0";
    let config = config.edit(address, &format!("{address}\n    token_file: admin.token"));
    config.edit("\nshutdown:", &format!("\nrevocations:\n  store: {store}\n{more}\nshutdown:"))
}

pub(crate) fn in_memory() -> Config {
    config("{danger_memory: true}", "")
}

/// A token of the shop's issuer with these claims on top.
fn token(changes: Value) -> String {
    KEY.token(&claims(changes))
}

async fn ask(gate: &Gate, token: &str) -> Answer {
    gate.ask("GET", "/products", &[("Authorization", &format!("Bearer {token}"))]).await
}

async fn refused(gate: &Gate, token: &str) -> bool {
    ask(gate, token).await.reason() == "revoked"
}

/// As before, or the documented answer: nothing in between.
#[track_caller]
fn is_documented(answer: &Answer) {
    assert!(["allowed", "revocations_stale"].contains(&answer.reason()), "{answer:?}");
}

/// Asks the admin API, with the token.
async fn admin(gate: &Gate, method: &str, target: &str, body: &str) -> Response {
    let bearer = format!("Bearer {ADMIN}");
    raw::send(gate.admin(), raw::request(method, target, &[("Authorization", &bearer)], body.as_bytes())).await
}

/// Revokes and returns the entry.
#[track_caller]
pub(crate) fn revoke(gate: &Gate, what: Value) -> impl Future<Output = Value> {
    let at = std::panic::Location::caller();
    async move {
        let answer = admin(gate, "POST", "/revocations", &what.to_string()).await;
        assert_eq!(answer.status, 201, "{at}: {}", answer.text());
        answer.json()
    }
}

async fn remove(gate: &Gate, entry: &Value) -> u16 {
    let id = entry["id"].as_str().expect("an id");
    admin(gate, "DELETE", &format!("/revocations/{id}"), "").await.status
}

async fn is_ready(gate: &Gate) -> bool {
    gate.admin_get("/ready").await.status == 200
}

/// Waits for what must come within `bound`, and tells how long it took.
async fn within(bound: Duration, what: &str, condition: impl AsyncFn() -> bool) -> Duration {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < bound, "{what}: not within {bound:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    started.elapsed()
}

/// Starts a gate and waits until it is ready.
pub(crate) async fn ready(config: &Config) -> Gate {
    let gate = Gate::start(config);
    within(Duration::from_secs(15), "ready", async || is_ready(&gate).await).await;
    gate
}

fn subject(name: &str) -> Value {
    json!({"subject": name})
}
