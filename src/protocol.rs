//! L3: how each proxy asks and wants to be answered. A dialect is one small file and one entry in
//! [`DIALECTS`]; mounting, metrics and the parity test iterate that slice.

pub mod asker;
pub mod caddy;
pub mod envoy;
pub mod forwarded;
pub mod nginx;
pub mod peer;
mod rate;
pub mod reply;
pub mod traefik;

use crate::credential::Presented;
use crate::gate::Ask;
use crate::policy::{CanonicalPath, Host, Method, Reason, RequestFacts, Step};

pub use asker::Asker;
pub use forwarded::{Field, Fields};
pub use peer::{TrustedPeer, TrustedProxies};
pub use reply::Reply;

/// Every dialect there is.
pub static DIALECTS: &[&dyn Dialect] = &[&traefik::Traefik, &envoy::Envoy, &nginx::Nginx, &caddy::Caddy];

/// How a dialect tells the upstream that an identity header has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The answer carries the header, empty: the proxy overwrites the client's copy with it.
    Empty,
    /// The answer names the header for removal.
    Removed,
}

/// Which statuses of a refusal a proxy passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statuses {
    /// All of them.
    All,
    /// 401 and 403 only; the others are told as 403, the status and the reason in headers of their own.
    UnauthorizedAndForbidden,
}

/// A proxy's way of asking.
pub trait Dialect: std::fmt::Debug + Sync {
    /// Its name in logs and metrics.
    fn name(&self) -> &'static str;

    /// The step that a request target asks for, and the rest of the target that belongs to the
    /// client; none if the target is not this dialect's.
    fn endpoint<'t>(&self, target: &'t str) -> Option<(Step, &'t str)>;

    /// The rule set that the target names beside [`RULE_SET`], where its query is surely the operator's.
    fn rule_set<'t>(&self, _target: &'t str) -> Option<&'t str> {
        None
    }

    /// The facts, each from exactly one place.
    ///
    /// # Errors
    /// The reason, if one is missing, doubled or malformed.
    fn facts<'a>(&self, check: &Check<'a>) -> Result<RequestFacts<'a>, Reason>;

    /// How a header without a value is told.
    fn absent(&self) -> Absent;

    /// Which statuses the proxy passes on.
    fn statuses(&self) -> Statuses {
        Statuses::All
    }
}

/// A check request as it arrived, whatever the transport.
#[derive(Debug)]
pub struct Check<'a> {
    /// The proof that the peer may state forwarded facts.
    pub peer: TrustedPeer<'a>,
    /// The rule set that it names.
    pub rule_set: Option<&'a str>,
    /// Its own method.
    pub method: &'a str,
    /// Its own target.
    pub target: &'a str,
    /// The part of it that belongs to the client, as [`Dialect::endpoint`] tells.
    pub client_target: &'a str,
    /// The header lines that some dialect reads.
    pub fields: &'a Fields<'a>,
}

impl<'a> Check<'a> {
    /// The facts of the dialects that state them in `X-Forwarded-Method`, `-Host`, `-Uri` and `-For`.
    fn forwarded_facts(&self) -> Result<RequestFacts<'a>, Reason> {
        let uri = self.fields.need(Field::ForwardedUri)?;
        self.fields.same_original_url(uri)?;
        Ok(RequestFacts {
            rule_set: self.rule_set,
            preflight: None,
            method: Method::parse(self.fields.need(Field::ForwardedMethod)?)?,
            host: Host::parse(self.fields.need(Field::ForwardedHost)?)?,
            path: CanonicalPath::parse(uri)?,
            client: self.fields.client(&self.peer)?,
        })
    }
}

/// The endpoints of the dialects that ask at a fixed address: `base`, and the two halves below it. The query is the operator's
/// or, behind some proxies, the client's, and says nothing.
fn endpoint_below<'t>(base: &str, target: &'t str) -> Option<(Step, &'t str)> {
    let path = target.split_once('?').map_or(target, |(path, _query)| path);
    let step = match path.strip_prefix(base)? {
        "" => Step::Validate,
        "/authn" => Step::Authenticate,
        "/authz" => Step::Authorize,
        _ => return None,
    };
    Some((step, ""))
}

/// With what the target begins if the proxy names a rule set: `/policy/NAME` before the address of any dialect. It stands before the
/// part that may be the client's; the query would not do, which Caddy copies from the client's request if the operator writes none.
const RULE_SET: &str = "/policy/";

/// What a request target asks for.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'t> {
    /// In whose way.
    pub dialect: &'static dyn Dialect,
    /// Which question.
    pub step: Step,
    /// By which rules.
    pub rule_set: Option<&'t str>,
    /// The part of the target that belongs to the client.
    pub client_target: &'t str,
}

impl<'t> Endpoint<'t> {
    /// Reads a request target.
    #[must_use]
    pub fn of(target: &'t str) -> Option<Self> {
        let (set, address) = match target.strip_prefix(RULE_SET) {
            None => (None, target),
            Some(rest) => {
                let end = rest.find('/')?;
                (rest.get(..end), rest.get(end..)?)
            }
        };
        DIALECTS.iter().find_map(|dialect| {
            let (step, client_target) = dialect.endpoint(address)?;
            let rule_set = match (set, dialect.rule_set(address)) {
                // Named twice: nobody can tell which is meant.
                (Some(_), Some(_)) => return None,
                (one, other) => one.or(other),
            };
            Some(Self { dialect: *dialect, step, rule_set, client_target })
        })
    }
}

/// The client's URI as it came, for the audit line of a request that could not be read: the part of the target that belongs to
/// the client, or, of the dialects that ask at a fixed address, the first `X-Forwarded-Uri`.
#[must_use]
pub fn raw_uri<'a>(client_target: &'a str, fields: &Fields<'a>) -> Option<&'a [u8]> {
    if client_target.is_empty() {
        fields.lines(Field::ForwardedUri).iter().next()
    } else {
        Some(client_target.as_bytes())
    }
}

/// What is to be decided.
///
/// # Errors
/// The reason, if the request cannot be understood.
pub fn ask<'a>(dialect: &dyn Dialect, step: Step, check: &Check<'a>) -> Result<Ask<'a>, Reason> {
    let proto = check.fields.only(Field::ForwardedProto).map_err(|_| Reason::MalformedProto)?;
    // Any one word is taken (Traefik says `wss` too): no decision depends on it.
    if proto.is_some_and(|proto| proto.contains(&b',')) {
        return Err(Reason::MalformedProto);
    }
    let mut facts = dialect.facts(check)?;
    facts.preflight = check.fields.preflight(&facts.method);
    let lines = |field| check.fields.lines(field).clone();
    let presented = Presented { authorization: lines(Field::Authorization), cookie: lines(Field::Cookie) };
    Ok(Ask { step, facts, presented })
}

#[cfg(test)]
mod tests;
