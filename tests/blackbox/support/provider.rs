//! A real OpenID Provider (`tests/op`), with Keycloak's habits or Auth0's, and somebody who signs in there as a browser would.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde_json::Value;
use tempfile::TempDir;

use super::proxy::{Port, tool};
use super::signer::encode;

/// Whom the provider's access tokens are meant for.
pub(crate) const API: &str = "https://api.example.test";
/// Where it sends browsers back to.
const CALLBACK: &str = "https://gate.example.test/callback";
/// How long it may take until it answers.
const START: Duration = Duration::from_secs(20);

/// Whose habits it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habits {
    Keycloak,
    Auth0,
}

/// A running provider; it is killed with the value.
#[derive(Debug)]
pub(crate) struct Provider {
    process: Option<Child>,
    log: TempDir,
    port: Port,
    control: Port,
    habits: Habits,
    client: Client,
}

/// What somebody gets who has signed in.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) id: String,
    /// While access tokens are opaque (`/set?format=opaque`).
    pub(crate) refresh: Option<String>,
}

impl Provider {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub(crate) async fn start(habits: Habits) -> Self {
        let mut provider = Self::stopped(habits);
        provider.run().await;
        provider
    }

    /// One that does not run yet.
    pub(crate) fn stopped(habits: Habits) -> Self {
        let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().timeout(Duration::from_secs(10));
        let client = client.build().expect("a client");
        let log = TempDir::new().expect("a temporary folder");
        Self { process: None, log, port: Port::take(), control: Port::take(), habits, client }
    }

    /// Starts it at its address, with new keys.
    pub(crate) async fn run(&mut self) {
        let program = tool("op");
        let log = File::create(self.log.path().join("log")).expect("a log file");
        let errors = log.try_clone().expect("a second handle");
        let mut command = Command::new("node");
        // It is a link beside its libraries, and they are looked for beside the link.
        command.arg("--preserve-symlinks-main").arg(program).arg(self.control.address().port().to_string());
        command.env("OP_ISSUER", self.issuer()).stdin(Stdio::null()).stdout(log).stderr(errors);
        self.process = Some(command.spawn().expect("node is not installed: scripts/tools.sh op says what it needs"));
        let deadline = Instant::now() + START;
        while self.try_control("/state").await.is_none() || self.client.get(self.issuer()).send().await.is_err() {
            let process = self.process.as_mut().expect("started");
            let ended = process.try_wait().expect("the state of a child").is_some();
            assert!(!ended && Instant::now() < deadline, "the provider does not start; its log:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Kills it.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Both fail only if it has ended already.
            process.kill().ok();
            process.wait().ok();
        }
    }

    /// Whose habits it has.
    pub(crate) fn habits(&self) -> Habits {
        self.habits
    }

    /// Its identifier: the exact `iss`.
    pub(crate) fn issuer(&self) -> String {
        let path = if self.habits == Habits::Keycloak { "realms/demo" } else { "" };
        format!("http://{}/{path}", self.port.address())
    }

    /// The URL of one of its endpoints.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.issuer().trim_end_matches('/'))
    }

    /// Tells the control plane something, e.g. `/set?jwksMode=hang`; gives back the provider's state.
    pub(crate) async fn control(&self, what: &str) -> Value {
        self.try_control(what).await.unwrap_or_else(|| panic!("the provider does not do {what}"))
    }

    async fn try_control(&self, what: &str) -> Option<Value> {
        let url = format!("http://{}{what}", self.control.address());
        self.client.get(url).send().await.ok()?.json().await.ok()
    }

    /// How often its keys were asked for.
    pub(crate) async fn jwks_hits(&self) -> u64 {
        self.control("/state").await["jwksHits"].as_u64().expect("a number")
    }

