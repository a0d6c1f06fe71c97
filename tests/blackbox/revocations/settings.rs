//! What the settings of revocation allow, and what they keep secret.

use super::*;
use crate::support::authority::Authority;
use crate::support::redis::{Server, authority};

#[test]
fn who_could_revoke_nothing_is_warned() {
    let address = "  admin:\n    address: 127.0.0.1:0";
    let (code, text) = in_memory().edit(&format!("{address}\n    token_file: admin.token"), address).check();
    assert_eq!((code, text.contains("warning: revocations: nobody can revoke anything")), (0, true), "{text}");
    let (code, text) = config("{}", "").check();
    assert_eq!((code, text.contains("warning")), (0, false), "{text}");
    let token_only = Config::shop().edit(address, &format!("{address}\n    token_file: admin.token"));
    let (code, text) = token_only.file("admin.token", ADMIN).check();
    // It serves `explain` and `limits show` as well.
    assert_eq!((code, text.contains("warning")), (0, false), "{text}");
}

#[test]
fn what_was_given_up_is_said_at_every_check() {
    let issuer = "audiences: [shop]\n    danger_no_expiry: true";
    let risky = config("{danger_memory: true}", "  on_stale: danger_go_on").edit("audiences: [shop]", issuer);
    let (code, text) = risky.check();
    for wanted in [
        "warning: revocations.store.danger_memory: a restart forgets",
        "warning: revocations.on_stale: danger_go_on: revoked tokens pass",
        "warning: issuer `shop`: danger_no_expiry: tokens may hold for ever",
    ] {
        assert_eq!((code, text.contains(wanted)), (0, true), "{wanted}: {text}");
    }
}

#[test]
fn a_password_is_never_printed() {
    const SECRET: &str = "hunter2-correct-horse";
    let url = format!("redis://gate:{SECRET}@127.0.0.1:1");
    for store in [
        format!("{{redis: {{url: '{url}'}}}}"),
        format!("{{redis: {{url: 'redis://:{SECRET}@127.0.0.1:1'}}}}"),
        format!("{{redis: {{password: '{SECRET}'}}}}"),
        format!("{{redis: {{url: 'redis-cluster://:{SECRET}@127.0.0.1:1'}}}}"),
        format!("{{redis: {{url: 'redis-sentinel://127.0.0.1:1?master=m&sentinel_password={SECRET}'}}}}"),
        "{redis: {url_file: redis.url}}".to_owned(),
        "{redis: {url_file: slash.url}}".to_owned(),
        "{redis: {url_file: sentinel.url}}".to_owned(),
        "{redis: {url_env: REDIS_URL}}".to_owned(),
        "{redis: {url_file: good.url, url_env: REDIS_URL}}".to_owned(),
        "{redis: {url_file: good.url, ca_file: redis.url}}".to_owned(),
    ] {
        let config = config(&store, "")
            .file("redis.url", &url.replace("redis://", "http://"))
            .file("good.url", &url)
            .file("slash.url", &format!("redis-cluster://gate:a/{SECRET}@127.0.0.1:1"))
            .file("sentinel.url", &format!("redis-sentinel://127.0.0.1:1?sentinel_password={SECRET}"))
            .env("REDIS_URL", &url.replace("@127", "@[127"));
        for (code, text) in [config.check(), config.serve_fails()] {
            assert_eq!((code, text.contains(SECRET)), (64, false), "{store}: {text}");
        }
    }
}

#[test]
fn a_file_with_a_url_that_is_none_is_named_with_what_it_must_hold() {
    let (code, text) = config("{redis: {url_file: redis.url}}", "").file("redis.url", "redis:/127.0.0.1").check();
    let wanted = "redis.url: this is no URL of a Redis; write rediss://USER:PASSWORD@HOST:PORT into it";
    assert_eq!((code, text.contains(wanted), text.contains("%XX")), (64, true, true), "{text}");
    let (_, text) = config("{redis: {url_file: nowhere}}", "").check();
    assert_eq!(text.matches("nowhere").count(), 1, "{text}");
}

#[test]
fn the_token_of_the_admin_listener_is_long_and_never_printed() {
    for (file, secret) in
        [("0123456789", "0123456789"), (&*format!("{ADMIN} "), ADMIN), (&format!("{ADMIN}\n\n"), ADMIN), ("", "\u{0}")]
    {
        let (code, text) = in_memory().file("admin.token", file).check();
        assert_eq!(
            (code, text.contains("listeners") || text.contains("token"), text.contains(secret)),
            (64, true, false),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_ends_the_start() {
    let (code, text) = config("{sqlite: {file: revocations.db}}", "")
        .file("revocations.db", &"no database ".repeat(100))
        .serve_fails();
    assert_eq!(code, 1, "{text}");
    for wanted in ["revocations.db cannot be used for revocations: ", "revocations.store.sqlite.file"] {
        assert!(text.contains(wanted), "{text}");
    }
}

#[tokio::test]
async fn a_guarded_redis_is_spoken_to_over_tls_with_its_own_user() {
    let server = Server::start_guarded().await;
    let (friend, stranger) = (authority(), Authority::new().pem());
    let configured = |authority: &str, password: &str| {
        config("{redis: {url_file: redis.url, ca_file: ca.crt}}", "")
            .file("redis.url", &format!("rediss://gate:{password}@{}\n", server.address()))
            .file("ca.crt", authority)
    };
    let gate = ready(&configured(&friend, "secret")).await;
    revoke(&gate, json!({"jti": "t"})).await;
    ask(&gate, &token(json!({"jti": "t"}))).await.expect(401, "revoked");
    // Neither a stranger's certificate nor a wrong password is any good, and nobody's password is in the log.
    for (authority, password, wanted) in [(&stranger, "secret", "certificate"), (&friend, "secrets", "Password")] {
        let gate = Gate::start(&configured(authority, password));
        within(Duration::from_secs(10), "a word in the log", async || gate.log().contains(wanted)).await;
        assert!(!is_ready(&gate).await && !gate.log().contains("gate:"), "{}", gate.log());
        ask(&gate, &token(json!({}))).await.expect(503, "revocations_stale");
    }
    assert!(!gate.log().contains("secret"), "{}", gate.log());
}
