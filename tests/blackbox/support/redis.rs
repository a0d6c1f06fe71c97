//! A real Redis that keeps nothing on disk: killed and started again, it is empty. Alone, or as [`several`].

pub(crate) mod several;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use deadpool_redis::redis::{self, Client, RedisResult, TlsCertificates};
use tempfile::TempDir;

use super::authority::Authority;
use super::proxy::{self, Port};

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(10);

/// How long several may take to know each other.
const SETTLED: Duration = Duration::from_secs(20);

/// How a guarded Redis speaks; the files lie in its folder.
const TLS: &str = "--tls-cert-file tls.crt --tls-key-file tls.key --tls-ca-cert-file ca.crt --tls-auth-clients no";

/// Whose certificates guarded ones have. Those of the program are no good here: servers of a cluster show theirs as clients, too.
static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

const ADMIN: &str = "--user admin on >admin ~* &* +@all";

/// A running Redis; it is killed with the value.
#[derive(Debug)]
pub(crate) struct Server {
    port: Port,
    folder: TempDir,
    arguments: Vec<String>,
    child: Child,
    is_guarded: bool,
}

impl Server {
    /// Starts one and waits until it answers.
    pub(crate) async fn start() -> Self {
        Self::start_with(false, "").await
    }

    /// Starts one that speaks TLS only, with a certificate of [`authority`], and lets in `gate` with the password `secret` for what the README
    /// says, and `admin` with the password `admin` for everything.
    pub(crate) async fn start_guarded() -> Self {
        Self::start_with(true, "").await
    }

    /// Starts one with these arguments beside its address, and no others.
    pub(crate) async fn start_as(arguments: &[String]) -> Self {
        Self::run_words(false, "", arguments.to_vec()).await
    }

    /// Starts one with more arguments.
    async fn start_with(is_guarded: bool, more: &str) -> Self {
        let guard = if is_guarded {
            let of = if more.contains("--cluster-enabled") { Of::Cluster } else { Of::OneServer };
            format!(
                " {TLS} --user default off {ADMIN} --user gate on >secret{} --user limits on >secret {}",
                rights(of),
                rights_of_limits()
            )
        } else {
            String::new()
        };
        let more = if more.is_empty() { String::new() } else { format!(" {more}") };
        Self::run(is_guarded, "", &format!("--save  --appendonly no --daemonize no{guard}{more}")).await
    }

    /// Starts one with this configuration, if it is not empty, and these arguments.
    async fn run(is_guarded: bool, configuration: &str, arguments: &str) -> Self {
        Self::run_words(is_guarded, configuration, arguments.split(' ').map(str::to_owned).collect()).await
    }

    async fn run_words(is_guarded: bool, configuration: &str, arguments: Vec<String>) -> Self {
        let (port, folder) = (Port::take(), TempDir::new().expect("a temporary folder"));
        let (certificate, key, _) = AUTHORITY.server();
        for (name, text) in [("ca.crt", authority()), ("tls.crt", certificate), ("tls.key", key)] {
            fs::write(folder.path().join(name), text).expect("written");
        }
        let number = port.address().port();
        let listen = if is_guarded { format!("--port 0 --tls-port {number}") } else { format!("--port {number}") };
        let mut words: Vec<String> = format!("--bind 127.0.0.1 {listen}").split(' ').map(str::to_owned).collect();
        if !configuration.is_empty() {
            fs::write(folder.path().join("redis.conf"), configuration).expect("written");
            words.insert(0, "redis.conf".to_owned());
        }
        let arguments = [words, arguments].concat();
        let child = spawn(&arguments, folder.path());
        let server = Self { port, folder, arguments, child, is_guarded };
        server.answers().await;
        server
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Kills it, with everything that it held.
    pub(crate) fn kill(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).expect("it ends");
    }

    /// Starts it again at the same place, empty.
    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(&self.arguments, self.folder.path());
        self.answers().await;
    }

    /// Stops it without closing anything (`STOP`), or lets it go on (`CONT`).
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Asks it something by hand.
    pub(crate) async fn ask(&self, words: &[&str]) -> String {
        self.try_ask(words).await.expect("an answer")
    }

    async fn try_ask(&self, words: &[&str]) -> RedisResult<String> {
        let client = if self.is_guarded {
            let root_cert = Some(authority().into_bytes());
            let url = format!("rediss://admin:admin@{}", self.address());
            Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert }).expect("a URL")
        } else {
            Client::open(self.url()).expect("a URL")
        };
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        let value: redis::Value = command.query_async(&mut connection).await?;
        Ok(format!("{value:?}"))
    }

    /// Waits until its answer holds this. Meanwhile it may hang up: who becomes a replica does.
    pub(crate) async fn says(&self, words: &[&str], wanted: &str) {
        let deadline = Instant::now() + SETTLED;
        loop {
            let answer = self.try_ask(words).await;
            if answer.as_ref().is_ok_and(|answer| answer.contains(wanted)) {
                return;
            }
            assert!(Instant::now() < deadline, "{words:?} without {wanted}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn answers(&self) {
        let deadline = Instant::now() + START;
        while tokio::net::TcpStream::connect(self.address()).await.is_err() {
            assert!(
                Instant::now() < deadline,
                "Redis does not start; see {}",
                self.folder.path().join("log").display()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The certificate that guarded ones are believed by, in PEM.
pub(crate) fn authority() -> String {
    AUTHORITY.pem()
}

/// Whose rights the README lists.
#[derive(Clone, Copy, Debug)]
enum Of {
    OneServer,
    Cluster,
    Sentinel,
}

/// What the README says that the gate's user needs, and no more.
fn rights(of: Of) -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let (_, text) = readme.split_once("Its user needs\n`~{portcullis:revocations}").expect("what revocation needs");
    let (servers, behind) = text.split_once("A user of Sentinels needs").expect("what Sentinels ask for");
    let (one, _) = servers.split_once("in a cluster also").expect("what a cluster asks for");
    let (keys, text) = match of {
        Of::OneServer => (" ~{portcullis:revocations}:*", one),
        Of::Cluster => (" ~{portcullis:revocations}:*", servers),
        Of::Sentinel => ("", behind.split_once('.').expect("a sentence").0),
    };
    let quoted = text.split('`').filter(|text| text.starts_with('+'));
    quoted.fold(keys.to_owned(), |all, some| format!("{all} {some}"))
}

/// The same of a user that keeps limits only.
fn rights_of_limits() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let (_, text) = readme.split_once("Its user needs `~{portcullis:limits}:*` and").expect("what limits need");
    let rights = text.split('`').nth(1).filter(|text| text.starts_with('+')).expect("a list of commands");
    format!("~{{portcullis:limits}}:* {rights}")
}

fn spawn(arguments: &[String], folder: &Path) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("a file");
    Command::new(proxy::tool("redis-server"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log)
        .spawn()
        .expect("Redis runs")
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
