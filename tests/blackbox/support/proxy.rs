//! Real proxies with the shipped files. Only addresses change, and what a test asks to be changed; a file that no longer holds
//! what a test wants to change fails that test.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::raw::{self, HOST};

/// How long a proxy may take until it answers.
const START: Duration = Duration::from_secs(20);
/// Where the question whether a proxy is up comes from: it uses up no test's limits, and upstreams know it from a test's requests.
pub(crate) const PROBING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 254);

/// What stands around a proxy, and how its files differ from the shipped ones.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    gate: SocketAddr,
    upstreams: [SocketAddr; 2],
    lift_rate_limit: bool,
    edits: Vec<(String, String)>,
}

impl Options {
    /// The shipped files with this gate and these two servers behind every service. The proxy counts as started when `/health`,
    /// which is open, answers 200.
    pub(crate) fn new(gate: SocketAddr, upstreams: [SocketAddr; 2]) -> Self {
        Self { gate, upstreams, lift_rate_limit: false, edits: Vec::new() }
    }

    /// Makes the limit per minute so high that no test meets it. The limit of requests in flight stays.
    pub(crate) fn lift_rate_limit(mut self) -> Self {
        self.lift_rate_limit = true;
        self
    }

    /// Replaces a text wherever it occurs in the proxy's files. Starting panics if it occurs nowhere.
    pub(crate) fn edit(mut self, from: &str, to: &str) -> Self {
        self.edits.push((from.to_owned(), to.to_owned()));
        self
    }
}

/// A running Traefik with `traefik/*.yml`. It is killed with the value.
#[derive(Debug)]
pub(crate) struct Traefik {
    process: Process,
    http: Port,
    https: Port,
}

impl Traefik {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When Traefik is not installed, does not start, or an edit changes nothing.
    pub(crate) async fn start(options: &Options) -> Self {
        let [http, https] = [Port::take(), Port::take()];
        let mut files = Files::read(&["traefik/traefik.yml", "traefik/dynamic.yml"]);
        files.edit(options, &[("average: 20", "average: 1000000"), ("burst: 40", "burst: 1000000")]);
        files.readdress(
            |address| address.to_string(),
            &[
                (8080, http.address()),
                (8443, https.address()),
                (7400, options.gate),
                (7410, options.upstreams[0]),
                (7411, options.upstreams[1]),
            ],
        );
        let folder = TempDir::new().expect("a temporary folder");
        files.put(
            "filename: traefik/dynamic.yml",
            &format!("filename: {}", folder.path().join("dynamic.yml").display()),
        );
        let paths = files.write(folder.path());

        let mut command = Command::new(tool("traefik"));
        command.arg(format!("--configFile={}", paths[0].display()));
        let process = Process::start(command, folder, raw::Client::tls(https.address())).await;
        Self { process, http, https }
    }

    /// The entry point that only redirects.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http.address()
    }

    /// The URL of a path on the shop's host.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.https.address().port())
    }

    /// A raw client of the serving entry point, over TLS.
    pub(crate) fn raw(&self) -> raw::Client {
        raw::Client::tls(self.https.address())
    }

    /// A well-behaved client that knows the shop's host and prefers HTTP/2.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        client(self.https.address())
    }

    /// What Traefik has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

/// A running Envoy with `envoy/envoy.yaml`. It is killed with the value.
#[derive(Debug)]
pub(crate) struct Envoy {
    _process: Process,
    http: Port,
    admin: Port,
}

impl Envoy {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When Envoy is not installed, does not start, or an edit changes nothing.
    pub(crate) async fn start(options: &Options) -> Self {
        let [http, admin] = [Port::take(), Port::take()];
        let mut files = Files::read(&["envoy/envoy.yaml"]);
        files.edit(
            options,
            &[("max_tokens: 40, tokens_per_fill: 1,", "max_tokens: 1000000, tokens_per_fill: 1000000,")],
        );
        files.readdress(
            |address| format!("address: {}, port_value: {}}}", address.ip(), address.port()),
            &[
                (10000, http.address()),
                (10001, admin.address()),
                (7400, options.gate),
                (7410, options.upstreams[0]),
                (7411, options.upstreams[1]),
            ],
        );
        let folder = TempDir::new().expect("a temporary folder");
        let paths = files.write(folder.path());

        let mut command = Command::new(tool("envoy"));
        // Hot restart would make instances meet in shared memory, and leave it behind when one is killed.
        command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c"]).arg(&paths[0]);
        let process = Process::start(command, folder, raw::Client::plain(http.address())).await;
        Self { _process: process, http, admin }
    }

