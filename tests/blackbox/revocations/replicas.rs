//! Several gates and one store: what one revokes the others refuse, whatever happens to the store.

use super::*;
use crate::support::redis::Server;

fn by(server: &Server) -> Config {
    config(&format!("{{redis: {{url: '{}'}}}}", server.url()), "  max_feed_age: 2s")
}

#[tokio::test]
async fn what_one_replica_revokes_the_other_refuses_within_a_second() {
    let server = Server::start().await;
    let config = by(&server);
    let (one, other) = tokio::join!(ready(&config), ready(&config));
    let mut slowest = Duration::ZERO;
    for round in 0..8 {
        let (here, there) = if round % 2 == 0 { (&one, &other) } else { (&other, &one) };
        let known = token(json!({"jti": format!("t{round}"), "sid": "s", "sub": format!("u{round}")}));
        for gate in [here, there] {
            ask(gate, &known).await.expect(200, "allowed");
        }
        let what = if round < 4 { json!({"jti": format!("t{round}")}) } else { subject(&format!("u{round}")) };
        let entry = revoke(here, what).await;
        ask(here, &known).await.expect(401, "revoked");
        slowest = slowest.max(within(SECOND, "refused there", async || refused(there, &known).await).await);
        // Taking it back reaches the other as fast, whoever does it.
        assert_eq!(remove(there, &entry).await, 204);
        ask(there, &known).await.expect(200, "allowed");
        slowest = slowest.max(within(SECOND, "allowed here", async || !refused(here, &known).await).await);
    }
    println!("the other replica knew after at most {slowest:?}");
}

/// Redis loses everything; its replicas write back what they hold, and nobody who starts meanwhile is asked too early.
#[tokio::test]
async fn a_redis_killed_with_its_data_gets_it_back_and_nothing_is_forgotten() {
    let mut server = Server::start().await;
    let config = by(&server);
    let (one, other) = tokio::join!(ready(&config), ready(&config));
    let mine: Vec<String> = (0..3).map(|n| token(json!({"jti": format!("t{n}"), "sub": format!("u{n}")}))).collect();
    let good = token(json!({"jti": "good"}));
    revoke(&one, json!({"jti": "t0"})).await;
    revoke(&other, subject("u1")).await;
    let back = revoke(&one, json!({"jti": "t2"})).await;
    assert_eq!(remove(&other, &back).await, 204);
    for gate in [&one, &other] {
        within(SECOND, "known", async || {
            refused(gate, &mine[0]).await && refused(gate, &mine[1]).await && !refused(gate, &mine[2]).await
        })
        .await;
    }

    server.kill();
    // No request hangs: each is answered within the deadline of a decision, first as before, then with the documented answer.
    let since = within(Duration::from_secs(5), "stale", async || {
        let started = Instant::now();
        let answer = ask(&one, &good).await;
        assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
        is_documented(&answer);
        answer.reason() == "revocations_stale"
    })
    .await;
    assert!(since > SECOND, "within max_feed_age the last knowledge serves: {since:?}");
    ask(&one, &good).await.expect(503, "revocations_stale");
    let told = "what is revoked is not known any more: every token is refused";
    within(Duration::from_secs(5), "told", async || one.log().contains(told)).await;
    ask(&one, &mine[0]).await.expect(401, "revoked");
    one.ask("GET", "/", &[]).await.expect(200, "allowed");
    assert!(is_ready(&one).await, "what needs no token goes on");
    let started = Instant::now();
    let answer = admin(&one, "POST", "/revocations", "{\"jti\":\"x\"}").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (503, Some("application/problem+json")),
        "{}",
        answer.text()
    );
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // One that starts meanwhile is not ready, and lets nobody in.
    let late = Gate::start(&config);
    let answer = late.admin_get("/ready").await;
    assert_eq!((answer.status, answer.json()["why"].clone()), (503, json!("revocations are not loaded")));
    ask(&late, &good).await.expect(503, "revocations_stale");

    server.start_again().await;
    let again = Instant::now();
    // Redis is empty. Both older replicas write back what they hold, and go on once either could have.
    for gate in [&one, &other] {
        within(Duration::from_secs(12), "fresh again", async || ask(gate, &good).await.status() == 200).await;
        for token in &mine[..2] {
            ask(gate, token).await.expect(401, "revoked");
        }
        ask(gate, &mine[2]).await.expect(200, "allowed");
    }
    // The late one never lets a revoked token pass, not even in the moment in which it becomes ready.
    within(Duration::from_secs(15), "the late one is ready", async || {
        for token in &mine[..2] {
            assert_ne!(ask(&late, token).await.status(), 200);
        }
        is_ready(&late).await
    })
    .await;
    assert!(again.elapsed() > Duration::from_secs(4), "it waited for those who hold entries: {:?}", again.elapsed());
    for token in &mine[..2] {
        ask(&late, token).await.expect(401, "revoked");
    }
    ask(&late, &mine[2]).await.expect(200, "allowed");
    assert_eq!(one.log().matches(told).count(), 1, "once");
    // And what is revoked now reaches all.
    revoke(&late, json!({"jti": "good"})).await;
    for gate in [&one, &other, &late] {
        within(SECOND, "known", async || refused(gate, &good).await).await;
    }
    assert!(one.log().contains("written back") || other.log().contains("written back"));
}

