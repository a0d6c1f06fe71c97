//! `portcullis token`: for people who hold a token and wonder.

mod hint;
mod inspection;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Read as _};
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use clap::{Args, Subcommand};

use super::{Configured, EXIT_CONFIG, EXIT_FAILED, complain, say};
use crate::clock::UnixTime;
use crate::config::{self, Loaded};
use crate::server::clock;
use crate::token::UnverifiedToken;
use crate::token::jws::MAX_TOKEN_BYTES;
use inspection::Inspection;

/// Exit code for a command line that cannot be read, as clap has it.
const EXIT_USAGE: u8 = 2;

/// What to do with a token.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Prints what the token on standard input says, and every check that it would meet, without believing it.
    Inspect(Options),
}

/// By which configuration, and how to print it.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    configured: Configured,
    /// Fetches the issuer's keys first, once and as the gate would; otherwise nobody is asked.
    #[arg(long)]
    fetch: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// Judges as of this moment instead of now: 2025-11-20T12:00:00Z, or seconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<UnixTime>,
    /// Where people put the token first. It is not read, nor repeated.
    #[arg(hide = true)]
    misplaced: Vec<OsString>,
}

fn moment(text: &str) -> Result<UnixTime, String> {
    let seconds = text.parse().ok().filter(|seconds| (0..=LAST_SECOND).contains(seconds)).map(UnixTime::from_secs);
    let written = || humantime::parse_rfc3339_weak(text).ok()?.duration_since(UNIX_EPOCH).ok();
    let moment = seconds.or_else(|| Some(UnixTime::from_secs(0).after(written()?)));
    moment.ok_or_else(|| "write it as 2025-11-20T12:00:00Z, or in seconds since 1970".to_owned())
}

/// Last second of the year 9999, the last that can be written as a date.
const LAST_SECOND: i64 = 253_402_300_799;

/// Inspects a token. Succeeds if it would pass.
#[must_use]
pub fn run(token: &Token) -> ExitCode {
    let Token::Inspect(options) = token;
    if !options.misplaced.is_empty() {
        complain(
            "portcullis token inspect: the token is read from standard input, since arguments are for everybody to see",
        );
        return ExitCode::from(EXIT_USAGE);
    }
    let loaded = match config::load(&options.configured.config, &options.configured.flags()) {
        Ok(loaded) => loaded,
        Err(report) => {
            complain(&report.to_string());
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match inspect(options, &loaded) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_FAILED),
        Err(error) => {
            complain(&format!("portcullis token inspect: {error}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn inspect(options: &Options, loaded: &Loaded) -> io::Result<bool> {
    let token = token()?;
    let token = token.trim();
    if options.fetch {
        actix_web::rt::System::new().block_on(fetch(loaded, token));
    }
    let inspection = Inspection::of(token, loaded, options.at.unwrap_or_else(clock::now));
    let coloured = io::stdout().is_terminal();
    say(&if options.json { inspection.json() } else { inspection.text(coloured) });
    Ok(inspection.passes())
}

/// From standard input only: the arguments of a process are for everybody to see.
fn token() -> io::Result<String> {
    let input = io::stdin().lock();
    if input.is_terminal() {
        complain("paste the token, then Enter and Ctrl-D:");
    }
    // One byte more than the longest, and white space: so much longer it is too long, however much longer.
    let most = u64::try_from(MAX_TOKEN_BYTES).unwrap_or(u64::MAX).saturating_mul(2);
    let mut bytes = Vec::new();
    input.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn fetch(loaded: &Loaded, token: &str) {
    let Ok(unverified) = UnverifiedToken::parse(token) else { return };
    let Ok((index, _)) = loaded.gate.authenticator().issuer_of(&unverified) else { return };
    for source in loaded.sources.iter().filter(|source| source.index == index) {
        if let Err(why) = source.once(&loaded.keys).await {
            complain(&format!("keys cannot be fetched: {why}"));
        }
    }
}
