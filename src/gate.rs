//! L2: the use case. Who asks, may they; which proxy asked and where things are kept, nobody here
//! knows.

pub mod audit;
pub mod authenticate;
pub mod cache;
pub mod ports;
mod turn;

pub use authenticate::{Authenticator, Kept, Toll};
pub use ports::{Introspection, Keys, Limiter, NoRevocations, Revocations};

use std::ops::ControlFlow;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::clock::UnixTime;
use crate::credential::Presented;
use crate::policy::document::Who;
use crate::policy::{Decision, Policy, Principal, Reason, Refusal, RequestFacts, Rule, Step};
use turn::{Purpose, Tallies, Turn};

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
    tallies: Tallies,
}

impl InForce {
    /// Of each limit its name, how often it let a request through, and how often it did not.
    pub fn limits(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.tallies.each()
    }
}

/// The gate: a policy, which can be exchanged, and the means to tell who is asking, and how much was asked before.
#[derive(Debug)]
pub struct Gate {
    in_force: ArcSwap<InForce>,
    authenticator: Authenticator,
    limiter: Arc<dyn Limiter>,
}

impl Gate {
    /// A gate for `policy`, which is called `version`.
    #[must_use]
    pub fn new(policy: Policy, version: &str, authenticator: Authenticator, limiter: Arc<dyn Limiter>) -> Self {
        let (kept, tallies) = (Kept::new(&policy.claims), Tallies::of(&policy));
        let in_force = ArcSwap::from_pointee(InForce { policy, version: version.into(), kept, tallies });
        Self { in_force, authenticator, limiter }
    }

    /// The same gate with other buckets.
    #[must_use]
    pub fn limited_by(self, limiter: Arc<dyn Limiter>) -> Self {
        Self { limiter, ..self }
    }

    /// The policy in force. Neither waits nor allocates; what is loaded stays as it is while others are put in force.
    #[must_use]
    pub fn in_force(&self) -> Guard<Arc<InForce>> {
        self.in_force.load()
    }

    /// Puts the policy of another gate in force, for every decision that begins from now on. Proofs in the cache serve on, if
    /// both policies read the same claims; buckets and counts go on where limits have the same names.
    pub fn exchange(&self, other: Self) {
        let mut new = other.in_force.into_inner();
        let old = self.in_force.load();
        if let Some(new) = Arc::get_mut(&mut new) {
            new.tallies.go_on_from(&old.tallies);
            if new.policy.claims == old.policy.claims {
                new.kept = old.kept.clone();
            }
        }
        self.in_force.store(new);
    }

    /// How the asker is told.
    #[must_use]
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// The buckets of limits.
    #[must_use]
    pub fn limiter(&self) -> &dyn Limiter {
        &*self.limiter
    }

    /// Decides under one policy. Both halves of a chain and the whole take this one way.
    ///
    /// # Errors
    /// The refusal.
    pub async fn decide(&self, in_force: &InForce, ask: &Ask<'_>, now: UnixTime) -> Decision {
        self.judge(in_force, ask, Purpose::Answer, now).await
    }

    /// Tells what would be decided, and takes nothing from any bucket.
    ///
    /// # Errors
    /// The refusal.
    pub async fn rehearse(&self, in_force: &InForce, ask: &Ask<'_>, now: UnixTime) -> Decision {
        self.judge(in_force, ask, Purpose::Explain, now).await
    }

    async fn judge(&self, in_force: &InForce, ask: &Ask<'_>, purpose: Purpose, now: UnixTime) -> Decision {
        match route(&in_force.policy, ask) {
            ControlFlow::Continue(rule) => {
                let mut turn = Turn::new(&*self.limiter, purpose, in_force, rule, ask, now);
                let principal = self.admit(rule, ask, in_force, &mut turn, now).await;
                let granted = |principal| rule.grant(ask.step, principal, &ask.facts, now, &in_force.policy.identity);
                turn.end(principal.and_then(granted))
            }
            // A preflight, which names nobody.
            ControlFlow::Break(Ok(grant)) => {
                let rule = Arc::clone(grant.rule());
                let mut turn = Turn::new(&*self.limiter, purpose, in_force, &rule, ask, now);
                let admitted = turn.preflight().await;
                turn.end(admitted.map(|()| grant))
            }
            ControlFlow::Break(Err(refusal)) => Err(refusal),
        }
    }

    /// Who asks, if that is known, once the limits let it through.
    async fn admit(
        &self,
        rule: &Arc<Rule>,
        ask: &Ask<'_>,
        in_force: &InForce,
        turn: &mut Turn<'_>,
        now: UnixTime,
    ) -> Result<Option<Arc<Principal>>, Refusal> {
        let Ask { presented, .. } = ask;
        let principal = match rule.access.who {
            Who::Anonymous => None,
            Who::Optional | Who::Authenticated => {
                match self.authenticator.principal(&rule.credentials, presented, &in_force.kept, turn, now).await {
                    Ok(principal) => Some(principal),
                    // Only who presents nothing is a stranger: what does not hold is refused (T-F7).
                    Err(Reason::NoCredential) if rule.access.who == Who::Optional => None,
                    Err(reason) => return Err(turn.refused(reason).await),
                }
            }
        };
        match &principal {
            Some(principal) => turn.principal(principal).await?,
            None => turn.stranger().await?,
        }
        Ok(principal)
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
