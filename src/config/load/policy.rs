//! The policy and its file.

use std::path::Path;

use super::source::{Part, Seen, digest};
use super::{MAX_FILE_BYTES, Stage, read};
use crate::config::document::Document;
use crate::config::report::Report;
use crate::config::settings::SettingsFile;
use crate::policy::{Policy, PolicyFile};

/// A policy, and what is told of it.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) policy: Policy,
    pub(super) rules: usize,
    /// The first twelve digits of the file's SHA-256, as `sha256sum` prints it.
    pub(super) version: String,
}

impl Stage {
    /// The policy, or what is wrong in its file; none if there is no such file, which is a mistake of the settings.
    pub(super) fn policy(&mut self, settings: &SettingsFile) -> Option<Result<Compiled, Report>> {
        let path = self.path(&settings.policy);
        self.policy_at(&path, settings)
    }

    /// The same of another file than the settings name.
    pub(super) fn policy_at(&mut self, path: &Path, settings: &SettingsFile) -> Option<Result<Compiled, Report>> {
        let issuers: Vec<&str> = settings.issuers.iter().map(|issuer| issuer.name.as_str()).collect();
        let name = path.display().to_string();
        let bytes = match read(path, MAX_FILE_BYTES) {
            Ok(bytes) => bytes,
            Err(why) => {
                let remedy = "name the policy file; a relative path starts at the folder of the settings file";
                self.add("policy", format!("{name}: {why}"), remedy);
                return None;
            }
        };
        let digest = digest(&bytes);
        self.files.push(Seen::new(Part::Policy, path, digest));
        let mut compiled = None;
        let file = Document::parse(&name, bytes).and_then(|document| {
            document.read_checked(|file: &PolicyFile| match Policy::compile(file) {
                Ok(policy) => {
                    let mistakes = policy.unknown_issuers(&issuers);
                    let version = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
                    compiled = Some(Compiled { policy, rules: file.rules.len(), version });
                    mistakes
                }
                Err(mistakes) => mistakes,
            })
        });
        match (file, compiled) {
            (Ok(_), Some(compiled)) => Some(Ok(compiled)),
            (Ok(_), None) => None,
            (Err(report), _) => Some(Err(report)),
        }
    }
}
