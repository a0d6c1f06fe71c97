//! L3: how each proxy asks and wants to be answered. A dialect is one small file and one entry in
//! [`DIALECTS`]; mounting, metrics and the parity test iterate that slice.

pub mod envoy;
pub mod forwarded;
pub mod peer;
pub mod reply;
pub mod traefik;

use crate::credential::Presented;
use crate::gate::Ask;
use crate::policy::{Reason, RequestFacts, Step};

pub use forwarded::{Field, Fields};
pub use peer::{TrustedPeer, TrustedProxies};
pub use reply::Reply;

/// Every dialect there is.
pub static DIALECTS: &[&dyn Dialect] = &[&traefik::Traefik, &envoy::Envoy];

/// How a dialect tells the upstream that an identity header has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The answer carries the header, empty: the proxy overwrites the client's copy with it.
    Empty,
    /// The answer names the header for removal.
    Removed,
}

/// A proxy's way of asking.
pub trait Dialect: std::fmt::Debug + Sync {
    /// Its name in logs and metrics.
    fn name(&self) -> &'static str;

    /// The step that a request target asks for, and the rest of the target that belongs to the
    /// client; none if the target is not this dialect's.
    fn endpoint<'t>(&self, target: &'t str) -> Option<(Step, &'t str)>;

    /// The facts, each from exactly one place.
    ///
    /// # Errors
    /// The reason, if one is missing, doubled or malformed.
    fn facts<'a>(&self, check: &Check<'a>) -> Result<RequestFacts<'a>, Reason>;

    /// How a header without a value is told.
    fn absent(&self) -> Absent;
}

/// A check request as it arrived, whatever the transport.
#[derive(Debug)]
pub struct Check<'a> {
    /// The proof that the peer may state forwarded facts.
    pub peer: TrustedPeer<'a>,
    /// Its own method.
    pub method: &'a str,
    /// The part of its target that belongs to the client, as [`Dialect::endpoint`] tells.
    pub client_target: &'a str,
    /// The header lines that some dialect reads.
    pub fields: &'a Fields<'a>,
}

/// The dialect, the step and the client's part of the target that a request target asks for.
#[must_use]
pub fn endpoint(target: &str) -> Option<(&'static dyn Dialect, Step, &str)> {
    DIALECTS.iter().find_map(|dialect| {
        let (step, rest) = dialect.endpoint(target)?;
        Some((*dialect, step, rest))
    })
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
    let facts = dialect.facts(check)?;
    let lines = |field| check.fields.lines(field).clone();
    let presented = Presented { authorization: lines(Field::Authorization), cookie: lines(Field::Cookie) };
    Ok(Ask { step, facts, presented })
}

#[cfg(test)]
mod tests;
