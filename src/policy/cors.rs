//! CORS preflights (Fetch standard, section 3.2): a browser asks before it sends another origin's request, without any credential.
//! The gate judges the question by the rule of the request that would follow, instead of letting all of `OPTIONS` pass.

use super::{Method, Reason};

/// A preflight as it came: `OPTIONS` with exactly one `Origin` and one `Access-Control-Request-Method`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight<'a> {
    /// Who would ask.
    pub origin: &'a str,
    /// With which method.
    pub method: Method<'a>,
    /// With which headers beyond the safe ones.
    pub headers: &'a str,
}

/// Who may ask across origins, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Origins, in the one spelling that browsers send; empty for any.
    pub origins: Vec<Box<str>>,
    /// Headers beyond the safe ones, in lower case; `*` stands for all.
    pub headers: Vec<Box<str>>,
}

impl Cors {
    /// Whether the rule takes the request that the preflight announces.
    ///
    /// # Errors
    /// [`Reason::CorsRefused`].
    pub fn check(&self, preflight: &Preflight<'_>) -> Result<(), Reason> {
        let origin = self.origins.is_empty() || self.origins.iter().any(|own| **own == *preflight.origin);
        let any = self.headers.iter().any(|own| **own == *"*");
        let mut headers = preflight.headers.split(',').map(str::trim_ascii).filter(|name| !name.is_empty());
        // A header name is compared whatever its case; browsers send lower case.
        let known = any || headers.all(|name| self.headers.iter().any(|own| own.eq_ignore_ascii_case(name)));
        (origin && known).then_some(()).ok_or(Reason::CorsRefused)
    }
}

/// Whether `text` is an origin as browsers write it: scheme, host in lower case, port only if it is not the usual one.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !rest.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let usual = match scheme {
        "https" => "443",
        "http" => "80",
        _ => return false,
    };
    let port_is_sane =
        port.is_none_or(|port| port != usual && !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok());
    let parsed = super::Host::parse(host.as_bytes()).is_ok_and(|own| own.as_str() == host);
    port_is_sane && parsed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_those_that_browsers_send() {
        for good in ["https://app.example.com", "http://localhost:3000", "https://a.b:8443", "http://[::1]:80800"] {
            assert_eq!(is_origin(good), !good.ends_with("80800"), "{good}");
        }
        for bad in [
            "*",
            "null",
            "app.example.com",
            "https://app.example.com/",
            "https://App.example.com",
            "https://a:443",
            "http://a:80",
            "ftp://a",
            "https://",
            "https://a:",
            "https://a:x",
            "https://u@a",
            "https://*.a",
            "https://a:08",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn a_preflight_needs_a_listed_origin_and_listed_headers() {
        let cors = Cors { origins: vec!["https://app.example.com".into()], headers: vec!["authorization".into()] };
        let ask = |origin, headers| {
            let method = Method::parse(b"PUT").expect("method");
            cors.check(&Preflight { origin, method, headers }).is_ok()
        };
        assert!(ask("https://app.example.com", "") && ask("https://app.example.com", "Authorization, "));
        for (origin, headers) in [
            ("https://app.example.com.evil", ""),
            ("https://APP.example.com", ""),
            ("null", ""),
            ("https://app.example.com", "authorization, x-other"),
            ("https://app.example.com", "authorization x"),
        ] {
            assert!(!ask(origin, headers), "{origin} {headers}");
        }
    }
}
