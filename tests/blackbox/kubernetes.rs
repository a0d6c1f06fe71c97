//! `k8s/`, given to a real Traefik: what users apply routes the shop's requests and asks a real gate over TLS, which runs with the
//! ConfigMap's files. The Secret `gate-tls`, which a Job makes in a cluster, is made here by the same program, for 127.0.0.1.

mod manifests;
mod redis;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::cluster::{Cluster, object};
use crate::support::gate::{Config, Gate, KEY, PROGRAM, token};
use crate::support::raw;
use crate::support::upstream::{Recorded, Upstream};

const SERVICES: [&str; 4] = ["products", "orders", "authentication", "service-a"];
/// The headers that tell an upstream who is asking.
const IDENTITY: [&str; 3] = ["X-User-ID", "X-User-Role", "X-User-Tier"];

/// What is in the Secret `gate-tls`.
#[derive(Clone)]
struct Certificates {
    authority: String,
    certificate: String,
    key: String,
}

impl Certificates {
    /// Made by the program, as in the Job, for this name.
    fn of(name: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut command = Command::new(PROGRAM);
        command.args(["certificate", "--name", name, "--dir"]).arg(folder.path());
        assert!(command.output().expect("the program runs").status.success());
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a file");
        Self { authority: read("ca.crt"), certificate: read("tls.crt"), key: read("tls.key") }
    }

    /// As the Job makes it.
    fn secret(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "gate-tls", "namespace": "shop"},
            "stringData": {"ca.crt": self.authority, "tls.crt": self.certificate, "tls.key": self.key},
        })
    }
}

/// The files of a replica's folder, as the ConfigMap and the Secret fill it.
fn shipped(certificates: &Certificates) -> Config {
    let data = &object("ConfigMap", "gate")["data"];
    let file = |name: &str| data[name].as_str().unwrap_or_else(|| panic!("the ConfigMap has no {name}")).to_owned();
    let config = Config { settings: file("portcullis.yaml"), policy: file("policy.yaml"), ..Config::shop() };
    let config = config.file("jwks.json", &file("jwks.json"));
    config.file("tls.crt", &certificates.certificate).file("tls.key", &certificates.key)
}

/// The same on this machine, with a key whose private half the test has.
fn here(certificates: &Certificates) -> Config {
    let config = shipped(certificates).file("jwks.json", &json!({"keys": [KEY.jwk()]}).to_string());
    let here = config.edit("0.0.0.0:7400", "127.0.0.1:0").edit("0.0.0.0:7401", "127.0.0.1:0");
    here.edit("    trusted_proxies:\n", "    trusted_proxies:\n      - 127.0.0.0/8\n")
}

fn gate(certificates: &Certificates) -> Gate {
    Gate::start(&here(certificates))
}

/// The whole of it.
struct Shop {
    cluster: Cluster,
    gate: Gate,
    upstreams: BTreeMap<&'static str, Upstream>,
    clients: AtomicU32,
}

impl Shop {
    async fn start() -> Self {
        let certificates = Certificates::of("127.0.0.1");
        Self::with(gate(&certificates), Some(certificates.secret())).await
    }

    /// With another gate and another Secret.
    async fn with(gate: Gate, secret: Option<Value>) -> Self {
        let mut upstreams = BTreeMap::new();
        for name in SERVICES {
            upstreams.insert(name, Upstream::named(name).await);
        }
        let mut endpoints: Vec<(&str, SocketAddr)> =
            upstreams.iter().map(|(name, upstream)| (*name, upstream.address())).collect();
        endpoints.push(("gate", gate.decisions()));
        let cluster = Cluster::start(&endpoints, secret.as_ref()).await;
        Self { cluster, gate, upstreams, clients: AtomicU32::new(0) }
    }

    /// A client with an address of its own, and so with limits of its own.
    fn client(&self) -> raw::Client {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 7, 0, 1).to_bits() + number);
        self.cluster.traefik.raw().with_source(address)
    }

    /// Sends one request as a new client, and tells what came of it.
    async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Outcome {
        let response = self.client().send(raw::request(method, target, headers, b"")).await;
        let received = self.upstreams.iter();
        let received =
            received.flat_map(|(name, upstream)| upstream.take_requests().into_iter().map(|seen| (*name, seen)));
        Outcome { response, received: received.collect() }
    }
}

#[derive(Debug)]
struct Outcome {
    response: raw::Response,
    received: Vec<(&'static str, Recorded)>,
}

impl Outcome {
    /// Asserts that exactly this service was asked exactly this, and what it was told of the user; empty stands for absent, too.
    #[track_caller]
    fn reached(&self, service: &str, method: &str, target: &str, identity: [&str; 3]) -> &Recorded {
        assert_eq!(self.response.status, 200, "{self:?}");
        let [(name, request)] = &self.received[..] else { panic!("not one request: {self:?}") };
        assert_eq!((*name, request.method().as_str(), request.target().as_str()), (service, method, target));
        for (header, value) in IDENTITY.into_iter().zip(identity) {
            let told = request.lookalikes(header);
            let values: Vec<&str> =
                told.iter().map(|(_, told)| told.as_str()).filter(|told| !told.is_empty()).collect();
            let wanted: Vec<&str> = Some(value).filter(|value| !value.is_empty()).into_iter().collect();
            assert_eq!(values, wanted, "{header}: {told:?} in\n{}", request.text());
            assert!(told.iter().all(|(key, _)| key.eq_ignore_ascii_case(header)), "{told:?}");
        }
        request
    }

