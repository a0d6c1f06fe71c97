//! The real binary with a configuration of the test's own.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::raw;
use super::signer::Signer;
use super::wire::put_certificates;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");
/// The issuer of [`Config::shop`], as in `examples/shop`.
pub(crate) const ISSUER: &str = "https://id.shop.localhost";

/// The sample's lines about TLS.
const TLS: &str = "    # portcullis certificate --dir certificates/gate --name 127.0.0.1 --name gate.localhost
    tls: {certificate_file: certificates/gate/tls.crt, key_file: certificates/gate/tls.key}
";

/// The key of [`Config::shop`]: one for all tests, since making it costs time.
pub(crate) static KEY: LazyLock<Signer> = LazyLock::new(|| Signer::new("test", "EdDSA"));

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the year 292 billion")
}

/// Good claims of [`ISSUER`] for an hour, with these members on top; `null` takes one away.
pub(crate) fn claims(changes: Value) -> Value {
    let now = now();
    let mut claims =
        json!({"iss": ISSUER, "aud": "shop", "sub": "alice", "iat": now, "exp": now + 3600, "roles": ["user"]});
    for (name, value) in changes.as_object().expect("an object of changes") {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// A good token of [`KEY`] for `subject` with `roles`.
pub(crate) fn token(subject: &str, roles: &[&str]) -> String {
    KEY.token(&claims(json!({"sub": subject, "roles": roles})))
}

/// Waits until something is so; panics if it is not within ten seconds.
pub(crate) async fn within(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The files of a gate.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// `portcullis.yaml`.
    pub(crate) settings: String,
    /// `policy.yaml`.
    pub(crate) policy: String,
    /// Other files, by name.
    pub(crate) files: Vec<(String, String)>,
    /// Environment variables.
    pub(crate) environment: Vec<(String, String)>,
    /// Further arguments of the command.
    pub(crate) arguments: Vec<String>,
}

impl Config {
    /// The shipped sample shop without its limits, on free ports, with [`KEY`] as the issuer's only key.
    pub(crate) fn shop() -> Self {
        let read = |name: &str| {
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop").join(name))
                .expect("a sample file")
        };
        let settings =
            read("portcullis.yaml").replace("127.0.0.1:7400", "127.0.0.1:0").replace("127.0.0.1:7401", "127.0.0.1:0");
        // Most tests ask it themselves, and plainly.
        assert!(settings.contains(TLS), "the sample speaks TLS");
        let settings = settings.replace(TLS, "");
        // Tests end gates all the time: nobody needs to notice first.
        let settings = format!("{settings}\nshutdown: {{not_ready_for: 0s}}\n");
        let jwks = json!({"keys": [KEY.jwk()]}).to_string();
        let files = vec![("jwks.json".into(), jwks)];
        // Many tests ask oftener than anybody in the shop may.
        let shipped = read("policy.yaml");
        let (before, rest) = shipped.split_once("# How much somebody may").expect("the sample has limits");
        let (_, rules) = rest.split_once("rules:\n").expect("and rules behind them");
        let policy = format!("{before}rules:\n{rules}");
        Self { settings, policy, files, environment: Vec::new(), arguments: Vec::new() }
    }

    /// The same with the limits with which it is shipped.
    pub(crate) fn limited_shop() -> Self {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop/policy.yaml");
        Self { policy: fs::read_to_string(shipped).expect("a sample file"), ..Self::shop() }
    }

    /// The same with TLS on the decision listener, as it is shipped.
    pub(crate) fn over_tls(&self) -> Self {
        let address = "    address: 127.0.0.1:0\n    # The networks";
        self.clone().edit(address, &address.replace("    # The", &format!("{TLS}    # The")))
    }

    /// The shop's settings with another policy.
    pub(crate) fn with_policy(policy: &str) -> Self {
        Self { policy: policy.to_owned(), ..Self::shop() }
    }

    /// Replaces a text in the settings or the policy, which must be there.
    pub(crate) fn edit(mut self, from: &str, to: &str) -> Self {
        assert!(self.settings.contains(from) || self.policy.contains(from), "nothing to edit: `{from}`");
        self.settings = self.settings.replace(from, to);
        self.policy = self.policy.replace(from, to);
        self
    }

    /// Adds or replaces a file.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.retain(|(other, _)| other != name);
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds an argument to the command.
    pub(crate) fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Writes the files into a new folder.
    pub(crate) fn write(&self) -> TempDir {
        let folder = TempDir::new().expect("a temporary folder");
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        put("portcullis.yaml", &self.settings);
        put("policy.yaml", &self.policy);
        self.files.iter().for_each(|(name, text)| put(name, text));
        if self.settings.contains(TLS) {
            put_certificates("gate", &folder.path().join("certificates/gate"));
        }
        folder
    }

    /// Runs `portcullis check` on it; the folder's name is cut out of what it prints.
    pub(crate) fn check(&self) -> (i32, String) {
        self.run("check")
    }

    /// Runs `portcullis serve` on it, which is expected to end by itself.
    pub(crate) fn serve_fails(&self) -> (i32, String) {
        self.run("serve")
    }

    fn run(&self, command: &str) -> (i32, String) {
        let folder = self.write();
        let output = folder.path().join("what it prints");
        let file = fs::File::create(&output).expect("a file");
        let mut program = self.command(folder.path(), command);
        let mut child =
            program.stdout(file.try_clone().expect("a file")).stderr(file).spawn().expect("the program runs");
        let deadline = Instant::now() + Duration::from_secs(20);
        let code = loop {
            match child.try_wait().expect("its state") {
                Some(status) => break status.code().unwrap_or(-1),
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                // It serves: then the code is none that a program has.
                None => {
                    child.kill().and_then(|()| child.wait()).expect("it ends");
                    break -1;
                }
            }
        };
        let text = fs::read_to_string(output).expect("text");
        (code, text.replace(&format!("{}/", folder.path().display()), ""))
    }

    fn command(&self, folder: &Path, command: &str) -> Command {
        let mut program = Command::new(PROGRAM);
        program.arg(command).arg("--config").arg(folder.join("portcullis.yaml")).stdin(Stdio::null());
        program.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        program
    }
}

/// A running gate; it is killed with the value.
#[derive(Debug)]
pub(crate) struct Gate {
    child: Child,
    folder: TempDir,
    decisions: SocketAddr,
    tls: bool,
    admin: SocketAddr,
    public: Option<SocketAddr>,
    audit: Arc<Mutex<Vec<Value>>>,
    log: Arc<Mutex<String>>,
}

impl Gate {
    /// Starts the shop's gate.
    pub(crate) fn shop() -> Self {
        Self::start(&Config::shop())
    }

    /// Starts a gate and waits until it listens.
    pub(crate) fn start(config: &Config) -> Self {
        let folder = config.write();
        let mut child = config
            .command(folder.path(), "serve")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut errors = BufReader::new(child.stderr.take().expect("piped"));
        let mut log = String::new();
        let listening: Value = loop {
            let start = log.len();
            let read = errors.read_line(&mut log).expect("text");
            assert!(read > 0, "the gate ended before it listened:\n{log}");
            match serde_json::from_str::<Value>(&log[start..]) {
                Ok(line) if line["message"] == "listening" => break line,
                Ok(_) | Err(_) => {}
            }
        };
        let address = |name: &str| listening[name].as_str().and_then(|text| text.parse().ok()).expect("an address");
        let (decisions, admin) = (address("decisions"), address("admin"));
        let public = listening["public"].is_string().then(|| address("public"));
        let (log, audit) = (Arc::new(Mutex::new(log)), Arc::new(Mutex::new(Vec::new())));
        let (log_end, audit_end) = (Arc::clone(&log), Arc::clone(&audit));
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                let mut log = log_end.lock().expect("no panic");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let record = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                audit_end.lock().expect("no panic").push(record);
            }
        });
        Self { child, folder, decisions, tls: config.settings.contains(TLS), admin, public, audit, log }
    }

    /// The address of the decision listener.
    pub(crate) fn decisions(&self) -> SocketAddr {
        self.decisions
    }

    /// The address of the admin listener.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The address of the public listener, if there is one.
    pub(crate) fn public(&self) -> Option<SocketAddr> {
        self.public
    }

    /// The folder with its files.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far, audit lines apart.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }

    /// The audit lines so far.
    pub(crate) fn audit(&self) -> Vec<Value> {
        self.audit.lock().expect("no panic").clone()
    }

    /// The audit line of the request with this id; waits for it, since a thread of its own writes it.
    pub(crate) async fn audited(&self, request_id: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let found = self
                .audit
                .lock()
                .expect("no panic")
                .iter()
                .rev()
                .find(|line| line["request_id"] == request_id)
                .cloned();
            if let Some(line) = found {
                return line;
            }
            assert!(Instant::now() < deadline, "no audit line for {request_id}: {:?}", self.audit());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Asks as Traefik does: these facts, and more header lines.
    pub(crate) async fn ask(&self, method: &str, uri: &str, headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![
            ("X-Forwarded-Method", method),
            ("X-Forwarded-Uri", uri),
            ("X-Forwarded-Host", raw::HOST),
            ("X-Forwarded-For", "203.0.113.7"),
            ("X-Forwarded-Proto", "https"),
        ];
        all.extend_from_slice(headers);
        self.send("GET", "/validate", &all).await
    }

    /// Sends any request to the decision listener and waits for its audit line.
    pub(crate) async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut headers = headers.to_vec();
        let mut id = None;
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("x-request-id")) {
            id = Some(format!("test-{:x}", fastrand::u64(..)));
        }
        if let Some(id) = &id {
            headers.push(("X-Request-ID", id));
        }
        self.exchange(&raw::request(method, target, &headers, b"")).await
    }

    /// Sends any bytes to the decision listener, reads one answer and waits for its audit line.
    pub(crate) async fn exchange(&self, bytes: &[u8]) -> Answer {
        self.exchange_by(self.client(), bytes).await
    }

    /// The same from another loopback address: to the gate that is another peer.
    pub(crate) async fn exchange_from(&self, source: impl Into<IpAddr>, bytes: &[u8]) -> Answer {
        self.exchange_by(self.client().with_source(source), bytes).await
    }

    fn client(&self) -> raw::Client {
        if self.tls { raw::Client::tls(self.decisions) } else { raw::Client::plain(self.decisions) }
    }

    async fn exchange_by(&self, client: raw::Client, bytes: &[u8]) -> Answer {
        let response = client.send(bytes).await;
        let audit = match response.header("x-request-id") {
            Some(id) => self.audited(id).await,
            None => Value::Null,
        };
        let asked = String::from_utf8_lossy(bytes.get(..400).unwrap_or(bytes)).into_owned();
        Answer { response, audit, asked }
    }

    /// Asks the admin listener.
    pub(crate) async fn admin_get(&self, path: &str) -> raw::Response {
        raw::send(self.admin, raw::request("GET", path, &[], b"")).await
    }

    /// The value of a metric's sample, e.g. `portcullis_ready`.
    pub(crate) async fn metric(&self, sample: &str) -> Option<f64> {
        let text = self.admin_get("/metrics").await.text();
        text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
    }

    /// Sends a signal by the number of the process, never by name.
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().expect("kill runs");
        assert!(status.success());
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "the gate does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Its resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let mut status = String::new();
        let mut file = fs::File::open(format!("/proc/{}/status", self.pid())).expect("its status");
        file.read_to_string(&mut status).expect("text");
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        kib.expect("VmRSS") * 1024
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The gate's answer and its audit line.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The answer.
    pub(crate) response: raw::Response,
    /// The audit line; null if the answer had no request id (then the HTTP parser refused, not the gate).
    pub(crate) audit: Value,
    /// The beginning of the question, for people.
    pub(crate) asked: String,
}

/// Beginnings of the names under which an answer speaks of identity.
const IDENTITY: [&str; 2] = ["x-user-", "x-envoy-auth-headers-to-remove"];

impl Answer {
    /// The status.
    pub(crate) fn status(&self) -> u16 {
        self.response.status
    }

    /// The reason code in the audit line; empty if there is no line.
    pub(crate) fn reason(&self) -> &str {
        self.audit["reason"].as_str().unwrap_or_default()
    }

    /// A header of the answer.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.header(name)
    }

    /// The rule in the audit line; empty if there is none.
    pub(crate) fn rule(&self) -> &str {
        self.audit["rule"].as_str().unwrap_or_default()
    }

    /// Asserts status and reason, and that a refusal carries no identity.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16, reason: &str) -> &Self {
        assert_eq!((self.status(), self.reason()), (status, reason), "{}{self:#?}", self.asked);
        if self.status() != 200 {
            let mut names = self.response.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
            let identity = names.find(|name| IDENTITY.iter().any(|begin| name.starts_with(begin)));
            assert_eq!(identity, None, "a refusal with an identity: {self:#?}");
        }
        self
    }
}
