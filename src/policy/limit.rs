//! How much somebody may: token buckets, and what has one of its own.
//!
//! Here stand the numbers and the names of buckets. How full each is, a [`crate::gate::Limiter`] knows.

pub mod key;
pub mod rate;

use std::sync::Arc;

use super::ClaimPath;
pub use rate::{Level, Rate};

/// One limit of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its name: unique, stable, in metrics, audit lines and answers.
    pub name: Box<str>,
    /// Its place in the policy.
    pub index: usize,
    /// What has a bucket of its own: each combination of these.
    pub by: Vec<By>,
    /// Which requests it counts.
    pub counts: Counts,
}

/// What buckets are told apart by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// Issuer and subject.
    User,
    /// Issuer and tenant.
    Tenant,
    /// The tier.
    Tier,
    /// The client's address; of IPv6 its /64.
    Client,
    /// The rule.
    Rule,
    /// Issuer and a claim.
    Claim(ClaimPath),
}

/// Which requests a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// All.
    Requests,
    /// Those by which nobody is known.
    Unauthenticated,
    /// Those with a credential that does not hold.
    Failures,
}

/// How much, by tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rates {
    /// Of every tier that is not named.
    pub otherwise: Rate,
    /// Of tiers, by their names in the encoding of headers; none: the limit is not theirs.
    pub tiers: Vec<(Box<str>, Option<Rate>)>,
}

/// A limit as it applies to the requests of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The limit.
    pub limit: Arc<Limit>,
    /// How much. Numbers of the rule's own have buckets of their own.
    pub rates: Rates,
    /// Whether they are the rule's own.
    pub is_own: bool,
}

/// What an answer says of limits, beside `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitHeaders {
    /// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10).
    pub draft: bool,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
    pub x: bool,
    /// Whether an answer that lets a request pass says it, too.
    pub on_allow: bool,
}

/// A bucket that was looked at: how full it is then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metered {
    /// Whose it is.
    pub limit: Arc<Limit>,
    /// How full it is.
    pub level: Level,
}

impl Rates {
    /// How much who is of `tier`, encoded as in headers, may; none if all he wants.
    #[must_use]
    pub fn of(&self, tier: &str) -> Option<&Rate> {
        let named = self.tiers.iter().find(|(name, _)| **name == *tier);
        named.map_or(Some(&self.otherwise), |(_, rate)| rate.as_ref())
    }
}

impl Rates {
    /// Keeps those exempt who are under other ones, where these name no numbers for them.
    pub(in crate::policy) fn keep_exempt(&mut self, other: &Self) {
        for (tier, rate) in &other.tiers {
            if rate.is_none() && !self.tiers.iter().any(|(named, _)| named == tier) {
                self.tiers.push((tier.clone(), None));
            }
        }
    }
}

impl Applied {
    /// Whether it can be asked before anybody is known: neither its bucket nor its numbers depend on who it is. Nor is it everybody's
    /// together: strangers would use up what those share who are let in.
    #[must_use]
    pub fn is_early(&self) -> bool {
        let by = &self.limit.by;
        self.rates.tiers.is_empty()
            && by.contains(&By::Client)
            && by.iter().all(|by| matches!(by, By::Client | By::Rule))
    }
}
