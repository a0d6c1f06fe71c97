//! What is refused, how the client learns it, and what no server ever sees.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::shop::{Exchange, Kind, Proxy, Shop, alice, assert_nobody, bob, through_all};
use crate::support::gate::{Config, KEY, claims, now, token};
use crate::support::proxy::Options;
use crate::support::raw;

through_all!(
    without_a_valid_token_the_client_gets_401_and_a_challenge,
    without_the_role_the_client_gets_403,
    with_forbidden_status_401_a_missing_role_is_401,
    head_is_get_without_a_body,
    options_without_a_cors_rule_never_reaches_a_server,
    the_gates_own_endpoints_are_unknown_routes,
);

#[track_caller]
fn assert_challenge(exchange: &Exchange, challenge: &str) {
    assert_eq!(exchange.response.header_all("www-authenticate"), [challenge], "{exchange:?}");
    assert_eq!(exchange.response.header("cache-control"), Some("no-store"));
    assert_eq!(exchange.response.header("content-type"), Some("application/problem+json"));
    assert_eq!(exchange.response.json()["status"], exchange.status());
}

async fn without_a_valid_token_the_client_gets_401_and_a_challenge(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let invalid = "Bearer realm=\"portcullis\", error=\"invalid_token\"";
    let expired = KEY.token(&claims(json!({"exp": now() - 60})));
    let mut forged = alice();
    forged.replace_range(forged.len() - 4.., if forged.ends_with("AAAA") { "BBBB" } else { "AAAA" });
    for target in ["/products", "/products/admin", "/orders", "/api/service-a/items"] {
        let exchange = shop.ask("GET", target, &[]).await;
        assert_challenge(exchange.refused(401, "no_credential"), "Bearer realm=\"portcullis\"");

        let bearer = |token: &str| ("Authorization", format!("Bearer {token}"));
        for (token, reason) in [("rubbish", "malformed_token"), (&*forged, "bad_signature")] {
            let (name, value) = bearer(token);
            let exchange = shop.ask("GET", target, &[(name, &value)]).await;
            assert_challenge(exchange.refused(401, reason), invalid);
        }
        let (name, value) = bearer(&expired);
        let exchange = shop.ask("GET", target, &[(name, &value)]).await;
        let challenge = format!("{invalid}, error_description=\"the token has expired\"");
        assert_challenge(exchange.refused(401, "expired"), &challenge);
    }
    let exchange = shop.ask("GET", "/products", &[("Cookie", &format!("jwt={forged}"))]).await;
    assert_challenge(exchange.refused(401, "bad_signature"), invalid);
}

async fn without_the_role_the_client_gets_403(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let user = alice();
    let stranger = token("eve", &[]);
    for (token, method, target) in [
        (&user, "GET", "/products/admin"),
        (&user, "DELETE", "/products/admin/7"),
        (&stranger, "GET", "/orders"),
        (&stranger, "POST", "/products/7/buy"),
    ] {
        for (name, value) in [("Authorization", format!("Bearer {token}")), ("Cookie", format!("jwt={token}"))] {
            let exchange = shop.ask(method, target, &[(name, &value)]).await;
            exchange.refused(403, "missing_role");
            assert_eq!(exchange.response.header("www-authenticate"), None, "another token of theirs would not help");
            assert_eq!(exchange.response.json()["status"], 403);
            for name in super::shop::IDENTITY {
                assert_eq!(exchange.response.header(name), None, "no identity toward the client");
            }
        }
    }
    // Known to nobody: the same answer, whoever asks.
    for headers in [&[][..], &[("Authorization", &*format!("Bearer {}", bob()))]] {
        shop.ask("GET", "/unknown", headers).await.refused(403, "no_rule");
        shop.ask("POST", "/products", headers).await.refused(403, "no_rule");
    }
}

