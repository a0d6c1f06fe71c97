//! What TLS between proxy and gate costs: CPU of the gate for each check at 40 requests in parallel, over TLS and over plain HTTP,
//! behind each real proxy with its shipped file.
//!
//! `cargo bench --bench tls`. CPU time of the gate's process, so that the proxies and clients on the same machine do not count.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot go on panics, and prints its result"
)]

/// The parts of the black-box tests.
#[path = "../tests/blackbox/support"]
#[expect(dead_code, reason = "shared with the tests, which need more of it")]
mod support {
    pub(crate) mod gate;
    pub(crate) mod proxy;
    pub(crate) mod raw;
    pub(crate) mod signer;
    pub(crate) mod upstream;
    pub(crate) mod wire;
}

use std::fs;
use std::time::{Duration, Instant};

use support::gate::{Config, Gate, token};
use support::proxy::{Caddy, Envoy, Nginx, Options, Traefik};
use support::upstream::Upstream;
use support::wire::Wire;

const PARALLEL: usize = 40;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(2);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        println!("us of the gate's CPU for each check, {PARALLEL} in parallel, median of {ROUNDS} rounds");
        println!("{:8} {:>8} {:>8} {:>8}", "behind", "plain", "TLS", "ratio");
        for proxy in ["Traefik", "Envoy", "nginx", "Caddy"] {
            let plain = Wire::Plain.speak(cost(proxy)).await;
            let tls = Wire::Tls.speak(cost(proxy)).await;
            println!("{proxy:8} {plain:8.1} {tls:8.1} {:8.2}", tls / plain);
        }
    });
}

async fn cost(proxy: &str) -> f64 {
    let upstreams = [Upstream::named("one").await, Upstream::named("two").await];
    let config = Config::shop();
    let gate = Gate::start(&if Wire::here() == Wire::Tls { config.over_tls() } else { config });
    let options = Options::new(gate.decisions(), upstreams.each_ref().map(Upstream::address)).lift_rate_limit();
    match proxy {
        "Traefik" => {
            let proxy = Traefik::start(&options).await;
            measure(&gate, proxy.client(), &proxy.url("/products")).await
        }
        "Envoy" => {
            let proxy = Envoy::start(&options).await;
            measure(&gate, proxy.client(), &proxy.url("/products")).await
        }
        "nginx" => {
            let proxy = Nginx::start(&options).await;
            measure(&gate, proxy.client(), &proxy.url("/products")).await
        }
        _ => {
            // It bounds the requests to each server; here none is to be refused.
            let proxy = Caddy::start(&options.edit("unhealthy_request_count 20", "unhealthy_request_count 80")).await;
            measure(&gate, proxy.client(), &proxy.url("/products")).await
        }
    }
}

async fn measure(gate: &Gate, client: reqwest::ClientBuilder, url: &str) -> f64 {
    // HTTP/1.1, so that the proxy has as many connections as requests.
    let client = client.http1_only().build().unwrap();
    let token = token("alice", &["user"]);
    let mut rounds = Vec::new();
    for _ in 0..=ROUNDS {
        let (cpu, end) = (cpu(gate), Instant::now() + ROUND);
        let clients = (0..PARALLEL).map(|_| async {
            let mut answered = 0_u32;
            while Instant::now() < end {
                let answer = client.get(url).bearer_auth(&token).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                answer.bytes().await.unwrap();
                answered += 1;
            }
            answered
        });
        let answered: u32 = futures_util::future::join_all(clients).await.into_iter().sum();
        rounds.push((self::cpu(gate) - cpu).as_secs_f64() * 1e6 / f64::from(answered));
    }
    // The first one warms up.
    let mut rounds = rounds.split_off(1);
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// CPU time that the process has used, in user and kernel mode.
fn cpu(gate: &Gate) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", gate.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // USER_HZ is 100 on every Linux that Rust supports.
    Duration::from_millis(ticks * 10)
}
