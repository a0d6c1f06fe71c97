//! `portcullis certificate`: into a folder, and into a Kubernetes Secret.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::gate::{Config, PROGRAM};
use crate::support::wire::CERTIFICATES;

fn certificate(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).arg("certificate").args(arguments).output().expect("the program runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn a_folder_gets_what_a_gate_needs_once() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("new/gate");
    let text = dir.display().to_string();
    let make = || certificate(&["--dir", &text, "--name", "127.0.0.1", "--name", "gate.shop.svc"]);

    let output = make();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said(&output), format!("ca.crt, tls.crt and tls.key in {text} made\n"));
    assert_eq!(fs::metadata(dir.join("tls.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["ca.crt", "tls.crt", "tls.key"], "the authority's key is nowhere");

    // The gate takes it.
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let config = Config::shop().over_tls();
    let settings = config.settings.replace("certificates/gate", &text);
    let (code, checked) = Config { settings, ..config }.check();
    assert_eq!(code, 0, "{checked}");

    let before = [read("ca.crt"), read("tls.crt"), read("tls.key")];
    let output = make();
    assert!(output.status.success() && said(&output).contains("are there already"), "{output:?}");
    assert_eq!(before, [read("ca.crt"), read("tls.crt"), read("tls.key")]);

    // Fewer of its names are no other certificate, more of them are.
    assert!(certificate(&["--dir", &text, "--name", "gate.shop.svc"]).status.success());
    let output = certificate(&["--dir", &text, "--name", "127.0.0.1", "--name", "gate.example.com"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("tls.crt is there already, and not for gate.example.com; remove"), "{output:?}");
    assert_eq!(before, [read("ca.crt"), read("tls.crt"), read("tls.key")]);

    fs::remove_file(dir.join("ca.crt")).unwrap();
    let output = make();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("holds tls.crt and tls.key but not ca.crt; remove"), "{output:?}");
}

#[test]
fn wrong_uses_are_told() {
    for (arguments, word) in [
        (&["--dir", "x"][..], "--name"),
        (&["--name", "a"], "--dir"),
        (&["--name", "a", "--dir", "x", "--secret", "y"], "--secret"),
        (&["--name", "a b", "--dir", "x"], "a b"),
        (&["--name", "a", "--secret", "y", "--service-account", "/nowhere"], "/nowhere/namespace cannot be read"),
    ] {
        let folder = TempDir::new().unwrap();
        let output =
            Command::new(PROGRAM).arg("certificate").args(arguments).current_dir(folder.path()).output().unwrap();
        assert!(!output.status.success() && said(&output).contains(word), "{arguments:?}: {output:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments:?}");
    }
}

/// The files that Kubernetes mounts into a pod.
fn account(folder: &Path) {
    fs::write(folder.join("namespace"), "shop").unwrap();
    fs::write(folder.join("token"), "the-account's-token\n").unwrap();
    fs::copy(CERTIFICATES.join("gate/ca.crt"), folder.join("ca.crt")).unwrap();
}

/// Stands in for a Kubernetes API server, of which there is none here: answers one request, and gives it back.
async fn api_server(status: &'static str, answer: Value) -> (String, tokio::task::JoinHandle<(String, Value)>) {
    let folder = CERTIFICATES.join("gate");
    let chain = vec![CertificateDer::from_pem_file(folder.join("tls.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("tls.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let mut stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut request = Vec::new();
        let (head, length) = loop {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
            let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
            if let Some((head, _)) = text.split_once("\r\n\r\n") {
                let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
                break (head.len() + 4, length.parse::<usize>().unwrap());
            }
        };
        while request.len() < head + length {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        let answer = answer.to_string();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let head_text = String::from_utf8_lossy(&request[..head]).into_owned();
        (head_text, serde_json::from_slice(&request[head..]).unwrap())
    });
    (url, served)
}

async fn into_secret(status: &'static str, answer: Value) -> (Output, String, Value) {
    let folder = TempDir::new().unwrap();
    account(folder.path());
    let (url, served) = api_server(status, answer).await;
    let mut command = tokio::process::Command::new(PROGRAM);
    command.args(["certificate", "--secret", "gate-tls", "--name", "gate.shop.svc", "--api-server", &url]);
    let output = command.arg("--service-account").arg(folder.path()).output().await.unwrap();
    let (head, body) = served.await.unwrap();
    assert!(!said(&output).contains("the-account's-token") && !said(&output).contains("PRIVATE KEY"), "{output:?}");
    (output, head, body)
}

#[tokio::test]
async fn a_secret_is_created_in_the_pods_namespace() {
    let (output, head, secret) = into_secret("201 Created", json!({})).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said(&output), "Secret shop/gate-tls created\n");
    assert!(head.starts_with("POST /api/v1/namespaces/shop/secrets HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nauthorization: Bearer the-account's-token\r\n"), "{head}");
    assert_eq!((&secret["kind"], &secret["type"]), (&"Secret".into(), &"kubernetes.io/tls".into()));
    assert_eq!(secret["metadata"]["name"], "gate-tls");
    let pem = |name: &str| String::from_utf8(STANDARD.decode(secret["data"][name].as_str().unwrap()).unwrap()).unwrap();
    let config = Config::shop().edit(
        "listeners:\n  decisions:\n",
        "listeners:\n  decisions:\n    tls: {certificate_file: gate.crt, key_file: gate.key}\n",
    );
    let (code, checked) = config.file("gate.crt", &pem("tls.crt")).file("gate.key", &pem("tls.key")).check();
    assert_eq!(code, 0, "{checked}");
    assert!(pem("ca.crt").starts_with("-----BEGIN CERTIFICATE-----"));
}

#[tokio::test]
async fn a_secret_that_is_there_stays() {
    let (output, ..) = into_secret("409 Conflict", json!({"message": "secrets \"gate-tls\" already exists"})).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(said(&output), "Secret shop/gate-tls is there already and stays as it is\n");
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told() {
    let (output, ..) = into_secret("403 Forbidden", json!({"message": "secrets is forbidden"})).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said(&output), "portcullis certificate: the API server answers 403 Forbidden: secrets is forbidden\n");
}

#[tokio::test]
async fn the_accounts_token_goes_to_nobody_else() {
    let folder = TempDir::new().unwrap();
    account(folder.path());
    let stranger = CERTIFICATES.join("stranger/ca.crt");
    fs::copy(stranger, folder.path().join("ca.crt")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (url, served) = api_server("201 Created", json!({})).await;
    for (url, word) in
        [(url, "cannot be asked"), (format!("http://{address}"), "is not https"), ("nonsense".into(), "is no URL")]
    {
        let mut command = tokio::process::Command::new(PROGRAM);
        command.args(["certificate", "--secret", "gate-tls", "--name", "gate.shop.svc", "--api-server", &url]);
        let output = command.arg("--service-account").arg(folder.path()).output().await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(word), "{output:?}");
    }
    assert!(served.await.is_err(), "the handshake with a stranger must fail");
}
