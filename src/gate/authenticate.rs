//! Who is asking: credentials to a principal.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use super::cache::{CacheState, Proven, TokenCache};
use super::ports::Question;
use super::{Introspection, Keys, Revocations};
use crate::clock::UnixTime;
use crate::credential::{CredentialKind, Presented};
use crate::policy::{Principal, Reason};
use crate::token::{Check, Issuer, KeySet, SignedToken, UnverifiedToken, Unwatched, VerifiedClaims, Watch};

/// What a token is to the gate before anybody is asked.
enum Signed<'t> {
    /// A JWT that says all that is needed.
    Whole(VerifiedClaims),
    /// One that its issuer must be asked about; with the JWT, if it is one.
    Asked(Option<SignedToken<'t>>),
}

/// The claims that are kept of each token. The others are forgotten with it: they are most of its memory. A proof that was made
/// with others says nothing under a policy that reads these, even if their names are the same today.
#[derive(Debug, Clone)]
pub struct Kept(Arc<[Box<str>]>);

impl Kept {
    /// These, and another keeping than every other one.
    #[must_use]
    pub fn new(names: &[Box<str>]) -> Self {
        Self(names.into())
    }

    /// Whether this is that very keeping.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What must be paid before a credential is proven that was not proven a while ago, since that costs.
pub trait Toll {
    /// Pays, once however often it is asked for.
    ///
    /// # Errors
    /// Why it cannot be paid: then nothing is proven.
    fn pay(&mut self) -> impl Future<Output = Result<(), Reason>>;
}

/// Tells who is asking.
#[derive(Debug)]
pub struct Authenticator {
    issuers: Vec<Arc<Issuer>>,
    by_identifier: HashMap<Box<str>, usize, ahash::RandomState>,
    keys: Arc<dyn Keys>,
    introspection: Arc<dyn Introspection>,
    revocations: Arc<dyn Revocations>,
    cache: TokenCache,
    cookie_name: Box<str>,
}

impl Authenticator {
    /// Trusts `issuers`, whose keys `keys` knows by their place in the list, and which `introspection` asks by it, but for what
    /// `revocations` takes back.
    #[must_use]
    pub fn new(
        issuers: Vec<Issuer>,
        keys: Arc<dyn Keys>,
        introspection: Arc<dyn Introspection>,
        revocations: Arc<dyn Revocations>,
        cache: TokenCache,
        cookie_name: &str,
    ) -> Self {
        let by_identifier = issuers.iter().enumerate().map(|(i, issuer)| (issuer.issuer.clone(), i)).collect();
        let issuers = issuers.into_iter().map(Arc::new).collect();
        Self { issuers, by_identifier, keys, introspection, revocations, cache, cookie_name: cookie_name.into() }
    }

    /// The issuers.
    pub fn issuers(&self) -> impl Iterator<Item = &Issuer> {
        self.issuers.iter().map(|issuer| &**issuer)
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &dyn Keys {
        &*self.keys
    }

    /// How the cache of verified tokens fares.
    #[must_use]
    pub fn cache_state(&self) -> CacheState {
        self.cache.state()
    }

    /// The principal whom the presented credentials of the taken `kinds` prove, with its `kept` claims. All of them are
    /// verified; the first kind's is the principal.
    ///
    /// # Errors
    /// [`Reason::NoCredential`] if there is none of these kinds, the reason of the first that does
    /// not verify, [`Reason::ConflictingCredentials`] if two name different subjects, what `toll` says.
    pub async fn principal(
        &self,
        kinds: &[CredentialKind],
        presented: &Presented<'_>,
        kept: &Kept,
        toll: &mut impl Toll,
        now: UnixTime,
    ) -> Result<Arc<Principal>, Reason> {
        let mut principal: Option<Arc<Principal>> = None;
        for kind in kinds {
            let Some(token) = presented.token(*kind, &self.cookie_name)? else {
                continue;
            };
            let proven = self.verify(token, kept, toll, now).await?;
            match &principal {
                None => principal = Some(proven),
                Some(first) if first.is_same_subject(&proven) => {}
                Some(_) => return Err(Reason::ConflictingCredentials),
            }
        }
        principal.ok_or(Reason::NoCredential)
    }

    /// Makes the checks that a request with this token would meet, watched, and remembers nothing of it. Keys are taken as they are
    /// now; no issuer is asked: what needs that ends with [`Reason::IntrospectionFailed`]; and no list of revocations.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn inspect(&self, token: &str, now: UnixTime, watch: &mut impl Watch) -> Result<(), Reason> {
        let is_opaque = UnverifiedToken::parse(token).is_err_and(|reason| reason == Reason::MalformedToken);
        if is_opaque && self.issuer_of_opaque(token).is_some() {
            watch.made(Check::Form, Ok(()))?;
            return watch.made(Check::Asked, Err(Reason::IntrospectionFailed));
        }
        match self.signed(token, now, None, watch)? {
            (index, Signed::Whole(verified)) => {
                let issuer = self.issuers.get(index).ok_or(Reason::UnknownIssuer)?;
                watch.made(Check::Revocable, self.revocations.marks(&issuer.issuer, &verified)).map(drop)
            }
            (_, Signed::Asked(_)) => watch.made(Check::Asked, Err(Reason::IntrospectionFailed)),
        }
    }

