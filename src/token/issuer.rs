//! A trusted issuer: what its tokens must be.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::claims::{self, Lifetime};
use super::kind::Accepts;
use super::mapping::Mapping;
use super::{Check, KeySet, UnverifiedToken, Unwatched, VerifiedClaims, Watch, keyset};
use crate::clock::UnixTime;
use crate::policy::{Principal, Reason};

/// Whom tokens must be meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audiences {
    /// At least one of these.
    OneOf(Vec<Box<str>>),
    /// Anybody: the operator said so with `danger_any_audience`.
    Any,
}

impl Audiences {
    fn check(&self, all: &Map<String, Value>) -> Result<(), Reason> {
        let Self::OneOf(ours) = self else { return Ok(()) };
        let meant = claims::audiences(all)?.iter().any(|theirs| ours.iter().any(|own| **own == **theirs));
        meant.then_some(()).ok_or(Reason::WrongAudience)
    }
}

/// How long a token may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How far the issuer's clock may be off.
    pub leeway: Duration,
    /// The longest time from `iat`, or from now where there is none, to `exp`.
    pub max_lifetime: Duration,
    /// Whether a token without `exp` is taken: the operator said so with `danger_no_expiry`.
    pub may_be_endless: bool,
}

impl Default for Terms {
    /// A day is the longest that providers give access tokens by default (Auth0); what holds longer cannot be called back for longer.
    fn default() -> Self {
        Self { leeway: Duration::from_secs(5), max_lifetime: Duration::from_secs(24 * 3600), may_be_endless: false }
    }
}

/// One trusted issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its configured name, in logs and metrics.
    pub name: Arc<str>,
    /// Its identifier: the exact text of `iss`.
    pub issuer: Box<str>,
    /// Whom its tokens must be meant for.
    pub audiences: Audiences,
    /// The clients that its tokens may be issued to (`azp`, `client_id`); empty: any.
    pub authorized_parties: Vec<Box<str>>,
    /// Which of its tokens are taken.
    pub accepts: Accepts,
    /// How long they may hold.
    pub terms: Terms,
    /// Where they say what.
    pub mapping: Mapping,
}

impl Issuer {
    /// An issuer of access tokens as most are: everything else is for the caller to change.
    #[must_use]
    pub fn new(name: &str, issuer: &str, audiences: Audiences) -> Self {
        Self {
            name: name.into(),
            issuer: issuer.into(),
            audiences,
            authorized_parties: Vec::new(),
            accepts: Accepts::default(),
            terms: Terms::default(),
            mapping: Mapping::default(),
        }
    }

    /// Verifies a token that names this issuer: type, key, algorithm, signature, then claims.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(&self, token: UnverifiedToken<'_>, keys: &KeySet, now: UnixTime) -> Result<VerifiedClaims, Reason> {
        self.verify_watched(token, keys, now, &mut Unwatched)
    }

    /// The same, watched.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify_watched(
        &self,
        token: UnverifiedToken<'_>,
        keys: &KeySet,
        now: UnixTime,
        watch: &mut impl Watch,
    ) -> Result<VerifiedClaims, Reason> {
        if token.issuer() != Some(&*self.issuer) {
            return Err(Reason::UnknownIssuer);
        }
        let jws = token.jws();
        let typ =
            watch.made(Check::Type, jws.text("typ").and_then(|typ| self.accepts.check_type(typ).map(|()| typ)))?;
        let candidates = watch.made(Check::Key, keys.candidates(jws))?;
        let key = watch.made(Check::Signature, keyset::signer(jws, candidates))?.id();
        watch.made(Check::Kind, self.accepts.check_kind(typ, token.claims()))?;
        let lifetime = self.check_claims(token.claims(), now, watch)?;
        let claims = token.into_claims();
        let subject = watch.made(Check::Subject, self.mapping.subject(&claims))?;
        Ok(VerifiedClaims::new(claims, subject, lifetime, key))
    }

    /// What the claims must be, whoever says so.
    fn check_claims(
        &self,
        all: &Map<String, Value>,
        now: UnixTime,
        watch: &mut impl Watch,
    ) -> Result<Lifetime, Reason> {
        // Bound to a key or a certificate of its holder (RFC 7800), which nobody here can see yet: taken as a plain bearer token it
        // would serve whoever stole it.
        let free = if all.contains_key("cnf") { Err(Reason::SenderConstrained) } else { Ok(()) };
        watch.made(Check::Binding, free)?;
        let lifetime = watch.made(Check::Lifetime, Lifetime::read(all, self.terms, now))?;
        watch.made(Check::Audience, self.audiences.check(all))?;
        watch.made(Check::Party, self.check_party(all))?;
        Ok(lifetime)
    }

    fn check_party(&self, all: &Map<String, Value>) -> Result<(), Reason> {
        let party = || all.get("azp").or_else(|| all.get("client_id")).and_then(Value::as_str);
        let ours = |party: &str| self.authorized_parties.iter().any(|own| **own == *party);
        let allowed = self.authorized_parties.is_empty() || party().is_some_and(ours);
        allowed.then_some(()).ok_or(Reason::WrongParty)
    }

    /// Who the verified claims speak of. Of the claims it keeps those named `kept`, beside roles, scopes and tier.
    #[must_use]
    pub fn principal(&self, verified: &VerifiedClaims, kept: &[Box<str>]) -> Principal {
        self.mapping.principal(&self.name, verified, kept)
    }
}

#[cfg(test)]
mod tests;
