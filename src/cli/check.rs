//! `portcullis check`: would this configuration start?

use std::process::ExitCode;

use super::{Configured, EXIT_CONFIG, complain, say};
use crate::config;

/// Reports every mistake, one line each, or what is configured.
#[must_use]
pub fn run(configured: &Configured) -> ExitCode {
    match config::load(&configured.config, &configured.flags()) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                complain(&format!("warning: {warning}"));
            }
            let issuers = loaded.gate.authenticator().issuers().count();
            say(&format!("{}: good: {} rules, {issuers} issuers", configured.config.display(), loaded.rules));
            ExitCode::SUCCESS
        }
        Err(report) => {
            complain(&report.to_string());
            ExitCode::from(EXIT_CONFIG)
        }
    }
}
