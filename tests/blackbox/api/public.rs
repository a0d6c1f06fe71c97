//! The public listener: until there are pages, nothing is there, and it says so in one way.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::probe::{Kept, Probe};
use crate::support::gate::{Config, Gate, token};
use crate::support::raw::{self, Client, Response};

/// The shop with a public listener on a free port.
fn config() -> Config {
    Config::shop().edit("listeners:\n", "listeners:\n  public: {address: 127.0.0.1:0}\n")
}

fn client(gate: &Gate) -> Client {
    Client::plain(gate.public().expect("a public listener"))
}

/// Nothing is there, nobody keeps the answer, and no browser makes anything else of it.
#[track_caller]
fn is_nothing(response: &Response) {
    assert_eq!(response.status, 404, "{response:?}");
    for (name, value) in [
        ("content-type", "application/problem+json"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ] {
        assert_eq!(response.header_all(name), [value], "{name}: {response:?}");
    }
    assert_eq!(response.header_all("x-request-id").len(), 1, "{response:?}");
    for name in ["server", "set-cookie", "location", "x-user-id", "allow", "access-control-allow-origin"] {
        assert_eq!(response.header(name), None, "{response:?}");
    }
}

#[test]
fn nobody_listens_for_browsers_until_that_is_configured() {
    let gate = Gate::shop();
    assert_eq!(gate.public(), None);
    assert!(gate.log().contains("\"listening\"") && !gate.log().contains("public"), "{}", gate.log());
}

#[tokio::test]
async fn every_path_and_every_method_is_404() {
    let gate = Gate::start(&config());
    let user = format!("Bearer {}", token("alice", &["user", "admin"]));
    let facts = [
        ("Authorization", &*user),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/"),
        ("X-Forwarded-Host", raw::HOST),
        ("X-Forwarded-For", "203.0.113.7"),
        ("Origin", "https://evil.example"),
        ("Access-Control-Request-Method", "GET"),
    ];
    // Everything that the other listeners serve, and what strangers try.
    let paths = [
        "/",
        "/validate",
        "/validate/authn",
        "/validate/authz",
        "/envoy/validate/",
        "/envoy/authn/",
        "/envoy/authz/products",
        "/nginx/validate",
        "/caddy/validate/authz",
        "/health",
        "/ready",
        "/metrics",
        "/fail",
        "/index.html",
        "/../admin",
        "//",
        "/%00",
        "/%zz",
        "/x?query=1",
        "/favicon.ico",
        "*",
    ];
    for path in paths {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "get"] {
            let response = client(&gate).send(raw::request(method, path, &facts, b"")).await;
            is_nothing(&response);
            let id = response.header("x-request-id").expect("an id");
            let wanted =
                json!({"title": "Not Found", "status": 404, "detail": "there is no such page", "request_id": id});
            assert_eq!(response.json(), wanted);
        }
        let response = client(&gate).send(raw::request("HEAD", path, &facts, b"")).await;
        is_nothing(&response);
        assert!(response.header("content-length").is_some_and(|length| length.parse::<usize>().is_ok_and(|l| l > 50)));
    }
    assert!(gate.audit().is_empty(), "nothing was decided: {:?}", gate.audit());
    // The other two are as they were.
    Probe::traefik().bearer(&user["Bearer ".len()..]).ask(&gate).await.expect(200, "allowed");
    assert_eq!(gate.admin_get("/ready").await.status, 200);
}

/// The answer comes before the body. Of what is sent all the same nothing is kept; one that has a length ends its connection soon
/// (the HTTP library reads on for a moment, so that the answer is not lost), one in chunks when it ends (see SECURITY.md).
#[tokio::test]
async fn a_body_is_neither_waited_for_nor_kept() {
    let gate = Gate::start(&config());
    is_nothing(&client(&gate).get("/", &[]).await);
    let before = gate.resident_bytes();
    let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
    for (announced, ends) in [("Content-Length: 1000000000000", true), ("Transfer-Encoding: chunked", false)] {
        let mut stream = client(&gate).connect().await.expect("a connection");
        let head = format!("POST /login HTTP/1.1\r\nHost: {}\r\n{announced}\r\n\r\n", raw::HOST);
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(3), stream.read_buf(&mut answer)).await;
        assert!(read.is_ok_and(|read| read.is_ok()) && answer.starts_with(b"HTTP/1.1 404 "), "{announced}");
        let started = Instant::now();
        let mut sent = 0;
        while stream.write_all(&chunk).await.is_ok() && (ends || sent < 256 * 1024 * 1024) {
            sent += chunk.len();
            assert!(started.elapsed() < Duration::from_secs(20), "{announced}: {sent} bytes were taken");
        }
        assert!(gate.resident_bytes() < before + 8 * 1024 * 1024, "{announced}: {} bytes", gate.resident_bytes());
    }
}

