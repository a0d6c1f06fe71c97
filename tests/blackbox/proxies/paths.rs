//! Paths that can be read in more ways than one. Proxies and servers read them differently; what must never happen is that the
//! gate judges one reading and a server acts on another.

use std::collections::BTreeSet;

use super::shop::{Exchange, Kind, NOT_ASKED, Shop, alice, assert_identity, through_all};

through_all!(
    no_spelling_of_a_path_opens_a_stricter_resource,
    the_gate_judges_the_path_that_the_server_receives,
    a_rewritten_path_is_judged_before_the_rewriting,
    an_open_path_is_open_in_its_exact_spelling_only,
);

/// Spellings of `/products/admin`, which alice may not have, that somebody once read as something else: dot segments, encoded or
/// not, encoded once or twice; slashes, backslashes, doubled or encoded; path parameters; NUL; needless escapes.
const SPELLINGS: &[&str] = &[
    "/products/admin",
    "/products/admin/",
    "/products/admin/.",
    "/products/admin/x/..",
    "/products/admin?x=/products",
    "/products/./admin",
    "/products/x/../admin",
    "/products/../products/admin",
    "/authentication/login/../../products/admin",
    "/health/../products/admin",
    "/products/%2e/admin",
    "/products/x/%2e%2e/admin",
    "/products/x/.%2E/admin",
    "/products/x/%2E./admin",
    "/health/%2e%2e/products/admin",
    "/products/x/%252e%252e/admin",
    "/products/x/%c0%ae%c0%ae/admin",
    "/products%c0%afadmin",
    "//products/admin",
    "///products/admin",
    "/products//admin",
    "/products/admin//",
    "/health//../products/admin",
    "/products%2fadmin",
    "/products%2Fadmin",
    "/%2fproducts/admin",
    "/products/%2fadmin",
    "/products/admin%2f",
    "/products/admin%2fx",
    "/products/x%2f..%2fadmin",
    "/products/x%2F%2e%2e%2Fadmin",
    "/products/x/..%2fadmin",
    "/health%2f..%2fproducts%2fadmin",
    "/products%252fadmin",
    "/products/x%252f..%252fadmin",
    "\\products\\admin",
    "/products\\admin",
    "/products/x\\..\\admin",
    "/products/\\admin",
    "/products%5cadmin",
    "/products%5Cadmin",
    "/products/x%5c..%5cadmin",
    "/products/x/..%5cadmin",
    "/health%5c..%5cproducts%5cadmin",
    "/products/admin;x=1",
    "/products/admin;/x",
    "/products;x/admin",
    "/products/;/admin",
    "/products/x/..;/admin",
    "/products/x/..;y=z/admin",
    "/products/x/.;/../admin",
    "/products/x/%2e%2e;/admin",
    "/products/admin%3bx=1",
    "/products/admin%3Bx=1",
    "/products/x/..%3b/admin",
    "/health;/../products/admin",
    "/health/..;/products/admin",
    "/products/admin%00",
    "/products/admin%00.css",
    "/products/%00/../admin",
    "/products/x%00/../admin",
    "/products/%00admin",
    "/products/admin%0a",
    "/products/admin%0d%0aX-User-Role:%20admin",
    "/products/admin%3f",
    "/products/admin%3fx",
    "/products/admin%23",
    "/products/admin#x",
    "/products/%61dmin",
    "/products/adm%69n",
    "/%70roducts/%61%64%6d%69%6e",
    "/products/%2561dmin",
    "/products/.%2e;/../admin",
    "/products/..%00/products/admin",
    "http://shop.localhost/products/admin",
    "http://shop.localhost//products/../products/admin",
    "/http://shop.localhost/products/admin",
];

/// All that a server might take a target for: escapes decoded up to twice, also wrong ones; `\` as `/`; cut off at NUL, `#`, `?`,
/// a line's end, or not; path parameters taken off, or not.
fn readings(target: &str) -> BTreeSet<String> {
    let path = target.split('?').next().unwrap_or_default();
    // The overlong encodings of `.` and `/` that old decoders take.
    let mut texts = vec![path.to_owned(), path.replace("%c0%ae", ".").replace("%c0%af", "/")];
    for _ in 0..2 {
        texts.extend(texts.iter().map(|text| decoded(text)).collect::<Vec<_>>());
    }
    let mut readings = BTreeSet::new();
    for text in texts {
        for text in [text.clone(), text.replace('\\', "/")] {
            for end in ['\0', '\r', '\n', '#', '?', '\u{10ffff}'] {
                let text = text.split(end).next().unwrap_or_default();
                for bare in [false, true] {
                    let segments: Vec<&str> = text
                        .split('/')
                        .map(|segment| if bare { segment.split(';').next().unwrap_or_default() } else { segment })
                        .map(|segment| segment.trim_matches(char::is_control))
                        .collect();
                    readings.insert(walked(&segments));
                }
            }
        }
    }
    readings
}

