//! The one host normaliser.

use std::borrow::Cow;

use super::Reason;

/// Longest host name in DNS, in bytes (RFC 1035 section 2.3.4).
const MAX_HOST_BYTES: usize = 253;

/// A host in its one canonical spelling: lower case, without port, without the trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host<'a>(Cow<'a, str>);

impl<'a> Host<'a> {
    /// Reads `uri-host [ ":" port ]` (RFC 9110 section 7.2).
    ///
    /// # Errors
    /// [`Reason::MalformedHost`] for whatever is not exactly that: several hosts joined by a comma,
    /// user information, a path, a port that is no number, an empty label, a byte outside
    /// `a-z 0-9 - _ .` (an IPv6 address may stand in brackets).
    pub fn parse(raw: &'a [u8]) -> Result<Self, Reason> {
        Self::read(raw).ok_or(Reason::MalformedHost)
    }

    fn read(raw: &'a [u8]) -> Option<Self> {
        let raw = str::from_utf8(raw).ok()?;
        let (name, port) = if let Some(bracketed) = raw.strip_prefix('[') {
            let (address, rest) = bracketed.split_once(']')?;
            let address: std::net::Ipv6Addr = address.parse().ok()?;
            let port = if rest.is_empty() { "" } else { rest.strip_prefix(':')? };
            (Cow::Owned(format!("[{address}]")), port)
        } else {
            let (name, port) = raw.split_once(':').unwrap_or((raw, ""));
            (Cow::Borrowed(Self::name(name)?), port)
        };
        // `host:` with an empty port is legal (RFC 3986 section 3.2.3).
        if port.starts_with('+') || (!port.is_empty() && port.parse::<u16>().is_err()) {
            return None;
        }
        Some(Self(if name.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            name
        }))
    }

    fn name(name: &str) -> Option<&str> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let sane = name.len() <= MAX_HOST_BYTES
            && name.split('.').all(|label| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            });
        sane.then_some(name)
    }

    /// The host as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_host_are_one() {
        for raw in
            ["shop.example", "SHOP.example", "shop.example.", "shop.example:443", "shop.EXAMPLE.:8443", "shop.example:"]
        {
            assert_eq!(
                Host::parse(raw.as_bytes()).map(|h| h.as_str().to_owned()).as_deref(),
                Ok("shop.example"),
                "{raw}"
            );
        }
        assert_eq!(Host::parse(b"[::0001]:80").map(|h| h.as_str().to_owned()).as_deref(), Ok("[::1]"));
        assert_eq!(Host::parse(b"127.0.0.1:80").map(|h| h.as_str().to_owned()).as_deref(), Ok("127.0.0.1"));
    }

    #[test]
    fn what_is_not_one_host_is_refused() {
        for raw in [
            "",
            ".",
            "a..b",
            "a.b..",
            ".a",
            "a,b",
            "a, b",
            "u@h",
            "h/x",
            "h?x",
            "h#x",
            "h\\x",
            "h:abc",
            "h:80:80",
            "h:99999",
            "h:+8",
            "a b",
            "a\";for=1.2.3.4",
            "é.example",
            "[::1",
            "[::1]x",
            "[x]",
            "::1",
        ] {
            assert_eq!(Host::parse(raw.as_bytes()), Err(Reason::MalformedHost), "{raw}");
        }
        assert!(Host::parse(&vec![b'a'; 254]).is_err());
        assert!(Host::parse(b"\xff").is_err());
    }
}