#[tokio::test]
async fn half_a_head_is_not_waited_for_for_ever() {
    let gate = Gate::start(&config());
    let mut stream = client(&gate).connect().await.expect("a connection");
    let started = Instant::now();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: sh").await.expect("sent");
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "the connection is still there after {:?}", started.elapsed());
    assert!(started.elapsed() > Duration::from_secs(3), "{:?}", started.elapsed());
    let text = String::from_utf8_lossy(&rest).into_owned();
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408 "), "{text}");
}

#[tokio::test]
async fn the_log_has_the_path_and_the_id_and_no_query() {
    let config = config().edit("\nshutdown:", "\nlog: {level: debug}\nshutdown:");
    let gate = Gate::start(&config);
    let headers =
        [("X-Request-ID", "public-1"), ("Authorization", "Bearer bearer-marker"), ("Cookie", "a=cookie-marker")];
    let response = client(&gate).get("/login?query-marker=1", &headers).await;
    assert_eq!(response.header("x-request-id"), Some("public-1"));
    let deadline = Instant::now() + Duration::from_secs(5);
    while !gate.log().contains("public-1") {
        assert!(Instant::now() < deadline, "{}", gate.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let log = gate.log();
    let line = log.lines().find(|line| line.contains("public-1")).expect("a line");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(
        (&line["span"]["path"], &line["span"]["method"], &line["span"]["status"]),
        (&json!("/login"), &json!("GET"), &json!(404))
    );
    assert!(!log.contains("marker"), "{log}");
    // An id that is no sane word is replaced, and so are two.
    for ids in [&["a b"][..], &["\"}<script>"], &["a", "b"], &[]] {
        let headers: Vec<_> = ids.iter().map(|id| ("X-Request-ID", *id)).collect();
        let response = client(&gate).get("/", &headers).await;
        is_nothing(&response);
        let id = response.header("x-request-id").expect("an id");
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{ids:?}: {id}");
    }
    // At the usual level strangers write nothing.
    let mut gate = Gate::start(&self::config());
    is_nothing(&client(&gate).get("/login", &[]).await);
    gate.signal("TERM");
    assert_eq!(gate.ended().await, 0);
    assert!(!gate.log().contains("/login"), "{}", gate.log());
}

#[tokio::test]
async fn it_ends_with_the_others() {
    let mut gate = Gate::start(&config().edit("{not_ready_for: 0s}", "{not_ready_for: 1s}"));
    let mut idle = Kept::at(gate.public().expect("a public listener")).await;
    idle.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(idle.answer().await.expect("an answer").0, 404);
    gate.signal("TERM");
    // As long as it is only not ready, it answers.
    is_nothing(&client(&gate).get("/", &[]).await);
    assert_eq!(gate.ended().await, 0);
    assert!(client(&gate).try_send(raw::request("GET", "/", &[], b"")).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn its_address_can_come_from_the_environment_and_must_be_free() {
    let gate = Gate::start(&Config::shop().env("PORTCULLIS__LISTENERS__PUBLIC__ADDRESS", "127.0.0.1:0"));
    is_nothing(&client(&gate).get("/", &[]).await);
    let (code, text) = Config::shop().env("PORTCULLIS__LISTENERS__PUBLIC__ADDRESS", "192.0.2.1:1").serve_fails();
    assert_eq!((code, text.contains("the public listener cannot have 192.0.2.1:1")), (1, true), "{text}");
    assert_eq!(config().check(), (0, "portcullis.yaml: good: 7 rules, 1 issuer\n".to_owned()));
}