/// With every escape decoded, once.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escape = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn walked(segments: &[&str]) -> String {
    let mut path = Vec::new();
    for segment in segments {
        match *segment {
            "" | "." => {}
            ".." => {
                path.pop();
            }
            name => path.push(name),
        }
    }
    format!("/{}", path.join("/"))
}

fn is_admin(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path == "/products/admin" || path.starts_with("/products/admin/")
}

async fn ask(shop: &Shop, target: &str, token: &str) -> Exchange {
    shop.ask("GET", target, &[("Authorization", token)]).await
}

/// Asserts that what the gate judged is what the server was sent.
#[track_caller]
fn assert_agreement(exchange: &Exchange) {
    let target = exchange.trace.upstream().target();
    let path = target.split('?').next().unwrap_or_default();
    for line in &exchange.trace.audit {
        assert_eq!(line["path"], decoded(path), "the gate judged another path than the server received: {exchange:?}");
    }
}

async fn no_spelling_of_a_path_opens_a_stricter_resource(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let token = format!("Bearer {}", alice());
    let mut refusals = BTreeSet::new();
    for target in SPELLINGS {
        assert!(readings(target).iter().any(|path| is_admin(path)) || target.contains("http:"), "a spelling? {target}");
        let exchange = ask(&shop, target, &token).await;
        refusals.insert((exchange.status(), exchange.trace.reason().to_owned()));
        if exchange.status() != 200 {
            assert!((400..500).contains(&exchange.status()), "{target}: no fault of ours: {exchange:?}");
            assert!(exchange.trace.received.is_empty(), "{target}: refused, and yet received: {exchange:?}");
            continue;
        }
        for received in &exchange.trace.received {
            let admin: Vec<_> = readings(&received.target()).into_iter().filter(|path| is_admin(path)).collect();
            assert!(admin.is_empty(), "{target}: a server may read it as {admin:?}: {exchange:?}");
        }
        if !exchange.trace.received.is_empty() {
            assert_agreement(&exchange);
        }
    }
    // The test would prove nothing if all of it were refused for one and the same reason.
    assert!(refusals.contains(&(403, "missing_role".to_owned())), "{refusals:?}");
    assert!(refusals.contains(&(400, "ambiguous_path".to_owned())), "{refusals:?}");
}

async fn the_gate_judges_the_path_that_the_server_receives(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let token = format!("Bearer {}", alice());
    for (target, path) in [
        ("/products", "/products"),
        ("/products/", "/products/"),
        ("/products/7", "/products/7"),
        ("/products/7?next=/products/admin", "/products/7"),
        ("/products/a/../b", "/products/b"),
        ("/products/./b", "/products/b"),
        ("/products//b", "/products/b"),
        ("//products/b", "/products/b"),
        ("/products/%61", "/products/a"),
        ("/products/%2e%2e/products/b", "/products/b"),
        ("/products/caf%C3%A9", "/products/caf\u{e9}"),
        ("/products/a%20b", "/products/a b"),
        ("/products/a,b=c@d:e!f$g'h(i)j*k+l~m", "/products/a,b=c@d:e!f$g'h(i)j*k+l~m"),
        ("/products/admin/../7", "/products/7"),
        ("/products/ADMIN", "/products/ADMIN"),
        ("/products/administrator", "/products/administrator"),
        ("/health/../products/7", "/products/7"),
        ("/authentication/login/../../orders", "/orders"),
        ("/orders/a/../b", "/orders/b"),
    ] {
        let exchange = ask(&shop, target, &token).await;
        if kind.leaves_ambiguous(target) {
            exchange.refused(400, "ambiguous_path");
            continue;
        }
        assert_identity(exchange.passed(), ["alice", "user", "free"]);
        assert_agreement(&exchange);
        assert_eq!(exchange.trace.audit[0]["path"], path, "{target}: {exchange:?}");
        assert_eq!(exchange.trace.audit[0]["client"], "127.0.0.2");
        assert_eq!(exchange.trace.audit[0]["host"], "shop.localhost");
    }
    // A query is no path.
    let exchange = ask(&shop, "/products?path=/../admin;x&y=%2e%2e%2fadmin", &token).await;
    assert_eq!(exchange.trace.audit[0]["path"], "/products");
    exchange.passed();
}

