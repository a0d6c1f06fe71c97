//! What the admin API takes, refuses and shows, and what decisions make of it.

use super::*;
use crate::support::gate::now;

#[tokio::test]
async fn what_is_revoked_is_refused_at_once_cached_or_not_and_holds_again_when_taken_back() {
    let gate = ready(&in_memory()).await;
    for (what, mine, others) in [
        (json!({"jti": "t1"}), json!({"jti": "t1", "sub": "u1"}), json!({"jti": "t2", "sub": "u1"})),
        (json!({"sid": "s1"}), json!({"sid": "s1", "sub": "u2"}), json!({"sid": "s2", "sub": "u2"})),
        (subject("u3"), json!({"sub": "u3"}), json!({"sub": "u4"})),
        (subject("u5"), json!({"sub": "u5", "iat": null}), json!({"sub": "u5", "iat": now() + 4})),
    ] {
        let (known, fresh, other) = (token(mine.clone()), token(mine), token(others));
        for _ in 0..2 {
            ask(&gate, &known).await.expect(200, "allowed");
        }
        let entry = revoke(&gate, what.clone()).await;
        for token in [&known, &fresh] {
            ask(&gate, token).await.expect(401, "revoked");
            gate.ask("GET", "/products", &[("Cookie", &format!("jwt={token}"))]).await.expect(401, "revoked");
            // A good one beside it saves nothing.
            let both = [("Authorization", &*format!("Bearer {other}")), ("Cookie", &format!("jwt={token}"))];
            gate.ask("GET", "/products", &both).await.expect(401, "revoked");
        }
        ask(&gate, &other).await.expect(200, "allowed");
        assert_eq!(remove(&gate, &entry).await, 204);
        ask(&gate, &known).await.expect(200, "allowed");
        assert_eq!(remove(&gate, &entry).await, 404, "{what}");
    }
}

#[tokio::test]
async fn a_subject_is_revoked_up_to_a_moment() {
    let gate = ready(&in_memory()).await;
    let at = now() - 100;
    let issued = |iat: f64| token(json!({"sub": "dora", "iat": iat}));
    revoke(&gate, json!({"subject": "dora", "issued_before": at as f64 + 0.5})).await;
    for (iat, status) in
        [(at as f64 - 1000.0, 401), (at as f64 + 0.5, 401), (at as f64 + 0.75, 200), (at as f64 + 1.0, 200)]
    {
        assert_eq!(ask(&gate, &issued(iat)).await.status(), status, "{iat}");
    }
}

#[tokio::test]
async fn a_token_is_revoked_whole_whoever_signed_it_and_shows_up_nowhere() {
    let gate = ready(&in_memory()).await;
    let good = token(json!({"jti": "whole"}));
    // Its signature does not matter to whoever may revoke by name anyway.
    let body = good.rsplit_once('.').expect("a signature").0;
    let forged = format!("{body}.AAAA");
    for token in [&good, &forged] {
        let entry = revoke(&gate, json!({"token": token, "reason": "found on a forum"})).await;
        assert_eq!(
            (&entry["jti"], &entry["issuer"], &entry["reason"]),
            (&json!("whole"), &json!("shop"), &json!("found on a forum"))
        );
        let ends = entry["ends_at"].as_i64().expect("seconds");
        assert!((ends - now() - 3720).abs() < 5, "its own end, and two minutes: {ends}");
    }
    ask(&gate, &good).await.expect(401, "revoked");
    for (claims, wanted) in [
        (json!({}), "the token has no `jti`"),
        (json!({"jti": 7}), "the token has no `jti`"),
        (json!({"jti": "x", "iss": "https://elsewhere"}), "of no configured issuer"),
        (json!({"jti": "x", "exp": null}), "has no `exp`"),
        (json!({"jti": "x", "exp": 1_000}), "has ended already"),
    ] {
        let bad = token(claims);
        let answer = admin(&gate, "POST", "/revocations", &json!({"token": bad}).to_string()).await;
        assert_eq!((answer.status, answer.text().contains(wanted)), (400, true), "{}", answer.text());
        assert!(!answer.text().contains(&bad[..20]));
    }
    // Nor does a token that is written in the wrong place.
    let answer = admin(&gate, "POST", "/revocations", &json!({"jti": {"token": good}}).to_string()).await;
    assert!(answer.status == 400 && !answer.text().contains(&good[..20]), "{}", answer.text());
    assert!(!gate.log().contains(body) && !gate.log().contains(ADMIN));
}

