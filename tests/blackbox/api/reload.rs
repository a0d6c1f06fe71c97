//! Policy and keys are exchanged while the gate runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::probe::{Kept, Probe};
use crate::support::gate::{Answer, Config, Gate, KEY, claims, within};
use crate::support::signer::Signer;

/// Well below the five seconds after which files are looked at without being told: what comes so soon was told.
const AT_ONCE: Duration = Duration::from_secs(3);

/// How many claims the versions of the policy read in turn.
const STAMPS: u64 = 8;

/// A policy that stamps each answer in several ways: the name of a header, the default tier, and a claim that only every eighth
/// version reads.
fn policy(version: u64) -> String {
    let stamp = version % STAMPS;
    format!(
        "realm: v{version}\nidentity_headers: {{user: X-User-{version}, default_tier: v{version}, extra: [{{header: X-Stamp, claim: \
         stamp{stamp}}}]}}\nrules: [{{id: v{version}, hosts: ['*'], paths: ['/**'], allow: authenticated}}]\n"
    )
}

fn config() -> Config {
    Config::with_policy(&policy(0))
}

fn token(key: &Signer) -> String {
    let stamps = (0..STAMPS).map(|stamp| (format!("stamp{stamp}"), json!(format!("s{stamp}"))));
    key.token(&claims(stamps.collect()))
}

/// As a careful tool does: beside, then renamed over.
fn put(gate: &Gate, name: &str, text: &str) {
    let folder = gate.folder();
    fs::write(folder.join("new"), text).unwrap();
    fs::rename(folder.join("new"), folder.join(name)).unwrap();
}

async fn ask(gate: &Gate, key: &Signer) -> Answer {
    Probe::traefik().bearer(&token(key)).ask(gate).await
}

/// Which version answers. All that it stamps must be its own.
async fn version(gate: &Gate) -> u64 {
    let answer = ask(gate, &KEY).await;
    answer.expect(200, "allowed");
    let header = |name: &str| answer.response.header(name).unwrap_or_default().to_owned();
    let version = header("x-user-tier").strip_prefix('v').and_then(|version| version.parse().ok()).unwrap();
    assert_eq!(header("x-stamp"), format!("s{}", version % STAMPS), "{answer:?}");
    assert_eq!(header(&format!("x-user-{version}")), "alice", "{answer:?}");
    assert_eq!(answer.audit["rule"], format!("v{version}"));
    version
}

async fn reloads(gate: &Gate, what: &str, result: &str) -> f64 {
    gate.metric(&format!("portcullis_reloads_total{{what=\"{what}\",result=\"{result}\"}}")).await.unwrap()
}

