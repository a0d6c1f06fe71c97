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
use super::wire::{Wire, put_certificates};

/// How long a proxy may take until it answers.
const START: Duration = Duration::from_secs(20);
/// Where the question whether a proxy is up comes from: it uses up no test's limits, and upstreams know it from a test's requests.
pub(crate) const PROBING: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 254);

/// What stands around a proxy, and how its files differ from the shipped ones.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    gate: SocketAddr,
    /// Which certificate's authority the proxy believes.
    believes: &'static str,
    upstreams: [SocketAddr; 2],
    wire: Wire,
    lift_rate_limit: bool,
    edits: Vec<(String, String)>,
}

impl Options {
    /// The shipped files with this gate and these two servers behind every service, over what the test speaks. The proxy counts as
    /// started when `/health`, which is open, answers 200.
    pub(crate) fn new(gate: SocketAddr, upstreams: [SocketAddr; 2]) -> Self {
        Self { gate, believes: "gate", upstreams, wire: Wire::here(), lift_rate_limit: false, edits: Vec::new() }
    }

    /// Makes the proxy believe a stranger that looks like the gate's authority, instead of the gate's.
    pub(crate) fn believe_a_stranger(mut self) -> Self {
        self.believes = "stranger";
        self
    }

    /// Makes the limit per minute so high that no test meets it. The limit of requests in flight stays.
    pub(crate) fn lift_rate_limit(mut self) -> Self {
        self.lift_rate_limit = true;
        self
    }

    /// A folder with the certificates that the files name.
    fn folder(&self) -> TempDir {
        let folder = TempDir::new().expect("a temporary folder");
        put_certificates(self.believes, &folder.path().join("certificates/gate"));
        put_certificates("shop", &folder.path().join("certificates/shop"));
        folder
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
    wire: Wire,
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
        if options.wire == Wire::Plain {
            files.put("https://127.0.0.1:7400", "http://127.0.0.1:7400");
            files.put("      tls: {}\n", "");
        }
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
        let folder = options.folder();
        files.put(
            "filename: traefik/dynamic.yml",
            &format!("filename: {}", folder.path().join("dynamic.yml").display()),
        );
        let paths = files.write(folder.path());

        Self::launch(&[format!("--configFile={}", paths[0].display())], folder, [http, https], options.wire).await
    }

    /// Starts one with these arguments, which make it listen on these ports for HTTP and HTTPS, and waits until it answers.
    pub(crate) async fn launch(arguments: &[String], folder: TempDir, [http, https]: [Port; 2], wire: Wire) -> Self {
        let mut command = Command::new(tool("traefik"));
        // Whoever runs the tests may have a cluster at hand.
        command.args(arguments).env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
        let process = Process::start(command, folder, client_of(&https, wire)).await;
        Self { process, http, https, wire }
    }

    /// The entry point that only redirects.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http.address()
    }

    /// The URL of a path on the shop's host.
    pub(crate) fn url(&self, path: &str) -> String {
        url(&self.https, self.wire, path)
    }

    /// A raw client of the serving entry point.
    pub(crate) fn raw(&self) -> raw::Client {
        client_of(&self.https, self.wire)
    }

    /// A well-behaved client that knows the shop's host.
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
    port: Port,
    admin: Port,
    wire: Wire,
}

impl Envoy {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When Envoy is not installed, does not start, or an edit changes nothing.
    pub(crate) async fn start(options: &Options) -> Self {
        let [port, admin] = [Port::take(), Port::take()];
        let mut files = Files::read(&["envoy/envoy.yaml"]);
        files.edit(
            options,
            &[("max_tokens: 40, tokens_per_fill: 1,", "max_tokens: 1000000, tokens_per_fill: 1000000,")],
        );
        if options.wire == Wire::Plain {
            files.cut("        - transport_socket:", "          filters:", "        - filters:");
            files.cut("      transport_socket:", "      load_assignment:", "      load_assignment:");
            files.put("https://127.0.0.1:7400", "http://127.0.0.1:7400");
        }
        files.readdress(
            |address| format!("address: {}, port_value: {}}}", address.ip(), address.port()),
            &[
                (10000, port.address()),
                (10001, admin.address()),
                (7400, options.gate),
                (7410, options.upstreams[0]),
                (7411, options.upstreams[1]),
            ],
        );
        let folder = options.folder();
        let paths = files.write(folder.path());

        let mut command = Command::new(tool("envoy"));
        // Hot restart would make instances meet in shared memory, and leave it behind when one is killed.
        command.args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c"]).arg(&paths[0]);
        let process = Process::start(command, folder, client_of(&port, options.wire)).await;
        Self { _process: process, port, admin, wire: options.wire }
    }

    /// The admin endpoint (`/stats`, `/clusters`).
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The URL of a path on the shop's host.
    pub(crate) fn url(&self, path: &str) -> String {
        url(&self.port, self.wire, path)
    }

    /// A raw client of the listener.
    pub(crate) fn raw(&self) -> raw::Client {
        client_of(&self.port, self.wire)
    }

    /// A well-behaved client that knows the shop's host.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        client(self.port.address())
    }
}

