//! TLS on the listeners, and certificates exchanged under load.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

use crate::support::authority::Authority;
use crate::support::gate::{Config, Gate, token};

fn config(authority: &Authority) -> (Config, CertificateDer<'static>) {
    let (certificate, key, der) = authority.server();
    let config = Config::shop()
        .edit(
            "listeners:\n  decisions:\n",
            "listeners:\n  decisions:\n    tls: {certificate_file: gate.crt, key_file: gate.key}\n",
        )
        .file("gate.crt", &certificate)
        .file("gate.key", &key);
    (config, der)
}

async fn connect(gate: &Gate, authority: &Authority) -> TlsStream<TcpStream> {
    connect_to(gate.decisions(), authority).await
}

async fn connect_to(address: SocketAddr, authority: &Authority) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    authority.connector().connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await.unwrap()
}

/// Asks over an open connection and gives back the status.
async fn ask(stream: &mut TlsStream<TcpStream>, token: &str) -> u16 {
    let request = format!(
        "GET /validate HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {token}\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /products\r\n\
         X-Forwarded-Host: shop.localhost\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the connection was closed");
    }
    String::from_utf8_lossy(&answer)["HTTP/1.1 ".len()..][..3].parse().unwrap()
}

fn served(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn put(folder: &Path, (certificate, key): (&str, &str)) {
    // As a careful tool does: beside, then renamed over.
    for (name, text) in [("gate.crt", certificate), ("gate.key", key)] {
        fs::write(folder.join("new"), text).unwrap();
        fs::rename(folder.join("new"), folder.join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_exchanged_under_load_without_a_failed_request() {
    let authority = Authority::new();
    let (config, first) = config(&authority);
    let gate = Gate::start(&config);
    let token = token("alice", &["user"]);
    let mut kept = connect(&gate, &authority).await;
    assert_eq!((ask(&mut kept, &token).await, served(&kept)), (200, first));

    let done = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    let load = async {
        // New connections all the time, several requests each: every one must be answered.
        while !done.load(Ordering::Relaxed) {
            let mut stream = connect(&gate, &authority).await;
            for _ in 0..5 {
                assert_eq!(ask(&mut stream, &token).await, 200);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let exchange = async {
        for _ in 0..2 {
            let (certificate, key, new) = authority.server();
            put(&gate.folder(), (&certificate, &key));
            let deadline = Instant::now() + Duration::from_secs(10);
            while served(&connect(&gate, &authority).await) != new {
                assert!(Instant::now() < deadline, "the new certificate is not served");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, exchange);
    assert!(answered.load(Ordering::Relaxed) > 10);
    assert_eq!(ask(&mut kept, &token).await, 200, "a connection outlives the certificate that it began with");
}

#[tokio::test]
async fn t_e9_a_broken_certificate_changes_nothing_and_says_so() {
    let authority = Authority::new();
    let (config, first) = config(&authority);
    let gate = Gate::start(&config);
    fs::write(gate.folder().join("gate.crt"), "nonsense").unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !gate.log().contains("the new certificate cannot be used; the old one stays") {
        assert!(Instant::now() < deadline, "{}", gate.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut stream = connect(&gate, &authority).await;
    assert_eq!((ask(&mut stream, &token("alice", &["user"])).await, served(&stream)), (200, first));
}

#[test]
fn a_key_of_another_certificate_refuses_to_start() {
    let authority = Authority::new();
    let (config, _) = config(&authority);
    let (_, other_key, _) = authority.server();
    let (code, text) = config.clone().file("gate.key", &other_key).check();
    assert_eq!(code, 64, "{text}");
    assert!(text.starts_with("portcullis.yaml:") && text.contains("gate.crt and gate.key"), "{text}");
    let (code, text) = config.file("gate.crt", "").check();
    assert_eq!(code, 64);
    assert!(
        text.contains("gate.crt holds no certificate in PEM; name a certificate and its own private key"),
        "{text}"
    );
}

#[tokio::test]
async fn plain_http_to_a_tls_listener_gets_no_decision() {
    let authority = Authority::new();
    let (config, _) = config(&authority);
    let gate = Gate::start(&config);
    let client = crate::support::raw::Client::plain(gate.decisions());
    let answer = client.try_send(crate::support::raw::request("GET", "/validate", &[], b"")).await;
    assert!(answer.is_err(), "a TLS alert is no HTTP: {answer:?}");
}

/// Of peers that open a connection and say nothing. Envoy and nginx give up on the gate after a second.
#[tokio::test]
async fn handshakes_that_never_end_keep_no_proxy_out() {
    let authority = Authority::new();
    let (config, _) = config(&authority);
    let gate = Gate::start(&config.edit("  decisions:\n", "  decisions:\n    workers: 1\n"));
    let token = token("alice", &["user"]);
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(gate.decisions()).await.unwrap());
    }
    let begun = Instant::now();
    let mut stream = connect(&gate, &authority).await;
    assert_eq!(ask(&mut stream, &token).await, 200);
    assert!(begun.elapsed() < Duration::from_secs(1), "a new connection took {:?}", begun.elapsed());

    // They do not stay.
    let mut byte = [0];
    let ended = tokio::time::timeout(Duration::from_secs(10), silent[0].read(&mut byte)).await;
    assert!(ended.is_ok_and(|read| read.unwrap_or(0) == 0), "a connection without a handshake is kept open");
}

#[tokio::test]
async fn the_public_listener_speaks_tls_and_takes_up_a_new_certificate() {
    let authority = Authority::new();
    let (certificate, key, first) = authority.server();
    let public =
        "listeners:\n  public: {address: 127.0.0.1:0, tls: {certificate_file: gate.crt, key_file: gate.key}}\n";
    let config = Config::shop().edit("listeners:\n", public).file("gate.crt", &certificate).file("gate.key", &key);
    let gate = Gate::start(&config);
    let address = gate.public().unwrap();
    let mut stream = connect_to(address, &authority).await;
    assert_eq!((ask(&mut stream, "x").await, served(&stream)), (404, first));
    let (certificate, key, new) = authority.server();
    put(&gate.folder(), (&certificate, &key));
    let deadline = Instant::now() + Duration::from_secs(10);
    while served(&connect_to(address, &authority).await) != new {
        assert!(Instant::now() < deadline, "the new certificate is not served");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (code, text) = config.file("gate.key", "").check();
    assert_eq!((code, text.contains("gate.key holds no private key in PEM")), (64, true), "{text}");
}
