//! Real proxies in front of the demo's gate, with the very files that users copy.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::rt::task::spawn_blocking;

use super::shop;
use crate::cli::probe::{self, Transport};

/// How long a proxy may take to listen; a fresh machine reads its program from disk first.
const START: Duration = Duration::from_secs(20);

/// How a person reaches the shop through a proxy.
#[derive(Clone, Copy)]
pub(super) struct Front {
    pub(super) name: &'static str,
    pub(super) base: &'static str,
}

impl Front {
    pub(super) const TRAEFIK: Self = Self { name: "Traefik", base: "https://shop.localhost:8443" };
    pub(super) const ENVOY: Self = Self { name: "Envoy", base: "https://shop.localhost:10000" };
}

/// A proxy that ends with this value.
pub(super) struct Proxy {
    child: Child,
    address: SocketAddr,
    transport: Arc<Transport>,
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
        // Whoever has the address already would be taken for the proxy.
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        drop(TcpListener::bind(address).map_err(|error| {
            io::Error::new(error.kind(), format!("{} cannot have {address}: {error}", program.display()))
        })?);
        let program = program.canonicalize().map_err(|error| named(error, program))?;
        let path = dir.join(log);
        let output = File::create(&path)?;
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(dir).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().map_err(|error| named(error, &program))?;
        let transport = Arc::new(Transport::with_authority(&dir.join(shop::AUTHORITY))?);
        Ok(Self { child, address, transport, log: path })
    }

    /// Waits until it serves: listening is not enough, since routes and health checks come later.
    ///
    /// # Errors
    /// If it ends instead, or takes too long: then its log says why.
    pub(super) async fn wait_until_it_answers(&mut self) -> io::Result<()> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                let log = self.log.display();
                return Err(io::Error::other(format!("the proxy ended with {status}; {log} says why")));
            }
            let (transport, address) = (Arc::clone(&self.transport), self.address);
            // An open route: it asks proxy and upstream, and leaves the gate's log alone.
            let asked = spawn_blocking(move || probe::status(&transport, address, "shop.localhost", "/health"));
            if matches!(asked.await, Ok(Ok(200))) {
                return Ok(());
            }
            if started.elapsed() > START {
                let (address, log) = (self.address, self.log.display());
                return Err(io::Error::other(format!("the proxy does not serve on {address}; {log} says why")));
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
