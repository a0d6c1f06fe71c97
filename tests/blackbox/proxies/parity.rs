//! The same request has the same answer, for the same reason, whichever proxy asks. What differs is listed, with why.

use serde_json::json;

use super::paths::decoded;
use super::shop::{Exchange, IDENTITY, Kind, NOT_ASKED, Shop, alice, bob};
use crate::support::gate::{KEY, claims, now, token};
use crate::support::raw;

/// A request, what comes of it, and where a proxy does otherwise on purpose.
struct Row {
    request: Vec<u8>,
    outcome: (u16, &'static str),
    exceptions: Vec<(Kind, (u16, &'static str))>,
}

fn row(request: Vec<u8>, status: u16, reason: &'static str) -> Row {
    Row { request, outcome: (status, reason), exceptions: Vec::new() }
}

impl Row {
    fn but(mut self, kind: Kind, status: u16, reason: &'static str) -> Self {
        self.exceptions.push((kind, (status, reason)));
        self
    }

    fn exception(&self, kind: Kind) -> Option<(u16, &'static str)> {
        self.exceptions.iter().find(|(other, _)| *other == kind).map(|(_, outcome)| *outcome)
    }
}

fn table() -> Vec<Row> {
    let bearer = |token: &str| ("Authorization", format!("Bearer {token}"));
    let cookie = |token: &str| ("Cookie", format!("theme=dark; jwt={token}"));
    let (user, admin, guest) = (bearer(&alice()), bearer(&bob()), bearer(&token("eve", &["guest"])));
    let (user_cookie, admin_cookie) = (cookie(&alice()), cookie(&bob()));
    let expired = bearer(&KEY.token(&claims(json!({"exp": now() - 60}))));
    let stranger = bearer(&KEY.token(&claims(json!({"iss": "https://elsewhere.example"}))));
    let rubbish = bearer("rubbish");
    let basic = ("Authorization", "Basic YWxpY2U6c2VjcmV0".to_owned());
    let ask = |method: &str, target: &str, headers: &[&(&'static str, String)]| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        raw::request(method, target, &headers, b"")
    };
    let at_host = |lines: &str| format!("GET /health HTTP/1.1\r\n{lines}Connection: close\r\n\r\n").into_bytes();
    vec![
        // Open to anybody.
        row(ask("GET", "/", &[]), 200, "allowed"),
        row(ask("HEAD", "/?utm=x", &[&rubbish]), 200, "allowed"),
        row(ask("GET", "/health", &[]), 200, NOT_ASKED),
        row(ask("POST", "/authentication/login", &[&rubbish]), 200, NOT_ASKED),
        // Who is it.
        row(ask("GET", "/products", &[]), 401, "no_credential"),
        row(ask("GET", "/products", &[&basic]), 401, "no_credential"),
        row(ask("GET", "/products", &[&rubbish]), 401, "malformed_token"),
        row(ask("GET", "/products", &[&expired]), 401, "expired"),
        row(ask("GET", "/products", &[&stranger]), 401, "unknown_issuer"),
        row(ask("GET", "/products", &[&user]), 200, "allowed"),
        row(ask("GET", "/products", &[&user_cookie]), 200, "allowed"),
        row(ask("GET", "/products", &[&user, &user_cookie]), 200, "allowed"),
        row(ask("GET", "/products", &[&user, &admin_cookie]), 400, "conflicting_credentials"),
        // Envoy joins the two lines into one, nginx takes none of them.
        row(ask("GET", "/products", &[&user, &user]), 400, "doubled_credential").but(Kind::Nginx, 400, NOT_ASKED),
        row(ask("GET", "/products", &[&user_cookie, &admin_cookie]), 400, "doubled_credential"),
        row(ask("GET", "/api/service-a/x", &[&user]), 200, "allowed"),
        row(ask("GET", "/api/service-a/x", &[&user_cookie]), 401, "no_credential"),
        // May they.
        row(ask("GET", "/products/admin", &[&user]), 403, "missing_role"),
        row(ask("GET", "/products/admin", &[&admin]), 200, "allowed"),
        row(ask("DELETE", "/products/admin/7", &[&admin_cookie]), 200, "allowed"),
        row(ask("POST", "/products/7/buy", &[&user_cookie]), 200, "allowed"),
        row(ask("POST", "/products/7/buy", &[&guest]), 403, "missing_role"),
        row(ask("GET", "/orders", &[]), 401, "no_credential"),
        row(ask("PUT", "/orders/7", &[&guest]), 403, "missing_role"),
        row(ask("PUT", "/orders/7", &[&user]), 200, "allowed"),
        // Nobody's.
        row(ask("POST", "/products", &[&admin]), 403, "no_rule"),
        row(ask("GET", "/unknown", &[&admin]), 403, "no_rule"),
        row(ask("GET", "/metrics", &[]), 403, "no_rule"),
        row(ask("OPTIONS", "/products", &[&user]), 403, "no_rule"),
        row(ask("OPTIONS", "/", &[]), 403, "no_rule"),
        // Paths.
        // Nginx and Caddy resolve nothing and leave it for the gate to refuse.
        row(ask("GET", "/products/../orders", &[]), 401, "no_credential").but(Kind::Nginx, 400, "ambiguous_path").but(
            Kind::Caddy,
            400,
            "ambiguous_path",
        ),
        row(ask("GET", "/products/%61", &[&user]), 200, "allowed"),
        row(ask("GET", "/products/7;v=1", &[&user]), 400, "ambiguous_path"),
        row(ask("GET", &format!("/products/{}", "x".repeat(9000)), &[&user]), 400, "malformed_uri"),
        // The same refusal, by the gate behind one proxy and by another proxy itself.
        row(ask("GET", "/products%2fadmin", &[&user]), 400, "ambiguous_path").but(Kind::Traefik, 400, NOT_ASKED).but(
            Kind::Envoy,
            400,
            NOT_ASKED,
        ),
        row(ask("GET", "/products/7%3bv=1", &[&user]), 400, "ambiguous_path").but(Kind::Traefik, 400, NOT_ASKED),
        row(ask("GET", "/products/%252e", &[&user]), 400, "ambiguous_path").but(Kind::Traefik, 400, NOT_ASKED),
        row(ask("GET", "/products/%zz", &[&user]), 400, NOT_ASKED).but(Kind::Envoy, 400, "malformed_uri"),
        row(ask("GET", "/products?a#b", &[&user]), 400, "malformed_uri").but(Kind::Envoy, 400, NOT_ASKED),
        row(ask("GET", "/products", &[&("X-Big", "x".repeat(70_000))]), 431, NOT_ASKED),
        row(at_host("Host: other.localhost\r\n"), 404, NOT_ASKED),
        // Envoy resolves `..;`, for the gate and the servers alike; Traefik leaves it for the gate to refuse.
        row(ask("GET", "/products/x/..;/7", &[&user]), 400, "ambiguous_path").but(Kind::Envoy, 200, "allowed"),
        // Envoy's HTTP/1.1 knows the registered methods only.
        row(ask("FOO", "/products", &[&user]), 403, "no_rule").but(Kind::Envoy, 400, NOT_ASKED),
        // Traefik and Caddy escape bytes outside ASCII, Envoy refuses them, and so does the gate, to which nginx shows them.
        row(ask("GET", "/products/caf\u{e9}", &[&user]), 200, "allowed").but(Kind::Envoy, 400, NOT_ASKED).but(
            Kind::Nginx,
            400,
            "malformed_uri",
        ),
        // Envoy counts headers. The gate is shown only those that it needs, so their number reaches the server; Caddy shows it all,
        // and the gate takes no more than 96.
        row(ask("GET", "/products", &[&[&user][..], &[&("X-Many", String::new()); 150]].concat()), 200, "allowed")
            .but(Kind::Envoy, 431, NOT_ASKED)
            .but(Kind::Caddy, 431, NOT_ASKED),
        // Envoy joins two Host lines, and no virtual host is named so.
        row(at_host("Host: shop.localhost\r\nHost: shop.localhost\r\n"), 400, NOT_ASKED).but(
            Kind::Envoy,
            404,
            NOT_ASKED,
        ),
        row(b"GET /products HTTP/1.0\r\nHost: shop.localhost\r\n\r\n".to_vec(), 401, "no_credential").but(
            Kind::Envoy,
            426,
            NOT_ASKED,
        ),
        row(b"CONNECT shop.localhost:443 HTTP/1.1\r\nHost: shop.localhost\r\n\r\n".to_vec(), 501, NOT_ASKED)
            .but(Kind::Envoy, 404, NOT_ASKED)
            .but(Kind::Nginx, 400, NOT_ASKED)
            // No proxying for Caddy, a method like any, which no rule can name.
            .but(Kind::Caddy, 400, "malformed_method"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_has_the_same_answer_through_all_proxies() {
    let [traefik, envoy, nginx, caddy] = Kind::ALL.map(Shop::behind);
    let (traefik, envoy, nginx, caddy) = tokio::join!(traefik, envoy, nginx, caddy);
    let mut wrong = Vec::new();
    for row in table() {
        let line =
            String::from_utf8_lossy(row.request.split(|byte| *byte == b'\r').next().expect("a line")).into_owned();
        let (one, two, three, four) = tokio::join!(
            traefik.send(&row.request),
            envoy.send(&row.request),
            nginx.send(&row.request),
            caddy.send(&row.request)
        );
        let mut alike: Option<(Kind, Exchange)> = None;
        for (kind, exchange) in Kind::ALL.into_iter().zip([one, two, three, four]) {
            let outcome = (exchange.status(), exchange.trace.reason());
            let exception = row.exception(kind);
            let expected = exception.unwrap_or(row.outcome);
            if outcome != expected {
                wrong.push(format!("{line:.80} through {kind:?}: {outcome:?} instead of {expected:?}"));
            }
            if exchange.trace.received.len() != usize::from(exchange.status() == 200) {
                wrong.push(format!("{line:.80} through {kind:?}: {exchange:?}"));
            }
            if exception.is_some() {
                continue;
            }
            match &alike {
                Some((first, other)) if everything(other) != everything(&exchange) => {
                    wrong.push(format!("{line:.80} differs through {first:?} and {kind:?}: {other:?}\n{exchange:?}"));
                }
                Some(_) => {}
                None => alike = Some((kind, exchange)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The whole of what was judged, of what the server was told, and of what tells the client how to do better.
fn everything(exchange: &Exchange) -> impl PartialEq + use<> {
    let line = exchange.trace.audit.last().cloned().unwrap_or_default();
    let judged = ["rule", "subject", "issuer", "method", "host", "path", "client"].map(|member| line[member].clone());
    let request = exchange.trace.received.first();
    // Traefik and Envoy take off needless escapes.
    let told = request.map(|request| (request.method(), decoded(&request.target())));
    let identity = IDENTITY.map(|name| request.map(|request| request.header(name).concat()));
    (judged, told, identity, exchange.response.header("www-authenticate").map(str::to_owned))
}