    /// Asserts that no service was asked, and the status.
    #[track_caller]
    fn refused(&self, status: u16) -> &raw::Response {
        assert_eq!(self.response.status, status, "{self:?}");
        assert!(self.received.is_empty(), "refused, and yet a service received it: {self:?}");
        &self.response
    }
}

fn bearer(subject: &str, role: &str) -> String {
    format!("Bearer {}", token(subject, &[role]))
}

const NOBODY: [&str; 3] = [""; 3];
const ALICE: [&str; 3] = ["alice", "user", "free"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shops_requests_are_routed_and_judged() {
    let shop = Shop::start().await;
    let (alice, bob, eve) = (bearer("alice", "user"), bearer("bob", "admin"), bearer("eve", "guest"));
    let (alice, bob, eve) = (("Authorization", &*alice), ("Authorization", &*bob), ("Authorization", &*eve));

    // Open, without the gate.
    for target in ["/authentication/login", "/authentication/registration"] {
        shop.ask("POST", target, &[]).await.reached("authentication", "POST", target, NOBODY);
    }
    shop.ask("GET", "/health?deep", &[]).await.reached("products", "GET", "/health?deep", NOBODY);
    assert!(shop.gate.audit().is_empty(), "{:?}", shop.gate.audit());

    // Judged.
    shop.ask("GET", "/", &[]).await.reached("products", "GET", "/", NOBODY);
    shop.ask("GET", "/products/7?a=b", &[alice]).await.reached("products", "GET", "/products/7?a=b", ALICE);
    shop.ask("POST", "/products/7/buy", &[alice]).await.reached("products", "POST", "/products/7/buy", ALICE);
    shop.ask("GET", "/products/admin", &[bob]).await.reached(
        "products",
        "GET",
        "/products/admin",
        ["bob", "admin", "free"],
    );
    shop.ask("DELETE", "/orders/7", &[alice]).await.reached("orders", "DELETE", "/orders/7", ALICE);
    // The gate judges what was asked, the service is given the rest.
    shop.ask("GET", "/api/service-a/items", &[eve]).await.reached(
        "service-a",
        "GET",
        "/items",
        ["eve", "guest", "free"],
    );
    let cookie = alice.1.replacen("Bearer ", "jwt=", 1);
    shop.ask("GET", "/orders", &[("Cookie", &cookie)]).await.reached("orders", "GET", "/orders", ALICE);

    // Refused by the gate, with its own words.
    for (method, target, headers, status) in [
        ("GET", "/products", &[][..], 401),
        ("GET", "/orders", &[], 401),
        ("GET", "/api/service-a/items", &[("Cookie", &*cookie)], 401),
        ("GET", "/products/admin", &[alice], 403),
        ("POST", "/products/7/buy", &[eve], 403),
        ("GET", "/orders", &[eve], 403),
        ("POST", "/products", &[alice], 403),
        ("GET", "/nowhere", &[bob], 403),
        ("OPTIONS", "/authentication/login", &[bob], 403),
        ("GET", "/Authentication/login", &[bob], 403),
        ("GET", "/products;x=1", &[bob], 400),
    ] {
        let outcome = shop.ask(method, target, headers).await;
        let response = outcome.refused(status);
        assert_eq!(
            response.header("content-type"),
            Some("application/problem+json"),
            "{method} {target}: {response:?}"
        );
        assert_eq!(response.header("www-authenticate").is_some(), status == 401, "{method} {target}: {response:?}");
    }
    // Refused by Traefik: encoded separators, and hosts that are not the shop's.
    for target in [
        "/products%2fadmin",
        "/products%5cadmin",
        "/products%00",
        "/products%3bx",
        "/products%25",
        "/products%3f",
        "/products%23",
    ] {
        shop.ask("GET", target, &[bob]).await.refused(400);
    }
    let stranger = "GET /products HTTP/1.1\r\nHost: elsewhere.localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(shop.client().send(stranger).await.status, 404);
    // Plain HTTP is only told where to go.
    let told = raw::send(shop.cluster.traefik.http(), raw::request("GET", "/products?x", &[alice], b"")).await;
    assert_eq!((told.status, told.header("location")), (301, Some("https://shop.localhost/products?x")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_judged_in_two_steps_and_never_in_one() {
    let shop = Shop::start().await;
    let halves = |id: &'static str| {
        let lines = shop.gate.audit().into_iter().filter(move |line| line["request_id"] == id);
        lines.map(|line| ["decision", "reason", "step"].map(|member| line[member].clone())).collect::<Vec<_>>()
    };
    let (alice, eve) = (bearer("alice", "user"), bearer("eve", "guest"));
    shop.ask("GET", "/orders", &[("Authorization", &alice), ("X-Request-ID", "both")])
        .await
        .reached("orders", "GET", "/orders", ALICE);
    shop.ask("GET", "/orders", &[("Authorization", &eve), ("X-Request-ID", "second")]).await.refused(403);
    shop.ask("GET", "/orders", &[("X-Request-ID", "first")]).await.refused(401);
    // Lines are written in order.
    shop.ask("GET", "/products", &[("X-Request-ID", "last")]).await.refused(401);
    shop.gate.audited("last").await;
    assert_eq!(halves("both"), [["allow", "allowed", "authn"], ["allow", "allowed", "authz"]]);
    assert_eq!(halves("second"), [["allow", "allowed", "authn"], ["deny", "missing_role", "authz"]]);
    assert_eq!(halves("first"), [["deny", "no_credential", "authn"]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_own_identity_never_arrives() {
    let shop = Shop::start().await;
    let alice = bearer("alice", "user");
    let mut headers: Vec<(String, &str)> = Vec::new();
    for name in IDENTITY {
        let letters = [name.to_owned(), name.to_ascii_lowercase(), name.to_ascii_uppercase()];
        headers.extend(letters.into_iter().map(|spelt| (spelt, "spoofed")));
        headers.extend(["_", ".", "~", "!"].map(|separator| (name.replace('-', separator), "spoofed")));
    }
    for name in [
        "X-Forwarded-User",
        "X-Auth-User",
        "Remote-User",
        "X-Original-URL",
        "X-HTTP-Method-Override",
        "X-Forwarded-Uri",
    ] {
        headers.push((name.to_owned(), "/spoofed"));
    }
    let mut headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    for (target, service) in [("/authentication/login", "authentication"), ("/health?x", "products"), ("/", "products")]
    {
        let outcome = shop.ask("GET", target, &headers).await;
        let text = outcome.reached(service, "GET", target, NOBODY).text();
        assert!(!text.contains("spoofed"), "{text}");
    }
    headers.push(("Authorization", &alice));
    for (target, service, arrives) in [
        ("/products", "products", "/products"),
        ("/orders", "orders", "/orders"),
        ("/api/service-a/x", "service-a", "/x"),
    ] {
        let outcome = shop.ask("GET", target, &headers).await;
        let text = outcome.reached(service, "GET", arrives, ALICE).text();
        assert!(!text.contains("spoofed"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_burst_is_too_many_requests() {
    let shop = Shop::start().await;
    let alice = bearer("alice", "user");
    let (client, begin) = (shop.client(), Instant::now());
    let mut passed = 0;
    let refused = loop {
        let response = client.get("/products", &[("Authorization", &alice)]).await;
        match response.status {
            200 => passed += 1,
            _ => break response,
        }
    };
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.header("retry-after"), Some("3"), "{refused:?}");
    // One comes back each 3 s, and is given up to half a second early.
    let refilled = (begin.elapsed() + Duration::from_millis(500)).as_secs() / 3;
    assert!((40..=40 + refilled).contains(&passed), "{passed} in {:?}", begin.elapsed());
    // The gate was spared what was too much, and another client is not locked out.
    let decisions = shop.gate.audit().len();
    assert!(decisions as u64 <= passed, "{decisions}");
    assert_eq!(shop.client().get("/products", &[("Authorization", &alice)]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_gate_of_the_secrets_authority_is_asked() {
    let alice = bearer("alice", "user");
    let ours = Certificates::of("127.0.0.1");
    let another_name = Certificates::of("gate.elsewhere.svc");
    for (runs, secret) in [(&ours, &Certificates::of("127.0.0.1")), (&another_name, &another_name)] {
        let shop = Shop::with(gate(runs), Some(secret.secret())).await;
        for target in ["/products", "/orders", "/"] {
            shop.ask("GET", target, &[("Authorization", &alice)]).await.refused(500);
        }
        assert!(shop.gate.audit().is_empty(), "{:?}", shop.gate.audit());
        shop.ask("GET", "/authentication/login", &[]).await.reached(
            "authentication",
            "GET",
            "/authentication/login",
            NOBODY,
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn until_the_secret_is_there_nothing_protected_is_served() {
    let alice = bearer("alice", "user");
    let certificates = Certificates::of("127.0.0.1");
    let shop = Shop::with(gate(&certificates), None).await;
    for target in ["/products", "/orders", "/"] {
        shop.ask("GET", target, &[("Authorization", &alice)]).await.refused(404);
    }
    assert!(shop.gate.audit().is_empty(), "{:?}", shop.gate.audit());
    shop.cluster.exchange(&certificates.secret()).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while shop.client().get("/products", &[]).await.status == 404 {
        assert!(Instant::now() < deadline, "Traefik does not take up the Secret:\n{}", shop.cluster.traefik.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shop.ask("GET", "/products", &[("Authorization", &alice)]).await.reached("products", "GET", "/products", ALICE);
}