    /// The admin endpoint (`/stats`, `/clusters`).
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The URL of a path on the shop's host.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{HOST}:{}{path}", self.http.address().port())
    }

    /// A raw client of the listener.
    pub(crate) fn raw(&self) -> raw::Client {
        raw::Client::plain(self.http.address())
    }

    /// A well-behaved client that knows the shop's host. It speaks HTTP/1.1; add `.http2_prior_knowledge()` for HTTP/2.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        client(self.http.address())
    }
}

/// A running nginx with `examples/proxies/nginx.conf`. It is killed with the value.
#[derive(Debug)]
pub(crate) struct Nginx {
    _process: Process,
    http: Port,
    https: Port,
}

impl Nginx {
    /// Starts one and waits until it answers. Beside the shipped listener it has one with TLS, because it serves HTTP/2 only there.
    ///
    /// # Panics
    /// When nginx is not installed, does not start, or an edit changes nothing.
    pub(crate) async fn start(options: &Options) -> Self {
        let [http, https] = [Port::take(), Port::take()];
        let mut files = Files::read(&["examples/proxies/nginx.conf"]);
        files.edit(options, &[("rate=20r/m", "rate=1000000r/m"), ("burst=39", "burst=1000000")]);
        files.put(
            "listen 127.0.0.1:8081;",
            &format!(
                "listen 127.0.0.1:8081; listen {} ssl http2; ssl_certificate tls.crt; ssl_certificate_key tls.key;",
                https.address()
            ),
        );
        files.readdress(
            |address| address.to_string(),
            &[(8081, http.address()), (7400, options.gate), (7410, options.upstreams[0]), (7411, options.upstreams[1])],
        );
        let folder = TempDir::new().expect("a temporary folder");
        let paths = files.write(folder.path());
        let pair = rcgen::generate_simple_self_signed([HOST.to_owned()]).expect("a certificate");
        fs::write(folder.path().join("tls.crt"), pair.cert.pem()).expect("written");
        fs::write(folder.path().join("tls.key"), pair.signing_key.serialize_pem()).expect("written");

        let mut command = Command::new(tool("nginx"));
        // One process, so that nothing is left when it is killed.
        command.args(["-e", "stderr", "-g", "daemon off; master_process off;", "-p"]).arg(folder.path());
        command.arg("-c").arg(&paths[0]);
        let process = Process::start(command, folder, raw::Client::plain(http.address())).await;
        Self { _process: process, http, https }
    }

    /// The URL of a path on the shop's host, at the listener with TLS.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.https.address().port())
    }

    /// A raw client of the shipped listener.
    pub(crate) fn raw(&self) -> raw::Client {
        raw::Client::plain(self.http.address())
    }

    /// A well-behaved client of the listener with TLS, that knows the shop's host and prefers HTTP/2.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        client(self.https.address())
    }
}

/// A running Caddy with `examples/proxies/Caddyfile`. It is killed with the value.
#[derive(Debug)]
pub(crate) struct Caddy {
    process: Process,
    http: Port,
}

impl Caddy {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When Caddy is not installed, does not start, or an edit changes nothing.
    pub(crate) async fn start(options: &Options) -> Self {
        let http = Port::take();
        let mut files = Files::read(&["examples/proxies/Caddyfile"]);
        // It has no limit of the rate.
        files.edit(options, &[]);
        files.put(":8082", &format!(":{}", http.address().port()));
        files.readdress(
            |address| address.to_string(),
            &[(7400, options.gate), (7410, options.upstreams[0]), (7411, options.upstreams[1])],
        );
        let folder = TempDir::new().expect("a temporary folder");
        let paths = files.write(folder.path());

        let mut command = Command::new(tool("caddy"));
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&paths[0]);
        // Where it would keep certificates and the last configuration.
        for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(variable, folder.path());
        }
        let process = Process::start(command, folder, raw::Client::plain(http.address())).await;
        Self { process, http }
    }

    /// The URL of a path on the shop's host.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{HOST}:{}{path}", self.http.address().port())
    }

    /// A raw client of the listener.
    pub(crate) fn raw(&self) -> raw::Client {
        raw::Client::plain(self.http.address())
    }

    /// A well-behaved client that knows the shop's host. It speaks HTTP/1.1; add `.http2_prior_knowledge()` for HTTP/2.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        client(self.http.address())
    }

    /// What Caddy has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

