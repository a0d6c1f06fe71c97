//! Something is gone: a server behind the proxy, or the gate itself.
#![expect(clippy::print_stdout, reason = "how long it took is for people, too: run with --nocapture")]

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::shop::{Kind, Proxy, Shop, alice, through_all};
use crate::support::gate::Config;
use crate::support::proxy::{Options, Port};
use crate::support::raw;
use crate::support::upstream::Upstream;

through_all!(
    a_killed_server_loses_no_request_once_the_health_check_has_noticed,
    without_the_gate_nothing_protected_passes,
    while_the_gate_hangs_nothing_protected_passes,
    without_keys_the_gates_503_reaches_the_client,
);

/// The shipped health check asks each second and waits half a second; this leaves a busy machine three times that.
const NOTICED: Duration = Duration::from_secs(5);

/// Whether the proxy has taken this server out of a service.
async fn is_out(proxy: &Proxy, service: &str, server: &str) -> bool {
    match proxy {
        // It logs every check that fails, and never that one passes again.
        Proxy::Traefik(traefik) => traefik.log().lines().any(|line| {
            line.contains("Health check failed") && line.contains(&format!("{service}@file")) && line.contains(server)
        }),
        Proxy::Envoy(envoy) => {
            let clusters = raw::send(envoy.admin(), raw::request("GET", "/clusters", &[], b"")).await.text();
            let flags = format!("{service}::{server}::health_flags::");
            clusters
                .lines()
                .filter_map(|line| line.strip_prefix(&flags))
                .any(|flags| flags.contains("failed_active_hc"))
        }
        // It has no checks of its own: whoever asks finds out, and is served by the other server.
        Proxy::Nginx(_) => true,
        // It logs every check that fails, but not of which service.
        Proxy::Caddy(caddy) => {
            caddy.log().lines().filter(|line| line.contains("HTTP request failed") && line.contains(server)).count()
                >= 8
        }
    }
}

async fn a_killed_server_loses_no_request_once_the_health_check_has_noticed(kind: Kind) {
    // It is to come back where it was.
    let port = Port::take();
    let upstreams = [Upstream::at(port.address(), "one").await, Upstream::named("two").await];
    let mut shop = Shop::with_upstreams(kind, &Config::shop(), upstreams, Options::lift_rate_limit).await;
    let token = format!("Bearer {}", alice());
    let client = shop.proxy.raw();
    let get = async |target: &str| {
        let answer = client.get(target, &[("Authorization", &token)]).await;
        if answer.status == 200 {
            answer.json()["server"].as_str().unwrap_or_default().to_owned()
        } else {
            String::new()
        }
    };

    let mut before = [0, 0];
    for _ in 0..20 {
        let server = get("/products").await;
        before[["one", "two"].iter().position(|name| *name == server).expect("both are up")] += 1;
    }
    assert_eq!(before, [10, 10], "in turn");

    let stand_in = Upstream::named("nobody's").await;
    std::mem::replace(&mut shop.upstreams[0], stand_in).stop().await;
    let (killed, mut lost) = (Instant::now(), 0);
    for (service, target) in [("products", "/products"), ("orders", "/orders"), ("service-a", "/api/service-a/x")] {
        while !is_out(&shop.proxy, service, &port.address().to_string()).await {
            assert!(killed.elapsed() < NOTICED, "{service} still asks the dead server");
            lost += usize::from(get(target).await.is_empty());
        }
    }
    println!("through {kind:?}: noticed after {:?}; {lost} requests were lost until then", killed.elapsed());

    for _ in 0..30 {
        for target in ["/products", "/orders", "/api/service-a/x"] {
            assert_eq!(get(target).await, "two", "{target} after the health check");
        }
    }

    // Nor is one lost when it comes back and takes its turn again.
    shop.upstreams[0] = Upstream::at(port.address(), "one").await;
    let back = Instant::now();
    while shop.upstreams[0].requests().is_empty() {
        assert!(!get("/products").await.is_empty(), "lost one while the server came back");
        assert!(back.elapsed() < NOTICED, "it never gets a request again");
    }
    println!("through {kind:?}: it has its turn again after {:?}", back.elapsed());
}

