//! Issuers that fail: what is known serves on as fast as ever, what is not is refused soon.
#![expect(clippy::print_stdout, reason = "how long it took is for people, too: run with --nocapture")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::{ask, config, forged, median, provided, ready, trusting, us};
use crate::support::gate::{Gate, within};
use crate::support::provider::{Habits, Provider};
use crate::support::signer::Signer;

/// The median time of a decision about this token, in microseconds, of a hundred.
async fn known(gate: &Gate, token: &str) -> u64 {
    let mut times = Vec::new();
    for _ in 0..100 {
        let answer = ask(gate, "/any", token).await;
        answer.expect(200, "allowed");
        times.push(us(&answer));
    }
    median(times)
}

fn failures(name: &str) -> String {
    format!("portcullis_key_fetches_total{{issuer=\"{name}\",result=\"failed\"}}")
}

async fn fails(mode: &str) {
    let provider = Provider::start(Habits::Keycloak).await;
    // Nothing is remembered: each decision uses the key.
    let forgetful = config(&[provided(&provider, &["keys: {refresh: 1s}"])])
        .edit("shutdown:", "stores: {verified_tokens: {max_mebibytes: 0}}\nshutdown:");
    let gate = Gate::start(&forgetful);
    ready(&gate).await;
    let alice = provider.sign_in("gate", "alice").await.access;
    let before = known(&gate, &alice).await;

    provider.control(&format!("/set?jwksMode={mode}")).await;
    within("a failed fetch", async || gate.metric(&failures("keycloak")).await > Some(0.0)).await;
    let stranger = Signer::new("stranger", "ES256");
    let done = AtomicBool::new(false);
    // Meanwhile somebody names keys that are not there, one after the other.
    let unknown = async {
        let mut slowest = Duration::ZERO;
        for number in 0.. {
            let token = forged(&stranger, &provider.issuer(), &format!("forged-{number}"));
            let begin = Instant::now();
            ask(&gate, "/any", &token).await.expect(401, "unknown_key");
            slowest = slowest.max(begin.elapsed());
            if done.load(Ordering::Relaxed) && number > 10 {
                break;
            }
        }
        slowest
    };
    let asked = async {
        let median = known(&gate, &alice).await;
        done.store(true, Ordering::Relaxed);
        median
    };
    let (slowest, during) = tokio::join!(unknown, asked);
    assert_eq!(gate.admin_get("/ready").await.status, 200);

    // It comes back with other keys.
    provider.control("/rotate?step=hard").await;
    provider.control("/set?jwksMode=ok").await;
    let alice = provider.sign_in("gate", "alice").await.access;
    let back = Instant::now();
    while ask(&gate, "/any", &alice).await.status() != 200 {
        // A fetch that hangs is given up after five seconds; then comes the next.
        assert!(back.elapsed() < Duration::from_secs(15), "{mode}: the keys never come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!(
        "JWKS {mode}: a known key answered in {during} us, before in {before} us (medians); an unknown one was refused within \
         {slowest:?}; new keys were in use {:?} after the end",
        back.elapsed()
    );
    // A decision that waited for the fetch would take thousands of times as long.
    assert!(during < 10 * before, "{mode}: {during} us instead of {before} us");
    assert!(slowest < Duration::from_secs(1), "{mode}: {slowest:?}");
}

#[tokio::test]
async fn known_keys_serve_on_in_microseconds_whatever_the_issuer_does() {
    for mode in ["500", "garbage", "empty", "hang"] {
        fails(mode).await;
    }
}

#[tokio::test]
async fn t_f8_several_tokens_at_once_while_there_are_no_keys() {
    let (keycloak, auth0) = (Provider::start(Habits::Keycloak).await, Provider::start(Habits::Auth0).await);
    let tokens = [keycloak.sign_in("gate", "alice").await.access, auth0.sign_in("gate", "alice").await.access];
    for provider in [&keycloak, &auth0] {
        provider.control("/set?jwksMode=hang").await;
    }
    let gate = Gate::start(&config(&[provided(&keycloak, &[]), provided(&auth0, &[])]));
    let begin = Instant::now();
    let both = async |bearer: &str, cookie: &str| {
        let headers = [("Authorization", format!("Bearer {bearer}")), ("Cookie", format!("jwt={cookie}"))];
        gate.ask("GET", "/any", &headers.each_ref().map(|(name, value)| (*name, value.as_str()))).await
    };
    let asked = (0..100).map(|turn| both(&tokens[turn % 2], &tokens[turn / 2 % 2]));
    for answer in join_all(asked).await {
        answer.expect(503, "keys_unavailable");
        assert!(us(&answer) < 400_000, "nobody waits for what is not there: {answer:#?}");
    }
    println!("100 pairs of tokens without keys were answered within {:?}", begin.elapsed());
    let waiting = gate.admin_get("/ready").await;
    assert_eq!((waiting.status, waiting.json()["issuers_without_keys"].clone()), (503, json!(["keycloak", "auth0"])));

    for provider in [&keycloak, &auth0] {
        provider.control("/set?jwksMode=ok").await;
    }
    ready(&gate).await;
    both(&tokens[0], &tokens[0]).await.expect(200, "allowed");
    both(&tokens[0], &tokens[1]).await.expect(400, "conflicting_credentials");
    let broken = &tokens[1][..tokens[1].len() - 8];
    both(&tokens[0], broken).await.expect(401, "bad_signature");
}

#[tokio::test]
async fn keys_that_are_too_old_serve_no_longer_until_newer_ones_are_there() {
    let mut provider = Provider::start(Habits::Auth0).await;
    let gate = trusting(&provider, &["keys: {refresh: 1s, max_stale: 3s}"]).await;
    let alice = provider.sign_in("gate", "alice").await.access;
    ask(&gate, "/any", &alice).await.expect(200, "allowed");
    provider.stop();
    let down = Instant::now();
    let refused = loop {
        let answer = ask(&gate, "/any", &alice).await;
        if answer.status() != 200 {
            break answer;
        }
        assert!(down.elapsed() < Duration::from_secs(10), "they serve for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let ended = down.elapsed();
    println!("with max_stale: 3s and refresh: 1s, keys served for {ended:?} after the issuer went");
    refused.expect(503, "keys_unavailable");
    // The last fetch was at most a refresh and its jitter earlier; the last attempt comes at most a jitter late.
    assert!((Duration::from_millis(1900)..Duration::from_millis(3800)).contains(&ended), "{ended:?}");
    assert_eq!(gate.admin_get("/ready").await.json()["issuers_without_keys"], json!(["auth0"]));
    within("the log says so", async || gate.log().contains("keys cannot be fetched; none serve")).await;

    provider.run().await;
    ready(&gate).await;
    // It has new keys: what the old ones signed is nothing now.
    ask(&gate, "/any", &alice).await.expect(401, "unknown_key");
    let alice = provider.sign_in("gate", "alice").await.access;
    ask(&gate, "/any", &alice).await.expect(200, "allowed");
}

#[tokio::test]
async fn t_f11_a_role_that_was_taken_away_ends_with_the_token() {
    let provider = Provider::start(Habits::Keycloak).await;
    let gate = trusting(&provider, &["leeway: 0s"]).await;
    provider.control("/set?atTtl=3").await;
    let old = provider.sign_in("gate", "alice").await.access;
    let issued = Instant::now();
    ask(&gate, "/admin", &old).await.expect(200, "allowed");
    provider.control("/users?u=alice&roles=user").await;
    let new = provider.sign_in("gate", "alice").await.access;
    ask(&gate, "/admin", &new).await.expect(403, "missing_role");
    within("the old token ends", async || ask(&gate, "/admin", &old).await.status() == 401).await;
    println!("a role that was taken away ended {:?} after a token for 3 s", issued.elapsed());
    assert!(issued.elapsed() < Duration::from_secs(4));
    ask(&gate, "/admin", &old).await.expect(401, "expired");
}
