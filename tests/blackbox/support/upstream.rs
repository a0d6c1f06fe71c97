//! The service behind the proxies: a small HTTP/1.1 server inside the test that keeps every request head exactly as it arrived
//! and answers with what it saw.

use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::proxy::PROBING;

/// A running upstream. It ends with the value, or with [`Upstream::stop`].
///
/// It answers every request with 200 and
/// `{"server": name, "method": .., "target": .., "headers": [[name, value], ..], "body_length": ..}`, and echoes the frames of a
/// WebSocket.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    delay_millis: AtomicU64,
    requests: Mutex<Vec<Recorded>>,
    open: AtomicUsize,
}

impl Upstream {
    /// Starts one on a free port; its answers carry the name.
    pub(crate) async fn named(name: &str) -> Self {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), name).await
    }

    /// Starts one on a given address, e.g. where another was stopped.
    ///
    /// # Panics
    /// When the address is taken.
    pub(crate) async fn at(address: SocketAddr, name: &str) -> Self {
        let listener =
            TcpListener::bind(address).await.unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            delay_millis: AtomicU64::new(0),
            requests: Mutex::new(Vec::new()),
            open: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on waits this long before each answer. `/health` is answered at once.
    pub(crate) fn set_delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).expect("a delay in milliseconds fits 64 bits");
        self.shared.delay_millis.store(millis, Ordering::SeqCst);
    }

    /// The requests so far, in the order of arrival, without health checks of the proxies and the question whether one is up.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.requests().clone()
    }

    /// Forgets the requests so far, and returns them.
    pub(crate) fn take_requests(&self) -> Vec<Recorded> {
        std::mem::take(&mut *self.shared.requests())
    }

    /// How many requests are being answered right now.
    pub(crate) fn in_flight(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Closes the listener and every connection, as a killed process would. They are closed when it returns.
    pub(crate) async fn stop(mut self) {
        self.accepting.abort();
        (&mut self.accepting).await.ok();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn requests(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The head of one request, byte for byte, with the empty line that ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    head: Vec<u8>,
}

impl Recorded {
    /// The bytes as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.head).into_owned()
    }

    /// The method of the request line.
    pub(crate) fn method(&self) -> String {
        self.word(0)
    }

    /// The target of the request line, with its query.
    pub(crate) fn target(&self) -> String {
        self.word(1)
    }

    /// All headers, names as they arrived, in order, repeated ones repeated.
    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        let text = self.text();
        let pairs = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    }

    /// The values of all headers of this name, in any case.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        self.headers().into_iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// Every header that an upstream could take for `name`: the name itself, and those that differ from it only in letter case
    /// and in which separators stand between its letters (`X_User_ID`, `x.user-id`, `XUSERID`).
    pub(crate) fn lookalikes(&self, name: &str) -> Vec<(String, String)> {
        let bare =
            |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        self.headers().into_iter().filter(|(key, _)| bare(key) == bare(name)).collect()
    }

    fn word(&self, index: usize) -> String {
        let text = self.text();
        let line = text.split("\r\n").next().unwrap_or_default();
        line.split(' ').nth(index).unwrap_or_default().to_owned()
    }

    /// Nobody's request: a proxy's own health check, which carries no address of a client, or the question whether a proxy is up.
    fn is_probe(&self) -> bool {
        let sources = self.header("x-forwarded-for");
        self.target() == "/health" && sources.iter().all(|source| *source == PROBING.to_string())
    }

    fn has(&self, name: &str, wanted: &str) -> bool {
        self.header(name).iter().any(|value| value.to_ascii_lowercase().contains(wanted))
    }
}

/// The connections live in a set that dies with this task, so that aborting it closes all of them.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(Connection { stream, buffer: Vec::new() }, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut connection: Connection, shared: Arc<Shared>) {
    while let Ok(Some(head)) = connection.until(b"\r\n\r\n").await {
        let request = Recorded { head };
        if !request.is_probe() {
            shared.requests().push(request.clone());
        }
        if request.has("upgrade", "websocket") {
            return echo(connection, &request).await;
        }
        let _open = Open::new(&shared);
        let Ok(length) = connection.discard_body(&request).await else {
            return;
        };
        let delay = Duration::from_millis(shared.delay_millis.load(Ordering::SeqCst));
        if request.target() != "/health" {
            tokio::time::sleep(delay).await;
        }
        if connection.stream.write_all(&answer(&shared.name, &request, length)).await.is_err()
            || request.has("connection", "close")
        {
            return;
        }
    }
}

fn answer(name: &str, request: &Recorded, body_length: usize) -> Vec<u8> {
    let body = serde_json::json!({
        "server": name,
        "method": request.method(),
        "target": request.target(),
        "headers": request.headers(),
        "body_length": body_length,
    })
    .to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    if request.method() == "HEAD" { head.into_bytes() } else { [head, body].concat().into_bytes() }
}

async fn echo(mut connection: Connection, request: &Recorded) {
    let key = request.header("sec-websocket-key").concat();
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    if connection.stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let mut socket =
        WebSocketStream::from_partially_read(connection.stream, connection.buffer, Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Counts a request as in flight for as long as it lives, however it ends.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A client's connection and what was read from it but not used yet.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Takes everything up to and including `mark`; `None` when the client has closed between two requests.
    async fn until(&mut self, mark: &[u8]) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Ok(Some(self.buffer.drain(..at + mark.len()).collect()));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    async fn skip(&mut self, length: usize) -> Result<()> {
        while self.buffer.len() < length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.buffer.drain(..length);
        Ok(())
    }

    /// Reads the body and returns its length.
    async fn discard_body(&mut self, request: &Recorded) -> Result<usize> {
        if request.has("expect", "100-continue") {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        if !request.has("transfer-encoding", "chunked") {
            let length = request.header("content-length").concat();
            let length = if length.is_empty() { 0 } else { length.parse().map_err(Error::other)? };
            self.skip(length).await?;
            return Ok(length);
        }
        let mut total = 0;
        loop {
            let line = self.until(b"\r\n").await?.unwrap_or_default();
            let size = String::from_utf8_lossy(&line);
            let size =
                usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).map_err(Error::other)?;
            if size == 0 {
                // Trailers, if any, end with an empty line.
                while self.until(b"\r\n").await?.is_some_and(|line| line.len() > 2) {}
                return Ok(total);
            }
            total += size;
            self.skip(size + 2).await?;
        }
    }
}
