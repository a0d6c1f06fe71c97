//! The decision: a value, and a yes only with a proof.

use std::sync::Arc;

use super::limit::Metered;
use super::{Principal, Reason, Rule, Step};

/// Allowed with a [`Grant`], or refused.
pub type Decision = Result<Grant, Refusal>;

/// The proof that a rule admits a request. Only [`Rule::grant`] makes one: an answer that lets a
/// request pass cannot be written without it.
#[derive(Debug, Clone)]
pub struct Grant {
    rule: Arc<Rule>,
    step: Step,
    principal: Option<Arc<Principal>>,
    extras: Vec<Option<String>>,
    metered: Vec<Metered>,
}

impl Grant {
    /// Only for [`Rule::grant`], which has checked the demands.
    pub(in crate::policy) fn new(
        rule: Arc<Rule>,
        step: Step,
        principal: Option<Arc<Principal>>,
        extras: Vec<Option<String>>,
    ) -> Self {
        Self { rule, step, principal, extras, metered: Vec::new() }
    }

    /// The rule that admits.
    #[must_use]
    pub fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    /// Which question was asked.
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// Who is asking; nobody for an anonymous rule.
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_deref()
    }

    /// The same grant, which tells how full the buckets are that it took from.
    #[must_use]
    pub fn telling(self, metered: Vec<Metered>) -> Self {
        Self { metered, ..self }
    }

    /// How full the buckets are that it took from, if that is to be told.
    #[must_use]
    pub fn metered(&self) -> &[Metered] {
        &self.metered
    }

    /// The values of the additional identity headers, in the policy's order.
    pub(in crate::policy) fn extras(&self) -> &[Option<String>] {
        &self.extras
    }
}

/// A refusal: the reason, and as much as was known when it fell.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The rule that was being applied.
    pub rule: Option<Arc<Rule>>,
    /// Who was asking, if that was proven.
    pub principal: Option<Arc<Principal>>,
    /// The bucket that was empty, of [`Reason::RateLimited`].
    pub metered: Option<Box<Metered>>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, rule: None, principal: None, metered: None }
    }
}

impl Refusal {
    /// The refusal `reason` under `rule`.
    #[must_use]
    pub fn under(rule: &Arc<Rule>, reason: Reason) -> Self {
        Self { rule: Some(Arc::clone(rule)), ..reason.into() }
    }
}
