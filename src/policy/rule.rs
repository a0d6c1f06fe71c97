//! One rule of the policy, and the only place where a [`Grant`] is made.

use std::sync::Arc;

use super::cors::{Cors, Preflight};
use super::demand::Freshness;
use super::document::Who;
use super::limit::Applied;
use super::{Decision, Demand, Facts, Grant, IdentityHeaders, Principal, Reason, Refusal, RequestFacts};
use crate::clock::UnixTime;
use crate::credential::CredentialKind;

/// Which question the proxy asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Who is it, and may they: the whole decision.
    Validate,
    /// Who is it: the first half of a chain, never enough alone.
    Authenticate,
    /// May they: the second half; it verifies the credential itself.
    Authorize,
}

impl Step {
    /// Its name in the audit line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Authenticate => "authn",
            Self::Authorize => "authz",
        }
    }
}

/// Whom a rule lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// What is asked of a credential.
    pub who: Who,
    /// What else must be met; all of these.
    pub demands: Vec<Demand>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name: unique, stable, in every audit line.
    pub id: Box<str>,
    /// Whom it lets in.
    pub access: Access,
    /// The kinds of credential that it takes, the preferred one first. Others are ignored.
    pub credentials: Vec<CredentialKind>,
    /// What who is refused by it is told.
    pub message: Option<Box<str>>,
    /// Who may ask across origins.
    pub cors: Option<Cors>,
    /// The limits that its requests are under.
    pub limits: Vec<Applied>,
}

impl Rule {
    /// Applies the rule to a request at `now`, by `principal`, who is proven, or absent if there is none.
    ///
    /// # Errors
    /// A [`Refusal`] if the rule demands a principal and there is none, if a demand is not met, or
    /// if the identity does not fit into headers. [`Step::Authenticate`] checks no demands.
    pub fn grant(
        self: &Arc<Self>,
        step: Step,
        principal: Option<Arc<Principal>>,
        request: &RequestFacts<'_>,
        now: UnixTime,
        headers: &IdentityHeaders,
    ) -> Decision {
        // Of a rule that looks at no credential nobody learns who presented one.
        let principal = principal.filter(|_| self.access.who != Who::Anonymous);
        if principal.is_none() && self.access.who == Who::Authenticated {
            return Err(Refusal::under(self, Reason::NoCredential));
        }
        let facts = Facts { request, principal: principal.as_deref(), now };
        if step != Step::Authenticate
            && let Err(fault) = self.access.demands.iter().try_for_each(|demand| demand.check(&facts))
        {
            return Err(Refusal { principal, ..Refusal::under(self, fault.reason()) });
        }
        let Some(principal) = principal else {
            return Ok(Grant::new(Arc::clone(self), step, None, Vec::new()));
        };
        let extras = headers.extras(&principal);
        if let Err(reason) = headers.fit(&principal, &extras) {
            return Err(Refusal { principal: Some(principal), ..Refusal::under(self, reason) });
        }
        Ok(Grant::new(Arc::clone(self), step, Some(principal), extras))
    }

    /// Answers a preflight by the rule of the request that it announces. It names nobody, and so demands nothing but what `cors`
    /// says; the request that follows is judged in full.
    ///
    /// # Errors
    /// [`Reason::NoRule`] if the rule takes none, as if it were not there; [`Reason::CorsRefused`].
    pub fn grant_preflight(self: &Arc<Self>, step: Step, preflight: &Preflight<'_>) -> Decision {
        let cors = self.cors.as_ref().ok_or(Reason::NoRule)?;
        cors.check(preflight).map_err(|reason| Refusal::under(self, reason))?;
        Ok(Grant::new(Arc::clone(self), step, None, Vec::new()))
    }

    /// Its demands, and those that they are made of.
    pub fn demands(&self) -> impl Iterator<Item = &Demand> {
        self.access.demands.iter().flat_map(Demand::each)
    }

    /// The names of the claims that its demands read, beside roles, groups and scopes.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.access.demands.iter().flat_map(Demand::claims)
    }

    /// The scopes that would have sufficed, for the challenge of RFC 6750 section 3.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let scopes = self.demands().filter_map(|demand| {
            let Demand::Scopes(scopes) = demand else { return None };
            Some(scopes.names())
        });
        scopes.flatten().map(|scope| &**scope)
    }

    /// What it demands of a sign-in, for the challenge of RFC 9470.
    #[must_use]
    pub fn freshness(&self) -> Option<&Freshness> {
        self.demands().find_map(|demand| {
            let Demand::Fresh(freshness) = demand else { return None };
            Some(freshness)
        })
    }
}
