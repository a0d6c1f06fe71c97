//! Several gates and several servers: a cluster, and a master with its replica behind Sentinels.

use super::*;
use crate::support::authority::Authority;
use crate::support::redis::authority;
use crate::support::redis::several::{Cluster, Sentinel};

/// Where the entries are, and all that belongs to them.
const KEY: &str = "{portcullis:revocations}:bodies";

fn at(url: &str) -> Config {
    config(&format!("{{redis: {{url: '{url}'}}}}"), "  max_feed_age: 2s")
}

/// What one of them revokes the other refuses within a second.
async fn agree(one: &Gate, other: &Gate, jti: &str) -> String {
    let known = token(json!({"jti": jti}));
    for gate in [one, other] {
        ask(gate, &known).await.expect(200, "allowed");
    }
    // What comes while a connection to a dead server is given up may fail, and says so.
    within(Duration::from_secs(5), jti, async || {
        let started = Instant::now();
        let answer = admin(one, "POST", "/revocations", &json!({"jti": jti}).to_string()).await;
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        assert!([201, 503].contains(&answer.status), "{}", answer.text());
        answer.status == 201
    })
    .await;
    ask(one, &known).await.expect(401, "revoked");
    within(SECOND, jti, async || refused(other, &known).await).await;
    known
}

/// Waits until the token passes again. Until then each answer is documented, and none takes long.
async fn fresh(gate: &Gate, good: &str) {
    within(Duration::from_secs(15), "fresh again", async || {
        let started = Instant::now();
        let answer = ask(gate, good).await;
        assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
        is_documented(&answer);
        answer.status() == 200
    })
    .await;
}

async fn stale(gate: &Gate, good: &str) {
    within(Duration::from_secs(6), "stale", async || {
        let answer = ask(gate, good).await;
        is_documented(&answer);
        answer.status() == 503
    })
    .await;
}

#[tokio::test]
async fn a_cluster_serves_as_one_server_does_and_its_other_servers_may_hang() {
    let mut cluster = Cluster::start().await;
    let config = at(&cluster.url(""));
    let (one, other) = tokio::join!(ready(&config), ready(&config));
    let mine = agree(&one, &other, "a").await;
    let good = token(json!({"jti": "good"}));

    // One without any key of ours hangs: nobody notices, and one that starts meanwhile connects past it.
    let holder = cluster.holder(KEY).await;
    let bystander = &cluster.servers[(holder + 1) % 3];
    bystander.signal("STOP");
    agree(&other, &one, "b").await;
    let late = ready(&config).await;
    ask(&late, &mine).await.expect(401, "revoked");
    agree(&late, &one, "c").await;
    bystander.signal("CONT");

    // The one with the keys hangs, and goes on.
    cluster.servers[holder].signal("STOP");
    stale(&one, &good).await;
    let started = Instant::now();
    assert_eq!(admin(&one, "POST", "/revocations", "{\"jti\":\"x\"}").await.status, 503);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    cluster.servers[holder].signal("CONT");
    for gate in [&one, &other] {
        fresh(gate, &good).await;
    }
    agree(&one, &other, "d").await;

    // It is killed with its data, and gets it back.
    cluster.servers[holder].kill();
    stale(&one, &good).await;
    cluster.servers[holder].start_again().await;
    for gate in [&one, &other] {
        fresh(gate, &good).await;
        ask(gate, &mine).await.expect(401, "revoked");
    }
    // With or without x, which nobody confirmed.
    within(Duration::from_secs(5), "written back", async || {
        ["int(4)", "int(5)"].contains(&cluster.servers[holder].ask(&["HLEN", KEY]).await.as_str())
    })
    .await;
    agree(&one, &other, "e").await;
}

/// The machine of the master dies with one of the Sentinels, the one that is named first, and nothing says so: both only fall silent.
#[tokio::test]
async fn gates_follow_sentinels_to_another_master() {
    let mut watched = Sentinel::start().await;
    let config = at(&watched.url("", ""));
    let (one, other) = tokio::join!(ready(&config), ready(&config));
    let mine = agree(&one, &other, "a").await;
    let good = token(json!({"jti": "good"}));
    watched.servers[1].says(&["HLEN", KEY], "int(1)").await;

    watched.servers[0].signal("STOP");
    watched.sentinels[0].signal("STOP");
    watched.servers[1].says(&["ROLE"], "master").await;
    for gate in [&one, &other] {
        fresh(gate, &good).await;
        ask(gate, &mine).await.expect(401, "revoked");
    }
    agree(&other, &one, "b").await;
    let late = ready(&config).await;
    ask(&late, &mine).await.expect(401, "revoked");
    assert!(watched.servers[1].ask(&["HLEN", KEY]).await == "int(2)");

    // The old master wakes up, believes that it still is one, and is told that it is not: nobody keeps to it.
    watched.servers[0].signal("CONT");
    watched.sentinels[0].signal("CONT");
    watched.servers[0].says(&["ROLE"], "slave").await;
    agree(&one, &late, "c").await;

    // And back again, this time by a crash.
    watched.servers[0].says(&["INFO", "replication"], "master_link_status:up").await;
    watched.servers[0].says(&["HLEN", KEY], "int(3)").await;
    watched.servers[1].kill();
    watched.servers[0].says(&["ROLE"], "master").await;
    for gate in [&one, &other, &late] {
        fresh(gate, &good).await;
        ask(gate, &mine).await.expect(401, "revoked");
    }
    agree(&late, &other, "d").await;
}

/// Over TLS, with users of their own for servers and Sentinels, and the rights that the README lists.
#[tokio::test]
async fn guarded_ones_are_spoken_to_with_what_the_readme_lists() {
    let (cluster, watched) = tokio::join!(Cluster::start_guarded(), Sentinel::start_guarded());
    for url in [cluster.url("gate:secret@"), watched.url("gate:secret@", "&sentinel_user=gate&sentinel_password=watch")]
    {
        let configured = |url: &str, authority: &str| {
            config("{redis: {url_file: redis.url, ca_file: ca.crt}}", "")
                .file("redis.url", url)
                .file("ca.crt", authority)
        };
        let config = configured(&url, &authority());
        let (one, other) = tokio::join!(ready(&config), ready(&config));
        agree(&one, &other, "a").await;
        let wrong = [
            (url.replace("secret", "hunter2"), authority(), "Password"),
            (url.replace("watch", "hunter2"), Authority::new().pem(), "certificate"),
        ];
        for (url, authority, wanted) in wrong {
            let gate = Gate::start(&configured(&url, &authority));
            within(Duration::from_secs(10), wanted, async || gate.log().contains(wanted)).await;
            for secret in ["secret", "hunter2", "watch"] {
                assert!(!gate.log().contains(secret), "{}", gate.log());
            }
            assert!(!is_ready(&gate).await);
        }
    }
}
