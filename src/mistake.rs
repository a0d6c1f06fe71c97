//! What is wrong in a configuration file, and what to write instead.

/// One thing that is wrong in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, as a path of keys: `rules[3].paths[1]`.
    pub at: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

impl Mistake {
    /// A mistake at the path `at`: `what` is wrong, `remedy` is what to write instead.
    pub fn new(at: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { at: at.into(), what: what.into(), remedy: remedy.into() }
    }
}
