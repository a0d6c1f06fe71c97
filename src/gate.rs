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
use crate::policy::{Access, Decision, Policy, Refusal, RequestFacts, Step};

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
        let rule = self.policy.route(&ask.facts)?;
        let principal = match rule.access {
            Access::Anonymous => None,
            Access::Principal(_) => {
                let proven = self.authenticator.principal(&rule.credentials, &ask.presented, now).await;
                Some(proven.map_err(|reason| Refusal::under(rule, reason))?)
            }
        };
        rule.grant(ask.step, principal, &self.policy.identity)
    }
}
