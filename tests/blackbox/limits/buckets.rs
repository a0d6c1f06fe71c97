//! Whose bucket it is, and how much is in it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{RULES, SLOW, accepted, accepted_of, ask, bearer, per_user, policy};
use crate::support::gate::{Config, Gate, KEY, claims, token};
use crate::support::raw;

#[tokio::test]
async fn a_burst_is_the_capacity_and_a_users_own() {
    let gate = Gate::start(&per_user(7));
    let alice = token("alice", &["user"]);
    assert_eq!(accepted_of(&gate, 12, &alice).await, 7);
    // Two tokens of one user share one bucket, wherever they stand and wherever they come from.
    let other = KEY.token(&claims(json!({"jti": "another", "roles": ["admin"]})));
    ask(&gate, "/y", &other).await.expect(429, "rate_limited");
    let cookie = format!("jwt={other}; theme=dark");
    gate.ask("GET", "/x", &[("Cookie", &cookie)]).await.expect(429, "rate_limited");
    let from_elsewhere = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/x"),
        ("X-Forwarded-Host", raw::HOST),
        ("X-Forwarded-For", "198.51.100.99"),
        ("Authorization", &bearer(&alice)),
    ];
    gate.send("GET", "/validate", &from_elsewhere).await.expect(429, "rate_limited");
    assert_eq!(accepted_of(&gate, 9, &token("bob", &["user"])).await, 7, "another user's bucket is untouched");
}

#[tokio::test]
async fn it_fills_at_its_rate_and_no_further_than_its_capacity() {
    let gate = Gate::start(&policy("- {name: user, by: user, rate: 20, period: 2s, burst: 10}", RULES));
    let alice = token("alice", &["user"]);
    let begun = Instant::now();
    assert!((10..=11).contains(&accepted_of(&gate, 14, &alice).await), "at once");
    // k/r seconds from empty: k. What is waited for is the bucket itself.
    tokio::time::sleep(Duration::from_millis(400)).await;
    let got = accepted_of(&gate, 14, &alice).await;
    let filled = begun.elapsed().as_secs_f64() * 10.0;
    assert!(got as f64 >= 4.0 && 10.0 + got as f64 <= 10.0 + filled + 1.0, "{got} after {filled} tokens came in");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!((10..=11).contains(&accepted_of(&gate, 14, &alice).await), "after any idle time the capacity");
}

