//! Why a tree is not what a type wants, as a value.

use std::fmt::{self, Display, Formatter};

use serde::de::{Expected, Unexpected};

use super::inert::short;
use super::node::Step;

/// Why a node is not what a type wants.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The way to the node, innermost step first.
    pub(crate) trail: Vec<Step>,
    /// The last key itself is wrong, not its value.
    pub(crate) on_key: bool,
    pub(crate) reason: Reason,
}

#[derive(Debug)]
pub(crate) enum Reason {
    /// Another kind of value is wanted.
    Unfit {
        found: Found,
        wanted: String,
    },
    UnknownKey {
        key: String,
        known: &'static [&'static str],
    },
    UnknownChoice {
        found: String,
        known: &'static [&'static str],
    },
    Missing(&'static str),
    /// The type's own words.
    Other(String),
}

/// A value in words, with and without itself.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) shown: String,
    /// `None` if there is no value in the words.
    pub(crate) hidden: Option<&'static str>,
}

impl Fault {
    fn new(reason: Reason) -> Self {
        Self { trail: Vec::new(), on_key: false, reason }
    }

    pub(crate) fn under(mut self, step: Step) -> Self {
        self.trail.push(step);
        self
    }

    pub(crate) fn at_key(mut self, key: &str) -> Self {
        self.on_key = true;
        self.under(Step::Key(key.to_owned()))
    }
}

impl serde::de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(Reason::Other(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Reason::Unfit { found: Found::of(unexpected), wanted: expected.to_string() })
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        let found = Found { shown: format!("a list of {length}"), hidden: None };
        Self::new(Reason::Unfit { found, wanted: expected.to_string() })
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::new(Reason::UnknownChoice { found: variant.to_owned(), known })
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new(Reason::UnknownKey { key: key.to_owned(), known })
    }

    fn missing_field(key: &'static str) -> Self {
        Self::new(Reason::Missing(key))
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::new(Reason::Other(format!("the key `{key}` is given twice, under two names")))
    }
}

impl Display for Fault {
    /// For the trait only: people read `wording`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a wrong value")
    }
}

impl std::error::Error for Fault {}

impl Found {
    fn of(unexpected: Unexpected<'_>) -> Self {
        let other = unexpected.to_string();
        let (shown, hidden) = match unexpected {
            Unexpected::Bool(value) => (format!("`{value}`"), Some("`true` or `false`")),
            Unexpected::Unsigned(number) => (format!("the number {number}"), Some("a number")),
            Unexpected::Signed(number) => (format!("the number {number}"), Some("a number")),
            Unexpected::Float(number) => (format!("the number {number}"), Some("a number")),
            Unexpected::Char(letter) => (format!("the text \"{}\"", short(&letter.to_string())), Some("text")),
            Unexpected::Str(text) => (format!("the text \"{}\"", short(text)), Some("text")),
            Unexpected::Unit | Unexpected::Option => ("empty".to_owned(), None),
            Unexpected::Seq => ("a list".to_owned(), None),
            Unexpected::Map => ("a section".to_owned(), None),
            Unexpected::Bytes(_)
            | Unexpected::NewtypeStruct
            | Unexpected::Enum
            | Unexpected::UnitVariant
            | Unexpected::NewtypeVariant
            | Unexpected::TupleVariant
            | Unexpected::StructVariant
            | Unexpected::Other(_) => (other, Some("another kind of value")),
        };
        Self { shown, hidden }
    }
}
