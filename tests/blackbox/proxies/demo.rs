//! `portcullis demo` as a person runs it: what it prints is run through bash as it stands.
//!
//! The demo's ports are fixed, because people read them: these tests need them free, and run one after the other.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::shop::IDENTITY;
use crate::support::gate::PROGRAM;
use crate::support::proxy::root;
use crate::support::wire::put_certificates;

/// What the demo takes: the gate's two ports and those of the sample servers, then Traefik's two, then Envoy's two.
const OWN_PORTS: [u16; 4] = [7400, 7401, 7410, 7411];
const PROXY_PORTS: [u16; 4] = [8080, 8443, 10000, 10001];
/// The last line before the decisions.
const PROMPT: &str = "Decisions as they fall";
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until no other of these tests runs, of another `cargo test` on this machine neither; the turn ends with the value.
fn turn() -> File {
    let file = File::create(std::env::temp_dir().join("portcullis-demo-ports.lock")).expect("a file");
    file.lock().expect("a lock");
    file
}

/// A running demo. It is asked to end with the value, and made to if it does not.
struct Demo {
    child: Child,
    output: Arc<Mutex<String>>,
    children: Vec<u32>,
    _folder: TempDir,
}

impl Demo {
    /// Starts one and waits for its prompt.
    async fn start(with_proxies: bool) -> Self {
        let ports = OWN_PORTS.iter().chain(PROXY_PORTS.iter().filter(|_| with_proxies));
        for port in ports {
            if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)) {
                panic!("the demo needs port {port}, and something else has it: {error}");
            }
        }
        let mut demo = Self::spawn(with_proxies);
        let deadline = Instant::now() + PATIENCE;
        while !demo.output().contains(PROMPT) {
            let ended = demo.child.try_wait().expect("its state");
            assert!(ended.is_none() && Instant::now() < deadline, "no prompt ({ended:?}):\n{}", demo.everything());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        demo.children = children_of(demo.child.id());
        demo
    }

    fn spawn(with_proxies: bool) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut command = Command::new(PROGRAM);
        command.arg("demo").arg("--dir").arg(folder.path()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if with_proxies {
            command.args(["--traefik", ".tools/bin/traefik", "--envoy", ".tools/bin/envoy"]);
        }
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the program runs");
        let output = Arc::new(Mutex::new(String::new()));
        let (mut lines, shared) = (BufReader::new(child.stdout.take().expect("piped")), Arc::clone(&output));
        std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                shared.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
                line.clear();
            }
        });
        Self { child, output, children: Vec::new(), _folder: folder }
    }

    /// What it has printed so far.
    fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it has printed, complaints included. Only once it has ended.
    fn everything(&mut self) -> String {
        let mut errors = String::new();
        if self.child.try_wait().expect("its state").is_some()
            && let Some(mut pipe) = self.child.stderr.take()
        {
            pipe.read_to_string(&mut errors).expect("text");
        }
        self.output() + &errors
    }

    /// Waits until it has ended.
    async fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the demo does not end:\n{}", self.output());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The lines that set the tokens and the authority to believe.
    fn exports(&self) -> String {
        let output = self.output();
        let exports: Vec<_> = output.lines().filter(|line| line.starts_with("export ")).collect();
        assert_eq!(exports.len(), 3, "two tokens and an authority: {output}");
        exports.join("\n")
    }

    /// The lines to try, as printed.
    fn lines(&self) -> Vec<String> {
        self.output().lines().filter(|line| line.starts_with("curl ")).map(str::to_owned).collect()
    }

    /// Presses Ctrl-C, but for this process only: on a terminal the proxies would get the signal, too.
    fn interrupt(&self) {
        kill("INT", self.child.id());
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.interrupt();
            let deadline = Instant::now() + Duration::from_secs(5);
            while Instant::now() < deadline && self.child.try_wait().is_ok_and(|status| status.is_none()) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // All of these fail only if it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        for pid in self.children.iter().filter(|pid| is_running(**pid)) {
            kill("KILL", *pid);
        }
    }
}

fn kill(signal: &str, pid: u32) {
    Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status().expect("kill runs");
}

