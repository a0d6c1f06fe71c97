//! What a limit costs a decision: a bucket in memory, one in Redis beside the bare script on a connection of the same kind, and the
//! memory of a million buckets.
//!
//! `cargo bench --bench limits` starts a Redis of `.tools/` (`scripts/tools.sh redis-server`) on a free port of 127.0.0.1 and ends it. Times
//! are CPU times of the asking thread (`/proc/thread-self/schedstat`), medians of interleaved rounds.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on panics, and prints its result"
)]

#[path = "shop/redis.rs"]
mod server;

use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::redis::{Cmd, Script, Value, cmd};
use futures_util::future::join_all;
use portcullis::clock::UnixTime;
use portcullis::gate::Limiter as _;
use portcullis::gate::ports::{Bucket, Taken};
use portcullis::limits::Limits;
use portcullis::limits::memory::Memory;
use portcullis::limits::shared::{OnLoss, Shared};
use portcullis::policy::limit::key::{Who, Whose};
use portcullis::policy::limit::{Applied, By, Counts, Limit, Rate, Rates};
use portcullis::redis::{Link, Redis};
use secrecy::SecretString;
use serde_json::Map;
use server::{Server, resident};

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
const ROUNDS: usize = 41;

fn main() {
    millions();
    memory();
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(redis(&server));
}

/// A rate that no run of this uses up.
fn rate() -> Rate {
    Rate::new(100_000, Duration::from_secs(1), 1_000_000).unwrap()
}

fn per_user() -> Applied {
    let limit = Arc::new(Limit { name: "per-user".into(), index: 0, by: vec![By::User], counts: Counts::Requests });
    Applied { limit, rates: Rates { otherwise: rate(), tiers: Vec::new() }, is_own: false }
}

fn subject(number: usize) -> String {
    format!("8f14e45f-ceea-467f-a1d6-{number:012}")
}

/// What a decision does: it writes the bucket's name and takes a token.
fn memory() {
    let (applied, claims) = (per_user(), Map::new());
    let limits = Limits::new(Arc::new(Memory::new(1_000_000, [7; 16])), None);
    println!("\nmemory, name and bucket");
    for users in [1, 1_000, 100_000, 1_000_000] {
        let subjects: Vec<String> = (0..users).map(subject).collect();
        let take = |number: usize| {
            let who = Who {
                issuer: "keycloak",
                subject: &subjects[number % users],
                tenant: None,
                tier: None,
                claims: &claims,
            };
            let client = Ipv4Addr::LOCALHOST.into();
            let mut key = String::with_capacity(96);
            applied.write_key(&Whose { rule: "orders", client, who: Some(who), default_tier: "free" }, &mut key);
            let bucket = [Bucket { key, rate: *applied.rates.of("free").unwrap(), takes: true }];
            let portcullis::gate::ports::Taking::Done(Taken::All(..)) = limits.take(&bucket, NOW) else {
                panic!("taken")
            };
        };
        (0..users).for_each(take);
        let mut begin = 0;
        let nanos = median(|| {
            begin += 7919;
            cpu(10_000, || (0..10_000).for_each(|i| take(begin + i)))
        });
        println!("  {users:>9} users  {nanos:7.0} ns");
    }
}

