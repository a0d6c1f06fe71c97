//! What the gate says of its own limits reaches the client: the 429 with when to come back, and on an allowed request how much is
//! left, as far as a proxy can carry it.
//!
//! A stand-in is in the gate's place. It answers in each dialect as the gate answers; what it says depends on the token.

use super::shop::{IDENTITY, Kind, Proxy, assert_identity, through_all};
use crate::support::proxy::Options;
use crate::support::raw;
use crate::support::stand_in::{FREE, StandIn, http};
use crate::support::upstream::Upstream;

/// What a limit tells, in the IETF's draft and in the older names, which an operator may choose to have as well. Two limits in one
/// line, since nginx takes one line only.
const DRAFT: [(&str, &str); 2] = [
    ("RateLimit", "\"user\";r=0;t=17, \"tenant\";r=9;t=60"),
    ("RateLimit-Policy", "\"user\";q=40;w=120, \"tenant\";q=9;w=60"),
];
const OLDER: [(&str, &str); 3] =
    [("X-RateLimit-Limit", "40"), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "17")];
/// In the seconds of a limit that no proxy has of its own.
const RETRY_AFTER: &str = "17";
const ALICE: &str = "X-User-ID: alice\r\nX-User-Role: user\r\nX-User-Tier: free\r\n";
const PROBLEM: &str =
    "{\"title\":\"Too Many Requests\",\"status\":429,\"detail\":\"a limit is reached\",\"request_id\":\"r-1\"}\n";

fn lines(headers: &[(&str, &str)]) -> String {
    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// The gate's answer to the question with this head.
fn answer(head: &str) -> String {
    let id = "X-Request-ID: r-1\r\n";
    let told = lines(&DRAFT);
    let with_older = lines(&OLDER);
    let says = |token: &str| head.to_ascii_lowercase().contains(&format!("authorization: bearer {token}\r\n"));
    let refusal = |headers: &str, kind: &str, body: &str| {
        let headers = format!(
            "{id}Retry-After: {RETRY_AFTER}\r\n{told}{headers}Cache-Control: no-store\r\nContent-Type: {kind}\r\n"
        );
        if head.starts_with("GET /nginx/validate ") {
            let folded = format!("X-Portcullis-Status: 429\r\nX-Portcullis-Reason: rate_limited\r\n{headers}");
            return http("403 Forbidden", &folded, body);
        }
        http("429 Too Many Requests", &headers, body)
    };
    if says("limited") {
        refusal(&with_older, "application/problem+json", PROBLEM)
    } else if says("limited-in-new-words") {
        refusal("", "application/problem+json", PROBLEM)
    } else if says("limited-at-a-browser") {
        refusal(
            "Content-Security-Policy: default-src 'none'\r\n",
            "text/html; charset=utf-8",
            "<p>Too Many Requests</p>\n",
        )
    } else if says("counted") {
        http("200 OK", &format!("{id}{ALICE}{told}{with_older}"), "")
    } else if says("counted-in-new-words") {
        http("200 OK", &format!("{id}{ALICE}{told}"), "")
    } else {
        assert!(says("uncounted"), "not this test's: {head}");
        http("200 OK", &format!("{id}{ALICE}"), "")
    }
}

/// A proxy between the stand-in and two servers.
struct Shop {
    proxy: Proxy,
    gate: StandIn,
    upstreams: [Upstream; 2],
}

impl Shop {
    async fn behind(kind: Kind, change: impl FnOnce(Options) -> Options) -> Self {
        let upstreams = [Upstream::named("one").await, Upstream::named("two").await];
        let gate = StandIn::answering(answer).await;
        let options = Options::new(gate.address, upstreams.each_ref().map(Upstream::address));
        Self { proxy: Proxy::start(kind, &change(options)).await, gate, upstreams }
    }

    async fn get(&self, target: &str, token: &str) -> raw::Response {
        self.proxy.raw().get(target, &[("Authorization", &format!("Bearer {token}"))]).await
    }

    fn reached(&self) -> usize {
        self.upstreams.iter().map(|upstream| upstream.requests().len()).sum()
    }
}

/// Asserts that the client was told exactly this of limits.
#[track_caller]
fn assert_told(response: &raw::Response, told: &[(&str, &str)]) {
    for (name, _) in DRAFT.into_iter().chain(OLDER) {
        let wanted: Vec<&str> = told.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value).collect();
        assert_eq!(response.header_all(name), wanted, "{name}: {response:?}");
    }
}

#[track_caller]
fn assert_limited(kind: Kind, response: &raw::Response) {
    assert_eq!(
        (response.status, response.header_all("retry-after")),
        (429, vec![RETRY_AFTER]),
        "{kind:?}: {response:?}"
    );
    assert_eq!(response.header_all("cache-control"), ["no-store"], "{response:?}");
    assert_eq!(response.header_all("x-request-id"), ["r-1"], "{response:?}");
    assert_eq!(response.header("www-authenticate"), None, "another credential would not help: {response:?}");
    for name in IDENTITY {
        assert_eq!(response.header(name), None, "no identity toward the client: {response:?}");
    }
}

