//! E-mail addresses: believed only if the issuer has verified them, and read only if they can be read in one way.

use std::fmt;

use serde_json::{Map, Value};

/// Domains whose addresses are let in. A domain is meant exactly: its subdomains belong to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailDomains(Vec<Box<str>>);

impl EmailDomains {
    /// The claims that it reads (OpenID Connect Core section 5.1).
    pub const CLAIMS: [&'static str; 2] = ["email", "email_verified"];

    /// These domains; none if one of them is none.
    #[must_use]
    pub fn new(domains: &[String]) -> Option<Self> {
        let sane = !domains.is_empty() && domains.iter().all(|domain| is_domain(domain));
        sane.then(|| Self(domains.iter().map(|domain| domain.to_ascii_lowercase().into()).collect()))
    }

    /// Whether the claims have a verified address in one of the domains. `email_verified` must be `true`, not a text that says so.
    #[must_use]
    pub fn hold(&self, claims: &Map<String, Value>) -> bool {
        let verified = claims.get("email_verified") == Some(&Value::Bool(true));
        let domain = claims.get("email").and_then(Value::as_str).and_then(domain_of);
        verified && domain.is_some_and(|domain| self.0.iter().any(|own| own.eq_ignore_ascii_case(domain)))
    }
}

/// The domain of an address with exactly one `@` and nothing that some mail system would read differently: no quoted local
/// part, no comments, no blanks, no second address, ASCII only (`attacker@evil.com@company.com`, `"a@evil.com"@company.com`).
fn domain_of(address: &str) -> Option<&str> {
    let (local, domain) = address.split_once('@')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    (!local.is_empty() && local.bytes().all(plain) && is_domain(domain)).then_some(domain)
}

fn is_domain(domain: &str) -> bool {
    domain.contains('.')
        && domain.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
        })
}

impl fmt::Display for EmailDomains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "verified e-mail address in {}", self.0.join(", "))
    }
}