#[tokio::test]
async fn what_retry_after_says_is_enough_for_one() {
    let gate = Gate::start(&policy("- {name: user, by: user, rate: 1, period: 2s, burst: 1}", RULES));
    let alice = token("alice", &["user"]);
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
    let refused = ask(&gate, "/x", &alice).await;
    assert_eq!(refused.expect(429, "rate_limited").header("retry-after"), Some("2"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
}

#[tokio::test]
async fn tiers_have_numbers_of_their_own_or_are_exempt() {
    let limit = format!(
        "- {{name: user, by: user, {SLOW}, burst: 2, tiers: {{pro: {{rate: 1, burst: 4}}, \"top tier\": exempt}}}}"
    );
    let gate = Gate::start(&policy(&limit, RULES));
    let of = |sub: &str, tier: serde_json::Value| KEY.token(&claims(json!({"sub": sub, "tier": tier})));
    assert_eq!(accepted_of(&gate, 6, &of("free", json!(null))).await, 2);
    assert_eq!(accepted_of(&gate, 6, &of("unknown", json!("gold"))).await, 2);
    assert_eq!(accepted_of(&gate, 6, &of("paying", json!("pro"))).await, 4);
    assert_eq!(accepted_of(&gate, 9, &of("exempt", json!("top tier"))).await, 9);
}

#[tokio::test]
async fn rules_override_and_exempt() {
    let rules = "- {id: all, hosts: [shop.localhost], paths: [/**], allow: authenticated}
        - {id: dear, hosts: [shop.localhost], paths: [/dear], allow: authenticated, limits: {user: {rate: 1, burst: 1}, dear: {rate: 1, burst: 3}}}
        - {id: free, hosts: [shop.localhost], paths: [/free], allow: authenticated, limits: {user: exempt}}
        - {id: none, hosts: [shop.localhost], paths: [/none], allow: authenticated, limits: exempt}";
    let limits = format!("- {{name: user, by: user, {SLOW}, burst: 3}}\n- {{name: dear, by: rule, period: 1h}}");
    let gate = Gate::start(&policy(&limits, rules));
    let (alice, bob) = (token("alice", &["user"]), token("bob", &["user"]));
    let count =
        async |wanted, path, token: &str| accepted(&gate, wanted, path, &[("Authorization", &bearer(token))]).await;
    assert_eq!(count(4, "/dear", &alice).await, 1, "the rule's own bucket");
    assert_eq!(count(5, "/x", &alice).await, 3, "which is another one than everybody else's");
    assert_eq!(count(9, "/free", &alice).await, 9);
    assert_eq!(count(9, "/none", &alice).await, 9);
    assert_eq!(count(2, "/dear", &bob).await, 1);
    // What alice was refused cost the bucket of the rule nothing: one is left of three.
    assert_eq!(count(2, "/dear", &token("carol", &[])).await, 1);
    let refused = ask(&gate, "/dear", &token("dave", &[])).await;
    assert_eq!(refused.expect(429, "rate_limited").audit["limit"], "dear");
}

/// Whoever is exempt stays so under a rule with numbers of its own, unless it names his tier.
#[tokio::test]
async fn a_rule_says_otherwise_only_what_it_says() {
    let limit = "- {name: user, by: user, rate: 2, period: 1h, burst: 4, tiers: {pro: {rate: 9}, internal: exempt}}";
    let rules = "- {id: own, hosts: [shop.localhost], paths: [/own], allow: authenticated, limits: {user: {rate: 3}}}
        - {id: burst, hosts: [shop.localhost], paths: [/burst], allow: authenticated, limits: {user: {burst: 5}}}
        - {id: none, hosts: [shop.localhost], paths: [/none], allow: authenticated, limits: {user: {rate: 1, tiers: {internal: {rate: 2}}}}}";
    let gate = Gate::start(&policy(limit, rules));
    let of = |tier: &str| bearer(&KEY.token(&claims(json!({"sub": tier, "tier": tier}))));
    for (path, tier, wanted) in [
        ("/own", "free", 3),
        ("/own", "pro", 3),
        ("/own", "internal", 12),
        ("/burst", "free", 5),
        ("/burst", "internal", 12),
        ("/none", "free", 1),
        ("/none", "internal", 2),
    ] {
        assert_eq!(accepted(&gate, 12, path, &[("Authorization", &of(tier))]).await, wanted, "{path} {tier}");
    }
    let refused = gate.ask("GET", "/burst", &[("Authorization", &of("free"))]).await;
    let wait: u32 = refused.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
    assert!((1_780..=1_800).contains(&wait), "{wait}: the limit's own rate");
}

/// What everybody shares who is let in, strangers cannot use up.
#[tokio::test]
async fn who_is_refused_for_his_credential_takes_nothing_from_all_of_a_rule() {
    let gate = Gate::start(&policy(&format!("- {{name: all, by: rule, {SLOW}, burst: 3}}"), RULES));
    for _ in 0..9 {
        gate.ask("GET", "/x", &[]).await.expect(401, "no_credential");
        ask(&gate, "/x", "x").await.expect(401, "malformed_token");
    }
    assert_eq!(accepted_of(&gate, 5, &token("alice", &[])).await, 3);
}

#[tokio::test]
async fn buckets_by_tenant_tier_claim_and_address() {
    let claim = "claim:https://shop.example/seat";
    for (by, same, other) in [
        ("tenant", json!({"sub": "b", "tenant": "acme"}), json!({"tenant": "other"})),
        ("tier", json!({"sub": "b", "tier": "pro"}), json!({"tier": "free"})),
        (claim, json!({"sub": "b", "https://shop.example/seat": 7}), json!({"https://shop.example/seat": 8})),
        ("client", json!({"sub": "b", "tenant": "other"}), json!(null)),
        ("[tenant, tier]", json!({"sub": "b"}), json!({"tier": "free"})),
    ] {
        let gate = Gate::start(&policy(
            &format!("- {{name: l, by: \"{by}\", {SLOW}, burst: 2}}").replace("\"[", "[").replace("]\"", "]"),
            RULES,
        ));
        let common = json!({"tenant": "acme", "tier": "pro", "https://shop.example/seat": 7});
        let of = |changes: &serde_json::Value| {
            let mut all = common.clone();
            for (name, value) in changes.as_object().into_iter().flatten() {
                all[name] = value.clone();
            }
            KEY.token(&claims(all))
        };
        assert_eq!(accepted_of(&gate, 2, &of(&json!({}))).await, 2, "{by}");
        assert_eq!(accepted_of(&gate, 1, &of(&same)).await, 0, "{by}");
        if !other.is_null() {
            assert_eq!(accepted_of(&gate, 3, &of(&other)).await, 2, "{by}");
        }
    }
    // Who has no such claim has a bucket as a user; a stranger one by his address, however often he changes it within his /64.
    let gate = Gate::start(&policy(&format!("- {{name: l, by: tenant, {SLOW}, burst: 2}}"), RULES));
    assert_eq!(accepted_of(&gate, 3, &token("alice", &[])).await, 2);
    assert_eq!(accepted_of(&gate, 3, &token("bob", &[])).await, 2);
    for (address, status) in
        [("2001:db8::1", 200), ("2001:db8::2", 200), ("2001:db8:0:0:ffff::3", 429), ("2001:db8:0:1::1", 200)]
    {
        let facts = [
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Uri", "/open"),
            ("X-Forwarded-Host", raw::HOST),
            ("X-Forwarded-For", address),
        ];
        assert_eq!(gate.send("GET", "/validate", &facts).await.status(), status, "{address}");
    }
}

/// The sample shop, as it is shipped.
/// The numbers of the README's table of the sample shop: what a bucket holds, and what comes in each minute.
fn of_the_readme(row: &str) -> (usize, f64) {
    let mut numbers = include_str!("../../../README.md")
        .lines()
        .skip_while(|line| !line.starts_with("| in the sample shop |"))
        .find_map(|line| line.strip_prefix(&format!("| {row} |")))
        .expect("a row of the table")
        .trim_end_matches('|')
        .split('|')
        .map(|number| number.trim().parse::<u32>().expect("a number"));
    let (holds, per_minute) = (numbers.next().expect("at once"), numbers.next().expect("per minute"));
    (holds as usize, f64::from(per_minute))
}

/// As many of one sender pass (or, with a token that does not hold, are judged at all) as the README's table of the sample shop says, so many
/// asked at once.
async fn assert_as_in_the_readme(gate: &Gate, row: &str, token: &str, passed: u16, at_once: usize) {
    let (holds, per_minute) = of_the_readme(row);
    let (begun, authorization) = (Instant::now(), bearer(token));
    let headers = [("Authorization", &*authorization)];
    let mut accepted = 0;
    for _ in 0..(holds + 100).div_ceil(at_once) {
        let asked = (0..at_once).map(|_| gate.ask("GET", "/products", &headers));
        for answer in futures_util::future::join_all(asked).await {
            if answer.status() == passed {
                accepted += 1;
            } else {
                answer.expect(429, "rate_limited");
            }
        }
    }
    let most = holds as f64 + begun.elapsed().as_secs_f64() / 60.0 * per_minute;
    assert!(accepted >= holds && accepted as f64 <= most, "{row}: {accepted}, {holds} to {most} may");
}

#[tokio::test]
async fn the_sample_shop_limits_by_tier_as_the_readme_says() {
    let gate = Gate::start(&Config::limited_shop());
    let free = "a user of tier `free`, of an unknown one, or whose token names none";
    for (row, subject, tier) in [
        (free, "free", json!("free")),
        (free, "unknown", json!("gold")),
        (free, "none", json!(null)),
        ("a user of tier `pro`", "pro", json!("pro")),
    ] {
        let token = KEY.token(&claims(json!({"sub": subject, "tier": tier})));
        assert_as_in_the_readme(&gate, row, &token, 200, 20).await;
    }
    let expired = KEY.token(&claims(json!({"iat": 1_000_000_000, "exp": 1_000_000_001})));
    // One after the other: of failures, those that come with the last one are judged, too.
    assert_as_in_the_readme(&gate, "an address, tokens that do not hold", &expired, 401, 1).await;
}

#[tokio::test]
async fn a_chain_takes_once() {
    let gate = Gate::start(&per_user(3));
    let authorization = bearer(&token("alice", &["user"]));
    let facts = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/x"),
        ("X-Forwarded-Host", raw::HOST),
        ("X-Forwarded-For", "203.0.113.7"),
        ("Authorization", &*authorization),
    ];
    for _ in 0..3 {
        gate.send("GET", "/validate/authn", &facts).await.expect(200, "allowed");
        gate.send("GET", "/validate/authz", &facts).await.expect(200, "allowed");
    }
    gate.send("GET", "/validate/authn", &facts).await.expect(429, "rate_limited");
    gate.send("GET", "/validate/authz", &facts).await.expect(200, "allowed");
}

/// From what is somebody's, or everybody's, a preflight takes nothing: it names nobody.
#[tokio::test]
async fn a_preflight_takes_from_no_bucket_but_its_addresses() {
    let rules = "- {id: api, hosts: [shop.localhost], paths: [/api], methods: [GET], allow: authenticated, cors: {origins: [\"*\"]}}
        - {id: open, hosts: [shop.localhost], paths: [/open], allow: anonymous}";
    let preflight = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET")];
    for by in ["rule", "tier", "user", "[tenant, rule]"] {
        let gate = Gate::start(&policy(&format!("- {{name: all, by: {by}, {SLOW}, burst: 2}}"), rules));
        for _ in 0..5 {
            gate.ask("OPTIONS", "/api", &preflight).await.expect(200, "allowed");
        }
        // Nor do strangers of an open rule take what is the default tier's.
        assert_eq!(accepted(&gate, 4, "/open", &[]).await, 2, "{by}");
        let authorization = bearer(&token("alice", &[]));
        assert_eq!(accepted(&gate, 4, "/api", &[("Authorization", &authorization)]).await, 2, "{by}");
    }
}

#[tokio::test]
async fn a_preflight_is_a_strangers_request() {
    let rules = "- {id: api, hosts: [shop.localhost], paths: [/api], methods: [GET], allow: authenticated, cors: {origins: [\"*\"]}}";
    let gate = Gate::start(&policy(&format!("- {{name: all, by: client, {SLOW}, burst: 2}}"), rules));
    let preflight = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET")];
    for _ in 0..2 {
        gate.ask("OPTIONS", "/api", &preflight).await.expect(200, "allowed");
    }
    gate.ask("OPTIONS", "/api", &preflight).await.expect(429, "rate_limited");
}

#[tokio::test]
async fn buckets_outlive_a_change_of_the_policy() {
    let config = per_user(2);
    let gate = Gate::start(&config);
    let alice = token("alice", &["user"]);
    ask(&gate, "/x", &alice).await.expect(200, "allowed");
    let more = config.policy.replace("burst: 2", "burst: 6");
    std::fs::write(gate.folder().join("next"), &more).expect("a file");
    std::fs::rename(gate.folder().join("next"), gate.folder().join("policy.yaml")).expect("renamed");
    crate::support::gate::within("the new policy", async || {
        gate.metric("portcullis_reloads_total{what=\"policy\",result=\"ok\"}").await == Some(1.0)
    })
    .await;
    assert_eq!(accepted_of(&gate, 6, &alice).await, 3, "half full by the new numbers, too");
    assert_eq!(gate.metric("portcullis_limits_total{limit=\"user\",result=\"allowed\"}").await, Some(4.0));
    assert_eq!(gate.metric("portcullis_limits_total{limit=\"user\",result=\"limited\"}").await, Some(3.0));
}
