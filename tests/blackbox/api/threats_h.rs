//! How services of this kind were kept from answering others. T-H2 stands in `keys`; T-H3 in `limits`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::probe::{DIALECTS, Dialect, Kept, Probe};
use crate::support::gate::{Config, Gate, KEY, claims, token};

/// A demand of each kind that looks through what a token holds, and paths of each kind of pattern.
const POLICY: &str = "\
rules:
  - {id: any, hosts: [shop.localhost], paths: ['/products/**'], allow: authenticated}
  - {id: roles, hosts: [shop.localhost], paths: ['/roles'], allow: {roles: {all: [user, last]}}}
  - {id: groups, hosts: [shop.localhost], paths: ['/groups'], allow: {claims: [{claim: groups, contains: last}]}}
  - {id: deep, hosts: [shop.localhost], paths: ['/deep/{a}/{b}/{c}', '/deep/{a}/x/{c}/**', '/deep/x/{b}/**'], allow: authenticated}
";

/// How much longer than a usual decision a large one may take, on the same machine in the same minute. The largest head is 128 KiB,
/// 200 times a usual one, and takes 20 times as long; what grew with its square would take 40 000 times.
const MOST_TIMES: u64 = 100;

/// How long a usual decision took, at least: shorter ones are told in whole microseconds.
const SHORTEST_US: u64 = 20;

/// The token with `many` groups, or roles, the last of which is `last`. Each has a comma, which is three bytes in a header.
fn crowd(claim: &str, many: usize) -> String {
    let mut names: Vec<String> = (0..many).map(|place| format!(",{place:x}")).collect();
    names.extend(["user".to_owned(), "last".to_owned()]);
    KEY.token(&claims(json!({claim: names})))
}

/// The largest crowd whose token is still taken.
fn fullest(claim: &str) -> String {
    let size =
        (0..10_000).step_by(50).take_while(|many| crowd(claim, *many).len() <= 16 * 1024).last().expect("some fit");
    assert!(size > 1000, "{size}");
    crowd(claim, size)
}