#[tokio::test]
async fn data_that_is_lost_without_a_restart_is_noticed_too() {
    let server = Server::start().await;
    let config = by(&server);
    let gate = ready(&config).await;
    revoke(&gate, json!({"jti": "t"})).await;
    server.ask(&["FLUSHALL"]).await;
    within(Duration::from_secs(5), "written back", async || {
        server.ask(&["HLEN", "{portcullis:revocations}:bodies"]).await == "int(1)"
    })
    .await;
    ask(&gate, &token(json!({"jti": "t"}))).await.expect(401, "revoked");
    let late = ready(&config).await;
    ask(&late, &token(json!({"jti": "t"}))).await.expect(401, "revoked");
}

/// Of its keys only the counter is lost: revoking goes on, and everybody hears of it.
#[tokio::test]
async fn a_lost_counter_is_found_again_in_the_feed() {
    let server = Server::start().await;
    let config = by(&server);
    let (one, other) = tokio::join!(ready(&config), ready(&config));
    for jti in ["a", "b", "c"] {
        revoke(&one, json!({"jti": jti})).await;
        server.ask(&["DEL", "{portcullis:revocations}:number"]).await;
    }
    revoke(&other, json!({"jti": "d"})).await;
    for gate in [&one, &other] {
        for jti in ["a", "b", "c", "d"] {
            let token = token(json!({"jti": jti}));
            within(Duration::from_secs(3), jti, async || refused(gate, &token).await).await;
        }
    }
    assert_eq!(server.ask(&["GET", "{portcullis:revocations}:number"]).await, "bulk-string('\"4\"')");
}

/// Only the entries themselves are lost: a gate that starts then must not take nothing for everything.
#[tokio::test]
async fn lost_entries_are_noticed_though_the_rest_is_there() {
    let server = Server::start().await;
    let config = by(&server);
    let gate = ready(&config).await;
    revoke(&gate, json!({"jti": "t"})).await;
    let revoked = token(json!({"jti": "t"}));
    for round in 0..3 {
        server.ask(&["DEL", "{portcullis:revocations}:bodies"]).await;
        if round == 2 {
            revoke(&gate, json!({"jti": "another"})).await;
        }
        let late = Gate::start(&config);
        within(Duration::from_secs(15), "ready", async || {
            assert_ne!(ask(&late, &revoked).await.status(), 200, "{round}");
            is_ready(&late).await
        })
        .await;
        ask(&late, &revoked).await.expect(401, "revoked");
    }
    assert!(gate.log().contains("written back"), "{}", gate.log());
}

#[tokio::test]
async fn a_redis_that_hangs_hangs_nobody() {
    let server = Server::start().await;
    let gate = ready(&by(&server)).await;
    let good = token(json!({"jti": "good"}));
    ask(&gate, &good).await.expect(200, "allowed");
    server.signal("STOP");
    within(Duration::from_secs(6), "stale", async || {
        let started = Instant::now();
        let answer = ask(&gate, &good).await;
        assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
        is_documented(&answer);
        answer.status() == 503
    })
    .await;
    let started = Instant::now();
    assert_eq!(admin(&gate, "POST", "/revocations", "{\"jti\":\"x\"}").await.status, 503);
    assert_eq!(admin(&gate, "GET", "/revocations", "").await.status, 200);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    server.signal("CONT");
    within(Duration::from_secs(5), "fresh again", async || ask(&gate, &good).await.status() == 200).await;
    revoke(&gate, json!({"jti": "good"})).await;
    ask(&gate, &good).await.expect(401, "revoked");
}

