//! What a proxy would be answered.

use crate::policy::{Decision, Policy, Reason, RequestFacts};
use crate::protocol::{self, Asker, Fields, Reply, reply};

/// A decision and its answer to a proxy that asks like Traefik.
#[derive(Debug)]
pub struct Answer {
    /// Whether the request may pass.
    pub is_allowed: bool,
    /// The code of the reason, or `allowed`.
    pub reason: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The rule that was applied.
    pub rule: Option<String>,
    /// The headers but for the request's id, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Answer {
    /// The answer under `policy` to a request with these header lines and, if it could be read, facts.
    #[must_use]
    pub fn of(policy: &Policy, decision: &Decision, fields: &Fields<'_>, facts: Option<&RequestFacts<'_>>) -> Self {
        let (rule, reason) = match decision {
            Ok(grant) => (Some(grant.rule()), None),
            Err(refusal) => (refusal.rule.as_ref(), Some(refusal.reason)),
        };
        let reply = Reply::new(
            decision,
            policy,
            None,
            &Asker { fields, facts, uri: protocol::raw_uri("", fields), request_id: "" },
        );
        let headers = reply.headers.iter().filter(|(name, _)| *name != reply::REQUEST_ID);
        Self {
            is_allowed: decision.is_ok(),
            reason: reason.map_or(ALLOWED, Reason::code),
            meaning: reason.map_or("a rule admits the request", Reason::meaning),
            status: reply.status,
            rule: rule.map(|rule| rule.id.to_string()),
            headers: headers.map(|(name, value)| ((*name).to_owned(), value.to_string())).collect(),
        }
    }

    /// Its decision in a word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        if self.is_allowed { "allow" } else { "deny" }
    }
}

/// What stands for a reason where a request is allowed, as in the audit line.
pub const ALLOWED: &str = "allowed";