    /// Signs `user` in at the client `gate` (RS256), `gate-es` (ES256) or `gate-ed` (EdDSA), as a browser would: authorization code
    /// with PKCE.
    ///
    /// # Panics
    /// When it does not come to tokens.
    pub(crate) async fn sign_in(&self, client: &str, user: &str) -> Tokens {
        let verifier = encode(fastrand::u128(..).to_be_bytes().repeat(2));
        let challenge = encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        let mut url = Url::parse(&self.url("auth")).expect("a URL");
        url.query_pairs_mut().extend_pairs([
            ("client_id", client),
            ("response_type", "code"),
            ("scope", "openid profile email roles"),
            ("redirect_uri", CALLBACK),
            ("state", "state"),
            ("nonce", "nonce"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let code = self.browse(url, user).await;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", &verifier),
        ];
        let tokens = self.token(client, &form).await;
        let text = |name: &str| tokens[name].as_str().unwrap_or_else(|| panic!("no {name} in {tokens}")).to_owned();
        let refresh = tokens["refresh_token"].as_str().map(str::to_owned);
        Tokens { access: text("access_token"), id: text("id_token"), refresh }
    }

    /// Takes a token of this client back.
    pub(crate) async fn revoke(&self, client: &str, token: &str) {
        let request = self.client.post(self.url("token/revocation")).basic_auth(client, Some("secret"));
        assert_eq!(posted(request, &[("token", token)]).await.status(), StatusCode::OK);
    }

    /// The access token of a program, which is nobody's.
    pub(crate) async fn service_token(&self) -> String {
        let tokens = self.token("svc", &[("grant_type", "client_credentials")]).await;
        tokens["access_token"].as_str().unwrap_or_else(|| panic!("no token in {tokens}")).to_owned()
    }

    async fn token(&self, client: &str, form: &[(&str, &str)]) -> Value {
        let request = self.client.post(self.url("token")).basic_auth(client, Some("secret"));
        let answer = posted(request, form).await;
        let status = answer.status();
        let document: Value = answer.json().await.expect("JSON");
        assert_eq!(status, StatusCode::OK, "{document}; the provider's log:\n{}", self.log());
        document
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log.path().join("log")).unwrap_or_default()
    }

    /// Follows the provider's redirects, fills in its form, and gives back the code that arrives at the callback.
    async fn browse(&self, mut url: Url, user: &str) -> String {
        let mut cookies = BTreeMap::new();
        for _ in 0..10 {
            let mut answer =
                self.client.get(url.clone()).header(COOKIE, jar(&cookies)).send().await.expect("an answer");
            keep(&mut cookies, &answer);
            if answer.status() == StatusCode::OK {
                let request = self.client.post(url.clone()).header(COOKIE, jar(&cookies));
                answer = posted(request, &[("username", user), ("password", user)]).await;
                keep(&mut cookies, &answer);
            }
            assert!(answer.status().is_redirection(), "{url}: {}", answer.text().await.unwrap_or_default());
            let location = answer.headers()[LOCATION].to_str().expect("text");
            url = url.join(location).expect("a URL");
            if url.as_str().starts_with(CALLBACK) {
                let code = url.query_pairs().find(|(name, _)| name == "code");
                return code.unwrap_or_else(|| panic!("no code in {url}")).1.into_owned();
            }
        }
        panic!("the provider never comes back: {url}")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn posted(request: reqwest::RequestBuilder, form: &[(&str, &str)]) -> Response {
    let mut url = Url::parse("http://form/").expect("a URL");
    url.query_pairs_mut().extend_pairs(form);
    let body = url.query().unwrap_or_default().to_owned();
    request.header("Content-Type", "application/x-www-form-urlencoded").body(body).send().await.expect("an answer")
}

fn jar(cookies: &BTreeMap<String, String>) -> String {
    cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

fn keep(cookies: &mut BTreeMap<String, String>, answer: &Response) {
    for cookie in answer.headers().get_all(SET_COOKIE) {
        let pair = cookie.to_str().expect("text").split(';').next().unwrap_or_default();
        let (name, value) = pair.split_once('=').expect("a cookie");
        cookies.insert(name.to_owned(), value.to_owned());
    }
}
