//! Traefik's two-step form on `/orders`: who is it, then may they. Both halves ask the gate.

use serde_json::Value;

use super::shop::{Exchange, Kind, Shop, alice, assert_identity};
use crate::support::gate::token;

/// Decision, reason and subject of each of the gate's lines.
fn halves(exchange: &Exchange) -> Vec<[&Value; 3]> {
    exchange.trace.audit.iter().map(|line| ["decision", "reason", "subject"].map(|member| &line[member])).collect()
}

#[tokio::test]
async fn both_halves_of_the_chain_allow_and_the_upstream_gets_the_full_identity() {
    let shop = Shop::behind(Kind::Traefik).await;
    for (name, value) in [("Authorization", format!("Bearer {}", alice())), ("Cookie", format!("jwt={}", alice()))] {
        for (method, target) in [("GET", "/orders"), ("POST", "/orders/7"), ("DELETE", "/orders/7/lines/1?now=1")] {
            let exchange = shop.ask(method, target, &[("X-Request-ID", "one-id"), (name, &value)]).await;
            assert_identity(exchange.passed(), ["alice", "user", "free"]);
            assert_eq!(exchange.passed().target(), target);
            assert_eq!(halves(&exchange), [["allow", "allowed", "alice"].map(Value::from).each_ref(); 2]);
            for line in &exchange.trace.audit {
                assert_eq!(
                    [&line["request_id"], &line["method"], &line["rule"], &line["dialect"], &line["client"]],
                    ["one-id", method, "orders", "traefik", "127.0.0.2"].map(Value::from).each_ref()
                );
            }
        }
    }
}

#[tokio::test]
async fn the_second_half_of_the_chain_refuses_a_missing_role() {
    let shop = Shop::behind(Kind::Traefik).await;
    let eve = format!("Bearer {}", token("eve", &["guest"]));
    let exchange = shop.ask("GET", "/orders", &[("Authorization", &eve), ("X-User-Role", "admin")]).await;
    exchange.refused(403, "missing_role");
    let expected = [["allow", "allowed", "eve"], ["deny", "missing_role", "eve"]].map(|half| half.map(Value::from));
    assert_eq!(halves(&exchange), expected.each_ref().map(|half| half.each_ref()));
}

#[tokio::test]
async fn the_first_half_of_the_chain_refuses_whom_it_does_not_know() {
    let shop = Shop::behind(Kind::Traefik).await;
    for (headers, reason) in [
        (&[][..], "no_credential"),
        (&[("X-User-ID", "alice"), ("X-User-Role", "admin")], "no_credential"),
        (&[("Authorization", "Bearer rubbish")], "malformed_token"),
    ] {
        let exchange = shop.ask("GET", "/orders", headers).await;
        exchange.refused(401, reason);
        assert!(exchange.response.header("www-authenticate").is_some_and(|text| text.starts_with("Bearer ")));
        assert_eq!(halves(&exchange), [["deny".into(), reason.into(), Value::Null].each_ref()]);
    }
}
