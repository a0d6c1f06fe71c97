//! What who is limited is told.

use super::{RULES, SLOW, ask, bearer, per_user, policy};
use crate::support::gate::{Config, Gate, token};
use crate::support::raw;

/// Lets alice use up a bucket of one.
async fn used_up(config: &Config) -> (Gate, String) {
    let gate = Gate::start(config);
    let alice = token("alice", &["user"]);
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
    (gate, alice)
}

#[tokio::test]
async fn a_program_gets_a_problem_with_the_draft_headers() {
    let (gate, alice) = used_up(&per_user(1)).await;
    let refused = ask(&gate, "/x", &alice).await;
    refused.expect(429, "rate_limited");
    assert_eq!(refused.header("retry-after"), Some("3600"));
    assert_eq!(refused.header("ratelimit"), Some("\"user\";r=0;t=3600"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"user\";q=1;w=3600"));
    assert_eq!(refused.header("x-ratelimit-limit"), None);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    let problem = refused.response.json();
    assert_eq!((problem["title"].as_str(), problem["status"].as_u64()), (Some("Too Many Requests"), Some(429)));
    assert_eq!((refused.rule(), refused.audit["limit"].as_str()), ("all", Some("user")));
    assert_eq!(refused.audit["subject"], "alice");
    let denied = "portcullis_decisions_total{outcome=\"deny\",reason=\"rate_limited\",dialect=\"traefik\"}";
    assert_eq!(gate.metric(denied).await, Some(1.0));
}

#[tokio::test]
async fn a_person_gets_a_page_and_is_not_sent_to_sign_in() {
    let config = per_user(1).edit("limits:\n", "refusals: {sign_in: \"https://login.example.com/\"}\nlimits:\n");
    let (gate, alice) = used_up(&config).await;
    let refused = gate.ask("GET", "/x", &[("Authorization", &bearer(&alice)), ("Sec-Fetch-Mode", "navigate")]).await;
    refused.expect(429, "rate_limited");
    assert_eq!(refused.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(refused.header("retry-after"), Some("3600"));
    assert!(refused.response.text().contains("Too Many Requests"), "{refused:?}");
}

#[tokio::test]
async fn a_rules_message_is_not_for_who_is_limited() {
    let rules = "- {id: all, hosts: [shop.localhost], paths: [/**], allow: authenticated, message: For the finance department only.}";
    let (gate, alice) = used_up(&policy(&format!("- {{name: user, by: user, {SLOW}, burst: 1}}"), rules)).await;
    assert!(!ask(&gate, "/x", &alice).await.response.text().contains("finance"));
}

#[tokio::test]
async fn the_older_headers_and_those_of_an_allow_by_choice() {
    let chosen = "limit_headers: {draft: false, x: true, on_allow: true}\nlimits:\n";
    let gate = Gate::start(&per_user(2).edit("limits:\n", chosen));
    let alice = token("alice", &["user"]);
    let told = async || {
        let answer = ask(&gate, "/x", &alice).await;
        let header = |name: &str| answer.header(name).map(str::to_owned);
        let told = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit", "retry-after"];
        (answer.status(), told.map(header))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(told().await, (200, [some("2"), some("1"), some("3600"), None, None]));
    assert_eq!(told().await.1[1], some("0"));
    let (status, [limit, remaining, _, draft, retry]) = told().await;
    assert_eq!((status, limit, remaining, draft, retry), (429, some("2"), some("0"), None, some("3600")));

    let gate = Gate::start(&per_user(2).edit("limits:\n", "limit_headers: {on_allow: true}\nlimits:\n"));
    let allowed = ask(&gate, "/x", &alice).await;
    assert_eq!(allowed.header("ratelimit"), Some("\"user\";r=1;t=3600"));
    let quiet = Gate::start(&per_user(2).edit("limits:\n", "limit_headers: {draft: false}\nlimits:\n"));
    let allowed = ask(&quiet, "/x", &alice).await;
    assert!(allowed.response.headers.iter().all(|(name, _)| !name.to_ascii_lowercase().contains("ratelimit")));
}

/// nginx passes on 401 and 403 only: the rest is for its file.
#[tokio::test]
async fn nginx_is_told_in_its_own_way() {
    let (gate, alice) = used_up(&per_user(1)).await;
    let facts = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/x"),
        ("X-Forwarded-Host", raw::HOST),
        ("X-Forwarded-For", "203.0.113.7"),
        ("Authorization", &*bearer(&alice)),
    ];
    let refused = gate.send("GET", "/nginx/validate", &facts).await;
    assert_eq!((refused.status(), refused.reason()), (403, "rate_limited"));
    assert_eq!(refused.header("x-portcullis-status"), Some("429"));
    assert_eq!(refused.header("x-portcullis-reason"), Some("rate_limited"));
    assert_eq!(refused.header("retry-after"), Some("3600"));
    assert_eq!(refused.header("ratelimit"), Some("\"user\";r=0;t=3600"));
}

/// `explain` tells the decision and takes nothing.
#[tokio::test]
async fn explain_looks_and_does_not_take() {
    let config =
        policy(&format!("- {{name: user, by: user, {SLOW}, burst: 2}}"), RULES).file("admin.token", &"t".repeat(32));
    let config = config.edit("  admin:\n", "  admin:\n    token_file: admin.token\n");
    let gate = Gate::start(&config);
    let alice = token("alice", &["user"]);
    let explain = async || {
        let body = serde_json::json!({"url": "https://shop.localhost/x", "token": alice}).to_string();
        let headers = [("Authorization", &*format!("Bearer {}", "t".repeat(32)))];
        raw::send(gate.admin(), raw::request("POST", "/explain", &headers, body.as_bytes())).await.json()
    };
    for _ in 0..5 {
        let said = explain().await;
        assert_eq!(said["decision"], "allow", "{said}");
        assert_eq!(said["limits"][0]["limit"], "user");
        assert_eq!(said["limits"][0]["rate"], "1 per 1h, burst 2");
    }
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
    let said = explain().await;
    assert_eq!((said["reason"].as_str(), said["status"].as_u64()), (Some("rate_limited"), Some(429)), "{said}");
    assert_eq!(said["headers"]["retry-after"], "3600");
    let limited = gate.metric("portcullis_limits_total{limit=\"user\",result=\"limited\"}").await;
    assert_eq!(limited, Some(0.0), "nobody was limited");
}
