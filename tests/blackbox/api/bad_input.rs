//! What no well-behaved proxy sends: a clear refusal each, never an error of ours, and the gate goes on.

use std::time::{Duration, Instant};

use super::probe::{BOTH, BY_THE_PARSER, Kept, Probe, counted, together};
use crate::support::gate::{Config, Gate, token};
use crate::support::raw;

/// Nothing is open here: whatever is let in without a credential is a hole.
const CLOSED: &str = "rules:\n  - {id: closed, hosts: ['*'], paths: ['/**'], allow: authenticated}\n";

/// The gate still decides as it should, and nothing in it has panicked.
async fn is_well(gate: &Gate) {
    for dialect in BOTH {
        Probe::new(dialect).uri("/products").ask(gate).await.expect(401, "no_credential");
        Probe::new(dialect).uri("/products").bearer(&token("alice", &["user"])).ask(gate).await.expect(200, "allowed");
    }
    assert_eq!(gate.admin_get("/health").await.status, 200);
    assert!(!gate.log().contains("panicked"), "{}", gate.log());
}

/// The header lines of a good question in both dialects.
const FACTS: &str = "Host: shop.localhost\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Host: shop.localhost\r\nX-Forwarded-Uri: /health\r\nX-Forwarded-For: 203.0.113.7\r\n";

#[tokio::test]
async fn odd_request_lines_are_refused() {
    let gate = Gate::shop();
    let cases: [(&str, u16, &str); 26] = [
        ("CONNECT shop.localhost:443 HTTP/1.1", 400, "malformed_uri"),
        ("CONNECT /validate HTTP/1.1", 400, "malformed_uri"),
        ("CONNECT /envoy/validate/health HTTP/1.1", 400, "malformed_uri"),
        ("OPTIONS * HTTP/1.1", 404, "unknown_endpoint"),
        ("GET * HTTP/1.1", 404, "unknown_endpoint"),
        ("GET http://shop.localhost/validate HTTP/1.1", 400, "malformed_uri"),
        ("GET http://shop.localhost/envoy/validate/health HTTP/1.1", 400, "malformed_uri"),
        ("GET shop.localhost:80 HTTP/1.1", 400, "malformed_uri"),
        ("GET shop.localhost HTTP/1.1", 400, "malformed_uri"),
        ("GET validate HTTP/1.1", 400, "malformed_uri"),
        ("GET //validate HTTP/1.1", 404, "unknown_endpoint"),
        ("GET /validate HTTP/2.0", 400, BY_THE_PARSER),
        ("GET /validate HTTP/1.2", 400, BY_THE_PARSER),
        ("GET /validate HTTP/0.9", 400, BY_THE_PARSER),
        ("GET /validate http/1.1", 400, BY_THE_PARSER),
        ("GET /validate", 400, BY_THE_PARSER),
        ("GET  HTTP/1.1", 400, BY_THE_PARSER),
        ("/validate HTTP/1.1", 400, BY_THE_PARSER),
        ("GET /validate x HTTP/1.1", 400, BY_THE_PARSER),
        ("G\u{e9}T /validate HTTP/1.1", 400, BY_THE_PARSER),
        ("G,T /envoy/validate/health HTTP/1.1", 400, BY_THE_PARSER),
        ("get /envoy/validate/health HTTP/1.1", 400, "malformed_method"),
        ("GeT /envoy/validate/health HTTP/1.1", 400, "malformed_method"),
        ("TRACE /envoy/validate/health HTTP/1.1", 403, "no_rule"),
        ("OPTIONS /envoy/validate/health HTTP/1.1", 403, "no_rule"),
        ("PRI * HTTP/2.0", 400, BY_THE_PARSER),
    ];
    together(cases.iter().map(async |(line, status, reason)| {
        gate.exchange(format!("{line}\r\n{FACTS}Connection: close\r\n\r\n").as_bytes()).await.expect(*status, reason);
    }))
    .await;
    for bytes in [
        b"GET /envoy/validate/h\xc3\xa9 HTTP/1.1".as_slice(),
        b"GET /envoy/validate/\xff HTTP/1.1",
        b"GET /validate\x00 HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\xff\xff",
    ] {
        gate.exchange(&[bytes, b"\r\n", FACTS.as_bytes(), b"Connection: close\r\n\r\n"].concat())
            .await
            .expect(400, BY_THE_PARSER);
    }
    is_well(&gate).await;
}

