//! The gate's limits through a real Traefik and a real Envoy: how many of a flood pass, to the token. The files are the shipped ones, but
//! for the proxies' own limit of the rate, which would come first.
//!
//! Nothing here hopes for a quick machine. Each decision is made between the sending of its request and the arrival of its answer, and
//! from these measured moments follows how many tokens can have come in, and how many must have.
#![expect(clippy::print_stdout, reason = "the counts are what these tests are about")]

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::bearer;
use super::shared::{at, counted};
use crate::proxies::shop::{Kind, Proxy, Shop, through_all};
use crate::support::gate::{Config, KEY, claims, within};
use crate::support::proxy::Options;
use crate::support::raw::{Client, Kept, Response};
use crate::support::redis::Server;

/// One limit, of which a test takes the numbers that it needs: those of who has no tier are so slow that nothing comes in meanwhile.
const LIMITS: &str = "- {name: user, by: user, rate: 1, period: 1h, burst: 30, tiers: {flood: {rate: 20, period: 1s, burst: 10}, \
                      steady: {rate: 10, period: 1s, burst: 10}, seldom: {rate: 1, period: 2s, burst: 2}, boundless: exempt}}";
/// The capacity of who has no tier.
const CAPACITY: usize = 30;

/// How many strangers an address may be.
const STRANGERS: &str = "- {name: strangers, by: client, counts: unauthenticated, rate: 1, period: 1h, burst: 15}";

/// The sample shop's policy, with limits.
fn limited(limits: &str) -> Config {
    Config::shop().edit("\nrules:\n", &format!("\nlimits:\n  {limits}\nrules:\n"))
}

async fn shop(kind: Kind, config: &Config) -> Shop {
    // A busy machine may need longer for a hundred handshakes than the shipped file gives it, and an answer that is given up has taken
    // its token all the same.
    let patient = |shipped: Options| {
        if kind != Kind::Envoy {
            return shipped;
        }
        let shipped = shipped.edit("cluster: gate, timeout: 1s", "cluster: gate, timeout: 9s");
        shipped.edit("connect_timeout: 0.5s", "connect_timeout: 9s")
    };
    Shop::with(kind, config, |shipped| patient(shipped.lift_rate_limit())).await
}

/// A token of its own for each call.
fn token_of(subject: &str, tier: Option<&str>) -> String {
    KEY.token(&claims(json!({"sub": subject, "tier": tier, "jti": format!("{:x}", fastrand::u64(..))})))
}

type Headers = Vec<(&'static str, String)>;

fn authorization(token: &str) -> Headers {
    vec![("Authorization", bearer(token))]
}

/// One request: sent, decided, answered.
#[derive(Debug, Clone)]
struct Asked {
    sent: Instant,
    answered: Instant,
    status: u16,
    /// In seconds; of who is limited.
    retry_after: Option<u64>,
}

impl Asked {
    async fn on(kept: &mut Kept, target: &str, headers: &Headers) -> Self {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let sent = Instant::now();
        let response = kept.get(target, &headers).await;
        let retry_after = (response.status == 429).then(|| retry_after(&response));
        Self { sent, answered: Instant::now(), status: response.status, retry_after }
    }
}

/// What the gate says of when to come back. A proxy's own limit of requests in flight says nothing of it.
fn retry_after(response: &Response) -> u64 {
    let values = response.header_all("retry-after");
    let [value] = values[..] else { panic!("not one Retry-After: {response:?}") };
    assert_eq!(
        response.header("content-type"),
        Some("application/problem+json"),
        "the gate's own answer: {response:?}"
    );
    value.parse().unwrap_or_else(|_| panic!("no whole seconds: {response:?}"))
}

/// Connections that are kept, each of which asks one request after the other.
struct Crowd(Vec<Kept>);

impl Crowd {
    /// So many, of these clients in turn.
    async fn of(clients: &[Client], size: usize) -> Self {
        let mut connecting = JoinSet::new();
        for client in clients.iter().copied().cycle().take(size) {
            connecting.spawn(async move { client.keep().await });
        }
        Self(connecting.join_all().await)
    }

    /// Through the proxies of these shops in turn, from four addresses that end in this and the next three numbers: of one address no
    /// more than 40 requests may be in flight.
    async fn through(shops: &[Shop], addresses: u8, size: usize) -> Self {
        let of = |address: u8| shops.iter().map(move |shop| shop.proxy.raw().with_source(source(address)));
        Self::of(&(addresses..addresses + 4).flat_map(of).collect::<Vec<_>>(), size).await
    }

    /// Each asks without pause for so long; once at least, and what was asked is waited for. Headers by the number of the connection.
    async fn ask(&mut self, target: &'static str, headers: impl Fn(usize) -> Headers, lasting: Duration) -> Answers {
        let begun = Instant::now();
        let mut asking = JoinSet::new();
        for (number, mut kept) in std::mem::take(&mut self.0).into_iter().enumerate() {
            let headers = headers(number);
            asking.spawn(async move {
                let mut asked = Vec::new();
                while asked.is_empty() || begun.elapsed() < lasting {
                    asked.push(Asked::on(&mut kept, target, &headers).await);
                }
                (kept, asked)
            });
        }
        let (kept, asked): (Vec<Kept>, Vec<_>) = asking.join_all().await.into_iter().unzip();
        self.0 = kept;
        Answers(asked.concat())
    }

    /// Each asks once, all at the same time.
    async fn burst(&mut self, target: &'static str, headers: impl Fn(usize) -> Headers) -> Answers {
        self.ask(target, headers, Duration::ZERO).await
    }

    /// Takes all that a bucket holds, and tells of a request that found it empty.
    async fn empty(&mut self, headers: &Headers) -> Asked {
        loop {
            let answers = self.burst("/products", |_| headers.clone()).await;
            answers.accepted();
            if let Some(last) = answers.refused().max_by_key(|asked| asked.sent) {
                return last.clone();
            }
        }
    }
}

fn source(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// What became of some requests.
struct Answers(Vec<Asked>);

/// How many got which status.
impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = BTreeMap::<u16, usize>::new();
        self.0.iter().for_each(|asked| *counts.entry(asked.status).or_default() += 1);
        counts.fmt(f)
    }
}

