//! Who is asking, as the servers behind are told: what the gate verified, and never what a client says.

use serde_json::json;

use super::shop::{Exchange, IDENTITY, Kind, NOT_ASKED, Shop, alice, assert_identity, assert_nobody, bob, through_all};
use crate::support::gate::{KEY, claims};
use crate::support::raw;

through_all!(@http2 a_clients_own_identity_headers_never_arrive_over_http2);

through_all!(
    a_token_in_the_authorization_header_tells_the_upstream_who_asks,
    a_token_in_the_cookie_tells_the_upstream_who_asks,
    an_open_route_has_no_identity,
    a_route_for_anybody_has_no_identity,
    a_clients_own_identity_headers_never_arrive,
    a_client_cannot_take_the_identity_headers_off,
    a_clients_own_word_for_its_request_changes_nothing,
);

async fn a_token_in_the_authorization_header_tells_the_upstream_who_asks(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let user = format!("Bearer {}", alice());
    let exchange = shop.ask("GET", "/products?page=2", &[("Authorization", &user)]).await;
    assert_identity(exchange.passed(), ["alice", "user", "free"]);
    assert_eq!(exchange.trace.upstream().target(), "/products?page=2");
    assert_eq!(exchange.response.json()["method"], "GET", "the client gets the server's own answer");

    let claims = claims(json!({"sub": "bob", "roles": ["admin", "auditor"], "tier": "gold"}));
    let admin = format!("Bearer {}", KEY.token(&claims));
    for target in ["/products/admin", "/products/admin/stock", "/orders", "/orders/7", "/api/service-a/items"] {
        let exchange = shop.ask("GET", target, &[("Authorization", &admin)]).await;
        assert_identity(exchange.passed(), ["bob", "admin,auditor", "gold"]);
    }
}

async fn a_token_in_the_cookie_tells_the_upstream_who_asks(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let cookie = format!("jwt={}", alice());
    let among_others = format!("theme=dark; {cookie}; lang=de");
    for cookies in [vec![&*cookie], vec![&*among_others], vec!["theme=dark", &*cookie, "lang=de"]] {
        let headers: Vec<_> = cookies.iter().map(|cookie| ("Cookie", *cookie)).collect();
        for (method, target) in [("GET", "/products"), ("POST", "/products/7/buy"), ("GET", "/orders")] {
            let exchange = shop.ask(method, target, &headers).await;
            assert_identity(exchange.passed(), ["alice", "user", "free"]);
        }
        // Its rule takes no cookies.
        shop.ask("GET", "/api/service-a/items", &headers).await.refused(401, "no_credential");
    }
}

async fn an_open_route_has_no_identity(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let user = format!("Bearer {}", alice());
    for target in ["/authentication/login", "/authentication/registration?from=/", "/health"] {
        for headers in [&[][..], &[("Authorization", &*user)]] {
            let exchange = shop.ask("GET", target, headers).await;
            assert_eq!(exchange.status(), 200, "{exchange:?}");
            assert_nobody(exchange.trace.upstream());
            assert!(exchange.trace.audit.is_empty(), "the gate is not asked: {exchange:?}");
        }
    }
}

async fn a_route_for_anybody_has_no_identity(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let user = format!("Bearer {}", alice());
    for headers in [&[][..], &[("Authorization", &*user)], &[("Authorization", "Bearer rubbish")]] {
        let exchange = shop.ask("GET", "/", headers).await;
        assert_nobody(exchange.passed());
        assert_eq!(exchange.trace.audit[0]["rule"], "front-page");
    }
}

/// Every spelling of the identity headers in which a separator is replaced: CGI, WSGI and PHP read most of them as the header
/// itself. Then the true names in several cases, and doubled.
fn spoofs() -> Vec<String> {
    let mut names = Vec::new();
    for name in IDENTITY {
        // All that RFC 9110 takes in a name besides letters and digits.
        for mark in "!#$%&'*+-.^_`|~".chars() {
            names.push(name.replace('-', &mark.to_string()));
            names.push(name.replacen('-', &mark.to_string(), 1));
        }
        names.extend([name.to_ascii_lowercase(), name.to_ascii_uppercase(), name.to_owned()]);
    }
    names.extend(["x-user.id", "X.User-ID", "x_user-role"].map(str::to_owned));
    names
}

const SPOOF: &str = "spoofed";

