//! A raw HTTP/1.1 client. It sends the bytes it is given, so a test can say what no well-behaved client would: doubled headers,
//! odd header names, unnormalised paths. Over plain TCP or TLS, from any loopback address.

use std::fmt;
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

/// The host that every shipped file routes; also the name a TLS connection asks for.
pub(crate) const HOST: &str = "shop.localhost";

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection, encrypted or not.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug> Duplex for T {}

/// A boxed [`Duplex`].
pub(crate) type Stream = Box<dyn Duplex>;

/// Sends `bytes` to `address` over plain TCP and reads one response.
///
/// # Panics
/// When no response arrives; see [`Client::try_send`] for a test that expects this.
pub(crate) async fn send(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Response {
    Client::plain(address).send(bytes).await
}

/// Writes a request head and body: `Host`, then `headers` as given, then `Content-Length` if there is a body, and
/// `Connection: close`.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: {HOST}\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if !body.is_empty() {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"Connection: close\r\n\r\n");
    bytes.extend_from_slice(body);
    bytes
}

/// Where and how to connect. Every request opens a connection of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    tls: bool,
    source: Option<IpAddr>,
    timeout: Duration,
}

impl Client {
    /// Plain TCP to `address`.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: false, source: None, timeout: DEFAULT_TIMEOUT }
    }

    /// TLS to `address`, whatever certificate it shows. Without ALPN, so the server speaks HTTP/1.1.
    pub(crate) fn tls(address: SocketAddr) -> Self {
        Self { tls: true, ..Self::plain(address) }
    }

    /// The same, but connecting from `source`, e.g. 127.0.0.2: to the proxies that is another client.
    pub(crate) fn with_source(self, source: impl Into<IpAddr>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The same, but with another time-out for the whole exchange (10 s by default).
    pub(crate) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sends a `GET` for `target` with these headers.
    ///
    /// # Panics
    /// When no response arrives.
    pub(crate) async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Response {
        self.send(request("GET", target, headers, b"")).await
    }

    /// Sends `bytes` and reads one response.
    ///
    /// # Panics
    /// When no response arrives.
    pub(crate) async fn send(&self, bytes: impl AsRef<[u8]>) -> Response {
        let bytes = bytes.as_ref();
        match self.try_send(bytes).await {
            Ok(response) => response,
            Err(error) => {
                let line =
                    String::from_utf8_lossy(bytes.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
                panic!("no response from {} to `{line:.200}`: {error}", self.address)
            }
        }
    }

    /// Sends `bytes` and reads one response; an error when the connection fails, ends early or takes too long.
    pub(crate) async fn try_send(&self, bytes: impl AsRef<[u8]>) -> Result<Response> {
        let bytes = bytes.as_ref();
        self.in_time(async {
            let mut reader = Reader::new(self.dial().await?);
            reader.write(bytes).await;
            reader.response(bytes.starts_with(b"HEAD ")).await
        })
        .await
    }

    /// Opens a WebSocket at `target`. `Err` holds the response when the server answers anything but 101.
    ///
    /// # Panics
    /// When no response arrives.
    pub(crate) async fn websocket(
        &self,
        target: &str,
        headers: &[(&str, &str)],
    ) -> std::result::Result<WebSocketStream<Stream>, Response> {
        let mut head = format!(
            "GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let shaken = self.in_time(async {
            let mut reader = Reader::new(self.dial().await?);
            reader.write(head.as_bytes()).await;
            let response = reader.response(false).await?;
            Ok((reader, response))
        });
        match shaken.await {
            Ok((reader, response)) if response.status == 101 => {
                Ok(WebSocketStream::from_partially_read(reader.stream, reader.buffer, Role::Client, None).await)
            }
            Ok((_, response)) => Err(response),
            Err(error) => panic!("no response from {} to a WebSocket handshake: {error}", self.address),
        }
    }

    /// Opens a connection for one request after the other.
    ///
    /// # Panics
    /// When there is none to be had.
    pub(crate) async fn keep(&self) -> Kept {
        let stream = self.connect().await.unwrap_or_else(|error| panic!("no connection to {}: {error}", self.address));
        Kept { reader: Reader::new(stream), client: *self }
    }

    /// Opens a connection and leaves the rest to the test.
    pub(crate) async fn connect(&self) -> Result<Stream> {
        self.in_time(self.dial()).await
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::new(ErrorKind::TimedOut, format!("nothing within {:?}", self.timeout))),
        }
    }

    async fn dial(&self) -> Result<Stream> {
        let socket = if self.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = self.source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let stream: TcpStream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        if !self.tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(HOST).map_err(Error::other)?;
        Ok(Box::new(TlsConnector::from(Arc::new(trusting_config()?)).connect(name, stream).await?))
    }
}

