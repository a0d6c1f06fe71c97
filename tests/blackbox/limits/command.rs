//! `portcullis limits show`: what a running gate says of somebody's buckets.

use std::process::Command;

use super::{RULES, SLOW, ask, policy};
use crate::support::gate::{Gate, PROGRAM, token};
use crate::support::raw;

fn show(gate: &Gate, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(PROGRAM)
        .args(["limits", "show", "--admin", &format!("http://{}", gate.admin()), "--token-file"])
        .arg(gate.folder().join("admin.token"))
        .args(arguments)
        .output()
        .expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("text"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_shown_and_nothing_is_taken_from_it() {
    let limits = format!(
        "- {{name: user, by: user, {SLOW}, burst: 3, tiers: {{pro: {{rate: 9, burst: 9}}}}}}
         - {{name: address, by: client, {SLOW}, burst: 5}}
         - {{name: dear, by: [user, rule]}}"
    );
    let rules = format!(
        "{RULES}\n- {{id: dear, hosts: [shop.localhost], paths: [/dear], allow: authenticated, limits: {{dear: {{rate: 1, burst: 1}}}}}}"
    );
    let config = policy(&limits, &rules).file("admin.token", &"t".repeat(32));
    let gate = Gate::start(&config.edit("  admin:\n", "  admin:\n    token_file: admin.token\n"));
    let alice = token("alice", &["user"]);
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
    for _ in 0..3 {
        let (done, said) = show(&gate, &["alice", "--client", "203.0.113.7"]);
        assert!(done, "{said}");
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].starts_with("user,user:shop,alice  2 of 3 left, full in 1h  (1 per 1h, burst 3)"), "{said}");
        assert!(
            lines[1].starts_with("user,user:shop,alice") && lines[1].ends_with("(9 per 1h, burst 9, tier pro)"),
            "{said}"
        );
        assert!(lines[2].starts_with("address,client:203.0.113.7  4 of 5 left"), "{said}");
        assert!(lines[3].starts_with("dear@dear,user:shop,alice,rule:dear  1 of 1 left, full  "), "{said}");
        assert_eq!(lines[4..], ["kept by memory"], "{said}");
    }
    let (_, said) = show(&gate, &["alice", "--tier", "pro", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["buckets"].as_array().expect("a list").len(), 2, "{said}");
    assert_eq!(said["buckets"][0]["burst"], 9);
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
    let (_, said) = show(&gate, &["alice", "--tier", "free"]);
    assert!(said.contains("0 of 3 left, empty, next in 1h, full in 3h"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_shown_says_why() {
    let limits = format!("- {{name: user, by: user, {SLOW}, burst: 3}}");
    let config = policy(&limits, RULES).file("admin.token", &"t".repeat(32));
    let gate = Gate::start(&config.edit("  admin:\n", "  admin:\n    token_file: admin.token\n"));
    for (arguments, why) in [
        (&["alice", "--issuer", "other"][..], "no issuer has this name: write one of `shop`"),
        (&[][..], "name whose buckets"),
        (&["alice", "--claims", "x"][..], "`claims` is a JSON object"),
    ] {
        let (done, said) = show(&gate, arguments);
        assert!(!done && said.contains(why), "{arguments:?}: {said}");
    }
    let (done, said) = show(&gate, &["--client", "203.0.113.7"]);
    assert!(done && said.contains("user,client:203.0.113.7  3 of 3 left, full"), "{said}");
    let refused = raw::send(gate.admin(), raw::request("GET", "/limits?user=alice", &[], b"")).await;
    assert_eq!(refused.status, 401, "only who shows the token: {refused:?}");
}

/// Without its Redis a gate shows what it lets through alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_alone_shows_its_share() {
    for (on_loss, shown) in [
        ("local", "kept by memory (redis is lost: this is the share of one of 3 replicas)"),
        ("refuse", "kept by memory (redis is lost: whoever is under a limit is refused)"),
        ("danger_allow", "kept by memory (redis is lost: nobody is limited)"),
    ] {
        let limits = format!("- {{name: user, by: user, {SLOW}, burst: 9}}");
        let config = policy(&limits, RULES).file("admin.token", &"t".repeat(32));
        let config = config.edit("  admin:\n", "  admin:\n    token_file: admin.token\n");
        // Nobody listens there.
        let store = format!(
            "limits: {{store: {{redis: {{url: 'redis://127.0.0.1:1'}}}}, replicas: 3, on_loss: {on_loss}}}\nlisteners:\n"
        );
        let gate = Gate::start(&config.edit("listeners:\n", &store));
        let (done, said) = show(&gate, &["alice"]);
        assert!(done && said.contains("user,user:shop,alice  3 of 3 left, full"), "{said}");
        assert!(said.contains(shown), "{said}");
    }
}

#[test]
fn check_counts_limits_and_says_what_is_of_no_use() {
    let config = policy(&format!("- {{name: user, by: user, {SLOW}}}"), RULES);
    assert_eq!(config.check(), (0, "portcullis.yaml: good: 3 rules, 1 issuer, 1 limit\n".to_owned()));
    for settings in ["replicas: 2", "on_loss: refuse"] {
        let (code, said) =
            config.clone().edit("listeners:\n", &format!("limits: {{{settings}}}\nlisteners:\n")).check();
        assert!(code == 0 && said.contains("without `store` each gate counts for itself"), "{said}");
    }
    let strangers = policy(&format!("- {{name: s, by: client, counts: unauthenticated, {SLOW}}}"), RULES);
    let forgetful = "stores: {verified_tokens: {max_mebibytes: 0}}\nlisteners:\n";
    let (code, said) = strangers.edit("listeners:\n", forgetful).check();
    assert!(code == 0 && said.contains("makes everybody a stranger at each request"), "{said}");
    let dangerous = "limits: {store: {redis: {url: 'redis://127.0.0.1:1'}}, on_loss: danger_allow}\nlisteners:\n";
    let (code, said) = config.edit("listeners:\n", dangerous).check();
    assert!(code == 0 && said.contains("limits.on_loss: danger_allow: nobody is limited"), "{said}");
}
