//! Limits: token buckets in the decision, exactly; asked at the gate itself, on a real Redis, and through real proxies.

mod answers;
mod buckets;
mod command;
mod failures;
mod outage;
mod shared;
mod through;

use crate::support::gate::{Answer, Config, Gate};

/// The numbers of most tests: so slow that nothing comes in while a test runs.
pub(super) const SLOW: &str = "rate: 1, period: 1h";

/// A policy with these limits (lines of YAML, each limit `- {...}`) and rules of the host `shop.localhost`.
pub(super) fn policy(limits: &str, rules: &str) -> Config {
    let indented = |text: &str| text.lines().map(|line| format!("  {}\n", line.trim())).collect::<String>();
    let policy = format!("limits:\n{}rules:\n{}", indented(limits), indented(rules));
    Config::with_policy(&policy)
}

/// Everything for whoever has signed in, and two paths for everybody.
pub(super) const RULES: &str = "- {id: all, hosts: [shop.localhost], paths: [/**], allow: authenticated}
    - {id: open, hosts: [shop.localhost], paths: [/open], allow: anonymous}
    - {id: perhaps, hosts: [shop.localhost], paths: [/perhaps], allow: optional}";

/// One limit by user: so many at once.
pub(super) fn per_user(burst: u32) -> Config {
    policy(&format!("- {{name: user, by: user, {SLOW}, burst: {burst}}}"), RULES)
}

pub(super) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A request with this token.
pub(super) async fn ask(gate: &Gate, path: &str, token: &str) -> Answer {
    gate.ask("GET", path, &[("Authorization", &bearer(token))]).await
}

/// How many of so many requests, one after the other, are let through; the others are limited.
pub(super) async fn accepted(gate: &Gate, wanted: usize, path: &str, headers: &[(&str, &str)]) -> usize {
    let mut accepted = 0;
    for _ in 0..wanted {
        let answer = gate.ask("GET", path, headers).await;
        if answer.status() == 200 {
            accepted += 1;
        } else {
            answer.expect(429, "rate_limited");
        }
    }
    accepted
}

/// The same with a token.
pub(super) async fn accepted_of(gate: &Gate, wanted: usize, token: &str) -> usize {
    accepted(gate, wanted, "/x", &[("Authorization", &bearer(token))]).await
}
