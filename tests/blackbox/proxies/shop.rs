//! One real proxy with everything around it: a gate, two servers behind it, and a look at what each of them saw.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use crate::support::gate::{Config, Gate, token};
use crate::support::proxy::{Caddy, Envoy, Nginx, Options, Traefik};
use crate::support::raw;
use crate::support::upstream::{Recorded, Upstream};
use crate::support::wire::Wire;

/// Tests of each function, which gets the proxy that it is about: through four proxies, over TLS as they are shipped and over plain
/// HTTP; or through those that a list names.
macro_rules! through_all {
    ([$($kind:ident over $wire:ident as $test:ident),+ $(,)?] $($name:ident),+ $(,)?) => {
        through_all!(@each $($name),+ ; [$($kind over $wire as $test),+]);
    };
    // What needs HTTP/2, which nginx 1.22 speaks over TLS only.
    (@http2 $($name:ident),+ $(,)?) => {
        through_all!(
            [
                Traefik over Tls as through_traefik,
                Traefik over Plain as through_traefik_over_plain_http,
                Envoy over Tls as through_envoy,
                Envoy over Plain as through_envoy_over_plain_http,
                Nginx over Tls as through_nginx,
                Caddy over Tls as through_caddy,
                Caddy over Plain as through_caddy_over_plain_http,
            ] $($name),+
        );
    };
    (@each $($name:ident),+ ; $tests:tt) => {
        $(through_all!(@one $name ; $tests);)+
    };
    (@one $name:ident ; [$($kind:ident over $wire:ident as $test:ident),+]) => {
        mod $name {
            use crate::proxies::shop::Kind;
            use crate::support::wire::Wire;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                Wire::$wire.speak(super::$name(Kind::$kind)).await;
            })+
        }
    };
    ($($name:ident),+ $(,)?) => {
        through_all!(
            [
                Traefik over Tls as through_traefik,
                Traefik over Plain as through_traefik_over_plain_http,
                Envoy over Tls as through_envoy,
                Envoy over Plain as through_envoy_over_plain_http,
                Nginx over Tls as through_nginx,
                Nginx over Plain as through_nginx_over_plain_http,
                Caddy over Tls as through_caddy,
                Caddy over Plain as through_caddy_over_plain_http,
            ] $($name),+
        );
    };
}
pub(crate) use through_all;

/// The headers that tell an upstream who is asking.
pub(crate) const IDENTITY: [&str; 3] = ["X-User-ID", "X-User-Role", "X-User-Tier"];

/// Where the tests' requests come from. Not 127.0.0.1: the shipped Envoy treats this very host as internal, as its file says.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Traefik,
    Envoy,
    Nginx,
    Caddy,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Traefik, Self::Envoy, Self::Nginx, Self::Caddy];

    /// Whether the gate is asked about this target as it is because the proxy does not resolve `.`, `..` and `//`. The others do,
    /// for the gate and the servers alike.
    pub(crate) fn leaves_ambiguous(self, target: &str) -> bool {
        let path = target.split('?').next().unwrap_or_default().replace("%2e", ".");
        let dots = path.split('/').any(|segment| segment == "." || segment == "..");
        matches!(self, Self::Nginx | Self::Caddy) && (dots || path.contains("//"))
    }
}

/// A running one.
#[derive(Debug)]
pub(crate) enum Proxy {
    Traefik(Traefik),
    Envoy(Envoy),
    Nginx(Nginx),
    Caddy(Caddy),
}

impl Proxy {
    /// Starts one.
    pub(crate) async fn start(kind: Kind, options: &Options) -> Self {
        match kind {
            Kind::Traefik => Self::Traefik(Traefik::start(options).await),
            Kind::Envoy => Self::Envoy(Envoy::start(options).await),
            Kind::Nginx => Self::Nginx(Nginx::start(options).await),
            Kind::Caddy => Self::Caddy(Caddy::start(options).await),
        }
    }

    /// A client that sends any bytes.
    pub(crate) fn raw(&self) -> raw::Client {
        let client = match self {
            Self::Traefik(traefik) => traefik.raw(),
            Self::Envoy(envoy) => envoy.raw(),
            Self::Nginx(nginx) => nginx.raw(),
            Self::Caddy(caddy) => caddy.raw(),
        };
        client.with_source(CLIENT)
    }

    /// The URL of a path, for [`Proxy::http2`].
    pub(crate) fn url(&self, path: &str) -> String {
        match self {
            Self::Traefik(traefik) => traefik.url(path),
            Self::Envoy(envoy) => envoy.url(path),
            Self::Nginx(nginx) => nginx.url(path),
            Self::Caddy(caddy) => caddy.url(path),
        }
    }

    /// A client that speaks HTTP/2 and nothing else.
    pub(crate) fn http2(&self) -> reqwest::Client {
        let builder = match self {
            Self::Traefik(traefik) => traefik.client(),
            Self::Envoy(envoy) => envoy.client(),
            Self::Nginx(nginx) => nginx.client(),
            Self::Caddy(caddy) => caddy.client(),
        };
        builder.http2_prior_knowledge().local_address(IpAddr::from(CLIENT)).build().expect("a client")
    }
}

/// A gate, one proxy in front of it, and two servers behind.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) proxy: Proxy,
    pub(crate) gate: Gate,
    pub(crate) upstreams: [Upstream; 2],
}

