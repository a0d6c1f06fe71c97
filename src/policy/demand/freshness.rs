//! How lately and how well somebody has proven who they are (RFC 9470, OpenID Connect Core section 2).

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Names;
use crate::clock::UnixTime;

/// What is demanded of a sign-in. What a token does not say is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// How long ago it may be at most (`auth_time`).
    pub max_age: Option<Duration>,
    /// One of these authentication context classes (`acr`).
    pub acr: Vec<Box<str>>,
    /// These methods (`amr`, RFC 8176).
    pub amr: Option<Names>,
}

impl Freshness {
    /// The claims that it reads.
    pub const CLAIMS: [&'static str; 3] = ["auth_time", "acr", "amr"];

    /// How far an issuer's clock may be ahead. Without a bound a sign-in in the far future would be fresh for ever.
    const LEEWAY: Duration = Duration::from_secs(60);

    /// Whether the claims tell of such a sign-in.
    #[must_use]
    pub fn holds(&self, claims: &Map<String, Value>, now: UnixTime) -> bool {
        let young = self.max_age.is_none_or(|max| {
            let signed_in = claims.get("auth_time").and_then(Value::as_i64).map(UnixTime::from_secs);
            signed_in.is_some_and(|at| at <= now.after(Self::LEEWAY) && now.since(at) <= max)
        });
        let context = self.acr.is_empty()
            || claims.get("acr").and_then(Value::as_str).is_some_and(|acr| self.acr.iter().any(|own| **own == *acr));
        let used = claims.get("amr").and_then(Value::as_array);
        let has = |method: &str| used.is_some_and(|used| used.iter().any(|own| own.as_str() == Some(method)));
        young && context && self.amr.as_ref().is_none_or(|amr| amr.met(has))
    }
}

impl fmt::Display for Freshness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(age) = self.max_age {
            parts.push(format!("at most {} ago", humantime::format_duration(age)));
        }
        if !self.acr.is_empty() {
            parts.push(format!("with acr {}", self.acr.join(" or ")));
        }
        match &self.amr {
            Some(Names::Any(names)) => parts.push(format!("by any of {}", names.join(", "))),
            Some(Names::All(names)) => parts.push(format!("by all of {}", names.join(", "))),
            None => {}
        }
        write!(f, "signed in {}", parts.join(", "))
    }
}
