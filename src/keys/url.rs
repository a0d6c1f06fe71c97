//! Keys from a URL, fetched in the background: no decision waits for it, and the last good set serves on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode, Url, redirect};

use super::KeyStore;
use super::file::{self, MAX_KEY_FILE_BYTES};
use crate::token::Algorithm;

/// How long one fetch may take. Nobody waits for it; it only must not hang for ever.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The pauses between attempts that fail: from one second, twice as long each time, up to a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// An issuer's JWK set at a URL.
#[derive(Debug)]
pub struct UrlSource {
    /// The issuer's name, for the log.
    issuer: Box<str>,
    /// Its place among the issuers.
    index: usize,
    url: Url,
    client: Client,
    allowed: Vec<Algorithm>,
    every: Duration,
}

impl UrlSource {
    /// A source that is asked `every` so often. With `ca`, only certificates signed by one in that PEM file are believed.
    ///
    /// # Errors
    /// What is wrong with the URL or the file.
    pub fn new(
        issuer: &str,
        index: usize,
        url: &str,
        allow_http: bool,
        ca: Option<&Path>,
        allowed: &[Algorithm],
        every: Duration,
    ) -> Result<Self, String> {
        // The text is not repeated: it may hold a credential.
        let url = Url::parse(url).map_err(|error| format!("this is no URL: {error}"))?;
        if url.username() != "" || url.password().is_some() {
            return Err("the URL holds a credential, which would end in logs".to_owned());
        }
        if url.scheme() != "https" && !(allow_http && url.scheme() == "http") {
            return Err("this is not https: whoever is on the way could give keys of his own".to_owned());
        }
        // No redirects: the keys come from where the operator said, or not at all. No proxy from the environment.
        let mut client = Client::builder().redirect(redirect::Policy::none()).timeout(TIMEOUT).no_proxy();
        if let Some(ca) = ca {
            let pem = std::fs::read(ca).map_err(|error| format!("{} cannot be read: {error}", ca.display()))?;
            let certificates = Certificate::from_pem_bundle(&pem).ok().filter(|list| !list.is_empty());
            let certificates = certificates.ok_or_else(|| format!("{} holds no certificate in PEM", ca.display()))?;
            client = client.tls_certs_only(certificates);
        }
        let client = client.build().map_err(|error| format!("no client can be made: {error}"))?;
        Ok(Self { issuer: issuer.into(), index, url, client, allowed: allowed.to_vec(), every })
    }

    /// Fetches for ever: at once, then every so often, sooner after a failure.
    pub async fn keep(self, store: Arc<KeyStore>) {
        let issuer = &*self.issuer;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.fetch().await {
                Ok(loaded) => {
                    for why in &loaded.set_aside {
                        tracing::warn!(issuer, why, "a key was set aside");
                    }
                    tracing::info!(issuer, keys = loaded.keys.len(), "keys fetched");
                    store.fetched(self.index, loaded);
                    pause = FIRST_PAUSE;
                    tokio::time::sleep(jittered(self.every)).await;
                }
                Err(why) => {
                    tracing::warn!(issuer, url = %self.url, why, "keys cannot be fetched; the last good ones serve on");
                    store.failed(self.index);
                    tokio::time::sleep(jittered(pause)).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn fetch(&self) -> Result<file::Loaded, String> {
        let told = |error: reqwest::Error| root_cause(&error.without_url());
        let mut response = self.client.get(self.url.clone()).send().await.map_err(told)?;
        if response.status() != StatusCode::OK {
            return Err(format!("the answer is {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if body.len().saturating_add(chunk.len()) > MAX_KEY_FILE_BYTES {
                return Err(format!("the answer is longer than {MAX_KEY_FILE_BYTES} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        file::jwk_set(&body, &self.allowed)
    }
}

/// Up to a tenth longer, so that replicas that started together do not ask together.
fn jittered(pause: Duration) -> Duration {
    pause.saturating_add(pause.mul_f64(fastrand::f64() / 10.0))
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}
