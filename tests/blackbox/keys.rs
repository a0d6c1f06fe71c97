//! Keys from a URL. The issuer here is a stand-in, since it must misbehave at will; `issuers` has a real OpenID Provider.

use std::net::SocketAddr;

use serde_json::json;

use crate::api::inspect::inspect;
use crate::support::gate::{Config, Gate, KEY, claims, within};
use crate::support::signer::Signer;
use crate::support::stand_in::{FREE, StandIn, http, jwks};

fn set(keys: &[&Signer]) -> String {
    http("200 OK", "", &jwks(keys))
}

fn config(address: SocketAddr) -> Config {
    let keys = format!("jwks_url: \"http://{address}/jwks\"\n      refresh: 1s\n    danger_allow_http_issuer: true");
    Config::shop().edit("jwks_file: jwks.json", &keys)
}

async fn status(gate: &Gate, key: &Signer) -> u16 {
    let bearer = format!("Bearer {}", key.token(&claims(json!({}))));
    gate.ask("GET", "/products", &[("Authorization", &bearer)]).await.status()
}

const AGE: &str = "portcullis_keys_age_seconds{issuer=\"shop\"}";

fn fetches(result: &str) -> String {
    format!("portcullis_key_fetches_total{{issuer=\"shop\",result=\"{result}\"}}")
}

#[tokio::test]
async fn an_issuer_that_is_down_at_the_start_is_waited_for() {
    // An address where nobody listens: it was ours a moment ago.
    let address = StandIn::start(FREE, String::new()).await.address;
    let gate = Gate::start(&config(address));
    let ready = gate.admin_get("/ready").await;
    assert_eq!((ready.status, ready.json()["issuers_without_keys"].clone()), (503, json!(["shop"])));
    assert_eq!(gate.admin_get("/health").await.status, 200, "a restart would not help");
    let bearer = format!("Bearer {}", KEY.token(&claims(json!({}))));
    gate.ask("GET", "/products", &[("Authorization", &bearer)]).await.expect(503, "keys_unavailable");
    gate.ask("GET", "/", &[]).await.expect(200, "allowed");
    assert!(gate.log().contains("keys cannot be fetched"), "{}", gate.log());
    assert_eq!(gate.metric("portcullis_ready").await, Some(0.0));
    assert_eq!(gate.metric(AGE).await, None, "what never came has no age");
    assert!(gate.metric(&fetches("failed")).await > Some(0.0));
    assert_eq!(gate.metric(&fetches("ok")).await, Some(0.0));

    let _issuer = StandIn::start(address, set(&[&KEY])).await;
    within("ready", async || gate.admin_get("/ready").await.status == 200).await;
    assert_eq!(gate.metric("portcullis_ready").await, Some(1.0));
    assert!(gate.metric(AGE).await.is_some() && gate.metric(&fetches("ok")).await > Some(0.0));
    gate.ask("GET", "/products", &[("Authorization", &bearer)]).await.expect(200, "allowed");
}

#[tokio::test]
async fn t_e9_the_last_good_set_serves_on_whatever_the_issuer_says() {
    let stranger = &Signer::new("test", "EdDSA");
    let elsewhere = StandIn::start(FREE, set(&[stranger])).await;
    let cases = [
        http("500 Internal Server Error", "", ""),
        http("404 Not Found", "", &set(&[stranger])),
        http("200 OK", "", "<html>"),
        http("200 OK", "", "{\"keys\": []}"),
        http("200 OK", "", &format!("{{\"keys\": [], \"pad\": \"{}\"}}", "x".repeat(2 * 1024 * 1024))),
        http("302 Found", &format!("Location: http://{}/jwks\r\n", elsewhere.address), ""),
        "nonsense\r\n\r\n".to_owned(),
    ];
    let serves_on = cases.iter().map(async |bad| {
        let issuer = StandIn::start(FREE, set(&[&KEY])).await;
        let gate = Gate::start(&config(issuer.address));
        within("the first keys", async || status(&gate, &KEY).await == 200).await;
        issuer.says(bad.clone());
        within("a failure in the log", async || gate.log().contains("keys cannot be fetched")).await;
        assert_eq!(status(&gate, &KEY).await, 200, "{}", &bad[..40.min(bad.len())]);
        assert_eq!(status(&gate, stranger).await, 401);
        let age = gate.metric(AGE).await;
        within("a failure counted", async || gate.metric(&fetches("failed")).await > Some(0.0)).await;
        assert!(age > Some(0.0) && gate.metric(AGE).await > age, "what is not replaced ages");
        assert_eq!(gate.admin_get("/ready").await.status, 200);
        drop(issuer);
        assert_eq!(status(&gate, &KEY).await, 200);
    });
    futures_util::future::join_all(serves_on).await;
    assert_eq!(elsewhere.asked().len(), 0, "redirects are not followed");
}

