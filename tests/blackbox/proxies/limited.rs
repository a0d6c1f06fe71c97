//! What the gate says of its own limits reaches the client: the 429 with when to come back, and on an allowed request how much is
//! left, as far as a proxy can carry it.

use std::time::Instant;

use serde_json::json;

use super::shop::{Exchange, IDENTITY, Kind, Proxy, Shop, assert_identity, through_all};
use crate::support::gate::{Config, Gate, KEY, claims, within};
use crate::support::proxy::Options;
use crate::support::raw;
use crate::support::stand_in::{FREE, StandIn, http};
use crate::support::wire::Wire;

/// In the IETF's draft, and in the older names.
const NAMES: [&str; 5] =
    ["RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"];
/// How an operator chooses both, and the draft alone.
const BOTH: &str = "limit_headers: {x: true, on_allow: true}";
const DRAFT: &str = "limit_headers: {on_allow: true}";
const REQUEST_ID: &str = "r-1";
const PROBLEM: &str =
    "{\"title\":\"Too Many Requests\",\"status\":429,\"detail\":\"a limit is reached\",\"request_id\":\"r-1\"}\n";

/// The sample shop with two limits, of so many tokens and one more in each hour, and a rule for all paths that have none.
fn limited(of_user: u32, of_tenant: u32) -> Config {
    let more = format!(
        "{BOTH}
limits:
  - {{name: user, by: user, rate: 1, period: 1h, burst: {of_user}, tiers: {{internal: exempt}}}}
  - {{name: tenant, by: tenant, rate: 1, period: 1h, burst: {of_tenant}, tiers: {{internal: exempt}}}}
rules:
  - {{id: everything-else, hosts: [shop.localhost], paths: [/**], allow: authenticated}}
"
    );
    Config::shop().edit("\nrules:\n", &format!("\n{more}"))
}

/// From now on the gate says of limits what this line chooses, and nothing else changes.
async fn chooses(gate: &Gate, line: &str) {
    let path = gate.folder().join("policy.yaml");
    let text = std::fs::read_to_string(&path).expect("the policy");
    assert!(text.contains(BOTH) && line != BOTH, "{text}");
    std::fs::write(gate.folder().join("next"), text.replace(BOTH, line)).expect("a file");
    std::fs::rename(gate.folder().join("next"), path).expect("renamed");
    let reloads = "portcullis_reloads_total{what=\"policy\",result=\"ok\"}";
    within("the new policy", async || gate.metric(reloads).await == Some(1.0)).await;
}

/// Of the tier, or of none.
fn authorization(tier: Option<&str>) -> String {
    format!("Bearer {}", KEY.token(&claims(json!({"tenant": "acme", "tier": tier}))))
}

/// A shop, and since when its buckets are not full any more.
struct Visit {
    shop: Shop,
    begun: Instant,
}

impl Visit {
    async fn to(kind: Kind, config: &Config, change: impl FnOnce(Options) -> Options) -> Self {
        Self { shop: Shop::with(kind, config, change).await, begun: Instant::now() }
    }

    async fn get(&self, target: &str, authorization: &str) -> Exchange {
        self.shop.ask("GET", target, &[("Authorization", authorization), ("X-Request-ID", REQUEST_ID)]).await
    }

    /// A time that is told. It is whole hours, of which the seconds are gone that the test has taken.
    #[track_caller]
    fn hours(&self, seconds: &str) -> u64 {
        let seconds: u64 = seconds.parse().unwrap_or_else(|_| panic!("no whole seconds: {seconds}"));
        let hours = seconds.div_ceil(3600);
        assert!(hours * 3600 - seconds <= self.begun.elapsed().as_secs(), "{seconds} s of {hours} h");
        hours
    }

    /// All that the client was told under a name, with the hours in place of times that run.
    #[track_caller]
    fn told(&self, name: &str, response: &raw::Response) -> Vec<String> {
        let values = response.header_all(name).into_iter();
        let told = values.map(|value| match name {
            "X-RateLimit-Reset" => format!("{}h", self.hours(value)),
            "RateLimit" => {
                let limits = value.split(", ").map(|limit| match limit.split_once(";t=") {
                    Some((left, seconds)) => format!("{left};t={}h", self.hours(seconds)),
                    None => limit.to_owned(),
                });
                limits.collect::<Vec<_>>().join(", ")
            }
            _ => value.to_owned(),
        });
        told.collect()
    }

    /// Asserts that the client was told exactly this of limits, in the order of [`NAMES`].
    #[track_caller]
    fn assert_told(&self, response: &raw::Response, told: &[&str]) {
        for (i, name) in NAMES.into_iter().enumerate() {
            let wanted: Vec<&str> = told.get(i).copied().into_iter().collect();
            assert_eq!(self.told(name, response), wanted, "{name}: {response:?}");
        }
    }

    /// Asserts that the gate has refused it because of an empty bucket.
    #[track_caller]
    fn assert_limited(&self, response: &raw::Response) {
        let [seconds] = response.header_all("retry-after")[..] else { panic!("not one Retry-After: {response:?}") };
        assert_eq!((response.status, self.hours(seconds)), (429, 1), "{response:?}");
        assert_eq!(response.header_all("cache-control"), ["no-store"], "{response:?}");
        assert_eq!(response.header_all("x-request-id"), [REQUEST_ID], "{response:?}");
        assert_eq!(response.header("www-authenticate"), None, "another credential would not help: {response:?}");
        for name in IDENTITY {
            assert_eq!(response.header(name), None, "no identity toward the client: {response:?}");
        }
    }
}

/// What is told of a bucket of one, which is empty.
const EMPTY: [&str; 5] = ["\"user\";r=0;t=1h", "\"user\";q=1;w=3600", "1", "0", "1h"];

async fn the_gates_429_reaches_the_client_whole(kind: Kind) {
    let visit = Visit::to(kind, &limited(1, 9), Options::lift_rate_limit).await;
    let alice = authorization(None);
    visit.get("/products", &alice).await.passed();
    for told in [&EMPTY[..], &EMPTY[..2]] {
        for target in ["/products", "/orders", "/api/service-a/items", "/nowhere"] {
            let exchange = visit.get(target, &alice).await;
            let response = &exchange.refused(429, "rate_limited").response;
            assert_eq!(exchange.trace.audit.len(), 1, "the gate was asked once: {exchange:?}");
            visit.assert_limited(response);
            visit.assert_told(response, told);
            assert_eq!(response.header_all("content-type"), ["application/problem+json"], "{response:?}");
            assert_eq!(response.text(), PROBLEM, "{kind:?}");
        }
        if told.len() > 2 {
            chooses(&visit.shop.gate, DRAFT).await;
        }
    }

    let navigation = [
        ("Authorization", &*alice),
        ("X-Request-ID", REQUEST_ID),
        ("Sec-Fetch-Mode", "navigate"),
        ("Accept", "text/html"),
    ];
    let exchange = visit.shop.ask("GET", "/products", &navigation).await;
    let response = &exchange.refused(429, "rate_limited").response;
    visit.assert_limited(response);
    visit.assert_told(response, &EMPTY[..2]);
    let said = visit.shop.gate.ask("GET", "/products", &navigation).await.response;
    let page = |response: &raw::Response| {
        ["content-type", "content-security-policy"].map(|name| response.header(name).map(str::to_owned))
    };
    assert!(page(&said)[0].as_deref() == Some("text/html; charset=utf-8") && page(&said)[1].is_some(), "{said:?}");
    assert!(said.text().contains("<h1>Too Many Requests</h1>") && said.text().contains(REQUEST_ID), "{said:?}");
    match kind {
        // It has thrown the page away.
        Kind::Nginx => {
            assert_eq!(page(response), [Some("application/problem+json".to_owned()), None], "{response:?}");
            assert_eq!(response.text(), PROBLEM);
        }
        Kind::Traefik | Kind::Envoy | Kind::Caddy => {
            assert_eq!((page(response), response.text()), (page(&said), said.text()), "{response:?}");
        }
    }
}

async fn how_much_is_left_reaches_the_client_but_through_traefik(kind: Kind) {
    let visit = Visit::to(kind, &limited(20, 30), Options::lift_rate_limit).await;
    let (alice, internal) = (authorization(None), authorization(Some("internal")));
    let targets = ["/products", "/orders", "/api/service-a/items"];
    let mut taken = 0;
    for names in [NAMES.len(), 2] {
        for target in targets {
            let exchange = visit.get(target, &alice).await;
            taken += 1;
            // Two limits in one line, since nginx takes one line only; the older names know the one that has less.
            let left = format!("\"user\";r={};t={taken}h, \"tenant\";r={};t={taken}h", 20 - taken, 30 - taken);
            let told = [
                &*left,
                "\"user\";q=20;w=72000, \"tenant\";q=30;w=108000",
                "20",
                &(20 - taken).to_string(),
                &format!("{taken}h"),
            ];
            visit.assert_told(&exchange.response, if kind == Kind::Traefik { &[] } else { &told[..names] });
            assert_passed(kind, target, &exchange, "free");
        }
        if names > 2 {
            chooses(&visit.shop.gate, DRAFT).await;
        }
    }
    // Who is under no limit is told of none.
    for target in targets {
        let exchange = visit.get(target, &internal).await;
        visit.assert_told(&exchange.response, &[]);
        assert_passed(kind, target, &exchange, "internal");
    }
    for limit in ["user", "tenant"] {
        let allowed = format!("portcullis_limits_total{{limit=\"{limit}\",result=\"allowed\"}}");
        assert_eq!(visit.shop.gate.metric(&allowed).await, Some(6.0), "one token for each request: {limit}");
    }
    // Nobody was asked about an open route, and nobody says anything.
    let open = visit.shop.ask("GET", "/authentication/login", &[]).await;
    visit.assert_told(&open.response, &[]);
    assert_eq!((open.status(), open.trace.audit.len()), (200, 0), "{open:?}");
}

/// Passed, with no word of limits to the server: that is between the gate and the client.
#[track_caller]
fn assert_passed(kind: Kind, target: &str, exchange: &Exchange, tier: &str) {
    assert_eq!(exchange.response.header("retry-after"), None, "{exchange:?}");
    let request = exchange.passed();
    assert!(!request.text().to_ascii_lowercase().contains("ratelimit"), "{}", request.text());
    assert_identity(request, ["alice", "user", tier]);
    // Two questions for each of the orders behind Traefik.
    let asked = if kind == Kind::Traefik && target == "/orders" { 2 } else { 1 };
    assert_eq!(exchange.trace.audit.len(), asked, "{exchange:?}");
}

/// A server may have limits of its own, and say so. One that does stands in the servers' place.
async fn a_server_is_heard_beside_the_gate(kind: Kind) {
    let told = [("RateLimit", "\"server\";r=1;t=1"), ("X-RateLimit-Limit", "7")];
    let lines: String = told.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let server = StandIn::start(FREE, http("200 OK", &lines, "")).await;
    let gate = Gate::start(&match Wire::here() {
        Wire::Tls => limited(20, 30).over_tls(),
        Wire::Plain => limited(20, 30),
    });
    let proxy = Proxy::start(kind, &Options::new(gate.decisions(), [server.address; 2]).lift_rate_limit()).await;
    for (tier, of_gate) in [(None, ["\"user\";r=19;t=3600, \"tenant\";r=29;t=3600", "20"]), (Some("internal"), [""; 2])]
    {
        let response = proxy.raw().get("/products", &[("Authorization", &authorization(tier))]).await;
        assert_eq!(response.status, 200, "{response:?}");
        for ((name, of_server), of_gate) in told.into_iter().zip(of_gate) {
            let mut heard = response.header_all(name);
            let mut wanted = vec![of_server];
            if !of_gate.is_empty() && kind != Kind::Traefik {
                wanted.push(of_gate);
            }
            heard.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(heard, wanted, "{kind:?}: {response:?}");
        }
    }
}

through_all!(
    the_gates_429_reaches_the_client_whole,
    how_much_is_left_reaches_the_client_but_through_traefik,
    a_server_is_heard_beside_the_gate,
);
through_all!([Nginx over Tls as through_nginx, Nginx over Plain as through_nginx_over_plain_http] nginxs_own_429_is_another);
through_all!(
    [Envoy over Tls as through_envoy, Envoy over Plain as through_envoy_over_plain_http]
    a_limited_grpc_call_is_told_in_its_own_terms,
);

/// That of its limit per client: another wait, a page of its own, and not a word of the gate, which was not asked.
async fn nginxs_own_429_is_another(kind: Kind) {
    let visit = Visit::to(kind, &limited(1, 9), |shipped| shipped).await;
    let alice = authorization(None);
    visit.get("/products", &alice).await.passed();
    let mut decided = 1;
    let own = loop {
        let headers = [("Authorization", &*alice), ("X-Request-ID", REQUEST_ID)];
        let response = visit.shop.proxy.raw().get("/products", &headers).await;
        if response.header("ratelimit").is_none() {
            break response;
        }
        visit.assert_limited(&response);
        decided += 1;
    };
    assert_eq!((own.status, own.header_all("retry-after")), (429, vec!["3"]), "{own:?}");
    assert_eq!(own.header("content-type"), Some("text/html"), "{own:?}");
    visit.assert_told(&own, &[]);
    let asked = || visit.shop.gate.audit().iter().filter(|line| line["request_id"] == REQUEST_ID).count();
    within("all lines", async || asked() == decided).await;
    assert!(decided >= 40, "{decided}");
    assert_eq!(visit.shop.upstreams.iter().map(|upstream| upstream.requests().len()).sum::<usize>(), 0);
}

async fn a_limited_grpc_call_is_told_in_its_own_terms(kind: Kind) {
    let visit = Visit::to(kind, &limited(1, 9), Options::lift_rate_limit).await;
    let (proxy, alice) = (&visit.shop.proxy, authorization(None));
    visit.get("/products", &alice).await.passed();
    let call = proxy.http2().post(proxy.url("/orders")).header("authorization", alice);
    let call = call.header("content-type", "application/grpc").header("te", "trailers").body("\0\0\0\0\0");
    let response = call.send().await.expect("an answer");
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    // UNAVAILABLE: what gRPC clients make of a 429.
    assert_eq!((response.status().as_u16(), header("grpc-status")), (200, Some("14")), "{response:?}");
    assert_eq!(visit.hours(header("retry-after").expect("Retry-After")), 1, "{response:?}");
}
