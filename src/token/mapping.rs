//! Where an issuer's tokens say what.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{VerifiedClaims, claims};
use crate::policy::{ClaimPath, Principal, Reason};

/// Where each thing stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Who it is; unique within the issuer and never given to somebody else.
    pub subject: ClaimPath,
    /// The roles.
    pub roles: ClaimPath,
    /// Clients whose own roles count, too, as Keycloak lists them: `admin` in `resource_access.CLIENT.roles` is the role `CLIENT:admin`.
    /// Never without the prefix: an admin of one client is no admin of the realm.
    pub client_roles: Vec<Box<str>>,
    /// The groups.
    pub groups: ClaimPath,
    /// The scopes: a list, or one text of words.
    pub scopes: ClaimPath,
    /// More scopes, as Auth0 lists what a user may do.
    pub permissions: Option<ClaimPath>,
    /// The tier.
    pub tier: ClaimPath,
    /// The tenant: the organisation or customer on whose behalf somebody asks.
    pub tenant: ClaimPath,
}

impl Default for Mapping {
    fn default() -> Self {
        Self {
            subject: ClaimPath::new("sub"),
            roles: ClaimPath::new("roles"),
            client_roles: Vec::new(),
            groups: ClaimPath::new("groups"),
            scopes: ClaimPath::new("scope"),
            permissions: None,
            tier: ClaimPath::new("tier"),
            tenant: ClaimPath::new("tenant"),
        }
    }
}

impl Mapping {
    /// The subject, never empty.
    pub(super) fn subject(&self, all: &Map<String, Value>) -> Result<Box<str>, Reason> {
        claims::subject(self.subject.find(all))
    }

    /// Whether these claims, as far as both name a subject, name the same.
    pub(super) fn is_same_subject(&self, one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
        let named = |all| self.subject.find(all).filter(|claim| !claim.is_null());
        named(one).zip(named(other)).is_none_or(|(one, other)| one == other)
    }

    /// The principal that verified claims speak of. Of the claims it keeps those named `kept`.
    pub(super) fn principal(&self, issuer: &Arc<str>, verified: &VerifiedClaims, kept: &[Box<str>]) -> Principal {
        self.mapped(issuer, verified.subject(), verified.all(), kept)
    }

    /// The principal that claims would speak of if they were proven. For tests of a policy only: it lets nobody in.
    ///
    /// # Errors
    /// If they name no subject.
    pub fn supposed(
        &self,
        issuer: &Arc<str>,
        claims: &Map<String, Value>,
        kept: &[Box<str>],
    ) -> Result<Principal, Reason> {
        Ok(self.mapped(issuer, &self.subject(claims)?, claims, kept))
    }

    fn mapped(&self, issuer: &Arc<str>, subject: &str, all: &Map<String, Value>, kept: &[Box<str>]) -> Principal {
        let of_clients = self.client_roles.iter().flat_map(|client| {
            let own = all.get("resource_access").and_then(|access| access.get(&**client)?.get("roles"));
            own.map(texts).unwrap_or_default().into_iter().map(move |role| format!("{client}:{role}"))
        });
        let of_clients: Vec<String> = of_clients.collect();
        let roles = self.roles.find(all).map(texts).unwrap_or_default();
        let roles = roles.into_iter().chain(of_clients.iter().map(String::as_str));
        let groups = self.groups.find(all).map(texts).unwrap_or_default();
        let permissions = self.permissions.as_ref().and_then(|path| path.find(all)).map(texts).unwrap_or_default();
        let scopes = self.scopes.find(all).map(words).unwrap_or_default().into_iter().chain(permissions);
        let tier = self.tier.find(all).and_then(scalar);
        let tenant = self.tenant.find(all).and_then(scalar);
        let kept = kept.iter().filter_map(|name| all.get_key_value(&**name));
        let kept = kept.map(|(name, claim)| (name.clone(), claim.clone())).collect();
        Principal::new(Arc::clone(issuer), subject, roles, groups, scopes, tier.as_deref(), kept)
            .of_tenant(tenant.as_deref())
    }
}

/// A list of texts, or one text as a list of one. What is no text is left out: fewer rights.
fn texts(claim: &Value) -> Vec<&str> {
    match claim {
        Value::String(one) if one.is_empty() => Vec::new(),
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).filter(|text| !text.is_empty()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

/// Scopes: a list of texts, or one text of words (RFC 6749 section 3.3).
fn words(claim: &Value) -> Vec<&str> {
    match claim.as_str() {
        Some(text) => text.split(' ').filter(|word| !word.is_empty()).collect(),
        None => texts(claim),
    }
}

fn scalar(claim: &Value) -> Option<Cow<'_, str>> {
    let text = claim.as_str().map(Cow::Borrowed);
    text.or_else(|| claim.as_number().map(|number| Cow::Owned(number.to_string())))
}
