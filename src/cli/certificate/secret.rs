//! A Kubernetes Secret, created from inside a pod.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Certificate, Client, StatusCode, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::issue::Issued;
use super::{CA, CERTIFICATE, KEY};

/// How long the API server may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The cluster that this pod is in, as its account sees it.
#[derive(Debug)]
pub(super) struct Cluster {
    secrets: Url,
    namespace: String,
    token: SecretString,
    client: Client,
}

impl Cluster {
    /// From the files that Kubernetes mounts into a pod with an account.
    ///
    /// # Errors
    /// Which of them cannot be used.
    pub(super) fn of(api_server: &str, account: &Path) -> Result<Self, String> {
        let read = |name: &str| {
            let path = account.join(name);
            std::fs::read_to_string(&path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
        };
        let namespace = read("namespace")?.trim().to_owned();
        let token = SecretString::from(read("token")?.trim().to_owned());
        let authorities = Certificate::from_pem_bundle(read("ca.crt")?.as_bytes());
        let authorities =
            authorities.map_err(|_| format!("{} holds no certificate", account.join("ca.crt").display()))?;
        let secrets = format!("{}/api/v1/namespaces/{namespace}/secrets", api_server.trim_end_matches('/'));
        let secrets = Url::parse(&secrets).map_err(|error| format!("{api_server} is no URL: {error}"))?;
        // The account's token is sent: never in the clear.
        if secrets.scheme() != "https" {
            return Err(format!("{api_server} is not https"));
        }
        let client = Client::builder().redirect(redirect::Policy::none()).timeout(TIMEOUT).no_proxy();
        let client = client.tls_certs_only(authorities).build().map_err(|error| error.to_string())?;
        Ok(Self { secrets, namespace, token, client })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Creates a Secret of type `kubernetes.io/tls`; tells whether it did, or one of that name was there.
    ///
    /// # Errors
    /// What the API server says.
    pub(super) async fn create(&self, name: &str, issued: &Issued) -> Result<bool, String> {
        let data = json!({
            CA: STANDARD.encode(&issued.ca_pem),
            CERTIFICATE: STANDARD.encode(&issued.certificate_pem),
            KEY: STANDARD.encode(issued.key_pem()),
        });
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "data": data,
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "portcullis"}},
        });
        let request = self.client.post(self.secrets.clone()).bearer_auth(self.token.expose_secret());
        let request = request.header("content-type", "application/json").body(secret.to_string());
        let answer = request.send().await.map_err(|error| format!("the API server cannot be asked: {error:#}"))?;
        match answer.status() {
            StatusCode::CREATED => Ok(true),
            StatusCode::CONFLICT => Ok(false),
            status => {
                let body = answer.bytes().await.unwrap_or_default();
                let said = serde_json::from_slice::<Value>(&body).unwrap_or_default();
                let why = said.get("message").and_then(Value::as_str).unwrap_or("no reason");
                Err(format!("the API server answers {status}: {why}"))
            }
        }
    }
}
