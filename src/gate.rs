//! L2: the use case. Who asks, may they; which proxy asked and where things are kept, nobody here
//! knows.

pub mod audit;
pub mod authenticate;
pub mod cache;
pub mod ports;

pub use authenticate::Authenticator;
pub use ports::{Introspection, Keys, NoRevocations, Revocations};

use crate::clock::UnixTime;
use crate::credential::Presented;
use crate::policy::document::Who;
use crate::policy::{Decision, Policy, Reason, Refusal, RequestFacts, Step};

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

/// The gate: a policy and the means to tell who is asking.
#[derive(Debug)]
pub struct Gate {
    policy: Policy,
    authenticator: Authenticator,
}

impl Gate {
    /// A gate for `policy`; `authenticator` keeps the claims that it reads.
    #[must_use]
    pub fn new(policy: Policy, mut authenticator: Authenticator) -> Self {
        authenticator.keep_claims(&policy.claims);
        Self { policy, authenticator }
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How the asker is told.
    #[must_use]
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// Decides. Both halves of a chain and the whole take this one way.
    ///
    /// # Errors
    /// The refusal.
    pub async fn decide(&self, ask: &Ask<'_>, now: UnixTime) -> Decision {
        let rule = match (self.policy.route(&ask.facts), &ask.facts.preflight) {
            // A rule that names OPTIONS is asked first.
            (Err(Refusal { reason: Reason::NoRule, .. }), Some(preflight)) => {
                return self.policy.route_announced(&ask.facts, preflight)?.grant_preflight(ask.step, preflight);
            }
            (rule, _) => rule?,
        };
        let principal = match rule.access.who {
            Who::Anonymous => None,
            Who::Optional | Who::Authenticated => {
                match self.authenticator.principal(&rule.credentials, &ask.presented, now).await {
                    Ok(principal) => Some(principal),
                    // Only who presents nothing is a stranger: what does not hold is refused (T-F7).
                    Err(Reason::NoCredential) if rule.access.who == Who::Optional => None,
                    Err(reason) => return Err(Refusal::under(rule, reason)),
                }
            }
        };
        rule.grant(ask.step, principal, &ask.facts, now, &self.policy.identity)
    }
}
