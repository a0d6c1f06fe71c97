//! A trusted issuer: what its tokens must be.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::claims::{self, Basis, Lifetime};
use super::keyset::KeyId;
use super::kind::Accepts;
use super::mapping::Mapping;
use super::{Check, KeySet, UnverifiedToken, Unwatched, VerifiedClaims, Watch, jws, keyset};
use crate::clock::UnixTime;
use crate::policy::{Principal, Reason};

/// Longest leeway that can be configured: clocks that are a minute apart are broken, and every second prolongs tokens.
pub const LONGEST_LEEWAY: Duration = Duration::from_secs(60);

/// What no clock reaches.
const FOR_EVER: UnixTime = UnixTime::from_micros(i64::MAX);

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

/// Which of an issuer's tokens it is asked about (RFC 7662), and what its answers may leave unsaid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// With what its opaque tokens begin, if it is asked about such; empty: all of them are its own.
    pub opaque: Option<Box<str>>,
    /// Whether it is asked about its JWTs as well.
    pub jwts: bool,
    /// Whether an answer may name no audience: the operator said so with `danger_no_audience`.
    pub may_lack_audience: bool,
    /// Whether an answer may have no `token_type`: the operator said so with `danger_no_token_type`.
    pub may_lack_type: bool,
}

/// A JWT of an issuer that one of its keys has signed. What it claims is not checked.
#[derive(Debug)]
pub struct SignedToken<'t> {
    token: UnverifiedToken<'t>,
    key: KeyId,
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
    /// Whether it is asked about tokens.
    pub asked: Option<Asked>,
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
            asked: None,
        }
    }

    /// Verifies a token that names this issuer: type, key, algorithm, signature, then claims.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(&self, token: UnverifiedToken<'_>, keys: &KeySet, now: UnixTime) -> Result<VerifiedClaims, Reason> {
        self.verify_signed(self.signed(token, keys, &mut Unwatched)?, now, &mut Unwatched)
    }

    /// The first half of it, watched: type, key, algorithm, signature.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn signed<'t>(
        &self,
        token: UnverifiedToken<'t>,
        keys: &KeySet,
        watch: &mut impl Watch,
    ) -> Result<SignedToken<'t>, Reason> {
        self.is_its_own(&token)?;
        let jws = token.jws();
        watch.made(Check::Type, jws.text("typ").and_then(|typ| self.accepts.check_type(typ)))?;
        let candidates = watch.made(Check::Key, keys.candidates(jws))?;
        let key = watch.made(Check::Signature, keyset::signer(jws, candidates))?.id();
        Ok(SignedToken { token, key })
    }

    /// The second half of it, watched: the claims.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify_signed(
        &self,
        signed: SignedToken<'_>,
        now: UnixTime,
        watch: &mut impl Watch,
    ) -> Result<VerifiedClaims, Reason> {
        let SignedToken { token, key } = signed;
        self.is_its_own(&token)?;
        watch.made(Check::Kind, self.accepts.check_kind(token.jws().text("typ")?, token.claims()))?;
        let lifetime = self.check_claims(token.claims(), self.terms, &self.audiences, now, watch)?;
        let claims = token.into_claims();
        let subject = watch.made(Check::Subject, self.mapping.subject(&claims))?;
        Ok(VerifiedClaims::new(claims, subject, lifetime, Basis { key: Some(key), ask_again: FOR_EVER }))
    }

    /// Verifies what the issuer itself has answered about an active token, which is believed until `ask_again`. If the token is a
    /// JWT, its own times and binding count as well, and by what it names itself it can be revoked.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify_answer(
        &self,
        signed: Option<&SignedToken<'_>>,
        answer: &Map<String, Value>,
        ask_again: UnixTime,
        now: UnixTime,
    ) -> Result<VerifiedClaims, Reason> {
        let asked = self.asked.as_ref().ok_or(Reason::UnknownIssuer)?;
        if answer.get("iss").is_some_and(|iss| iss.as_str() != Some(&*self.issuer)) {
            return Err(Reason::UnknownIssuer);
        }
        self.accepts.check_answer(asked.may_lack_type, answer)?;
        // Without `exp` it holds until the next answer, which is soon.
        let terms = Terms { may_be_endless: true, ..self.terms };
        let silent = asked.may_lack_audience && !answer.contains_key("aud");
        let audiences = if silent { &Audiences::Any } else { &self.audiences };
        let mut lifetime = self.check_claims(answer, terms, audiences, now, &mut Unwatched)?;
        let mut claims = answer.clone();
        if let Some(SignedToken { token, .. }) = signed {
            self.is_its_own(token)?;
            // An answer is often silent about the kind; and a JWT has an end of its own, as where nobody is asked.
            self.accepts.check_kind(token.jws().text("typ")?, token.claims())?;
            let own = self.check_claims(token.claims(), self.terms, &Audiences::Any, now, &mut Unwatched)?;
            lifetime = lifetime.and(own);
            if !self.mapping.is_same_subject(answer, token.claims()) {
                return Err(Reason::MalformedClaim);
            }
            claims::add_revocable(&mut claims, token.claims())?;
        }
        let subject = self.mapping.subject(&claims)?;
        let basis = Basis { key: signed.map(|signed| signed.key), ask_again };
        Ok(VerifiedClaims::new(claims, subject, lifetime, basis))
    }

    /// Whether a token of its may have no end that anybody knows beforehand: the operator said so, or an answer about an opaque one need
    /// not name any.
    #[must_use]
    pub fn may_be_endless(&self) -> bool {
        self.terms.may_be_endless || self.asked.as_ref().is_some_and(|asked| asked.opaque.is_some())
    }

    fn is_its_own(&self, token: &UnverifiedToken<'_>) -> Result<(), Reason> {
        (token.issuer() == Some(&*self.issuer)).then_some(()).ok_or(Reason::UnknownIssuer)
    }

    /// What claims must be, whether they were signed or answered.
    fn check_claims(
        &self,
        all: &Map<String, Value>,
        terms: Terms,
        audiences: &Audiences,
        now: UnixTime,
        watch: &mut impl Watch,
    ) -> Result<Lifetime, Reason> {
        // Bound to a key or a certificate of its holder (RFC 7800), which nobody here can see yet: taken as a plain bearer token it
        // would serve whoever stole it.
        let free = if all.contains_key("cnf") { Err(Reason::SenderConstrained) } else { Ok(()) };
        watch.made(Check::Binding, free)?;
        let lifetime = watch.made(Check::Lifetime, Lifetime::read(all, terms, now))?;
        watch.made(Check::Audience, audiences.check(all))?;
        watch.made(Check::Party, self.check_party(all))?;
        Ok(lifetime)
    }

    fn check_party(&self, all: &Map<String, Value>) -> Result<(), Reason> {
        let party = || all.get("azp").or_else(|| all.get("client_id")).and_then(Value::as_str);
        let ours = |party: &str| self.authorized_parties.iter().any(|own| **own == *party);
        let allowed = self.authorized_parties.is_empty() || party().is_some_and(ours);
        allowed.then_some(()).ok_or(Reason::WrongParty)
    }

    /// Whether `token`, which cannot be read as a JWT, may be one of its opaque tokens: it is asked about such, and they begin so. What is
    /// only a JWT or JWE that is not read here may be another issuer's and is shown to nobody.
    #[must_use]
    pub fn issues_opaque(&self, token: &str) -> bool {
        let prefix = self.asked.as_ref().and_then(|asked| asked.opaque.as_deref());
        prefix.is_some_and(|prefix| token.starts_with(prefix)) && is_b64token(token) && !jws::is_jose(token)
    }

    /// Who the verified claims speak of. Of the claims it keeps those named `kept`, beside roles, scopes and tier.
    #[must_use]
    pub fn principal(&self, verified: &VerifiedClaims, kept: &[Box<str>]) -> Principal {
        self.mapping.principal(&self.name, verified, kept)
    }
}

/// Whether it is written as bearer tokens are (RFC 6750 section 2.1).
#[must_use]
pub fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

#[cfg(test)]
mod tests;
