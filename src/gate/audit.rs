//! The audit line: one JSON object per request, written by hand because it is on the path of each.
//! It holds no credential and no query.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use crate::clock::UnixTime;
use crate::policy::path::is_invisible;
use crate::policy::{Decision, RequestFacts, Step};

/// What is recorded of one request.
#[derive(Debug)]
pub struct Record<'a> {
    /// When it came.
    pub at: UnixTime,
    /// The decision.
    pub decision: &'a Decision,
    /// The status that was answered.
    pub status: u16,
    /// What was asked, as far as it could be read.
    pub facts: Option<&'a RequestFacts<'a>>,
    /// The peer that asked: the proxy.
    pub peer: Option<IpAddr>,
    /// The URI as it came, for a request that could not be read; the line holds its path only, see [`raw_path`].
    pub raw_uri: Option<&'a [u8]>,
    /// The dialect, as far as one was meant.
    pub dialect: Option<&'static str>,
    /// The step that was asked for.
    pub step: Option<Step>,
    /// How long the decision took.
    pub took: Duration,
    /// The request's id.
    pub request_id: &'a str,
}

impl Record<'_> {
    /// Appends the line, line feed included.
    pub fn write(&self, line: &mut Vec<u8>) {
        let since = Duration::from_micros(u64::try_from(self.at.micros()).unwrap_or(0));
        let when = UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH);
        let (word, reason, rule, principal) = match self.decision {
            Ok(grant) => ("allow", "allowed", Some(grant.rule()), grant.principal()),
            Err(refusal) => ("deny", refusal.reason.code(), refusal.rule.as_ref(), refusal.principal.as_deref()),
        };
        // Writing to a Vec cannot fail.
        write!(
            line,
            "{{\"time\":\"{}\",\"decision\":\"{word}\",\"reason\":\"{reason}\",\"status\":{}",
            humantime::format_rfc3339_micros(when),
            self.status
        )
        .ok();
        member(line, "rule", rule.map(|rule| &*rule.id));
        member(line, "subject", principal.map(|p| p.subject()));
        member(line, "issuer", principal.map(|p| p.issuer()));
        member(line, "method", self.facts.map(|f| f.method.as_str()));
        member(line, "host", self.facts.map(|f| f.host.as_str()));
        member(line, "path", self.facts.map(|f| f.path.as_str()));
        member(line, "raw_path", self.raw_uri.filter(|_| self.facts.is_none()).map(raw_path).as_deref());
        address(line, "client", self.facts.map(|f| f.client));
        address(line, "peer", self.peer);
        member(line, "dialect", self.dialect);
        member(line, "step", self.step.map(Step::name));
        write!(line, ",\"us\":{}", self.took.as_micros()).ok();
        member(line, "request_id", Some(self.request_id));
        line.extend_from_slice(b"}\n");
    }
}

/// The path of a URI that could not be read, so that an operator finds the request: at most 200 bytes, and nothing from the first
/// `?`, `#` or `;` on, where credentials stand.
fn raw_path(uri: &[u8]) -> Cow<'_, str> {
    const MOST: usize = 200;
    let end = uri.iter().position(|b| b"?#;".contains(b)).unwrap_or(uri.len());
    String::from_utf8_lossy(uri.get(..end.min(MOST)).unwrap_or_default())
}

fn address(line: &mut Vec<u8>, name: &str, address: Option<IpAddr>) {
    match address {
        Some(address) => write!(line, ",\"{name}\":\"{address}\"").ok(),
        None => write!(line, ",\"{name}\":null").ok(),
    };
}

fn member(line: &mut Vec<u8>, name: &str, value: Option<&str>) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
    match value {
        None => line.extend_from_slice(b"null"),
        Some(text) => string(line, text),
    }
}

/// A JSON string (RFC 8259 section 7). What shows nothing is escaped too, so that no terminal obeys
/// a logged text and no reader is deceived by one.
fn string(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    if text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
        line.extend_from_slice(text.as_bytes());
    } else {
        for c in text.chars() {
            match c {
                '"' | '\\' => line.extend_from_slice(&[b'\\', if c == '"' { b'"' } else { b'\\' }]),
                c if is_invisible(c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(line, "\\u{unit:04x}").ok();
                    }
                }
                c => line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_one_json_string_on_one_line(text in ".*") {
            let mut line = Vec::new();
            string(&mut line, &text);
            prop_assert!(!line.contains(&b'\n'));
            prop_assert_eq!(serde_json::from_slice::<String>(&line).expect("json"), text);
        }
    }
}
