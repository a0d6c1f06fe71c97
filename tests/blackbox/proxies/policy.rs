//! What rules can say beyond roles, behind every proxy: strangers that are welcome, preflights, pages, rule sets.

use serde_json::json;

use super::shop::{Kind, Shop, alice, assert_identity, assert_nobody, through_all};
use crate::support::gate::{Config, KEY, claims, now};
use crate::support::proxy::Options;

through_all!(
    a_stranger_is_welcome_and_a_bad_credential_is_not,
    a_preflight_is_judged_by_the_rule_that_it_announces,
    a_person_gets_a_page_or_is_sent_to_sign_in,
    the_proxy_names_its_rule_set_and_the_client_cannot,
);

const POLICY: &str = "
refusals: {sign_in: 'https://login.localhost/?return_to={url}'}
rules:
  - {id: visit, hosts: [shop.localhost], paths: [/products], methods: [GET], allow: optional}
  - {id: admin, hosts: [shop.localhost], paths: ['/products/admin/**'], message: Ask Ann., allow: {roles: {any: [admin]}},
     cors: {origins: ['https://app.localhost'], headers: [authorization]}}
  - {id: back, set: back-office, hosts: [shop.localhost], paths: ['/**'], allow: {roles: {any: [user]}}}
  - {id: lax, set: lax, hosts: [shop.localhost], paths: ['/**'], allow: anonymous}
";

async fn shop(kind: Kind) -> Shop {
    Shop::with(kind, &Config::with_policy(POLICY), Options::lift_rate_limit).await
}

async fn a_stranger_is_welcome_and_a_bad_credential_is_not(kind: Kind) {
    let shop = shop(kind).await;
    assert_nobody(shop.ask("GET", "/products", &[]).await.passed());
    let expired = KEY.token(&claims(json!({"exp": now() - 60})));
    for (token, reason) in [(&*expired, "expired"), ("rubbish", "malformed_token")] {
        let bearer = format!("Bearer {token}");
        shop.ask("GET", "/products", &[("Authorization", &bearer)]).await.refused(401, reason);
    }
    let bearer = format!("Bearer {}", alice());
    let exchange = shop.ask("GET", "/products", &[("Authorization", &bearer)]).await;
    assert_identity(exchange.passed(), ["alice", "user", "free"]);
}

async fn a_preflight_is_judged_by_the_rule_that_it_announces(kind: Kind) {
    let shop = shop(kind).await;
    let ask = async |origin: &str, method: &str, headers: &str| {
        let asked = [
            ("Origin", origin),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", headers),
            ("X-User-ID", "admin"),
        ];
        shop.ask("OPTIONS", "/products/admin/7", &asked).await
    };
    assert_nobody(ask("https://app.localhost", "DELETE", "authorization").await.passed());
    ask("https://evil.localhost", "DELETE", "authorization").await.refused(403, "cors_refused");
    ask("https://app.localhost", "DELETE", "authorization, x-other").await.refused(403, "cors_refused");
    ask("https://app.localhost", "TRACE", "").await.refused(403, "no_rule");
    // T-E7: without both headers it is no preflight.
    shop.ask("OPTIONS", "/products/admin/7", &[("Origin", "https://app.localhost")]).await.refused(403, "no_rule");
    shop.ask("OPTIONS", "/products/admin/7", &[]).await.refused(403, "no_rule");
    // The rule of the announced request takes none.
    let asked = [("Origin", "https://app.localhost"), ("Access-Control-Request-Method", "GET")];
    shop.ask("OPTIONS", "/products", &asked).await.refused(403, "no_rule");
}

async fn a_person_gets_a_page_or_is_sent_to_sign_in(kind: Kind) {
    let shop = shop(kind).await;
    let navigation = [("Sec-Fetch-Mode", "navigate"), ("Accept", "text/html,*/*;q=0.8")];
    let exchange = shop.ask("GET", "/products/admin?a=b", &navigation).await;
    let location = exchange.response.header("location").map(|to| to.replace("%3A", ":").replace("%2F", "/"));
    exchange.refused(302, "no_credential");
    let to = location.expect("where to sign in");
    assert!(to.starts_with("https://login.localhost/?return_to=http") && to.contains("://shop.localhost"), "{to}");
    assert!(to.ends_with("/products/admin%3Fa%3Db"), "{to}");
    let bearer = format!("Bearer {}", alice());
    let known = [navigation[0], navigation[1], ("Authorization", &*bearer)];
    let exchange = shop.ask("GET", "/products/admin", &known).await;
    exchange.refused(403, "missing_role");
    // nginx writes bodies of its own.
    if kind != Kind::Nginx {
        assert_eq!(exchange.response.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(exchange.response.text().contains("<p>Ask Ann.</p>"), "{exchange:?}");
    }
    let exchange = shop.ask("GET", "/products/admin", &[("Authorization", &bearer)]).await;
    exchange.refused(403, "missing_role");
    if kind != Kind::Nginx {
        assert_eq!(exchange.response.json()["detail"], "Ask Ann.");
    }
}

async fn the_proxy_names_its_rule_set_and_the_client_cannot(kind: Kind) {
    let named = |options: Options| {
        let options = options.lift_rate_limit();
        match kind {
            Kind::Traefik => ["", "/authn", "/authz"].into_iter().fold(options, |options, step| {
                options.edit(&format!(":7400/validate{step}\""), &format!(":7400/validate{step}?policy=back-office\""))
            }),
            Kind::Envoy => {
                options.edit("path_prefix: /envoy/validate", "path_prefix: /policy/back-office/envoy/validate")
            }
            Kind::Nginx => {
                options.edit("https://gate/nginx/validate", "https://gate/policy/back-office/nginx/validate")
            }
            Kind::Caddy => options.edit("uri /caddy/validate?", "uri /policy/back-office/caddy/validate?"),
        }
    };
    let shop = Shop::with(kind, &Config::with_policy(POLICY), named).await;
    let bearer = format!("Bearer {}", alice());
    for target in ["/orders", "/products/admin", "/orders?policy=lax", "/policy/lax/validate", "/orders?x=1&policy=lax"]
    {
        shop.ask("GET", target, &[]).await.refused(401, "no_credential");
        shop.ask("GET", target, &[("Authorization", &bearer)]).await.passed();
    }
}
