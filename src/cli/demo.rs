//! `portcullis demo`: a gate, a sample shop behind it, and, if their programs are named, a real
//! Traefik and a real Envoy in front. Everything listens on loopback and ends with Ctrl-C.

mod follow;
mod proxies;
mod shop;
mod upstream;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::serve::stop_signal;
use super::{EXIT_FAILED, complain, say};
use crate::config;
use crate::server::{self, audit_log::AuditLog};
use proxies::{Front, Proxy};

/// What to start, and where to put its files.
#[derive(Debug, Args)]
pub struct Options {
    /// Traefik's program; it is started in front of the gate.
    #[arg(long, value_name = "PROGRAM")]
    traefik: Option<PathBuf>,
    /// Envoy's program; it is started in front of the gate.
    #[arg(long, value_name = "PROGRAM")]
    envoy: Option<PathBuf>,
    /// The folder for settings, policy, key set and the proxies' logs; its files are overwritten.
    #[arg(long, value_name = "FOLDER", default_value = ".demo")]
    dir: PathBuf,
}

/// Runs the demo until Ctrl-C.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    match actix_web::rt::System::new().block_on(demo(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("portcullis demo: {error}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

async fn demo(options: &Options) -> io::Result<()> {
    let tokens = shop::write(&options.dir)?;
    for (name, address) in [("shop-1", shop::UPSTREAMS[0]), ("shop-2", shop::UPSTREAMS[1])] {
        upstream::start(name, address)?;
    }
    let loaded = config::load(&options.dir.join("portcullis.yaml"), &Vec::new()).map_err(io::Error::other)?;
    let running = server::start(loaded, AuditLog::to(Box::new(follow::Follow::new(io::stdout())))?).await?;
    let mut proxies = Vec::new();
    let mut fronts = Vec::new();
    if let Some(program) = &options.traefik {
        proxies.push(Proxy::traefik(program, &options.dir)?);
        fronts.push(Front::TRAEFIK);
    }
    if let Some(program) = &options.envoy {
        proxies.push(Proxy::envoy(program, &options.dir)?);
        fronts.push(Front::ENVOY);
    }
    for proxy in &mut proxies {
        proxy.wait_until_it_answers().await?;
    }
    say(&shop::introduction(&options.dir, &tokens, &fronts)?);
    let signal = stop_signal().await?;
    say(&format!("\n{signal}: stopping."));
    drop(proxies);
    running.stop().await;
    Ok(())
}
