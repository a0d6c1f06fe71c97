//! T-H3 under load: whatever becomes of a real Redis, each decision comes in time and is what `limits.on_loss` says of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::shared::at;
use super::{ask, per_user};
use crate::support::gate::{Gate, token, within};
use crate::support::redis::Server;

/// The default `listeners.decisions.deadline`.
const DEADLINE: Duration = Duration::from_millis(500);

/// How long Redis stays as it is once the gates have seen it, and how often an asker asks meanwhile: enough for a 99th percentile, and
/// little enough not to disturb the tests beside.
const STAY: Duration = Duration::from_millis(1500);
const PAUSE: Duration = Duration::from_millis(10);
const ASKERS: usize = 2;

/// A stand-in for a slow network only: what the real Redis answers comes so many milliseconds later.
struct Slow {
    address: SocketAddr,
    milliseconds: Arc<AtomicU64>,
}

impl Slow {
    async fn before(redis: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
        let (address, milliseconds) = (listener.local_addr().expect("bound"), Arc::new(AtomicU64::new(0)));
        let delay = milliseconds.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, redis, delay.clone()));
            }
        });
        Self { address, milliseconds }
    }

    fn by(&self, milliseconds: u64) {
        self.milliseconds.store(milliseconds, Ordering::Relaxed);
    }
}

/// Passes one connection on, until either side is gone.
async fn pass(client: TcpStream, redis: SocketAddr, delay: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(redis).await else { return };
    let ((mut asked, mut answered), (mut answers, mut asks)) = (client.into_split(), server.into_split());
    let (sender, mut due) = mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
    let reading = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = answers.read(&mut bytes).await {
            let when = tokio::time::Instant::now() + Duration::from_millis(delay.load(Ordering::Relaxed));
            if sender.send((when, bytes[..length].to_vec())).is_err() {
                break;
            }
        }
    };
    let writing = async {
        while let Some((when, bytes)) = due.recv().await {
            tokio::time::sleep_until(when).await;
            if answered.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut asked, &mut asks) => {}
        () = reading => {}
        () = writing => {}
    }
}

/// How long the answers took, by the state of Redis, the gate and what the answer was.
type Seen = Mutex<BTreeMap<(&'static str, &'static str, String), Vec<Duration>>>;

/// What Redis is at, as the load sees it; "turning" until the gates have seen it.
struct Load<'a> {
    gates: &'a [(&'static str, Gate)],
    state: Mutex<&'static str>,
    seen: Seen,
    /// How many answers were given without the store, by the state of Redis and the gate.
    alone: Mutex<BTreeMap<(&'static str, &'static str), f64>>,
    is_done: AtomicBool,
}

