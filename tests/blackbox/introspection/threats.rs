//! T-E4, T-E10, T-F1, T-F2, T-F3 and T-H for opaque tokens.

use super::*;
use crate::revocations;

/// What an issuer says that is no answer: the gate cannot decide then, and says so.
#[tokio::test]
async fn t_e4_nothing_but_an_answer_is_believed() {
    let issuer = Issuer::start().await;
    let elsewhere = Issuer::start().await;
    let good = active("mallory", json!({})).to_string();
    let redirect = |status: &str| {
        let location =
            format!("Location: http://{}/introspect\r\nContent-Type: application/json\r\n", elsewhere.address);
        typed(status, &location, &good)
    };
    let home = format!("Location: http://{}/other\r\n", issuer.address);
    let json = |body: &str| http("200 OK", body);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("500", http("500 Internal Server Error", &good)),
        ("401", http("401 Unauthorized", &good)),
        ("404", http("404 Not Found", &good)),
        ("201", http("201 Created", &good)),
        ("204", http("204 No Content", "")),
        ("302", redirect("302 Found")),
        ("307", redirect("307 Temporary Redirect")),
        ("308-home", typed("308 Permanent Redirect", &home, &good)),
        ("nothing", Vec::new()),
        ("no-http", b"active\r\n\r\n".to_vec()),
        ("html", typed("200 OK", "Content-Type: text/html\r\n", &good)),
        ("untyped", typed("200 OK", "", &good)),
        ("doubly-typed", typed("200 OK", "Content-Type: application/json\r\nContent-Type: text/html\r\n", &good)),
        ("jwt-answer", typed("200 OK", "Content-Type: application/token-introspection+jwt\r\n", &good)),
        ("html-as-json", json("<html>active</html>")),
        ("empty", json("")),
        ("no-members", json("{}")),
        ("a-list", json("[{\"active\":true}]")),
        ("a-text", json(&good.replace("\"active\":true", "\"active\":\"true\""))),
        ("a-number", json(&good.replace("\"active\":true", "\"active\":1"))),
        ("null", json(&good.replace("\"active\":true", "\"active\":null"))),
        ("twice", json(&good.replace("\"active\":true", "\"active\":true,\"active\":true"))),
        ("sub-twice", json(&good.replace("\"active\":true", "\"active\":true,\"sub\":\"root\""))),
        ("truncated", json(good.trim_end_matches('}'))),
        ("cut-off", {
            let whole = json(&good);
            whole[..whole.len() - 5].to_vec()
        }),
        ("trailing", json(&format!("{good} x"))),
        (
            "deep",
            json(
                &good
                    .replace("\"active\":true", &format!("\"active\":true,\"x\":{}{}", "[".repeat(40), "]".repeat(40))),
            ),
        ),
        (
            "10-MB",
            json(&good.replace("\"active\":true", &format!("\"active\":true,\"x\":\"{}\"", "x".repeat(10 << 20)))),
        ),
    ];
    let gate = Gate::start(&config(&issuer, ""));
    for (round, (what, answer)) in cases.iter().enumerate() {
        // A good one between, so that it is not the issuer that is left alone.
        let between = format!("good-{round}");
        issuer.says(&between, &active("alice", json!({})));
        ask(&gate, &between).await.expect(200, "allowed");
        issuer.does(what, Does::Says(answer.clone()));
        let start = Instant::now();
        for _ in 0..3 {
            ask(&gate, what).await.expect(503, "introspection_failed");
        }
        let once_a_second = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
        assert!((1..=once_a_second).contains(&issuer.asked_about(what)), "{what}: {}", issuer.asked_about(what));
    }
    assert!(introspections(&gate, "failed").await >= 28.0);
    assert!(elsewhere.asked().is_empty(), "no redirect is followed");
    assert!(issuer.asked().iter().all(|asked| asked.head.starts_with("POST /introspect ")));
    // It was about the answers: the same tokens are taken once there are good ones.
    issuer.says("html", &active("alice", json!({})));
    within("a good answer", async || ask(&gate, "html").await.status() == 200).await;
    // Neither the secret nor a token is told anybody.
    let metrics = gate.admin_get("/metrics").await.text();
    let told = format!("{}{:?}{metrics}", gate.log(), gate.audit());
    for secret in [SECRET, "s3cret", "good-0", "sub-twice", "mallory"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}

