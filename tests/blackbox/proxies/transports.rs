//! Not only plain HTTP/1.1 requests: WebSocket, HTTP/2, gRPC.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;

use super::shop::{Kind, NOT_ASKED, Shop, alice, assert_identity, bob, through_all};
use crate::support::gate::token;
use crate::support::wire::Wire;

through_all!(a_websocket_with_a_token_echoes_a_frame, a_websocket_without_a_token_is_refused,);

through_all!(
    @http2
    a_post_over_http2_is_decided_as_over_http1,
    a_grpc_call_is_decided_and_refused_as_its_proxy_does,
);

// The files of the others name no upgrades that they refuse.
through_all!(
    [
        Nginx over Tls as through_nginx,
        Nginx over Plain as through_nginx_over_plain_http,
        Caddy over Tls as through_caddy,
        Caddy over Plain as through_caddy_over_plain_http,
    ] an_upgrade_to_anything_but_websocket_does_not_reach_a_server
);

/// Behind an upgrade to HTTP/2 the gate would be asked about none of the requests.
async fn an_upgrade_to_anything_but_websocket_does_not_reach_a_server(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let user = format!("Bearer {}", alice());
    for upgrade in ["h2c", "h2c, websocket", "other"] {
        let headers = [("Authorization", &*user), ("Upgrade", upgrade), ("Connection", "Upgrade, HTTP2-Settings")];
        let exchange = shop.ask("GET", "/products", &headers).await;
        if kind == Kind::Caddy && Wire::here() == Wire::Plain && upgrade.contains("h2c") {
            // It would make this upgrade itself, and misses the settings.
            exchange.refused(500, NOT_ASKED);
            continue;
        }
        assert_eq!(exchange.passed().header("upgrade"), [""; 0], "{exchange:?}");
        assert!(!exchange.trace.upstream().header("connection").concat().to_ascii_lowercase().contains("upgrade"));
    }
}

async fn a_websocket_with_a_token_echoes_a_frame(kind: Kind) {
    let shop = Shop::behind(kind).await;
    for (name, value) in [("Authorization", format!("Bearer {}", alice())), ("Cookie", format!("jwt={}", alice()))] {
        let headers =
            [(name, &*value), ("Origin", "https://shop.localhost"), ("X-User-ID", "root"), ("X_User_ID", "root")];
        let (socket, trace) = shop.observe(shop.proxy.raw().websocket("/products/live", &headers)).await;
        let mut socket = socket.expect("101");
        assert_identity(trace.upstream(), ["alice", "user", "free"]);
        assert_eq!(trace.upstream().header("upgrade").concat().to_ascii_lowercase(), "websocket");
        assert_eq!(trace.reason(), "allowed");
        for text in ["hello", "again"] {
            socket.send(Message::text(text)).await.expect("sent");
            assert_eq!(socket.next().await.expect("a frame").expect("whole"), Message::text(text));
        }
    }
}

async fn a_websocket_without_a_token_is_refused(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let user = format!("Bearer {}", alice());
    for (target, headers, status, reason) in [
        ("/products/live", &[][..], 401, "no_credential"),
        ("/products/live", &[("Authorization", "Bearer rubbish")], 401, "malformed_token"),
        ("/products/admin/live", &[("Authorization", &*user)], 403, "missing_role"),
        ("/orders/live", &[], 401, "no_credential"),
        ("/unknown", &[("Authorization", &*user)], 403, "no_rule"),
    ] {
        let (answer, trace) = shop.observe(shop.proxy.raw().websocket(target, headers)).await;
        let answer = answer.expect_err("no 101");
        assert_eq!((answer.status, trace.reason()), (status, reason), "{answer:?} {trace:?}");
        assert!(trace.received.is_empty(), "{trace:?}");
        assert_eq!(answer.header("www-authenticate").is_some(), status == 401, "{answer:?}");
    }
}

async fn a_post_over_http2_is_decided_as_over_http1(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let client = shop.proxy.http2();
    let post = |target: &str, headers: &[(&str, String)]| {
        let request = client.post(shop.proxy.url(target)).body("0123456789".repeat(10_000));
        headers.iter().fold(request, |request, (name, value)| request.header(*name, value)).send()
    };
    for header in [("authorization", format!("Bearer {}", alice())), ("cookie", format!("jwt={}", alice()))] {
        let (response, trace) = shop.observe(post("/products/7/buy", &[header])).await;
        let response = response.expect("an answer");
        assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2), "{trace:?}");
        let body: serde_json::Value = response.json().await.expect("JSON");
        assert_eq!((&body["method"], &body["body_length"]), (&"POST".into(), &100_000.into()), "{body}");
        assert_identity(trace.upstream(), ["alice", "user", "free"]);
        assert_eq!(trace.audit[0]["method"], "POST");
    }
    let nobody = token("eve", &[]);
    for (target, headers, status, reason) in [
        ("/products/7/buy", vec![], 401, "no_credential"),
        ("/products/7/buy", vec![("authorization", format!("Bearer {nobody}"))], 403, "missing_role"),
        ("/products", vec![("authorization", format!("Bearer {}", alice()))], 403, "no_rule"),
        ("/orders", vec![], 401, "no_credential"),
    ] {
        let (response, trace) = shop.observe(post(target, &headers)).await;
        let response = response.expect("an answer");
        assert_eq!((response.status().as_u16(), trace.reason()), (status, reason), "{trace:?}");
        assert_eq!(response.version(), reqwest::Version::HTTP_2);
        assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
        assert!(trace.received.is_empty(), "{trace:?}");
    }
}

/// Envoy tells a gRPC client in its own terms, Traefik relays the HTTP status; gRPC libraries map that to the same codes.
async fn a_grpc_call_is_decided_and_refused_as_its_proxy_does(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let client = shop.proxy.http2();
    let call = |target: &str, token: Option<String>| {
        let request = client.post(shop.proxy.url(target));
        let request = request.header("content-type", "application/grpc").header("te", "trailers").body("\0\0\0\0\0");
        token.into_iter().fold(request, |request, token| request.bearer_auth(token)).send()
    };
    for (target, token, http, grpc, reason) in [
        ("/orders/shop.Orders/Place", None, 401, "16", "no_credential"),
        ("/orders/shop.Orders/Place", Some("rubbish".to_owned()), 401, "16", "malformed_token"),
        ("/orders/shop.Orders/Place", Some(token("eve", &[])), 403, "7", "missing_role"),
        ("/products/admin/shop.Stock/Fill", Some(alice()), 403, "7", "missing_role"),
        ("/shop.Unknown/Call", Some(bob()), 403, "7", "no_rule"),
    ] {
        let (response, trace) = shop.observe(call(target, token)).await;
        let response = response.expect("an answer");
        let status = response.headers().get("grpc-status").map(|code| code.to_str().expect("text").to_owned());
        let expected = match kind {
            Kind::Traefik | Kind::Nginx | Kind::Caddy => (http, None),
            Kind::Envoy => (200, Some(grpc.to_owned())),
        };
        assert_eq!((response.status().as_u16(), status), expected, "{target}: {response:?} {trace:?}");
        assert_eq!(trace.reason(), reason);
        assert!(trace.received.is_empty(), "{trace:?}");
    }
    let (response, trace) = shop.observe(call("/orders/shop.Orders/Place", Some(alice()))).await;
    assert_eq!(response.expect("an answer").status(), 200, "{trace:?}");
    assert_identity(trace.upstream(), ["alice", "user", "free"]);
    assert_eq!(trace.upstream().header("content-type"), ["application/grpc"]);
}
