//! The one path normaliser. What can be read in two ways is refused, not repaired: proxies
//! normalise differently and upstreams decode again, so a "repaired" path would be one that
//! somebody else reads otherwise.

use std::borrow::Cow;

use super::Reason;

/// Longest request target that is judged, in bytes. Common servers stop at 8 KiB for the whole
/// request line; a longer one would only serve to make the gate work.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;

/// A request path in its one canonical spelling: percent-decoded, free of dot segments, empty
/// segments, path parameters, and encoded delimiters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath<'a>(Cow<'a, str>);

impl<'a> CanonicalPath<'a> {
    /// Reads an origin-form request target (RFC 9112 section 3.2.1): the path up to the first `?`;
    /// the query is checked for bytes that no query may hold and then left out.
    ///
    /// # Errors
    /// [`Reason::MalformedUri`] if it is no origin-form target: not starting with `/`, a control
    /// byte, a space, a byte outside ASCII, a `#`, a broken percent escape, escapes that are not
    /// UTF-8, or longer than [`MAX_TARGET_BYTES`].
    /// [`Reason::AmbiguousPath`] if two readers may take it for two paths: `.` and `..` segments,
    /// a blank at a segment's edge, a dot at its end, `//`, `;`, `\`, and the escapes of
    /// `/ \ . ; ? # %`, of characters that show nothing, and of text that Unicode normalises to other text (NFKC).
    pub fn parse(target: &'a [u8]) -> Result<Self, Reason> {
        if target.len() > MAX_TARGET_BYTES || target.first() != Some(&b'/') {
            return Err(Reason::MalformedUri);
        }
        let target = str::from_utf8(target).map_err(|_| Reason::MalformedUri)?;
        if !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(Reason::MalformedUri);
        }
        let raw = target.split_once('?').map_or(target, |(path, _query)| path);
        if raw.bytes().any(|b| b == b';' || b == b'\\') {
            return Err(Reason::AmbiguousPath);
        }
        let path = if raw.contains('%') { Cow::Owned(decode(raw)?) } else { Cow::Borrowed(raw) };
        let canonical = Self(path);
        if canonical.0.ends_with("//") || canonical.segments().any(is_ambiguous) {
            return Err(Reason::AmbiguousPath);
        }
        Ok(canonical)
    }

    /// The segments between the slashes. A trailing slash makes no segment: `/orders/` is
    /// `/orders`, because most upstreams serve both alike and a rule must not be escaped by it.
    pub fn segments(&self) -> impl Iterator<Item = &str> + Clone {
        let inner = self.0.strip_prefix('/').unwrap_or(&self.0);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let none = inner.is_empty();
        inner.split('/').skip(usize::from(none))
    }

    /// The path as text, percent-decoded: for logs and for people.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same path with letter case folded, for policies with `case_insensitive_paths`.
    #[must_use]
    pub fn folded(&self) -> CanonicalPath<'static> {
        CanonicalPath(Cow::Owned(folded(&self.0)))
    }
}

/// `text` without letter case. Through capitals and back, because some upstreams compare capitals: there `ſ` is `S` and `ı` is
/// `I`, and a rule for `/users` must not be escaped by `/uſers`.
pub(super) fn folded(text: &str) -> String {
    let capitals = text.chars().flat_map(char::to_lowercase).flat_map(char::to_uppercase);
    capitals.flat_map(char::to_lowercase).collect()
}

/// Whether some upstream takes the segment for another one: empty, `.` and `..`; and because some trim them, with a blank at an
/// edge or a dot at the end (`admin%20` and `admin.` are `admin` on some file systems).
fn is_ambiguous(segment: &str) -> bool {
    segment.is_empty() || segment.ends_with('.') || segment.trim().len() != segment.len()
}

