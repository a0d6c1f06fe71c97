//! `portcullis schema`: what the files may say, for editors.

use std::process::ExitCode;

use clap::ValueEnum;

use super::say;
use crate::config::schema;

/// Which file.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum File {
    /// The settings file.
    Settings,
    /// The policy file.
    Policy,
}

/// Prints the schema of one file.
#[must_use]
pub fn run(file: File) -> ExitCode {
    let schema = match file {
        File::Settings => schema::settings(),
        File::Policy => schema::policy(),
    };
    say(&format!("{schema:#}"));
    ExitCode::SUCCESS
}
