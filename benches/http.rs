//! What a decision costs over HTTP: CPU of the server process for each request, against the same server answering an empty 200.
//!
//! `cargo bench --bench http` runs the real binary (audit line to a file, metrics on) and, interleaved, a bare actix handler on
//! the same listener settings. CPU time of the process, not wall time: the machine may be shared, and the client is on it too.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot go on panics, and prints its result"
)]

#[path = "shop/bare.rs"]
mod bare;
#[path = "shop/setup.rs"]
mod shop;
#[path = "../tests/blackbox/support/signer.rs"]
#[expect(dead_code, reason = "shared with the tests, which need more of it")]
mod signer;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use actix_web::http::KeepAlive;
use actix_web::{App, HttpResponse, HttpServer};
use bare::Bare;
use serde_json::Value;
use signer::Signer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CONNECTIONS: usize = 40;
const ROUNDS: usize = 5;
/// A round is many short turns, so that all cases of it meet the same disturbances.
const TURNS: usize = 10;
const TURN: Duration = Duration::from_millis(200);
const DISTINCT: usize = 100_000;
const CHECKED: &str = "/checked";

fn main() {
    if std::env::args().any(|argument| argument == "--bare") {
        return bare();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(compare());
}

/// The server that decides nothing.
fn bare() {
    actix_web::rt::System::new().block_on(async {
        let server = HttpServer::new(|| App::new().default_service(actix_web::dev::fn_service(empty)))
            .keep_alive(KeepAlive::Timeout(Duration::from_secs(120)))
            .client_request_timeout(Duration::from_secs(5))
            .backlog(4096)
            .bind("127.0.0.1:0")
            .unwrap();
        println!("{}", server.addrs()[0]);
        server.run().await.unwrap();
    });
}

/// Answers, and if asked for [`CHECKED`] checks a signature first: within a server that costs more than in a loop of its own.
async fn empty(request: actix_web::dev::ServiceRequest) -> Result<actix_web::dev::ServiceResponse, actix_web::Error> {
    static CHECK: LazyLock<Bare<'static>> = LazyLock::new(|| {
        let signer = Signer::new("rsa", "RS256");
        Bare::of(&signer, shop::token(&signer, 0).leak())
    });
    if request.path() == CHECKED {
        CHECK.check();
    }
    Ok(request.into_response(HttpResponse::Ok().finish()))
}