#[tokio::test]
async fn only_who_shows_the_token_may_ask() {
    let gate = ready(&in_memory()).await;
    let entry = revoke(&gate, subject("alice")).await;
    let one = format!("/revocations/{}", entry["id"].as_str().expect("an id"));
    let short = &ADMIN[..ADMIN.len() - 1];
    let wrong = [
        vec![],
        vec!["Bearer".to_owned()],
        vec!["Bearer ".to_owned()],
        vec![format!("Bearer {short}")],
        vec![format!("Bearer {ADMIN}0")],
        vec![format!("Bearer {}", ADMIN.to_uppercase())],
        vec![format!("Basic {ADMIN}")],
        vec![ADMIN.to_owned()],
        vec![format!("Bearer {ADMIN}"), format!("Bearer {ADMIN}")],
    ];
    for (method, target) in [("GET", "/revocations"), ("POST", "/revocations"), ("DELETE", &one)] {
        for lines in &wrong {
            let headers: Vec<_> = lines.iter().map(|line| ("Authorization", &**line)).collect();
            let answer =
                raw::send(gate.admin(), raw::request(method, target, &headers, b"{\"subject\":\"bob\"}")).await;
            assert_eq!(answer.status, 401, "{method} {lines:?}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"portcullis admin\""));
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        }
    }
    let scheme = raw::request("GET", "/revocations", &[("Authorization", &format!("bearer {ADMIN}"))], b"");
    assert_eq!(raw::send(gate.admin(), scheme).await.json()["revocations"].as_array().map(Vec::len), Some(1));
    // The decision listener knows nothing of it, and without a token or without revocations there is nothing.
    gate.send("GET", "/revocations", &[]).await.expect(404, "unknown_endpoint");
    let address = "  admin:\n    address: 127.0.0.1:0";
    let open = in_memory().edit(&format!("{address}\n    token_file: admin.token"), address);
    let tokens_only =
        Config::shop().edit(address, &format!("{address}\n    token_env: ADMIN_TOKEN")).env("ADMIN_TOKEN", ADMIN);
    for config in [open, tokens_only] {
        let gate = ready(&config).await;
        for method in ["GET", "POST"] {
            assert_eq!(admin(&gate, method, "/revocations", "{}").await.status, 404);
        }
    }
}

