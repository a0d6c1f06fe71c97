//! The shipped limits, in numbers: rate and requests in flight.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::shop::{Kind, Shop, alice, bob};
use crate::support::gate::{Config, Gate, within};
use crate::support::proxy::{Options, Traefik};
use crate::support::raw;
use crate::support::redis::Server;
use crate::support::upstream::Upstream;

/// How many requests of a client at once; of them the shipped burst goes through.
const FLOOD: usize = 110;
const BURST: usize = 40;
/// The shipped amount of requests in flight.
const IN_FLIGHT: usize = 40;
/// The same of one user, where `in-flight-user` is used.
const IN_FLIGHT_USER: usize = 20;

/// How many answers were of which kind: the status, and if there is one, `Retry-After`, which tells the limit of the rate from the
/// other one.
type Counts = BTreeMap<String, usize>;

const LET_THROUGH: &str = "200";
/// After 3 s, or more when Traefik looks at several at the same moment.
const OVER_THE_RATE: &str = "429, retry after ";

/// Sends that many requests of a user at once, the clients in turn.
async fn flood(clients: &[raw::Client], requests: usize) -> Counts {
    let token = format!("Bearer {}", alice());
    flood_with(&raw::request("GET", "/products", &[("Authorization", &token)], b""), clients, requests).await
}

/// The same with any request. The connections stand before the first one is sent, so that no handshake spreads them over the time in
/// which the bucket is refilled.
async fn flood_with(request: &[u8], clients: &[raw::Client], requests: usize) -> Counts {
    let mut connecting = JoinSet::new();
    for client in clients.iter().copied().cycle().take(requests) {
        connecting.spawn(async move { client.connect().await.expect("a connection") });
    }
    let mut answering = JoinSet::new();
    for stream in connecting.join_all().await {
        answering.spawn(tokio::time::timeout(Duration::from_secs(30), answer(stream, request.to_owned())));
    }
    let mut counts = Counts::new();
    for kind in answering.join_all().await {
        *counts.entry(kind.expect("an answer in time")).or_default() += 1;
    }
    counts
}

async fn answer(mut stream: raw::Stream, request: Vec<u8>) -> String {
    stream.write_all(&request).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        assert!(stream.read_buf(&mut answer).await.expect("an answer") > 0, "the connection ended");
    }
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let status = head.split(' ').nth(1).expect("a status").to_owned();
    match head.lines().find_map(|line| line.strip_prefix("retry-after: ")) {
        Some(seconds) => format!("{status}, retry after {seconds}"),
        None => status,
    }
}

/// Sends the flood to proxies with a bucket each.
async fn rush(clients: &[raw::Client]) -> Counts {
    rush_at(clients, clients.len()).await
}

