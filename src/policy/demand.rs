//! What a rule demands of a request and of who is asking. Checked at each request, never cached.

mod claim_test;
mod email;
mod freshness;
mod moments;
mod trace;

use std::fmt;

use ipnet::IpNet;

use super::{ClaimPath, Expression, Facts, Principal, Reason};

pub use claim_test::{ClaimTest, Pattern, Patterns};
pub use email::EmailDomains;
pub use freshness::Freshness;
pub use moments::{Hours, Span};
pub use trace::Traced;

/// One demand; a rule's demands must all be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// All of these.
    All(Vec<Demand>),
    /// At least one of these.
    Any(Vec<Demand>),
    /// Not this one.
    Not(Box<Demand>),
    /// Some of the principal's roles.
    Roles(Names),
    /// Some of its groups.
    Groups(Names),
    /// Some of its scopes.
    Scopes(Names),
    /// A claim that passes a test.
    Claim(ClaimPath, ClaimTest),
    /// A verified e-mail address in one of these domains.
    Email(EmailDomains),
    /// One of these issuers vouches for the principal, by their configured names.
    Issuers(Vec<Box<str>>),
    /// The principal has proven itself lately, or well enough.
    Fresh(Freshness),
    /// The client's address is in one of these networks.
    Networks(Vec<IpNet>),
    /// It is one of these times of the week.
    Hours(Vec<Hours>),
    /// It is between two moments.
    Within(Span),
    /// A CEL expression is true.
    When(Expression),
}

/// Some or all of a list of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// At least one of these.
    Any(Vec<Box<str>>),
    /// All of these.
    All(Vec<Box<str>>),
}

impl Names {
    fn met(&self, has: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Any(names) => names.iter().any(|name| has(name)),
            Self::All(names) => names.iter().all(|name| has(name)),
        }
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        match self {
            Self::Any(names) | Self::All(names) => names,
        }
    }
}

/// Why a demand does not let a request pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not met; its opposite is.
    Unmet(Reason),
    /// Nobody can tell whether it is met. So neither is its opposite, nor is an alternative asked.
    Broken(Reason),
}

impl Fault {
    /// The reason of the refusal.
    #[must_use]
    pub fn reason(self) -> Reason {
        match self {
            Self::Unmet(reason) | Self::Broken(reason) => reason,
        }
    }
}

impl Demand {
    /// Whether the demand is met. Of alternatives the first one's reason counts: it is the one that an operator writes first.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, facts: &Facts<'_>) -> Result<(), Fault> {
        let known = || facts.principal.ok_or(Fault::Unmet(Reason::NoCredential));
        let (met, otherwise) = match self {
            Self::All(all) => return all.iter().try_for_each(|demand| demand.check(facts)),
            Self::Any(any) => return any_of(any.iter().map(|demand| demand.check(facts))),
            Self::Not(demand) => return opposite(demand.check(facts)),
            Self::Roles(roles) => (roles.met(|role| known_has(facts, role, Principal::has_role)), Reason::MissingRole),
            Self::Groups(groups) => {
                (groups.met(|group| known_has(facts, group, Principal::has_group)), Reason::MissingGroup)
            }
            Self::Scopes(scopes) => {
                (scopes.met(|scope| known_has(facts, scope, Principal::has_scope)), Reason::MissingScope)
            }
            Self::Claim(path, test) => (test.passes(path.find(known()?.claims())), Reason::ClaimMismatch),
            Self::Email(domains) => (domains.hold(known()?.claims()), Reason::EmailMismatch),
            Self::Issuers(names) => {
                let issuer = known()?.issuer();
                (names.iter().any(|name| **name == *issuer), Reason::IssuerNotAllowed)
            }
            Self::Fresh(freshness) => {
                (freshness.holds(known()?.claims(), facts.now), Reason::InsufficientUserAuthentication)
            }
            Self::Networks(networks) => {
                (networks.iter().any(|network| network.contains(&facts.request.client)), Reason::ClientNotAllowed)
            }
            Self::Hours(hours) => (hours.iter().any(|hours| hours.hold(facts.now)), Reason::OutsideTimes),
            Self::Within(span) => (span.holds(facts.now), Reason::OutsideTimes),
            Self::When(expression) => {
                if expression.needs_principal() {
                    known()?;
                }
                let held = expression.holds(facts).map_err(|_| Fault::Broken(Reason::ConditionFailed))?;
                (held, Reason::ConditionFalse)
            }
        };
        if met {
            return Ok(());
        }
        // A stranger lacks not the role but a credential: signing in may help.
        Err(Fault::Unmet(if facts.principal.is_none() && self.is_about_principal() {
            Reason::NoCredential
        } else {
            otherwise
        }))
    }

    /// Whether it asks for something that only a principal can have.
    #[must_use]
    pub fn is_about_principal(&self) -> bool {
        match self {
            Self::Roles(_)
            | Self::Groups(_)
            | Self::Scopes(_)
            | Self::Claim(..)
            | Self::Email(_)
            | Self::Issuers(_)
            | Self::Fresh(_) => true,
            Self::When(expression) => expression.needs_principal(),
            Self::All(demands) | Self::Any(demands) => demands.iter().any(Self::is_about_principal),
            Self::Not(demand) => demand.is_about_principal(),
            Self::Networks(_) | Self::Hours(_) | Self::Within(_) => false,
        }
    }

    /// It and all below it.
    pub fn each(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        Box::new(std::iter::once(self).chain(self.parts().iter().flat_map(Self::each)))
    }

    /// What it is made of.
    fn parts(&self) -> &[Self] {
        if let Self::All(demands) | Self::Any(demands) = self {
            demands
        } else if let Self::Not(demand) = self {
            std::slice::from_ref(&**demand)
        } else {
            &[]
        }
    }

    /// The names of the claims that it and what is below it reads, beside roles, groups and scopes.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.each().flat_map(|demand| -> Vec<&str> {
            if let Self::Claim(path, _) = demand {
                path.first().into_iter().collect()
            } else if let Self::When(expression) = demand {
                expression.claims().collect()
            } else if let Self::Email(_) = demand {
                EmailDomains::CLAIMS.to_vec()
            } else if let Self::Fresh(_) = demand {
                Freshness::CLAIMS.to_vec()
            } else {
                Vec::new()
            }
        })
    }
}

