//! nginx's `auth_request`: a subrequest that says nothing of the client's request by itself; the location sets the headers.
//!
//! | fact | from |
//! |---|---|
//! | method | `X-Forwarded-Method`, set to `$request_method` |
//! | host | `X-Forwarded-Host`, set to `$http_host` |
//! | URI | `X-Forwarded-Uri`, set to `$request_uri` |
//! | client address | `X-Forwarded-For`, set to `$remote_addr` |
//!
//! nginx knows 2xx, 401 and 403, and makes 500 of everything else. So every other refusal is told as 403, with the status that it
//! is in `X-Portcullis-Status` and its reason in `X-Portcullis-Reason`, for `auth_request_set`.

use super::{Absent, Check, Dialect, Statuses, endpoint_below};
use crate::policy::{Reason, RequestFacts, Step};

/// The dialect of nginx.
#[derive(Debug)]
pub struct Nginx;

impl Dialect for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn endpoint<'t>(&self, target: &'t str) -> Option<(Step, &'t str)> {
        endpoint_below("/nginx/validate", target)
    }

    fn facts<'a>(&self, check: &Check<'a>) -> Result<RequestFacts<'a>, Reason> {
        check.forwarded_facts()
    }

    fn absent(&self) -> Absent {
        Absent::Empty
    }

    fn statuses(&self) -> Statuses {
        Statuses::UnauthorizedAndForbidden
    }
}
