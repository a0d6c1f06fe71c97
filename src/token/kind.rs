//! What a token is for. The checks of one kind must fail for the others (RFC 8725 section 3.12): an ID token tells a client who
//! signed in and opens nothing, and one key often signs both.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::policy::Reason;

/// What an issuer's token can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// For services (RFC 6749 section 1.4, RFC 9068).
    AccessToken,
    /// For the client that signed somebody in (OpenID Connect Core section 2).
    IdToken,
}

/// By what an issuer's tokens tell their kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldBy {
    /// By the header's `at+jwt`, and by claims that only an ID token has: `nonce`, `at_hash`, `c_hash` (OpenID Connect Core sections 2
    /// and 3.3.2.11). A token with neither may be either.
    Marks,
    /// By the claim `typ`, as Keycloak writes it into every token: `Bearer`, `ID`, `Refresh`, `Logout` and others.
    TypClaim,
}

/// Which tokens of an issuer are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepts {
    /// The header's media types (RFC 8725 section 3.11), in lower case and without `application/` (RFC 7515 section 4.1.9).
    pub types: Vec<Box<str>>,
    /// Whether a token without `typ` in its header is taken.
    pub untyped: bool,
    /// The kinds.
    pub kinds: Vec<TokenKind>,
    /// By what they tell their kind.
    pub told_by: ToldBy,
}

impl Default for Accepts {
    fn default() -> Self {
        let types = vec!["jwt".into(), ACCESS_TOKEN_TYPE.into()];
        Self { types, untyped: false, kinds: vec![TokenKind::AccessToken], told_by: ToldBy::Marks }
    }
}

/// The type that makes a token an access token (RFC 9068 section 2.1).
const ACCESS_TOKEN_TYPE: &str = "at+jwt";

impl Accepts {
    /// Checks the header's `typ`, which tells whether the rest is worth looking at.
    ///
    /// # Errors
    /// [`Reason::WrongType`].
    pub(super) fn check_type(&self, typ: Option<&str>) -> Result<(), Reason> {
        let allowed = typ.map_or(self.untyped, |typ| self.types.iter().any(|name| is_type(typ, name)));
        allowed.then_some(()).ok_or(Reason::WrongType)
    }

    /// Checks what an issuer's answer about a token (RFC 7662 section 2.2) says of the kind. Refresh tokens are active, too, and are told
    /// by `token_type` or its absence; Hydra calls them `Bearer` and tells them by `token_use`.
    ///
    /// # Errors
    /// [`Reason::SenderConstrained`], [`Reason::WrongKind`].
    pub(super) fn check_answer(&self, may_lack_type: bool, answer: &Map<String, Value>) -> Result<(), Reason> {
        let is = |claim: &Value, word: &str| claim.as_str().is_some_and(|text| text.eq_ignore_ascii_case(word));
        match answer.get("token_type") {
            Some(told) if is(told, "Bearer") => {}
            Some(told) if is(told, "DPoP") => return Err(Reason::SenderConstrained),
            None if may_lack_type || self.told_by == ToldBy::TypClaim => {}
            Some(_) | None => return Err(Reason::WrongKind),
        }
        if answer.get("token_use").is_some_and(|told| told != "access_token") {
            return Err(Reason::WrongKind);
        }
        self.check_kind(None, answer)
    }

    /// Checks what the claims say of the kind.
    ///
    /// # Errors
    /// [`Reason::WrongKind`].
    pub(super) fn check_kind(&self, typ: Option<&str>, claims: &Map<String, Value>) -> Result<(), Reason> {
        // A security event, such as a logout token (RFC 8417 section 2.2, OpenID Connect Back-Channel Logout section 2.4).
        if claims.contains_key("events") {
            return Err(Reason::WrongKind);
        }
        let kind = match self.told_by {
            ToldBy::TypClaim => match claims.get("typ").and_then(Value::as_str) {
                Some("Bearer") => Some(TokenKind::AccessToken),
                Some("ID") => Some(TokenKind::IdToken),
                Some(_) | None => return Err(Reason::WrongKind),
            },
            ToldBy::Marks if typ.is_some_and(|typ| is_type(typ, ACCESS_TOKEN_TYPE)) => Some(TokenKind::AccessToken),
            ToldBy::Marks if ["nonce", "at_hash", "c_hash"].iter().any(|mark| claims.contains_key(*mark)) => {
                Some(TokenKind::IdToken)
            }
            ToldBy::Marks => None,
        };
        let taken = kind.is_none_or(|kind| self.kinds.contains(&kind));
        taken.then_some(()).ok_or(Reason::WrongKind)
    }
}

/// Whether a header's `typ` is the media type `name`, which is written as in [`Accepts::types`].
fn is_type(typ: &str, name: &str) -> bool {
    const PREFIX: &str = "application/";
    let short = typ.get(..PREFIX.len()).filter(|start| start.eq_ignore_ascii_case(PREFIX));
    let short = short.and_then(|_| typ.get(PREFIX.len()..)).unwrap_or(typ);
    short.eq_ignore_ascii_case(name)
}