#[tokio::test]
async fn what_is_not_asked_for_clearly_is_refused_with_words() {
    let gate = ready(&in_memory()).await;
    let long = "x".repeat(1025);
    for (body, wanted) in [
        (json!({}), "exactly one of jti, sid, subject, token"),
        (json!({"jti": "a", "sid": "b"}), "exactly one of jti, sid, subject, token"),
        (json!({"jti": ""}), "`jti` is empty"),
        (json!({"sid": long}), "`sid` is empty or longer"),
        (json!({"jti": 7}), "a member has the wrong type"),
        (json!({"jti": "a", "issued_before": "now"}), "`issued_before` and `expires_at` are numbers"),
        (json!([]), "it is no JSON object"),
        (json!({"jti": "a", "isuer": "shop"}), "unknown field `isuer`"),
        (json!({"jti": "a", "issuer": "other"}), "no issuer has this name: write one of `shop`"),
        (json!({"jti": "a", "issued_before": 1}), "`issued_before` belongs to a subject"),
        (json!({"subject": "a", "issued_before": now() + 1_000}), "lies in the future"),
        (json!({"subject": "a", "issued_before": -1}), "`issued_before` is no number of seconds"),
        (json!({"subject": "a", "issued_before": 1e300}), "`issued_before` is no number of seconds"),
        (json!({"jti": "a", "expires_at": now() - 1}), "has ended already"),
        (json!({"jti": "a", "for": "1 fortnight"}), "is a length of time"),
        (json!({"jti": "a", "for": "1h", "expires_at": now() + 9}), "not both"),
        (json!({"sid": "a", "for": "1h"}), "would end before them; leave the end out"),
        (json!({"subject": "a", "expires_at": now() + 60}), "would end before them"),
        (json!({"jti": "a", "reason": "x".repeat(300)}), "`reason` is longer"),
        (json!({"token": "a.b.c"}), "this is no token"),
        (json!({"token": "opaque"}), "what is opaque is revoked by the `jti`"),
        (json!({"token": token(json!({"jti": "a"})), "for": "1h"}), "says itself"),
    ] {
        let answer = admin(&gate, "POST", "/revocations", &body.to_string()).await;
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["status"], &problem["title"]),
            (400, &json!(400), &json!("Bad Request")),
            "{body}"
        );
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(wanted)), "{body}: {problem}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    for (body, status) in [("{\"jti\":\"a\",\"jti\":\"b\"}", 400), ("x", 400), ("", 400), (&*"x".repeat(40_000), 413)] {
        assert_eq!(admin(&gate, "POST", "/revocations", body).await.status, status, "{body:.30}");
    }
    for id in ["x", "00000000000000000000000000000000", "..%2f..", &"0".repeat(5_000)] {
        assert_eq!(admin(&gate, "DELETE", &format!("/revocations/{id}"), "").await.status, 404, "{id:.40}");
    }
    for query in ["limit=0", "limit=1001", "limit=x", "after=x", "issuer=other", "jti=a&sid=b", "what=x", "jti=a&jti=b"]
    {
        let answer = admin(&gate, "GET", &format!("/revocations?{query}"), "").await;
        assert_eq!((answer.status, answer.text().contains("struct")), (400, false), "{query}: {}", answer.text());
    }
    assert_eq!(admin(&gate, "GET", "/revocations", "").await.json(), json!({"revocations": [], "next": null}));
}

#[tokio::test]
async fn entries_are_listed_in_pages_and_last_as_long_as_their_tokens() {
    let gate = ready(&in_memory()).await;
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(revoke(&gate, json!({"jti": format!("t{number}"), "issuer": "shop"})).await);
    }
    made.push(revoke(&gate, json!({"subject": "alice", "reason": "left"})).await);
    made.push(revoke(&gate, json!({"jti": "short", "for": "30min"})).await);
    made.push(revoke(&gate, json!({"sid": "long", "expires_at": now() + 200_000})).await);
    let day = 86_400;
    for (entry, tokens_end) in made.iter().zip([day, day, day, day, day, day, 1_800, 200_000]) {
        let ends = entry["ends_at"].as_f64().expect("seconds") as i64;
        assert!((ends - now() - tokens_end - 120).abs() < 5, "{entry}");
        assert!((entry["created_at"].as_f64().expect("seconds") as i64 - now()).abs() < 5, "{entry}");
    }
    let (third, alice) = (made[3].clone(), made[5].clone());
    assert!(alice["issued_before"].is_number() && alice["reason"] == "left" && third.get("issued_before").is_none());
    // Those of one millisecond stand in any order.
    made.sort_by_key(|entry| entry["id"].as_str().map(str::to_owned));
    let page = async |query: &str| admin(&gate, "GET", &format!("/revocations?{query}"), "").await;
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let page = page(&format!("limit=3{after}")).await.json();
        listed.extend(page["revocations"].as_array().expect("a list").clone());
        assert!(listed.len() <= made.len());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(json!(listed), json!(made));
    assert_eq!(page("subject=alice").await.json()["revocations"], json!([alice]));
    assert_eq!(page("jti=t3&issuer=shop").await.json()["revocations"], json!([third]));
    assert_eq!(page("sid=t3").await.json()["revocations"], json!([]));
    assert_eq!(gate.metric("portcullis_revocations").await, Some(8.0));
    assert!(gate.metric("portcullis_revocations_feed_age_seconds").await.is_some_and(|age| age < 1.0));
    assert_eq!(gate.metric("portcullis_revocations_store_failures_total").await, Some(0.0));
}