/// No redirects, no proxy from the environment, any certificate.
fn client(address: SocketAddr) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .resolve(HOST, address)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .tls_danger_accept_invalid_certs(true)
        .timeout(Duration::from_secs(10))
}

/// A port of 127.0.0.1 that nobody else starts anything on while this value lives: no other test, not even of another test run
/// on this machine. It is free, so a program can be told to listen there, or told again after it has ended.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    _lock: TcpListener,
}

impl Port {
    /// Takes one.
    pub(crate) fn take() -> Self {
        // Below those that the system hands out by itself, to listeners and to clients.
        const NUMBERS: Range<u16> = 20_000..30_000;
        // Whoever holds the same port of this address holds the lock.
        const LOCKS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 253);
        for _ in 0..1000 {
            let number = fastrand::u16(NUMBERS);
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
            if let Ok(lock) = TcpListener::bind((LOCKS, number))
                && TcpListener::bind(address).is_ok()
            {
                return Self { address, _lock: lock };
            }
        }
        panic!("no free port between {} and {}", NUMBERS.start, NUMBERS.end)
    }

    /// The port, with 127.0.0.1.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The shipped files, in memory, being changed.
struct Files(Vec<(&'static str, String)>);

impl Files {
    fn read(names: &[&'static str]) -> Self {
        let read = |name: &&'static str| {
            (*name, fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}")))
        };
        Self(names.iter().map(read).collect())
    }

    fn put(&mut self, from: &str, to: &str) {
        assert!(self.0.iter().any(|(_, text)| text.contains(from)), "nothing to edit: no shipped file holds `{from}`");
        for (_, text) in &mut self.0 {
            *text = text.replace(from, to);
        }
    }

    /// What the test asks for, in terms of the shipped text.
    fn edit(&mut self, options: &Options, lifting_rate_limit: &[(&str, &str)]) {
        for (from, to) in lifting_rate_limit.iter().filter(|_| options.lift_rate_limit) {
            self.put(from, to);
        }
        for (from, to) in &options.edits {
            self.put(from, to);
        }
    }

    /// Replaces the shipped ports on loopback, which the file writes in its own way.
    fn readdress(&mut self, written: impl Fn(SocketAddr) -> String, ports: &[(u16, SocketAddr)]) {
        // In two steps: an actual address may look like a shipped one that is still to be replaced.
        for (shipped, _) in ports {
            self.put(&written(SocketAddr::from((Ipv4Addr::LOCALHOST, *shipped))), &format!("<<{shipped}>>"));
        }
        for (shipped, actual) in ports {
            self.put(&format!("<<{shipped}>>"), &written(*actual));
        }
    }

    fn write(&self, folder: &Path) -> Vec<PathBuf> {
        let write = |(name, text): &(&str, String)| {
            let path = folder.join(Path::new(name).file_name().expect("a file's path ends in its name"));
            fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            path
        };
        self.0.iter().map(write).collect()
    }
}

/// A child process that is killed with the value, and the folder that it logs into.
#[derive(Debug)]
struct Process {
    child: Child,
    folder: TempDir,
}

impl Process {
    async fn start(mut command: Command, folder: TempDir, client: raw::Client) -> Self {
        let log = File::create(folder.path().join("log")).expect("a log file");
        let errors = log.try_clone().expect("a second handle");
        let child = command.current_dir(folder.path()).stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        let mut process = Self { child, folder };
        let client = client.with_source(PROBING).with_timeout(Duration::from_secs(2));
        let question = raw::request("GET", "/health", &[], b"");
        let deadline = Instant::now() + START;
        loop {
            let answer = client.try_send(&question).await;
            if answer.as_ref().is_ok_and(|response| response.status == 200) {
                return process;
            }
            let ended = process.child.try_wait().expect("the state of a child").is_some();
            if ended || Instant::now() > deadline {
                let why =
                    if ended { "ended".to_owned() } else { format!("did not answer 200 at /health, but {answer:?}") };
                panic!("{} {why}; its log:\n{}", command.get_program().display(), process.log());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("log")).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn tool(name: &str) -> PathBuf {
    let path = root().join(".tools/bin").join(name);
    assert!(path.exists(), "{name} is not installed: run scripts/tools.sh {name}");
    path
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
