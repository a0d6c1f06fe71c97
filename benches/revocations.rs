//! What a million revocations cost: memory, the question that each decision asks, and the way in and out of the stores.
//!
//! `cargo bench --bench revocations`; needs `scripts/tools.sh redis-server`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a measurement that cannot go on ends"
)]

#[path = "shop/redis.rs"]
mod server;

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use portcullis::clock::UnixTime;
use portcullis::gate::Revocations as _;
use portcullis::gate::ports::{Mark, Marks};
use portcullis::policy::Reason;
use portcullis::redis;
use portcullis::revocations::live::WhenStale;
use portcullis::revocations::store::redis::Redis;
use portcullis::revocations::store::sqlite::Sqlite;
use portcullis::revocations::store::{PAGE, TIMEOUT};
use portcullis::revocations::{Entry, Id, Line, Live, Register, Store, What};
use server::{Server, resident};

const ENTRIES: usize = 1_000_000;
/// Longer than Redis takes to settle.
const SETTLED: Duration = Duration::from_secs(6);
const ISSUER: &str = "https://id.example.com/realms/shop";

fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixTime::from_micros(i64::try_from(since.as_micros()).unwrap())
}

/// Tokens revoked by a `jti` of the usual length, a UUID.
fn line(number: usize) -> Line {
    let entry = Entry { what: What::Token, issuer: ISSUER.into(), value: jti(number).into(), reason: None };
    let ends = now().after(Duration::from_secs(86_400));
    Line { id: Id::new(now()).unwrap(), ends, entry: Some(entry) }
}

fn jti(number: usize) -> String {
    format!("{number:08x}-5e9c-4f0a-9d57-6f3f0c9d1b2a")
}

fn empty() -> Live {
    Live::new(Duration::from_secs(3600), WhenStale::Refuse, [7; 16])
}

/// Nanoseconds of one call, the least of several batches.
fn nanoseconds<T>(call: impl Fn(usize) -> T) -> f64 {
    const CALLS: usize = 1_000_000;
    let batch = |_| {
        let started = Instant::now();
        (0..CALLS).for_each(|number| drop(black_box(call(number))));
        started.elapsed().as_nanos() as f64 / CALLS as f64
    };
    (0..7).map(batch).fold(f64::MAX, f64::min)
}

/// Marks as a token has them: three that nobody has revoked.
fn strangers() -> Vec<Marks> {
    let mark = || Some(Mark::new(fastrand::u128(..)));
    (0..4096).map(|_| Marks { names: [mark(), mark(), mark()], issued: now() }).collect()
}

fn lookups() {
    let strangers = strangers();
    let at = now();
    let ask = |live: &Live| nanoseconds(|n| live.check(black_box(&strangers[n % 4096]), at));
    let fresh = || {
        let live = empty();
        live.complete_up_to(at);
        live
    };
    let nothing = ask(&fresh());

    let before = resident();
    let live = fresh();
    for chunk in 0..ENTRIES / 1000 {
        live.apply((0..1000).map(|n| line(chunk * 1000 + n)), at);
    }
    let memory = resident() - before;
    assert_eq!(live.len(), ENTRIES);
    let miss = ask(&live);
    let revoked: Vec<Marks> = (0..4096)
        .map(|n| Marks { names: [Some(live.mark(What::Token.key(), ISSUER, &jti(n * 244))), None, None], issued: at })
        .collect();
    let hit = nanoseconds(|n| assert_eq!(live.check(black_box(&revoked[n % 4096]), at), Err(Reason::Revoked)));
    println!("memory of {ENTRIES} entries: {} MiB, {} bytes each", memory >> 20, memory / ENTRIES);
    println!("a token that is not revoked, asked among none: {nothing:.1} ns, among {ENTRIES}: {miss:.1} ns");
    println!("a token that is revoked: {hit:.1} ns");
    let asking = Arc::new(live);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (live, strangers) = (Arc::clone(&asking), strangers.clone());
            std::thread::spawn(move || nanoseconds(|n| live.check(&strangers[n % 4096], at)))
        })
        .collect();
    let times: Vec<f64> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    println!("two threads at once: {:.1} and {:.1} ns", times[0], times[1]);
    let started = Instant::now();
    assert_eq!(asking.sweep(Id::FIRST, ENTRIES, at), None);
    println!("looking for what has ended: {:?}", started.elapsed());
}

/// Into an empty store, as after a loss of data, and out of it, as at a start and at every comparison.
async fn through<S: Store + 'static>(name: &str, open: impl AsyncFn() -> S) {
    let store = open().await;
    let started = Instant::now();
    for chunk in 0..ENTRIES / PAGE {
        store.merge((0..PAGE).map(|n| line(chunk * PAGE + n)).collect(), true).await.unwrap();
    }
    println!("{name}: {ENTRIES} entries written back in {:.1} s", started.elapsed().as_secs_f64());
    drop(store);
    // What a store that lost its data waits for is no part of this.
    tokio::time::sleep(SETTLED).await;
    let store = Box::new(open().await);
    let register = Register::new(Arc::new(empty()), store, now, Duration::from_secs(3600), ENTRIES);
    let register = Arc::new(register);
    let (started, used) = (Instant::now(), cpu());
    let task = tokio::spawn(Arc::clone(&register).keep());
    while !register.has_loaded() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(register.live().len(), ENTRIES);
    let seconds = started.elapsed().as_secs_f64();
    println!("{name}: {ENTRIES} entries loaded in {seconds:.1} s, {:.1} s of it our CPU", cpu() - used);
    task.abort();
}

/// Seconds of CPU that this process has used.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

async fn redis() {
    let server = Server::start();
    let url = server.url();
    through("Redis", async || Redis::new(redis::Redis::new(&url.clone().into(), None, TIMEOUT).unwrap())).await;
}

fn main() {
    lookups();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(redis());
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("revocations.db");
    runtime.block_on(through("SQLite", async || Sqlite::open(&file, now).await.unwrap()));
}
