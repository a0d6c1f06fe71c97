//! Where an issuer's tokens say what.

use serde_json::{Map, Value};

use super::claims;
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
    /// The scopes: a list, or one text of words.
    pub scopes: ClaimPath,
    /// More scopes, as Auth0 lists what a user may do.
    pub permissions: Option<ClaimPath>,
    /// The tier.
    pub tier: ClaimPath,
}

impl Default for Mapping {
    fn default() -> Self {
        Self {
            subject: ClaimPath::new("sub"),
            roles: ClaimPath::new("roles"),
            client_roles: Vec::new(),
            scopes: ClaimPath::new("scope"),
            permissions: None,
            tier: ClaimPath::new("tier"),
        }
    }
}

impl Mapping {
    /// The subject, never empty.
    pub(super) fn subject(&self, all: &Map<String, Value>) -> Result<Box<str>, Reason> {
        claims::subject(self.subject.find(all))
    }

    /// The principal that verified claims speak of.
    pub(super) fn principal(&self, issuer: &str, subject: &str, all: Map<String, Value>) -> Principal {
        let mut roles = self.roles.find(&all).map(texts).unwrap_or_default();
        for client in &self.client_roles {
            let own = all.get("resource_access").and_then(|access| access.get(&**client)?.get("roles"));
            roles.extend(own.map(texts).unwrap_or_default().iter().map(|role| format!("{client}:{role}").into()));
        }
        let mut scopes = self.scopes.find(&all).map(words).unwrap_or_default();
        scopes.extend(self.permissions.as_ref().and_then(|path| path.find(&all)).map(texts).unwrap_or_default());
        let tier = self.tier.find(&all).and_then(scalar);
        Principal::new(issuer, subject, roles, scopes, tier.as_deref(), all)
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