async fn a_clients_own_identity_headers_never_arrive(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let user = format!("Bearer {}", alice());
    let spoofs = spoofs();
    // Many at once, and some alone: a defence may look at the first of its kind only, or need the true name beside.
    let mut attacks: Vec<Vec<&str>> =
        spoofs.chunks(40).map(|names| names.iter().map(|name| &**name).collect()).collect();
    attacks.extend(
        ["X-User-ID", "X_User_ID", "X.User.ID", "x-user.id", "X~User~ID", "X-User-Role", "X-User-Tier"]
            .map(|name| vec![name]),
    );
    for attack in attacks {
        let mut headers: Vec<_> = attack.iter().map(|name| (*name, SPOOF)).collect();
        let open = shop.ask("GET", "/authentication/login", &headers).await;
        assert_eq!(open.status(), 200, "{open:?}");
        let anybody = shop.ask("GET", "/", &headers).await;
        anybody.passed();
        headers.push(("Authorization", &user));
        let protected = shop.ask("GET", "/products", &headers).await;
        assert_identity(protected.passed(), ["alice", "user", "free"]);
        let chained = shop.ask("GET", "/orders", &headers).await;
        assert_identity(chained.passed(), ["alice", "user", "free"]);
        for exchange in [&open, &anybody] {
            assert_nobody(exchange.trace.upstream());
        }
        for exchange in [open, anybody, protected, chained] {
            let text = exchange.trace.upstream().text();
            assert!(!text.contains(SPOOF), "{attack:?} arrived:\n{text}");
        }
        // Nor is it a credential.
        shop.ask("GET", "/products", &headers[..headers.len() - 1]).await.refused(401, "no_credential");
    }
}

async fn a_clients_own_identity_headers_never_arrive_over_http2(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let client = shop.proxy.http2();
    for target in ["/authentication/login", "/", "/products", "/orders"] {
        let mut request = client.get(shop.proxy.url(target)).bearer_auth(alice());
        for name in spoofs() {
            request = request.header(name.to_ascii_lowercase(), SPOOF);
        }
        // More than Envoy's 100 headers would only be refused.
        let mut request = request.build().expect("a request");
        let names: Vec<_> = request.headers().keys().skip(80).cloned().collect();
        for name in names {
            request.headers_mut().remove(name);
        }
        let (response, trace) = shop.observe(client.execute(request)).await;
        let response = response.expect("an answer");
        assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2), "{trace:?}");
        let text = trace.upstream().text();
        assert!(!text.contains(SPOOF), "{text}");
        match target {
            "/products" | "/orders" => assert_identity(trace.upstream(), ["alice", "user", "free"]),
            _ => assert_nobody(trace.upstream()),
        }
    }
}

/// A `Connection` header names headers that end with this hop. It must not end those that the proxy sets after the check, nor
/// may a trailer of a chunked body add one.
async fn a_client_cannot_take_the_identity_headers_off(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let user = format!("Bearer {}", alice());
    let hop = ("Connection", "X-User-ID, X-User-Role, x-user-tier, X-Request-ID");
    for target in ["/products", "/orders", "/api/service-a/items"] {
        let exchange = shop.ask("GET", target, &[("Authorization", &user), hop]).await;
        assert_identity(exchange.passed(), ["alice", "user", "free"]);
    }
    let headers = [("Authorization", &*user), ("Transfer-Encoding", "chunked"), ("Trailer", "X-User-ID")];
    let head = raw::request("POST", "/products/7/buy", &headers, b"");
    let body = b"5\r\nhello\r\n0\r\nX-User-ID: spoofed\r\nX-User-Role: spoofed\r\n\r\n";
    let exchange = shop.send([&head[..], body].concat()).await;
    assert_identity(exchange.passed(), ["alice", "user", "free"]);
    assert_eq!(exchange.response.json()["body_length"], 5);
    // Nor those by which the gate is told what is asked. Envoy takes offence at the attempt.
    let hop =
        ("Connection", "X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Method, X-Forwarded-Uri, X-Forwarded-Proto");
    let exchange = shop.ask("GET", "/products/admin", &[("Authorization", &user), hop]).await;
    match kind {
        Kind::Traefik => exchange.refused(403, "missing_role"),
        Kind::Envoy => exchange.refused(400, NOT_ASKED),
        Kind::Nginx | Kind::Caddy => exchange.refused(403, "missing_role"),
    };
    let hop = ("Connection", "X-Forwarded-Method, X-Forwarded-Uri, Authorization");
    let exchange = shop.ask("GET", "/products/admin", &[("Authorization", &user), hop]).await;
    match kind {
        // They take nothing off that this header names, neither for the gate nor for a server.
        Kind::Nginx | Kind::Caddy => exchange.refused(403, "missing_role"),
        Kind::Traefik | Kind::Envoy => exchange.refused(401, "no_credential"),
    };
    let admin = format!("Bearer {}", bob());
    let hop = ("Connection", "X-Forwarded-Method, X-Forwarded-Uri");
    assert_identity(
        shop.ask("GET", "/products/admin", &[("Authorization", &admin), hop]).await.passed(),
        ["bob", "admin", "free"],
    );
}

