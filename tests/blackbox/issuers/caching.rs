//! How often an issuer is asked is said by it, within bounds. The issuers here are stand-ins, which count: what a provider sends
//! cannot be chosen.

use std::time::{Duration, Instant};

use super::{ask, claims_of, config, entry, ready};
use crate::support::gate::{Gate, KEY, within};
use crate::support::provider::API;
use crate::support::signer::Signer;
use crate::support::stand_in::{FREE, StandIn, http, jwks};

async fn gate(server: &StandIn, refresh: &str) -> (Gate, String) {
    let issuer = format!("http://{}/", server.address);
    let keys = format!("keys: {{jwks_url: '{issuer}jwks', refresh: {refresh}}}");
    let gate = Gate::start(&config(&[entry("x", &issuer, &[&format!("audiences: ['{API}']"), &keys])]));
    ready(&gate).await;
    (gate, issuer)
}

/// Serves this key as this version, unless that is the one that the client has.
fn versioned(version: &'static str, key: &Signer) -> impl Fn(&str) -> String + Send + 'static {
    let document = jwks(&[key]);
    move |head| {
        let has =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("if-none-match: ").map(str::to_owned));
        match has.as_deref() == Some(version) {
            true => http("304 Not Modified", "", ""),
            false => http("200 OK", &format!("ETag: {version}\r\n"), &document),
        }
    }
}

#[tokio::test]
async fn a_version_that_is_known_is_not_sent_again() {
    let server = StandIn::answering(versioned("\"one\"", &KEY)).await;
    let (gate, issuer) = gate(&server, "1s").await;
    let conditional = |version: &str| {
        let wanted = format!("if-none-match: \"{version}\"\r\n");
        server.asked().iter().filter(|head| head.to_ascii_lowercase().contains(&wanted)).count()
    };
    within("three answers that nothing is new", async || conditional("one") >= 3).await;
    assert_eq!(server.asked().len() - conditional("one"), 1, "only the first question is without a version");
    ask(&gate, "/any", &KEY.token(&claims_of(&issuer))).await.expect(200, "allowed");
    let age = gate.metric("portcullis_keys_age_seconds{issuer=\"x\"}").await;
    assert!(age < Some(2.0), "what is confirmed is not old: {age:?}");

    let new = Signer::new("new", "ES256");
    server.answers(versioned("\"two\"", &new));
    within("the new key", async || ask(&gate, "/any", &new.token(&claims_of(&issuer))).await.status() == 200).await;
    ask(&gate, "/any", &KEY.token(&claims_of(&issuer))).await.expect(401, "unknown_key");
    within("the new version", async || conditional("two") > 0).await;
}

#[tokio::test]
async fn nothing_new_is_no_answer_to_who_has_nothing() {
    let server = StandIn::start(FREE, http("304 Not Modified", "", "")).await;
    let issuer = format!("http://{}/", server.address);
    let keys = format!("keys: {{jwks_url: '{issuer}jwks'}}");
    let gate = Gate::start(&config(&[entry("x", &issuer, &[&format!("audiences: ['{API}']"), &keys])]));
    within("a failure in the log", async || gate.log().contains("the answer is 304 Not Modified")).await;
    assert_eq!(gate.admin_get("/ready").await.status, 503);
}

#[tokio::test]
async fn an_issuer_says_how_long_its_keys_may_be_kept() {
    let answer = |headers: &str| http("200 OK", headers, &jwks(&[&KEY]));
    let begin = Instant::now();
    // Within half an hour (`refresh`) and half a minute, which is the least that an issuer is waited with.
    let said = ["Cache-Control: public, max-age=32\r\n", "Cache-Control: max-age=1\r\n"];
    let unsaid = ["", "Cache-Control: no-cache\r\n", "Cache-Control: max-age=7200\r\n", "Cache-Control: max-age=x\r\n"];
    let asked_again = async |headers: &str| {
        let server = StandIn::start(FREE, answer(headers)).await;
        let (_gate, _) = gate(&server, "30min").await;
        assert_eq!(server.asked().len(), 1);
        // The longest pause and its jitter have passed by then.
        let end = begin + Duration::from_secs(37);
        while Instant::now() < end {
            if server.asked().len() > 1 {
                return Some(begin.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    };
    let (said, unsaid) = tokio::join!(
        futures_util::future::join_all(said.map(asked_again)),
        futures_util::future::join_all(unsaid.map(asked_again))
    );
    println!(
        "asked again: with max-age=32 and max-age=1 after {said:?}; with none, no-cache, longer or broken: {unsaid:?}"
    );
    for (after, least) in said.into_iter().zip([32, 30]) {
        let after = after.expect("it is asked again").as_secs_f64();
        assert!(after >= f64::from(least) && after < f64::from(least) * 1.1 + 1.0, "{after} s instead of {least} s");
    }
    assert!(unsaid.iter().all(Option::is_none), "{unsaid:?}");
}
