//! Who is asking, once that is proven.

use serde_json::{Map, Value};

use super::identity::{joined, wire_safe};

/// A believed asker. Made from verified claims only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    issuer: Box<str>,
    subject: Box<str>,
    roles: Vec<Box<str>>,
    scopes: Vec<Box<str>>,
    tier: Option<Box<str>>,
    claims: Map<String, Value>,
    wire: Wire,
}

/// The header values, encoded once instead of at each request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wire {
    subject: Box<str>,
    roles: Box<str>,
    tier: Option<Box<str>>,
}

impl Principal {
    /// The principal `subject` of the issuer named `issuer`. An empty `tier` counts as none.
    #[must_use]
    pub fn new(
        issuer: &str,
        subject: &str,
        roles: Vec<Box<str>>,
        scopes: Vec<Box<str>>,
        tier: Option<&str>,
        claims: Map<String, Value>,
    ) -> Self {
        let tier = tier.filter(|tier| !tier.is_empty());
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
            wire: Wire {
                subject: wire_safe(subject).into(),
                roles: joined(roles.iter().map(|role| &**role)).into(),
                tier: tier.map(|tier| wire_safe(tier).into()),
            },
            roles,
            scopes,
            tier: tier.map(Into::into),
            claims,
        }
    }

    /// The configured name of the issuer that vouches for it.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The subject (`sub`), unique within the issuer.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Its roles.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|role| &**role)
    }

    /// Its scopes (RFC 6749 section 3.3).
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(|scope| &**scope)
    }

    /// Whether it has this role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles().any(|own| own == role)
    }

    /// Whether it has this scope.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes().any(|own| own == scope)
    }

    /// Its tier, if the issuer names one.
    #[must_use]
    pub fn tier(&self) -> Option<&str> {
        self.tier.as_deref()
    }

    /// All verified claims.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    pub(in crate::policy) fn wire_subject(&self) -> &str {
        &self.wire.subject
    }

    pub(in crate::policy) fn wire_roles(&self) -> &str {
        &self.wire.roles
    }

    pub(in crate::policy) fn wire_tier(&self) -> Option<&str> {
        self.wire.tier.as_deref()
    }

    /// Whether both are the same subject of the same issuer.
    #[must_use]
    pub fn is_same_subject(&self, other: &Self) -> bool {
        self.issuer == other.issuer && self.subject == other.subject
    }

    /// About how many bytes it holds in memory, for bounded caches.
    #[must_use]
    pub fn footprint(&self) -> usize {
        let texts = |list: &[Box<str>]| -> usize { list.iter().map(|text| text.len().saturating_add(32)).sum() };
        [
            size_of::<Self>(),
            self.issuer.len(),
            self.subject.len().saturating_mul(2),
            texts(&self.roles),
            self.wire.roles.len(),
            texts(&self.scopes),
            map_footprint(&self.claims),
        ]
        .iter()
        .fold(0, |sum, part| sum.saturating_add(*part))
    }
}

/// Bytes that a JSON object holds: B-tree leaves of eleven entries (a `String` and a `Value` each, 640 bytes with their head), of
/// which a half may be empty, and each key's own allocation (16 bytes of the allocator).
fn map_footprint(map: &Map<String, Value>) -> usize {
    let leaves = map.len().div_ceil(6).saturating_mul(640);
    map.iter().fold(leaves, |sum, (key, value)| {
        sum.saturating_add(key.len().saturating_add(16)).saturating_add(value_footprint(value))
    })
}

/// Bytes that a JSON value holds beside itself; a list has room for twice its items at most.
fn value_footprint(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len().saturating_add(16),
        Value::Array(items) => {
            let room = items.len().max(4).saturating_mul(size_of::<Value>()).saturating_mul(2);
            items.iter().fold(room, |sum, item| sum.saturating_add(value_footprint(item)))
        }
        Value::Object(map) => map_footprint(map),
    }
}
