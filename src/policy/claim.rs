//! Finding a claim inside a token's claims.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The way to a claim: `roles`, `realm_access.roles`, `https://example.com/roles`, or a list of
/// names where one of them has a dot of its own (`[resource_access, my.client, roles]`).
///
/// Text that starts with a URI scheme (`https://`, `http://`, `urn:`) names one claim whole (RFC
/// 7519 section 4.2, collision-resistant names); any other text is cut at its dots.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Written")]
pub struct ClaimPath(Vec<Box<str>>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "the path of a claim: a text or a list of texts")]
enum Written {
    Text(String),
    Names(Vec<String>),
}

impl From<Written> for ClaimPath {
    fn from(written: Written) -> Self {
        match written {
            Written::Text(text) => Self::new(&text),
            Written::Names(names) => Self(names.into_iter().map(String::into_boxed_str).collect()),
        }
    }
}

/// One text, which is quoted where it looks like a number, or a list of such.
impl JsonSchema for ClaimPath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let name = json_schema!({"type": "string", "minLength": 1});
        json_schema!({
            "description": "The way to a claim: `roles`, `realm_access.roles`, `https://example.com/roles`, or a list of names where \
                            one of them has a dot of its own: [resource_access, my.client, roles].",
            "anyOf": [name, {"type": "array", "items": name, "minItems": 1}],
        })
    }
}

impl ClaimPath {
    /// The path that `text` writes.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if ["https://", "http://", "urn:"].iter().any(|scheme| text.starts_with(scheme)) {
            return Self(vec![text.into()]);
        }
        Self(text.split('.').map(Into::into).collect())
    }

    /// The claim at this path, if the token has it.
    #[must_use]
    pub fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(&**first)?, |value, name| value.as_object()?.get(&**name))
    }

    /// The claim that it starts with; none for an empty path.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(|name| &**name)
    }

    /// Whether the path names something: no part of it is empty or blank.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|name| !name.trim().is_empty())
    }
}

impl std::fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_plain_nested_and_namespaced_claims() {
        let claims = serde_json::json!({
            "roles": 1, "realm_access": {"roles": 2}, "https://example.com/roles": 3,
            "resource_access": {"my.client": {"roles": 4}}, "text": "x",
        });
        let claims = claims.as_object().expect("object");
        let find = |path: &str| -> Option<i64> {
            let path: ClaimPath = serde_json::from_str(path).expect("path");
            path.find(claims).and_then(Value::as_i64)
        };
        assert_eq!(find(r#""roles""#), Some(1));
        assert_eq!(find(r#""realm_access.roles""#), Some(2));
        assert_eq!(find(r#""https://example.com/roles""#), Some(3));
        assert_eq!(find(r#"["resource_access", "my.client", "roles"]"#), Some(4));
        assert_eq!(find(r#""text.roles""#), None);
        assert_eq!(find(r#""none""#), None);
        assert!(!ClaimPath::new("a..b").is_sane() && !ClaimPath::new("").is_sane() && !ClaimPath::new(" ").is_sane());
    }
}