async fn with_forbidden_status_401_a_missing_role_is_401(kind: Kind) {
    let config = Config::shop().edit("\nrules:\n", "\nforbidden_status: 401\nrules:\n");
    let shop = Shop::with(kind, &config, Options::lift_rate_limit).await;
    let user = format!("Bearer {}", alice());
    let exchange = shop.ask("GET", "/products/admin", &[("Authorization", &user)]).await;
    exchange.refused(401, "missing_role");
    assert_challenge(&exchange, "Bearer realm=\"portcullis\", error=\"insufficient_scope\"");
    // Not a matter of who asks.
    shop.ask("GET", "/unknown", &[("Authorization", &user)]).await.refused(403, "no_rule");
    shop.ask("GET", "/products", &[("Authorization", &user)]).await.passed();
}

async fn head_is_get_without_a_body(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let user = format!("Bearer {}", alice());
    // The same id, because it is in the body and so in the length.
    let id = ("X-Request-ID", "the-same");
    let good = [id, ("Authorization", &*user)];
    for (target, headers, status, reason) in [
        ("/products", &good[..], 200, "allowed"),
        ("/", &[id], 200, "allowed"),
        ("/products", &[id], 401, "no_credential"),
        ("/products/admin", &good, 403, "missing_role"),
        ("/orders", &[id], 401, "no_credential"),
    ] {
        let get = shop.ask("GET", target, headers).await;
        let head = shop.ask("HEAD", target, headers).await;
        for exchange in [&get, &head] {
            assert_eq!((exchange.status(), exchange.trace.reason()), (status, reason), "{exchange:?}");
            assert_eq!(exchange.trace.received.len(), usize::from(status == 200), "{exchange:?}");
        }
        assert_eq!(head.trace.audit[0]["method"], "HEAD");
        assert_eq!(head.trace.audit[0]["rule"], get.trace.audit[0]["rule"]);
        // The raw client reads no body to HEAD; what came all the same would stand in the way of the connection's end.
        let (ends, _) = shop.observe(ends_after_the_head(&shop, target, headers)).await;
        assert!(ends, "a body to HEAD {target}");
        let comparable = |exchange: &Exchange| {
            let mut headers: Vec<_> = exchange
                .response
                .headers
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
                .collect();
            // The servers behind say in their answers what they were asked, and the length of the answer to HEAD is one more.
            // Envoy announces its own answer to HEAD as chunked.
            let differing = ["date", "content-length", "transfer-encoding", "x-envoy-upstream-service-time"];
            headers.retain(|(name, _)| !differing.contains(&&**name));
            // And it says of no body what type it is.
            headers.retain(|(name, _)| name != "content-type" || status == 200 || kind != Kind::Envoy);
            headers.sort();
            headers
        };
        assert_eq!(comparable(&head), comparable(&get), "{target}");
    }
}

#[tokio::test]
async fn plain_http_is_only_sent_on_to_tls() {
    let shop = Shop::behind(Kind::Traefik).await;
    let Proxy::Traefik(traefik) = &shop.proxy else { panic!("a Traefik") };
    let user = format!("Bearer {}", bob());
    for (method, target) in [("GET", "/products?page=2"), ("POST", "/orders"), ("GET", "/health"), ("GET", "/unknown")]
    {
        let request = raw::request(method, target, &[("Authorization", &user)], b"");
        let (answer, trace) = shop.observe(raw::send(traefik.http(), request)).await;
        assert!([301, 308].contains(&answer.status), "{answer:?}");
        let path = target.split('?').next().expect("a path");
        assert!(answer.header("location").is_some_and(|url| url.starts_with(&traefik.url(path))), "{answer:?}");
        assert!(trace.received.is_empty() && trace.audit.is_empty(), "{trace:?}");
    }
}