/// The median of the decision's own time, in microseconds.
async fn median_us(gate: &Gate, probe: &Probe, status: u16, reason: &str) -> u64 {
    let mut times = Vec::new();
    for _ in 0..9 {
        let answer = probe.ask(gate).await;
        answer.expect(status, reason);
        times.push(answer.audit["us"].as_u64().expect("a time"));
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// What a client can make large: each with the answer that it must have.
fn large(dialect: Dialect, good: &str) -> Vec<(&'static str, Probe, u16, &'static str)> {
    let probe = || Probe::new(dialect);
    let cookies = |count: usize, size: usize| {
        (0..count).map(|place| format!("c{place}={}", "v".repeat(size))).collect::<Vec<_>>().join("; ")
    };
    let lines = |count: usize| (0..count).fold(probe(), |probe, place| probe.header("Cookie", format!("c{place}=v")));
    let kib = 64 * 1024;
    vec![
        ("64 KiB in one header", probe().bearer(good).header("X-Pad", "p".repeat(kib)), 200, "allowed"),
        (
            "64 KiB in sixty headers",
            (0..60)
                .fold(probe().bearer(good), |probe, place| probe.header(&format!("X-Pad-{place}"), "p".repeat(1080))),
            200,
            "allowed",
        ),
        ("200 cookies", probe().header("Cookie", format!("{}; jwt={good}", cookies(200, 300))), 200, "allowed"),
        ("5000 cookies", probe().header("Cookie", format!("{}; jwt={good}", cookies(5000, 5))), 200, "allowed"),
        ("80 cookie headers", lines(80).cookie(good), 200, "allowed"),
        ("cookies of no name", probe().header("Cookie", format!("{}jwt={good}", ";".repeat(kib))), 200, "allowed"),
        ("cookies of nearly its name", probe().header("Cookie", "jwtx=;jw=;".repeat(kib / 10)), 401, "no_credential"),
        ("cookies of its name", probe().header("Cookie", "jwt=;".repeat(kib / 5)), 400, "doubled_credential"),
        (
            "a bearer of commas",
            probe().header("Authorization", format!("Bearer {}", ",".repeat(kib))),
            401,
            "malformed_credential",
        ),
        (
            "another scheme of commas",
            probe().header("Authorization", format!("Basic {}", ", b".repeat(kib / 3))),
            401,
            "no_credential",
        ),
        (
            "a bearer of dots",
            probe().header("Authorization", format!("Bearer {}", ".".repeat(kib))),
            401,
            "token_too_large",
        ),
        (
            "a bearer of blanks",
            probe().header("Authorization", format!("Bearer {} {good}", " ".repeat(kib))),
            200,
            "allowed",
        ),
        (
            "our own proxies, 6000 of them",
            probe().bearer(good).instead("X-Forwarded-For", vec!["127.0.0.1"; 6000].join(",")),
            200,
            "allowed",
        ),
        (
            "a client of commas",
            probe().bearer(good).instead("X-Forwarded-For", ",".repeat(kib)),
            400,
            "malformed_client",
        ),
        (
            "a path of 4000 segments",
            probe().bearer(good).uri(format!("/products{}", "/a".repeat(4000))),
            200,
            "allowed",
        ),
        (
            "a path that fits nearly",
            probe().bearer(good).uri(format!("/deep/x/y{}", "/x".repeat(4000))),
            200,
            "allowed",
        ),
        ("a path of escapes", probe().bearer(good).uri(format!("/products/{}", "%61".repeat(2700))), 200, "allowed"),
        (
            "a path of wide letters",
            probe().bearer(good).uri(format!("/products/{}", "%F0%9D%94%98".repeat(600))),
            400,
            "ambiguous_path",
        ),
        (
            "a path of marks",
            probe().bearer(good).uri(format!("/products/a{}", "%CC%81%CC%A3".repeat(650))),
            400,
            "ambiguous_path",
        ),
        ("a query of 8 KiB", probe().bearer(good).uri(format!("/products?{}", "&".repeat(8000))), 200, "allowed"),
        ("an id of 64 KiB", probe().bearer(good).header("X-Request-ID", "i".repeat(kib)), 200, "allowed"),
        ("a host of 64 KiB", probe().bearer(good).host("h.".repeat(kib / 2)), 400, "malformed_host"),
        (
            "an original URL of 64 KiB",
            probe().bearer(good).header("X-Original-URL", "/".repeat(kib)),
            400,
            "conflicting_uri",
        ),
    ]
}

#[tokio::test]
async fn t_h1_large_requests_cost_what_they_are_long() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    let good = token("alice", &["user"]);
    for dialect in [Dialect::Traefik, Dialect::Envoy] {
        let usual = median_us(&gate, &Probe::new(dialect).bearer(&good), 200, "allowed").await.max(SHORTEST_US);
        for (what, probe, status, reason) in large(dialect, &good) {
            let took = median_us(&gate, &probe, status, reason).await;
            assert!(took < usual * MOST_TIMES, "{what}: {took} us, a usual one {usual} us");
        }
    }
}

#[tokio::test]
async fn t_h1_ten_thousand_groups_are_refused_and_as_many_as_fit_are_searched() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    let (groups, roles) = (fullest("groups"), fullest("roles"));
    for dialect in DIALECTS {
        let usual = KEY.token(&claims(json!({"sub": format!("new-to-{dialect:?}")})));
        let usual = Probe::new(dialect).bearer(&usual).ask(&gate).await;
        // The first sight of a token is the dear one: its signature is checked.
        let usual = usual.expect(200, "allowed").audit["us"].as_u64().expect("a time").max(SHORTEST_US);
        for (many, claim) in [(10_000, "groups"), (10_000, "roles")] {
            let answer = Probe::new(dialect).uri("/groups").bearer(&crowd(claim, many)).ask(&gate).await;
            answer.expect(401, "token_too_large");
        }
        for (path, token, reason) in [
            ("/groups", &groups, "allowed"),
            // A token that is good, and a list that fits into no header: refused, not cut.
            ("/roles", &roles, "identity_too_large"),
            ("/roles", &groups, "missing_role"),
            ("/groups", &roles, "claim_mismatch"),
        ] {
            for round in 0..2 {
                let answer = Probe::new(dialect).uri(path).bearer(token).ask(&gate).await;
                answer.expect(if reason == "allowed" { 200 } else { 403 }, reason);
                let took = answer.audit["us"].as_u64().expect("a time");
                assert!(took < usual * MOST_TIMES, "{path} {reason} round {round}: {took} us, a usual one {usual} us");
            }
        }
    }
    // Odd shapes of as many members as fit: doubled names, nesting, one long text, numbers.
    let mut members = claims(json!({}));
    for place in 0..900 {
        members[format!("m{place:x}")] = json!(place);
    }
    let text = members.to_string();
    let doubled = text.replacen("{", "{\"m1\":1,", 1);
    let nested = format!("{},\"n\":{}1{}}}", &text[..text.len() - 1], "[".repeat(1000), "]".repeat(1000));
    let long = json!({"x": "\\u0041".repeat(1500)}).to_string().replace("\\\\u", "\\u");
    let long = format!("{},{}", &claims(json!({})).to_string().trim_end_matches('}'), &long[1..]);
    let header = KEY.header().to_string();
    for (what, claims, status, reason) in [
        ("members", &text, 200, "allowed"),
        ("a doubled one", &doubled, 401, "malformed_token"),
        ("nesting", &nested, 401, "malformed_token"),
        ("escapes", &long, 200, "allowed"),
    ] {
        let token = KEY.sign_text(&header, claims);
        assert!(token.len() <= 16 * 1024, "{what}: {}", token.len());
        let usual = Probe::traefik().bearer(&KEY.token(&self::claims(json!({"jti": what})))).ask(&gate).await;
        let usual = usual.expect(200, "allowed").audit["us"].as_u64().expect("a time").max(SHORTEST_US);
        let answer = Probe::traefik().bearer(&token).ask(&gate).await;
        answer.expect(status, reason);
        let took = answer.audit["us"].as_u64().expect("a time");
        assert!(took < usual * MOST_TIMES, "{what}: {took} us, a usual one {usual} us");
    }
}

