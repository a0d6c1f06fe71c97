//! The metrics as a scraper reads them: strictly, in both formats, and against the README.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::probe::{DIALECTS, Probe};
use crate::revocations::{in_memory, ready};
use crate::support::gate::{Config, Gate, KEY, claims, token};
use crate::support::raw::{self, Response};
use crate::support::signer::Signer;

/// What a Prometheus 3 sends.
const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
    application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
    text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    OpenMetrics,
    Text,
}

async fn scrape(gate: &Gate, accept: &[&str]) -> Response {
    let accept: Vec<_> = accept.iter().map(|value| ("Accept", *value)).collect();
    raw::send(gate.admin(), raw::request("GET", "/metrics", &accept, b"")).await
}

/// A family: its kind, its help, and its samples by name and labels.
#[derive(Debug)]
struct Family {
    kind: String,
    help: String,
    unit: Option<String>,
    samples: Vec<(String, Labels, f64)>,
}

type Labels = BTreeMap<String, String>;

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The labels at the beginning, and what stands behind them.
fn labels(text: &str) -> (Labels, &str) {
    let Some(mut rest) = text.strip_prefix('{') else { return (Labels::new(), text) };
    let mut labels = Labels::new();
    loop {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {text}"));
        assert!(is_name(name) && !name.starts_with("__"), "no name of a label: {text}");
        let mut end = None;
        let mut escaped = false;
        for (at, c) in value.char_indices() {
            match c {
                'n' | '\\' | '"' if escaped => escaped = false,
                _ if escaped => panic!("no escape: {text}"),
                '\\' => escaped = true,
                '"' => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let end = end.unwrap_or_else(|| panic!("no end of a value: {text}"));
        let doubled = labels.insert(name.to_owned(), value[..end].to_owned());
        assert_eq!(doubled, None, "a label twice: {text}");
        rest = &value[end + 1..];
        if let Some(behind) = rest.strip_prefix('}') {
            return (labels, behind);
        }
        rest = rest.strip_prefix(',').unwrap_or_else(|| panic!("no comma: {text}"));
    }
}

/// Reads an exposition and panics at whatever either specification does not allow, and at what they allow and we do not need.
fn parse(text: &str, format: Format) -> BTreeMap<String, Family> {
    let lines = text.strip_suffix('\n').expect("a line feed at the end");
    let lines = match format {
        Format::OpenMetrics => lines.strip_suffix("\n# EOF").expect("the end mark"),
        Format::Text => lines,
    };
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut series = BTreeSet::new();
    let mut current: Option<String> = None;
    let mut lines = lines.split('\n').peekable();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            let kind = lines.next().and_then(|next| next.strip_prefix(&format!("# TYPE {name} "))).expect("a type");
            assert!(is_name(name), "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
            let unit = lines.next_if(|next| next.starts_with("# UNIT "));
            let unit = unit.map(|unit| unit.strip_prefix(&format!("# UNIT {name} ")).expect("its own unit").to_owned());
            assert!(unit.is_none() || format == Format::OpenMetrics);
            let family = Family { kind: kind.to_owned(), help: help.to_owned(), unit, samples: Vec::new() };
            assert!(families.insert(name.to_owned(), family).is_none(), "a family twice: {name}");
            current = Some(name.to_owned());
            continue;
        }
        assert!(!line.starts_with('#') && !line.is_empty(), "neither a family nor a sample: {line:?}");
        let name_ends = line.find(['{', ' ']).expect("a value");
        let (name, rest) = line.split_at(name_ends);
        let (labels, rest) = labels(rest);
        let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("no value: {line}"));
        // Not Rust's own words for odd numbers, and nothing behind the number.
        assert!(value.bytes().all(|byte| b"0123456789.e-+".contains(&byte)), "{line}");
        let value: f64 = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value.is_finite() && value >= 0.0, "{line}");
        let family_name = current.as_deref().expect("a family before its samples");
        let family = families.get_mut(family_name).expect("it is there");
        let suffix = name.strip_prefix(family_name).unwrap_or_else(|| panic!("`{name}` is not of {family_name}"));
        let allowed: &[&str] = match (&*family.kind, format) {
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            ("counter", Format::OpenMetrics) => &["_total"],
            _ => &[""],
        };
        assert!(allowed.contains(&suffix), "`{name}` is no sample of the {} {family_name}", family.kind);
        assert!(series.insert((name.to_owned(), labels.clone())), "a series twice: {line}");
        family.samples.push((name.to_owned(), labels, value));
    }
    families
}