impl Shop {
    /// The sample shop and the shipped files, only without the limit per minute, which the tests would soon reach.
    pub(crate) async fn behind(kind: Kind) -> Self {
        Self::with(kind, &Config::shop(), Options::lift_rate_limit).await
    }

    /// With another gate, or other changes of the proxy's files.
    pub(crate) async fn with(kind: Kind, config: &Config, change: impl FnOnce(Options) -> Options) -> Self {
        let upstreams = [Upstream::named("one").await, Upstream::named("two").await];
        Self::with_upstreams(kind, config, upstreams, change).await
    }

    /// With other servers, too.
    pub(crate) async fn with_upstreams(
        kind: Kind,
        config: &Config,
        upstreams: [Upstream; 2],
        change: impl FnOnce(Options) -> Options,
    ) -> Self {
        let gate = match Wire::here() {
            Wire::Tls => Gate::start(&config.over_tls()),
            Wire::Plain => Gate::start(config),
        };
        let options = Options::new(gate.decisions(), upstreams.each_ref().map(Upstream::address));
        let proxy = Proxy::start(kind, &change(options)).await;
        Self { proxy, gate, upstreams }
    }

    /// Sends one request, and tells what came of it everywhere.
    pub(crate) async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Exchange {
        self.send(raw::request(method, target, headers, b"")).await
    }

    /// The same with a request of any bytes.
    pub(crate) async fn send(&self, request: impl AsRef<[u8]>) -> Exchange {
        let (response, trace) = self.observe(self.proxy.raw().send(request)).await;
        Exchange { response, trace }
    }

    /// Does something and tells what the servers and the gate saw meanwhile. Nothing else may be going on.
    pub(crate) async fn observe<T>(&self, work: impl Future<Output = T>) -> (T, Trace) {
        let before = self.gate.audit().len();
        self.take_requests();
        let outcome = work.await;
        let received = self.take_requests();
        // A line is handed over before its answer is sent, and lines are written in order. So when the line of a later
        // question is there, all earlier ones are.
        let marker = self.gate.ask("GET", "/marker", &[]).await.audit["request_id"].clone();
        let mut audit = self.gate.audit().split_off(before);
        audit.retain(|line| line["request_id"] != marker);
        (outcome, Trace { received, audit })
    }

    /// What both servers received since they were asked last.
    fn take_requests(&self) -> Vec<Recorded> {
        self.upstreams.iter().flat_map(Upstream::take_requests).collect()
    }
}

/// What the servers received, and what the gate wrote down.
#[derive(Clone)]
pub(crate) struct Trace {
    pub(crate) received: Vec<Recorded>,
    pub(crate) audit: Vec<Value>,
}

impl Trace {
    /// The one request that reached a server.
    #[track_caller]
    pub(crate) fn upstream(&self) -> &Recorded {
        assert_eq!(self.received.len(), 1, "one request at the servers: {self:?}");
        &self.received[0]
    }

    /// The gate's last word: of a chain the second half decides.
    pub(crate) fn reason(&self) -> &str {
        self.audit.last().and_then(|line| line["reason"].as_str()).unwrap_or(NOT_ASKED)
    }
}

/// Stands for the reason when the gate was not asked.
pub(crate) const NOT_ASKED: &str = "(the gate was not asked)";

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for request in &self.received {
            write!(f, "\n  a server received:\n{}", request.text())?;
        }
        for line in &self.audit {
            write!(f, "\n  the gate wrote: {line}")?;
        }
        Ok(())
    }
}

/// A request's answer and its trace.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) response: raw::Response,
    pub(crate) trace: Trace,
}

impl Exchange {
    /// The status that the client got.
    pub(crate) fn status(&self) -> u16 {
        self.response.status
    }

    /// Asserts that the gate allowed it, and returns what reached a server.
    #[track_caller]
    pub(crate) fn passed(&self) -> &Recorded {
        assert_eq!((self.status(), self.trace.reason()), (200, "allowed"), "{self:?}");
        self.trace.upstream()
    }

    /// Asserts that no server saw it, and what the client and the gate's log say.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, reason: &str) -> &Self {
        assert_eq!((self.status(), self.trace.reason()), (status, reason), "{self:?}");
        assert!(self.trace.received.is_empty(), "refused, and yet a server received it: {self:?}");
        self
    }
}

/// Asserts that a server was told this identity, and under no other name anything like it.
#[track_caller]
pub(crate) fn assert_identity(request: &Recorded, values: [&str; 3]) {
    for (name, value) in IDENTITY.into_iter().zip(values) {
        let told = request.lookalikes(name);
        assert!(
            matches!(&told[..], [(key, told)] if key.eq_ignore_ascii_case(name) && told == value),
            "{name} should be `{value}`, not {told:?}:\n{}",
            request.text()
        );
    }
}

/// Asserts that a server was told of nobody: each header absent or empty, and nothing like it there.
#[track_caller]
pub(crate) fn assert_nobody(request: &Recorded) {
    for name in IDENTITY {
        for (key, value) in request.lookalikes(name) {
            assert!(key.eq_ignore_ascii_case(name) && value.is_empty(), "{key}: {value} in\n{}", request.text());
        }
    }
}

/// A user of the shop, who is no admin.
pub(crate) fn alice() -> String {
    token("alice", &["user"])
}

/// An admin of the shop.
pub(crate) fn bob() -> String {
    token("bob", &["admin"])
}
