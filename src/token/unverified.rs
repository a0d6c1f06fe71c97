//! A token taken apart and not believed. What it says is used for two things only: `iss` picks the
//! issuer whose keys and rules apply, `kid` and `alg` pick the key among that issuer's keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use crate::policy::Reason;

/// Longest token, in bytes: proxies limit a header to 8 KiB (nginx) up to 64 KiB (Envoy), and what
/// exceeds this is no access token but an attempt to make the gate work.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// A JWS in compact form (RFC 7515 section 3.1) whose parts have been decoded.
#[derive(Debug)]
pub struct UnverifiedToken<'t> {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signing_input: &'t str,
    signature: &'t str,
}

impl<'t> UnverifiedToken<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`Reason::TokenTooLarge`]; [`Reason::MalformedToken`] for what is not three parts of strict,
    /// unpadded base64url with JSON objects in the first two; [`Reason::CriticalHeader`].
    pub fn parse(token: &'t str) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Reason::TokenTooLarge);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(Reason::MalformedToken)?;
        let (header, payload) = signing_input.split_once('.').ok_or(Reason::MalformedToken)?;
        // More dots than two make it a JWE or nothing: neither is read.
        if payload.contains('.') {
            return Err(Reason::MalformedToken);
        }
        let header = part(header)?;
        if header.contains_key("crit") {
            return Err(Reason::CriticalHeader);
        }
        Ok(Self { header, claims: part(payload)?, signing_input, signature })
    }

    /// A text member of the header; `Err` if it is there and no text.
    pub(super) fn header(&self, name: &str) -> Result<Option<&str>, Reason> {
        match self.header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Reason::MalformedToken),
        }
    }

    /// The key that it names.
    ///
    /// # Errors
    /// [`Reason::MalformedToken`] if `kid` is no text.
    pub fn kid(&self) -> Result<Option<&str>, Reason> {
        self.header("kid")
    }

    /// The issuer that it names; the exact text, as issuers are compared (RFC 7519 section 4.1.1).
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    pub(super) fn signing_input(&self) -> &'t str {
        self.signing_input
    }

    pub(super) fn signature(&self) -> &'t str {
        self.signature
    }

    pub(super) fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    pub(super) fn into_claims(self) -> Map<String, Value> {
        self.claims
    }
}

fn part(encoded: &str) -> Result<Map<String, Value>, Reason> {
    let text = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Reason::MalformedToken)?;
    json::object(&text).map_err(|_| Reason::MalformedToken)
}

#[cfg(test)]
mod tests {
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