fn known_has(facts: &Facts<'_>, name: &str, has: impl Fn(&Principal, &str) -> bool) -> bool {
    facts.principal.is_some_and(|principal| has(principal, name))
}

fn any_of(outcomes: impl Iterator<Item = Result<(), Fault>>) -> Result<(), Fault> {
    let mut first = Fault::Unmet(Reason::Excluded);
    for (i, outcome) in outcomes.enumerate() {
        match outcome {
            Ok(()) => return Ok(()),
            Err(broken @ Fault::Broken(_)) => return Err(broken),
            Err(unmet @ Fault::Unmet(_)) if i == 0 => first = unmet,
            Err(Fault::Unmet(_)) => {}
        }
    }
    Err(first)
}

fn opposite(outcome: Result<(), Fault>) -> Result<(), Fault> {
    match outcome {
        Ok(()) => Err(Fault::Unmet(Reason::Excluded)),
        Err(Fault::Unmet(_)) => Ok(()),
        Err(broken @ Fault::Broken(_)) => Err(broken),
    }
}

/// As an operator would write it on one line.
impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |f: &mut fmt::Formatter<'_>, noun: &str, names: &Names| match names {
            Names::Any(list) => write!(f, "{noun}: any of {}", list.join(", ")),
            Names::All(list) => write!(f, "{noun}: all of {}", list.join(", ")),
        };
        match self {
            Self::All(_) => f.write_str("all of"),
            Self::Any(_) => f.write_str("any of"),
            Self::Not(_) => f.write_str("not"),
            Self::Roles(list) => names(f, "roles", list),
            Self::Groups(list) => names(f, "groups", list),
            Self::Scopes(list) => names(f, "scopes", list),
            Self::Claim(path, test) => write!(f, "claim {path} {test}"),
            Self::Email(domains) => write!(f, "{domains}"),
            Self::Issuers(list) => write!(f, "issuers: {}", list.join(", ")),
            Self::Fresh(freshness) => write!(f, "{freshness}"),
            Self::Networks(list) => {
                write!(f, "networks: {}", list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            Self::Hours(list) => {
                write!(f, "times: {}", list.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
            Self::Within(span) => write!(f, "{span}"),
            Self::When(expression) => write!(f, "when: {}", expression.source()),
        }
    }
}

#[cfg(test)]
mod tests;