/// A running nginx with `examples/proxies/nginx.conf`. It is killed with the value.
#[derive(Debug)]
pub(crate) struct Nginx {
    _process: Process,
    port: Port,
    wire: Wire,
}

impl Nginx {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When nginx is not installed, does not start, or an edit changes nothing.
    pub(crate) async fn start(options: &Options) -> Self {
        let port = Port::take();
        let mut files = Files::read(&["examples/proxies/nginx.conf"]);
        files.edit(options, &[("rate=20r/m", "rate=1000000r/m"), ("burst=39", "burst=1000000")]);
        if options.wire == Wire::Plain {
            files.put("listen 127.0.0.1:8081 ssl http2", "listen 127.0.0.1:8081");
            files.put("https://gate/", "http://gate/");
        }
        files.readdress(
            |address| address.to_string(),
            &[(8081, port.address()), (7400, options.gate), (7410, options.upstreams[0]), (7411, options.upstreams[1])],
        );
        let folder = options.folder();
        let paths = files.write(folder.path());

        let mut command = Command::new(tool("nginx"));
        // One process, so that nothing is left when it is killed.
        command.args(["-e", "stderr", "-g", "daemon off; master_process off;", "-p"]).arg(folder.path());
        command.arg("-c").arg(&paths[0]);
        let process = Process::start(command, folder, client_of(&port, options.wire)).await;
        Self { _process: process, port, wire: options.wire }
    }

    /// The URL of a path on the shop's host.
    pub(crate) fn url(&self, path: &str) -> String {
        url(&self.port, self.wire, path)
    }

    /// A raw client of the listener.
    pub(crate) fn raw(&self) -> raw::Client {
        client_of(&self.port, self.wire)
    }

    /// A well-behaved client that knows the shop's host.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        client(self.port.address())
    }
}

/// A running Caddy with `examples/proxies/Caddyfile`. It is killed with the value.
#[derive(Debug)]
pub(crate) struct Caddy {
    process: Process,
    port: Port,
    wire: Wire,
}

impl Caddy {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When Caddy is not installed, does not start, or an edit changes nothing.
    pub(crate) async fn start(options: &Options) -> Self {
        let port = Port::take();
        let mut files = Files::read(&["examples/proxies/Caddyfile"]);
        // It has no limit of the rate.
        files.edit(options, &[]);
        if options.wire == Wire::Plain {
            files.put("https://", "http://");
            files.put("\ttls certificates/shop/tls.crt certificates/shop/tls.key\n", "");
            files.put("tls_trusted_ca_certs", "# tls_trusted_ca_certs");
            files.put("tls_server_name", "# tls_server_name");
            files.put("protocols h1 h2\n", "protocols h1 h2c\n");
        }
        files.put(":8082", &format!(":{}", port.address().port()));
        files.readdress(
            |address| address.to_string(),
            &[(7400, options.gate), (7410, options.upstreams[0]), (7411, options.upstreams[1])],
        );
        let folder = options.folder();
        let paths = files.write(folder.path());

        let mut command = Command::new(tool("caddy"));
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&paths[0]);
        // Where it would keep certificates and the last configuration.
        for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(variable, folder.path());
        }
        let process = Process::start(command, folder, client_of(&port, options.wire)).await;
        Self { process, port, wire: options.wire }
    }

    /// The URL of a path on the shop's host.
    pub(crate) fn url(&self, path: &str) -> String {
        url(&self.port, self.wire, path)
    }

    /// A raw client of the listener.
    pub(crate) fn raw(&self) -> raw::Client {
        client_of(&self.port, self.wire)
    }

    /// A well-behaved client that knows the shop's host.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        client(self.port.address())
    }

    /// What Caddy has logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }
}

fn client_of(port: &Port, wire: Wire) -> raw::Client {
    match wire {
        Wire::Tls => raw::Client::tls(port.address()),
        Wire::Plain => raw::Client::plain(port.address()),
    }
}

fn url(port: &Port, wire: Wire, path: &str) -> String {
    let scheme = if wire == Wire::Tls { "https" } else { "http" };
    format!("{scheme}://{HOST}:{}{path}", port.address().port())
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

    /// Replaces everything from a text to another one, once.
    fn cut(&mut self, from: &str, to: &str, with: &str) {
        for (name, text) in &mut self.0 {
            let (before, rest) = text.split_once(from).unwrap_or_else(|| panic!("{name} does not hold `{from}`"));
            let (_, after) = rest.split_once(to).unwrap_or_else(|| panic!("{name}: no `{to}` behind `{from}`"));
            *text = format!("{before}{with}{after}");
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

/// A program that `scripts/tools.sh` has installed.
pub(crate) fn tool(name: &str) -> PathBuf {
    let inside = match name {
        "python" => "python/bin/python3".to_owned(),
        "op" => "op/op.mjs".to_owned(),
        _ => format!("bin/{name}"),
    };
    let path = root().join(".tools").join(inside);
    assert!(path.exists(), "{name} is not installed: run scripts/tools.sh {name}");
    path
}

/// The top of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
