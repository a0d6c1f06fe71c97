//! One question to an introspection endpoint, and what counts as an answer.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::{Serializer, byte_serialize};
use reqwest::Url;
use reqwest::header::HeaderValue;
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::provider::discovery::{METADATA_FOR, Place};
use crate::provider::fetch::Fetcher;
use crate::token::json;

/// How long a call may take, metadata included and however slowly the bytes come. Decisions do not wait that long.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the gate says who it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// `Authorization: Basic` (RFC 6749 section 2.3.1).
    #[default]
    Basic,
    /// In the form.
    Post,
}

/// Who the gate is to the issuer.
#[derive(Debug)]
pub struct Client {
    /// Its id.
    pub id: Box<str>,
    /// Its secret.
    pub secret: SecretString,
    /// How it says so.
    pub auth: ClientAuth,
}

/// The way to one introspection endpoint.
#[derive(Debug)]
pub struct Exchange {
    place: Place,
    client: Client,
    /// For metadata.
    fetcher: Fetcher,
    /// For tokens and the secret.
    discreet: Fetcher,
    /// Where the metadata says that the endpoint is, and when it did.
    discovered: tokio::sync::Mutex<Option<(Url, Instant)>>,
}

/// What the issuer says of a token.
#[derive(Debug)]
pub enum Told {
    /// It is active, and this is all of it.
    Active {
        /// The members of the answer.
        claims: Map<String, Value>,
        /// How long the answer was.
        bytes: usize,
    },
    /// It is not, whatever else it is.
    Inactive,
}

impl Exchange {
    /// Asks at `place` as `client`: for metadata by `fetcher`, about tokens by `discreet`, which must follow no redirect.
    #[must_use]
    pub fn new(place: Place, client: Client, fetcher: Fetcher, discreet: Fetcher) -> Self {
        Self { place, client, fetcher, discreet, discovered: tokio::sync::Mutex::default() }
    }

    /// Asks about a token (RFC 7662 section 2.1).
    ///
    /// # Errors
    /// Why there is no answer. Neither the token nor the secret nor the answer's body is in it.
    pub async fn ask(&self, token: &str) -> Result<Told, String> {
        let asked = tokio::time::timeout(PATIENCE, self.put(token)).await;
        let told = asked.unwrap_or_else(|_| Err("there was no whole answer in time".to_owned()));
        // Whoever holds it is asking for it anew already.
        if told.is_err()
            && let Ok(mut discovered) = self.discovered.try_lock()
        {
            *discovered = None;
        }
        told
    }

    async fn put(&self, token: &str) -> Result<Told, String> {
        let url = self.url().await?;
        let (form, authorization) = self.client.request(token)?;
        let told = self.discreet.post(&url, form, authorization).await;
        told.and_then(|body| read(&body)).map_err(|why| format!("{url}: {why}"))
    }

    async fn url(&self) -> Result<Url, String> {
        let discovery = match &self.place {
            Place::Url(url) => return Ok(url.clone()),
            Place::Discovered(discovery) => discovery,
        };
        // Held while the metadata is fetched: it is fetched once for all who wait here, and they do so within their own bounds.
        let mut discovered = self.discovered.lock().await;
        if let Some((url, _)) = discovered.as_ref().filter(|(_, at)| at.elapsed() < METADATA_FOR) {
            return Ok(url.clone());
        }
        let found = discovery.metadata(&self.fetcher).await?.url("introspection_endpoint", &self.discreet)?;
        Ok(discovered.insert((found, Instant::now())).0.clone())
    }
}

impl Client {
    /// The form that asks about `token`, and the header that says who asks.
    fn request(&self, token: &str) -> Result<(String, Option<HeaderValue>), String> {
        let mut form = Serializer::new(String::new());
        form.append_pair("token", token).append_pair("token_type_hint", "access_token");
        let header = match self.auth {
            ClientAuth::Basic => Some(basic(&self.id, &self.secret)?),
            ClientAuth::Post => {
                form.append_pair("client_id", &self.id).append_pair("client_secret", self.secret.expose_secret());
                None
            }
        };
        Ok((form.finish(), header))
    }
}

/// Id and secret are form-encoded before they are joined (RFC 6749 section 2.3.1), so that a colon in one of them moves nothing.
fn basic(id: &str, secret: &SecretString) -> Result<HeaderValue, String> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(id), encoded(secret.expose_secret()));
    let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
    let mut value = value.map_err(|_| "the credential makes no header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The answer (RFC 7662 section 2.2). Only the JSON values `true` and `false` are answers to whether the token is active.
fn read(body: &[u8]) -> Result<Told, String> {
    let claims = json::object(body).map_err(|_| "the answer is no JSON object, or holds a member twice".to_owned())?;
    match claims.get("active").and_then(Value::as_bool) {
        Some(true) => Ok(Told::Active { claims, bytes: body.len() }),
        Some(false) => Ok(Told::Inactive),
        None => Err("the answer does not say whether the token is active".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_e4_only_true_and_false_are_answers() {
        assert!(matches!(read(br#"{"active":true,"sub":"a"}"#), Ok(Told::Active { bytes: 25, .. })));
        assert!(matches!(read(br#"{"active":false,"sub":"a"}"#), Ok(Told::Inactive)));
        for bad in [
            "",
            "{}",
            "[]",
            "true",
            "<html>",
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":null}"#,
            r#"{"active":[true]}"#,
            r#"{"Active":true}"#,
            r#"{"active":true"#,
            r#"{"active":true}{"active":true}"#,
            r#"{"active":false,"active":true}"#,
            r#"{"active":true,"sub":"a","sub":"b"}"#,
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn t_f5_id_and_secret_cannot_be_shifted_into_each_other() {
        let value = |id: &str, secret: &str| {
            let value = basic(id, &SecretString::from(secret)).expect("a header");
            assert!(value.is_sensitive() && !format!("{value:?}").contains("Basic"));
            let encoded = value.to_str().expect("text").strip_prefix("Basic ").expect("basic").to_owned();
            String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("text")
        };
        assert_eq!(value("gate", "s3cret-._*"), "gate:s3cret-._*");
        assert_eq!(value("a:b", "c d+é%"), "a%3Ab:c+d%2B%C3%A9%25");
        assert_ne!(value("a", "b:c"), value("a:b", "c"));
    }
}
