//! Tokens that name keys which nobody has (T-H2): they cost the issuer next to nothing, and nobody waits for them.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{ask, forged, median, trusting, us};
use crate::support::gate::{Gate, within};
use crate::support::provider::{Habits, Provider};
use crate::support::raw;
use crate::support::signer::Signer;

/// The request of a forger who names this key.
fn request(stranger: &Signer, issuer: &str, kid: &str) -> Vec<u8> {
    let bearer = format!("Bearer {}", forged(stranger, issuer, kid));
    let headers = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/any"),
        ("X-Forwarded-Host", raw::HOST),
        ("X-Forwarded-For", "203.0.113.7"),
        ("Authorization", &bearer),
        ("X-Request-ID", kid),
    ];
    raw::request("GET", "/validate", &headers, b"")
}

/// Lets this process, and what it starts, have as many connections as the test opens.
fn allow_connections() {
    let pid = std::process::id().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, "--nofile=8192:"]).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "prlimit failed: apt-get install util-linux, or ulimit -Hn 8192"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn t_h2_two_thousand_unknown_names_at_once_cause_two_fetches() {
    const MANY: usize = 2000;
    allow_connections();
    let provider = Provider::start(Habits::Keycloak).await;
    let gate = trusting(&provider, &[]).await;
    let alice = provider.sign_in("gate", "alice").await.access;
    let stranger = Signer::new("stranger", "ES256");
    let requests: Vec<_> =
        (0..MANY).map(|number| request(&stranger, &provider.issuer(), &format!("forged-{number}"))).collect();
    // The provider takes its time, so that they come while it is being asked.
    provider.control("/set?jwksDelayMs=200").await;
    let before = provider.jwks_hits().await;
    let begin = Instant::now();
    let address: SocketAddr = gate.decisions();
    let flood = requests.into_iter().map(|request| {
        tokio::spawn(
            async move { raw::Client::plain(address).with_timeout(Duration::from_secs(30)).send(request).await },
        )
    });
    let flood: Vec<_> = flood.collect();
    let others = async {
        let mut times = Vec::new();
        for _ in 0..20 {
            let answer = ask(&gate, "/any", &alice).await;
            answer.expect(200, "allowed");
            times.push(us(&answer));
        }
        times
    };
    let (answers, others) = tokio::join!(futures_util::future::join_all(flood), others);
    let took = begin.elapsed();
    for answer in answers {
        assert_eq!(answer.expect("an answer").status, 401);
    }
    let is_forged = |line: &serde_json::Value| line["request_id"].as_str().is_some_and(|id| id.starts_with("forged-"));
    within("all audit lines", async || gate.audit().iter().filter(|line| is_forged(line)).count() == MANY).await;
    let lines: Vec<_> = gate.audit().into_iter().filter(is_forged).collect();
    assert!(lines.iter().all(|line| line["reason"] == "unknown_key"), "one reason for all");
    let slowest = lines.iter().map(|line| line["us"].as_u64().expect("a time")).max().expect("lines");
    let fetches = provider.jwks_hits().await - before;
    println!(
        "{MANY} unknown names at once: {fetches} fetches, all refused within {took:?}, each decision within {} ms; a known key \
         meanwhile: median {} us",
        slowest / 1000,
        median(others)
    );
    assert!(fetches <= 2, "{fetches}");
    assert!(slowest < 1_000_000, "{slowest} us");
}

/// Forgers who name a new key with each request, until they are told to end.
async fn flood(gate: &Gate, stranger: &Signer, issuer: &str, done: &AtomicBool, sent: &AtomicU64) {
    while !done.load(Ordering::Relaxed) {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        let answer = raw::send(gate.decisions(), request(stranger, issuer, &format!("flood-{number}"))).await;
        assert_eq!(answer.status, 401);
        // A steady flood, but one that leaves the machine to others.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t_h2_a_new_key_is_found_among_forged_ones_within_ten_seconds() {
    let provider = Provider::start(Habits::Keycloak).await;
    let gate = trusting(&provider, &[]).await;
    let stranger = Signer::new("stranger", "ES256");
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let (issuer, begin) = (provider.issuer(), Instant::now());
    let forgers = (0..4).map(|_| flood(&gate, &stranger, &issuer, &done, &sent));
    let user = async {
        // The worst moment: just after the flood has used what was left.
        let at_first = provider.jwks_hits().await;
        within("the budget is spent", async || provider.jwks_hits().await >= at_first.max(1) + 2).await;
        let spent = provider.jwks_hits().await;
        within("a fetch of the flood", async || provider.jwks_hits().await > spent).await;
        provider.control("/rotate?step=hard").await;
        let alice = provider.sign_in("gate", "alice").await.access;
        let named = Instant::now();
        loop {
            let answer = ask(&gate, "/any", &alice).await;
            if answer.status() == 200 {
                break;
            }
            answer.expect(401, "unknown_key");
            assert!(named.elapsed() < Duration::from_secs(10), "the new key is not found");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        done.store(true, Ordering::Relaxed);
        named.elapsed()
    };
    let (_, found) = tokio::join!(futures_util::future::join_all(forgers), user);
    let (sent, took, hits) = (sent.into_inner(), begin.elapsed(), provider.jwks_hits().await);
    println!("{sent} forged names in {took:?}: {hits} fetches; a new key was found after {found:?}");
    // The first, the budget, and one in eight seconds.
    assert!(hits <= 1 + 2 + took.as_secs() / 8 + 1, "{hits} fetches");
    assert!(sent > 100 * hits, "this was no flood");
}

#[tokio::test]
async fn a_name_that_was_looked_for_costs_nothing_for_a_while() {
    let provider = Provider::start(Habits::Keycloak).await;
    let gate = trusting(&provider, &[]).await;
    let token = forged(&Signer::new("stranger", "ES256"), &provider.issuer(), "forged");
    let before = provider.jwks_hits().await;
    for _ in 0..50 {
        ask(&gate, "/any", &token).await.expect(401, "unknown_key");
    }
    assert_eq!(provider.jwks_hits().await - before, 1);
}
