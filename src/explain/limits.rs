//! The limits that a request is under.

use std::fmt::{self, Display, Formatter};

use serde_json::{Value, json};

use crate::policy::limit::{By, Counts};
use crate::policy::{Policy, Principal, Rule};

/// A limit, and what it is for this request.
#[derive(Debug)]
pub(super) struct UnderLimit {
    limit: String,
    by: Vec<String>,
    counts: &'static str,
    /// How much; none if its tier is exempt.
    rate: Option<String>,
    tier: String,
}

impl UnderLimit {
    /// The limits of the requests of `rule` by `principal`.
    pub(super) fn each(rule: &Rule, principal: Option<&Principal>, policy: &Policy) -> Vec<Self> {
        let tier = principal.and_then(Principal::wire_tier).unwrap_or(&policy.identity.default_tier);
        let each = rule.limits.iter().map(|applied| Self {
            limit: applied.limit.name.to_string(),
            by: applied.limit.by.iter().map(word).collect(),
            counts: match applied.limit.counts {
                Counts::Requests => "requests",
                Counts::Unauthenticated => "unauthenticated",
                Counts::Failures => "failures",
            },
            rate: applied.rates.of(tier).map(ToString::to_string),
            tier: tier.to_owned(),
        });
        each.collect()
    }

    pub(super) fn json(&self) -> Value {
        json!({"limit": self.limit, "by": self.by, "counts": self.counts, "rate": self.rate})
    }
}

impl Display for UnderLimit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:<10} {} by {}: ", self.limit, self.counts, self.by.join(", "))?;
        match &self.rate {
            Some(rate) => write!(f, "{rate}"),
            None => write!(f, "exempt, as of tier {}", self.tier),
        }
    }
}

fn word(by: &By) -> String {
    match by {
        By::User => "user".to_owned(),
        By::Tenant => "tenant".to_owned(),
        By::Tier => "tier".to_owned(),
        By::Client => "client".to_owned(),
        By::Rule => "rule".to_owned(),
        By::Claim(path) => format!("claim:{path}"),
    }
}