/// Whether nothing stands behind the head of the answer to HEAD but, on the same connection, the next answer.
async fn ends_after_the_head(shop: &Shop, target: &str, headers: &[(&str, &str)]) -> bool {
    let head = String::from_utf8(raw::request("HEAD", target, headers, b"")).expect("text");
    let both =
        [head.replace("Connection: close\r\n", "").into_bytes(), raw::request("GET", "/health", &[], b"")].concat();
    let mut stream = shop.proxy.raw().connect().await.expect("a connection");
    stream.write_all(&both).await.expect("sent");
    let (mut answers, mark) = (Vec::new(), b"\r\n\r\nHTTP/1.1 200");
    while !answers.windows(mark.len()).any(|window| window == mark) {
        if stream.read_buf(&mut answers).await.unwrap_or_default() == 0 {
            return false;
        }
    }
    answers.windows(4).position(|window| window == b"\r\n\r\n")
        == answers.windows(mark.len()).position(|window| window == mark)
}

async fn options_without_a_cors_rule_never_reaches_a_server(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let user = format!("Bearer {}", bob());
    let token = ("Authorization", &*user);
    let preflight = [
        ("Origin", "https://elsewhere.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "authorization"),
    ];
    for target in [
        "/",
        "/products",
        "/products/admin",
        "/products/7/buy",
        "/orders",
        "/api/service-a/items",
        "/unknown",
        "/authentication/login",
        "/authentication/registration",
        "/health",
    ] {
        for headers in [vec![], vec![token], preflight.to_vec(), [&preflight[..], &[token]].concat()] {
            let exchange = shop.ask("OPTIONS", target, &headers).await;
            exchange.refused(403, "no_rule");
            assert!(exchange.response.header("access-control-allow-origin").is_none(), "{exchange:?}");
        }
    }
    // About the server as a whole: no path, so nothing to be judged, and nobody's to answer but the proxy's.
    let exchange = shop.ask("OPTIONS", "*", &[token]).await;
    assert!(exchange.trace.received.is_empty(), "{exchange:?}");
}

async fn the_gates_own_endpoints_are_unknown_routes(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let user = format!("Bearer {}", bob());
    let token = ("Authorization", &*user);
    for (target, path) in [
        ("/validate", "/validate"),
        ("/validate?x", "/validate"),
        ("/validate/authn", "/validate/authn"),
        ("/validate/authz", "/validate/authz"),
        ("/envoy/validate", "/envoy/validate"),
        ("/envoy/validate/", "/envoy/validate/"),
        ("/envoy/validate/products", "/envoy/validate/products"),
        ("/envoy/authn/products", "/envoy/authn/products"),
        ("/authn/products", "/authn/products"),
        ("/metrics", "/metrics"),
        ("/ready", "/ready"),
        ("/nginx/validate", "/nginx/validate"),
        ("/caddy/validate", "/caddy/validate"),
        ("/fail", "/fail"),
        ("/health/live", "/health/live"),
        ("/Health", "/Health"),
        ("/health/../metrics", "/metrics"),
        ("/health/%2e%2e/metrics", "/metrics"),
        ("/authentication/login/../../validate", "/validate"),
        ("/products/../validate/authn", "/validate/authn"),
    ] {
        for headers in [&[][..], &[token], &[token, ("X-Forwarded-Uri", "/"), ("X-Original-URL", "/")]] {
            let exchange = shop.ask("GET", target, headers).await;
            if kind.leaves_ambiguous(target) {
                exchange.refused(400, "ambiguous_path");
                continue;
            }
            exchange.refused(403, "no_rule");
            assert_eq!(exchange.trace.audit[0]["path"], path, "{exchange:?}");
            assert_eq!(exchange.response.json()["title"], "Forbidden", "the gate's own refusal: {exchange:?}");
        }
    }
    // Without `/` between: Envoy appends the client's path to the prefix, and nothing else.
    for target in ["-authn/products", "validate", "http://shop.localhost/validate"] {
        let exchange = shop.ask("GET", target, &[token]).await;
        assert!(exchange.status() >= 400 && exchange.trace.received.is_empty(), "{exchange:?}");
    }
    // `/health` with more behind is not the open route any more. A trailing slash is the gate's to judge.
    let exchange = shop.ask("GET", "/health/", &[]).await;
    assert_eq!(exchange.trace.audit[0]["rule"], "open", "{exchange:?}");
    assert_nobody(exchange.passed());
}