async fn redis(server: &Server) {
    let memory = Arc::new(Memory::new(1_000, [7; 16]));
    let made = || Redis::new(&SecretString::from(server.url()), None, Duration::from_secs(1)).unwrap();
    let limits = Limits::new(
        Arc::clone(&memory),
        Some(Shared::new(made(), Duration::from_millis(100), memory, OnLoss::Refuse, 1)),
    );
    let script = Script::new(include_str!("../src/limits/buckets.lua"));
    let mut link = made().connect().await.unwrap();
    script.load_async(&mut link).await.unwrap();
    let bucket = [Bucket { key: format!("per-user,user:keycloak,{}", subject(1)), rate: rate(), takes: true }];
    let name = format!("{{portcullis:limits}}:{}", bucket[0].key);
    let (interval, window) = (bucket[0].rate.interval().as_nanos() as u64, bucket[0].rate.window().as_nanos() as u64);
    let bare = |link: &Link| {
        let mut link = link.clone();
        let mut command = Cmd::new();
        command.arg("EVALSHA").arg(script.get_hash()).arg(1).arg(&*name).arg("take").arg(interval).arg(window).arg(1);
        async move { drop(command.query_async::<Value>(&mut link).await.unwrap()) }
    };
    let ours = || async {
        assert!(matches!(limits.take(&bucket, NOW).answer().await, Taken::All(..)));
    };
    ours().await;

    println!("\nRedis, CPU of the asking thread\n  {:>16}  {:>9}  {:>9}  {:>9}", "at once", "bare", "limit", "more");
    for at_once in [1, 64] {
        let asked = 4_096;
        let (mut bares, mut owns, mut more) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let begun = thread_cpu();
            for _ in 0..asked / at_once {
                join_all((0..at_once).map(|_| bare(&link))).await;
            }
            let between = thread_cpu();
            for _ in 0..asked / at_once {
                join_all((0..at_once).map(|_| ours())).await;
            }
            let end = thread_cpu();
            let of = |nanos: u64| nanos as f64 / asked as f64 / 1_000.0;
            let (one, other) = (of(between - begun), of(end - between));
            bares.push(one);
            owns.push(other);
            more.push(other - one);
        }
        println!("  {at_once:>16}  {:6.2} µs  {:6.2} µs  {:6.2} µs", middle(bares), middle(owns), middle(more));
    }

    let mut reset = cmd("CONFIG");
    let _: Value = reset.arg("RESETSTAT").query_async(&mut link).await.unwrap();
    for _ in 0..1_000 {
        ours().await;
    }
    let stats: String = cmd("INFO").arg("commandstats").query_async(&mut link).await.unwrap();
    let asked = stats.lines().filter(|line| !line.contains("config") && !line.contains("info"));
    let asked: Vec<&str> = asked.filter_map(|line| line.strip_prefix("cmdstat_")?.split(',').next()).collect();
    println!("  commands of 1000 requests (all but evalsha are the script's own): {}", asked.join(" "));
    let used = async |link: &mut Link| -> u64 {
        let memory: String = cmd("INFO").arg("memory").query_async(link).await.unwrap();
        memory.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok()).unwrap()
    };
    let before = used(&mut link).await;
    // So slow that none is full, and gone, before the last one is there.
    let slow = Rate::new(1, Duration::from_secs(3600), 40).unwrap();
    for number in 0..100_000 {
        let bucket = [Bucket { key: format!("per-user,user:keycloak,{}", subject(number)), rate: slow, takes: true }];
        assert!(matches!(limits.take(&bucket, NOW).answer().await, Taken::All(..)));
    }
    println!("  memory in Redis of each of 100 000 buckets: {} bytes", (used(&mut link).await - before) / 100_000);
    let begun = Instant::now();
    join_all((0..64).map(|_| async {
        for _ in 0..1_000 {
            ours().await;
        }
    }))
    .await;
    println!("  64 at once on one connection: {:.0} requests a second", 64_000.0 / begun.elapsed().as_secs_f64());
}

fn millions() {
    println!("memory of buckets, each of another user");
    let rate = Rate::new(20, Duration::from_secs(60), 40).unwrap();
    let memory = Memory::new(1_000_000, [7; 16]);
    let before = resident();
    for million in 1..=5 {
        for number in 0..1_000_000 {
            let key = format!("per-user,user:keycloak,{}", subject(million * 1_000_000 + number));
            memory.take(&[Bucket { key, rate, takes: true }], NOW);
        }
        println!(
            "  {million} 000 000 users: {} buckets, {:.0} MiB more, {} displaced",
            memory.len(),
            (resident() - before) as f64 / 1_048_576.0,
            memory.displaced()
        );
    }
}

fn median(mut round: impl FnMut() -> f64) -> f64 {
    middle((0..ROUNDS).map(|_| round()).collect())
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// CPU nanoseconds of each of `times`.
fn cpu(times: usize, run: impl FnOnce()) -> f64 {
    let begun = thread_cpu();
    run();
    (thread_cpu() - begun) as f64 / times as f64
}

fn thread_cpu() -> u64 {
    // What has run since the last tick is not in it until the scheduler looks: yielding makes it look.
    std::thread::yield_now();
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().unwrap().parse().unwrap()
}