/// Whether a reader, or an upstream that cleans up, would not see the character: controls, and what formats text without showing
/// (soft hyphen, zero width, direction, separators of lines).
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Percent-decodes (RFC 3986 section 2.1) what is safe to decode.
fn decode(raw: &str) -> Result<String, Reason> {
    let mut bytes = raw.bytes();
    let mut decoded = Vec::with_capacity(raw.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (bytes.next().and_then(hex), bytes.next().and_then(hex)) else {
            return Err(Reason::MalformedUri);
        };
        let value = (high << 4) | low;
        if value.is_ascii_control() || b"/\\.;?#%".contains(&value) {
            return Err(Reason::AmbiguousPath);
        }
        decoded.push(value);
    }
    let text = String::from_utf8(decoded).map_err(|_| Reason::MalformedUri)?;
    if text.chars().any(is_invisible) || !unicode_normalization::is_nfkc(&text) {
        return Err(Reason::AmbiguousPath);
    }
    Ok(text)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(target: &str) -> Result<String, Reason> {
        CanonicalPath::parse(target.as_bytes()).map(|p| p.as_str().to_owned())
    }

    #[test]
    fn plain_paths_are_borrowed_and_kept() {
        for path in ["/", "/a", "/a/", "/a/b.c/...d", "/a,b/c=d&e@f:g!$'()*+~_-", "/a|b<c>{d}"] {
            assert_eq!(canonical(path).as_deref(), Ok(path));
            assert!(matches!(CanonicalPath::parse(path.as_bytes()), Ok(CanonicalPath(Cow::Borrowed(_)))));
        }
        assert_eq!(canonical("/a?b=/../%zz;").as_deref(), Ok("/a"));
    }

    #[test]
    fn escapes_of_harmless_characters_are_decoded() {
        assert_eq!(canonical("/%61dmin").as_deref(), Ok("/admin"));
        assert_eq!(canonical("/caf%C3%A9%20x%3d").as_deref(), Ok("/café x="));
    }

    #[test]
    fn two_readings_are_refused() {
        for path in [
            "/a/../b",
            "/a/..",
            "/./a",
            "/a/.",
            "//a",
            "/a//b",
            "/a//",
            "//",
            "/a;x=1",
            "/a/..;/b",
            "/a\\b",
            "/%2fa",
            "/%2Fa",
            "/a%5cb",
            "/a%5Cb",
            "/%2e%2e/a",
            "/.%2E/a",
            "/a%2e",
            "/a%3bb",
            "/a%3Fb",
            "/a%23",
            "/a%252e",
            "/a%00",
            "/a%0d%0a",
            "/a%7f",
            "/a%C2%85",
            "/%EF%BD%81dmin",
            "/a%E2%80%8B",
            "/a%C2%ADb",
            "/e%CC%81",
            "/a%E2%80%AEb",
            "/a%20",
            "/%20a/b",
            "/a%20/b",
            "/a.",
            "/a./b",
            "/...",
            "/a%C2%A0",
        ] {
            assert_eq!(canonical(path), Err(Reason::AmbiguousPath), "{path}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for path in [
            "",
            "*",
            "a",
            "http://h/a",
            "?a",
            "/a b",
            "/a\tb",
            "/a#b",
            "/a?b#c",
            "/é",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%ff",
            "/%c0%ae%c0%ae",
            "/a\u{7f}",
            "/a?\u{1}",
        ] {
            assert_eq!(canonical(path), Err(Reason::MalformedUri), "{path}");
        }
        assert_eq!(canonical(&format!("/{}", "a".repeat(MAX_TARGET_BYTES))), Err(Reason::MalformedUri));
        assert!(CanonicalPath::parse(b"/\xff").is_err());
    }

    #[test]
    fn a_trailing_slash_makes_no_segment() {
        let segments = |p: &str| -> Vec<String> {
            let path = CanonicalPath::parse(p.as_bytes()).expect("canonical");
            path.segments().map(str::to_owned).collect()
        };
        assert_eq!(segments("/"), Vec::<String>::new());
        assert_eq!(segments("/a/b/"), ["a", "b"]);
        assert_eq!(segments("/a/b"), ["a", "b"]);
    }
}