#[tokio::test]
async fn a_fetched_set_replaces_the_last_one_whole() {
    let issuer = StandIn::start(FREE, set(&[&KEY])).await;
    let gate = Gate::start(&config(issuer.address));
    within("the first keys", async || status(&gate, &KEY).await == 200).await;
    let new = Signer::new("new", "ES256");
    issuer.says(set(&[&KEY, &new]));
    within("both keys", async || status(&gate, &new).await == 200).await;
    assert_eq!(status(&gate, &KEY).await, 200);
    issuer.says(set(&[&new]));
    within("the old key is gone", async || status(&gate, &KEY).await == 401).await;
    assert_eq!(status(&gate, &new).await, 200, "a cached token of a key that is still there holds");
    let stale = "portcullis_cache_removals_total{cache=\"verified_tokens\",cause=\"stale\"}";
    assert!(gate.metric(stale).await > Some(0.0), "the other was thrown away");
}

#[test]
fn a_url_that_strangers_could_answer_refuses_to_start() {
    for (url, more, wanted) in [
        ("http://id.example/jwks", "", "this is not https"),
        ("file:///etc/passwd", "", "this is not https"),
        ("id.example/jwks", "", "this is no URL"),
        ("https://user:hunter2@id.example/jwks", "", "the URL holds a credential"),
        ("https://id.example/jwks", "\n      ca_file: none.pem", "none.pem cannot be read"),
        ("https://id.example/jwks", "\n      jwks_file: jwks.json", "more than one source of keys"),
        ("https://id.example/jwks", "\n      refresh: 0s", "no sensible time"),
    ] {
        let keys = format!("jwks_url: \"{url}\"{more}");
        let (code, text) = Config::shop().edit("jwks_file: jwks.json", &keys).check();
        assert_eq!(code, 64, "{url}");
        assert!(text.contains(wanted) && !text.contains("hunter2"), "{url}: {text}");
    }
    let (code, text) = Config::shop().edit("jwks_file: jwks.json", "jwks_file: jwks.json\n      refresh: 5s").check();
    assert_eq!(code, 64);
    assert!(text.contains("nothing is fetched"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_inspected_with_fetched_keys_only_if_one_says_so() {
    let issuer = StandIn::start(FREE, set(&[&KEY])).await;
    let folder = config(issuer.address).write();
    let token = KEY.token(&claims(json!({})));
    let verdict = |arguments: &[&str]| {
        let output = inspect(folder.path(), &token, arguments);
        (output.status.code(), String::from_utf8(output.stdout).unwrap().lines().last().unwrap().to_owned())
    };
    let (code, line) = verdict(&[]);
    assert_eq!((code, issuer.asked().len()), (Some(1), 0), "nobody is asked");
    assert!(line.starts_with("verdict: keys_unavailable - ") && line.contains("say --fetch"), "{line}");
    let (code, line) = verdict(&["--fetch"]);
    assert_eq!((code, issuer.asked().len()), (Some(0), 1), "{line}");
    issuer.says(http("500 Internal Server Error", "", ""));
    let output = inspect(folder.path(), &token, &["--fetch"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("keys cannot be fetched: "), "{output:?}");
}
