//! The binary: reads the command line, runs the command, ends with its exit code.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Both are needed before the first signature; a second installation would be a mistake of ours
    // that the first verified token reports.
    if jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default().is_err() {
        return ExitCode::from(portcullis::cli::EXIT_FAILED);
    }
    portcullis::cli::Command::parse().run()
}
