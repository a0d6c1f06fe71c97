//! Traefik's ForwardAuth: `GET` to a fixed address, the client's request in `X-Forwarded-*`.
//!
//! | fact | from |
//! |---|---|
//! | method | `X-Forwarded-Method` |
//! | host | `X-Forwarded-Host` |
//! | URI | `X-Forwarded-Uri` |
//! | client address | `X-Forwarded-For` |

use super::{Absent, Check, Dialect, Field, endpoint_below};
use crate::policy::{Reason, RequestFacts, Step};

/// The dialect of Traefik.
#[derive(Debug)]
pub struct Traefik;

impl Dialect for Traefik {
    fn name(&self) -> &'static str {
        "traefik"
    }

    fn endpoint<'t>(&self, target: &'t str) -> Option<(Step, &'t str)> {
        endpoint_below("/validate", target)
    }

    /// `?policy=NAME`: the query of the middleware's own address.
    fn rule_set<'t>(&self, target: &'t str) -> Option<&'t str> {
        let mut named = query(target)?.split('&').filter_map(|pair| pair.strip_prefix("policy="));
        // Named twice it is the name of none.
        named.next().map(|name| if named.next().is_some() { "" } else { name })
    }

    fn facts<'a>(&self, check: &Check<'a>) -> Result<RequestFacts<'a>, Reason> {
        let facts = check.forwarded_facts()?;
        // Traefik never copies the client's query. Another proxy that asks at this address may: then it is the client that names the
        // rule set, and both queries are the same.
        let copied = || {
            let uri = check.fields.need(Field::ForwardedUri).ok().and_then(|uri| str::from_utf8(uri).ok());
            uri.and_then(query).is_some_and(|own| query(check.target) == Some(own))
        };
        if check.rule_set.is_some() && copied() { Err(Reason::ConflictingUri) } else { Ok(facts) }
    }

    fn absent(&self) -> Absent {
        Absent::Empty
    }
}

fn query(target: &str) -> Option<&str> {
    target.split_once('?').map(|(_, query)| query)
}