/// Waits until this version answers, which must not take until somebody looks by himself.
async fn at_once(gate: &Gate, wanted: u64) {
    let since = Instant::now();
    while version(gate).await != wanted {
        assert!(since.elapsed() < AT_ONCE, "version {wanted} does not come\n{}", gate.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_policy_is_taken_up_however_its_file_is_replaced() {
    let gate = Gate::start(&config());
    assert_eq!(version(&gate).await, 0);
    // Written into, as `cp` does.
    fs::write(gate.folder().join("policy.yaml"), policy(1)).unwrap();
    at_once(&gate, 1).await;
    // Renamed over.
    put(&gate, "policy.yaml", &policy(2));
    at_once(&gate, 2).await;
    // Removed and made anew.
    fs::remove_file(gate.folder().join("policy.yaml")).unwrap();
    fs::write(gate.folder().join("policy.yaml"), policy(3)).unwrap();
    at_once(&gate, 3).await;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, policy(3).as_bytes());
    let name: String = digest.as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(gate.metric(&format!("portcullis_policy_info{{version=\"{name}\"}}")).await, Some(1.0));
    assert!(
        gate.log().contains(&format!("\"changed\":\"policy\",\"policy\":\"{name}\",\"rules\":1")),
        "{}",
        gate.log()
    );
    assert!(reloads(&gate, "policy", "ok").await >= 3.0);
    assert_eq!(reloads(&gate, "keys", "ok").await, 0.0);
}

/// The kubelet changes no file that a pod names: it exchanges the link `..data`, through which all of them lead.
#[tokio::test]
async fn a_config_map_is_taken_up_whole() {
    let gate = Gate::start(&config());
    let folder = gate.folder();
    let other = Signer::new("other", "ES256");
    let publish = |name: &str, files: &[(&str, String)]| {
        fs::create_dir(folder.join(name)).unwrap();
        for (file, text) in files {
            fs::write(folder.join(name).join(file), text).unwrap();
        }
        symlink(name, folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    let settings = ("portcullis.yaml", fs::read_to_string(folder.join("portcullis.yaml")).unwrap());
    let keys = |key: &Signer| ("jwks.json", json!({"keys": [key.jwk()]}).to_string());
    publish("..1", &[settings.clone(), keys(&KEY), ("policy.yaml", policy(1))]);
    for name in ["portcullis.yaml", "policy.yaml", "jwks.json"] {
        symlink(Path::new("..data").join(name), folder.join("link")).unwrap();
        fs::rename(folder.join("link"), folder.join(name)).unwrap();
    }
    at_once(&gate, 1).await;
    publish("..2", &[settings, keys(&other), ("policy.yaml", policy(2))]);
    let since = Instant::now();
    loop {
        let answer = ask(&gate, &other).await;
        if answer.status() == 200 {
            assert_eq!(
                answer.response.header("x-user-tier"),
                Some("v2"),
                "whoever knows the new keys knows the new policy"
            );
            break;
        }
        assert!(since.elapsed() < AT_ONCE, "{}", gate.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ask(&gate, &KEY).await.expect(401, "unknown_key");
    // Nobody tells of the target of a link that lies elsewhere: it is looked at.
    let elsewhere = tempfile::TempDir::new().unwrap();
    fs::write(elsewhere.path().join("real.yaml"), policy(3)).unwrap();
    symlink(elsewhere.path().join("real.yaml"), folder.join("link")).unwrap();
    fs::rename(folder.join("link"), folder.join("policy.yaml")).unwrap();
    let is =
        async |version: u64| ask(&gate, &other).await.response.header("x-user-tier") == Some(&format!("v{version}"));
    within("the link's target", async || is(3).await).await;
    fs::write(elsewhere.path().join("real.yaml"), policy(4)).unwrap();
    within("the changed target", async || is(4).await).await;
}

#[tokio::test]
async fn without_a_watch_files_are_read_at_sighup_only() {
    let gate = Gate::start(&config().edit("policy: policy.yaml", "reload: {watch: false}\npolicy: policy.yaml"));
    put(&gate, "policy.yaml", &policy(1));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(version(&gate).await, 0, "nobody has looked, nor was told");
    gate.signal("HUP");
    at_once(&gate, 1).await;
    // Whoever asks is answered, if only by the log.
    gate.signal("HUP");
    within("an answer", async || gate.log().matches("configuration read again").count() == 2).await;
    put(&gate, "policy.yaml", "rules: []\n");
    for times in 1..3 {
        gate.signal("HUP");
        within("an answer", async || gate.log().matches("cannot be used as it is now").count() == times).await;
    }
    assert_eq!((version(&gate).await, reloads(&gate, "policy", "ok").await), (1, 1.0));
}

#[tokio::test]
async fn a_thousand_reloads_under_load_fail_no_decision() {
    const LAST: u64 = 1_000;
    let gate = &Gate::start(&config().edit("policy: policy.yaml", "audit: {to: off}\npolicy: policy.yaml"));
    let (seen, done) = (&AtomicU64::new(0), &AtomicBool::new(false));
    let request = &Probe::traefik().bearer(&token(&KEY)).kept();
    let load = async || {
        let mut connection = Kept::at(gate.decisions()).await;
        let (mut last, mut answers) = (0, 0_u64);
        while !done.load(Ordering::Relaxed) {
            connection.write(request).await;
            let (status, head, _) = connection.answer().await.expect("an answer");
            assert_eq!(status, 200, "{head}");
            let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            let version: u64 = header("x-user-tier").and_then(|tier| tier.strip_prefix('v')?.parse().ok()).unwrap();
            assert_eq!(header("x-stamp"), Some(&*format!("s{}", version % STAMPS)), "{head}");
            assert_eq!(header(&format!("x-user-{version}")), Some("alice"), "{head}");
            assert!(version >= last, "after {last} came {version}");
            last = version;
            answers += 1;
            seen.fetch_max(version, Ordering::Relaxed);
        }
        answers
    };
    let exchange = async {
        for version in 1..=LAST {
            if version == LAST / 2 {
                put(gate, "policy.yaml", &policy(version).replace("'/**'", "'/*'"));
                gate.signal("HUP");
                within("the failure", async || gate.log().contains("nothing changes")).await;
                assert_eq!(seen.load(Ordering::Relaxed), version - 1);
            }
            put(gate, "policy.yaml", &policy(version));
            gate.signal("HUP");
            let since = Instant::now();
            while seen.load(Ordering::Relaxed) != version {
                assert!(since.elapsed() < Duration::from_secs(10), "version {version} does not come");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    let (a, b, c, d, ()) = tokio::join!(load(), load(), load(), load(), exchange);
    assert!(a + b + c + d > 4 * LAST, "hardly any load: {a} {b} {c} {d}");
    println!("{} decisions during {LAST} reloads", a + b + c + d);
    assert_eq!(reloads(gate, "policy", "ok").await, LAST as f64);
    assert!(reloads(gate, "policy", "failed").await >= 1.0);
}

#[tokio::test]
async fn t_e9_a_broken_file_changes_nothing_and_says_so_once() {
    let gate = Gate::start(&config());
    let complaints = || gate.log().matches("nothing changes").count();
    put(&gate, "policy.yaml", &policy(1).replace("'/**'", "'/*'").replace("realm: v1", "relam: v1"));
    within("the report", async || complaints() == 1).await;
    let log = gate.log();
    for part in ["policy.yaml:1:1: unknown key `relam`", "policy.yaml:3:", "`*` in `/*` mixes text and wildcard; "] {
        assert!(log.contains(part), "{log}");
    }
    assert_eq!((version(&gate).await, reloads(&gate, "policy", "failed").await), (0, 1.0));
    // It is looked at again and again, since it may be another file that is in the way; and nothing is said twice.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((complaints(), version(&gate).await, reloads(&gate, "policy", "failed").await), (1, 0, 1.0));
    assert_eq!(gate.admin_get("/ready").await.status, 200);
    put(&gate, "policy.yaml", &policy(2));
    at_once(&gate, 2).await;

    // All or nothing: a good policy beside a broken key set.
    put(&gate, "jwks.json", "{\"keys\": []}");
    put(&gate, "policy.yaml", &policy(3));
    within("the report", async || gate.log().contains("no key in it can be used")).await;
    within("both counted", async || reloads(&gate, "policy", "failed").await == 2.0).await;
    assert_eq!((version(&gate).await, reloads(&gate, "keys", "failed").await >= 1.0), (2, true));
    fs::remove_file(gate.folder().join("portcullis.yaml")).unwrap();
    within("the settings counted", async || reloads(&gate, "settings", "failed").await == 1.0).await;
    assert_eq!(version(&gate).await, 2);
}

#[tokio::test]
async fn a_key_that_is_taken_out_of_its_file_opens_nothing_any_more() {
    let gate = Gate::start(&config());
    let (second, third) = (Signer::new("second", "ES256"), Signer::new("third", "EdDSA"));
    let set = |keys: &[&Signer]| json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()}).to_string();
    ask(&gate, &KEY).await.expect(200, "allowed");
    ask(&gate, &second).await.expect(401, "unknown_key");
    put(&gate, "jwks.json", &set(&[&KEY, &second]));
    within("the second key", async || ask(&gate, &second).await.status() == 200).await;
    ask(&gate, &KEY).await.expect(200, "allowed");
    put(&gate, "jwks.json", &set(&[&second, &third]));
    within("the third key", async || ask(&gate, &third).await.status() == 200).await;
    // Its token was in the cache.
    ask(&gate, &KEY).await.expect(401, "unknown_key");
    ask(&gate, &second).await.expect(200, "allowed");
    put(&gate, "jwks.json", "{}");
    within("a failure", async || reloads(&gate, "keys", "failed").await == 1.0).await;
    ask(&gate, &second).await.expect(200, "allowed");
    assert_eq!((reloads(&gate, "keys", "ok").await, reloads(&gate, "policy", "ok").await), (2.0, 0.0));
}

#[tokio::test]
async fn settings_that_need_a_restart_are_named_and_not_put_in_force() {
    let config = config();
    let gate = Gate::start(&config);
    let other = Signer::new("other", "EdDSA");
    let moved = config
        .settings
        .replace("[127.0.0.0/8, ", "[10.0.0.0/8, ")
        .replace("policy: policy.yaml", "policy: second.yaml");
    let changed = moved.replace("audiences: [shop]", "audiences: [shop, others]\n    algorithms: [EdDSA]");
    // Before the settings that name it: else there is nothing there.
    put(&gate, "second.yaml", &policy(1));
    put(&gate, "jwks.json", &json!({"keys": [other.jwk()]}).to_string());
    within("the other key", async || ask(&gate, &other).await.status() == 200).await;
    put(&gate, "portcullis.yaml", &moved);
    let tier = async || ask(&gate, &other).await.response.header("x-user-tier").map(str::to_owned);
    within("the other policy", async || tier().await.as_deref() == Some("v1")).await;
    // A policy beside other issuers may be written for what the running gate does not read so: it waits for them.
    put(&gate, "second.yaml", &policy(2));
    put(&gate, "portcullis.yaml", &changed);
    within("the other settings are read", async || gate.log().contains("issuers[0].algorithms")).await;
    put(&gate, "second.yaml", &policy(3));
    let read = async || gate.log().matches("configuration read again").count();
    let before = read().await;
    put(&gate, "second.yaml", &policy(4));
    within("the policy is read", async || read().await > before).await;
    assert!(["v1", "v2"].contains(&&*tier().await.expect("a tier")), "v3 and v4 stood beside other issuers");
    let named =
        "\"settings\":\"listeners.decisions.trusted_proxies[0], issuers[0].audiences[1], issuers[0].algorithms\"";
    assert!(gate.log().contains(named), "{}", gate.log());
    let others = other.token(&claims(json!({"aud": "others"})));
    Probe::traefik().bearer(&others).ask(&gate).await.expect(401, "wrong_audience");
    // Whose keys these are was said by the settings, which are others now.
    put(&gate, "jwks.json", &json!({"keys": [KEY.jwk()]}).to_string());
    within("the keys are read", async || reloads(&gate, "keys", "ok").await == 2.0).await;
    ask(&gate, &KEY).await.expect(401, "unknown_key");
    // With the settings of the start they are its keys.
    put(&gate, "portcullis.yaml", &config.settings);
    within("the first key", async || ask(&gate, &KEY).await.status() == 200).await;
    assert_eq!(version(&gate).await, 0);
    ask(&gate, &other).await.expect(401, "unknown_key");
}