/// Parent and state of each process.
fn processes() -> Vec<(u32, u32, char)> {
    let folders = fs::read_dir("/proc").expect("a process table").filter_map(Result::ok);
    let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
    let of = |pid: u32| {
        // The name, in parentheses, may hold anything; state and parent stand behind it.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut words = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = words.next()?.chars().next()?;
        Some((pid, words.next()?.parse().ok()?, state))
    };
    pids.filter_map(of).collect()
}

fn children_of(parent: u32) -> Vec<u32> {
    processes().into_iter().filter(|(_, other, _)| *other == parent).map(|(pid, ..)| pid).collect()
}

/// Whether there is such a process; one that has ended and waits for its parent is none.
fn is_running(pid: u32) -> bool {
    processes().into_iter().any(|(other, _, state)| other == pid && state != 'Z')
}

/// The name of a process's program.
fn program_of(pid: u32) -> String {
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What `curl -i` printed.
#[derive(Debug)]
struct Printed {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

/// Runs a printed line, comment and all, as somebody who pasted it would.
async fn run(exports: &str, line: &str) -> Printed {
    let mut bash = tokio::process::Command::new("bash");
    for variable in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        bash.env_remove(variable);
    }
    bash.arg("-c").arg(format!("{exports}\n{line}")).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, bash.output()).await.expect("curl ends").expect("bash runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{line}\n{text}\n{errors}");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{line}\n{text}\n{errors}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/")?.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Printed { status: status.unwrap_or_else(|| panic!("{text}")), headers, body: body.to_owned() }
}