async fn compare() {
    let folder = tempfile::TempDir::new().unwrap();
    let (rsa, ed) = (Signer::new("rsa", "RS256"), Signer::new("ed", "EdDSA"));
    let bare = Server::bare();
    let gate = Server::gate(&folder.path().join("gate"), &[&rsa, &ed], 128);
    let forgetful = Server::gate(&folder.path().join("forgetful"), &[&rsa, &ed], 0);

    let one = vec![ask(Some(&shop::token(&rsa, 0)))];
    println!("one request has {} bytes, its token {}", one[0].len(), shop::token(&rsa, 0).len());
    let many: Vec<Vec<u8>> = (0..DISTINCT).map(|i| ask(Some(&shop::token(&ed, i)))).collect();
    let none = vec![ask(None)];
    let forbidden = vec![ask_for("/products/admin", Some(&shop::token(&rsa, 0)))];
    let mut asked = load(gate.address, &many, 200, Until::Count(DISTINCT + DISTINCT / 2)).await;

    let checked = vec![ask_at(CHECKED, "/products/42?page=3", Some(&shop::token(&rsa, 0)))];
    let cases: [(&str, &Server, &[Vec<u8>], u16); 7] = [
        ("empty 200", &bare, &one, 200),
        ("warm allow", &gate, &one, 200),
        ("refusal 401", &gate, &none, 401),
        ("refusal 403", &gate, &forbidden, 403),
        ("100 000 warm tokens", &gate, &many, 200),
        ("RS256, never seen", &forgetful, &one, 200),
        ("empty, RS256 checked", &bare, &checked, 200),
    ];
    let mut costs = vec![Vec::new(); cases.len()];
    for round in 0..ROUNDS {
        let mut sums = vec![(Duration::ZERO, 0_usize); cases.len()];
        for _ in 0..TURNS {
            for ((_, server, requests, status), (spent, answered)) in cases.iter().zip(&mut sums) {
                let before = server.cpu();
                let more = load(server.address, requests, *status, Until::Time(Instant::now() + TURN)).await;
                *spent += server.cpu() - before;
                *answered += more;
                if server.address == gate.address {
                    asked += more;
                }
            }
        }
        for (costs, (spent, answered)) in costs.iter_mut().zip(sums) {
            costs.push(spent.as_secs_f64() * 1e6 / answered as f64);
        }
        println!(
            "round {}: {}",
            round + 1,
            costs.iter().map(|c| format!("{:.2}", c[round])).collect::<Vec<_>>().join("  ")
        );
    }
    let median = |list: &[f64]| {
        let mut sorted = list.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    // Of each round for itself: what disturbs a round disturbs all of its cases.
    let ratio = |list: &[f64], to: &[f64]| median(&list.iter().zip(to).map(|(a, b)| a / b).collect::<Vec<_>>());
    println!("\n{:22} {:>12} {:>12} {:>12}", "", "us CPU each", "of empty", "of warm");
    for ((name, ..), list) in cases.iter().zip(&costs) {
        let [to_empty, to_warm] = [ratio(list, &costs[0]), ratio(list, &costs[1])];
        println!("{name:22} {:12.2} {to_empty:12.2} {to_warm:12.2}", median(list));
    }
    let least: Vec<f64> = (0..ROUNDS).map(|r| costs[1][r] + costs[6][r] - costs[0][r]).collect();
    println!("\nnever seen, of warm and the bare signature check: {:.2}", ratio(&costs[5], &least));
    let audited = gate.stop(&folder.path().join("gate"));
    println!("\naudit lines on disk after the end: {audited} of {asked} decisions");
    assert_eq!(audited, asked, "an audit line is missing");
}

fn ask(token: Option<&str>) -> Vec<u8> {
    ask_for("/products/42?page=3", token)
}

fn ask_for(uri: &str, token: Option<&str>) -> Vec<u8> {
    ask_at("/validate", uri, token)
}

/// What Traefik sends.
fn ask_at(address: &str, uri: &str, token: Option<&str>) -> Vec<u8> {
    let lines = shop::headers(uri, token).into_iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("GET {address} HTTP/1.1\r\n{}\r\n", lines.collect::<String>()).into_bytes()
}

#[derive(Clone, Copy)]
enum Until {
    Count(usize),
    Time(Instant),
}

/// Asks over [`CONNECTIONS`] connections, each request behind the answer to the last one; gives back how many were answered.
async fn load(address: SocketAddr, requests: &[Vec<u8>], status: u16, until: Until) -> usize {
    let expected = format!("HTTP/1.1 {status} ");
    let connections = (0..CONNECTIONS).map(|number| connection(address, requests, number, &expected, until));
    futures_util::future::join_all(connections).await.into_iter().sum()
}

async fn connection(address: SocketAddr, requests: &[Vec<u8>], first: usize, expected: &str, until: Until) -> usize {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 4096];
    let mut answered = 0;
    // All answers of a case are of one length. So the client has little to do, and the same for each case: a client that is late
    // lets the server wake up for fewer requests at once, which costs the server.
    let mut length = None;
    loop {
        match until {
            Until::Count(count) if answered >= count / CONNECTIONS => return answered,
            Until::Time(end) if Instant::now() >= end => return answered,
            Until::Count(_) | Until::Time(_) => {}
        }
        stream.write_all(&requests[(first + answered * CONNECTIONS) % requests.len()]).await.unwrap();
        let mut filled = 0;
        while length.map_or_else(|| !is_whole(&buffer[..filled]), |length| filled < length) {
            let read = stream.read(&mut buffer[filled..]).await.unwrap();
            assert!(read > 0, "the server closed the connection");
            filled += read;
        }
        assert!(buffer.starts_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&buffer[..filled]));
        assert_eq!(*length.get_or_insert(filled), filled);
        answered += 1;
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length: usize = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    answer.len() >= end + 4 + length
}

/// A server in a process of its own.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn bare() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg("--bare").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().unwrap() }
    }

    /// A gate that remembers tokens in so many mebibytes.
    fn gate(folder: &Path, keys: &[&Signer], mebibytes: u64) -> Self {
        fs::create_dir(folder).unwrap();
        let more = format!(
            "audit: {{to: file, file: audit.jsonl}}\nstores: {{verified_tokens: {{max_mebibytes: {mebibytes}}}}}\n\
             shutdown: {{not_ready_for: 0s}}"
        );
        let settings = shop::write(folder, keys, &more);
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        let command = command.arg("serve").arg("--config").arg(settings);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let listening = lines
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            .find(|line| line["message"] == "listening");
        Self { child, address: listening.unwrap()["decisions"].as_str().unwrap().parse().unwrap() }
    }

    /// CPU time that the process's threads have used, in user and kernel mode; to the nanosecond, which turns this short need.
    fn cpu(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let times = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap());
        times.map(|time| Duration::from_nanos(time.split(' ').next().unwrap().parse().unwrap())).sum()
    }

    /// Ends it properly and counts the audit lines.
    fn stop(mut self, folder: &Path) -> usize {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success() && self.child.wait().unwrap().success());
        BufReader::new(fs::File::open(folder.join("audit.jsonl")).unwrap()).lines().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