impl Load<'_> {
    async fn ask(&self, (name, gate): &(&'static str, Gate), token: &str) {
        while !self.is_done.load(Ordering::Relaxed) {
            let (state, begun) = (*self.state.lock().expect("not poisoned"), Instant::now());
            let answer = ask(gate, "/x", token).await;
            let key = (state, *name, format!("{} {}", answer.status(), answer.reason()));
            // What was asked in one state and answered in the next is of neither.
            let key = if *self.state.lock().expect("not poisoned") == state { key } else { ("turning", key.1, key.2) };
            self.seen.lock().expect("not poisoned").entry(key).or_default().push(begun.elapsed());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until every gate has seen it (`patient` has not to: for it the same Redis is quick enough), and stays.
    async fn stays(&self, state: &'static str, is_lost: bool, stay: Duration) {
        for (name, gate) in self.gates {
            let lost = f64::from(u8::from(is_lost && !(*name == "patient" && state == "slow")));
            within(state, async || gate.metric("portcullis_limits_fallback").await == Some(lost)).await;
        }
        let before = self.judged_alone().await;
        *self.state.lock().expect("not poisoned") = state;
        tokio::time::sleep(stay).await;
        *self.state.lock().expect("not poisoned") = "turning";
        for ((name, after), (_, before)) in self.judged_alone().await.into_iter().zip(before) {
            self.alone.lock().expect("not poisoned").insert((state, name), after - before);
        }
    }

    async fn judged_alone(&self) -> Vec<(&'static str, f64)> {
        let mut counts = Vec::new();
        for (name, gate) in self.gates {
            counts.push((*name, gate.metric("portcullis_limits_fallbacks_total").await.expect("counted")));
        }
        counts
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_h3_killed_hung_slow_or_back_no_decision_waits_for_redis() {
    let mut redis = Server::start().await;
    let slow = Slow::before(redis.address()).await;
    // An answer after 100 ms is late for all but the last.
    let modes = [
        ("local", "  timeout: 50ms\n"),
        ("refuse", "  timeout: 50ms\n  on_loss: refuse\n"),
        ("allow", "  timeout: 50ms\n  on_loss: danger_allow\n"),
        ("patient", "  timeout: 400ms\n"),
    ];
    let gates: Vec<(&str, Gate)> = modes
        .iter()
        .enumerate()
        .map(|(database, (name, more))| {
            let url = format!("redis://{}/{database}", slow.address);
            (*name, Gate::start(&at(&per_user(1), &url, more)))
        })
        .collect();
    let alice = token("alice", &[]);
    for (_, gate) in &gates {
        ask(gate, "/x", &alice).await.expect(200, "allowed");
    }
    let load = Load {
        gates: &gates,
        state: Mutex::new("turning"),
        seen: Mutex::default(),
        alone: Mutex::default(),
        is_done: AtomicBool::new(false),
    };
    let director = async {
        load.stays("there", false, STAY).await;
        redis.kill();
        load.stays("killed", true, STAY).await;
        redis.start_again().await;
        load.stays("back after killed", false, STAY).await;
        redis.signal("STOP");
        load.stays("hung", true, Duration::from_secs(5)).await;
        redis.signal("CONT");
        load.stays("back after hung", false, STAY).await;
        slow.by(100);
        load.stays("slow", true, 2 * STAY).await;
        slow.by(0);
        load.stays("back after slow", false, STAY).await;
        load.is_done.store(true, Ordering::Relaxed);
    };
    let askers = gates.iter().flat_map(|gate| std::iter::repeat_n(gate, ASKERS)).map(|gate| load.ask(gate, &alice));
    tokio::join!(director, futures_util::future::join_all(askers));

    let seen = std::mem::take(&mut *load.seen.lock().expect("not poisoned"));
    let mut times: BTreeMap<_, Vec<Duration>> = BTreeMap::new();
    for ((state, name, answer), durations) in &seen {
        times.entry((*state, *name)).or_default().extend(durations);
        let wanted = match (*state, *name) {
            ("turning", _) => continue,
            ("killed" | "hung" | "slow", "refuse") => "503 limits_unavailable",
            ("killed" | "hung" | "slow", "allow") => "200 allowed",
            // The one that was in alice's bucket, there or here, was taken while it turned.
            _ => "429 rate_limited",
        };
        if answer != wanted {
            // A machine that stands still for longer than the time-out takes Redis away for a moment; then the gate has counted it.
            let is_there = !["killed", "hung", "slow"].contains(state) || (*state, *name) == ("slow", "patient");
            let alone = load.alone.lock().expect("not poisoned")[&(*state, *name)];
            assert!(
                is_there && durations.len() as f64 <= alone,
                "{state}, {name}: {} {answer}, {alone}",
                durations.len()
            );
        }
    }
    for ((state, name), mut durations) in times {
        durations.sort_unstable();
        let (p99, most) = (durations[(durations.len() * 99).div_ceil(100) - 1], durations[durations.len() - 1]);
        println!("{state:18} {name:8} {:5} decisions, p99 {p99:9.1?}, longest {most:9.1?}", durations.len());
        assert!(durations.len() > 20, "{state}, {name}: {}", durations.len());
        assert!(p99 <= DEADLINE, "{state}, {name}: {p99:?} of {}", durations.len());
    }
}
