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
            let count = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
            let (rules, issuers) = (loaded.rules, loaded.gate.authenticator().issuers().count());
            let (rules, issuers) = (count(rules, "rule"), count(issuers, "issuer"));
            let limits = loaded.gate.in_force().policy.limits.len();
            let limits = if limits == 0 { String::new() } else { format!(", {}", count(limits, "limit")) };
            say(&format!("{}: good: {rules}, {issuers}{limits}", configured.config.display()));
            ExitCode::SUCCESS
        }
        Err(report) => {
            complain(&report.to_string());
            ExitCode::from(EXIT_CONFIG)
        }
    }
}
