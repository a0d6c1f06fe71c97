//! The audit line: one JSON object per request, written by hand because it is on the path of each.
//! It holds no credential and no query.

mod asker;

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use crate::clock::UnixTime;
use crate::policy::path::is_invisible;
use crate::policy::{Decision, Refusal, RequestFacts, Step};

/// The bytes before a member's value.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":").as_bytes()
    };
}

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
    /// The claims that the policy reads, if the line is to hold what demands are judged on: roles, groups, scopes, tier and these.
    pub principal: Option<&'a [Box<str>]>,
}

impl Record<'_> {
    /// Appends the line, line feed included.
    pub fn write(&self, line: &mut Vec<u8>) {
        let (word, reason, rule, principal) = match self.decision {
            Ok(grant) => ("allow", "allowed", Some(grant.rule()), grant.principal()),
            Err(refusal) => ("deny", refusal.reason.code(), refusal.rule.as_ref(), refusal.principal.as_deref()),
        };
        line.extend_from_slice(b"{\"time\":\"");
        time(line, self.at);
        line.push(b'"');
        member(line, key!("decision"), Some(word));
        member(line, key!("reason"), Some(reason));
        if let Err(Refusal { metered: Some(metered), .. }) = self.decision {
            member(line, key!("limit"), Some(&metered.limit.name));
        }
        number(line, key!("status"), self.status.into());
        member(line, key!("rule"), rule.map(|rule| &*rule.id));
        member(line, key!("subject"), principal.map(|p| p.subject()));
        member(line, key!("issuer"), principal.map(|p| p.issuer()));
        member(line, key!("method"), self.facts.map(|f| f.method.as_str()));
        member(line, key!("host"), self.facts.map(|f| f.host.as_str()));
        member(line, key!("path"), self.facts.map(|f| f.path.as_str()));
        let raw_path = self.raw_uri.filter(|_| self.facts.is_none()).map(raw_path);
        member(line, key!("raw_path"), raw_path.as_deref());
        // Few gates have rule sets: the others' lines say nothing of them.
        if let Some(set) = self.facts.and_then(|f| f.rule_set) {
            member(line, key!("rule_set"), Some(set));
        }
        address(line, key!("client"), self.facts.map(|f| f.client));
        address(line, key!("peer"), self.peer);
        member(line, key!("dialect"), self.dialect);
        member(line, key!("step"), self.step.map(Step::name));
        number(line, key!("us"), u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX));
        member(line, key!("request_id"), Some(self.request_id));
        if let Some((claims, principal)) = self.principal.zip(principal) {
            asker::write(line, principal, claims);
        }
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

/// RFC 3339 in UTC, with microseconds. The formatting machinery of [`std::fmt`] costs more than all the rest of the line, so it
/// is asked once a second.
fn time(line: &mut Vec<u8>, at: UnixTime) {
    thread_local! {
        static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != at.secs() {
            let since = Duration::from_secs(u64::try_from(at.secs()).unwrap_or(0));
            let when = UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH);
            (*second, *text) = (at.secs(), humantime::format_rfc3339_seconds(when).to_string());
        }
        line.extend_from_slice(text.trim_end_matches('Z').as_bytes());
    });
    // Six digits, zeros in front: those of a number of seven, but for the first.
    let micros = at.since(UnixTime::from_secs(at.secs())).subsec_micros();
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(micros.saturating_add(1_000_000)).strip_prefix('1').unwrap_or("000000");
    line.push(b'.');
    line.extend_from_slice(digits.as_bytes());
    line.push(b'Z');
}

fn address(line: &mut Vec<u8>, key: &[u8], address: Option<IpAddr>) {
    line.extend_from_slice(key);
    match address {
        None => line.extend_from_slice(b"null"),
        Some(IpAddr::V4(v4)) => {
            let [a, b, c, d] = v4.octets();
            for (before, octet) in [(b'"', a), (b'.', b), (b'.', c), (b'.', d)] {
                line.push(before);
                line.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
            line.push(b'"');
        }
        // Writing to a Vec cannot fail.
        Some(IpAddr::V6(v6)) => write!(line, "\"{v6}\"").unwrap_or_default(),
    }
}

fn number(line: &mut Vec<u8>, key: &[u8], value: u64) {
    line.extend_from_slice(key);
    line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn member(line: &mut Vec<u8>, key: &[u8], value: Option<&str>) {
    line.extend_from_slice(key);
    match value {
        None => line.extend_from_slice(b"null"),
        Some(text) => string(line, text),
    }
}

/// A JSON string (RFC 8259 section 7). What shows nothing is escaped too, so that no terminal obeys
/// a logged text and no reader is deceived by one.
fn string(line: &mut Vec<u8>, text: &str) {
    line.push(b'"');
    // Without an early end, so that it is done 16 bytes at a time: nearly every text is plain.
    if text.bytes().fold(true, |plain, b| plain & (b.is_ascii_graphic() & (b != b'"') & (b != b'\\'))) {
        line.extend_from_slice(text.as_bytes());
    } else {
        for c in text.chars() {
            match c {
                '"' | '\\' => line.extend_from_slice(&[b'\\', if c == '"' { b'"' } else { b'\\' }]),
                c if is_invisible(c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing to a Vec cannot fail.
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

        #[test]
        fn times_numbers_and_addresses_are_written_as_the_standard_library_writes_them(
            micros in 0..253_402_300_799_999_999_u64, value: u64, ip: IpAddr,
        ) {
            let mut line = Vec::new();
            time(&mut line, UnixTime::from_micros(micros.cast_signed()));
            address(&mut line, key!("a"), Some(ip));
            number(&mut line, key!("n"), value);
            let when = UNIX_EPOCH.checked_add(Duration::from_micros(micros)).expect("before the year 10000");
            let when = humantime::format_rfc3339_micros(when);
            prop_assert_eq!(String::from_utf8(line).expect("utf-8"), format!("{when},\"a\":\"{ip}\",\"n\":{value}"));
        }
    }
}
