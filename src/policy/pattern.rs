//! Path patterns: `/orders/{id}/**`.

use super::CanonicalPath;

/// One segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this text.
    Literal(String),
    /// Any one segment; the name is for people.
    Any,
}

/// A pattern that a path matches whole; there is no unanchored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The segments, in order.
    pub segments: Vec<Segment>,
    /// Whether any number of further segments (none too) may follow: `/**`.
    pub rest: bool,
}

impl Pattern {
    /// Reads a pattern as an operator writes it.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err((format!("the path `{text}` does not start with `/`"), format!("write `/{text}`")));
        };
        let mut pattern = Self { segments: Vec::new(), rest: false };
        if inner.is_empty() {
            return Ok(pattern);
        }
        let mut parts = inner.split('/').peekable();
        while let Some(part) = parts.next() {
            if part == "**" && parts.peek().is_none() {
                pattern.rest = true;
            } else {
                pattern.segments.push(Self::segment(text, part)?);
            }
        }
        Ok(pattern)
    }

    fn segment(pattern: &str, part: &str) -> Result<Segment, (String, String)> {
        let wrong = |what: String, remedy: &str| Err((what, remedy.to_owned()));
        if let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
                return wrong(
                    format!("`{part}` in `{pattern}` is no segment name"),
                    "write `{name}` with letters, digits, `_` or `-`",
                );
            }
            return Ok(Segment::Any);
        }
        if part.is_empty() {
            return wrong(
                format!("the path `{pattern}` has an empty segment"),
                "write single slashes and none at the end: a path matches with and without a trailing slash",
            );
        }
        if part.contains(['{', '}', '*', '?', '#']) {
            return wrong(
                format!("`{part}` in `{pattern}` mixes text and wildcard"),
                "write a whole segment as `{name}`, or `/**` at the end for everything below",
            );
        }
        // The request's own normaliser reads the literal, so that both sides mean the same.
        let escaped: String =
            part.bytes().map(|b| if b.is_ascii() { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
        let target = format!("/{escaped}");
        let path = CanonicalPath::parse(target.as_bytes());
        match path.as_ref().map(|path| path.segments().collect::<Vec<_>>()).as_deref() {
            Ok([literal]) => Ok(Segment::Literal((*literal).to_owned())),
            Ok(_) | Err(_) => wrong(
                format!(
                    "no request can have the segment `{part}` of `{pattern}`: such paths are refused as ambiguous or malformed"
                ),
                "write the plain, decoded segment",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read() {
        let literal = |text: &str| Segment::Literal(text.to_owned());
        let table = [
            ("/", vec![], false),
            ("/**", vec![], true),
            ("/a", vec![literal("a")], false),
            ("/orders/{id}/**", vec![literal("orders"), Segment::Any], true),
            ("/caf%C3%A9/é/a%20b", vec![literal("café"), literal("é"), literal("a b")], false),
        ];
        for (text, segments, rest) in table {
            assert_eq!(Pattern::parse(text), Ok(Pattern { segments, rest }), "{text}");
        }
    }

    #[test]
    fn what_cannot_match_is_refused() {
        for text in [
            "",
            "a",
            "/a/",
            "//",
            "/a//b",
            "/a*",
            "/*",
            "/**/a",
            "/{a}.json",
            "/{}",
            "/{a b}",
            "/..",
            "/a;b",
            "/a%2fb",
            "/a b",
            "/a?x",
            "/%zz",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
