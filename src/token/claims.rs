//! The registered claims (RFC 7519 section 4.1), checked by us: the library lets too much through.

use serde_json::{Map, Value};

use super::issuer::Terms;
use super::keyset::KeyId;
use crate::clock::UnixTime;
use crate::policy::Reason;

/// Last NumericDate that makes sense: the end of the year 9999, in seconds.
const MAX_NUMERIC_DATE: f64 = 253_402_300_799.0;

/// Claims that a known key of a known issuer has signed, or that the issuer itself has told, and that have passed every check. Made
/// by [`super::Issuer::verify`] and [`super::Issuer::verify_answer`] only.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedClaims {
    claims: Map<String, Value>,
    subject: Box<str>,
    lifetime: Lifetime,
    basis: Basis,
}

/// On what verified claims rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    /// The key that signed the token; none if it was not looked at but asked about.
    pub key: Option<KeyId>,
    /// Until when the issuer's answer is believed; the end of time if it was not asked.
    pub ask_again: UnixTime,
}

impl VerifiedClaims {
    pub(super) fn new(claims: Map<String, Value>, subject: Box<str>, lifetime: Lifetime, basis: Basis) -> Self {
        Self { claims, subject, lifetime, basis }
    }

    /// The subject, never empty.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// When they hold.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// When they were issued (`iat`), if they say so.
    #[must_use]
    pub fn issued(&self) -> Option<UnixTime> {
        numeric_date(&self.claims, "iat").ok().flatten()
    }

    /// On what they rest.
    #[must_use]
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// All claims.
    #[must_use]
    pub fn all(&self) -> &Map<String, Value> {
        &self.claims
    }
}

/// When a token holds, with the issuer's leeway already counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    from: UnixTime,
    until: UnixTime,
}

impl Lifetime {
    /// Reads `exp`, `nbf` and `iat` and checks them at `now`.
    ///
    /// # Errors
    /// [`Reason::NoExpiry`], [`Reason::MalformedClaim`], [`Reason::IssuedInFuture`], [`Reason::LifetimeTooLong`], or what
    /// [`Lifetime::check`] says.
    pub(super) fn read(claims: &Map<String, Value>, terms: Terms, now: UnixTime) -> Result<Self, Reason> {
        let expires = numeric_date(claims, "exp")?;
        if expires.is_none() && !terms.may_be_endless {
            return Err(Reason::NoExpiry);
        }
        let not_before = numeric_date(claims, "nbf")?;
        let issued = numeric_date(claims, "iat")?;
        if issued.is_some_and(|issued| issued > now.after(terms.leeway)) {
            return Err(Reason::IssuedInFuture);
        }
        let lifetime = Self {
            from: not_before.map_or(UnixTime::from_micros(i64::MIN), |moment| moment.before(terms.leeway)),
            until: expires.map_or(UnixTime::from_micros(i64::MAX), |moment| moment.after(terms.leeway)),
        };
        lifetime.check(now)?;
        if expires.is_some_and(|moment| moment.since(issued.unwrap_or(now)) > terms.max_lifetime) {
            return Err(Reason::LifetimeTooLong);
        }
        Ok(lifetime)
    }

    /// Whether it holds at `now`; asked again at each use of a cached result.
    ///
    /// # Errors
    /// [`Reason::Expired`] at and after `exp`, [`Reason::NotYetValid`] before `nbf`.
    pub fn check(self, now: UnixTime) -> Result<(), Reason> {
        if now >= self.until {
            Err(Reason::Expired)
        } else if now < self.from {
            Err(Reason::NotYetValid)
        } else {
            Ok(())
        }
    }

    /// When both hold.
    #[must_use]
    pub(super) fn and(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }

    /// When it ends.
    #[must_use]
    pub fn until(self) -> UnixTime {
        self.until
    }
}

/// A NumericDate (RFC 7519 section 2): a number, possibly with a fraction, within sane bounds.
fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<UnixTime>, Reason> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = value.as_f64().filter(|s| (0.0..=MAX_NUMERIC_DATE).contains(s)).ok_or(Reason::MalformedClaim)?;
    // At most 2.6e17: fits, and a double carries it to better than 32 microseconds.
    Ok(Some(UnixTime::from_micros((seconds * 1e6) as i64)))
}

/// Adds to an issuer's answer about a JWT what the JWT says by which it can be revoked: its name, its session, and when it was
/// issued, of which the earlier counts. Revoked by either, it must be refused.
///
/// # Errors
/// [`Reason::MalformedClaim`] if the two name different tokens, sessions or subjects: the answer is about something else.
pub(super) fn add_revocable(answer: &mut Map<String, Value>, own: &Map<String, Value>) -> Result<(), Reason> {
    for name in ["sub", "jti", "sid"] {
        let Some(said) = own.get(name).filter(|said| !said.is_null()) else { continue };
        match answer.get(name).filter(|answered| !answered.is_null()) {
            Some(answered) if answered == said => {}
            Some(_) => return Err(Reason::MalformedClaim),
            // Who it is, the answer says or nobody.
            None if name == "sub" => {}
            None => drop(answer.insert(name.to_owned(), said.clone())),
        }
    }
    if let Some(issued) = numeric_date(own, "iat")?
        && numeric_date(answer, "iat")?.is_none_or(|answered| issued < answered)
        && let Some(said) = own.get("iat")
    {
        answer.insert("iat".to_owned(), said.clone());
    }
    Ok(())
}

/// The audiences (RFC 7519 section 4.1.3): one text or a list of texts, not empty.
pub(super) fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, Reason> {
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(many)) if !many.is_empty() => {
            many.iter().map(|aud| aud.as_str().ok_or(Reason::MalformedClaim)).collect()
        }
        Some(_) => Err(Reason::MalformedClaim),
    }
}

/// The subject, from the claim that names it.
pub(super) fn subject(claim: Option<&Value>) -> Result<Box<str>, Reason> {
    match claim {
        None | Some(Value::Null) => Err(Reason::NoSubject),
        Some(Value::String(sub)) if sub.trim().is_empty() => Err(Reason::NoSubject),
        Some(Value::String(sub)) => Ok(sub.as_str().into()),
        Some(_) => Err(Reason::MalformedClaim),
    }
}
