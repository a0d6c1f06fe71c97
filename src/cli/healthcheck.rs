//! `portcullis healthcheck`: the probe of a container that has no shell and no curl.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::probe::{self, Transport};
use super::{EXIT_FAILED, complain, say};

/// Whom to ask what.
#[derive(Debug, Args)]
pub struct Options {
    /// The address of the admin listener.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7401")]
    address: SocketAddr,
    /// Asks only whether the process lives, not whether it is ready.
    #[arg(long)]
    live: bool,
    /// The listener speaks TLS, with a certificate for ADDRESS that is signed by one in this PEM file.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Succeeds if the gate answers 200.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    match ask(options) {
        Ok(200) => {
            say("ok");
            ExitCode::SUCCESS
        }
        Ok(status) => {
            complain(&format!("portcullis: {} answers {status}", options.address));
            ExitCode::from(EXIT_FAILED)
        }
        Err(error) => {
            complain(&format!("portcullis: {} does not answer: {error}", options.address));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn ask(options: &Options) -> io::Result<u16> {
    let transport = match &options.ca_file {
        Some(ca) => Transport::with_authority(ca)?,
        None => Transport::Plain,
    };
    let path = if options.live { "/health" } else { "/ready" };
    probe::status(&transport, options.address, &options.address.to_string(), path)
}