async fn a_rewritten_path_is_judged_before_the_rewriting(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let token = format!("Bearer {}", alice());
    for (target, judged, received) in [
        ("/api/service-a/x", "/api/service-a/x", "/x"),
        ("/api/service-a/x/y?q=1", "/api/service-a/x/y", "/x/y?q=1"),
        ("/api/service-a", "/api/service-a", "/"),
        ("/api/service-a/", "/api/service-a/", "/"),
        ("/api/service-a/x/../y", "/api/service-a/y", "/y"),
        ("/api/service-a//x", "/api/service-a/x", "/x"),
        ("/api/service-a/api/service-a/x", "/api/service-a/api/service-a/x", "/api/service-a/x"),
    ] {
        let exchange = ask(&shop, target, &token).await;
        if kind.leaves_ambiguous(target) {
            exchange.refused(400, "ambiguous_path");
            continue;
        }
        assert_identity(exchange.passed(), ["alice", "user", "free"]);
        assert_eq!(exchange.trace.upstream().target(), received, "{target}: {exchange:?}");
        assert_eq!(exchange.trace.audit[0]["path"], judged);
        assert_eq!(exchange.trace.audit[0]["rule"], "service-a");
        assert_eq!(exchange.trace.upstream().lookalikes("X-Forwarded-Uri"), []);
    }
    // Out of the service's own part of the host: judged as what it leads to, or refused.
    for target in [
        "/api/service-a/../../products/admin",
        "/api/service-a/%2e%2e/%2e%2e/products/admin",
        "/api/service-a/../service-b/x",
        "/api/service-a../x",
        "/api/service-a%2f../x",
        "/api/service-a%2fx",
        "/api/service-a/..%2f..%2fproducts%2fadmin",
        "/api/service-a/..;/..;/products/admin",
        "/api/service-a/..%5c..%5cproducts%5cadmin",
        "/api/service-a;/x",
        "/api%2fservice-a/x",
        "/api/service-ab/x",
        "/api/Service-A/x",
    ] {
        let exchange = ask(&shop, target, &token).await;
        assert!((400..500).contains(&exchange.status()), "{target}: {exchange:?}");
        assert!(exchange.trace.received.is_empty(), "{target}: {exchange:?}");
    }
    shop.ask("GET", "/api/service-a/x", &[]).await.refused(401, "no_credential");
}

async fn an_open_path_is_open_in_its_exact_spelling_only(kind: Kind) {
    let shop = Shop::behind(kind).await;
    for (target, status) in [
        ("/health/x", 403),
        ("/Health", 403),
        ("/healthz", 403),
        ("/health.json", 403),
        ("/health;x", 400),
        ("/health%2f", 400),
        ("/health%00", 400),
        ("/authentication", 403),
        ("/authentication/", 403),
        ("/authentication/login/admin", 403),
        ("/authentication/Login", 403),
        ("/authentication/login/..", 403),
        ("/authentication/login/../logout", 403),
        ("/authentication/login%2f..%2f..%2forders", 400),
        ("/authentication/login/..%2f..%2forders", 400),
        ("/authentication/login/../../orders", 401),
        ("/health/../orders", 401),
        ("/health/../../../orders", 401),
        ("/./orders", 401),
    ] {
        let exchange = shop.ask("GET", target, &[]).await;
        let status = if kind.leaves_ambiguous(target) { 400 } else { status };
        assert_eq!(exchange.status(), status, "{target}: {exchange:?}");
        assert!(exchange.trace.received.is_empty(), "{target}: {exchange:?}");
    }
    // Envoy makes a slash of it, for the gate and for the server.
    let exchange = shop.ask("GET", "/health\\x", &[]).await;
    match kind {
        Kind::Traefik => exchange.refused(400, NOT_ASKED),
        Kind::Envoy => exchange.refused(403, "no_rule"),
        Kind::Nginx | Kind::Caddy => exchange.refused(400, "ambiguous_path"),
    };
}
