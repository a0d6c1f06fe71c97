//! Opaque tokens. The issuer here is a small server of the test's own, since it must misbehave at will.

mod providers;
mod revoking;
mod threats;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::support::gate::{Answer, Config, Gate, ISSUER, KEY, claims, now, within};
use crate::support::signer::Signer;
use crate::support::stand_in::FREE;

const SECRET: &str = "s3cret:of the gate+";
const CLIENT: &str = "gate:1";

/// What the server does about a token.
#[derive(Clone)]
enum Does {
    /// Answers with these bytes.
    Says(Vec<u8>),
    /// The same, so much later.
    SaysLate(Duration, Vec<u8>),
    /// The same, a byte at a time.
    SaysSlowly(Vec<u8>),
}

/// A question as it came.
#[derive(Clone, Debug)]
struct Asked {
    head: String,
    form: HashMap<String, String>,
}

#[derive(Default)]
struct Script {
    by_token: Mutex<HashMap<String, Does>>,
    documents: Mutex<HashMap<String, Vec<u8>>>,
    asked: Mutex<Vec<Asked>>,
    running: AtomicUsize,
    most: AtomicUsize,
}

/// An introspection endpoint that says of each token what it was told to, `{"active":false}` otherwise, and serves documents.
struct Issuer {
    address: SocketAddr,
    script: Arc<Script>,
    task: AbortHandle,
}

impl Issuer {
    async fn start() -> Self {
        Self::start_at(FREE, Arc::default()).await
    }

