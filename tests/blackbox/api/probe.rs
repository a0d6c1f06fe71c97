//! One question of one client, put as either proxy puts it, down to the byte.

use std::future::Future;

use crate::support::gate::{Answer, Gate};
use crate::support::raw;

/// The reason of an [`Answer`] that the HTTP parser gave: it refused before there was anything to decide, so there is no audit line.
pub(super) const BY_THE_PARSER: &str = "";

/// Where both proxies say that the client is.
pub(super) const CLIENT: &str = "203.0.113.7";

/// Who puts the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Traefik,
    Envoy,
    Nginx,
    Caddy,
}

/// The two proxies that ask in the two ways there are: in headers, and in the request line.
pub(super) const BOTH: [Dialect; 2] = [Dialect::Traefik, Dialect::Envoy];

/// All of them.
pub(super) const DIALECTS: [Dialect; 4] = [Dialect::Traefik, Dialect::Envoy, Dialect::Nginx, Dialect::Caddy];

/// Which question is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Validate,
    Authn,
    Authz,
}

/// All questions.
pub(super) const STEPS: [Step; 3] = [Step::Validate, Step::Authn, Step::Authz];

/// The question: at first `GET https://shop.localhost/products` from [`CLIENT`], without a credential.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    dialect: Dialect,
    step: Step,
    set: Option<String>,
    method: Vec<u8>,
    host: Vec<u8>,
    uri: Vec<u8>,
    without: Vec<&'static str>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Probe {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            step: Step::Validate,
            set: None,
            method: b"GET".to_vec(),
            host: raw::HOST.as_bytes().to_vec(),
            uri: b"/products".to_vec(),
            without: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// As Traefik asks.
    pub(super) fn traefik() -> Self {
        Self::new(Dialect::Traefik)
    }

    /// As Envoy asks.
    pub(super) fn envoy() -> Self {
        Self::new(Dialect::Envoy)
    }

    /// The same question from another proxy.
    pub(super) fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    pub(super) fn step(mut self, step: Step) -> Self {
        self.step = step;
        self
    }

    /// By the rules of a set.
    pub(super) fn set(mut self, name: &str) -> Self {
        self.set = Some(name.to_owned());
        self
    }

    pub(super) fn method(mut self, method: impl AsRef<[u8]>) -> Self {
        self.method = method.as_ref().to_vec();
        self
    }

    pub(super) fn host(mut self, host: impl AsRef<[u8]>) -> Self {
        self.host = host.as_ref().to_vec();
        self
    }

    pub(super) fn uri(mut self, uri: impl AsRef<[u8]>) -> Self {
        self.uri = uri.as_ref().to_vec();
        self
    }

    /// Adds a header line.
    pub(super) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Leaves out a header that the proxy would send.
    pub(super) fn without(mut self, name: &'static str) -> Self {
        self.without.push(name);
        self
    }

    /// Replaces a header that the proxy would send.
    pub(super) fn instead(self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).header(name, value)
    }

    /// Adds a bearer token.
    pub(super) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// Adds a cookie of the default name.
    pub(super) fn cookie(self, token: &str) -> Self {
        self.header("Cookie", format!("jwt={token}"))
    }

    /// The check request, for a connection that is kept.
    pub(super) fn kept(&self) -> Vec<u8> {
        self.written("")
    }

    /// The check request.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.written("Connection: close\r\n")
    }

    fn written(&self, end: &str) -> Vec<u8> {
        let step = match (self.dialect, self.step) {
            (Dialect::Traefik, Step::Validate) => "/validate",
            (Dialect::Traefik, Step::Authn) => "/validate/authn",
            (Dialect::Traefik, Step::Authz) => "/validate/authz",
            (Dialect::Envoy, Step::Validate) => "/envoy/validate",
            (Dialect::Envoy, Step::Authn) => "/envoy/authn",
            (Dialect::Envoy, Step::Authz) => "/envoy/authz",
            (Dialect::Nginx, Step::Validate) => "/nginx/validate",
            (Dialect::Nginx, Step::Authn) => "/nginx/validate/authn",
            (Dialect::Nginx, Step::Authz) => "/nginx/validate/authz",
            (Dialect::Caddy, Step::Validate) => "/caddy/validate",
            (Dialect::Caddy, Step::Authn) => "/caddy/validate/authn",
            (Dialect::Caddy, Step::Authz) => "/caddy/validate/authz",
        };
        let step = &self.set.as_ref().map_or_else(|| step.to_owned(), |set| format!("/policy/{set}{step}"));
        let (method, host, uri) = (&self.method[..], &self.host[..], &self.uri[..]);
        let mut bytes = match self.dialect {
            Dialect::Traefik | Dialect::Nginx | Dialect::Caddy => [b"GET ", step.as_bytes()].concat(),
            Dialect::Envoy => [method, b" ", step.as_bytes(), uri].concat(),
        };
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        let facts: &[(&str, &[u8])] = match self.dialect {
            Dialect::Traefik | Dialect::Nginx | Dialect::Caddy => &[
                ("Host", b"gate:7400"),
                ("X-Forwarded-Method", method),
                ("X-Forwarded-Host", host),
                ("X-Forwarded-Uri", uri),
            ],
            Dialect::Envoy => &[("Host", host)],
        };
        let common: [(&str, &[u8]); 2] = [("X-Forwarded-For", CLIENT.as_bytes()), ("X-Forwarded-Proto", b"https")];
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), &value[..]));
        let proxys = facts.iter().copied().chain(common).filter(|(name, _)| !self.without.contains(name));
        for (name, value) in proxys.chain(own) {
            bytes.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(end.as_bytes());
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// Asks.
    pub(super) async fn ask(&self, gate: &Gate) -> Answer {
        gate.exchange(&self.bytes()).await
    }
}

