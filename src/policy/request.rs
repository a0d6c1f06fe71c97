//! What is asked, free of any proxy's way of asking.

use std::net::IpAddr;

use super::cors::Preflight;
use super::{CanonicalPath, Host, Reason};

/// Longest method that is judged, in bytes; the longest registered one has 17.
const MAX_METHOD_BYTES: usize = 32;

/// A request method (RFC 9110 section 9.1). Case counts; only upper case is taken, because
/// upstreams disagree on whether `get` is `GET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Method<'a>(&'a str);

impl<'a> Method<'a> {
    /// Reads a method: upper-case letters, digits, `-` and `_`, starting with a letter.
    ///
    /// # Errors
    /// [`Reason::MalformedMethod`] for anything else, and for `CONNECT`, which asks for a tunnel
    /// and not for a resource.
    pub fn parse(raw: &'a [u8]) -> Result<Self, Reason> {
        let sane = raw.len() <= MAX_METHOD_BYTES
            && raw.first().is_some_and(u8::is_ascii_uppercase)
            && raw.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'-' || *b == b'_');
        match str::from_utf8(raw) {
            Ok(text) if sane && text != "CONNECT" => Ok(Self(text)),
            Ok(_) | Err(_) => Err(Reason::MalformedMethod),
        }
    }

    /// The method as text.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

/// The facts of one request as the policy sees them: the same behind every proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFacts<'a> {
    /// The rule set that the proxy names, never the client.
    pub rule_set: Option<&'a str>,
    /// What the client wants done.
    pub method: Method<'a>,
    /// The host it asked for.
    pub host: Host<'a>,
    /// The path it asked for.
    pub path: CanonicalPath<'a>,
    /// The question of a browser that comes before another origin's request, if this is one.
    pub preflight: Option<Preflight<'a>>,
    /// Where it comes from: the nearest address that is not one of our own proxies.
    pub client: IpAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        for good in ["GET", "M-SEARCH", "FOO", "VERSION-CONTROL"] {
            assert_eq!(Method::parse(good.as_bytes()).map(|m| m.as_str()), Ok(good));
        }
        for bad in ["", "get", "Get", "GET ", "GET,POST", "GET POST", "CONNECT", "-A", "G\u{e9}T", &"A".repeat(33)] {
            assert_eq!(Method::parse(bad.as_bytes()), Err(Reason::MalformedMethod), "{bad}");
        }
    }
}
