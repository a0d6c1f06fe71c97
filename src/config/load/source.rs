//! Where a configuration came from, so that a running gate can read it again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::SHA256;

use super::{Flags, Loaded, MAX_FILE_BYTES, load, read};
use crate::config::document::Document;
use crate::config::report::Report;

/// What of a configuration a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The settings.
    Settings,
    /// The policy.
    Policy,
    /// Keys of an issuer.
    Keys,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 3] = [Self::Settings, Self::Policy, Self::Keys];

    /// Its name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Policy => "policy",
            Self::Keys => "keys",
        }
    }
}

pub(super) type Digest = [u8; 32];

/// The SHA-256 of what a file holds: times and links say less than content.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    let digest = aws_lc_rs::digest::digest(&SHA256, bytes);
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

/// A file as it was read. Its digest is never shown: it may be that of a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Seen {
    part: Part,
    path: PathBuf,
    digest: Digest,
}

/// The files of a configuration as they were read, and how to read them again.
#[derive(Clone)]
pub struct Source {
    settings: PathBuf,
    flags: Flags,
    document: Arc<Document>,
    files: Vec<Seen>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Seen {
    pub(super) fn new(part: Part, path: &Path, digest: Digest) -> Self {
        Self { part, path: path.to_owned(), digest }
    }
}

impl Source {
    pub(super) fn new(settings: &Path, flags: &Flags, document: Document, files: Vec<Seen>) -> Self {
        Self { settings: settings.to_owned(), flags: flags.clone(), document: Arc::new(document), files }
    }

    pub(super) fn report(&self, what: impl Into<String>) -> Report {
        Report::plain(self.settings.display().to_string(), what)
    }

    /// The files that a running gate reads again.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|seen| &*seen.path)
    }

    /// What they hold now, in their order; nothing where a file cannot be read.
    #[must_use]
    pub fn look(&self) -> Vec<Option<[u8; 32]>> {
        self.files.iter().map(|seen| Some(digest(&read(&seen.path, MAX_FILE_BYTES).ok()?))).collect()
    }

    /// The parts in which that is something else than what was read.
    #[must_use]
    pub fn changed(&self, look: &[Option<[u8; 32]>]) -> BTreeSet<Part> {
        let changed = self.files.iter().zip(look).filter(|(seen, now)| **now != Some(seen.digest));
        changed.map(|(seen, _)| seen.part).collect()
    }

    /// The parts in which a newer source has read something else, or something more or less.
    #[must_use]
    pub fn differing(&self, newer: &Self) -> BTreeSet<Part> {
        let one_way = |a: &Self, b: &Self| -> Vec<Part> {
            a.files.iter().filter(|seen| !b.files.contains(seen)).map(|seen| seen.part).collect()
        };
        one_way(self, newer).into_iter().chain(one_way(newer, self)).collect()
    }

    /// The settings that a newer source has otherwise, as dotted paths; `policy`, which can be another file at any time, is none of
    /// them.
    #[must_use]
    pub fn settings_differing(&self, newer: &Self) -> Vec<String> {
        let mut differing = self.document.differing(&newer.document);
        differing.retain(|path| path != "policy");
        differing
    }

    /// Takes over which files a newer source has read, and what they held. The settings stay those of the start.
    pub fn has_read(&mut self, newer: Self) {
        self.files = newer.files;
    }

    /// Reads all of it again.
    ///
    /// # Errors
    /// All mistakes of all files.
    pub fn load(&self) -> Result<Loaded, Report> {
        load(&self.settings, &self.flags)
    }
}