impl Answers {
    /// How many got this status; all others were limited.
    #[track_caller]
    fn of_status(&self, status: u16) -> usize {
        let statuses = self.0.iter().map(|asked| asked.status);
        assert!(statuses.clone().all(|other| other == status || other == 429), "{self:?}");
        statuses.filter(|other| *other == status).count()
    }

    #[track_caller]
    fn accepted(&self) -> usize {
        self.of_status(200)
    }

    fn refused(&self) -> impl Iterator<Item = &Asked> {
        self.0.iter().filter(|asked| asked.status == 429)
    }

    fn begun(&self) -> Instant {
        self.0.iter().map(|asked| asked.sent).min().expect("somebody asked")
    }

    /// When the last one that passed was answered.
    fn last_accepted(&self) -> Instant {
        let accepted = self.0.iter().filter(|asked| asked.status != 429);
        accepted.map(|asked| asked.answered).max().expect("somebody passed")
    }

    /// The least and the most that may pass of a bucket that was full, with this capacity and so many tokens a second.
    ///
    /// The most: what it held, and what came in from the first request's sending to the arrival of the last answer that passed. Whoever
    /// passed was decided about in this time.
    ///
    /// The least: there was less than one token whenever somebody was refused. At the first refusal the bucket had given all that it held
    /// (and whatever came in meanwhile, which is left out here); at the last one all that came in since, but for that part of a token.
    /// What came in to a full bucket is lost, and between two refusals it is full only after a capacity less one has come in: what
    /// is longer than that between the sending of the one and the answer to the other may be lost. On a machine that never stands still for so
    /// long, that is nothing.
    fn bounds(&self, capacity: f64, rate: f64) -> (f64, f64) {
        let came_in = |from: Instant, to: Instant| rate * to.saturating_duration_since(from).as_secs_f64();
        let most = capacity + came_in(self.begun(), self.last_accepted());
        let mut refused: Vec<&Asked> = self.refused().collect();
        refused.sort_unstable_by_key(|asked| asked.sent);
        let lost = refused.windows(2).map(|two| {
            let end = two[0].answered.max(two[1].answered);
            (came_in(two[0].sent, end) - (capacity - 1.0)).max(0.0)
        });
        let first = refused.iter().map(|asked| asked.answered).min().expect("somebody was refused");
        let last = refused.last().expect("somebody was refused").sent;
        (capacity + came_in(first, last) - 1.0 - lost.sum::<f64>(), most)
    }
}

/// How many requests reached the servers since they were asked last.
fn served(shops: &[Shop]) -> usize {
    shops.iter().flat_map(|shop| &shop.upstreams).map(|upstream| upstream.take_requests().len()).sum()
}

