//! Where a credential sits in a request and how it is taken out: presented, not believed.

pub mod bearer;
pub mod cookie;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::policy::Reason;

/// The kinds of credential that a rule may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// `Authorization: Bearer TOKEN` (RFC 6750 section 2.1).
    Bearer,
    /// A token in a cookie of a configured name.
    Cookie,
}

impl CredentialKind {
    /// What a rule takes that names no kinds, the preferred one first.
    pub const DEFAULT: [Self; 2] = [Self::Bearer, Self::Cookie];
}

/// The lines of one request header, in the order they came; usually one.
#[derive(Debug, Clone, Default)]
pub struct Lines<'a> {
    first: Option<&'a [u8]>,
    more: Vec<&'a [u8]>,
}

impl<'a> Lines<'a> {
    /// Adds a line.
    pub fn push(&mut self, line: &'a [u8]) {
        match self.first {
            None => self.first = Some(line),
            Some(_) => self.more.push(line),
        }
    }

    /// The lines.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.first.into_iter().chain(self.more.iter().copied())
    }

    /// The only line.
    ///
    /// # Errors
    /// `doubled` if there are several.
    pub fn only<E>(&self, doubled: E) -> Result<Option<&'a [u8]>, E> {
        if self.more.is_empty() { Ok(self.first) } else { Err(doubled) }
    }
}

/// What the client presented.
#[derive(Debug, Clone, Default)]
pub struct Presented<'a> {
    /// The `Authorization` lines.
    pub authorization: Lines<'a>,
    /// The `Cookie` lines.
    pub cookie: Lines<'a>,
}

impl<'a> Presented<'a> {
    /// The token of the given kind, if one is presented; `cookie_name` is the cookie that holds it.
    ///
    /// # Errors
    /// [`Reason::DoubledCredential`] if there are several of this kind, even equal ones: proxies
    /// and upstreams disagree on which counts. [`Reason::MalformedCredential`] if it holds no token.
    pub fn token(&self, kind: CredentialKind, cookie_name: &str) -> Result<Option<&'a str>, Reason> {
        match kind {
            CredentialKind::Bearer => bearer::token(&self.authorization),
            CredentialKind::Cookie => cookie::token(&self.cookie, cookie_name),
        }
    }
}

/// Whether the text may be a token (RFC 6750 section 2.1, and no comma, by which proxies join lines). Without an early end, so
/// that it is done 16 bytes at a time: tokens are long and nearly always good.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().fold(true, |good, b| good & (b.is_ascii_graphic() & (*b != b',')))
}
