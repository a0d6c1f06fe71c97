//! A small server in an issuer's place, which says whatever it is told to, and remembers what it was asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::authority::Authority;
use super::raw::Stream;
use super::signer::Signer;

/// Any free port of 127.0.0.1.
pub(crate) const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

type Answering = Box<dyn Fn(&str) -> String + Send>;

/// The server; it ends with the value.
pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    answering: Arc<Mutex<Answering>>,
    asked: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl StandIn {
    /// Gives this answer to whatever it is asked.
    pub(crate) async fn start(at: SocketAddr, answer: String) -> Self {
        Self::serve(at, None, Box::new(move |_| answer.clone())).await
    }

    /// Gives the answer that this makes of the request's head.
    pub(crate) async fn answering(answering: impl Fn(&str) -> String + Send + 'static) -> Self {
        Self::serve(FREE, None, Box::new(answering)).await
    }

    /// The same over TLS.
    pub(crate) async fn over_tls(authority: &Authority, answer: String) -> Self {
        Self::serve(FREE, Some(authority.acceptor()), Box::new(move |_| answer.clone())).await
    }

    async fn serve(at: SocketAddr, tls: Option<TlsAcceptor>, answering: Answering) -> Self {
        let listener = TcpListener::bind(at).await.expect("an address");
        let address = listener.local_addr().expect("an address");
        let (answering, asked) = (Arc::new(Mutex::new(answering)), Arc::new(Mutex::new(Vec::new())));
        let (answers, heard) = (Arc::clone(&answering), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut stream: Stream = match &tls {
                    None => Box::new(stream),
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok(stream) => Box::new(stream),
                        // Who does not believe the certificate hangs up.
                        Err(_) => continue,
                    },
                };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap_or_default() > 0 {}
                let head = String::from_utf8_lossy(&head).into_owned();
                let answer = (answers.lock().expect("no panic"))(&head);
                heard.lock().expect("no panic").push(head);
                // The gate may have hung up on an answer that is too long.
                stream.write_all(answer.as_bytes()).await.ok();
                stream.shutdown().await.ok();
            }
        });
        Self { address, answering, asked, task: task.abort_handle() }
    }

    /// From now on gives this answer to whatever it is asked.
    pub(crate) fn says(&self, answer: String) {
        self.answers(move |_| answer.clone());
    }

    /// From now on gives the answer that this makes of the request's head.
    pub(crate) fn answers(&self, answering: impl Fn(&str) -> String + Send + 'static) {
        *self.answering.lock().expect("no panic") = Box::new(answering);
    }

    /// The heads of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer with this status, these header lines and this body.
pub(crate) fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// A JWK set of the public halves.
pub(crate) fn jwks(keys: &[&Signer]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    json!({"keys": keys}).to_string()
}