/// How often the limit let through, and how often it did not, of all gates together.
async fn tallies(shops: &[Shop], limit: &str) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for shop in shops {
        for (sum, result) in sums.iter_mut().zip(["allowed", "limited"]) {
            let sample = format!("portcullis_limits_total{{limit=\"{limit}\",result=\"{result}\"}}");
            *sum += shop.gate.metric(&sample).await.expect("a sample");
        }
    }
    sums
}

/// Bursts of 110 at buckets of 30: of one user, of another one, of one with many tokens, and of one at a route that Traefik asks about in
/// two steps.
async fn bursts(shops: &[Shop]) {
    const SIZE: usize = 110;
    let mut crowd = Crowd::through(shops, 2, SIZE).await;
    let begun = Instant::now();
    let (alice, bob) = (authorization(&token_of("alice", None)), authorization(&token_of("bob", None)));
    for (headers, who) in [(&alice, "one user"), (&bob, "another")] {
        let answers = crowd.burst("/products", |_| headers.clone()).await;
        println!("{SIZE} at once of {who}: {} pass", answers.accepted());
        assert_eq!((answers.accepted(), served(shops)), (CAPACITY, CAPACITY), "{who}");
        // An hour from the first token on, in whole seconds, rounded up.
        let waits: Vec<u64> = answers.refused().filter_map(|asked| asked.retry_after).collect();
        let range = 3600 - begun.elapsed().as_secs()..=3600;
        assert!(waits.len() == SIZE - CAPACITY && waits.iter().all(|wait| range.contains(wait)), "{waits:?}");
    }
    let tokens: Vec<Headers> = (0..7).map(|_| authorization(&token_of("carol", None))).collect();
    let answers = crowd.burst("/products", |number| tokens[number % tokens.len()].clone()).await;
    println!("{SIZE} at once of one user with {} tokens: {} pass", tokens.len(), answers.accepted());
    assert_eq!((answers.accepted(), served(shops)), (CAPACITY, CAPACITY));
    let dave = authorization(&token_of("dave", None));
    let answers = crowd.burst("/orders", |_| dave.clone()).await;
    println!("{SIZE} orders at once: {} pass", answers.accepted());
    assert_eq!((answers.accepted(), served(shops)), (CAPACITY, CAPACITY));
    let second_steps = if matches!(shops[0].proxy, Proxy::Traefik(_)) { CAPACITY } else { 0 };
    let of_step = |step: &str| -> usize {
        let audits = shops.iter().map(|shop| shop.gate.audit());
        audits.map(|audit| audit.iter().filter(|line| line["step"] == step).count()).sum()
    };
    within("the second steps", async || of_step("authz") == second_steps).await;
    for (headers, target) in [(&alice, "/orders"), (&dave, "/products"), (&tokens[6], "/api/service-a/x")] {
        assert_eq!(crowd.burst(target, |_| headers.clone()).await.accepted(), 0, "one bucket for all routes: {target}");
    }
    assert_eq!(
        tallies(shops, "user").await,
        [4.0 * CAPACITY as f64, 4.0 * (SIZE - CAPACITY) as f64 + 3.0 * SIZE as f64]
    );
}

/// Floods of two seconds over 4 and over 16 connections, each of a user of his own.
async fn floods(shops: &[Shop]) {
    const RATE: f64 = 20.0;
    const BURST: f64 = 10.0;
    let flood = async |connections: usize, addresses: u8| {
        let mut crowd = Crowd::through(shops, addresses, connections).await;
        let user = authorization(&token_of(&format!("user-of-{connections}"), Some("flood")));
        let answers = crowd.ask("/products", |_| user.clone(), Duration::from_secs(2)).await;
        let ((least, most), accepted) = (answers.bounds(BURST, RATE), answers.accepted());
        let asked = answers.0.len();
        println!("{connections} connections: {accepted} of {asked} pass, {least:.2} to {most:.2} may");
        assert!(least > BURST, "it was asked for more than the bucket held: {least}");
        assert!((least..=most).contains(&(accepted as f64)), "{accepted}, and {least} to {most} may");
        accepted
    };
    served(shops);
    let (few, many) = tokio::join!(flood(4, 10), flood(16, 14));
    assert_eq!(served(shops), few + many);
}

async fn of_110_at_once_as_many_pass_as_a_bucket_holds(kind: Kind) {
    bursts(&[shop(kind, &limited(LIMITS)).await]).await;
}

async fn of_a_flood_what_the_bucket_held_and_what_came_in_pass(kind: Kind) {
    floods(&[shop(kind, &limited(LIMITS)).await]).await;
}

