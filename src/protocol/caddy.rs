//! Caddy's `forward_auth`: `GET` to the directive's `uri`, the client's request in `X-Forwarded-*`.
//!
//! | fact | from |
//! |---|---|
//! | method | `X-Forwarded-Method` |
//! | host | `X-Forwarded-Host` |
//! | URI | `X-Forwarded-Uri` |
//! | client address | `X-Forwarded-For` |
//!
//! Caddy appends the client's query to a `uri` without `?`: the endpoints ignore queries.

use super::{Absent, Check, Dialect, endpoint_below};
use crate::policy::{Reason, RequestFacts, Step};

/// The dialect of Caddy.
#[derive(Debug)]
pub struct Caddy;

impl Dialect for Caddy {
    fn name(&self) -> &'static str {
        "caddy"
    }

    fn endpoint<'t>(&self, target: &'t str) -> Option<(Step, &'t str)> {
        endpoint_below("/caddy/validate", target)
    }

    fn facts<'a>(&self, check: &Check<'a>) -> Result<RequestFacts<'a>, Reason> {
        check.forwarded_facts()
    }

    fn absent(&self) -> Absent {
        Absent::Empty
    }
}
