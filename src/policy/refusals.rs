//! What people are shown who are refused; programs get `application/problem+json` whatever stands here.

use super::document::{PeopleFile, RefusalsFile};

/// How navigations of browsers are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// Whether people get a page; else what programs get.
    pub pages: bool,
    /// Where people are sent who have not signed in.
    pub sign_in: Option<SignIn>,
}

/// The address of a sign-in page: `https://login.example.com/start?return_to={url}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    before: Box<str>,
    after: Option<Box<str>>,
}

impl SignIn {
    /// Reads an address: `https`, or of the same host (`/login`), or `http` of this machine; with at most one `{url}`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`".contains(&b));
        let (before, after) = text.split_once("{url}").map_or((text, None), |(before, after)| (before, Some(after)));
        let host = |rest: &str| !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':', '@']);
        // `//host` is an address of another host.
        let rooted = before.starts_with('/') && !before.starts_with("//");
        let safe = before.strip_prefix("https://").is_some_and(host);
        let local = before.strip_prefix("http://").is_some_and(|rest| {
            let name = rest.split(['/', ':', '?', '#']).next().unwrap_or_default();
            name == "localhost" || name.ends_with(".localhost") || name == "127.0.0.1"
        });
        let braces = [Some(before), after].into_iter().flatten().any(|part| part.contains(['{', '}']));
        let sane = plain && (rooted || safe || local) && !braces;
        sane.then(|| Self { before: before.into(), after: after.map(Into::into) })
    }

    /// Where somebody is sent who asked for `url`; none if that is the sign-in page itself, which would send them round for ever.
    #[must_use]
    pub fn for_url(&self, url: &str) -> Option<String> {
        let page = |text: &str| {
            let page = text.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
            // A host alone is its root; the usual port says nothing.
            let (origin, path) = match page.split_once("://") {
                Some((scheme, rest)) => {
                    let end = rest.find('/').unwrap_or(rest.len());
                    let (host, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
                    let usual = if scheme == "https" { ":443" } else { ":80" };
                    (format!("{scheme}://{}", host.strip_suffix(usual).unwrap_or(host)), path.to_owned())
                }
                None => (String::new(), page),
            };
            format!("{origin}{}", if path.is_empty() { "/" } else { &path })
        };
        let (own, asked) = (page(&self.before), page(url));
        let same = if own.starts_with('/') {
            let path = asked.split_once("://").and_then(|(_, rest)| Some(rest.get(rest.find('/')?..)?.to_owned()));
            path.as_deref() == Some(&*own)
        } else {
            own == asked
        };
        if same {
            return None;
        }
        let Some(after) = &self.after else {
            return Some(self.before.to_string());
        };
        let encoded: String = form_urlencoded::byte_serialize(url.as_bytes()).collect();
        Some([&*self.before, &encoded, after].concat())
    }
}

impl Refusals {
    /// Reads what the operator wrote; none if the address is none.
    #[must_use]
    pub fn compile(file: &RefusalsFile) -> Option<Self> {
        let sign_in = match &file.sign_in {
            None => None,
            Some(text) => Some(SignIn::parse(text)?),
        };
        Some(Self { pages: file.people == PeopleFile::Page, sign_in })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_sent_to_sign_in_with_the_address_that_they_asked_for() {
        let sign_in = SignIn::parse("https://login.example.com/start?rd={url}&x=1").expect("address");
        assert_eq!(
            sign_in.for_url("https://shop.example.com/a?b=c&d=\u{e9}").as_deref(),
            Some("https://login.example.com/start?rd=https%3A%2F%2Fshop.example.com%2Fa%3Fb%3Dc%26d%3D%C3%A9&x=1")
        );
        assert_eq!(sign_in.for_url("https://login.example.com/start?rd=x"), None, "round for ever");
        let bare = SignIn::parse("https://Login.test?rd={url}").expect("address");
        for url in ["https://login.test/", "https://login.test:443/", "https://login.test/?rd=x"] {
            assert_eq!(bare.for_url(url), None, "{url}");
        }
        let own = SignIn::parse("/login").expect("address");
        assert_eq!(own.for_url("https://shop.example.com/a").as_deref(), Some("/login"));
        assert_eq!(own.for_url("https://shop.example.com/login?again"), None);
    }

    #[test]
    fn what_is_no_safe_address_is_refused() {
        for text in [
            "",
            "login",
            "//evil.example",
            "http://login.example.com",
            "javascript:alert(1)",
            "https://",
            "https:///x",
            "https://a b",
            "https://a/{url}{url}",
            "https://a/{x}",
            "https://a/\u{e9}",
            "https://@a",
            "http://localhost.evil/",
        ] {
            assert_eq!(SignIn::parse(text), None, "{text}");
        }
        for text in ["/login", "https://a", "http://shop.localhost:8443/login?u={url}", "http://127.0.0.1/x"] {
            assert!(SignIn::parse(text).is_some(), "{text}");
        }
    }
}