/// Ten a second, and ten at once; or one in two seconds, and two.
async fn after_a_pause_what_came_in_passes_and_never_more_than_the_bucket_holds(kind: Kind) {
    const RATE: f64 = 10.0;
    const BURST: f64 = 10.0;
    const SIZE: usize = 20;
    let shops = [shop(kind, &limited(LIMITS)).await];
    let came_in = |from: Instant, to: Instant| RATE * to.duration_since(from).as_secs_f64();
    // What is waited for here is the bucket itself.
    let a_while = async {
        let mut crowd = Crowd::through(&shops, 20, SIZE).await;
        let user = authorization(&token_of("partly", Some("steady")));
        let empty = crowd.empty(&user).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let answers = crowd.burst("/products", |_| user.clone()).await;
        // Five came in while nobody asked. Less than one was there when somebody was refused; that, and what came in until the last answer
        // is the most.
        let most = 1.0 + came_in(empty.sent, answers.last_accepted());
        println!("of {SIZE} half a second after it was empty: {} pass, 5 to {most:.2} may", answers.accepted());
        assert!(answers.accepted() >= 5 && (answers.accepted() as f64) < most, "{} of {most}", answers.accepted());
    };
    let long = async {
        let mut crowd = Crowd::through(&shops, 24, SIZE).await;
        let user = authorization(&token_of("idle", Some("steady")));
        crowd.empty(&user).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let answers = crowd.burst("/products", |_| user.clone()).await;
        // Twenty came in, and ten are kept; to them is added what came in since the first was asked for.
        let most = BURST + came_in(answers.begun(), answers.last_accepted());
        println!("of {SIZE} after twice its capacity: {} pass, {BURST} to {most:.2} may", answers.accepted());
        assert!((BURST..=most).contains(&(answers.accepted() as f64)), "{} of {most}", answers.accepted());
    };
    let as_told = async {
        let mut crowd = Crowd::through(&shops, 28, 1).await;
        let user = authorization(&token_of("polite", Some("seldom")));
        for _ in 0..2 {
            let wait = crowd.empty(&user).await.retry_after.expect("seconds");
            assert!((1..=2).contains(&wait), "{wait}");
            tokio::time::sleep(Duration::from_secs(wait)).await;
            let answers = crowd.burst("/products", |_| user.clone()).await;
            println!("of 1 after the {wait} s of Retry-After: {} pass", answers.accepted());
            assert_eq!(answers.accepted(), 1);
        }
    };
    tokio::join!(a_while, long, as_told);
}

/// Of nothing that a client can say by itself.
async fn no_header_opens_another_bucket(kind: Kind) {
    let shops = [shop(kind, &limited(LIMITS)).await];
    let mut crowd = Crowd::through(&shops, 2, CAPACITY + 1).await;
    let (token, another) = (token_of("alice", None), token_of("alice", None));
    let user = authorization(&token);
    crowd.empty(&user).await;
    served(&shops);
    let mut crowd = Crowd::through(&shops, 6, 1).await;
    let mut spoofed = vec![
        ("Forwarded", "for=198.51.100.7;host=other.localhost".to_owned()),
        ("X-User-ID", "bob".to_owned()),
        ("X-User-Role", "admin".to_owned()),
        ("X-User-Tier", "boundless".to_owned()),
        ("X-User-Tier", "flood".to_owned()),
        ("Cookie", "session=1".to_owned()),
        ("Cookie", "session=2; theme=dark".to_owned()),
        ("Cookie", format!("jwt={another}")),
        ("X-Request-ID", "another".to_owned()),
        ("User-Agent", "another".to_owned()),
        ("Origin", "https://another.localhost".to_owned()),
    ];
    for name in ["X-Forwarded-For", "X-Real-IP", "True-Client-IP", "X-Client-IP", "X-Envoy-External-Address"] {
        spoofed
            .extend(["198.51.100.7", "127.0.0.1", "2001:db8::7", "unknown"].map(|address| (name, address.to_owned())));
    }
    let mut refused = 0;
    for one in &spoofed {
        let headers = [&user[..], std::slice::from_ref(one)].concat();
        let answers = crowd.burst("/products", |_| headers.clone()).await;
        assert_eq!(answers.accepted(), 0, "{one:?}");
        refused += 1;
    }
    let different =
        spoofed.iter().enumerate().filter(|(i, (name, _))| spoofed[..*i].iter().all(|(other, _)| other != name));
    let together = [user, different.map(|(_, one)| one.clone()).collect()].concat();
    assert_eq!(crowd.burst("/products", |_| together.clone()).await.accepted(), 0, "{together:?}");
    // The same credential elsewhere.
    let cookie = vec![("Cookie", format!("jwt={another}"))];
    assert_eq!(crowd.burst("/products", |_| cookie.clone()).await.accepted(), 0);
    println!("{} requests of a user who had none left, with other headers: none passes", refused + 2);
    assert_eq!(served(&shops), 0);
    // They were refused for the limit, and one of somebody else is not.
    assert!(tallies(&shops, "user").await[1] >= f64::from(refused + 3), "{:?}", tallies(&shops, "user").await);
    let bob = authorization(&token_of("bob", None));
    assert_eq!(crowd.burst("/products", |_| bob.clone()).await.accepted(), 1);
}

