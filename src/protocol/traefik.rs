//! Traefik's ForwardAuth: `GET` to a fixed address, the client's request in `X-Forwarded-*`.
//!
//! | fact | from |
//! |---|---|
//! | method | `X-Forwarded-Method` |
//! | host | `X-Forwarded-Host` |
//! | URI | `X-Forwarded-Uri` |
//! | client address | `X-Forwarded-For` |

use super::{Absent, Check, Dialect, endpoint_below};
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

    fn facts<'a>(&self, check: &Check<'a>) -> Result<RequestFacts<'a>, Reason> {
        check.forwarded_facts()
    }

    fn absent(&self) -> Absent {
        Absent::Empty
    }
}
