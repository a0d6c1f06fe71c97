//! A trusted issuer: what its tokens must be, and where they say what.

use std::time::Duration;

use serde_json::Value;

use super::claims::{self, Lifetime};
use super::{KeySet, UnverifiedToken, VerifiedClaims};
use crate::clock::UnixTime;
use crate::policy::{ClaimPath, Principal, Reason};

/// What a token's `typ` may be (RFC 8725 section 3.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Types {
    /// The media types, in lower case and without `application/` (RFC 7515 section 4.1.9).
    pub names: Vec<Box<str>>,
    /// Whether a token without `typ` is taken.
    pub absent: bool,
}

/// Whom tokens must be meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audiences {
    /// At least one of these.
    OneOf(Vec<Box<str>>),
    /// Anybody: the operator said so with `danger_any_audience`.
    Any,
}

/// One trusted issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its configured name, in logs and metrics.
    pub name: Box<str>,
    /// Its identifier: the exact text of `iss`.
    pub issuer: Box<str>,
    /// Whom its tokens must be meant for.
    pub audiences: Audiences,
    /// What its tokens' `typ` may be.
    pub types: Types,
    /// How far its clock may be off.
    pub leeway: Duration,
    /// Where its tokens list roles.
    pub roles: ClaimPath,
    /// Where its tokens list scopes.
    pub scopes: ClaimPath,
    /// Where its tokens name the tier.
    pub tier: ClaimPath,
}

impl Issuer {
    /// Verifies a token that names this issuer: type, key, algorithm, signature, then claims.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(&self, token: UnverifiedToken<'_>, keys: &KeySet, now: UnixTime) -> Result<VerifiedClaims, Reason> {
        if token.issuer() != Some(&*self.issuer) {
            return Err(Reason::UnknownIssuer);
        }
        self.check_type(&token)?;
        let key = keys.signer(&token)?.id();
        let claims = token.into_claims();
        let lifetime = Lifetime::read(&claims, self.leeway, now)?;
        if let Audiences::OneOf(ours) = &self.audiences
            && !claims::audiences(&claims)?.iter().any(|theirs| ours.iter().any(|own| **own == **theirs))
        {
            return Err(Reason::WrongAudience);
        }
        let subject = claims::subject(&claims)?;
        Ok(VerifiedClaims::new(claims, subject, lifetime, key))
    }

    fn check_type(&self, token: &UnverifiedToken<'_>) -> Result<(), Reason> {
        let allowed = token.header("typ")?.map_or(self.types.absent, |typ| {
            let lower = typ.to_ascii_lowercase();
            let name = lower.strip_prefix("application/").unwrap_or(&lower);
            self.types.names.iter().any(|allowed| **allowed == *name)
        });
        allowed.then_some(()).ok_or(Reason::WrongType)
    }

    /// Who the verified claims speak of.
    #[must_use]
    pub fn principal(&self, verified: VerifiedClaims) -> Principal {
        let claims = verified.all();
        let roles = self.roles.find(claims).map(texts).unwrap_or_default();
        let scopes = self.scopes.find(claims).map(words).unwrap_or_default();
        let tier = self.tier.find(claims).and_then(scalar);
        let subject = Box::from(verified.subject());
        Principal::new(&self.name, &subject, roles, scopes, tier.as_deref(), verified.into_all())
    }
}

/// A list of texts, or one text as a list of one. What is no text is left out: fewer rights.
fn texts(claim: &Value) -> Vec<Box<str>> {
    match claim {
        Value::String(one) if one.is_empty() => Vec::new(),
        Value::String(one) => vec![one.as_str().into()],
        Value::Array(many) => {
            many.iter().filter_map(Value::as_str).filter(|text| !text.is_empty()).map(Into::into).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

/// Scopes: a list of texts, or one text of words (RFC 6749 section 3.3).
fn words(claim: &Value) -> Vec<Box<str>> {
    match claim.as_str() {
        Some(text) => text.split(' ').filter(|word| !word.is_empty()).map(Into::into).collect(),
        None => texts(claim),
    }
}

fn scalar(claim: &Value) -> Option<String> {
    claim.as_str().map(str::to_owned).or_else(|| claim.as_number().map(ToString::to_string))
}

#[cfg(test)]
mod tests;