/// The series of an exposition: names of samples with their labels.
fn series(families: &BTreeMap<String, Family>) -> BTreeSet<(String, Labels)> {
    let samples = families.values().flat_map(|family| &family.samples);
    samples.map(|(name, labels, _)| (name.clone(), labels.clone())).collect()
}

async fn families(gate: &Gate) -> BTreeMap<String, Family> {
    parse(&scrape(gate, &[]).await.text(), Format::Text)
}

/// Waits until a sample has this value: some counters are brought up to date in passing.
async fn becomes(gate: &Gate, sample: &str, wanted: f64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while gate.metric(sample).await != Some(wanted) {
        assert!(Instant::now() < deadline, "{sample} is {:?}, not {wanted}", gate.metric(sample).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn both_formats_are_as_specified_and_say_the_same() {
    let gate = Gate::shop();
    Probe::traefik().bearer(&token("alice", &["user"])).ask(&gate).await.expect(200, "allowed");
    Probe::envoy().ask(&gate).await.expect(401, "no_credential");
    let open_metrics = scrape(&gate, &[PROMETHEUS]).await;
    let wanted = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open_metrics.header_all("content-type"), [wanted]);
    let text = scrape(&gate, &["text/plain"]).await;
    assert_eq!(text.header_all("content-type"), ["text/plain; version=0.0.4; charset=utf-8"]);
    let (new, old) = (parse(&open_metrics.text(), Format::OpenMetrics), parse(&text.text(), Format::Text));
    assert_eq!(series(&new), series(&old));
    assert_eq!(new.len(), old.len());
    for (name, family) in &new {
        let old_name = if family.kind == "counter" { format!("{name}_total") } else { name.clone() };
        let other = old.get(&old_name).unwrap_or_else(|| panic!("no {old_name}"));
        assert_eq!((&family.kind, &family.help), (&other.kind, &other.help));
        // A unit is the end of the family's name.
        assert!(family.unit.as_ref().is_none_or(|unit| name.ends_with(&format!("_{unit}"))), "{name}");
    }
    let histogram = &old["portcullis_decision_seconds"];
    let count = histogram.samples.iter().find(|(name, ..)| name.ends_with("_count")).map(|sample| sample.2);
    let buckets: Vec<(f64, f64)> = histogram
        .samples
        .iter()
        .filter(|(name, ..)| name.ends_with("_bucket"))
        .map(|(_, labels, value)| (labels["le"].parse().expect("a bound"), *value))
        .collect();
    assert!(buckets.is_sorted() && buckets.is_sorted_by(|a, b| a.1 <= b.1), "{buckets:?}");
    assert_eq!((buckets[0].0, buckets.last().map(|last| last.0)), (10e-6, Some(f64::INFINITY)));
    assert_eq!((count, buckets.last().map(|last| last.1)), (Some(2.0), Some(2.0)));
}

#[tokio::test]
async fn open_metrics_is_only_for_who_can_read_it() {
    let gate = Gate::shop();
    for (accept, wanted) in [
        (&[][..], Format::Text),
        (&["*/*"], Format::Text),
        (&["application/openmetrics-text;version=0.0.1"], Format::Text),
        (&["application/openmetrics-text"], Format::OpenMetrics),
        (&["text/plain;q=0.5", "application/openmetrics-text;version=1.0.0;q=0.9"], Format::OpenMetrics),
    ] {
        let response = scrape(&gate, accept).await;
        parse(&response.text(), wanted);
        let kind = response.header("content-type").expect("a type");
        assert_eq!(kind.starts_with("application/openmetrics-text"), wanted == Format::OpenMetrics, "{accept:?}");
        assert_eq!(response.header("vary"), Some("Accept"));
    }
    let odd = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: \xff\r\nConnection: close\r\n\r\n";
    assert_eq!(raw::send(gate.admin(), odd).await.status, 200);
}

/// A gate that has everything of which there are metrics: revocations, and limits in a store (at a place where nobody listens).
async fn with_everything() -> Gate {
    let limits = "limits: {store: {redis: {url: 'redis://127.0.0.1:1'}}}\nlisteners:\n";
    let config = Config { policy: Config::limited_shop().policy, ..in_memory() };
    ready(&config.edit("listeners:\n", limits)).await
}

/// prometheus.io/docs/practices/naming.
#[tokio::test]
async fn names_keep_to_the_conventions() {
    let gate = with_everything().await;
    for (name, family) in families(&gate).await {
        assert!(name.starts_with("portcullis_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), family.kind == "counter", "{name} is a {}", family.kind);
        assert!(family.help.ends_with('.') && family.help.len() > 10, "{name}: {}", family.help);
        // Base units, at the end, in the plural; no kind, label or reserved suffix in a name.
        let bare = name.trim_end_matches("_total");
        for word in ["_ms", "_us", "_milliseconds", "_micros", "_kib", "_mib", "_kilobytes", "_minutes", "_percent"] {
            assert!(!bare.ends_with(word), "{name}");
        }
        for word in ["_gauge", "_counter", "_histogram", "_bucket", "_count", "_sum", "_created"] {
            assert!(!name.ends_with(word), "{name}");
        }
        assert!(!family.samples.is_empty(), "{name} has no sample");
        let mut kinds =
            family.samples.iter().map(|(_, labels, _)| labels.keys().filter(|key| *key != "le").collect::<Vec<_>>());
        let first = kinds.next().expect("a sample");
        assert!(kinds.all(|other| other == first), "{name}: its samples have different labels");
    }
}

#[tokio::test]
async fn every_metric_is_in_the_readme_and_no_other() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let section = readme.split("\n| metric | labels | |\n").nth(1).expect("the table of metrics");
    let table = section.lines().skip(1).map_while(|line| line.strip_prefix("| `")?.split_once("` |"));
    let told: BTreeMap<String, BTreeSet<String>> = table
        .map(|(name, rest)| {
            let labels = rest.split('|').next().expect("a cell").trim();
            let labels = labels.split(", ").map(|label| label.trim_matches('`')).filter(|label| !label.is_empty());
            (name.to_owned(), labels.map(str::to_owned).collect())
        })
        .collect();
    let shown: BTreeMap<String, BTreeSet<String>> = families(&with_everything().await)
        .await
        .into_iter()
        .map(|(name, family)| {
            let labels = family.samples.iter().flat_map(|(_, labels, _)| labels.keys());
            (name, labels.filter(|label| *label != "le").cloned().collect())
        })
        .collect();
    assert_eq!(told, shown);
}

/// Whatever a client can choose: nothing of it becomes a label, so that nobody fills the memory of the gate or of Prometheus.
#[tokio::test]
async fn no_request_adds_a_series() {
    let gate = Gate::start(&Config::limited_shop());
    let before = series(&families(&gate).await);
    let stranger = Signer::new("stranger", "ES256");
    for round in 0..40 {
        let word = format!("wild-{round}-{:x}", fastrand::u64(..));
        for dialect in DIALECTS {
            let probe = || Probe::new(dialect).header("X-Request-ID", &word).header(&word, &word);
            let signed = |changes| KEY.token(&claims(changes));
            probe().uri(format!("/{word}?{word}")).ask(&gate).await;
            probe().method(word.to_ascii_uppercase()).ask(&gate).await;
            probe().method(&word).ask(&gate).await;
            probe().host(format!("{word}.example")).ask(&gate).await;
            probe().bearer(&word).ask(&gate).await;
            probe().bearer(&signed(json!({"sub": word, "roles": [word], "tier": word}))).ask(&gate).await;
            probe().bearer(&signed(json!({"iss": word}))).ask(&gate).await;
            probe()
                .bearer(&stranger.sign(&json!({"alg": word, "typ": word, "kid": word}), &claims(json!({}))))
                .ask(&gate)
                .await;
            probe().header("Cookie", format!("{word}={word}; jwt={word}")).ask(&gate).await;
            probe().instead("X-Forwarded-For", &word).ask(&gate).await;
            probe().instead("X-Forwarded-Proto", &word).ask(&gate).await;
        }
        gate.send(&word.to_ascii_uppercase(), &format!("/{word}/validate"), &[]).await;
        raw::send(gate.admin(), raw::request("GET", &format!("/{word}"), &[("Accept", &word)], b"")).await;
        raw::send(gate.decisions(), format!("{word}\r\n\r\n")).await;
    }
    let after = families(&gate).await;
    assert_eq!(series(&after), before);
    assert!(!format!("{after:?}").contains("wild-"), "something of a request is in there");
    let decisions: f64 = after["portcullis_decisions_total"].samples.iter().map(|sample| sample.2).sum();
    assert_eq!(decisions, f64::from(40 * (4 * 11 + 1)), "all of them were counted");
}

#[tokio::test]
async fn the_cache_tells_how_it_fares() {
    let sample = |name: &str, label: &str| format!("portcullis_cache_{name}{{cache=\"verified_tokens\"{label}}}");
    let config = Config::shop().edit("\nshutdown:", "\nstores: {verified_tokens: {max_mebibytes: 1}}\nshutdown:");
    let gate = Gate::start(&config);
    assert_eq!(gate.metric(&sample("max_bytes", "")).await, Some(1024.0 * 1024.0));
    let user = token("alice", &["user"]);
    for _ in 0..3 {
        Probe::traefik().bearer(&user).ask(&gate).await.expect(200, "allowed");
    }
    Probe::traefik().bearer("x.y.z").ask(&gate).await.expect(401, "malformed_token");
    Probe::traefik().ask(&gate).await.expect(401, "no_credential");
    assert_eq!(gate.metric(&sample("lookups_total", ",result=\"hit\"")).await, Some(2.0));
    assert_eq!(gate.metric(&sample("lookups_total", ",result=\"miss\"")).await, Some(2.0));
    // What is full evicts, and says so.
    let groups = "x".repeat(6000);
    for number in 0..400 {
        let big = KEY.token(&claims(json!({"sub": format!("{groups}{number}")})));
        Probe::traefik().bearer(&big).ask(&gate).await.expect(200, "allowed");
    }
    let evicted = gate.metric(&sample("removals_total", ",cause=\"size\"")).await.expect("a count");
    let bytes = gate.metric(&sample("bytes", "")).await.expect("bytes");
    let entries = gate.metric(&sample("entries", "")).await.expect("a count");
    assert!(
        evicted >= 100.0 && bytes <= 1.1 * 1024.0 * 1024.0 && bytes > 6000.0 * entries,
        "{evicted} {bytes} {entries}"
    );
    assert!(entries > 10.0 && entries + evicted <= 401.0, "{entries} {evicted}");
    assert_eq!(gate.metric(&sample("removals_total", ",cause=\"stale\"")).await, Some(0.0));
    // What has ended goes. A full cache takes in what is asked for oftener than what it holds.
    let short = KEY.token(&claims(json!({"exp": crate::support::gate::now() + 1})));
    for _ in 0..5 {
        Probe::traefik().bearer(&short).ask(&gate).await.expect(200, "allowed");
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while gate.metric(&sample("removals_total", ",cause=\"expired\"")).await == Some(0.0) {
        assert!(Instant::now() < deadline, "nothing expires");
        // moka tidies up in passing.
        Probe::traefik().bearer(&user).ask(&gate).await.expect(200, "allowed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_keys_tell_their_number_and_age() {
    let mut unusable = KEY.jwk();
    unusable["use"] = json!("enc");
    let set = json!({"keys": [KEY.jwk(), Signer::new("other", "ES256").jwk(), unusable]}).to_string();
    let gate = Gate::start(&Config::shop().file("jwks.json", &set));
    assert_eq!(gate.metric("portcullis_keys{issuer=\"shop\",state=\"usable\"}").await, Some(2.0));
    assert_eq!(gate.metric("portcullis_keys{issuer=\"shop\",state=\"set_aside\"}").await, Some(1.0));
    let age = async || gate.metric("portcullis_keys_age_seconds{issuer=\"shop\"}").await.expect("an age");
    let first = age().await;
    assert!(first > 0.0 && first < 60.0, "{first}");
    assert!(age().await > first, "it grows");
    becomes(&gate, "portcullis_key_fetches_total{issuer=\"shop\",result=\"ok\"}", 0.0).await;
}

#[tokio::test]
async fn the_process_tells_what_it_takes() {
    let before = crate::support::gate::now();
    let gate = Gate::shop();
    let started = gate.metric("process_start_time_seconds").await.expect("a time");
    assert!(started >= before as f64 && started <= crate::support::gate::now() as f64, "{started}");
    let told = gate.metric("process_resident_memory_bytes").await.expect("bytes");
    let seen = gate.resident_bytes() as f64;
    assert!((told - seen).abs() < 4.0 * 1024.0 * 1024.0, "{told} {seen}");
    let (open, max) = (gate.metric("process_open_fds").await, gate.metric("process_max_fds").await);
    assert!(open.is_some_and(|open| open > 5.0 && max.is_some_and(|max| open < max)), "{open:?} {max:?}");
    assert!(gate.metric("process_cpu_seconds_total").await.is_some_and(|cpu| cpu < 60.0));
    let version = concat!("portcullis_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    assert_eq!(gate.metric(version).await, Some(1.0));
}