/// Where a request came from and what it asks is seen, not told: neither the gate nor a server may hear another story.
async fn a_clients_own_word_for_its_request_changes_nothing(kind: Kind) {
    const OVERRIDES: [&str; 6] = [
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "Forwarded",
    ];
    let shop = Shop::behind(kind).await;
    let user = format!("Bearer {}", alice());
    let mut stories = vec![
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/"),
        ("X-Forwarded-Host", "elsewhere.example"),
        ("X-Forwarded-For", "198.51.100.1"),
        ("X-Forwarded-For", "198.51.100.2, 198.51.100.3"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Port", "1"),
        ("X-Forwarded-Prefix", "/health"),
        ("X_Forwarded_Uri", "/"),
        ("X.Forwarded.Uri", "/"),
        ("X_Forwarded_Method", "GET"),
        ("X-Real-IP", "198.51.100.4"),
        ("X-Original-URI", "/"),
        ("X-Forwarded-User", "told"),
        ("X-Forwarded-Email", "told"),
        ("X-Forwarded-Client-Cert", "told"),
        ("Remote-User", "told"),
        ("X-Auth-User", "told"),
        ("True-Client-IP", "198.51.100.6"),
        ("X-Client-IP", "198.51.100.7"),
        ("X-Host", "told"),
        ("Proxy", "told"),
    ];
    if kind == Kind::Envoy {
        // Its own vocabulary; to others these are words like any.
        stories.extend([
            ("X-Envoy-Original-Path", "/told"),
            ("X-Envoy-External-Address", "198.51.100.5"),
            ("X-Envoy-Auth-Failure-Mode-Allowed", "told"),
            ("X-Envoy-Auth-Headers-To-Remove", "x-user-id"),
        ]);
    }
    stories.extend(OVERRIDES.map(|name| (name, "/")));
    let with_token = [&stories[..], &[("Authorization", &*user)]].concat();
    let facts = |exchange: &Exchange| {
        let line = exchange.trace.audit.last().expect("a line");
        ["method", "host", "path", "client"].map(|member| line[member].as_str().unwrap_or_default().to_owned())
    };
    for (method, target, headers, status, reason) in [
        ("DELETE", "/products/admin", &with_token, 403, "missing_role"),
        ("DELETE", "/orders", &stories, 401, "no_credential"),
        ("POST", "/products", &with_token, 403, "no_rule"),
    ] {
        let exchange = shop.ask(method, target, headers).await;
        exchange.refused(status, reason);
        assert_eq!(facts(&exchange), [method, "shop.localhost", target, "127.0.0.2"], "{exchange:?}");
    }
    for target in ["/orders/7", "/products/7/buy"] {
        let exchange = shop.ask("POST", target, &with_token).await;
        assert_identity(exchange.passed(), ["alice", "user", "free"]);
        assert_eq!(facts(&exchange), ["POST", "shop.localhost", target, "127.0.0.2"], "{exchange:?}");
    }
    // What reaches a server of it, whoever is asked first.
    for target in ["/orders/7", "/authentication/login"] {
        let exchange = shop.ask("POST", target, &with_token).await;
        let received = exchange.trace.upstream();
        assert_eq!((received.method().as_str(), received.target().as_str()), ("POST", target));
        for name in OVERRIDES {
            assert_eq!(received.lookalikes(name), [], "{}", received.text());
        }
        for told in ["198.51.100.", "elsewhere.example", "gopher", "told"] {
            assert!(!received.text().contains(told), "{told} in {}", received.text());
        }
    }
}
