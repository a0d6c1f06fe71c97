//! Behind a load balancer of one's own, with the changes that the proxies' files tell to make then. The test is the balancer: it
//! appends its client's address to `X-Forwarded-For`, and passes on whatever else that client made up.

use super::shop::{CLIENT, Kind, Shop, alice, assert_identity, through_all};
use crate::support::gate::Config;
use crate::support::proxy::Options;

through_all!(the_real_request_of_the_real_client_is_judged);
// Caddy has no limit of the rate.
through_all!(
    [
        Traefik over Tls as through_traefik,
        Envoy over Tls as through_envoy,
        Nginx over Tls as through_nginx,
        Nginx over Plain as through_nginx_over_plain_http,
    ] each_client_of_the_balancer_has_its_own_rate
);

/// The shipped files with the changes that they describe.
fn behind_a_balancer(kind: Kind, shipped: Options) -> Options {
    match kind {
        Kind::Traefik => shipped
            .edit(
                "    # forwardedHeaders:\n    #   trustedIPs: [\"10.0.0.10/32\"]",
                &format!("    forwardedHeaders:\n      trustedIPs: [\"{CLIENT}/32\"]"),
            )
            .edit(
                "          X-User-ID: \"\"\n",
                "          X-User-ID: \"\"\n          X-Forwarded-Method: \"\"\n          X-Forwarded-Uri: \"\"\n          \
                 X-Forwarded-Host: \"\"\n",
            )
            .edit("trustForwardHeader: false", "trustForwardHeader: true")
            .edit("            depth: 0", "            depth: 1"),
        Kind::Envoy => shipped.edit("xff_num_trusted_hops: 0", "xff_num_trusted_hops: 1").edit(
            "- remove_on_match:\n                            key_matcher: {prefix: x-forwarded-}\n",
            &["host", "method", "uri", "prefix", "port"]
                .map(|name| format!("- remove: x-forwarded-{name}\n"))
                .join("                        "),
        ),
        Kind::Nginx => shipped
            .edit("# set_real_ip_from 10.0.0.10/32;", &format!("set_real_ip_from {CLIENT}/32;"))
            .edit("# real_ip_header", "real_ip_header")
            .edit("# real_ip_recursive", "real_ip_recursive")
            .edit("$scheme", "$http_x_forwarded_proto"),
        Kind::Caddy => {
            shipped.edit("# trusted_proxies 10.0.0.10/32", &format!("trusted_proxies {CLIENT}/32"))
        }
    }
}

async fn the_real_request_of_the_real_client_is_judged(kind: Kind) {
    let change = |shipped: Options| behind_a_balancer(kind, shipped.lift_rate_limit());
    let shop = Shop::with(kind, &Config::shop(), change).await;
    let user = format!("Bearer {}", alice());
    let headers = [
        ("Authorization", &*user),
        // Left of the client that the balancer saw stands what that client said.
        ("X-Forwarded-For", "198.51.100.66, 203.0.113.9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/products"),
        ("X-Forwarded-Host", "elsewhere.example"),
        ("X-Forwarded-Prefix", "/health"),
        ("X-Forwarded-Port", "1"),
        ("X-User-ID", "root"),
    ];
    for (method, target, status, reason) in
        [("DELETE", "/products/admin", 403, "missing_role"), ("GET", "/unknown", 403, "no_rule")]
    {
        let exchange = shop.ask(method, target, &headers).await;
        exchange.refused(status, reason);
        let line = &exchange.trace.audit[0];
        assert_eq!(
            [&line["method"], &line["path"], &line["host"], &line["client"]],
            [method, target, "shop.localhost", "203.0.113.9"],
            "{exchange:?}"
        );
    }
    for target in ["/products", "/orders"] {
        let exchange = shop.ask("GET", target, &headers).await;
        assert_identity(exchange.passed(), ["alice", "user", "free"]);
        assert_eq!(exchange.trace.upstream().header("x-forwarded-proto"), ["https"]);
        assert_eq!(exchange.trace.audit[0]["client"], "203.0.113.9");
    }
}

async fn each_client_of_the_balancer_has_its_own_rate(kind: Kind) {
    let shop = Shop::with(kind, &Config::shop(), |shipped| behind_a_balancer(kind, shipped)).await;
    let client = shop.proxy.raw();
    let ask = async |addresses: &str| client.get("/products", &[("X-Forwarded-For", addresses)]).await.status;
    let mut statuses = Vec::new();
    for request in 0..41 {
        // Another story each time.
        statuses.push(ask(&format!("198.51.100.{request}, 203.0.113.9")).await);
    }
    assert_eq!(statuses.pop(), Some(429), "{statuses:?}");
    assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    assert_eq!(ask("203.0.113.9, 203.0.113.10").await, 401, "another client");
}
