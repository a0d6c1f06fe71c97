//! Keys are exchanged while requests go on.
#![expect(clippy::print_stdout, reason = "how long it took is for people, too: run with --nocapture")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::{ask, claims_of, config, entry, forged, median, ready, trusting, us};
use crate::support::gate::{Answer, Gate, KEY, within};
use crate::support::provider::{API, Habits, Provider};
use crate::support::signer::Signer;
use crate::support::stand_in::{FREE, StandIn, http, jwks};

/// Requests a second.
const RATE: u32 = 200;

/// Who asks, with which token: a forger has no name.
type Asker = (Option<&'static str>, String);

/// Asks for each of these in turn at a constant rate, whether answers come or not, until it is told to end; gives back the answers,
/// each with who asked.
async fn load(gate: &Gate, askers: &Mutex<Vec<Asker>>, done: &AtomicBool) -> Vec<(Option<&'static str>, Answer)> {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / RATE);
    let mut answers = Vec::new();
    let mut running = FuturesUnordered::new();
    let mut turn = 0;
    while !done.load(Ordering::Relaxed) {
        let (name, token) = {
            let askers = askers.lock().expect("no panic");
            askers[turn % askers.len()].clone()
        };
        turn += 1;
        running.push(async move { (name, ask(gate, "/any", &token).await) });
        loop {
            tokio::select! {
                _ = pace.tick() => break,
                Some(answer) = running.next() => answers.push(answer),
            }
        }
    }
    answers.extend(running.collect::<Vec<_>>().await);
    answers
}

/// Alice and bob with new tokens, and one who has changed a letter of each.
async fn askers(provider: &Provider) -> Vec<Asker> {
    let mut askers = Vec::new();
    for (name, client) in [("alice", "gate"), ("bob", "gate-es")] {
        let token = provider.sign_in(client, name).await.access;
        let at = token.rfind('.').expect("a signature") + 1;
        let letter = if token[at..].starts_with('A') { "B" } else { "A" };
        let changed = format!("{}{letter}{}", &token[..at], &token[at + 1..]);
        askers.extend([(Some(name), token), (None, changed)]);
    }
    askers
}

/// Publish, promote, retire, hard swap, while people and forgers ask: what is published is good from its first token on, and what no
/// longer is ends with the next fetch.
async fn rotated(refresh: &str) {
    let provider = Provider::start(Habits::Keycloak).await;
    let gate = trusting(&provider, &[&format!("keys: {{refresh: {refresh}}}")]).await;
    let first = askers(&provider).await;
    let asking = Mutex::new(first.clone());
    let set = |askers: Vec<Asker>| *asking.lock().expect("no panic") = askers;
    let done = AtomicBool::new(false);
    // New tokens, of keys that the gate has never seen: the first of them is to be good at once.
    let fresh = async |step: &str| {
        provider.control(&format!("/rotate?step={step}")).await;
        let fresh = askers(&provider).await;
        let named = Instant::now();
        ask(&gate, "/any", &fresh[0].1).await.expect(200, "allowed");
        println!(
            "refresh {refresh}, {step}: the first token that names a new key answered after {:?}",
            named.elapsed()
        );
        assert!(named.elapsed() < Duration::from_secs(1));
        fresh
    };
    let pause = || tokio::time::sleep(Duration::from_millis(700));
    let begin = Instant::now();
    let rotation = async {
        pause().await;
        provider.control("/rotate?step=publish").await;
        pause().await;
        let second = fresh("promote").await;
        set([&first[..], &second].concat());
        pause().await;
        // What is retired is good no longer, and may pass until the next fetch: nobody asks with it any more.
        set(second.clone());
        pause().await;
        provider.control("/rotate?step=retire").await;
        pause().await;
        set(vec![(None, "x.y.z".to_owned())]);
        pause().await;
        let third = fresh("hard").await;
        set(third);
        // The fetch that brought the new keys took the old ones away.
        for (_, old) in first.iter().chain(&second) {
            ask(&gate, "/any", old).await.expect(401, "unknown_key");
        }
        pause().await;
        done.store(true, Ordering::Relaxed);
    };
    let (answers, ()) = tokio::join!(load(&gate, &asking, &done), rotation);
    let rate = answers.len() as f64 / begin.elapsed().as_secs_f64();
    let is_wrong = |(name, answer): &&(Option<&str>, Answer)| {
        let status = if name.is_some() { 200 } else { 401 };
        answer.status() != status || answer.header("x-user-id") != *name
    };
    let wrong: Vec<_> = answers.iter().filter(is_wrong).collect();
    println!(
        "refresh {refresh}: {} answers at {rate:.0}/s through four steps, {} wrong; median {} us, slowest {} us; {} fetches",
        answers.len(),
        wrong.len(),
        median(answers.iter().map(|(_, answer)| us(answer)).collect()),
        answers.iter().map(|(_, answer)| us(answer)).max().expect("answers"),
        provider.jwks_hits().await
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(rate > f64::from(RATE) / 2.0, "this was no load: {rate}/s");
}

#[tokio::test(flavor = "multi_thread")]
async fn four_steps_of_rotation_under_load_make_no_wrong_answer() {
    // By the tokens that name new keys, and, in between, by fetches that may be under way at any moment.
    tokio::join!(rotated("1h"), rotated("1s"));
}

#[tokio::test]
async fn a_retired_key_ends_with_the_next_refresh() {
    let provider = Provider::start(Habits::Keycloak).await;
    let gate = trusting(&provider, &["keys: {refresh: 1s}"]).await;
    let old = provider.sign_in("gate", "alice").await.access;
    ask(&gate, "/any", &old).await.expect(200, "allowed");
    for step in ["publish", "promote", "retire"] {
        provider.control(&format!("/rotate?step={step}")).await;
    }
    let retired = Instant::now();
    within("the old key is gone", async || ask(&gate, "/any", &old).await.status() == 401).await;
    println!("a retired key ended after {:?}, with refresh: 1s", retired.elapsed());
    ask(&gate, "/any", &provider.sign_in("gate", "alice").await.access).await.expect(200, "allowed");
}

#[tokio::test]
async fn t_f3_concurrent_credentials_share_a_fetch_and_no_identity() {
    let provider = Provider::start(Habits::Keycloak).await;
    let gate = trusting(&provider, &[]).await;
    provider.control("/rotate?step=hard").await;
    let mut tokens = Vec::new();
    for user in ["alice", "bob", "carol"] {
        for client in ["gate", "gate-es", "gate-ed"] {
            tokens.push((user, provider.sign_in(client, user).await.access));
        }
    }
    // The fetch takes a while, so that all meet in it.
    provider.control("/set?jwksDelayMs=100").await;
    let hits = provider.jwks_hits().await;
    for _ in 0..2 {
        let all = (0..10).flat_map(|_| &tokens).map(async |(user, token)| {
            let answer = ask(&gate, "/any", token).await;
            answer.expect(200, "allowed");
            assert_eq!((answer.header("x-user-id"), answer.audit["subject"].as_str()), (Some(*user), Some(*user)));
        });
        futures_util::future::join_all(all).await;
    }
    assert!(provider.jwks_hits().await - hits <= 2, "they met in it");
}

#[tokio::test]
async fn a_new_key_is_good_at_once_right_after_a_fetch_for_another() {
    // A stand-in: a provider takes too long to make keys.
    let server = StandIn::start(FREE, http("200 OK", "", &jwks(&[&KEY]))).await;
    let issuer = format!("http://{}/", server.address);
    let keys = format!("keys: {{jwks_url: '{issuer}jwks'}}");
    let gate = Gate::start(&config(&[entry("x", &issuer, &[&format!("audiences: ['{API}']"), &keys])]));
    ready(&gate).await;
    let new = Signer::new("new", "ES256");
    // A forged name has just been looked for in vain.
    ask(&gate, "/any", &forged(&new, &issuer, "forged")).await.expect(401, "unknown_key");
    server.says(http("200 OK", "", &jwks(&[&KEY, &new])));
    ask(&gate, "/any", &new.token(&claims_of(&issuer))).await.expect(200, "allowed");
    assert_eq!(server.asked().len(), 3);
}