/// What a printed line promises: the status, and for an allowed one who the upstream is told is asking.
fn promise(line: &str) -> (u16, Option<[&'static str; 3]>) {
    let (_, comment) = line.split_once("   # ").unwrap_or_else(|| panic!("no comment: {line}"));
    let (status, why) = comment.split_once(": ").expect("a status and why");
    let identity = match why {
        "X-User-ID: alice, X-User-Role: user, X-User-Tier: free" | "the token in a cookie" => ["alice", "user", "free"],
        "bob is, tier pro" => ["bob", "admin", "pro"],
        "open; the upstream sees no identity" => ["", "", ""],
        "no token" | "alice is no admin" => return (status.parse().expect("a status"), None),
        other => panic!("what does `{other}` promise?"),
    };
    (status.parse().expect("a status"), Some(identity))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_that_the_demo_prints_answers_as_printed_through_both_proxies() {
    let _turn = turn();
    let mut demo = Demo::start(true).await;
    let mut programs: Vec<_> = demo.children.iter().map(|pid| program_of(*pid)).collect();
    programs.sort();
    assert_eq!(programs, ["envoy", "traefik"]);

    let (exports, lines) = (demo.exports(), demo.lines());
    assert_eq!(lines.len(), 12, "six lines for each proxy: {lines:#?}");
    let mut decided = Vec::new();
    for line in &lines {
        let printed = run(&exports, line).await;
        let (status, identity) = promise(line);
        assert_eq!(printed.status, status, "{line}\n{printed:?}");
        let dialect = if line.contains("https://shop.localhost:8443") { "traefik" } else { "envoy" };
        let method = if line.contains("-X POST") { "POST" } else { "GET" };
        let path = line.split(if dialect == "traefik" { ":8443" } else { ":10000" }).nth(1).expect("a URL");
        let path = path.split(' ').next().expect("a path");
        if let Some(identity) = identity {
            let echoed: Value = serde_json::from_str(&printed.body).unwrap_or_else(|_| panic!("{line}\n{printed:?}"));
            for (name, value) in IDENTITY.iter().zip(identity) {
                let told = echoed["headers"][name.to_ascii_lowercase()].as_str().unwrap_or_default();
                assert_eq!(told, value, "{name} of {line}\n{echoed:#}");
            }
            assert_eq!((&echoed["method"], &echoed["uri"]), (&method.into(), &path.into()), "{line}\n{echoed:#}");
            assert!(!printed.body.contains("eyJ"), "a token is echoed: {}", printed.body);
        }
        if path != "/authentication/login" {
            let (colour, word) = if status == 200 { (32, "allow") } else { (31, "deny ") };
            decided
                .push(format!("\u{1b}[{colour}m{word} {status}\u{1b}[0m {dialect:7} {method} shop.localhost{path} "));
        }
    }

    // Each decision is shown, live, in order.
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let output = demo.output();
        let shown = output.split_once(PROMPT).expect("the prompt").1.lines().skip(1);
        let shown: Vec<_> = shown.filter(|line| !line.is_empty()).collect();
        if shown.len() >= decided.len() {
            for (line, expected) in shown.iter().zip(&decided) {
                assert!(line.contains(expected), "{expected} is not {line}");
            }
            assert_eq!(shown.len(), decided.len(), "open routes are not the gate's: {shown:#?}");
            break;
        }
        assert!(Instant::now() < deadline, "{} of {} shown:\n{output}", shown.len(), decided.len());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let children = demo.children.clone();
    demo.interrupt();
    assert_eq!(demo.ended().await, Some(0), "{}", demo.everything());
    let left: Vec<_> = children.into_iter().filter(|pid| is_running(*pid)).collect();
    assert!(left.is_empty(), "still running: {left:?}");
    for port in OWN_PORTS.into_iter().chain(PROXY_PORTS) {
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok(), "{port} is still taken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_that_the_demo_prints_without_proxies_answers_as_printed() {
    let _turn = turn();
    let mut demo = Demo::start(false).await;
    assert!(demo.children.is_empty(), "{:?}", demo.children);
    let (exports, lines) = (demo.exports(), demo.lines());
    assert_eq!(lines.len(), 6, "{lines:#?}");
    for line in &lines {
        let printed = run(&exports, line).await;
        let (status, identity) = promise(line);
        assert_eq!(printed.status, status, "{line}\n{printed:?}");
        // Without a proxy nobody forwards it: the answer itself carries the identity.
        for (name, value) in IDENTITY.iter().zip(identity.into_iter().flatten()) {
            assert_eq!(printed.headers.get(&name.to_ascii_lowercase()).map(String::as_str), Some(value), "{line}");
        }
    }
    let deadline = Instant::now() + Duration::from_secs(2);
    while demo.output().matches(" traefik ").count() < lines.len() {
        assert!(Instant::now() < deadline, "{}", demo.output());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    demo.interrupt();
    assert_eq!(demo.ended().await, Some(0), "{}", demo.everything());
}

/// Whoever has the port already: the demo says so and ends, and leaves nothing running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_ends_the_demo_with_a_line_that_says_so() {
    let _turn = turn();
    for port in [7400, 7401, 7410, 8080, 8443, 10000] {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap_or_else(|error| panic!("{port}: {error}"));
        let mut demo = Demo::spawn(true);
        let deadline = Instant::now() + PATIENCE;
        while demo.child.try_wait().expect("its state").is_none() {
            demo.children = children_of(demo.child.id());
            assert!(!demo.output().contains(PROMPT), "{port} is taken, and yet:\n{}", demo.output());
            assert!(Instant::now() < deadline, "the demo neither starts nor ends:\n{}", demo.output());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let said = demo.everything();
        assert_eq!(demo.ended().await, Some(1), "{said}");
        let named = said.contains(&port.to_string()) || said.contains(".log says why");
        assert!(said.starts_with("portcullis demo: ") && said.lines().count() == 1 && named, "{port}:\n{said}");
        assert!(!demo.children.iter().any(|pid| is_running(*pid)), "{port}: {:?}", demo.children);
        drop(holder);
    }
}

/// The line for nginx in the README and in the file itself, run as it stands from a folder like the repository's, but only to check.
#[test]
fn nginx_finds_its_files_where_the_readme_starts_it() {
    let folder = TempDir::new().expect("a folder");
    let demo = folder.path().join(".demo");
    for name in ["gate", "shop"] {
        put_certificates(name, &demo.join("certificates").join(name));
    }
    fs::copy(root().join("examples/proxies/nginx.conf"), demo.join("nginx.conf")).expect("copied");
    std::os::unix::fs::symlink(root().join(".tools"), folder.path().join(".tools")).expect("a link");
    for name in ["README.md", "examples/proxies/nginx.conf"] {
        let text = fs::read_to_string(root().join(name)).expect("text");
        let lines: Vec<_> =
            text.lines().filter_map(|line| line.find(".tools/bin/nginx").map(|at| &line[at..])).collect();
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        let output = Command::new("sh").args(["-c", &format!("{} -t", lines[0])]).current_dir(&folder).output();
        let output = output.expect("sh runs");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