async fn the_gates_429_reaches_the_client_whole(kind: Kind) {
    let shop = Shop::behind(kind, Options::lift_rate_limit).await;
    let all = [&DRAFT[..], &OLDER].concat();
    for target in ["/products", "/orders", "/api/service-a/items", "/nowhere"] {
        for (token, told) in [("limited", &all[..]), ("limited-in-new-words", &DRAFT)] {
            let response = shop.get(target, token).await;
            assert_limited(kind, &response);
            assert_told(&response, told);
            assert_eq!(response.header_all("content-type"), ["application/problem+json"], "{response:?}");
            assert_eq!(response.text(), PROBLEM, "{kind:?}");
        }
    }
    let response = shop.get("/products", "limited-at-a-browser").await;
    assert_limited(kind, &response);
    assert_told(&response, &DRAFT);
    let page = [response.header("content-type"), response.header("content-security-policy")];
    match kind {
        // It has thrown the page away.
        Kind::Nginx => {
            assert_eq!((page, response.text()), ([Some("application/problem+json"), None], PROBLEM.to_owned()))
        }
        Kind::Traefik | Kind::Envoy | Kind::Caddy => {
            assert_eq!(page, [Some("text/html; charset=utf-8"), Some("default-src 'none'")], "{response:?}");
            assert_eq!(response.text(), "<p>Too Many Requests</p>\n");
        }
    }
    assert_eq!((shop.reached(), shop.gate.asked().len()), (0, 9), "refused, and each by the gate");
}

async fn how_much_is_left_reaches_the_client_but_through_traefik(kind: Kind) {
    let shop = Shop::behind(kind, Options::lift_rate_limit).await;
    let all = [&DRAFT[..], &OLDER].concat();
    for (token, told) in [("counted", &all[..]), ("counted-in-new-words", &DRAFT), ("uncounted", &[])] {
        for target in ["/products", "/orders", "/api/service-a/items"] {
            let response = shop.get(target, token).await;
            assert_eq!((response.status, response.header("retry-after")), (200, None), "{response:?}");
            assert_told(&response, if kind == Kind::Traefik { &[] } else { told });
            // No server is told: it is between the gate and the client.
            let mut received = shop.upstreams.iter().flat_map(Upstream::take_requests);
            let request = received.next().expect("one request");
            assert!(!request.text().to_ascii_lowercase().contains("ratelimit"), "{}", request.text());
            assert_identity(&request, ["alice", "user", "free"]);
        }
    }
    // Nobody was asked about an open route, and nobody says anything.
    let (open, asked) = (shop.proxy.raw().get("/authentication/login", &[]).await, shop.gate.asked().len());
    assert_told(&open, &[]);
    // Two questions for each of the orders behind Traefik.
    assert_eq!((open.status, asked), (200, if kind == Kind::Traefik { 12 } else { 9 }));
}

/// A server may have limits of its own, and say so.
async fn a_server_is_heard_beside_the_gate(kind: Kind) {
    let gate = StandIn::answering(answer).await;
    let told = [("RateLimit", "\"server\";r=1;t=1"), ("X-RateLimit-Limit", "7")];
    let server = StandIn::start(FREE, http("200 OK", &lines(&told), "")).await;
    let proxy = Proxy::start(kind, &Options::new(gate.address, [server.address; 2]).lift_rate_limit()).await;
    for (token, of_gate) in [("counted", true), ("uncounted", false)] {
        let response = proxy.raw().get("/products", &[("Authorization", &format!("Bearer {token}"))]).await;
        for (name, of_server) in told {
            let mut heard = response.header_all(name);
            let mut wanted = vec![of_server];
            if of_gate && kind != Kind::Traefik {
                wanted.extend(DRAFT.iter().chain(&OLDER).filter(|(other, _)| *other == name).map(|(_, value)| *value));
            }
            heard.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(heard, wanted, "{kind:?}: {response:?}");
        }
    }
}

// The stand-in has no certificate of the gate's authority.
through_all!(
    [
        Traefik over Plain as through_traefik,
        Envoy over Plain as through_envoy,
        Nginx over Plain as through_nginx,
        Caddy over Plain as through_caddy,
    ] the_gates_429_reaches_the_client_whole,
    how_much_is_left_reaches_the_client_but_through_traefik,
    a_server_is_heard_beside_the_gate,
);
through_all!([Nginx over Plain as through_nginx] nginxs_own_429_is_another);
through_all!([Envoy over Plain as through_envoy] a_limited_grpc_call_is_told_in_its_own_terms);

/// That of its limit per client: another wait, a page of its own, and not a word of the gate, which was not asked.
async fn nginxs_own_429_is_another(kind: Kind) {
    let shop = Shop::behind(kind, |shipped| shipped).await;
    let mut decided = 0;
    let own = loop {
        let response = shop.get("/products", "limited").await;
        if response.header("ratelimit").is_none() {
            break response;
        }
        assert_limited(kind, &response);
        decided += 1;
    };
    assert_eq!((own.status, own.header_all("retry-after")), (429, vec!["3"]), "{own:?}");
    assert_eq!(own.header("content-type"), Some("text/html"), "{own:?}");
    assert_told(&own, &[]);
    assert_eq!((shop.gate.asked().len(), shop.reached()), (decided, 0));
    assert!(decided >= 40, "{decided}");
}

async fn a_limited_grpc_call_is_told_in_its_own_terms(kind: Kind) {
    let shop = Shop::behind(kind, Options::lift_rate_limit).await;
    let call = shop.proxy.http2().post(shop.proxy.url("/orders")).header("authorization", "Bearer limited");
    let call = call.header("content-type", "application/grpc").header("te", "trailers").body("\0\0\0\0\0");
    let response = call.send().await.expect("an answer");
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    // UNAVAILABLE: what gRPC clients make of a 429.
    assert_eq!((response.status().as_u16(), header("grpc-status")), (200, Some("14")), "{response:?}");
    assert_eq!(header("retry-after"), Some(RETRY_AFTER), "{response:?}");
}
