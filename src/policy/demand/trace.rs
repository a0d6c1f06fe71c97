//! A demand checked in the open, for people who ask why.

use super::{Demand, Fault};
use crate::policy::Facts;

/// A demand with its outcome, and those below it with theirs: all of them, also where the decision did not need them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// The demand, as text.
    pub demand: String,
    /// How it ended.
    pub outcome: Result<(), Fault>,
    /// What it is made of.
    pub parts: Vec<Self>,
}

impl Demand {
    /// Checks it in the open. The outcome is that of [`Demand::check`], which decides.
    #[must_use]
    pub fn trace(&self, facts: &Facts<'_>) -> Traced {
        let parts = self.parts().iter().map(|demand| demand.trace(facts)).collect();
        Traced { demand: self.to_string(), outcome: self.check(facts), parts }
    }
}
