//! What operators see of a gate: health, readiness, metrics, the audit line, the end.

use std::collections::{BTreeSet, HashSet};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::probe::{BOTH, Dialect, Kept, Probe, Step, counted};
use crate::support::gate::{Config, Gate, KEY, PROGRAM, claims, token};
use crate::support::raw;

/// Runs the program with these arguments to its end.
fn run(arguments: &[&str]) -> (i32, String) {
    let output: Output = Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().expect("the program runs");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code().unwrap_or(-1), text)
}

fn healthcheck(gate: &Gate, more: &[&str]) -> (i32, String) {
    run(&[&["healthcheck", "--address", &gate.admin().to_string()], more].concat())
}

#[tokio::test]
async fn a_gate_is_healthy_and_ready_and_says_so() {
    let gate = Gate::shop();
    let health = gate.admin_get("/health").await;
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
    let ready = gate.admin_get("/ready").await;
    assert_eq!((ready.status, ready.json()), (200, json!({"status": "ready"})));
    assert_eq!(gate.metric("portcullis_ready").await, Some(1.0));
    for path in ["/", "/healthz", "/health/", "/Health", "/fail", "/health/x", "/metrics/x", "/validate"] {
        assert_eq!(gate.admin_get(path).await.status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let response = raw::send(gate.admin(), raw::request(method, "/fail", &[], b"")).await;
        assert_eq!(response.status, 404, "{method}");
        let response = raw::send(gate.admin(), raw::request(method, "/health", &[], b"")).await;
        assert!((404..=405).contains(&response.status), "{method} {response:?}");
    }
    assert_eq!(gate.admin_get("/health").await.status, 200);
    assert_eq!(healthcheck(&gate, &[]), (0, "ok\n".to_owned()));
    assert_eq!(healthcheck(&gate, &["--live"]), (0, "ok\n".to_owned()));
}

#[tokio::test]
async fn a_liveness_probe_can_be_rehearsed_where_that_is_allowed() {
    let gate = Gate::start(&Config::shop().edit("  admin:\n", "  admin:\n    danger_fault_endpoint: true\n"));
    assert_eq!(gate.admin_get("/health").await.status, 200);
    let response = raw::send(gate.admin(), raw::request("POST", "/fail", &[], b"")).await;
    assert_eq!(response.status, 200);
    let health = gate.admin_get("/health").await;
    assert_eq!((health.status, health.json()["status"].as_str()), (500, Some("failed")));
    let (code, text) = healthcheck(&gate, &["--live"]);
    assert_eq!((code, text.contains("answers 500")), (1, true), "{text}");
    // It is a rehearsal: nobody is refused because of it.
    assert_eq!(gate.admin_get("/ready").await.status, 200);
    Probe::traefik().bearer(&token("alice", &["user"])).ask(&gate).await.expect(200, "allowed");
    assert!(gate.log().contains("/fail was called"), "{}", gate.log());
    assert_eq!(gate.admin_get("/fail").await.status, 200);
    assert_eq!(gate.admin_get("/health").await.status, 500);
}

#[tokio::test]
async fn the_metrics_count_what_was_decided() {
    let gate = Gate::shop();
    let user = token("alice", &["user"]);
    for (dialect, times) in [(Dialect::Traefik, 3), (Dialect::Envoy, 2)] {
        for _ in 0..times {
            Probe::new(dialect).bearer(&user).ask(&gate).await.expect(200, "allowed");
            Probe::new(dialect).ask(&gate).await.expect(401, "no_credential");
        }
        Probe::new(dialect).uri("/nowhere").ask(&gate).await.expect(403, "no_rule");
    }
    gate.send("GET", "/nothing", &[]).await.expect(404, "unknown_endpoint");
    for (labels, count) in [
        ("outcome=\"allow\",reason=\"allowed\",dialect=\"traefik\"", 3),
        ("outcome=\"allow\",reason=\"allowed\",dialect=\"envoy\"", 2),
        ("outcome=\"deny\",reason=\"no_credential\",dialect=\"traefik\"", 3),
        ("outcome=\"deny\",reason=\"no_credential\",dialect=\"envoy\"", 2),
        ("outcome=\"deny\",reason=\"no_rule\",dialect=\"envoy\"", 1),
        ("outcome=\"deny\",reason=\"unknown_endpoint\",dialect=\"none\"", 1),
        ("outcome=\"allow\",dialect=\"none\"", 0),
        ("outcome=\"allow\"", 5),
        ("outcome=\"deny\"", 8),
        ("outcome=\"deny\",reason=\"allowed\"", 0),
    ] {
        assert_eq!(counted(&gate, labels).await, count, "{labels}");
    }
    let text = gate.admin_get("/metrics").await.text();
    assert_eq!(gate.metric("portcullis_decision_seconds_count").await, Some(13.0));
    assert_eq!(gate.metric("portcullis_decision_seconds_bucket{le=\"+Inf\"}").await, Some(13.0));
    assert!(gate.metric("portcullis_decision_seconds_sum").await.is_some_and(|sum| sum > 0.0 && sum < 13.0), "{text}");
    assert_eq!(gate.metric("portcullis_audit_lines_dropped_total").await, Some(0.0));
    assert_eq!(gate.metric("portcullis_ready").await, Some(1.0));
    // Nothing of any request is in there.
    for word in ["alice", "shop.localhost", "/products", "203.0.113.7"] {
        assert!(!text.contains(word), "{word} {text}");
    }
}

/// The members of an audit line.
const MEMBERS: [&str; 17] = [
    "client",
    "decision",
    "dialect",
    "step",
    "host",
    "issuer",
    "method",
    "path",
    "peer",
    "raw_path",
    "reason",
    "request_id",
    "rule",
    "status",
    "subject",
    "time",
    "us",
];

fn shape(line: &Value) -> BTreeSet<&str> {
    line.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_audit_line_tells_who_asked_what_and_how_it_ended() {
    let gate = Gate::shop();
    let user = token("alice", &["user"]);
    for (dialect, name) in [(Dialect::Traefik, "traefik"), (Dialect::Envoy, "envoy")] {
        let probe = || {
            Probe::new(dialect)
                .method("DELETE")
                .host("Shop.LOCALHOST:8443")
                .instead("X-Forwarded-For", "6.6.6.6, 203.0.113.9")
        };
        let cases = [
            (
                probe().uri("/orders/%37?secret=1").bearer(&user),
                json!([
                    "allow",
                    "allowed",
                    200,
                    "orders",
                    "alice",
                    "shop",
                    "DELETE",
                    "shop.localhost",
                    "/orders/7",
                    "203.0.113.9"
                ]),
            ),
            (
                probe().uri("/health"),
                json!([
                    "allow",
                    "allowed",
                    200,
                    "open",
                    null,
                    null,
                    "DELETE",
                    "shop.localhost",
                    "/health",
                    "203.0.113.9"
                ]),
            ),
            (
                probe().uri("/orders").bearer("x"),
                json!([
                    "deny",
                    "malformed_token",
                    401,
                    "orders",
                    null,
                    null,
                    "DELETE",
                    "shop.localhost",
                    "/orders",
                    "203.0.113.9"
                ]),
            ),
            (
                probe().uri("/products/admin").bearer(&user),
                json!([
                    "deny",
                    "missing_role",
                    403,
                    "products-admin",
                    "alice",
                    "shop",
                    "DELETE",
                    "shop.localhost",
                    "/products/admin",
                    "203.0.113.9"
                ]),
            ),
            (
                probe().uri("/nowhere").bearer(&user),
                json!([
                    "deny",
                    "no_rule",
                    403,
                    null,
                    null,
                    null,
                    "DELETE",
                    "shop.localhost",
                    "/nowhere",
                    "203.0.113.9"
                ]),
            ),
            (probe().uri("/a//b"), json!(["deny", "ambiguous_path", 400, null, null, null, null, null, null, null])),
        ];
        for (probe, wanted) in cases {
            let before = std::time::SystemTime::now();
            let line = probe.ask(&gate).await.audit;
            assert_eq!(shape(&line), BTreeSet::from(MEMBERS), "{line}");
            let told =
                ["decision", "reason", "status", "rule", "subject", "issuer", "method", "host", "path", "client"]
                    .map(|member| line[member].clone());
            assert_eq!(json!(told), wanted, "{line}");
            assert_eq!(line["dialect"], name);
            assert!(line["us"].as_u64().is_some_and(|us| us < 5_000_000), "{line}");
            let time = line["time"].as_str().expect("a text");
            assert!(time.len() == 27 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
            let since = before.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
            let hour = since / 3600 % 24;
            assert!(
                [hour, (hour + 1) % 24].map(|hour| format!("{hour:02}")).contains(&time[11..13].to_owned()),
                "{time} at {hour} o'clock"
            );
        }
    }
    let line = gate.send("GET", "/nothing?secret=1", &[]).await.audit;
    assert_eq!((shape(&line), &line["dialect"]), (BTreeSet::from(MEMBERS), &Value::Null));
    for (step, name) in [(Step::Validate, "validate"), (Step::Authn, "authn"), (Step::Authz, "authz")] {
        let audit = Probe::traefik().step(step).ask(&gate).await.audit;
        assert_eq!((&audit["reason"], &audit["step"]), (&json!("no_credential"), &json!(name)));
    }
}

#[tokio::test]
async fn neither_the_audit_line_nor_the_log_holds_a_credential_or_a_query() {
    // Trace shows what the libraries would tell, too.
    let gate = Gate::start(&Config::shop().edit("\nshutdown:", "\nlog: {level: trace}\nshutdown:"));
    let good = KEY.token(&claims(json!({"sub": "subject-in-the-clear", "email": "claim@marker.example"})));
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    for dialect in BOTH {
        for token in [&good, &forged, "not-a-token-but-a-marker"] {
            for step in [Step::Validate, Step::Authn, Step::Authz] {
                let probe = || Probe::new(dialect).step(step).uri("/products/7?query-marker=1");
                probe().bearer(token).header("X-Api-Key", "header-marker").ask(&gate).await;
                probe().cookie(token).ask(&gate).await;
                probe().header("Cookie", format!("other=cookie-marker; jwt={token}")).ask(&gate).await;
                probe().header("Authorization", "Basic basic-marker").ask(&gate).await;
                probe().bearer(token).bearer(token).ask(&gate).await.expect(400, "doubled_credential");
                probe().uri("/%zz?query-marker=1").bearer(token).ask(&gate).await.expect(400, "malformed_uri");
            }
        }
        // What the parser refuses is not quoted either.
        Probe::new(dialect).bearer(&good).header("Bad Name", "x").ask(&gate).await.expect(400, "");
    }
    raw::send(
        gate.admin(),
        raw::request("GET", "/health?query-marker=1", &[("Authorization", "Bearer admin-marker")], b""),
    )
    .await;
    let audit = format!("{:?}", gate.audit());
    let log = gate.log();
    assert!(
        audit.contains("subject-in-the-clear") && log.contains("TRACE"),
        "the markers are looked for where they would be"
    );
    let parts: Vec<&str> = good.split('.').collect();
    let secrets = [
        parts[0],
        parts[1],
        parts[2],
        &forged[forged.len() - 40..],
        "not-a-token",
        "cookie-marker",
        "basic-marker",
        "header-marker",
        "admin-marker",
        "claim@marker",
    ];
    for secret in secrets {
        assert!(!audit.contains(secret), "`{secret}` is in the audit log");
        assert!(
            !log.contains(secret),
            "`{secret}` is in the log: {}",
            log.lines().find(|line| line.contains(secret)).unwrap_or_default()
        );
    }
    assert!(!audit.contains("query-marker"), "the audit log holds a query");
    // The admin listener's own target may be logged; the decision listener's may not.
    let leaks = log.lines().filter(|line| line.contains("query-marker") && !line.contains("/health"));
    assert_eq!(leaks.collect::<Vec<_>>(), Vec::<&str>::new(), "the log holds a query");
}

#[tokio::test]
async fn sigterm_drains_before_it_ends() {
    let mut gate = Gate::start(&Config::shop().edit("{not_ready_for: 0s}", "{not_ready_for: 2s}"));
    let user = token("alice", &["user"]);
    let mut idle = Kept::connect(&gate).await;
    idle.write(&Probe::traefik().bearer(&user).kept()).await;
    let (status, head, _) = idle.answer().await.expect("an answer");
    assert_eq!((status, head.contains("connection: close")), (200, false), "{head}");
    gate.signal("TERM");
    let deadline = Instant::now() + Duration::from_secs(1);
    let ready = loop {
        let ready = gate.admin_get("/ready").await;
        if ready.status != 200 {
            break ready;
        }
        assert!(Instant::now() < deadline, "it is still ready");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!((ready.status, ready.json()), (503, json!({"status": "draining"})));
    assert_eq!(gate.metric("portcullis_ready").await, Some(0.0));
    assert_eq!(healthcheck(&gate, &[]).0, 1);
    assert_eq!(healthcheck(&gate, &["--live"]).0, 0, "draining is no reason to kill it");
    // Work that comes all the same is done, on new connections and on old ones, and nobody is asked to come again on the same.
    for dialect in BOTH {
        Probe::new(dialect).bearer(&user).ask(&gate).await.expect(200, "allowed");
        Probe::new(dialect).ask(&gate).await.expect(401, "no_credential");
    }
    idle.write(&Probe::envoy().bearer(&user).kept()).await;
    let (status, head, _) = idle.answer().await.expect("an answer");
    assert_eq!((status, head.contains("connection: close")), (200, true), "{head}");
    assert!(idle.answer().await.is_none(), "the connection ends");
    assert_eq!(gate.ended().await, 0);
    assert!(gate.log().contains("\"message\":\"stopped\""), "{}", gate.log());
    let client = raw::Client::plain(gate.decisions());
    assert!(client.try_send(Probe::traefik().bytes()).await.is_err(), "nobody listens any more");
    let (code, text) = healthcheck(&gate, &["--live"]);
    assert_eq!((code, text.contains("does not answer")), (1, true), "{text}");
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_end_up() {
    for signal in ["TERM", "INT"] {
        let mut gate = Gate::shop();
        let mut idle = Vec::new();
        for _ in 0..5 {
            let mut kept = Kept::connect(&gate).await;
            kept.write(&Probe::traefik().kept()).await;
            assert_eq!(kept.answer().await.expect("an answer").0, 401);
            idle.push(kept);
        }
        let started = Instant::now();
        gate.signal(signal);
        assert_eq!(gate.ended().await, 0);
        assert!(started.elapsed() < Duration::from_secs(8), "it took {:?} to end", started.elapsed());
    }
}

#[tokio::test]
async fn every_decision_is_in_the_audit_file_when_the_gate_has_ended() {
    let mut gate = Gate::start(&Config::shop().edit("\nshutdown:", "\naudit: {to: file, file: audit.log}\nshutdown:"));
    let user = token("alice", &["user"]);
    let ask = async |connection: usize| {
        let mut kept = Kept::connect(&gate).await;
        let mut bytes = Vec::new();
        for place in 0..250 {
            let probe = Probe::new(BOTH[place % 2]).header("X-Request-ID", format!("c{connection}-{place}"));
            let probe = if place % 3 == 0 { probe } else { probe.bearer(&user) };
            bytes.extend(probe.kept());
        }
        // The answers are read while the questions are still being written.
        for part in bytes.chunks(20_000) {
            kept.write(part).await;
        }
        for place in 0..250 {
            let (status, head, _) = kept.answer().await.expect("an answer");
            assert_eq!(status, if place % 3 == 0 { 401 } else { 200 }, "{head}");
        }
    };
    futures_util::future::join_all((0..8).map(ask)).await;
    gate.signal("TERM");
    assert_eq!(gate.ended().await, 0);
    let text = std::fs::read_to_string(gate.folder().join("audit.log")).expect("the audit file");
    assert!(text.ends_with('\n'));
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    assert_eq!(lines.len(), 2000);
    let ids: HashSet<&str> = lines.iter().map(|line| line["request_id"].as_str().expect("an id")).collect();
    let wanted: HashSet<String> =
        (0..8).flat_map(|connection| (0..250).map(move |place| format!("c{connection}-{place}"))).collect();
    assert_eq!(ids, wanted.iter().map(String::as_str).collect());
    assert_eq!(lines.iter().filter(|line| line["decision"] == "allow").count(), 8 * 166);
    assert!(lines.iter().all(|line| shape(line) == BTreeSet::from(MEMBERS)));
    assert!(gate.audit().is_empty(), "the lines are in the file and nowhere else");
}

#[tokio::test]
async fn the_audit_file_is_appended_to_and_must_be_writable() {
    let config = Config::shop().edit("\nshutdown:", "\naudit: {to: file, file: logs/audit.log}\nshutdown:");
    let (code, text) = config.serve_fails();
    assert_eq!(
        (code, text.contains("logs/audit.log is another file of this configuration, a folder, or in no folder")),
        (64, true),
        "{text}"
    );
    let mut gate = Gate::start(&config.file("logs/audit.log", "{\"before\":1}\n"));
    let bytes = Probe::traefik().uri("/health").bytes();
    assert_eq!(raw::send(gate.decisions(), &bytes).await.status, 200);
    gate.signal("TERM");
    assert_eq!(gate.ended().await, 0);
    let text = std::fs::read_to_string(gate.folder().join("logs/audit.log")).expect("the audit file");
    assert!(text.starts_with("{\"before\":1}\n") && text.lines().count() == 2, "{text}");
}

#[tokio::test]
async fn a_slow_reader_of_the_audit_lines_gets_them_all_in_the_end() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let (now, go) = std::sync::mpsc::channel::<()>();
    let end = pipe.clone();
    let reader = std::thread::spawn(move || {
        let mut lines = String::new();
        let mut file = std::fs::File::open(end).expect("the pipe");
        go.recv().expect("a word to begin");
        std::io::Read::read_to_string(&mut file, &mut lines).expect("text");
        lines
    });
    let settings = format!("\naudit: {{to: file, file: {}}}\nshutdown:", pipe.display());
    let mut gate = Gate::start(&Config::shop().edit("\nshutdown:", &settings));
    // Much more than the pipe holds, while nobody reads: no decision waits for that.
    let mut kept = Kept::connect(&gate).await;
    let bytes = Probe::traefik().uri("/health").kept();
    for _ in 0..20 {
        kept.write(&bytes.repeat(50)).await;
        for _ in 0..50 {
            assert_eq!(kept.answer().await.expect("an answer").0, 200);
        }
    }
    drop(kept);
    gate.signal("TERM");
    let client = raw::Client::plain(gate.decisions());
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.connect().await.is_ok() {
        assert!(Instant::now() < deadline, "it still listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Whoever would not wait for the reader has ended by now.
    tokio::time::sleep(Duration::from_millis(500)).await;
    now.send(()).expect("the reader waits");
    let lines = tokio::task::spawn_blocking(|| reader.join().expect("no panic")).await.expect("no panic");
    assert_eq!(gate.ended().await, 0);
    assert_eq!(lines.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), 1000);
}

#[tokio::test]
async fn an_audit_file_that_takes_no_line_costs_lines_and_no_decision() {
    let gate = Gate::start(&Config::shop().edit("\nshutdown:", "\naudit: {to: file, file: /dev/full}\nshutdown:"));
    for _ in 0..7 {
        assert_eq!(raw::send(gate.decisions(), &Probe::traefik().uri("/health").bytes()).await.status, 200);
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while gate.metric("portcullis_audit_lines_dropped_total").await != Some(7.0) {
        assert!(Instant::now() < deadline, "the lost lines are not counted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(gate.log().contains("audit lines could not be written"), "{}", gate.log());
    assert_eq!(gate.admin_get("/ready").await.status, 200);
}

#[tokio::test]
async fn the_audit_line_can_be_turned_off_or_sent_to_the_log() {
    let mut off = Gate::start(&Config::shop().edit("\nshutdown:", "\naudit: {to: off}\nshutdown:"));
    let bytes = Probe::traefik().uri("/health").header("X-Request-ID", "marked").bytes();
    assert_eq!(raw::send(off.decisions(), &bytes).await.status, 200);
    off.signal("TERM");
    assert_eq!(off.ended().await, 0);
    assert!(off.audit().is_empty() && !off.log().contains("marked"), "{}", off.log());
    let mut stderr = Gate::start(&Config::shop().edit("\nshutdown:", "\naudit: {to: stderr}\nshutdown:"));
    assert_eq!(raw::send(stderr.decisions(), &bytes).await.status, 200);
    stderr.signal("TERM");
    assert_eq!(stderr.ended().await, 0);
    let log = stderr.log();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    assert_eq!(lines.iter().filter(|line| line["request_id"] == "marked").count(), 1, "{log}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_clear_failure() {
    let first = Gate::shop();
    for (name, address) in [("decisions", first.decisions()), ("admin", first.admin())] {
        let (code, text) = Config::shop().arg(&format!("--{name}={address}")).serve_fails();
        let line =
            format!("portcullis: the {name} listener cannot have {address}: Address already in use (os error 98)");
        assert_eq!((code, text.lines().any(|given| given == line)), (1, true), "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
    Probe::traefik().ask(&first).await.expect(401, "no_credential");
}

#[tokio::test]
async fn a_gate_starts_quickly_and_stays_small() {
    let config = Config::shop();
    let started = Instant::now();
    let gate = Gate::start(&config);
    Probe::traefik().bearer(&token("alice", &["user"])).ask(&gate).await.expect(200, "allowed");
    // A debug build beside other tests: the shipped program's own numbers are measured elsewhere.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(gate.resident_bytes() < 64 * 1024 * 1024, "{}", gate.resident_bytes());
}

#[test]
fn the_program_says_what_it_is() {
    assert_eq!(run(&["--version"]), (0, format!("portcullis {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, help) = run(&["--help"]);
    assert_eq!(code, 0);
    for command in ["serve", "check", "demo", "healthcheck"] {
        assert!(help.contains(command), "{help}");
    }
    for wrong in [
        &["healthcheck", "now"][..],
        &["serve"],
        &["check"],
        &["sreve"],
        &["serve", "--config"],
        &["healthcheck", "--address", "here"],
        &["check", "--confg", "x"],
    ] {
        let (code, text) = run(wrong);
        assert!(code == 2 && text.contains("--help"), "{wrong:?} {code} {text}");
    }
    let (code, text) = run(&["healthcheck", "--address", "127.0.0.1:1"]);
    assert_eq!((code, text.contains("127.0.0.1:1 does not answer")), (1, true), "{text}");
}

/// A request that cannot be read must still be found by the operator; what may hold a credential stays out.
#[tokio::test]
async fn a_request_that_cannot_be_read_is_traced_by_its_raw_path() {
    let gate = Gate::shop();
    for (uri, raw) in [
        ("/orders/../x?token=secret", "/orders/.."),
        ("/a;jsessionid=secret", "/a"),
        ("/a%2fb#secret", "/a%2fb"),
        ("no-slash", "no-slash"),
    ] {
        let audit = Probe::traefik().uri(uri).ask(&gate).await.audit;
        assert!(audit["raw_path"].as_str().is_some_and(|path| path.starts_with(raw)), "{uri}: {audit}");
        assert_eq!((&audit["path"], &audit["peer"]), (&Value::Null, &json!("127.0.0.1")));
        assert!(!audit.to_string().contains("secret"), "{audit}");
    }
    let long = format!("/{}//", "x".repeat(5000));
    let audit = Probe::envoy().uri(&long).ask(&gate).await.audit;
    assert_eq!(audit["raw_path"].as_str().map(str::len), Some(200));
    // What could be read needs it not.
    assert_eq!(Probe::traefik().uri("/products").ask(&gate).await.audit["raw_path"], Value::Null);
}