    /// Every use of a token comes through here, cached or not: whether it was revoked is asked each time.
    async fn verify(
        &self,
        token: &str,
        kept: &Kept,
        toll: &mut impl Toll,
        now: UnixTime,
    ) -> Result<Arc<Principal>, Reason> {
        let proven = self.proven(token, kept, toll, now).await?;
        self.revocations.check(&proven.marks, now)?;
        Ok(Arc::clone(&proven.principal))
    }

    async fn proven(
        &self,
        token: &str,
        kept: &Kept,
        toll: &mut impl Toll,
        now: UnixTime,
    ) -> Result<Arc<Proven>, Reason> {
        let name = self.cache.name(token);
        let earlier = self.cache.get(name);
        if let Some(proven) = &earlier {
            if proven.kept.is(kept) && self.still_holds(proven, now) {
                proven.lifetime.check(now)?;
                return Ok(Arc::clone(proven));
            }
            self.cache.forget(name);
        }
        // Who was known a moment ago is no stranger because a key or the policy has changed.
        if earlier.is_none() {
            toll.pay().await?;
        }
        let proven = Arc::new(self.prove(token, kept, now).await?);
        self.cache.put(name, Arc::clone(&proven));
        Ok(proven)
    }

    /// Whether the issuer is configured as it was, still has the key, and need not be asked again.
    fn still_holds(&self, proven: &Proven, now: UnixTime) -> bool {
        let has = |key| self.keys.current(proven.issuer_index).is_some_and(|keys| keys.holds(key));
        self.issuers.get(proven.issuer_index).is_some_and(|issuer| Arc::ptr_eq(issuer, &proven.issuer))
            && proven.basis.key.is_none_or(has)
            && now < proven.basis.ask_again
    }

    async fn prove(&self, token: &str, kept: &Kept, now: UnixTime) -> Result<Proven, Reason> {
        let (index, signed) = match self.signed(token, now, None, &mut Unwatched) {
            Err(Reason::UnknownKey) => self.signed_by_newer_keys(token, now).await?,
            // It is no JWT, or none that is read here.
            Err(Reason::MalformedToken) => {
                (self.issuer_of_opaque(token).ok_or(Reason::MalformedToken)?, Signed::Asked(None))
            }
            other => other?,
        };
        let issuer = self.issuers.get(index).ok_or(Reason::UnknownIssuer)?;
        let verified = match signed {
            Signed::Whole(verified) => verified,
            Signed::Asked(signed) => {
                let question = Question { token, name: self.cache.name(token), now };
                let answer = self.introspection.ask(index, question).await?;
                issuer.verify_answer(signed.as_ref(), &answer.claims, answer.ask_again, now)?
            }
        };
        let marks = self.revocations.marks(&issuer.issuer, &verified)?;
        let principal = issuer.principal(&verified, &kept.0);
        Ok(Proven::new(issuer, index, &verified, marks, principal, kept, now))
    }

    /// What can be told of a JWT without asking anybody.
    fn signed<'t>(
        &self,
        token: &'t str,
        now: UnixTime,
        newer: Option<&KeySet>,
        watch: &mut impl Watch,
    ) -> Result<(usize, Signed<'t>), Reason> {
        let unverified = watch.made(Check::Form, UnverifiedToken::parse(token))?;
        let (index, issuer) = watch.made(Check::Issuer, self.issuer_of(&unverified))?;
        let current = if newer.is_none() { self.keys.current(index) } else { None };
        let keys = watch.made(Check::Keys, newer.or(current.as_deref()).ok_or(Reason::KeysUnavailable))?;
        // The signature comes first, so that nobody who forges tokens makes us ask.
        let signed = issuer.signed(unverified, keys, watch)?;
        if issuer.asked.as_ref().is_some_and(|asked| asked.jwts) {
            return Ok((index, Signed::Asked(Some(signed))));
        }
        watch.made(Check::Asked, Ok(()))?;
        Ok((index, Signed::Whole(issuer.verify_signed(signed, now, watch)?)))
    }

    async fn signed_by_newer_keys<'t>(&self, token: &'t str, now: UnixTime) -> Result<(usize, Signed<'t>), Reason> {
        let unverified = UnverifiedToken::parse(token)?;
        let (index, _) = self.issuer_of(&unverified)?;
        let kid = unverified.kid()?.ok_or(Reason::UnknownKey)?;
        let keys = self.keys.newer(index, kid).await.ok_or(Reason::UnknownKey)?;
        self.signed(token, now, Some(&keys), &mut Unwatched)
    }

    /// The issuer that is asked about `token`, which is no JWT.
    fn issuer_of_opaque(&self, token: &str) -> Option<usize> {
        self.issuers.iter().position(|issuer| issuer.issues_opaque(token))
    }

    /// The issuer that a token names, and its place in the list.
    ///
    /// # Errors
    /// [`Reason::UnknownIssuer`].
    pub fn issuer_of(&self, token: &UnverifiedToken<'_>) -> Result<(usize, &Arc<Issuer>), Reason> {
        let index = token.issuer().and_then(|iss| self.by_identifier.get(iss)).ok_or(Reason::UnknownIssuer)?;
        let issuer = self.issuers.get(*index).ok_or(Reason::UnknownIssuer)?;
        Ok((*index, issuer))
    }
}

#[cfg(test)]
mod tests;