/// Sends the flood to so many buckets, but one request of each client alone ahead of the others: Traefik makes a client's bucket without
/// a lock, and first requests at the very same moment can get a bucket each.
async fn rush_at(clients: &[raw::Client], buckets: usize) -> Counts {
    let start = Instant::now();
    let mut counts = Counts::new();
    for client in clients {
        flood(&[*client], 1).await.into_iter().for_each(|(kind, count)| *counts.entry(kind).or_default() += count);
    }
    let others = flood(clients, FLOOD - clients.len()).await;
    others.into_iter().for_each(|(kind, count)| *counts.entry(kind).or_default() += count);
    let took = start.elapsed();

    // On a machine so slow that the flood outlasts a refill (one request each 3 s, given up to half a second early), the refilled
    // ones go through as well.
    let refilled = usize::try_from((took + Duration::from_millis(500)).as_secs() / 3).expect("few");
    let accepted = counts.get(LET_THROUGH).copied().unwrap_or_default();
    let refused: usize =
        counts.iter().filter(|(kind, _)| kind.starts_with(OVER_THE_RATE)).map(|(_, count)| count).sum();
    assert_eq!(accepted + refused, FLOOD, "nothing else: {counts:?}");
    let range = buckets * BURST..=buckets * (BURST + refilled);
    assert!(range.contains(&accepted), "{counts:?} in {took:?}");
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_110_concurrent_requests_one_traefik_accepts_40() {
    let shop = Shop::with(Kind::Traefik, &Config::shop(), |shipped| shipped).await;
    let counts = rush(&[shop.proxy.raw()]).await;
    println!("110 concurrent through one Traefik: {counts:?}");

    let other = shop.proxy.raw().with_source([127, 0, 0, 9]).get("/products", &[]).await;
    assert_eq!(other.status, 401, "another client has a bucket of its own: {other:?}");
    // The gate was spared the flood: it decided on what was let through, and on the last one.
    assert!(shop.gate.audit().len() <= BURST + 2, "{}", shop.gate.audit().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_110_concurrent_requests_in_turn_over_two_traefiks_80_are_accepted() {
    let upstreams = [Upstream::named("one").await, Upstream::named("two").await];
    let gate = Gate::start(&Config::shop().over_tls());
    let options = Options::new(gate.decisions(), upstreams.each_ref().map(Upstream::address));
    let (one, other) = tokio::join!(Traefik::start(&options), Traefik::start(&options));
    let counts = rush(&[one.raw(), other.raw()]).await;
    println!("110 concurrent in turn over two Traefiks: {counts:?}");
}

/// Two Traefiks with `rate-shared` in place of `rate` in all routers, on this Redis.
async fn on_one_redis(redis: &Server, gate: &Gate, upstreams: &[Upstream; 2]) -> [Traefik; 2] {
    let options = Options::new(gate.decisions(), upstreams.each_ref().map(Upstream::address))
        .edit("middlewares: [strip, rate,", "middlewares: [strip, rate-shared,")
        .edit("127.0.0.1:6379", &redis.address().to_string());
    tokio::join!(Traefik::start(&options), Traefik::start(&options)).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_110_concurrent_requests_in_turn_over_two_traefiks_on_one_redis_40_are_accepted() {
    let upstreams = [Upstream::named("one").await, Upstream::named("two").await];
    let (redis, gate) = (Server::start().await, Gate::start(&Config::shop().over_tls()));
    let traefiks = on_one_redis(&redis, &gate, &upstreams).await;
    let counts = rush_at(&traefiks.each_ref().map(Traefik::raw), 1).await;
    println!("110 concurrent in turn over two Traefiks on one Redis: {counts:?}");
    for traefik in &traefiks {
        let refused = traefik.raw().get("/orders", &[]).await;
        assert_eq!(refused.status, 429, "one bucket for all routers: {refused:?}");
        let other = traefik.raw().with_source([127, 0, 0, 9]).get("/products", &[]).await;
        assert_eq!(other.status, 401, "another client has a bucket of its own: {other:?}");
    }
    // The gate was spared the flood: it decided on what was let through, and on the last two.
    let accepted = counts.get(LET_THROUGH).copied().unwrap_or_default();
    assert!(gate.audit().len() <= accepted + 2, "{}", gate.audit().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_redis_the_shared_limit_lets_nothing_through() {
    let upstreams = [Upstream::named("one").await, Upstream::named("two").await];
    let (mut redis, gate) = (Server::start().await, Gate::start(&Config::shop().over_tls()));
    let traefiks = on_one_redis(&redis, &gate, &upstreams).await;
    let token = format!("Bearer {}", alice());
    let ask = async |target: &str| {
        let clients = traefiks.each_ref().map(Traefik::raw);
        let headers = [("Authorization", &*token)];
        let (one, other) = tokio::join!(clients[0].get(target, &headers), clients[1].get(target, &headers));
        [one.status, other.status]
    };
    let received = || upstreams.iter().map(|upstream| upstream.requests().len()).sum::<usize>();
    assert_eq!((ask("/products").await, received()), ([200; 2], 2));

    // It is there and does not answer; then it is not there.
    for gone in ["STOP", "KILL"] {
        if gone == "STOP" {
            redis.signal(gone)
        } else {
            redis.kill()
        }
        for target in ["/products", "/health"] {
            let begin = Instant::now();
            assert_eq!(ask(target).await, [500; 2], "{gone}: {target}");
            println!("{gone}: 500 after {:?}", begin.elapsed());
        }
    }
    assert_eq!((received(), gate.audit().len()), (2, 2), "nobody was asked");

    redis.start_again().await;
    within("Traefik finds its Redis again", async || ask("/products").await == [200; 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_110_concurrent_requests_one_envoy_accepts_40() {
    let shop = Shop::with(Kind::Envoy, &Config::shop(), |shipped| shipped).await;
    let counts = rush(&[shop.proxy.raw()]).await;
    println!("110 concurrent through one Envoy: {counts:?}");

    let refused = shop.proxy.raw().get("/orders", &[]).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("3")), "one bucket for all: {refused:?}");
    let other = shop.proxy.raw().with_source([127, 0, 0, 9]).get("/products", &[]).await;
    assert_eq!(other.status, 401, "another client has a bucket of its own: {other:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_110_concurrent_requests_one_nginx_accepts_40() {
    let shop = Shop::with(Kind::Nginx, &Config::shop(), |shipped| shipped).await;
    let counts = rush(&[shop.proxy.raw()]).await;
    println!("110 concurrent through one nginx: {counts:?}");

    let refused = shop.proxy.raw().get("/orders", &[]).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("3")), "one bucket for all: {refused:?}");
    let other = shop.proxy.raw().with_source([127, 0, 0, 9]).get("/products", &[]).await;
    assert_eq!(other.status, 401, "another client has a bucket of its own: {other:?}");
    // The gate was spared the flood: it decided on what was let through, and on the last one.
    assert!(shop.gate.audit().len() <= BURST + 2, "{}", shop.gate.audit().len());
}

/// Of 60 slow requests from one address 40 are in flight, and the others refused at once. Another address is not locked out by
/// Traefik and nginx, which count by address; Envoy counts per upstream cluster and Caddy per server, and so they refuse the other
/// one as well.
async fn sixty_slow_requests_of_one_client(kind: Kind) -> (Counts, [u16; 2]) {
    let shop = Shop::with(kind, &Config::shop(), Options::lift_rate_limit).await;
    // Longer than a busy machine needs until all 60 have come: none may end before.
    shop.upstreams.iter().for_each(|upstream| upstream.set_delay(Duration::from_secs(5)));
    let greedy = [shop.proxy.raw().with_source([127, 0, 0, 2])];
    let others = async {
        let in_flight = || shop.upstreams.iter().map(Upstream::in_flight).sum::<usize>();
        let deadline = Instant::now() + Duration::from_secs(8);
        while in_flight() < IN_FLIGHT {
            assert!(Instant::now() < deadline, "only {} in flight", in_flight());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let token = format!("Bearer {}", alice());
        let other = shop.proxy.raw().with_source([127, 0, 0, 3]);
        let refused_by_the_gate = other.get("/products", &[]).await.status;
        [refused_by_the_gate, other.get("/products", &[("Authorization", &token)]).await.status]
    };
    tokio::join!(flood(&greedy, 60), others)
}

/// Of 60, as many as may be in flight, and the others refused like this.
fn counts_of(refused: &str) -> Counts {
    Counts::from([(LET_THROUGH.to_owned(), IN_FLIGHT), (refused.to_owned(), 60 - IN_FLIGHT)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_60_slow_requests_traefik_lets_40_in_flight_and_no_other_client_is_locked_out() {
    let (counts, others) = sixty_slow_requests_of_one_client(Kind::Traefik).await;
    println!("60 slow ones of one client through Traefik: {counts:?}; another client meanwhile: {others:?}");
    assert_eq!(counts, counts_of("429"));
    assert_eq!(others, [401, 200]);
}

/// With `in-flight-user` behind the gate. Nobody else is locked out, not even at an address of the same user; but strangers, who have no
/// name, are one to it, and each router counts for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_60_slow_requests_of_one_user_over_four_addresses_traefik_lets_20_in_flight() {
    let behind_the_gate =
        |shipped: Options| shipped.lift_rate_limit().edit("in-flight, gate]", "in-flight, gate, in-flight-user]");
    let shop = Shop::with(Kind::Traefik, &Config::shop(), behind_the_gate).await;
    // Longer than a busy machine needs until all have come: none may end before.
    shop.upstreams.iter().for_each(|upstream| upstream.set_delay(Duration::from_secs(5)));
    let addresses = [10, 11, 12, 13].map(|last| shop.proxy.raw().with_source([127, 0, 0, last]));
    let elsewhere = shop.proxy.raw().with_source([127, 0, 0, 20]);
    let others = async {
        let in_flight = || shop.upstreams.iter().map(Upstream::in_flight).sum::<usize>();
        within("as many in flight as may be", async || in_flight() == 2 * IN_FLIGHT_USER).await;
        let ask = async |client: raw::Client, token: &str| {
            client.get("/products", &[("Authorization", &format!("Bearer {token}"))]).await.status
        };
        let (user, other) = (alice(), bob());
        tokio::join!(ask(elsewhere, &user), ask(addresses[0], &other), ask(elsewhere, &other))
    };
    let nameless = raw::request("GET", "/", &[], b"");
    let (user, strangers, others) = tokio::join!(flood(&addresses, 60), flood_with(&nameless, &addresses, 60), others);
    println!("60 slow ones of one user: {user:?}; of strangers: {strangers:?}; others meanwhile: {others:?}");
    let expected = Counts::from([(LET_THROUGH.to_owned(), IN_FLIGHT_USER), ("429".to_owned(), 60 - IN_FLIGHT_USER)]);
    assert_eq!((user, strangers), (expected.clone(), expected));
    assert_eq!(others, (429, 200, 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_60_slow_requests_envoy_lets_40_in_flight_for_all_clients_together() {
    let (counts, others) = sixty_slow_requests_of_one_client(Kind::Envoy).await;
    println!("60 slow ones of one client through Envoy: {counts:?}; another client meanwhile: {others:?}");
    assert_eq!(counts, counts_of("503"));
    assert_eq!(others, [401, 503]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_60_slow_requests_nginx_lets_40_in_flight_and_no_other_client_is_locked_out() {
    let (counts, others) = sixty_slow_requests_of_one_client(Kind::Nginx).await;
    println!("60 slow ones of one client through nginx: {counts:?}; another client meanwhile: {others:?}");
    assert_eq!(counts, counts_of("429"));
    assert_eq!(others, [401, 200]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_60_slow_requests_caddy_lets_40_in_flight_for_all_clients_together() {
    let (counts, others) = sixty_slow_requests_of_one_client(Kind::Caddy).await;
    println!("60 slow ones of one client through Caddy: {counts:?}; another client meanwhile: {others:?}");
    assert_eq!(counts, counts_of("503"));
    assert_eq!(others, [401, 503]);
}
