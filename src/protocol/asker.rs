//! Whom a refusal is for: a person before a browser, or a program.

use super::{Field, Fields};
use crate::policy::RequestFacts;

/// What is known of whoever asked, for the form of a refusal. No decision depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The headers of the check.
    pub fields: &'a Fields<'a>,
    /// What is asked, if it could be read.
    pub facts: Option<&'a RequestFacts<'a>>,
    /// The client's URI as it came.
    pub uri: Option<&'a [u8]>,
    /// The request's id.
    pub request_id: &'a str,
}

impl Asker<'_> {
    /// Whether a browser navigates: it says so (Fetch Metadata, section 2.2), or, an old one, it would like HTML best.
    #[must_use]
    pub fn navigates(&self) -> bool {
        let line = |field| self.fields.only(field).ok().flatten().and_then(|line| str::from_utf8(line).ok());
        match line(Field::SecFetchMode) {
            Some(mode) => mode == "navigate",
            None => line(Field::Accept).and_then(|accept| accept.split(',').next()).is_some_and(is_html),
        }
    }

    /// The address that a person could be sent back to: of a `GET` only, since a browser would not send the rest again.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        let facts = self.facts.filter(|facts| facts.method.as_str() == "GET")?;
        let uri = str::from_utf8(self.uri?).ok()?;
        let scheme = match self.fields.only(Field::ForwardedProto).ok()? {
            Some(b"http" | b"ws") => "http",
            _ => "https",
        };
        // The port is not part of the host that is judged, but of the address.
        let host =
            self.fields.only(Field::ForwardedHost).ok().flatten().or(self.fields.only(Field::Host).ok().flatten());
        let port = host.and_then(|host| str::from_utf8(host).ok()?.rsplit_once(':')).map(|(_, port)| port);
        let port = port.filter(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{scheme}://{}{port}{uri}", facts.host.as_str()))
    }
}

fn is_html(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
}
