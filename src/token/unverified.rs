//! A token taken apart and not believed. What it says is used for two things only: `iss` picks the
//! issuer whose keys and rules apply, `kid` and `alg` pick the key among that issuer's keys.

use serde_json::{Map, Value};

use super::{Jws, json};
use crate::policy::Reason;

/// A signed message whose payload is claims.
#[derive(Debug)]
pub struct UnverifiedToken<'t> {
    jws: Jws<'t>,
    claims: Map<String, Value>,
}

impl<'t> UnverifiedToken<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// As [`Jws::parse`], and [`Reason::MalformedToken`] if the payload is no JSON object.
    pub fn parse(token: &'t str) -> Result<Self, Reason> {
        let jws = Jws::parse(token)?;
        let claims = json::object(jws.payload()).map_err(|_| Reason::MalformedToken)?;
        Ok(Self { jws, claims })
    }

    /// The signed message.
    #[must_use]
    pub fn jws(&self) -> &Jws<'t> {
        &self.jws
    }

    /// The key that it names.
    ///
    /// # Errors
    /// As [`Jws::kid`].
    pub fn kid(&self) -> Result<Option<&str>, Reason> {
        self.jws.kid()
    }

    /// The issuer that it names; the exact text, as issuers are compared (RFC 7519 section 4.1.1).
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// What it says, which nobody has verified.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    pub(super) fn into_claims(self) -> Map<String, Value> {
        self.claims
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn token(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    fn fault(token: &str) -> Option<Reason> {
        UnverifiedToken::parse(token).err()
    }

    #[test]
    fn what_is_no_compact_jws_is_refused() {
        let good = token("{}", "{}");
        assert_eq!(fault(&good), None);
        for bad in [
            String::new(),
            ".".into(),
            "..".into(),
            ".".repeat(10_000),
            "a.b".into(),
            format!("{good}.x"),
            format!("x{good}"),
            good.replacen('.', "=.", 1),
            token("[]", "{}"),
            token("{}", "1"),
            token("{\"a\":1,\"a\":1}", "{}"),
            token("{}", "{\"sub\":\"a\",\"sub\":\"b\"}"),
            format!("e31.e30.{}", "x"),
        ] {
            assert_eq!(fault(&bad), Some(Reason::MalformedToken), "{bad}");
        }
        assert_eq!(fault(&".".repeat(100_000)), Some(Reason::TokenTooLarge));
        for crit in [r#"{"crit":["b64"]}"#, r#"{"crit":[]}"#, r#"{"crit":null}"#] {
            assert_eq!(fault(&token(crit, "{}")), Some(Reason::CriticalHeader));
        }
    }
}
