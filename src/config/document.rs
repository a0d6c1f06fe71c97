//! A configuration file as a tree in which everything knows where it was written, so that all
//! mistakes of a file are reported at once, each with its place.
//!
//! Types that are read from it carry `#[serde(deny_unknown_fields)]`. Positions inside
//! `#[serde(flatten)]`, `untagged` and internally tagged enums are those of the whole section,
//! because serde copies the section first: prefer externally tagged enums.

mod fault;
mod inert;
mod node;
mod reading;
#[cfg(test)]
mod tests;
mod typed;
mod wording;
mod yaml;

use std::fmt::{self, Debug, Formatter};

use serde::de::DeserializeOwned;

pub(crate) use self::node::{Kind, Node, Step, spell};
use self::reading::Past;
use super::report::{Origin, Report};
use crate::mistake::Mistake;

/// A configuration file that was parsed, and perhaps overridden from elsewhere.
#[derive(Clone)]
pub struct Document {
    pub(crate) file: String,
    pub(crate) root: Node,
}

impl Document {
    /// Parses YAML; `file` is the name that reports use. An empty file is an empty section.
    ///
    /// # Errors
    /// The first thing that is no YAML (one is all there is: what follows cannot be understood).
    pub fn parse(file: &str, text: impl AsRef<[u8]>) -> Result<Self, Report> {
        match yaml::parse(text.as_ref()) {
            Ok(root) => Ok(Self { file: file.to_owned(), root }),
            Err((Some(origin), mistake)) => Err(Report::new(file, [(origin, mistake)])),
            Err((None, mistake)) => Err(Report::plain(file, format!("{}; {}", mistake.what, mistake.remedy))),
        }
    }

    /// Reads the document as a `T`.
    ///
    /// # Errors
    /// Every unknown key, missing key and wrong value (the first hundred).
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Report> {
        self.read_checked(|_| Vec::new())
    }

    /// Reads the document as a `T` and checks what it says. Mistakes of both kinds are reported together: `check` also sees a `T`
    /// with mistakes of form, where neutral values stand in their places; what it says of those is left out.
    ///
    /// # Errors
    /// Every mistake.
    pub fn read_checked<T: DeserializeOwned>(&self, check: impl FnOnce(&T) -> Vec<Mistake>) -> Result<T, Report> {
        let Past { value, tree, mut found } = reading::read_past::<T>(&self.root);
        let checked = value.as_ref().map(check).unwrap_or_default();
        let meant = checked.into_iter().filter(|mistake| tree.is_written_at(&mistake.at));
        found.extend(meant.map(|mistake| (self.locate(&mistake.at), mistake)));
        match value {
            Some(value) if found.is_empty() => Ok(value),
            Some(_) | None => Err(Report::new(&self.file, found)),
        }
    }

    /// Where the value at a path such as `rules[3].paths[1]` was written, or the nearest thing
    /// around it that exists.
    #[must_use]
    pub fn locate(&self, path: &str) -> Origin {
        self.root.nearest(path).origin.clone()
    }

    /// Where another document says something else: paths such as `issuers[0].audiences[1]`.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        self.root.differing(&other.root, &mut Vec::new(), &mut found);
        found
    }

    /// The place of the value at a path, for people: `FILE:LINE:COLUMN`.
    #[must_use]
    pub fn place(&self, path: &str) -> String {
        match self.locate(path) {
            Origin::File { line, column } => format!("{}:{line}:{column}", self.file),
            Origin::Environment(_) | Origin::Flag(_) => self.file.clone(),
        }
    }

    /// A report of mistakes found later, in what was read from this document.
    #[must_use]
    pub fn report(&self, mistakes: Vec<Mistake>) -> Report {
        let located = mistakes.into_iter().map(|mistake| (self.locate(&mistake.at), mistake));
        Report::new(&self.file, located)
    }
}

impl Debug for Document {
    /// Only the name: the tree holds secrets.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("file", &self.file).finish_non_exhaustive()
    }
}
