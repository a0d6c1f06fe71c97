//! L2: the use case. Who asks, may they; which proxy asked and where things are kept, nobody here
//! knows.

pub mod audit;
pub mod authenticate;
pub mod cache;
pub mod ports;

pub use authenticate::{Authenticator, Kept};
pub use ports::{Introspection, Keys, NoRevocations, Revocations};

use std::ops::ControlFlow;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::clock::UnixTime;
use crate::credential::Presented;
use crate::policy::document::Who;
use crate::policy::{Decision, Policy, Reason, Refusal, RequestFacts, Rule, Step};

/// What one decision is about.
#[derive(Debug)]
pub struct Ask<'a> {
    /// Which question.
    pub step: Step,
    /// What the client wants.
    pub facts: RequestFacts<'a>,
    /// What it presented.
    pub presented: Presented<'a>,
}

/// A policy in force. Whoever decides loads one, once, and takes everything from it: the rule, the answer and its headers.
#[derive(Debug)]
pub struct InForce {
    /// The policy.
    pub policy: Policy,
    /// Which one it is, for people.
    pub version: Box<str>,
    kept: Kept,
}

/// The gate: a policy, which can be exchanged, and the means to tell who is asking.
#[derive(Debug)]
pub struct Gate {
    in_force: ArcSwap<InForce>,
    authenticator: Authenticator,
}

impl Gate {
    /// A gate for `policy`, which is called `version`.
    #[must_use]
    pub fn new(policy: Policy, version: &str, authenticator: Authenticator) -> Self {
        let kept = Kept::new(&policy.claims);
        Self { in_force: ArcSwap::from_pointee(InForce { policy, version: version.into(), kept }), authenticator }
    }

    /// The policy in force. Neither waits nor allocates; what is loaded stays as it is while others are put in force.
    #[must_use]
    pub fn in_force(&self) -> Guard<Arc<InForce>> {
        self.in_force.load()
    }

    /// Puts the policy of another gate in force, for every decision that begins from now on. Proofs in the cache serve on, if
    /// both policies read the same claims.
    pub fn exchange(&self, other: Self) {
        let mut new = other.in_force.into_inner();
        let old = self.in_force.load();
        if let Some(new) = Arc::get_mut(&mut new).filter(|new| new.policy.claims == old.policy.claims) {
            new.kept = old.kept.clone();
        }
        self.in_force.store(new);
    }

    /// How the asker is told.
    #[must_use]
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// Decides under one policy. Both halves of a chain and the whole take this one way.
    ///
    /// # Errors
    /// The refusal.
    pub async fn decide(&self, in_force: &InForce, ask: &Ask<'_>, now: UnixTime) -> Decision {
        let InForce { policy, kept, .. } = in_force;
        let rule = match route(policy, ask) {
            ControlFlow::Continue(rule) => rule,
            ControlFlow::Break(decision) => return decision,
        };
        let principal = match rule.access.who {
            Who::Anonymous => None,
            Who::Optional | Who::Authenticated => {
                match self.authenticator.principal(&rule.credentials, &ask.presented, kept, now).await {
                    Ok(principal) => Some(principal),
                    // Only who presents nothing is a stranger: what does not hold is refused (T-F7).
                    Err(Reason::NoCredential) if rule.access.who == Who::Optional => None,
                    Err(reason) => return Err(Refusal::under(rule, reason)),
                }
            }
        };
        rule.grant(ask.step, principal, &ask.facts, now, &policy.identity)
    }
}

/// What comes before anybody is asked who he is: the rule, or the decision if it takes nobody.
pub fn route<'p>(policy: &'p Policy, ask: &Ask<'_>) -> ControlFlow<Decision, &'p Arc<Rule>> {
    match (policy.route(&ask.facts), &ask.facts.preflight) {
        // A rule that names OPTIONS is asked first.
        (Err(Refusal { reason: Reason::NoRule, .. }), Some(preflight)) => {
            let rule = policy.route_announced(&ask.facts, preflight);
            ControlFlow::Break(rule.and_then(|rule| rule.grant_preflight(ask.step, preflight)))
        }
        (Ok(rule), _) => ControlFlow::Continue(rule),
        (Err(refusal), _) => ControlFlow::Break(Err(refusal)),
    }
}

#[cfg(test)]
mod tests;
