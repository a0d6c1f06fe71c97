//! A real Redis that keeps nothing on disk: killed and started again, it is empty.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::proxy::{self, Port};
use super::wire::put_certificates;

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(10);

/// A running Redis; it is killed with the value.
#[derive(Debug)]
pub(crate) struct Server {
    port: Port,
    folder: TempDir,
    arguments: Vec<String>,
    child: Child,
}

impl Server {
    /// Starts one and waits until it answers.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one that speaks TLS only, with the certificate `gate`, and lets in `gate` with the password `secret` only.
    pub(crate) async fn start_guarded() -> Self {
        let tls = "--tls-cert-file gate/tls.crt --tls-key-file gate/tls.key --tls-ca-cert-file gate/ca.crt --tls-auth-clients no";
        Self::start_with(&["tls", tls]).await
    }

    /// Starts one with these arguments beside its address, and no others.
    pub(crate) async fn start_as(arguments: &[String]) -> Self {
        let (port, folder) = (Port::take(), TempDir::new().expect("a temporary folder"));
        let listen = ["--bind", "127.0.0.1", "--port", &port.address().port().to_string()].map(str::to_owned);
        let arguments = [&listen, arguments].concat();
        let child = spawn(&arguments, folder.path());
        let server = Self { port, folder, arguments, child };
        server.answers().await;
        server
    }

    async fn start_with(arguments: &[&str]) -> Self {
        let (port, folder) = (Port::take(), TempDir::new().expect("a temporary folder"));
        put_certificates("gate", &folder.path().join("gate"));
        let number = port.address().port();
        let listen = match arguments {
            ["tls", rest] => {
                let user = "--user default off --user gate on >secret";
                format!("--port 0 --tls-port {number} {rest} {user} {}", rights())
            }
            _ => format!("--port {number}"),
        };
        let arguments: Vec<String> = format!("--bind 127.0.0.1 --save  --appendonly no --daemonize no {listen}")
            .split(' ')
            .map(str::to_owned)
            .collect();
        let child = spawn(&arguments, folder.path());
        let server = Self { port, folder, arguments, child };
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
        let client = deadpool_redis::redis::Client::open(self.url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("it answers");
        let mut command = deadpool_redis::redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        let value: deadpool_redis::redis::Value = command.query_async(&mut connection).await.expect("an answer");
        format!("{value:?}")
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

/// What the README says that the gate's user needs, and no more.
fn rights() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let quoted =
        readme.split('`').filter(|text| text.starts_with("~{portcullis") || (text.starts_with('+') && text.len() > 1));
    quoted.collect::<Vec<_>>().join(" ")
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