/// What each proxy answers when the gate does not.
fn unable(kind: Kind) -> u16 {
    match kind {
        Kind::Traefik => 500,
        Kind::Envoy | Kind::Nginx => 503,
        Kind::Caddy => 502,
    }
}

async fn without_the_gate_nothing_protected_passes(kind: Kind) {
    let mut shop = Shop::behind(kind).await;
    let token = format!("Bearer {}", alice());
    shop.ask("GET", "/products", &[("Authorization", &token)]).await.passed();
    shop.gate.signal("KILL");
    shop.gate.ended().await;

    let client = shop.proxy.raw();
    for target in ["/products", "/products/admin", "/orders", "/api/service-a/x", "/", "/unknown"] {
        for headers in [&[][..], &[("Authorization", &*token), ("X-User-ID", "root")]] {
            for method in ["GET", "POST", "OPTIONS"] {
                let answer = client.send(raw::request(method, target, headers, b"")).await;
                assert_eq!(answer.status, unable(kind), "{method} {target}: {answer:?}");
                match kind {
                    Kind::Nginx => assert_eq!(answer.json()["status"], 503, "{method} {target}"),
                    Kind::Traefik | Kind::Envoy | Kind::Caddy => assert_eq!(answer.text(), "", "{method} {target}"),
                }
            }
        }
    }
    let answer = client.websocket("/products/live", &[("Authorization", &token)]).await.expect_err("no 101");
    assert_eq!(answer.status, unable(kind), "{answer:?}");
    let received: Vec<_> = shop.upstreams.iter().flat_map(Upstream::requests).collect();
    assert!(received.is_empty(), "{received:?}");
    // Open routes need no gate.
    assert_eq!(client.get("/authentication/login", &[]).await.status, 200);
}

fn is_stopped(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("its threads");
    threads.flatten().all(|thread| {
        let state = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        state.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
    })
}

async fn while_the_gate_hangs_nothing_protected_passes(kind: Kind) {
    let shop = Shop::behind(kind).await;
    let token = format!("Bearer {}", alice());
    let request = raw::request("GET", "/products", &[("Authorization", &token)], b"");
    shop.ask("GET", "/products", &[("Authorization", &token)]).await.passed();
    shop.upstreams.iter().for_each(|upstream| drop(upstream.take_requests()));

    shop.gate.signal("STOP");
    // The signal is on its way to each thread; one may still answer.
    while !is_stopped(shop.gate.pid()) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let start = Instant::now();
    let patience = Duration::from_millis(1500);
    let answer = shop.proxy.raw().with_timeout(patience).try_send(&request).await;
    println!("through {kind:?}, while the gate hangs: {answer:?} after {:?}", start.elapsed());
    match kind {
        // It waits 30 s, and that cannot be set.
        Kind::Traefik => assert_eq!(answer.expect_err("no answer yet").kind(), ErrorKind::TimedOut),
        Kind::Envoy | Kind::Nginx => assert_eq!(answer.expect("an answer in time").status, 503),
        Kind::Caddy => assert_eq!(answer.expect("an answer in time").status, 504),
    }
    assert!(shop.upstreams.iter().all(|upstream| upstream.requests().is_empty()));

    shop.gate.signal("CONT");
    assert_eq!(shop.proxy.raw().send(&request).await.status, 200, "as before");
}

async fn without_keys_the_gates_503_reaches_the_client(kind: Kind) {
    let nobody = Port::take();
    let keys = format!("jwks_url: \"http://{}/\"\n    danger_allow_http_issuer: true", nobody.address());
    let config = Config::shop().edit("jwks_file: jwks.json", &keys);
    let shop = Shop::with(kind, &config, Options::lift_rate_limit).await;
    let token = format!("Bearer {}", alice());
    let exchange = shop.ask("GET", "/products", &[("Authorization", &token)]).await;
    exchange.refused(503, "keys_unavailable");
    // Who needs no key is not concerned.
    shop.ask("GET", "/products", &[]).await.refused(401, "no_credential");
    shop.ask("GET", "/", &[]).await.passed();
}
