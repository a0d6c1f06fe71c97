//! `portcullis healthcheck`: the probe of a container that has no shell and no curl.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{EXIT_FAILED, complain, say};

/// How long the gate may take to answer; orchestrators give a probe one to ten seconds.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Whom to ask what.
#[derive(Debug, Args)]
pub struct Options {
    /// The address of the admin listener.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7401")]
    address: SocketAddr,
    /// Asks only whether the process lives, not whether it is ready.
    #[arg(long)]
    live: bool,
}

/// Succeeds if the gate answers 200.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let path = if options.live { "/health" } else { "/ready" };
    match ask(options.address, path) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => {
            say("ok");
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            complain(&format!(
                "portcullis: {} answers {}",
                options.address,
                answer.lines().next().unwrap_or("nothing")
            ));
            ExitCode::from(EXIT_FAILED)
        }
        Err(error) => {
            complain(&format!("portcullis: {} does not answer: {error}", options.address));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    // The answers are a few hundred bytes; whoever sends more is not our gate.
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
