//! Real proxies in front of the demo's gate, with the very files that users copy.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

/// How long a proxy may take to listen; a fresh machine reads its program from disk first.
const START: Duration = Duration::from_secs(20);

/// How a person reaches the shop through a proxy.
#[derive(Clone, Copy)]
pub(super) struct Front {
    pub(super) name: &'static str,
    pub(super) base: &'static str,
    /// curl's flags for it.
    pub(super) flags: &'static str,
}

impl Front {
    /// With `-k`, since Traefik makes up a certificate.
    pub(super) const TRAEFIK: Self = Self { name: "Traefik", base: "https://shop.localhost:8443", flags: "k" };
    pub(super) const ENVOY: Self = Self { name: "Envoy", base: "http://shop.localhost:10000", flags: "" };
}

/// A proxy that ends with this value.
pub(super) struct Proxy {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Proxy {
    pub(super) fn traefik(program: &Path, dir: &Path) -> io::Result<Self> {
        let fixed = include_str!("../../../traefik/traefik.yml")
            .replace("filename: traefik/dynamic.yml", "filename: dynamic.yml");
        std::fs::write(dir.join("traefik.yml"), fixed)?;
        std::fs::write(dir.join("dynamic.yml"), include_str!("../../../traefik/dynamic.yml"))?;
        Self::start(program, dir, &["--configFile=traefik.yml"], "traefik.log", 8443)
    }

    pub(super) fn envoy(program: &Path, dir: &Path) -> io::Result<Self> {
        std::fs::write(dir.join("envoy.yaml"), include_str!("../../../envoy/envoy.yaml"))?;
        // Hot restart would let two demos on one machine meet in shared memory.
        let arguments = ["-c", "envoy.yaml", "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"];
        Self::start(program, dir, &arguments, "envoy.log", 10000)
    }

    fn start(program: &Path, dir: &Path, arguments: &[&str], log: &str, port: u16) -> io::Result<Self> {
        let program = program.canonicalize().map_err(|error| named(error, program))?;
        let path = dir.join(log);
        let output = File::create(&path)?;
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(dir).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().map_err(|error| named(error, &program))?;
        Ok(Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)), log: path })
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// If it ends instead, or takes too long: then its log says why.
    pub(super) async fn wait_until_it_answers(&mut self) -> io::Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!(
                    "the proxy ended with {status}; {} says why",
                    self.log.display()
                )));
            }
            if TcpStream::connect(self.address).await.is_ok() {
                return Ok(());
            }
            if started.elapsed() > START {
                return Err(io::Error::other(format!(
                    "the proxy does not listen on {}; {} says why",
                    self.address,
                    self.log.display()
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn named(error: io::Error, program: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", program.display()))
}
