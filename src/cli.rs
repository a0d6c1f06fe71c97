//! The commands.

mod admin;
pub mod certificate;
pub mod check;
pub mod demo;
pub mod explain;
pub mod healthcheck;
pub mod limits;
mod printed;
mod probe;
pub mod replay;
pub mod revocations;
pub mod schema;
pub mod serve;
pub mod test;
pub mod token;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::load::Flags;

/// Exit code for a configuration that cannot be used (`EX_USAGE` of sysexits.h).
pub const EXIT_CONFIG: u8 = 64;

/// Exit code for a start that failed, and for a health check that did.
pub const EXIT_FAILED: u8 = 1;

/// Forward-auth decision service: proxies ask it about every request before they forward it.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about)]
pub struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Answers proxies and shows its health, until SIGTERM.
    Serve(Configured),
    /// Checks the settings, the policy and the keys, and reports every mistake at once.
    Check(Configured),
    /// Explains a decision: which rules were considered, which demands are met, what would be answered.
    Explain(explain::Options),
    /// Runs tests of the policy: cases, each with the decision that is expected.
    Test(test::Options),
    /// Judges recorded requests again by another policy, and says which decisions would change.
    Replay(replay::Options),
    /// Starts a gate with a sample shop to try; with proxies in front if their programs are named.
    Demo(demo::Options),
    /// Asks a running gate whether it is ready: for containers without a shell.
    Healthcheck(healthcheck::Options),
    /// Makes a certificate for the gate, and the authority that its proxies are to believe.
    Certificate(certificate::Options),
    /// Revokes a token, a session, or all tokens of a subject, through a running gate.
    Revoke(revocations::Revoke),
    /// Lists what is revoked, or takes a revocation back.
    #[command(subcommand)]
    Revocations(revocations::Revocations),
    /// Looks at the buckets of limits, through a running gate.
    #[command(subcommand)]
    Limits(limits::Limits),
    /// Prints the JSON Schema of a file, for editors.
    Schema {
        /// Which file.
        #[arg(value_enum)]
        file: schema::File,
    },
    /// Looks at a token.
    #[command(subcommand)]
    Token(token::Token),
}

/// A configuration, with what the command line says over it.
#[derive(Debug, Args)]
pub struct Configured {
    /// The settings file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The address of the decision listener, over the file and the environment.
    #[arg(long, value_name = "ADDRESS")]
    pub decisions: Option<String>,
    /// The address of the admin listener, over the file and the environment.
    #[arg(long, value_name = "ADDRESS")]
    pub admin: Option<String>,
    /// The policy file, over the file and the environment.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<String>,
}

impl Configured {
    fn flags(&self) -> Flags {
        let flag = |path: &str, value: &Option<String>| Some((path.to_owned(), value.clone()?));
        [
            flag("listeners.decisions.address", &self.decisions),
            flag("listeners.admin.address", &self.admin),
            flag("policy", &self.policy),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Command {
    /// Runs the command.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.what {
            What::Serve(configured) => serve::run(&configured),
            What::Check(configured) => check::run(&configured),
            What::Explain(options) => explain::run(&options),
            What::Test(options) => test::run(&options),
            What::Replay(options) => replay::run(&options),
            What::Demo(options) => demo::run(&options),
            What::Healthcheck(options) => healthcheck::run(&options),
            What::Certificate(options) => certificate::run(&options),
            What::Revoke(options) => revocations::revoke(&options),
            What::Revocations(what) => revocations::revocations(&what),
            What::Limits(what) => limits::limits(&what),
            What::Schema { file } => schema::run(file),
            What::Token(token) => token::run(&token),
        }
    }
}

/// Prints to standard output. Whoever closed it does not want the rest.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).ok();
}

/// Prints to standard error.
fn complain(text: &str) {
    writeln!(std::io::stderr().lock(), "{text}").ok();
}