/// With the longest leeway a token may come from a minute ahead and be taken for a minute after its end: its revocation lasts longer.
#[tokio::test]
async fn a_revocation_outlives_the_longest_lived_token_at_the_longest_leeway() {
    let gate =
        ready(&in_memory().edit("audiences: [shop]", "audiences: [shop]\n    leeway: 60s\n    max_lifetime: 1h")).await;
    let first = now() + 58;
    let last = token(json!({"jti": "j", "sid": "s", "iat": first, "exp": first + 3600}));
    ask(&gate, &last).await.expect(200, "allowed");
    for what in [json!({"jti": "j"}), json!({"sid": "s"}), json!({"token": last})] {
        let ends = revoke(&gate, what.clone()).await["ends_at"].as_f64().expect("seconds");
        let until = first + 3600 + 60;
        assert!(ends >= until as f64, "{what}: {ends}, and the token is taken until {until}");
    }
}

#[tokio::test]
async fn a_full_register_refuses_and_drops_nothing() {
    let gate = ready(&config("{danger_memory: true}", "  max_entries: 2")).await;
    let first = revoke(&gate, json!({"jti": "a"})).await;
    revoke(&gate, json!({"jti": "b"})).await;
    let answer = admin(&gate, "POST", "/revocations", "{\"jti\":\"c\"}").await;
    assert_eq!((answer.status, answer.text().contains("max_entries")), (507, true), "{}", answer.text());
    ask(&gate, &token(json!({"jti": "a"}))).await.expect(401, "revoked");
    ask(&gate, &token(json!({"jti": "c"}))).await.expect(200, "allowed");
    assert_eq!(remove(&gate, &first).await, 204);
    revoke(&gate, json!({"jti": "c"})).await;
}

/// `sub`, `jti` and `sid` of one issuer say nothing about another's.
#[tokio::test]
async fn an_issuer_is_named_when_there_are_two_and_each_has_its_own() {
    let other = "  - name: other\n    issuer: https://other\n    audiences: [shop]\n    keys: {jwks_file: jwks.json}\n";
    let gate = ready(&in_memory().edit("issuers:\n", &format!("issuers:\n{other}"))).await;
    let answer = admin(&gate, "POST", "/revocations", "{\"subject\":\"alice\"}").await;
    assert_eq!((answer.status, answer.text().contains("write `issuer`, one of `other`, `shop`")), (400, true));
    let entry = revoke(&gate, json!({"subject": "alice", "issuer": "other"})).await;
    assert_eq!(entry["issuer"], "other");
    ask(&gate, &token(json!({}))).await.expect(200, "allowed");
    ask(&gate, &token(json!({"iss": "https://other"}))).await.expect(401, "revoked");
}

#[tokio::test]
async fn a_jti_that_nobody_could_revoke_is_malformed() {
    let gate = ready(&in_memory()).await;
    let long = "x".repeat(1025);
    for claims in [
        json!({"jti": 7}),
        json!({"sid": ["a"]}),
        json!({"jti": ""}),
        json!({"sid": ""}),
        json!({"jti": long}),
        json!({"sid": long}),
        json!({"sub": long}),
    ] {
        ask(&gate, &token(claims.clone())).await.expect(401, "malformed_claim");
        ask(&Gate::shop(), &token(claims)).await.expect(200, "allowed");
    }
    ask(&gate, &token(json!({"jti": &long[1..], "sid": null}))).await.expect(200, "allowed");
}