/// By the address of the connection.
async fn strangers_are_limited_by_their_address_whatever_they_say_of_it(kind: Kind) {
    const CAPACITY: usize = 15;
    // No more than may be in flight.
    const SIZE: usize = 38;
    let shops = [shop(kind, &limited(STRANGERS)).await];
    let client = |address: u8| shops[0].proxy.raw().with_source(source(address));
    let [mut crowd, mut neighbours] = [Crowd::of(&[client(40)], SIZE).await, Crowd::of(&[client(41)], SIZE).await];
    // Some say that they are the neighbours: these lose nothing by it.
    let said = |number: usize| -> Headers {
        let address = if number.is_multiple_of(3) { source(41) } else { Ipv4Addr::new(198, 51, 100, number as u8) };
        let names = ["X-Forwarded-For", "X-Real-IP", "True-Client-IP"];
        let forwarded = ("Forwarded", format!("for={address}"));
        names.map(|name| (name, address.to_string())).into_iter().chain([forwarded]).collect()
    };
    let answers = crowd.burst("/products", said).await;
    println!("{SIZE} strangers at once of one address: {} get 401", answers.of_status(401));
    assert_eq!(answers.of_status(401), CAPACITY);
    // Nor does a path that is open to everybody, or one that nobody may, or a credential that does not hold.
    for (target, headers) in [("/", Headers::new()), ("/orders", Headers::new()), ("/products", authorization("a.b.c"))]
    {
        assert_eq!(crowd.burst(target, |_| headers.clone()).await.refused().count(), SIZE, "{target}");
    }
    let answers = neighbours.burst("/products", |_| Headers::new()).await;
    println!("{SIZE} of another address: {} get 401", answers.of_status(401));
    assert_eq!(answers.of_status(401), CAPACITY, "a bucket of its own");
    assert_eq!(served(&shops), 0);
    assert_eq!(tallies(&shops, "strangers").await, [2.0 * CAPACITY as f64, (5 * SIZE - 2 * CAPACITY) as f64]);
}

/// Two gates behind a proxy each, which are asked in turn.
async fn two_replicas_on_one_redis_pass_as_many_as_one(kind: Kind) {
    let redis = Server::start().await;
    // It may take nearly as long as a decision, and that as long as it can be set.
    let config = at(&limited(LIMITS), &redis.url(), "  timeout: 800ms\n")
        .edit("  decisions:\n", "  decisions:\n    deadline: 900ms\n");
    let shops: [Shop; 2] = tokio::join!(shop(kind, &config), shop(kind, &config)).into();
    for shop in &shops {
        counted(&shop.gate, 2.0).await;
    }
    bursts(&shops).await;
    floods(&shops).await;
    for shop in &shops {
        let gate = &shop.gate;
        assert!(
            tallies(std::slice::from_ref(shop), "user").await.iter().sum::<f64>() > 300.0,
            "half of what was asked"
        );
        // It was Redis that counted, and each gate has asked it.
        for (metric, value) in
            [("replicas", 2.0), ("fallback", 0.0), ("fallbacks_total", 0.0), ("store_failures_total", 0.0)]
        {
            let metric = format!("portcullis_limits_{metric}");
            assert_eq!(gate.metric(&metric).await, Some(value), "{metric}: {}", gate.log());
        }
        // The time of one answer in sixteen is counted, and there were hundreds.
        assert!(gate.metric("portcullis_limits_store_seconds_count").await.expect("counted") >= 1.0);
    }
}

through_all!(
    [Traefik over Tls as through_traefik, Envoy over Tls as through_envoy]
    of_110_at_once_as_many_pass_as_a_bucket_holds,
    of_a_flood_what_the_bucket_held_and_what_came_in_pass,
    after_a_pause_what_came_in_passes_and_never_more_than_the_bucket_holds,
    no_header_opens_another_bucket,
    strangers_are_limited_by_their_address_whatever_they_say_of_it,
    two_replicas_on_one_redis_pass_as_many_as_one,
);
