//! Traefik's ForwardAuth: `GET` to a fixed address, the client's request in `X-Forwarded-*`.
//!
//! | fact | from |
//! |---|---|
//! | method | `X-Forwarded-Method` |
//! | host | `X-Forwarded-Host` |
//! | URI | `X-Forwarded-Uri` |
//! | client address | `X-Forwarded-For` |

use super::{Absent, Check, Dialect, Field};
use crate::policy::{CanonicalPath, Host, Method, Reason, RequestFacts, Step};

/// The dialect of Traefik.
#[derive(Debug)]
pub struct Traefik;

impl Dialect for Traefik {
    fn name(&self) -> &'static str {
        "traefik"
    }

    fn endpoint<'t>(&self, target: &'t str) -> Option<(Step, &'t str)> {
        let path = target.split_once('?').map_or(target, |(path, _query)| path);
        let step = match path {
            "/validate" => Step::Validate,
            "/validate/authn" => Step::Authenticate,
            "/validate/authz" => Step::Authorize,
            _ => return None,
        };
        Some((step, ""))
    }

    fn facts<'a>(&self, check: &Check<'a>) -> Result<RequestFacts<'a>, Reason> {
        let uri = check.fields.need(Field::ForwardedUri)?;
        check.fields.same_original_url(uri)?;
        Ok(RequestFacts {
            method: Method::parse(check.fields.need(Field::ForwardedMethod)?)?,
            host: Host::parse(check.fields.need(Field::ForwardedHost)?)?,
            path: CanonicalPath::parse(uri)?,
            client: check.fields.client(&check.peer)?,
        })
    }

    fn absent(&self) -> Absent {
        Absent::Empty
    }
}
