//! Envoy's ext_authz over HTTP: the client's own method and `path_prefix` + the client's own path,
//! under the client's own `Host`.
//!
//! | fact | from |
//! |---|---|
//! | method | the method of the check request |
//! | host | its `Host` |
//! | URI | its target behind the prefix |
//! | client address | `X-Forwarded-For`, set by `headers_to_add` |
//!
//! Where the prefix ends and the client's path begins, nothing tells: so no prefix may begin with another one.
//! `/envoy/validate/authn` would: a client asking for `/authn/x` behind the prefix `/envoy/validate` could choose the half check.
//! Hence `/envoy/authn` and `/envoy/authz`.

use super::{Absent, Check, Dialect, Field};
use crate::policy::{CanonicalPath, Host, Method, Reason, RequestFacts, Step};

/// The dialect of Envoy over HTTP.
#[derive(Debug)]
pub struct Envoy;

const PREFIXES: [(&str, Step); 3] =
    [("/envoy/validate", Step::Validate), ("/envoy/authn", Step::Authenticate), ("/envoy/authz", Step::Authorize)];

impl Dialect for Envoy {
    fn name(&self) -> &'static str {
        "envoy"
    }

    fn endpoint<'t>(&self, target: &'t str) -> Option<(Step, &'t str)> {
        PREFIXES.iter().find_map(|(prefix, step)| {
            let rest = target.strip_prefix(prefix)?;
            rest.starts_with('/').then_some((*step, rest))
        })
    }

    fn facts<'a>(&self, check: &Check<'a>) -> Result<RequestFacts<'a>, Reason> {
        check.fields.same_original_url(check.client_target.as_bytes())?;
        Ok(RequestFacts {
            rule_set: check.rule_set,
            preflight: None,
            method: Method::parse(check.method.as_bytes())?,
            host: Host::parse(check.fields.need(Field::Host)?)?,
            path: CanonicalPath::parse(check.client_target.as_bytes())?,
            client: check.fields.client(&check.peer)?,
        })
    }

    fn absent(&self) -> Absent {
        Absent::Removed
    }
}
