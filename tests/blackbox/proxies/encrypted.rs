//! Certificates that are not to be believed. That all goes well over TLS, every other test shows: the shipped files speak it.

use super::shop::{Kind, Shop, alice, through_all};
use crate::support::gate::Config;
use crate::support::proxy::Options;
use crate::support::raw::HOST;
use crate::support::wire::CERTIFICATES;

through_all!(
    [
        Traefik over Tls as through_traefik,
        Envoy over Tls as through_envoy,
        Nginx over Tls as through_nginx,
        Caddy over Tls as through_caddy,
    ]
    a_gate_with_a_strangers_certificate_is_not_believed,
    clients_are_shown_the_certificate_of_the_shop,
);

async fn a_gate_with_a_strangers_certificate_is_not_believed(kind: Kind) {
    let change = |shipped: Options| shipped.lift_rate_limit().believe_a_stranger();
    let shop = Shop::with(kind, &Config::shop(), change).await;
    let token = format!("Bearer {}", alice());
    for target in ["/products", "/orders", "/"] {
        let answer = shop.proxy.raw().get(target, &[("Authorization", &token)]).await;
        let unable = match kind {
            Kind::Traefik => 500,
            Kind::Envoy | Kind::Nginx => 503,
            Kind::Caddy => 502,
        };
        assert_eq!(answer.status, unable, "{answer:?}");
    }
    assert!(shop.gate.audit().is_empty());
    assert!(shop.upstreams.iter().all(|upstream| upstream.requests().is_empty()));
}

async fn clients_are_shown_the_certificate_of_the_shop(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let port = shop.proxy.url("").rsplit_once(':').expect("a port").1.parse::<u16>().expect("a number");
    let token = alice();
    for (authority, believed) in [("shop", true), ("gate", false)] {
        let pem = std::fs::read(CERTIFICATES.join(authority).join("ca.crt")).expect("a certificate");
        let pem = reqwest::Certificate::from_pem(&pem).expect("a certificate");
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([pem]);
        let client = client.resolve(HOST, ([127, 0, 0, 1], port).into()).build().expect("a client");
        let answer = client.get(shop.proxy.url("/products")).bearer_auth(&token).send().await;
        match answer {
            Ok(answer) => assert!(believed && answer.status() == 200, "{answer:?}"),
            Err(error) => assert!(!believed && error.is_connect(), "{error:?}"),
        }
    }
}
