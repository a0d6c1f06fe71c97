//! What is needed of a configuration to try its policy: no keys, certificates or stores are looked at.

use std::path::Path;
use std::sync::Arc;

use super::policy::Compiled;
use super::{Flags, Stage, open};
use crate::config::document::Document;
use crate::config::environment;
use crate::config::report::Report;
use crate::config::settings::SettingsFile;
use crate::policy::Policy;
use crate::token::mapping::Mapping;

/// A policy, and how the claims of each issuer are read.
#[derive(Debug)]
pub struct Rehearsal {
    /// The policy.
    pub policy: Policy,
    /// The issuers by their configured names.
    pub issuers: Vec<(Arc<str>, Mapping)>,
}

/// Opens and parses a YAML file.
///
/// # Errors
/// If it cannot be read, or is no YAML.
pub fn document(path: &Path) -> Result<Document, Report> {
    open(path).map(|(document, _)| document)
}

/// Reads the settings file, and the policy that it names or `policy`, which starts at the current folder.
///
/// # Errors
/// All mistakes of both files, as far as they are about the form of the settings, claims and the policy.
pub fn rehearsal(path: &Path, policy: Option<&Path>) -> Result<Rehearsal, Report> {
    let variables = environment::settings().map_err(|why| Report::plain("environment", why))?;
    let written = document(path)?.layered(&variables, &Flags::new())?;
    let mut stage = Stage { beside: path.parent().unwrap_or(Path::new("")).to_owned(), ..Stage::default() };
    let mut made = None;
    let settings = written.read_checked(|settings: &SettingsFile| {
        let issuers = settings.issuers.iter().enumerate().map(|(index, file)| {
            let mapping = stage.mapping(file.preset, &file.claims, &format!("issuers[{index}]"));
            (Arc::from(&*file.name), mapping)
        });
        let issuers: Vec<_> = issuers.collect();
        let read = match policy {
            None => stage.policy(settings),
            Some(policy) => {
                let unread = || Err(Report::plain(policy.display().to_string(), "it cannot be read"));
                Some(Stage::default().policy_at(policy, settings).unwrap_or_else(unread))
            }
        };
        made = Some((issuers, read));
        std::mem::take(&mut stage.mistakes)
    });
    match (settings, made) {
        (Ok(_), Some((issuers, Some(Ok(Compiled { policy, .. }))))) => Ok(Rehearsal { policy, issuers }),
        (Ok(_), Some((_, Some(Err(report))))) | (Err(report), None | Some((_, None | Some(Ok(_))))) => Err(report),
        (Err(report), Some((_, Some(Err(policy))))) => Err(report.merge(policy)),
        (Ok(_), _) => Err(Report::plain(path.display().to_string(), "the settings name no policy")),
    }
}
