//! Path patterns: `/orders/{id}/**`.

use super::CanonicalPath;
use super::demand::{Pattern as Regex, Patterns as Regexes};

/// One segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this text.
    Literal(String),
    /// One segment that matches whole: `{id:[0-9]+}`.
    Matching(Regex),
    /// Any one segment; the name is for people.
    Any,
}

/// A pattern that a path matches whole; there is no unanchored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// As it was written.
    pub source: Box<str>,
    /// The segments, in order.
    pub segments: Vec<Segment>,
    /// Whether any number of further segments (none too) may follow: `/**`.
    pub rest: bool,
}

impl Pattern {
    /// Reads a pattern as an operator writes it; its regular expressions come from `regexes`.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str, regexes: &Regexes) -> Result<Self, (String, String)> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err((format!("the path `{text}` does not start with `/`"), format!("write `/{text}`")));
        };
        let mut pattern = Self { source: text.into(), segments: Vec::new(), rest: false };
        if inner.is_empty() {
            return Ok(pattern);
        }
        let parts = split(inner);
        let last = parts.len().saturating_sub(1);
        for (i, part) in parts.into_iter().enumerate() {
            if part == "**" && i == last {
                pattern.rest = true;
            } else {
                pattern.segments.push(Self::segment(text, part, regexes)?);
            }
        }
        Ok(pattern)
    }

    fn segment(pattern: &str, part: &str, regexes: &Regexes) -> Result<Segment, (String, String)> {
        let wrong = |what: String, remedy: &str| Err((what, remedy.to_owned()));
        if let Some(name) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let (name, regex) = name.split_once(':').map_or((name, None), |(name, regex)| (name, Some(regex)));
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
                return wrong(
                    format!("`{part}` in `{pattern}` is no segment name"),
                    "write `{name}` with letters, digits, `_` or `-`",
                );
            }
            if regex.is_some_and(needs_slash) {
                return wrong(
                    format!("`{part}` in `{pattern}` holds a slash, which no segment has"),
                    "write one segment each: /a/{x:[0-9]+}/{y:[a-z]+}",
                );
            }
            return match regex.map(|regex| regexes.compile(regex)) {
                None => Ok(Segment::Any),
                Some(Ok(regex)) if regex.matches("") => wrong(
                    format!("`{part}` in `{pattern}` matches an empty segment, which no path has"),
                    "write a regular expression of at least one character, such as {id:[0-9]+}",
                ),
                Some(Ok(regex)) => Ok(Segment::Matching(regex)),
                Some(Err(why)) => wrong(
                    format!("`{part}` in `{pattern}` is no regular expression: {why}"),
                    "write {name:REGEX}; it must match the whole decoded segment",
                ),
            };
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

/// Whether a slash stands outside of a class: `[^/]+` is good.
fn needs_slash(regex: &str) -> bool {
    let (mut in_class, mut escaped) = (false, false);
    regex.chars().any(|c| {
        let was_escaped = escaped;
        escaped = c == '\\' && !was_escaped;
        match c {
            '[' if !was_escaped => in_class = true,
            ']' if !was_escaped => in_class = false,
            _ => {}
        }
        c == '/' && !in_class
    })
}

/// Cuts at the slashes outside of braces: a regular expression may hold both.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|c| {
        match c {
            '{' => depth = depth.saturating_add(1),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == '/' && depth == 0
    })
    .collect()
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
            let (read, source) = (Pattern::parse(text, &Regexes::default()), text.into());
            assert_eq!(read, Ok(Pattern { source, segments, rest }), "{text}");
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
            assert!(Pattern::parse(text, &Regexes::default()).is_err(), "{text}");
        }
    }
}
