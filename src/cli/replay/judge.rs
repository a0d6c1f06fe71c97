//! What another policy says to a recorded request, as far as the record can tell.

use std::sync::Arc;

use super::line::Line;
use crate::policy::document::Who;
use crate::policy::identity::Template;
use crate::policy::{ClaimPath, Class, IdentityHeaders, Policy, Reason, Rule, Step};

/// What would come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This, by everything that it depends on.
    Judged(Result<(), Reason>, Option<String>),
    /// What came of it, because rule and demands are the same; what they looked at is not recorded.
    ByRule,
    /// Nobody can tell from the record.
    Unknown(Option<String>, &'static str),
}

const ASKER: &str = "roles, groups, scopes and claims were not recorded (audit.principal)";
const CLAIMS: &str = "the policy that decided did not read the claims that this one reads";
const KINDS: &str = "the rule takes other kinds of credential than the one that decided";
const PREFLIGHT: &str = "what a preflight announced was not recorded";
const STRANGER: &str = "nobody looked for a credential then";
const LIMITED: &str = "how much was asked before was not recorded";
const ANOTHER: &str = "the policy of the settings is not the one that decided";

/// Judges a line by `candidate`. `current` is the policy that the settings name; it is believed to have decided where it finds the
/// recorded rule.
pub(super) fn judge(line: &Line, candidate: &Policy, current: &Policy) -> Verdict {
    let Some(facts) = line.facts() else {
        // It was refused before any policy was asked.
        return Verdict::Judged(line.outcome, line.rule.clone());
    };
    let rule = match candidate.route(&facts) {
        Ok(rule) => rule,
        Err(_) if facts.method.as_str() == "OPTIONS" && [candidate, current].into_iter().any(takes_preflights) => {
            return Verdict::Unknown(None, PREFLIGHT);
        }
        Err(refusal) => return Verdict::Judged(Err(refusal.reason), None),
    };
    let id = Some(rule.id.to_string());
    let grant = |principal| {
        let decision = rule.grant(line.step, principal, &facts, line.at(), &candidate.identity);
        Verdict::Judged(decision.map(drop).map_err(|refusal| refusal.reason), id.clone())
    };
    let unknown = |why| Verdict::Unknown(id.clone(), why);
    if [Err(Reason::RateLimited), Err(Reason::LimitsUnavailable)].contains(&line.outcome) {
        return unknown(LIMITED);
    }
    if rule.access.who == Who::Anonymous {
        return grant(None);
    }
    let decided = current.route(&facts).ok().filter(|rule| line.rule.as_deref() == Some(&*rule.id));
    let looked = decided.filter(|decided| decided.access.who != Who::Anonymous);
    let has_other_kinds = looked.is_some_and(|decided| decided.credentials != rule.credentials);
    if let Some(asker) = &line.asker {
        let Some(decided) = looked else { return unknown(ANOTHER) };
        if has_other_kinds {
            return unknown(KINDS);
        }
        let same_headers = bounds(&candidate.identity) == bounds(&current.identity);
        return match &asker.recorded {
            Some(recorded) if read(rule, candidate).any(|claim| !recorded.holds(claim)) => unknown(CLAIMS),
            None if needs_record(rule, line, same_headers) && same_headers && decided.access == rule.access => {
                Verdict::ByRule
            }
            None if needs_record(rule, line, same_headers) => unknown(ASKER),
            Some(_) | None => grant(Some(Arc::new(asker.principal()))),
        };
    }
    match line.outcome {
        _ if has_other_kinds => unknown(KINDS),
        Err(Reason::NoCredential) if looked.is_some() => grant(None),
        Err(Reason::NoCredential) => unknown(ANOTHER),
        // A credential that did not hold, or of which nobody could tell, still does not.
        Err(reason) if is_about_credentials(reason) => Verdict::Judged(line.outcome, id.clone()),
        // A stranger who was let in, or met all but a demand.
        _ if looked.is_some_and(|decided| decided.access.who == Who::Optional) => grant(None),
        Ok(()) | Err(_) => unknown(STRANGER),
    }
}

/// The claims that the decision depends on: those of demands, and those of headers, which may be refused for what is in them.
fn read<'p>(rule: &'p Rule, policy: &'p Policy) -> impl Iterator<Item = &'p str> {
    rule.claims()
        .chain(policy.identity.extra.iter().flat_map(|(_, template)| template.claims()).filter_map(ClaimPath::first))
}

/// What an identity must be to stand in headers.
fn bounds(headers: &IdentityHeaders) -> (usize, bool, &[(Box<str>, Template)]) {
    (headers.max_value_bytes, headers.refuses_encoded, &headers.extra)
}

/// Whether it takes more than the asker's name to judge it.
fn needs_record(rule: &Rule, line: &Line, same_headers: bool) -> bool {
    let demands = line.step != Step::Authenticate && rule.demands().any(|demand| demand.is_about_principal());
    let headers = [Err(Reason::IdentityTooLarge), Err(Reason::IdentityUnsafe)];
    demands || !same_headers || headers.contains(&line.outcome)
}

/// Whether a request with OPTIONS may be a preflight that a rule answers; whose it was and what it announced is not recorded.
fn takes_preflights(policy: &Policy) -> bool {
    policy.rules().iter().any(|rule| rule.cors.is_some())
}

fn is_about_credentials(reason: Reason) -> bool {
    [Class::Unauthenticated, Class::AmbiguousCredential, Class::Unable].contains(&reason.class())
}

#[cfg(test)]
mod tests;
