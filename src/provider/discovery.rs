//! What an issuer says of itself (OpenID Connect Discovery 1.0, RFC 8414), believed only as far as it names URLs that may be asked.

use std::time::Duration;

use reqwest::Url;
use serde_json::{Map, Value};

use super::fetch::{Fetched, Fetcher, Fresh};
use crate::token::json;

/// How long metadata is believed. Where something is changes once in years; a failed fetch asks again at once.
pub const METADATA_FOR: Duration = Duration::from_secs(3600);

/// Where something of an issuer's is.
#[derive(Debug)]
pub enum Place {
    /// At this URL.
    Url(Url),
    /// Where its metadata says.
    Discovered(Discovery),
}

/// Where an issuer's metadata is.
#[derive(Debug)]
pub struct Discovery {
    /// The exact identifier that the metadata must name.
    issuer: Box<str>,
    /// Where to look, in this order.
    places: Vec<Url>,
}

/// An issuer's metadata.
#[derive(Debug)]
pub struct Metadata(Map<String, Value>);

impl Discovery {
    /// At `url`; if none is named, where the identifier leads: OpenID Connect Discovery section 4, then RFC 8414 section 3.
    ///
    /// # Errors
    /// Why it cannot be looked for there.
    pub fn of(issuer: &str, url: Option<&str>, fetcher: &Fetcher) -> Result<Self, String> {
        let places = match url {
            Some(url) => vec![fetcher.url(url)?],
            None => {
                let base = fetcher.url(issuer)?;
                if base.query().is_some() || base.fragment().is_some() {
                    return Err("with a query or a fragment this is no issuer whose metadata could be found".to_owned());
                }
                let path = base.path().trim_end_matches('/');
                let at = |path: String| {
                    let mut url = base.clone();
                    url.set_path(&path);
                    url
                };
                vec![
                    at(format!("{path}/.well-known/openid-configuration")),
                    at(format!("/.well-known/oauth-authorization-server{path}")),
                ]
            }
        };
        Ok(Self { issuer: issuer.into(), places })
    }

    /// Asks.
    ///
    /// # Errors
    /// Why there is no metadata that can be used.
    pub async fn metadata(&self, fetcher: &Fetcher) -> Result<Metadata, String> {
        for place in &self.places {
            match fetcher.get(place, None).await.map_err(|why| format!("{place}: {why}"))? {
                Fetched::New(Fresh { body, .. }) => {
                    return self.read(&body).map_err(|why| format!("{place}: {why}"));
                }
                Fetched::Absent | Fetched::Same(_) => {}
            }
        }
        let places: Vec<&str> = self.places.iter().map(Url::as_str).collect();
        Err(format!("there is no metadata at {}", places.join(" and ")))
    }

    fn read(&self, body: &[u8]) -> Result<Metadata, String> {
        let document = json::object(body).map_err(|error| format!("it is no JSON object: {error}"))?;
        let named = document.get("issuer").and_then(Value::as_str);
        // OpenID Connect Discovery section 4.3 and RFC 8414 section 3.3: exactly, or it speaks of somebody else.
        if named != Some(&*self.issuer) {
            let named: String = named.unwrap_or("nobody").chars().take(200).collect();
            return Err(format!("it is the metadata of `{named}`, not of `{}`", self.issuer));
        }
        Ok(Metadata(document))
    }
}

impl Metadata {
    /// The URL that its member `name` holds, such as `jwks_uri`.
    ///
    /// # Errors
    /// If there is none, or none that `fetcher` may ask.
    pub fn url(&self, name: &str, fetcher: &Fetcher) -> Result<Url, String> {
        let text = self.0.get(name).and_then(Value::as_str).ok_or_else(|| format!("its metadata names no `{name}`"))?;
        fetcher.url(text).map_err(|why| format!("its `{name}`: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_where_the_identifier_leads() {
        let fetcher = Fetcher::new(false, None).expect("a client");
        for (issuer, oidc, oauth) in [
            (
                "https://id.example.com/realms/shop",
                "https://id.example.com/realms/shop/.well-known/openid-configuration",
                "https://id.example.com/.well-known/oauth-authorization-server/realms/shop",
            ),
            (
                "https://shop.auth0.com/",
                "https://shop.auth0.com/.well-known/openid-configuration",
                "https://shop.auth0.com/.well-known/oauth-authorization-server",
            ),
        ] {
            let discovery = Discovery::of(issuer, None, &fetcher).expect("an issuer");
            assert_eq!(discovery.places.iter().map(Url::as_str).collect::<Vec<_>>(), [oidc, oauth]);
        }
        for bad in ["shop", "http://id.example.com", "https://id.example.com?x=1", "https://id.example.com#x"] {
            assert!(Discovery::of(bad, None, &fetcher).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_issuers_own_metadata_is_believed() {
        let fetcher = Fetcher::new(false, None).expect("a client");
        let discovery = Discovery::of("https://a/", None, &fetcher).expect("an issuer");
        let read = |text: &str| discovery.read(text.as_bytes())?.url("jwks_uri", &fetcher);
        let good = r#"{"issuer": "https://a/", "jwks_uri": "https://keys.a/x"}"#;
        assert_eq!(read(good).expect("good").as_str(), "https://keys.a/x");
        for bad in [
            good.replace("\"https://a/\"", "\"https://a\""),
            good.replace("\"https://a/\"", "[\"https://a/\"]"),
            good.replace("https://keys", "http://keys"),
            good.replace("https://keys.a", "https://169.254.169.254"),
            good.replace("https://keys.a/x", "file:///etc/passwd"),
            good.replace("{\"issuer\"", "{\"issuer\": \"https://a/\", \"issuer\""),
            good.replace("jwks_uri", "jwks"),
            "[]".to_owned(),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_keycloak_says_is_understood() {
        let fetcher = Fetcher::new(true, None).expect("a client");
        let issuer = "http://127.0.0.1:8280/realms/shop";
        let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keycloak/recorded/discovery.json");
        let recorded = std::fs::read(recorded).expect("what was recorded");
        let read = |issuer: &str| Discovery::of(issuer, None, &fetcher).expect("an issuer").read(&recorded);
        let metadata = read(issuer).expect("its metadata");
        for (name, end) in [("jwks_uri", "certs"), ("introspection_endpoint", "token/introspect")] {
            let url = metadata.url(name, &fetcher).expect(name);
            assert_eq!(url.as_str(), format!("{issuer}/protocol/openid-connect/{end}"));
        }
        assert!(read("http://127.0.0.1:8280/realms/master").is_err());
    }
}
