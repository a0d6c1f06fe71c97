//! Buckets on a real Redis: shared by replicas, lost and found again.

use std::time::{Duration, Instant};

use super::{RULES, SLOW, accepted_of, ask, per_user, policy};
use crate::support::gate::{Config, Gate, token, within};
use crate::support::redis::Server;
use crate::support::redis::several::{Cluster, Sentinel};

/// So much of a second that a decision may take, whatever becomes of Redis: the default `deadline`, and a busy machine.
const IN_TIME: Duration = Duration::from_millis(700);

/// With the buckets at this URL.
pub(super) fn at(config: &Config, url: &str, more: &str) -> Config {
    let settings = format!("limits:\n  store: {{redis: {{url: '{url}'}}}}\n{more}listeners:\n");
    config.clone().edit("listeners:\n", &settings)
}

/// How many of so many requests at two gates in turn pass.
async fn accepted_in_turn(gates: [&Gate; 2], wanted: usize, token: &str) -> usize {
    let mut accepted = 0;
    for i in 0..wanted {
        accepted += accepted_of(gates[i % 2], 1, token).await;
    }
    accepted
}

pub(super) async fn counted(gate: &Gate, replicas: f64) {
    within("counted", async || gate.metric("portcullis_limits_replicas").await == Some(replicas)).await;
}

async fn lost(gate: &Gate, lost: bool) {
    let wanted = Some(if lost { 1.0 } else { 0.0 });
    within("lost or found", async || gate.metric("portcullis_limits_fallback").await == wanted).await;
}

