//! One rule of the policy, and the only place where a [`Grant`] is made.

use std::sync::Arc;

use super::{ClaimPath, Decision, Demand, Grant, IdentityHeaders, Principal, Reason, Refusal};
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
pub enum Access {
    /// Anybody; credentials are not looked at and no identity is passed on.
    Anonymous,
    /// A principal that meets all demands; without demands, any principal.
    Principal(Vec<Demand>),
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
}

impl Rule {
    /// Applies the rule to `principal`, who is proven, or absent if the rule is anonymous.
    ///
    /// # Errors
    /// A [`Refusal`] if the rule demands a principal and there is none, if a demand is not met, or
    /// if the identity does not fit into headers. [`Step::Authenticate`] checks no demands.
    pub fn grant(
        self: &Arc<Self>,
        step: Step,
        principal: Option<Arc<Principal>>,
        headers: &IdentityHeaders,
    ) -> Decision {
        let (demands, principal) = match (&self.access, principal) {
            (Access::Anonymous, _) => return Ok(Grant::new(Arc::clone(self), step, None, Vec::new())),
            (Access::Principal(_), None) => return Err(Refusal::under(self, Reason::NoCredential)),
            (Access::Principal(demands), Some(principal)) => (demands, principal),
        };
        let refuse = |reason, principal| Refusal { reason, rule: Some(Arc::clone(self)), principal: Some(principal) };
        if step != Step::Authenticate
            && let Err(reason) = demands.iter().try_for_each(|demand| demand.check(&principal))
        {
            return Err(refuse(reason, principal));
        }
        let extras = headers.extras(&principal);
        if !IdentityHeaders::fit(&principal, &extras) {
            return Err(refuse(Reason::IdentityTooLarge, principal));
        }
        Ok(Grant::new(Arc::clone(self), step, Some(principal), extras))
    }

    /// What it demands of a principal.
    fn demands(&self) -> &[Demand] {
        match &self.access {
            Access::Anonymous => &[],
            Access::Principal(demands) => demands,
        }
    }

    /// The claims that its demands read, beside roles and scopes.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimPath> {
        self.demands().iter().filter_map(|demand| match demand {
            Demand::Claim(path, _) => Some(path),
            Demand::AnyScope(_) | Demand::AllScopes(_) | Demand::AnyRole(_) | Demand::AllRoles(_) => None,
        })
    }

    /// The scopes that would have sufficed, for the challenge of RFC 6750 section 3.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let scopes = self.demands().iter().flat_map(|demand| match demand {
            Demand::AnyScope(scopes) | Demand::AllScopes(scopes) => &scopes[..],
            Demand::AnyRole(_) | Demand::AllRoles(_) | Demand::Claim(..) => &[],
        });
        scopes.map(|scope| &**scope)
    }
}