/// Runs all cases at once: they wait for the gate's audit thread, not for each other.
pub(super) async fn together<F: Future<Output = ()>>(cases: impl IntoIterator<Item = F>) {
    futures_util::future::join_all(cases).await;
}

/// A connection that is kept.
pub(super) struct Kept {
    stream: raw::Stream,
    buffer: Vec<u8>,
}

impl Kept {
    pub(super) async fn connect(gate: &Gate) -> Self {
        Self::at(gate.decisions()).await
    }

    pub(super) async fn at(address: std::net::SocketAddr) -> Self {
        let stream = raw::Client::plain(address).connect().await.expect("a connection");
        Self { stream, buffer: Vec::new() }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        use tokio::io::AsyncWriteExt as _;
        self.stream.write_all(bytes).await.expect("the gate takes it");
    }

    /// The next answer: its head, in lower case, and its body. `None` at the end of the connection.
    pub(super) async fn answer(&mut self) -> Option<(u16, String, String)> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        while self.buffer.len() < end + length {
            if !self.fill().await {
                return None;
            }
        }
        let body = String::from_utf8_lossy(&self.buffer[end..end + length]).into_owned();
        self.buffer.drain(..end + length);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        Some((status, head, body))
    }

    async fn fill(&mut self) -> bool {
        use tokio::io::AsyncReadExt as _;
        let mut chunk = [0; 16 * 1024];
        let wait = std::time::Duration::from_secs(20);
        let read = tokio::time::timeout(wait, self.stream.read(&mut chunk)).await.expect("the gate answers or closes");
        let read = read.unwrap_or(0);
        self.buffer.extend_from_slice(&chunk[..read]);
        read > 0
    }
}

/// What an allow says of an identity header: its value, or nothing if the proxy is told to remove it. One of the two it must say,
/// and once.
#[track_caller]
pub(super) fn said<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    assert_eq!(answer.status(), 200, "{answer:#?}");
    let set = answer.response.header_all(name);
    let removals = answer.response.header_all("x-envoy-auth-headers-to-remove");
    let removed =
        removals.iter().flat_map(|line| line.split(',')).filter(|other| other.trim().eq_ignore_ascii_case(name));
    assert_eq!(set.len() + removed.count(), 1, "`{name}` must be set once or removed once: {answer:#?}");
    set.first().copied()
}

/// What an allow says of a header without a value, in this dialect.
pub(super) fn absent(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Traefik | Dialect::Nginx | Dialect::Caddy => Some(""),
        Dialect::Envoy => None,
    }
}

/// How many decisions the gate has counted under all of these labels, such as `reason="expired"`; a missing sample counts nothing.
pub(super) async fn counted(gate: &Gate, labels: &str) -> u64 {
    let text = gate.admin_get("/metrics").await.text();
    let mut samples = text.lines().filter(|line| line.starts_with("portcullis_decisions_total{"));
    let known = samples.clone().count();
    assert!(known > 0, "no decisions are counted: {text}");
    let fits = |line: &&str| labels.split(',').all(|label| line.contains(label));
    samples
        .by_ref()
        .filter(fits)
        .map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()).expect("a count"))
        .sum()
}
