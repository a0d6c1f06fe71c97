//! A signed message in compact form (RFC 7515 section 3.1): what was signed, and nothing of what it means.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::json;
use crate::policy::Reason;

/// Longest token, in bytes: proxies limit a header to 8 KiB (nginx) up to 64 KiB (Envoy), and what
/// exceeds this is no access token but an attempt to make the gate work.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// As lax as the readers of others: the last bits may be anything.
const URL_SAFE_LAX: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
);

/// A signed message taken apart and not believed: [`super::KeySet::signer`] tells whose it is. Whether its payload holds claims is
/// asked by [`super::UnverifiedToken`].
#[derive(Debug)]
pub struct Jws<'t> {
    header: Map<String, Value>,
    payload: Vec<u8>,
    signing_input: &'t str,
    signature: &'t str,
}

impl<'t> Jws<'t> {
    /// Takes a message apart.
    ///
    /// # Errors
    /// [`Reason::TokenTooLarge`]; [`Reason::MalformedToken`] for what is not three parts of strict, unpadded base64url with a JSON
    /// object in the first; [`Reason::CriticalHeader`].
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
        let header = json::object(&decode(header)?).map_err(|_| Reason::MalformedToken)?;
        if header.contains_key("crit") {
            return Err(Reason::CriticalHeader);
        }
        Ok(Self { header, payload: decode(payload)?, signing_input, signature })
    }

    /// The header, as it came.
    #[must_use]
    pub fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// A text member of the header; `Err` if it is there and no text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Reason> {
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
        self.text("kid")
    }

    /// What was signed, decoded.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(super) fn signing_input(&self) -> &'t str {
        self.signing_input
    }

    pub(super) fn signature(&self) -> &'t str {
        self.signature
    }
}

/// Whether a text is written as signed or encrypted messages are (RFC 7515 section 3.1, RFC 7516 section 3.1), read as laxly as anybody
/// may: it is somebody's token then, though none that is read here.
pub(super) fn is_jose(text: &str) -> bool {
    let mut parts = text.split('.');
    let (Some(header), Some(_), Some(_)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let header = header.trim_end_matches('=').replace('+', "-").replace('/', "_");
    let lax = URL_SAFE_LAX.decode(header).unwrap_or_default();
    lax.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(&lax).is_ok()
}

fn decode(part: &str) -> Result<Vec<u8>, Reason> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Reason::MalformedToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_as_a_signed_or_encrypted_message_is_no_opaque_token() {
        let header = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for text in [
            r#"{"alg":"RS256","kid":7}"#,
            r#" {"alg":"none"}"#,
            r#"{"alg":"a","alg":"b"}"#,
            &format!("{{\"x\":{}{}}}", "[".repeat(200), "]".repeat(200)),
            "{\"x\":\"\u{fffd}?~~~\"}",
        ] {
            for rest in [".e30.c2ln", ".e30.", "..", ".k.iv.text.tag", ".a b.c"] {
                assert!(is_jose(&format!("{}{rest}", header(text))), "{text}{rest}");
            }
            let padded = base64::engine::general_purpose::STANDARD.encode(text);
            assert!(is_jose(&format!("{padded}.e30.c2ln")), "{padded}");
        }
        for opaque in ["", "opaque", "a.b.c", "v4.public.eyJhIjoxfQ", &format!("{}.x", header("{}"))] {
            assert!(!is_jose(opaque), "{opaque}");
        }
        for other in ["[1]", "7", "\"a\"", "{", "{\"a\":}", "{} x"] {
            assert!(!is_jose(&format!("{}.b.c", header(other))), "{other}");
        }
    }
}