#[tokio::test]
async fn two_replicas_share_each_bucket() {
    let redis = Server::start().await;
    let config = at(&per_user(40), &redis.url(), "");
    let (one, other) = (Gate::start(&config), Gate::start(&config));
    for gate in [&one, &other] {
        counted(gate, 2.0).await;
    }
    assert_eq!(accepted_in_turn([&one, &other], 60, &token("alice", &[])).await, 40);
    assert_eq!(accepted_of(&other, 60, &token("bob", &[])).await, 40, "another user's is untouched");
    let refused = ask(&one, "/x", &token("bob", &[])).await;
    assert_eq!(refused.expect(429, "rate_limited").header("retry-after"), Some("3600"));
    assert_eq!(refused.header("ratelimit"), Some("\"user\";r=0;t=3600"));
    // Of one in sixteen of some ninety the time is measured.
    assert!(one.metric("portcullis_limits_store_seconds_count").await.expect("counted") <= 60.0);
    let text = one.admin_get("/metrics").await.text();
    assert!(text.contains("portcullis_limits_store_seconds_bucket{le=\"+Inf\"}"), "{text}");
    drop(other);
    // Five seconds until it is forgotten, three until that is believed.
    let deadline = Instant::now() + Duration::from_secs(20);
    while one.metric("portcullis_limits_replicas").await != Some(1.0) {
        assert!(Instant::now() < deadline, "it is still counted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_bucket_fills_by_the_servers_clock_and_is_kept_until_it_is_full() {
    let redis = Server::start().await;
    let limits = "- {name: fast, by: user, rate: 10, period: 1s, burst: 5}\n- {name: slow, by: client, rate: 1, period: 1h, burst: 100}";
    let config = at(&policy(limits, RULES), &redis.url(), "");
    let gate = Gate::start(&config);
    let alice = token("alice", &[]);
    let begun = Instant::now();
    let first = accepted_of(&gate, 8, &alice).await;
    assert!(first >= 5, "{first}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = accepted_of(&gate, 8, &alice).await;
    let filled = begun.elapsed().as_secs_f64() * 10.0;
    assert!(second >= 2 && (first + second) as f64 <= 5.0 + filled + 1.0, "{first} {second} {filled}");
    // A denial by one bucket costs the other nothing.
    let left = ask(&gate, "/x", &alice).await;
    let shown: i64 = redis
        .ask(&["PTTL", "{portcullis:limits}:slow,client:203.0.113.7"])
        .await
        .trim_start_matches("int(")
        .trim_end_matches(')')
        .parse()
        .expect("a number");
    let taken = (first + second) as i64 + i64::from(left.status() == 200);
    assert!((taken * 3_600_000 - 60_000..=taken * 3_600_000 + 2).contains(&shown), "{shown} for {taken}");
    within("forgotten when it is full", async || {
        redis.ask(&["EXISTS", "{portcullis:limits}:fast,user:shop,alice"]).await == "int(0)"
    })
    .await;
}

#[tokio::test]
async fn a_lost_redis_leaves_each_replica_its_share_and_is_found_again() {
    let mut redis = Server::start().await;
    let config = at(&per_user(40), &redis.url(), "");
    let (one, other) = (Gate::start(&config), Gate::start(&config));
    for gate in [&one, &other] {
        counted(gate, 2.0).await;
    }
    assert_eq!(accepted_in_turn([&one, &other], 50, &token("alice", &[])).await, 40);
    redis.kill();
    let started = Instant::now();
    ask(&one, "/x", &token("first", &[])).await.expect(200, "allowed");
    assert!(started.elapsed() < IN_TIME, "{:?}", started.elapsed());
    for gate in [&one, &other] {
        lost(gate, true).await;
        assert_eq!(accepted_of(gate, 30, &token("bob", &[])).await, 20, "a half of 40");
    }
    let refused = ask(&one, "/x", &token("bob", &[])).await;
    let wait: u32 =
        refused.expect(429, "rate_limited").header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
    assert!((7_190..=7_200).contains(&wait), "{wait}: at a half of the rate");
    assert!(one.metric("portcullis_limits_fallbacks_total").await.expect("counted") >= 31.0);
    assert!(one.log().contains("the store of limits does not answer"), "{}", one.log());
    // It comes back empty, and does not even know the script.
    redis.start_again().await;
    for gate in [&one, &other] {
        lost(gate, false).await;
    }
    assert_eq!(accepted_in_turn([&one, &other], 50, &token("carol", &[])).await, 40);
    assert!(one.log().contains("the store of limits answers again"), "{}", one.log());
}

/// A Redis that comes back empty knows of nobody: who believed its first count would let others' shares through.
#[tokio::test]
async fn who_comes_back_first_does_not_think_that_he_is_alone() {
    let mut redis = Server::start().await;
    let config = at(&per_user(40), &redis.url(), "");
    let gates = [Gate::start(&config), Gate::start(&config)];
    for gate in &gates {
        counted(gate, 2.0).await;
    }
    redis.kill();
    for gate in &gates {
        lost(gate, true).await;
    }
    redis.start_again().await;
    lost(&gates[0], false).await;
    redis.kill();
    lost(&gates[0], true).await;
    for gate in &gates {
        assert_eq!(gate.metric("portcullis_limits_replicas").await, Some(2.0));
        assert_eq!(accepted_of(gate, 30, &token("bob", &[])).await, 20);
    }
}

#[tokio::test]
async fn a_redis_that_was_emptied_or_started_again_meanwhile_goes_unnoticed() {
    let mut redis = Server::start().await;
    let gate = Gate::start(&at(&per_user(3), &redis.url(), ""));
    assert_eq!(accepted_of(&gate, 5, &token("alice", &[])).await, 3);
    redis.ask(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(accepted_of(&gate, 5, &token("bob", &[])).await, 3);
    assert_eq!(gate.metric("portcullis_limits_store_failures_total").await, Some(0.0));
    redis.kill();
    redis.start_again().await;
    lost(&gate, false).await;
    within("asked again", async || ask(&gate, "/x", &token("carol", &[])).await.status() == 200).await;
}

#[tokio::test]
async fn by_choice_a_lost_redis_refuses_or_allows() {
    for (on_loss, status, reason) in [("refuse", 503, "limits_unavailable"), ("danger_allow", 200, "allowed")] {
        let mut redis = Server::start().await;
        let gate = Gate::start(&at(&per_user(2), &redis.url(), &format!("  on_loss: {on_loss}\n")));
        let alice = token("alice", &[]);
        assert_eq!(accepted_of(&gate, 4, &alice).await, 2);
        redis.kill();
        for _ in 0..5 {
            ask(&gate, "/x", &alice).await.expect(status, reason);
        }
        // What is under no limit goes on.
        gate.ask("GET", "/nowhere", &[]).await.expect(401, "no_credential");
        redis.start_again().await;
        lost(&gate, false).await;
        assert_eq!(accepted_of(&gate, 4, &alice).await, 2, "{on_loss}: counted again");
    }
}

/// T-H3: a Redis that hangs costs one request the time-out and the others nothing.
#[tokio::test]
async fn t_h3_a_redis_that_hangs_stalls_nobody() {
    let redis = Server::start().await;
    let gate = Gate::start(&at(&per_user(40), &redis.url(), ""));
    let alice = token("alice", &[]);
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
    redis.signal("STOP");
    let started = Instant::now();
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
    assert!(started.elapsed() < IN_TIME, "{:?}", started.elapsed());
    lost(&gate, true).await;
    let started = Instant::now();
    for _ in 0..20 {
        ask(&gate, "/x", &alice).await.expect(200, "allowed");
    }
    assert!(started.elapsed() < IN_TIME, "twenty in {:?}", started.elapsed());
    redis.signal("CONT");
    lost(&gate, false).await;
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
}

#[tokio::test]
async fn without_redis_from_the_start_the_configured_replicas_count() {
    let redis = Server::start().await;
    let (url, mut redis) = (redis.url(), redis);
    redis.kill();
    let gate = Gate::start(&at(&per_user(40), &url, "  replicas: 4\n"));
    assert_eq!(gate.admin_get("/ready").await.status, 200, "no reason to stay away");
    assert_eq!(accepted_of(&gate, 20, &token("alice", &[])).await, 10);
    redis.start_again().await;
    lost(&gate, false).await;
    assert_eq!(accepted_of(&gate, 50, &token("alice", &[])).await, 40);
}

/// With TLS and a user that may do what the README says, and nothing else.
#[tokio::test]
async fn a_guarded_redis() {
    let redis = Server::start_guarded().await;
    let config = per_user(3)
        .file("authority.pem", &crate::support::redis::authority())
        .env("LIMITS_REDIS", &format!("rediss://limits:secret@{}", redis.address()));
    let store = "limits: {store: {redis: {url_env: LIMITS_REDIS, ca_file: authority.pem}}}\nlisteners:\n";
    let gate = Gate::start(&config.edit("listeners:\n", store));
    assert_eq!(accepted_of(&gate, 5, &token("alice", &[])).await, 3);
    assert_eq!(gate.metric("portcullis_limits_store_failures_total").await, Some(0.0), "{}", gate.log());
    assert_eq!(gate.metric("portcullis_limits_fallback").await, Some(0.0), "{}", gate.log());
    assert!(!gate.log().contains("secret"), "{}", gate.log());
}

#[tokio::test]
async fn a_cluster() {
    let mut cluster = Cluster::start().await;
    let limits = format!("- {{name: user, by: user, {SLOW}, burst: 6}}\n- {{name: all, by: rule, {SLOW}, burst: 9}}");
    let config = at(&policy(&limits, RULES), &cluster.url(""), "");
    let (one, other) = (Gate::start(&config), Gate::start(&config));
    for gate in [&one, &other] {
        counted(gate, 2.0).await;
        lost(gate, false).await;
    }
    assert_eq!(accepted_in_turn([&one, &other], 10, &token("alice", &[])).await, 6);
    assert_eq!(accepted_in_turn([&one, &other], 10, &token("bob", &[])).await, 3, "all that is left to the rule");
    let holder = cluster.holder("{portcullis:limits}:x").await;
    cluster.servers[holder].kill();
    within("the share", async || ask(&one, "/x", &token("carol", &[])).await.status() == 200).await;
    lost(&one, true).await;
    cluster.servers[holder].start_again().await;
    lost(&one, false).await;
}

#[tokio::test]
async fn behind_sentinels_another_master_is_found() {
    let mut watched = Sentinel::start().await;
    let config = at(&per_user(4), &watched.url("", ""), "");
    let gate = Gate::start(&config);
    lost(&gate, false).await;
    assert_eq!(accepted_of(&gate, 6, &token("alice", &[])).await, 4);
    watched.servers[0].kill();
    watched.servers[1].says(&["ROLE"], "master").await;
    let found = async || {
        let before = gate.metric("portcullis_limits_fallbacks_total").await;
        let status = ask(&gate, "/x", &token(&format!("{:x}", fastrand::u64(..)), &[])).await.status();
        status == 200 && gate.metric("portcullis_limits_fallbacks_total").await == before
    };
    within("the other master", found).await;
    assert_eq!(accepted_of(&gate, 6, &token("bob", &[])).await, 4);
}

/// A request that takes from the bucket of its address before it is proven, and gives back what it need not have taken.
#[tokio::test]
async fn what_is_given_back_is_given_back_in_redis() {
    let redis = Server::start().await;
    let limits = format!("- {{name: guesses, by: client, counts: failures, {SLOW}, burst: 2}}");
    let gate = Gate::start(&at(&policy(&limits, RULES), &redis.url(), ""));
    let key = "{portcullis:limits}:guesses,client:203.0.113.7";
    for number in 0..6 {
        ask(&gate, "/x", &token(&format!("user-{number}"), &[])).await.expect(200, "allowed");
        within("given back", async || redis.ask(&["EXISTS", key]).await == "int(0)").await;
    }
    ask(&gate, "/x", "no.token.at-all").await.expect(401, "malformed_token");
    assert_eq!(redis.ask(&["EXISTS", key]).await, "int(1)");
}

/// It is Redis that is to be judged: a gate that stands still for longer than the time-out, as a machine or its share of a processor may,
/// has not lost it. What it would let through then nobody has counted.
#[tokio::test]
async fn a_gate_that_stands_still_has_not_lost_its_redis() {
    let redis = Server::start().await;
    let gate = Gate::start(&at(&per_user(5), &redis.url(), "  on_loss: danger_allow\n"));
    let alice = token("alice", &[]);
    assert_eq!(accepted_of(&gate, 9, &alice).await, 5);
    for _ in 0..5 {
        let asked = futures_util::future::join_all((0..16).map(|_| ask(&gate, "/x", &alice)));
        let stopped = async {
            gate.signal("STOP");
            // Longer than the time-out of 100 ms.
            tokio::time::sleep(Duration::from_millis(250)).await;
            gate.signal("CONT");
        };
        let (answers, ()) = tokio::join!(asked, stopped);
        for answer in answers {
            answer.expect(429, "rate_limited");
        }
    }
    assert_eq!(gate.metric("portcullis_limits_fallbacks_total").await, Some(0.0), "{}", gate.log());
}

/// The same of a gate that is asked more than it can answer at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_does_not_make_redis_count_as_lost() {
    let redis = Server::start().await;
    let gate = Gate::start(&at(&per_user(5), &redis.url(), "  on_loss: danger_allow\n"));
    let alice = token("alice", &[]);
    assert_eq!(accepted_of(&gate, 9, &alice).await, 5);
    let client = crate::support::raw::Client::plain(gate.decisions());
    let authorization = format!("Bearer {alice}");
    let facts = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/x"),
        ("X-Forwarded-Host", crate::support::raw::HOST),
        ("X-Forwarded-For", "203.0.113.7"),
        ("Authorization", &*authorization),
    ];
    let request = crate::support::raw::request("GET", "/validate", &facts, b"");
    let answers = futures_util::future::join_all((0..1_500).map(|_| client.try_send(&request))).await;
    let passed = answers.iter().flatten().filter(|answer| answer.status == 200).count();
    assert_eq!(passed, 0, "{}", gate.log());
    let limited = answers.iter().flatten().filter(|answer| answer.status == 429).count();
    assert!(limited > 500, "{limited} of 1500");
}

/// What lies there that is no bucket, or one of before: it is as if there were none, and nobody else is concerned.
#[tokio::test]
async fn what_somebody_else_has_put_there_is_no_bucket() {
    let redis = Server::start().await;
    let gate = Gate::start(&at(&per_user(3), &redis.url(), ""));
    redis.ask(&["HSET", "{portcullis:limits}:user,user:shop,alice", "a", "b"]).await;
    redis.ask(&["SET", "{portcullis:limits}:user,user:shop,bob", "nonsense"]).await;
    for user in ["alice", "bob"] {
        assert_eq!(accepted_of(&gate, 5, &token(user, &[])).await, 3, "{user}");
    }
    assert_eq!(gate.metric("portcullis_limits_store_failures_total").await, Some(0.0), "{}", gate.log());
}

/// A clock that was put back, as that of the next master may be.
#[tokio::test]
async fn a_server_whose_clock_goes_back_shuts_nobody_out() {
    let redis = Server::start().await;
    let config = at(&policy("- {name: user, by: user, rate: 2, period: 1s, burst: 4}", RULES), &redis.url(), "");
    let gate = Gate::start(&config);
    let alice = token("alice", &[]);
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
    // As if that had been an hour later by the clock of then: microseconds since 2025, and those from empty to full.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_micros();
    let later = now - 1_735_689_600_000_000 + 3_600_000_000;
    redis.ask(&["SET", "{portcullis:limits}:user,user:shop,alice", &format!("{later}.000 2000000.000")]).await;
    let refused = ask(&gate, "/x", &alice).await;
    assert_eq!(refused.expect(429, "rate_limited").header("retry-after"), Some("1"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
}

/// One bucket by the numbers of two tiers.
#[tokio::test]
async fn a_users_two_tiers_use_up_one_bucket() {
    let redis = Server::start().await;
    let limits =
        "- {name: user, by: user, rate: 2, period: 1h, burst: 4, tiers: {pro: {rate: 1, period: 1s, burst: 8}}}";
    for store in [at(&policy(limits, RULES), &redis.url(), ""), policy(limits, RULES)] {
        let gate = Gate::start(&store);
        let pro = crate::support::gate::KEY.token(&crate::support::gate::claims(serde_json::json!({"tier": "pro"})));
        assert_eq!(accepted_of(&gate, 2, &token("alice", &[])).await, 2, "a half");
        let rest = accepted_of(&gate, 9, &pro).await;
        assert!((4..=6).contains(&rest), "{rest}: a half of the other numbers, and what came in");
        let refused = ask(&gate, "/x", &pro).await;
        if refused.status() == 429 {
            assert_eq!(refused.header("retry-after"), Some("1"));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        ask(&gate, "/x", &pro).await.expect(200, "allowed");
    }
}