#[tokio::test]
async fn the_operator_may_go_on_with_what_is_known() {
    let server = Server::start().await;
    let daring = by(&server).edit("  max_feed_age: 2s", "  max_feed_age: 1s\n  on_stale: danger_go_on");
    let gate = ready(&daring).await;
    let (good, bad) = (token(json!({"jti": "good"})), token(json!({"jti": "bad"})));
    revoke(&gate, json!({"jti": "bad"})).await;
    drop(server);
    let age = async || gate.metric("portcullis_revocations_feed_age_seconds").await;
    within(Duration::from_secs(5), "old", async || age().await > Some(1.5)).await;
    ask(&gate, &good).await.expect(200, "allowed");
    ask(&gate, &bad).await.expect(401, "revoked");
    assert!(gate.metric("portcullis_revocations_store_failures_total").await > Some(0.0));
    let late = Gate::start(&daring);
    ask(&late, &good).await.expect(200, "allowed");
    assert!(!is_ready(&late).await, "it does not know what is revoked");
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_not_passed_over() {
    let server = Server::start().await;
    let gate = ready(&by(&server)).await;
    let name = "0".repeat(31) + "1";
    server.ask(&["HSET", "{portcullis:revocations}:bodies", &name, "9999999999999999 {\"iss\":\"x\",\"new\":1}"]).await;
    let late = Gate::start(&by(&server));
    within(Duration::from_secs(10), "said", async || late.log().contains("cannot be read")).await;
    assert!(late.log().contains(&name) && !is_ready(&late).await);
    server.ask(&["HDEL", "{portcullis:revocations}:bodies", &name]).await;
    within(Duration::from_secs(10), "ready", async || is_ready(&late).await).await;
    assert!(is_ready(&gate).await);
}

#[tokio::test]
async fn without_redis_a_restart_forgets_nothing_and_two_gates_share_the_file() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("revocations.db");
    let config = config(&format!("{{sqlite: {{file: '{}'}}}}", file.display()), "");
    let mut one = ready(&config).await;
    let (bad, back) = (token(json!({"jti": "bad"})), token(json!({"jti": "back"})));
    revoke(&one, json!({"jti": "bad"})).await;
    let entry = revoke(&one, json!({"jti": "back"})).await;
    assert_eq!(remove(&one, &entry).await, 204);
    // Killed, so that nothing can be saved at the end.
    one.signal("KILL");
    one.ended().await;
    let (one, other) = tokio::join!(ready(&config), ready(&config));
    for gate in [&one, &other] {
        ask(gate, &bad).await.expect(401, "revoked");
        ask(gate, &back).await.expect(200, "allowed");
    }
    revoke(&other, json!({"jti": "back"})).await;
    within(SECOND, "known", async || refused(&one, &back).await).await;
}

/// What would be written to a file that is gone would be forgotten with the process.
#[tokio::test]
async fn a_file_that_is_taken_away_is_noticed_and_confirms_nothing() {
    let gate = ready(&config("{}", "").edit("  store: {}\n", "  max_feed_age: 1s\n")).await;
    let (file, aside) = (gate.folder().join("revocations.db"), gate.folder().join("aside"));
    revoke(&gate, json!({"jti": "bad"})).await;
    let (good, bad) = (token(json!({"jti": "good"})), token(json!({"jti": "bad"})));
    let refuses = async |what: &str| {
        let answer = admin(&gate, "POST", "/revocations", "{\"jti\":\"x\"}").await;
        assert_eq!((answer.status, answer.text().contains("put it back")), (503, true), "{what}: {}", answer.text());
        within(Duration::from_secs(5), what, async || ask(&gate, &good).await.reason() == "revocations_stale").await;
        ask(&gate, &bad).await.expect(401, "revoked");
    };
    std::fs::rename(&file, &aside).expect("taken away");
    refuses("gone").await;
    assert!(gate.log().contains("revocations.db was removed or exchanged"), "{}", gate.log());
    std::fs::write(&file, "").expect("another one");
    refuses("exchanged").await;
    std::fs::rename(&aside, &file).expect("put back");
    within(Duration::from_secs(5), "back", async || ask(&gate, &good).await.status() == 200).await;
    revoke(&gate, json!({"jti": "good"})).await;
    ask(&gate, &good).await.expect(401, "revoked");
}

#[tokio::test]
async fn the_default_is_a_file_beside_the_settings() {
    let gate = ready(&config("{}", "").edit("  store: {}\n", "  resync: 30s\n")).await;
    revoke(&gate, json!({"jti": "bad"})).await;
    assert!(gate.folder().join("revocations.db").is_file());
}
