//! What a claim must be.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// A test of one claim.
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimTest {
    /// Exactly this scalar.
    Equals(Value),
    /// One of these scalars.
    In(Vec<Value>),
    /// A list with this scalar in it.
    Contains(Value),
    /// It is there and not null; or it is not.
    Exists(bool),
    /// A text that matches whole.
    Matches(Pattern),
}

// `serde_json::Value` lacks `Eq` only for the sake of floats; ours come from YAML and are finite.
impl Eq for ClaimTest {}

impl ClaimTest {
    /// Whether the claim, which may be absent, passes. What is absent passes only the test that it is.
    #[must_use]
    pub fn passes(&self, claim: Option<&Value>) -> bool {
        match self {
            Self::Equals(wanted) => claim == Some(wanted),
            Self::In(wanted) => claim.is_some_and(|claim| wanted.contains(claim)),
            Self::Contains(wanted) => claim.and_then(Value::as_array).is_some_and(|list| list.contains(wanted)),
            Self::Exists(wanted) => claim.is_some_and(|claim| !claim.is_null()) == *wanted,
            Self::Matches(pattern) => claim.and_then(Value::as_str).is_some_and(|text| pattern.matches(text)),
        }
    }
}

impl fmt::Display for ClaimTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(value) => write!(f, "equals {value}"),
            Self::In(values) => {
                write!(f, "in {}", values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            Self::Contains(value) => write!(f, "contains {value}"),
            Self::Exists(true) => f.write_str("exists"),
            Self::Exists(false) => f.write_str("does not exist"),
            Self::Matches(pattern) => write!(f, "matches {}", pattern.source),
        }
    }
}

/// A regular expression that a text matches whole: anchored at both ends here, since nobody forgets both anchors twice.
#[derive(Debug, Clone)]
pub struct Pattern {
    source: Arc<str>,
    /// Shared, since each clone of a [`Regex`] fills a cache of its own at its first use, which costs more than twenty lookups.
    regex: Arc<Regex>,
}

impl Pattern {
    /// Largest compiled form, in bytes. The engine is linear in the text whatever the pattern; this bounds its memory at
    /// ten times what a long pattern of names takes.
    const MAX_BYTES: usize = 256 * 1024;

    /// Compiles a pattern.
    ///
    /// # Errors
    /// What the engine says, on one line.
    pub fn compile(source: &str) -> Result<Self, String> {
        // The text alone must be a pattern, lest a lone `)` closes the group that anchors it.
        let last_line =
            |said: String| said.lines().last().unwrap_or("it cannot be read").trim_start_matches("error: ").to_owned();
        regex_syntax::parse(source).map_err(|error| last_line(error.to_string()))?;
        let regex = RegexBuilder::new(&format!("^(?:{source})$")).size_limit(Self::MAX_BYTES).build();
        let regex = regex.map_err(|error| last_line(error.to_string()))?;
        Ok(Self { source: source.into(), regex: Arc::new(regex) })
    }

    /// Whether all of `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// The patterns of one policy: each text is compiled once, since policies say `[0-9]+` in a thousand places.
#[derive(Debug, Default)]
pub struct Patterns(RefCell<HashMap<Box<str>, Pattern>>);

impl Patterns {
    /// The pattern of this text.
    ///
    /// # Errors
    /// As [`Pattern::compile`].
    pub fn compile(&self, source: &str) -> Result<Pattern, String> {
        if let Some(known) = self.0.borrow().get(source) {
            return Ok(known.clone());
        }
        let pattern = Pattern::compile(source)?;
        self.0.borrow_mut().insert(source.into(), pattern.clone());
        Ok(pattern)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}
