//! One id runs through all logs: the client's if it is sane, else a new one.

use super::shop::{Kind, Shop, alice, through_all};

through_all!(a_sane_request_id_is_kept_and_another_one_replaced, a_request_without_an_id_gets_one);

async fn a_sane_request_id_is_kept_and_another_one_replaced(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let user = format!("Bearer {}", alice());
    let token = ("Authorization", &*user);
    let long = "x".repeat(300);
    for (given, kept) in [
        (vec!["order-4711.a:b"], true),
        (vec!["6f1c1c3e-0b5a-4a6f-9d6e-0e7a4c9a3b11"], true),
        (vec!["two words"], false),
        (vec!["\"},{\"decision\":\"allow"], false),
        (vec!["caf\u{e9}"], false),
        (vec![&*long], false),
        (vec!["one", "two"], false),
        (vec![""], false),
    ] {
        let ids: Vec<_> = given.iter().map(|id| ("X-Request-ID", *id)).collect();
        for target in ["/products", "/", "/products/admin", "/orders", "/unknown"] {
            let exchange = shop.ask("GET", target, &[&ids[..], &[token]].concat()).await;
            let audited: Vec<_> = exchange.trace.audit.iter().map(|line| line["request_id"].as_str()).collect();
            let id = audited[0].expect("an id").to_owned();
            assert!(id.bytes().all(|b| b.is_ascii_graphic()) && id.len() <= 128, "{exchange:?}");
            assert_eq!(given == [&*id], kept, "{exchange:?}");
            for received in &exchange.trace.received {
                // Both halves of a chain replace it, each on its own, unless it is sane: the last one's is the server's.
                assert_eq!(received.header("x-request-id"), [*audited.last().expect("a line")].map(Option::unwrap));
                assert_eq!(received.lookalikes("x-request-id").len(), 1, "{exchange:?}");
            }
            if kept || exchange.status() != 200 {
                assert!(audited.iter().all(|other| *other == Some(&*id)), "{exchange:?}");
            }
            if kind != Kind::Traefik || exchange.status() != 200 {
                assert_eq!(exchange.response.header_all("x-request-id"), [&*id], "{exchange:?}");
            }
        }
    }
}

async fn a_request_without_an_id_gets_one(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let user = format!("Bearer {}", alice());
    let mut ids = Vec::new();
    for _ in 0..3 {
        let exchange = shop.ask("GET", "/products", &[("Authorization", &user)]).await;
        let id = exchange.trace.audit[0]["request_id"].as_str().expect("an id").to_owned();
        assert_eq!(exchange.passed().header("x-request-id"), [&*id]);
        let exchange = shop.ask("GET", "/products", &[]).await;
        let refused = exchange.trace.audit[0]["request_id"].as_str().expect("an id").to_owned();
        assert_eq!(exchange.refused(401, "no_credential").response.header_all("x-request-id"), [&*refused]);
        assert_eq!(exchange.response.json()["request_id"], *refused);
        ids.extend([id, refused]);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6, "each request has its own");
}