/// The requests of a flood: large ones, and tokens that are all different, signed and not.
fn flood(round: usize, good: &str) -> Vec<Vec<u8>> {
    let new = |changes: Value| KEY.token(&claims(changes));
    let mut requests = Vec::new();
    for place in 0..10 {
        for dialect in [Dialect::Traefik, Dialect::Envoy] {
            let probe = || Probe::new(dialect);
            let id = format!("{round}-{place}-{dialect:?}");
            requests.push(probe().bearer(&new(json!({"sub": id, "pad": "p".repeat(9000)}))).kept());
            requests.push(probe().bearer(&format!("{}{id}", "x.".repeat(4000))).kept());
            let forged = new(json!({"sub": id}));
            requests.push(probe().bearer(&format!("{}AAAA", &forged[..forged.len() - 4])).kept());
        }
    }
    requests.extend(large(Dialect::Traefik, good).into_iter().map(|(_, probe, ..)| probe.kept()));
    requests.extend(large(Dialect::Envoy, good).into_iter().map(|(_, probe, ..)| probe.kept()));
    requests
}

async fn send(gate: &Gate, requests: &[Vec<u8>]) {
    let mut kept = Kept::connect(gate).await;
    for request in requests {
        kept.write(request).await;
        let (status, head, _) = kept.answer().await.expect("an answer");
        assert!((200..500).contains(&status), "{head}");
    }
}

#[tokio::test]
async fn t_h1_floods_leave_no_memory_behind_and_others_are_answered() {
    let config = Config::with_policy(POLICY).edit(
        "\nshutdown:",
        "\nstores: {verified_tokens: {max_mebibytes: 2}}\naudit: {to: file, file: audit.log}\nshutdown:",
    );
    let gate = Gate::start(&config);
    let good = token("alice", &["user"]);
    let mut after = Vec::new();
    for round in 0..10 {
        let floods: Vec<_> = (0..4).map(|connection| flood(round * 4 + connection, &good)).collect();
        let others = async {
            let mut kept = Kept::connect(&gate).await;
            let mut times = Vec::new();
            for _ in 0..50 {
                let started = Instant::now();
                kept.write(&Probe::envoy().bearer(&good).kept()).await;
                assert_eq!(kept.answer().await.expect("an answer").0, 200);
                times.push(started.elapsed());
            }
            times.sort_unstable();
            times[times.len() / 2]
        };
        let (usual, ..) =
            tokio::join!(others, futures_util::future::join_all(floods.iter().map(|requests| send(&gate, requests))));
        // Proxies give up after a second.
        assert!(usual < Duration::from_secs(1), "another client waits {usual:?}");
        after.push(gate.resident_bytes() / 1024);
    }
    // The cache fills up and buffers grow to their size; after that nothing is added.
    let (early, late) = (after[4], after[9]);
    assert!(late < early + early / 10 + 2048, "it grows: {after:?} KiB");
    assert!(late < 128 * 1024, "{after:?} KiB");
    assert_eq!(gate.metric("portcullis_audit_lines_dropped_total").await, Some(0.0));
}
