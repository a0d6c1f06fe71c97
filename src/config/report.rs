//! All that is wrong in the configuration, one line a mistake.

use std::fmt::{self, Display, Formatter};

use crate::mistake::Mistake;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In the file.
    File {
        /// Line, from 1.
        line: u64,
        /// Column in characters, from 1.
        column: u64,
    },
    /// In this environment variable.
    Environment(String),
    /// In the command line flag that sets this path.
    Flag(String),
}

impl Origin {
    /// Whether the value came on top of the file's.
    pub(crate) fn overrides(&self) -> bool {
        matches!(self, Self::Environment(_) | Self::Flag(_))
    }
}

/// The mistakes of one or several files, in the order of their positions, none twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    file: String,
    /// `None`: the file as a whole.
    origin: Option<Origin>,
    mistake: Mistake,
}

impl Report {
    /// A file that cannot be read at all.
    #[must_use]
    pub fn plain(file: impl Into<String>, message: impl Into<String>) -> Self {
        let mistake = Mistake::new("", message, "");
        Self { entries: vec![Entry { file: file.into(), origin: None, mistake }] }
    }

    pub(crate) fn new(file: &str, found: impl IntoIterator<Item = (Origin, Mistake)>) -> Self {
        let entry = |(origin, mistake)| Entry { file: file.to_owned(), origin: Some(origin), mistake };
        Self { entries: found.into_iter().map(entry).collect() }.sorted()
    }

    /// These mistakes and those of another report.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.entries.extend(other.entries);
        self.sorted()
    }

    /// The mistakes, without their positions.
    #[must_use]
    pub fn mistakes(&self) -> impl ExactSizeIterator<Item = &Mistake> {
        self.entries.iter().map(|entry| &entry.mistake)
    }

    /// How many mistakes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// By position; what an alias shows in two places (so with two paths) is one mistake.
    fn sorted(mut self) -> Self {
        fn place(entry: &Entry) -> (&str, &Option<Origin>, &str, &str) {
            (&entry.file, &entry.origin, &entry.mistake.what, &entry.mistake.remedy)
        }
        self.entries.sort_by(|a, b| place(a).cmp(&place(b)));
        self.entries.dedup_by(|a, b| place(a) == place(b));
        self
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.entries.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            Display::fmt(entry, f)?;
        }
        Ok(())
    }
}

impl Display for Entry {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.origin {
            None => write!(f, "{}: ", self.file),
            Some(Origin::File { line, column }) => write!(f, "{}:{line}:{column}: ", self.file),
            Some(Origin::Environment(name)) => write!(f, "environment {name}: "),
            Some(Origin::Flag(path)) => write!(f, "flag {path}: "),
        }?;
        f.write_str(&self.mistake.what)?;
        if self.mistake.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.mistake.remedy) }
    }
}

impl std::error::Error for Report {}
