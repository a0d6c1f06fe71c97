//! Who is asking, once that is proven.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::identity::{from_wire, joined, wire_safe};

/// A believed asker. Made from verified claims only. Many are remembered, so it is small: texts are kept once, in the encoding of
/// identity headers, in which a comma can only stand between two items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    issuer: Arc<str>,
    subject: Box<str>,
    /// Only if it differs from the subject.
    wire_subject: Option<Box<str>>,
    wire_roles: Box<str>,
    wire_groups: Box<str>,
    wire_scopes: Box<str>,
    wire_tier: Option<Box<str>>,
    wire_tenant: Option<Box<str>>,
    claims: Map<String, Value>,
}

impl Principal {
    /// The principal `subject` of the issuer named `issuer`. An empty `tier` counts as none. `claims` are those that somebody
    /// reads.
    #[must_use]
    pub fn new<'t>(
        issuer: impl Into<Arc<str>>,
        subject: &str,
        roles: impl IntoIterator<Item = &'t str>,
        groups: impl IntoIterator<Item = &'t str>,
        scopes: impl IntoIterator<Item = &'t str>,
        tier: Option<&str>,
        claims: Map<String, Value>,
    ) -> Self {
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
            wire_subject: Some(wire_safe(subject)).filter(|wire| wire != subject).map(Into::into),
            wire_roles: joined(roles.into_iter()).into(),
            wire_groups: joined(groups.into_iter()).into(),
            wire_scopes: joined(scopes.into_iter()).into(),
            wire_tier: tier.filter(|tier| !tier.is_empty()).map(|tier| wire_safe(tier).into()),
            wire_tenant: None,
            claims,
        }
    }

    /// The same principal, of this tenant; an empty one counts as none.
    #[must_use]
    pub fn of_tenant(mut self, tenant: Option<&str>) -> Self {
        self.wire_tenant = tenant.filter(|tenant| !tenant.is_empty()).map(|tenant| wire_safe(tenant).into());
        self
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

    /// Whether it has this role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        holds(&self.wire_roles, role)
    }

    /// Whether it is in this group.
    #[must_use]
    pub fn has_group(&self, group: &str) -> bool {
        holds(&self.wire_groups, group)
    }

    /// Whether it has this scope (RFC 6749 section 3.3).
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        holds(&self.wire_scopes, scope)
    }

    /// Its roles.
    pub fn roles(&self) -> impl Iterator<Item = Cow<'_, str>> {
        items(&self.wire_roles)
    }

    /// Its groups.
    pub fn groups(&self) -> impl Iterator<Item = Cow<'_, str>> {
        items(&self.wire_groups)
    }

    /// Its scopes.
    pub fn scopes(&self) -> impl Iterator<Item = Cow<'_, str>> {
        items(&self.wire_scopes)
    }

    /// Its tier, if the issuer names one.
    #[must_use]
    pub fn tier(&self) -> Option<Cow<'_, str>> {
        self.wire_tier.as_deref().map(from_wire)
    }

    /// Those of its verified claims that the policy reads.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Its subject, encoded as in headers.
    #[must_use]
    pub fn wire_subject(&self) -> &str {
        self.wire_subject.as_deref().unwrap_or(&self.subject)
    }

    /// Its roles, encoded as in headers.
    #[must_use]
    pub fn wire_roles(&self) -> &str {
        &self.wire_roles
    }

    /// Its groups, in the same encoding.
    #[must_use]
    pub fn wire_groups(&self) -> &str {
        &self.wire_groups
    }

    /// Its scopes, in the same encoding.
    #[must_use]
    pub fn wire_scopes(&self) -> &str {
        &self.wire_scopes
    }

    /// Its tier, encoded as in headers, if the issuer names one.
    #[must_use]
    pub fn wire_tier(&self) -> Option<&str> {
        self.wire_tier.as_deref()
    }

    /// Its tenant, encoded as in headers, if the issuer names one.
    #[must_use]
    pub fn wire_tenant(&self) -> Option<&str> {
        self.wire_tenant.as_deref()
    }

    /// Whether both are the same subject of the same issuer.
    #[must_use]
    pub fn is_same_subject(&self, other: &Self) -> bool {
        self.issuer == other.issuer && self.subject == other.subject
    }

    /// About how many bytes it holds in memory, for bounded caches.
    #[must_use]
    pub fn footprint(&self) -> usize {
        let texts = [
            Some(&self.subject),
            self.wire_subject.as_ref(),
            Some(&self.wire_roles),
            Some(&self.wire_groups),
            Some(&self.wire_scopes),
            self.wire_tier.as_ref(),
            self.wire_tenant.as_ref(),
        ];
        let itself = size_of::<Self>().saturating_add(map_footprint(&self.claims));
        texts.into_iter().flatten().fold(itself, |sum, text| sum.saturating_add(text_footprint(text)))
    }
}

/// Whether an encoded list has this item. The encoding is reversible, so equal texts have equal encodings and others have not.
fn holds(list: &str, item: &str) -> bool {
    let item = wire_safe(item);
    !item.is_empty() && list.split(',').any(|own| own == item)
}

/// The items of an encoded list.
fn items(list: &str) -> impl Iterator<Item = Cow<'_, str>> {
    list.split(',').filter(|item| !item.is_empty()).map(from_wire)
}

/// Bytes that a text holds beside itself, with what the allocator adds and rounds up.
fn text_footprint(text: &str) -> usize {
    if text.is_empty() { 0 } else { text.len().saturating_add(16) }
}

/// Bytes that a JSON object holds: B-tree leaves of eleven entries (a `String` and a `Value` each, 640 bytes with their head), of
/// which a half may be empty, and each key's own allocation.
fn map_footprint(map: &Map<String, Value>) -> usize {
    let leaves = map.len().div_ceil(6).saturating_mul(640);
    map.iter().fold(leaves, |sum, (key, value)| {
        sum.saturating_add(text_footprint(key)).saturating_add(value_footprint(value))
    })
}

/// Bytes that a JSON value holds beside itself; a list has room for twice its items at most.
fn value_footprint(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text_footprint(text),
        Value::Array(items) => {
            let room = items.len().max(4).saturating_mul(size_of::<Value>()).saturating_mul(2);
            items.iter().fold(room, |sum, item| sum.saturating_add(value_footprint(item)))
        }
        Value::Object(map) => map_footprint(map),
    }
}