    async fn start_at(at: SocketAddr, script: Arc<Script>) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&script);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, script, task: task.abort_handle() }
    }

    fn does(&self, token: &str, does: Does) {
        self.script.by_token.lock().unwrap().insert(token.to_owned(), does);
    }

    /// Calls a token active, with these members.
    fn says(&self, token: &str, answer: &Value) {
        self.does(token, Does::Says(http("200 OK", &answer.to_string())));
    }

    fn asked(&self) -> Vec<Asked> {
        self.script.asked.lock().unwrap().clone()
    }

    /// How often it was asked about a token.
    fn asked_about(&self, token: &str) -> usize {
        self.asked().iter().filter(|asked| asked.form["token"] == token).count()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Script>) {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        if stream.read_buf(&mut bytes).await.unwrap_or_default() == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            break (head.to_owned(), length.unwrap_or(0_usize));
        }
    };
    let body_at = head.len() + 4;
    while bytes.len() < body_at + length {
        if stream.read_buf(&mut bytes).await.unwrap_or_default() == 0 {
            return;
        }
    }
    let path = head.split(' ').nth(1).unwrap().to_owned();
    if head.starts_with("GET ") {
        let document = script.documents.lock().unwrap().get(&path).cloned();
        stream.write_all(&document.unwrap_or_else(|| http("404 Not Found", ""))).await.ok();
        return;
    }
    let form = String::from_utf8(bytes[body_at..].to_vec()).unwrap();
    let form: HashMap<String, String> = Url::parse(&format!("x:?{form}"))
        .unwrap()
        .query_pairs()
        .map(|(k, v)| (k.into_owned(), v.into_owned()))
        .collect();
    let does = script.by_token.lock().unwrap().get(&form["token"]).cloned();
    script.asked.lock().unwrap().push(Asked { head, form });
    let running = script.running.fetch_add(1, Ordering::SeqCst) + 1;
    script.most.fetch_max(running, Ordering::SeqCst);
    // The gate may have hung up on an answer that is too long or too slow.
    match does.unwrap_or_else(|| Does::Says(http("200 OK", "{\"active\":false}"))) {
        Does::Says(answer) => drop(stream.write_all(&answer).await),
        Does::SaysLate(late, answer) => {
            tokio::time::sleep(late).await;
            stream.write_all(&answer).await.ok();
        }
        Does::SaysSlowly(answer) => {
            for byte in answer {
                if stream.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    script.running.fetch_sub(1, Ordering::SeqCst);
}

fn http(status: &str, body: &str) -> Vec<u8> {
    typed(status, "Content-Type: application/json\r\n", body)
}

fn typed(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

/// What a good issuer says of an active token of `subject`, with these members on top; `null` takes one away.
fn active(subject: &str, changes: Value) -> Value {
    let mut answer = claims(changes);
    answer["active"] = json!(true);
    answer.as_object_mut().unwrap().entry("token_type").or_insert(json!("Bearer"));
    if answer["token_type"] == "-" {
        answer.as_object_mut().unwrap().remove("token_type");
    }
    answer.as_object_mut().unwrap().entry("sub").and_modify(|sub| *sub = json!(subject));
    answer
}

/// The shop, whose issuer is asked; with `more` settings of that.
fn config(issuer: &Issuer, more: &str) -> Config {
    asking(Config::shop(), issuer, more)
}

fn asking(shop: Config, issuer: &Issuer, more: &str) -> Config {
    let asking = format!(
        "jwks_file: jwks.json\n    danger_allow_http_issuer: true\n    introspection:\n      url: \"http://{}/introspect\"\n      \
         client_id: \"{CLIENT}\"\n      client_secret_file: gate.secret\n{more}",
        issuer.address
    );
    shop.edit("jwks_file: jwks.json", &asking).file("gate.secret", &format!("{SECRET}\n"))
}

async fn ask(gate: &Gate, token: &str) -> Answer {
    ask_at(gate, "/products", token).await
}

async fn ask_at(gate: &Gate, path: &str, token: &str) -> Answer {
    gate.ask("GET", path, &[("Authorization", &format!("Bearer {token}"))]).await
}

async fn introspections(gate: &Gate, result: &str) -> f64 {
    let sample = format!("portcullis_introspections_total{{issuer=\"shop\",result=\"{result}\"}}");
    gate.metric(&sample).await.expect("a sample")
}

#[tokio::test]
async fn an_opaque_token_is_what_its_issuer_says() {
    let issuer = Issuer::start().await;
    issuer.says("Opaque.-_~+/1==", &active("alice", json!({"roles": ["user"], "tier": "pro", "iss": null})));
    let gate = Gate::start(&config(&issuer, ""));
    for _ in 0..10 {
        let answer = ask(&gate, "Opaque.-_~+/1==").await;
        answer.expect(200, "allowed");
        let identity = ["x-user-id", "x-user-role", "x-user-tier"].map(|name| answer.header(name).unwrap().to_owned());
        assert_eq!(identity, ["alice", "user", "pro"]);
    }
    for _ in 0..10 {
        ask(&gate, "unknown").await.expect(401, "inactive");
    }
    // A cookie may hold one as well.
    gate.ask("GET", "/products", &[("Cookie", "jwt=Opaque.-_~+/1==")]).await.expect(200, "allowed");
    // JWTs are not asked about, whatever they are; nor is what no bearer token looks like.
    ask(&gate, &KEY.token(&claims(json!({})))).await.expect(200, "allowed");
    ask(&gate, &Signer::new("test", "EdDSA").token(&claims(json!({})))).await.expect(401, "bad_signature");
    ask(&gate, &KEY.token(&claims(json!({"iss": "https://elsewhere"})))).await.expect(401, "unknown_issuer");
    ask(&gate, "quo\"te").await.expect(401, "malformed_token");
    ask(&gate, &"x".repeat(16 * 1024 + 1)).await.expect(401, "token_too_large");
    let asked = issuer.asked();
    assert_eq!(asked.iter().map(|asked| &*asked.form["token"]).collect::<Vec<_>>(), ["Opaque.-_~+/1==", "unknown"]);
    let Asked { head, form } = &asked[0];
    assert_eq!((form.len(), &*form["token_type_hint"]), (2, "access_token"));
    assert!(head.starts_with("POST /introspect HTTP/1.1\r\n"), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("accept: application/json") && head.contains("content-type: application/x-www-form-urlencoded")
    );
    let basic = asked[0].head.lines().find_map(|line| line.split_once("asic ")).expect("basic").1;
    assert_eq!(STANDARD.decode(basic).unwrap(), b"gate%3A1:s3cret%3Aof+the+gate%2B");
    let counts = [introspections(&gate, "active").await, introspections(&gate, "inactive").await];
    assert_eq!(counts, [1.0, 1.0]);

    let gate = Gate::start(&config(&issuer, "      auth: post\n"));
    ask(&gate, "Opaque.-_~+/1==").await.expect(200, "allowed");
    let Asked { head, form } = issuer.asked().pop().unwrap();
    assert_eq!((&*form["client_id"], &*form["client_secret"]), (CLIENT, SECRET));
    assert!(!head.to_ascii_lowercase().contains("authorization"), "{head}");
    // Without anybody to ask it is nothing.
    ask(&Gate::shop(), "Opaque.-_~+/1==").await.expect(401, "malformed_token");
}

#[tokio::test]
async fn answers_are_believed_for_a_while() {
    let issuer = Issuer::start().await;
    let gate = Gate::start(&config(&issuer, "      max_age: 2s\n      negative_max_age: 1s\n"));
    issuer.says("a", &active("alice", json!({"exp": null})));
    ask(&gate, "a").await.expect(200, "allowed");
    ask(&gate, "b").await.expect(401, "inactive");
    issuer.says("b", &active("bob", json!({})));
    issuer.says("a", &json!({"active": false}));
    ask(&gate, "a").await.expect(200, "allowed");
    ask(&gate, "b").await.expect(401, "inactive");
    assert_eq!(issuer.asked().len(), 2);
    within("the new token is known", async || ask(&gate, "b").await.status() == 200).await;
    within("the revoked token is refused", async || ask(&gate, "a").await.status() == 401).await;
    assert_eq!((issuer.asked_about("a"), issuer.asked_about("b")), (2, 2));
    // `exp` ends it sooner, and then nobody needs to be asked.
    let gate = Gate::start(&config(&issuer, "").edit("audiences: [shop]", "audiences: [shop]\n    leeway: 0s"));
    issuer.says("short", &active("alice", json!({"exp": now() + 2})));
    ask(&gate, "short").await.expect(200, "allowed");
    within("it has expired", async || ask(&gate, "short").await.reason() == "expired").await;
    assert_eq!(issuer.asked_about("short"), 1);
}

#[tokio::test]
async fn a_slow_answer_is_not_waited_for_and_serves_the_next() {
    let issuer = Issuer::start().await;
    let gate = Gate::start(&config(&issuer, ""));
    let answer = http("200 OK", &active("alice", json!({})).to_string());
    issuer.does("slow", Does::SaysLate(Duration::from_millis(1200), answer));
    let start = Instant::now();
    ask(&gate, "slow").await.expect(503, "introspection_failed");
    assert!((300..1000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    within("the answer", async || ask(&gate, "slow").await.status() == 200).await;
    assert_eq!(issuer.asked_about("slow"), 1);
}

#[tokio::test]
async fn a_dead_issuer_costs_nobody_any_time_and_what_is_known_holds() {
    let issuer = Issuer::start().await;
    let gate = Gate::start(&config(&issuer, "      max_age: 3s\n"));
    issuer.says("alice", &active("alice", json!({})));
    let known = Instant::now();
    ask(&gate, "alice").await.expect(200, "allowed");
    let (address, script) = (issuer.address, Arc::clone(&issuer.script));
    drop(issuer);
    for token in ["a", "b", "c", "d", "e", "f"] {
        let start = Instant::now();
        ask(&gate, token).await.expect(503, "introspection_failed");
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    let failed = introspections(&gate, "failed").await;
    assert!((3.0..6.0).contains(&failed), "{failed}: after three it is left alone");
    assert!(introspections(&gate, "not_asked").await > 0.0);
    assert!(gate.log().contains("introspection failed"), "{}", gate.log());
    if known.elapsed() < Duration::from_secs(2) {
        ask(&gate, "alice").await.expect(200, "allowed");
    }
    within("the answer is old", async || ask(&gate, "alice").await.reason() == "introspection_failed").await;
    let _issuer = Issuer::start_at(address, script).await;
    within("it is back", async || ask(&gate, "alice").await.status() == 200).await;
    within("that is told", async || gate.log().contains("introspection works again")).await;
}

#[tokio::test]
async fn the_endpoint_is_where_the_metadata_says() {
    let issuer = Issuer::start().await;
    let base = format!("http://{}", issuer.address);
    let metadata =
        json!({"issuer": base, "jwks_uri": format!("{base}/jwks"), "introspection_endpoint": format!("{base}/i")});
    let document = |path: &str, value: &Value| {
        issuer.script.documents.lock().unwrap().insert(path.to_owned(), http("200 OK", &value.to_string()));
    };
    document("/.well-known/openid-configuration", &metadata);
    document("/jwks", &json!({"keys": [KEY.jwk()]}));
    issuer.says("a", &active("alice", json!({"iss": base})));
    let discovered = config(&issuer, "").edit("\n    keys:\n      jwks_file: jwks.json", "").edit(ISSUER, &base);
    let discovered = discovered.edit(&format!("      url: \"{base}/introspect\"\n"), "");
    let gate = Gate::start(&discovered);
    within("the first answer", async || ask(&gate, "a").await.status() == 200).await;
    assert!(issuer.asked()[0].head.starts_with("POST /i HTTP/1.1\r\n"));
    // A token that is asked about needs no keys; an endpoint that nobody may ask is not asked.
    let mut elsewhere = metadata.clone();
    elsewhere["introspection_endpoint"] = json!("http://169.254.169.254/i");
    document("/.well-known/openid-configuration", &elsewhere);
    document("/jwks", &Value::Null);
    let gate = Gate::start(&discovered);
    ask(&gate, "a").await.expect(503, "introspection_failed");
    within("that is told", async || gate.log().contains("introspection_endpoint")).await;
    document("/.well-known/openid-configuration", &metadata);
    within("asked without keys", async || ask(&gate, "a").await.status() == 200).await;
    assert_eq!(gate.admin_get("/ready").await.status, 503);
}

#[tokio::test]
async fn a_lightweight_jwt_is_asked_about_once_its_signature_is_good() {
    let issuer = Issuer::start().await;
    let gate = Gate::start(&config(&issuer, "      about: [jwt]\n"));
    let light = json!({"iss": ISSUER, "exp": now() + 60, "azp": "web"});
    let (token, forged) = (KEY.token(&light), Signer::new("test", "EdDSA").token(&light));
    for token in [&token, &forged] {
        issuer.says(token, &active("alice", json!({})));
    }
    ask(&gate, &token).await.expect(200, "allowed");
    ask(&gate, &token).await.expect(200, "allowed");
    ask(&gate, &forged).await.expect(401, "bad_signature");
    ask(&gate, "opaque").await.expect(401, "malformed_token");
    // Whole ones are asked about as well: what the issuer has taken back is refused.
    ask(&gate, &KEY.token(&claims(json!({})))).await.expect(401, "inactive");
    assert_eq!(issuer.asked().len(), 2);
    let without = Gate::start(&config(&issuer, ""));
    ask(&without, &token).await.expect(401, "wrong_audience");
    assert_eq!(issuer.asked().len(), 2);
}