/// A connection that goes on after a response.
pub(crate) struct Kept {
    reader: Reader,
    client: Client,
}

impl Kept {
    /// Sends a `GET` for `target` with these headers and reads the response.
    ///
    /// # Panics
    /// When no response arrives, and when it is the last one.
    pub(crate) async fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Response {
        let request = String::from_utf8(request("GET", target, headers, b"")).expect("text");
        let request = request.replace("Connection: close\r\n", "");
        let answer = self.client.in_time(async {
            self.reader.write(request.as_bytes()).await;
            self.reader.response(false).await
        });
        let response = answer.await.unwrap_or_else(|error| panic!("no response to `GET {target}`: {error}"));
        assert_ne!(response.header("connection"), Some("close"), "{response:?}");
        response
    }
}

/// One response, its body complete and un-chunked.
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// Names as the server wrote them, in order, repeated ones repeated.
    pub(crate) headers: Vec<(String, String)>,
    /// The body; empty for `HEAD`.
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of the first header of this name, in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.header_all(name).first().copied()
    }

    /// The values of all headers of this name, in any case.
    pub(crate) fn header_all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.status, self.headers, self.text())
    }
}

/// A connection and what was read from it but not used yet.
struct Reader {
    stream: Stream,
    buffer: Vec<u8>,
}

impl Reader {
    fn new(stream: Stream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// A server may answer and close before it has read everything (400, 431). Then the write fails and the answer still counts.
    async fn write(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).await.is_ok() {
            self.stream.flush().await.ok();
        }
    }

    async fn response(&mut self, to_head: bool) -> Result<Response> {
        loop {
            let head = self.until(b"\r\n\r\n").await?;
            let mut response = parse_head(&head)?;
            match response.status {
                101 => return Ok(response),
                100..=199 => {}
                204 | 304 => return Ok(response),
                _ if to_head => return Ok(response),
                _ => {
                    response.body = self.body(&response).await?;
                    return Ok(response);
                }
            }
        }
    }

    async fn body(&mut self, response: &Response) -> Result<Vec<u8>> {
        if response.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return self.chunks().await;
        }
        if let Some(length) = response.header("content-length") {
            return self.exactly(length.parse().map_err(Error::other)?).await;
        }
        while self.fill().await? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    async fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n").await?;
            let size = String::from_utf8_lossy(&line);
            let size =
                usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).map_err(Error::other)?;
            if size == 0 {
                // Trailers, if any, end with an empty line.
                while self.until(b"\r\n").await?.len() > 2 {}
                return Ok(body);
            }
            body.extend(self.exactly(size).await?);
            self.exactly(2).await?;
        }
    }

    /// Takes everything up to and including `mark`.
    async fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Ok(self.buffer.drain(..at + mark.len()).collect());
            }
            if !self.fill().await? {
                return Err(self.ended_early());
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < length {
            if !self.fill().await? {
                return Err(self.ended_early());
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads some more; false at the end of the stream.
    async fn fill(&mut self) -> Result<bool> {
        self.buffer.reserve(16 * 1024);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(length) => Ok(length > 0),
            // A server that closes a TLS connection without saying so.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn ended_early(&self) -> Error {
        Error::new(
            ErrorKind::UnexpectedEof,
            format!("the connection ended after {:?}", String::from_utf8_lossy(&self.buffer)),
        )
    }
}

fn parse_head(head: &[u8]) -> Result<Response> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.trim_end().split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status
        .filter(|_| first.starts_with("HTTP/1."))
        .ok_or_else(|| Error::other(format!("no status line: {first:?}")))?;
    let headers =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    Ok(Response { status, headers: headers.collect(), body: Vec::new() })
}

fn trusting_config() -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(Error::other)?.dangerous();
    Ok(builder.with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))).with_no_client_auth())
}

/// Accepts every certificate: the proxies make one up at each start.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, tokio_rustls::rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