#[tokio::test]
async fn t_e4_an_answer_byte_by_byte_holds_nobody_up() {
    let issuer = Issuer::start().await;
    let gate = Gate::start(&config(&issuer, ""));
    issuer.does("slow", Does::SaysSlowly(http("200 OK", &active("mallory", json!({})).to_string())));
    issuer.says("quick", &active("alice", json!({})));
    let start = Instant::now();
    ask(&gate, "slow").await.expect(503, "introspection_failed");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    ask(&gate, "quick").await.expect(200, "allowed");
    within("it is given up", async || introspections(&gate, "failed").await == 1.0).await;
    assert!((4..8).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(issuer.asked_about("slow"), 1);
}

/// An answer that is one, about a token that must not pass: the reason is the token's, and it is not asked about twice.
#[tokio::test]
async fn t_e4_an_active_token_is_checked_as_a_signed_one() {
    let issuer = Issuer::start().await;
    let gate = Gate::start(&config(&issuer, ""));
    for (what, changes, reason) in [
        ("expired", json!({"exp": now() - 60}), "expired"),
        ("early", json!({"nbf": now() + 60}), "not_yet_valid"),
        ("future", json!({"iat": now() + 60}), "issued_in_future"),
        ("long", json!({"exp": now() + 3 * 86400}), "lifetime_too_long"),
        ("odd", json!({"exp": "tomorrow"}), "malformed_claim"),
        ("another-issuer", json!({"iss": "https://elsewhere"}), "unknown_issuer"),
        ("another-audience", json!({"aud": "elsewhere"}), "wrong_audience"),
        ("no-audience", json!({"aud": null}), "wrong_audience"),
        ("no-subject", json!({"sub": null}), "no_subject"),
        ("dpop", json!({"token_type": "DPoP"}), "sender_constrained"),
        ("bound", json!({"cnf": {"x5t#S256": "x"}}), "sender_constrained"),
        ("refresh", json!({"token_type": "-"}), "wrong_kind"),
        ("hydra-refresh", json!({"token_use": "refresh_token"}), "wrong_kind"),
    ] {
        issuer.says(what, &active("mallory", changes));
        for _ in 0..3 {
            ask(&gate, what).await.expect(401, reason);
        }
        assert_eq!(issuer.asked_about(what), 1, "{what}");
    }
    assert_eq!(introspections(&gate, "failed").await, 0.0);
}

/// Each restriction that an introspecting issuer has keeps somebody out.
#[tokio::test]
async fn t_e10_each_restriction_of_introspection_keeps_somebody_out() {
    let issuer = Issuer::start().await;
    issuer.says("p_silent", &active("alice", json!({"aud": null})));
    issuer.says("p_untyped", &active("alice", json!({"token_type": "-"})));
    issuer.says("other", &active("alice", json!({})));
    let light = KEY.token(&json!({"iss": ISSUER, "exp": now() + 60}));
    issuer.says(&light, &active("alice", json!({})));
    let base = "      token_prefix: p_\n      about: [opaque]\n";
    let full = Gate::start(&config(&issuer, base));
    for (from, to, token, reason) in [
        ("about: [opaque]", "danger_no_audience: true", "p_silent", "wrong_audience"),
        ("about: [opaque]", "danger_no_token_type: true", "p_untyped", "wrong_kind"),
        ("token_prefix: p_", "token_prefix: o", "other", "malformed_token"),
        ("      token_prefix: p_\n", "", "other", "malformed_token"),
        ("about: [opaque]", "about: [opaque, jwt]", &light, "wrong_audience"),
    ] {
        ask(&full, token).await.expect(401, reason);
        ask(&Gate::start(&config(&issuer, base).edit(from, to)), token).await.expect(200, "allowed");
    }
}

#[tokio::test]
async fn t_f1_a_remembered_answer_skips_no_check_of_a_rule() {
    let issuer = Issuer::start().await;
    let policy = "rules:\n  - {id: a, hosts: [shop.localhost], paths: [/a], allow: {scopes: {any: [read]}}}\n  \
                  - {id: b, hosts: [shop.localhost], paths: [/b], allow: {scopes: {any: [write]}}}\n  \
                  - {id: c, hosts: [shop.localhost], paths: [/c], allow: {roles: {any: [admin]}}}\n  \
                  - {id: d, hosts: [shop.localhost], paths: [/d], allow: {claims: [{claim: tenant, equals: acme}]}}\n";
    let gate = Gate::start(&Config { policy: policy.to_owned(), ..config(&issuer, "") });
    issuer.says("reader", &active("alice", json!({"scope": "read", "tenant": "umbrella"})));
    for _ in 0..3 {
        ask_at(&gate, "/a", "reader").await.expect(200, "allowed");
        ask_at(&gate, "/b", "reader").await.expect(403, "missing_scope");
        ask_at(&gate, "/c", "reader").await.expect(403, "missing_role");
        ask_at(&gate, "/d", "reader").await.expect(403, "claim_mismatch");
    }
    assert_eq!(issuer.asked_about("reader"), 1);
}

#[tokio::test]
async fn t_f1_a_remembered_answer_holds_until_it_is_revoked() {
    let issuer = Issuer::start().await;
    let gate = revocations::ready(&asking(revocations::in_memory(), &issuer, "")).await;
    for (token, more) in [("one", json!({"jti": "j"})), ("other", json!({"jti": "k"})), ("bare", json!({"iat": null}))]
    {
        issuer.says(token, &active("alice", more));
        ask(&gate, token).await.expect(200, "allowed");
    }
    revocations::revoke(&gate, json!({"jti": "j"})).await;
    ask(&gate, "one").await.expect(401, "revoked");
    ask(&gate, "other").await.expect(200, "allowed");
    revocations::revoke(&gate, json!({"subject": "alice"})).await;
    for token in ["one", "other", "bare"] {
        ask(&gate, token).await.expect(401, "revoked");
    }
    assert_eq!(issuer.asked().len(), 3);
}

#[tokio::test]
async fn t_e4_a_signed_token_of_another_kind_is_none_whatever_the_answer_leaves_unsaid() {
    let issuer = Issuer::start().await;
    let gate = Gate::start(&config(&issuer, "      about: [jwt]\n"));
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    for (own, reason) in [
        (json!({}), "allowed"),
        (json!({"nonce": "n"}), "wrong_kind"),
        (json!({"at_hash": "x"}), "wrong_kind"),
        (json!({"events": event}), "wrong_kind"),
        (json!({"exp": null}), "no_expiry"),
    ] {
        let token = KEY.token(&claims(own.clone()));
        issuer.says(&token, &active("alice", json!({})));
        assert_eq!(ask(&gate, &token).await.reason(), reason, "{own}");
    }
}

#[tokio::test]
async fn t_f2_two_issuers_never_see_each_others_tokens() {
    let (one, two) = (Issuer::start().await, Issuer::start().await);
    for (issuer, subject) in [(&one, "alice"), (&two, "mallory")] {
        for token in ["a_1", "b_1", "c_1"] {
            issuer.says(token, &active(subject, json!({"iss": null})));
        }
    }
    let second = format!(
        "issuers:\n  - name: second\n    issuer: https://two.example\n    audiences: [shop]\n    keys: {{jwks_file: jwks.json}}\n    \
         danger_allow_http_issuer: true\n    introspection: {{url: \"http://{}/i\", client_id: g, client_secret_env: SECOND, \
         token_prefix: b_}}\n",
        two.address
    );
    let both = config(&one, "      token_prefix: a_\n").edit("issuers:\n", &second).env("SECOND", "x");
    let gate = Gate::start(&both);
    for _ in 0..2 {
        let (first, second) = (ask(&gate, "a_1").await, ask(&gate, "b_1").await);
        assert_eq!((first.header("x-user-id"), &first.audit["issuer"]), (Some("alice"), &json!("shop")));
        assert_eq!((second.header("x-user-id"), &second.audit["issuer"]), (Some("mallory"), &json!("second")));
        ask(&gate, "c_1").await.expect(401, "malformed_token");
    }
    assert_eq!((one.asked().len(), two.asked().len()), (1, 1));
    for unclear in
        [both.clone().edit("      token_prefix: a_\n", ""), both.edit("token_prefix: a_", "token_prefix: b_x")]
    {
        let (code, text) = unclear.check();
        assert!(code == 64 && text.contains("nothing tells whose a token is"), "{text}");
    }
}

/// A JWT that cannot be read here is still somebody's token, perhaps another issuer's: it is shown to nobody.
#[tokio::test]
async fn t_f2_a_jwt_that_is_not_read_is_not_shown_as_an_opaque_token() {
    let issuer = Issuer::start().await;
    let gate = Gate::start(&config(&issuer, ""));
    let good = json!({"alg": "EdDSA", "kid": "test", "typ": "JWT"});
    let with = |name: &str, value: Value| {
        let mut header = good.clone();
        header[name] = value;
        KEY.sign(&header, &claims(json!({"iss": "https://elsewhere.example"})))
    };
    let own = |header: &str, claims: &str| {
        let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", part(header), part(claims))
    };
    let deep = format!("{{\"iss\":{}{}}}", "[".repeat(40), "]".repeat(40));
    for token in [
        with("kid", json!(7)),
        with("typ", json!(["JWT"])),
        with("alg", json!(null)),
        KEY.sign(&json!({"alg": "EdDSA", "kid": 7}), &claims(json!({}))),
        own("{\"alg\":\"RS256\"}", "{\"sub\":\"a\",\"sub\":\"b\"}"),
        own("{\"alg\":\"RS256\",\"alg\":\"RS256\"}", "{}"),
        own("{\"alg\":\"RS256\"}", &deep),
        own("{\"alg\":\"RS256\"}", "no JSON"),
        // A JWE: five parts.
        format!("{}.k.i.c.t", own("{\"alg\":\"dir\"}", "{}").split('.').next().unwrap()),
    ] {
        let answer = ask(&gate, &token).await;
        assert_eq!(answer.status(), 401, "{token}");
        assert_ne!(answer.reason(), "inactive", "{token}");
    }
    assert!(issuer.asked().is_empty(), "{:?}", issuer.asked());
    ask(&gate, "three.parts.opaque").await.expect(401, "inactive");
}

#[tokio::test]
async fn t_f3_one_call_for_all_who_ask_about_a_token_and_none_for_two_tokens() {
    let issuer = Issuer::start().await;
    let gate = &Gate::start(&config(&issuer, ""));
    let tokens: Vec<String> = (0..8).map(|number| format!("token-{number}")).collect();
    for token in &tokens {
        let answer = http("200 OK", &active(&format!("subject-of-{token}"), json!({})).to_string());
        issuer.does(token, Does::SaysLate(Duration::from_millis(150), answer));
    }
    let asks = (0..120).map(|number| {
        let token = &tokens[number % tokens.len()];
        async move {
            let answer = ask(gate, token).await;
            answer.expect(200, "allowed");
            assert_eq!(answer.header("x-user-id"), Some(&*format!("subject-of-{token}")));
        }
    });
    futures_util::future::join_all(asks).await;
    assert_eq!(issuer.asked().len(), tokens.len());
    assert_eq!(introspections(gate, "active").await, 8.0);
}

#[tokio::test]
async fn t_h_a_flood_of_invented_tokens_is_so_many_calls_at_once() {
    let issuer = Issuer::start().await;
    let gate = &Gate::start(&config(&issuer, ""));
    issuer.says("alice", &active("alice", json!({})));
    ask(gate, "alice").await.expect(200, "allowed");
    let invented: Vec<String> = (0..200).map(|number| format!("invented-{number}")).collect();
    for token in &invented {
        issuer.does(token, Does::SaysLate(Duration::from_millis(700), http("200 OK", "{\"active\":false}")));
    }
    let flood = futures_util::future::join_all(invented.iter().map(|token| ask(gate, token)));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        ask(gate, "alice").await.expect(200, "allowed");
    };
    let (answers, ()) = tokio::join!(flood, meanwhile);
    for answer in answers {
        answer.expect(503, "introspection_failed");
    }
    within("they have ended", async || issuer.script.running.load(Ordering::SeqCst) == 0).await;
    let most = issuer.script.most.load(Ordering::SeqCst);
    assert!((32..=64).contains(&most), "{most} at once");
    assert!(introspections(gate, "not_asked").await > 100.0);
}