#[tokio::test]
async fn odd_header_lines_are_refused() {
    let gate = Gate::shop();
    let cases: [&[u8]; 16] = [
        b"X-User-ID : root",
        b" X-User-ID: root",
        b"X-User-ID: a\r\n root",
        b"X-User-ID: a\r\n\troot",
        b"X-User-ID",
        b": root",
        b"X-User-ID: a\x00b",
        b"X-User-ID: a\x01b",
        b"X-User-ID: a\x7fb",
        b"X-User-ID: a\rb",
        b"X\xff: a",
        b"X-\xc3\xa9: a",
        b"X User: a",
        b"X(User): a",
        b"Content-Length: 1\r\nContent-Length: 1",
        b"Host: shop.localhost",
    ];
    together(cases.iter().map(async |line| {
        let bytes = [b"GET /validate HTTP/1.1\r\n", FACTS.as_bytes(), line, b"\r\nConnection: close\r\n\r\n"].concat();
        gate.exchange(&bytes).await.expect(400, BY_THE_PARSER);
    }))
    .await;
    // Bytes beyond ASCII in a value are legal, and nobody's matter where nobody reads them.
    for name in ["X-Note", "User-Agent", "Referer", "X-User-ID", "Accept"] {
        for dialect in BOTH {
            let probe = Probe::new(dialect).header(name, b"\xff\xfe \xc3\xa9");
            probe.ask(&gate).await.expect(401, "no_credential");
            probe.bearer(&token("alice", &["user"])).ask(&gate).await.expect(200, "allowed");
        }
    }
    // An odd id is replaced, not repeated.
    for id in [&b"\xff"[..], b"a b", b"\"}", b"a\xc3\xa9", b"", &[b'a'; 129]] {
        let answer = Probe::traefik().uri("/health").header("X-Request-ID", id).ask(&gate).await;
        let made = answer.header("x-request-id").expect("an id");
        assert!(made.len() == 32 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{answer:#?}");
    }
    let kept = Probe::traefik().uri("/health").header("X-Request-ID", "req-7f.3:a/b=@+_").ask(&gate).await;
    assert_eq!(kept.header("x-request-id"), Some("req-7f.3:a/b=@+_"));
    is_well(&gate).await;
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let gate = Gate::shop();
    let good = token("alice", &["user"]);
    for dialect in BOTH {
        let probe = || Probe::new(dialect).bearer(&good);
        probe().uri(format!("/products/{}", "a".repeat(8 * 1024 - 10))).ask(&gate).await.expect(200, "allowed");
        probe().uri(format!("/products/{}", "a".repeat(8 * 1024))).ask(&gate).await.expect(400, "malformed_uri");
        probe().uri(format!("/products?{}", "a".repeat(60 * 1024))).ask(&gate).await.expect(400, "malformed_uri");
        probe().method("A".repeat(32)).ask(&gate).await.expect(403, "no_rule");
        probe().method("A".repeat(33)).ask(&gate).await.expect(400, "malformed_method");
        probe().host(format!("{}.localhost", "a".repeat(300))).ask(&gate).await.expect(400, "malformed_host");
        probe().instead("X-Forwarded-For", "1".repeat(5000)).ask(&gate).await.expect(400, "malformed_client");
        // Ten thousand proxies before the client: only those that are ours are read.
        let chain = vec!["6.6.6.6"; 9000].join(",");
        probe().instead("X-Forwarded-For", format!("{chain},203.0.113.7")).ask(&gate).await.expect(200, "allowed");
        let answer = probe().instead("X-Forwarded-For", vec!["127.0.0.1"; 9000].join(",")).ask(&gate).await;
        assert_eq!((answer.status(), answer.audit["client"].as_str()), (200, Some("127.0.0.1")));
        Probe::new(dialect)
            .header("Authorization", format!("Bearer {}", ".".repeat(100_000)))
            .ask(&gate)
            .await
            .expect(401, "token_too_large");
        Probe::new(dialect)
            .header("Cookie", format!("jwt={}", ".".repeat(100_000)))
            .ask(&gate)
            .await
            .expect(401, "token_too_large");
        Probe::new(dialect)
            .header("Authorization", format!("Basic {}", "x".repeat(100_000)))
            .ask(&gate)
            .await
            .expect(401, "no_credential");
    }
    // Beyond what the parser takes.
    for (line, status) in [
        (format!("GET /envoy/validate/{}", "a".repeat(66_000)), 400),
        (format!("GET /validate?{}", "a".repeat(66_000)), 400),
        ("A".repeat(140_000), 431),
    ] {
        let bytes = format!("{line} HTTP/1.1\r\n{FACTS}Connection: close\r\n\r\n");
        gate.exchange(bytes.as_bytes()).await.expect(status, BY_THE_PARSER);
    }
    Probe::traefik().header("X-Pad", "p".repeat(200_000)).ask(&gate).await.expect(431, BY_THE_PARSER);
    Probe::traefik()
        .header("Cookie", format!("jwt={good}; {}", "a=b; ".repeat(30_000)))
        .ask(&gate)
        .await
        .expect(431, BY_THE_PARSER);
    is_well(&gate).await;
}

#[tokio::test]
async fn long_header_names_are_taken_or_refused() {
    let gate = Gate::shop();
    for size in [1000, 65_000, 65_535] {
        let answer = Probe::traefik().uri("/health").header(&"x".repeat(size), "y").ask(&gate).await;
        assert!(matches!(answer.status(), 200 | 400 | 431), "a name of {size} bytes: {answer:?}");
    }
    is_well(&gate).await;
}

/// The HTTP library panics at a header name of 64 KiB, which no proxy lets through (actix-http 3.20, `h1/decoder.rs`). It costs the
/// connection that sent it, and nobody else anything.
#[tokio::test]
async fn a_header_name_of_64_kib_ends_its_own_connection_only() {
    let gate = Gate::shop();
    let mut kept = Kept::connect(&gate).await;
    for size in [65_536, 70_000, 100_000] {
        let bytes = Probe::traefik().uri("/health").header(&"x".repeat(size), "y").bytes();
        let answer = raw::Client::plain(gate.decisions()).try_send(&bytes).await;
        let status = answer.as_ref().map(|response| response.status).ok();
        assert!(matches!(status, None | Some(400 | 431)), "a name of {size} bytes: {answer:?}");
        kept.write(&Probe::traefik().uri("/health").kept()).await;
        assert_eq!(kept.answer().await.expect("an answer").0, 200);
    }
    for _ in 0..20 {
        Probe::traefik().uri("/health").ask(&gate).await.expect(200, "allowed");
    }
}

#[tokio::test]
async fn two_hundred_cookies_are_read() {
    let gate = Gate::shop();
    let good = token("alice", &["user"]);
    let many = (0..200).map(|place| format!("c{place}={}", "v".repeat(50))).collect::<Vec<_>>().join("; ");
    for dialect in BOTH {
        let probe = || Probe::new(dialect).uri("/products");
        probe().header("Cookie", &many).ask(&gate).await.expect(401, "no_credential");
        probe().header("Cookie", format!("{many}; jwt={good}")).ask(&gate).await.expect(200, "allowed");
        probe().header("Cookie", format!("jwt={good}; {many}")).ask(&gate).await.expect(200, "allowed");
        probe()
            .header("Cookie", format!("jwt={good}; {many}; jwt={good}"))
            .ask(&gate)
            .await
            .expect(400, "doubled_credential");
        probe().header("Cookie", ";".repeat(10_000)).ask(&gate).await.expect(401, "no_credential");
        probe().header("Cookie", "=;".repeat(10_000)).ask(&gate).await.expect(401, "no_credential");
        // Each in a line of its own, as HTTP/2 has them.
        let lines = (0..80).fold(probe(), |probe, place| probe.header("Cookie", format!("c{place}=v")));
        lines.clone().ask(&gate).await.expect(401, "no_credential");
        lines.clone().cookie(&good).ask(&gate).await.expect(200, "allowed");
        lines.cookie(&good).cookie(&good).ask(&gate).await.expect(400, "doubled_credential");
    }
    is_well(&gate).await;
}

#[tokio::test]
async fn http_1_0_and_a_missing_host() {
    let gate = Gate::shop();
    let facts = FACTS.replace("Host: shop.localhost\r\nX-Forwarded-M", "X-Forwarded-M");
    let answer = gate.exchange(format!("GET /validate HTTP/1.0\r\n{facts}\r\n").as_bytes()).await;
    answer.expect(200, "allowed");
    gate.exchange(format!("GET /validate HTTP/1.0\r\n{FACTS}\r\n").as_bytes()).await.expect(200, "allowed");
    gate.exchange(format!("GET /validate HTTP/1.1\r\n{facts}Connection: close\r\n\r\n").as_bytes())
        .await
        .expect(400, BY_THE_PARSER);
    // Envoy's host is the Host: without it there is nothing to judge, and nothing stands in for it.
    gate.exchange(format!("GET /envoy/validate/health HTTP/1.0\r\n{facts}\r\n").as_bytes())
        .await
        .expect(400, "missing_forwarded");
    gate.exchange(format!("GET /envoy/validate/health HTTP/1.0\r\n{FACTS}\r\n").as_bytes())
        .await
        .expect(200, "allowed");
    gate.exchange(b"GET / HTTP/1.0\r\n\r\n").await.expect(404, "unknown_endpoint");
    is_well(&gate).await;
}

#[tokio::test]
async fn bodies_are_nobodys_matter_and_no_further_request() {
    let gate = Gate::shop();
    let good = token("alice", &["user"]);
    let probe = Probe::envoy().method("POST").uri("/orders").bearer(&good);
    let with = |lines: &str, body: &str| {
        let head = String::from_utf8(probe.bytes()).expect("text");
        format!("{}{lines}\r\n{body}", head.strip_suffix("\r\n").expect("an end")).into_bytes()
    };
    let inner = "GET /envoy/validate/health HTTP/1.1\r\nHost: shop.localhost\r\nX-Forwarded-For: 6.6.6.6\r\nX-Request-ID: smuggled\r\n\r\n";
    for (lines, body) in [
        ("Content-Length: 0\r\n".to_owned(), String::new()),
        ("Content-Length: 5\r\n".to_owned(), "hello".to_owned()),
        (format!("Content-Length: {}\r\n", inner.len()), inner.to_owned()),
        ("Content-Length: 1000000\r\n".to_owned(), "x".repeat(1_000_000)),
        ("Transfer-Encoding: chunked\r\n".to_owned(), "5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len())),
        // A body that is announced and never comes: nobody waits for it.
        ("Content-Length: 7\r\n".to_owned(), String::new()),
        ("Transfer-Encoding: chunked\r\n".to_owned(), String::new()),
        ("Transfer-Encoding: chunked\r\n".to_owned(), "zz\r\n".to_owned()),
        ("Content-Length: 7\r\nExpect: 100-continue\r\n".to_owned(), String::new()),
    ] {
        let started = Instant::now();
        gate.exchange(&with(&lines, &body)).await.expect(200, "allowed");
        assert!(started.elapsed() < Duration::from_secs(2), "it waited for a body: {lines:?}");
    }
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
    ] {
        gate.exchange(&with(lines, inner)).await.expect(400, BY_THE_PARSER);
    }
    // Neither were any of the bodies judged as questions, nor do those wait for the next one on a kept connection.
    let mut kept = Kept::connect(&gate).await;
    let head = String::from_utf8(probe.kept()).expect("text");
    let body = format!("{}Content-Length: {}\r\n\r\n{inner}", head.strip_suffix("\r\n").expect("an end"), inner.len());
    kept.write(body.as_bytes()).await;
    assert_eq!(kept.answer().await.expect("an answer").0, 200);
    kept.write(&Probe::traefik().kept()).await;
    if let Some((status, head, _)) = kept.answer().await {
        assert_eq!(status, 401, "{head}");
    }
    is_well(&gate).await;
    assert!(
        gate.audit().iter().all(|line| line["request_id"] != "smuggled" && line["client"] != "6.6.6.6"),
        "a body was judged"
    );
}

#[tokio::test]
async fn questions_in_one_go_are_answered_in_order() {
    let gate = Gate::shop();
    let good = token("alice", &["user"]);
    let mut kept = Kept::connect(&gate).await;
    let mut bytes = Vec::new();
    let mut wanted = Vec::new();
    for place in 0..60 {
        let dialect = BOTH[place % 2];
        let (probe, status) = match place % 3 {
            0 => (Probe::new(dialect).uri("/health"), 200),
            1 => (Probe::new(dialect), 401),
            _ => (Probe::new(dialect).uri("/products/admin").bearer(&good), 403),
        };
        bytes.extend(probe.header("X-Request-ID", format!("place-{place}")).kept());
        wanted.push((status, format!("x-request-id: place-{place}\r\n")));
    }
    kept.write(&bytes).await;
    for (status, id) in wanted {
        let (answered, head, _) = kept.answer().await.expect("an answer");
        assert_eq!((answered, head.contains(&id)), (status, true), "{head}");
    }
    is_well(&gate).await;
}

#[tokio::test]
async fn a_forwarded_handshake_is_decided_like_any_request() {
    let gate = Gate::shop();
    let good = token("alice", &["user"]);
    let upgrades = ["websocket", "WebSocket", "h2c", "TLS/1.0", "foo"];
    let cases: Vec<_> = BOTH.iter().flat_map(|dialect| upgrades.map(|upgrade| (*dialect, upgrade))).collect();
    together(cases.iter().map(async |(dialect, upgrade)| {
        let probe = || {
            Probe::new(*dialect)
                .header("Connection", "Upgrade, HTTP2-Settings")
                .header("Upgrade", upgrade)
                .header("HTTP2-Settings", "AAMAAABkAAQAAP__")
                .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
                .header("Sec-WebSocket-Version", "13")
        };
        // Not one of them is switched to another protocol.
        probe().ask(&gate).await.expect(401, "no_credential");
        probe().bearer(&good).ask(&gate).await.expect(200, "allowed");
        // What comes behind the handshake is no tunnel's content: it is a question, or nothing.
        let mut kept = Kept::connect(&gate).await;
        kept.write(&[probe().kept(), Probe::new(*dialect).kept()].concat()).await;
        assert_eq!(kept.answer().await.expect("an answer").0, 401);
        if let Some((status, head, _)) = kept.answer().await {
            assert_eq!(status, 401, "{head}");
        }
    }))
    .await;
    is_well(&gate).await;
}

/// Sends half a question and wants the connection to end, with 408 or without a word.
async fn ends(kept: &mut Kept) {
    let whole = Probe::traefik().uri("/health").kept();
    kept.write(&whole[..whole.len() / 2]).await;
    let end = async {
        while let Some((status, head, _)) = kept.answer().await {
            assert_eq!(status, 408, "{head}");
        }
    };
    tokio::time::timeout(Duration::from_secs(9), end)
        .await
        .expect("half a question does not hold a connection for ever");
}

#[tokio::test]
async fn half_a_question_is_given_up() {
    let gate = Gate::shop();
    let whole = Probe::traefik().uri("/health").kept();
    ends(&mut Kept::connect(&gate).await).await;
    // Whoever hangs up in the middle is missed by nobody.
    for size in [0, 1, 20, whole.len() - 1] {
        let mut kept = Kept::connect(&gate).await;
        kept.write(&whole[..size]).await;
        drop(kept);
    }
    is_well(&gate).await;
}

#[tokio::test]
async fn no_noise_lets_anybody_in() {
    let gate = Gate::start(&Config::with_policy(CLOSED));
    // The same noise in each run; another seed is another test.
    let mut random = fastrand::Rng::with_seed(20_260_601);
    let mut noise = Vec::new();
    for dialect in BOTH {
        let bytes = Probe::new(dialect)
            .uri("/orders/7")
            .header("Authorization", "Bearer a.b.c")
            .header("Cookie", "jwt=x")
            .bytes();
        // The end of the head stays: without it the gate rightly waits for more.
        let end = bytes.len() - "\r\nConnection: close\r\n\r\n".len();
        for round in 0..1500 {
            let mut noisy = bytes.clone();
            for _ in 0..=round % 4 {
                let place = random.usize(..end);
                match random.u8(..6) {
                    0 => noisy[place] = random.u8(..),
                    1 => noisy[place] ^= 1 << random.u8(..8),
                    2 => noisy[place] = b"/%.;#?:,@\r\n \t\0\"\\=&"[random.usize(..18)],
                    3 | 4 => noisy[place] = random.u8(b' '..=b'~'),
                    _ => noisy.swap(place, random.usize(..end)),
                }
            }
            noise.push(noisy);
        }
    }
    for _ in 0..100 {
        let size = random.usize(1..300);
        let mut line: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(size).collect();
        line.extend_from_slice(b"\r\n\r\n");
        noise.push(line);
    }
    let client = raw::Client::plain(gate.decisions());
    together(noise.iter().map(async |bytes| {
        // A connection that is closed without a word lets nobody in either.
        if let Ok(response) = client.try_send(bytes).await {
            let shown = bytes.escape_ascii();
            assert!((400..500).contains(&response.status), "{shown} {response:?}");
            assert_eq!(response.header("x-user-id"), None, "{shown} {response:?}");
        }
    }))
    .await;
    assert_eq!(counted(&gate, "outcome=\"allow\"").await, 0);
    let judged = counted(&gate, "outcome=\"deny\"").await;
    assert!(judged > 300, "of {} noises only {judged} were questions at all", noise.len());
    is_well(&gate).await;
}
