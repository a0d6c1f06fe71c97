//! One HTTP request and the status of its answer: for the health check, and for the demo that waits for its proxies.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long an answer may take; orchestrators give a probe one to ten seconds.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The longest answer that is read: ours have a few hundred bytes.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// How to speak to a server.
#[derive(Debug)]
pub(super) enum Transport {
    /// Plain HTTP.
    Plain,
    /// TLS, believing certificates of this configuration.
    Tls(Arc<ClientConfig>),
}

impl Transport {
    /// TLS with a certificate signed by one in the PEM file `ca`.
    pub(super) fn with_authority(ca: &Path) -> io::Result<Self> {
        let named = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", ca.display()));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| named(&error))? {
            let certificate = certificate.map_err(|error| named(&error))?;
            roots.add(certificate).map_err(|error| named(&error))?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let client = client.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self::Tls(Arc::new(client)))
    }
}

/// The status that `GET path` is answered with. Over TLS the certificate must be for `host`, or for the address if that is no name.
pub(super) fn status(transport: &Transport, address: SocketAddr, host: &str, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    match transport {
        Transport::Plain => ask(&mut stream, host, path),
        Transport::Tls(config) => {
            let name = ServerName::try_from(host.to_owned()).unwrap_or_else(|_| ServerName::from(address.ip()));
            let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
            ask(&mut StreamOwned::new(connection, stream), host, path)
        }
    }
}

fn ask(stream: &mut (impl Read + Write), host: &str, path: &str) -> io::Result<u16> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    stream.flush()?;
    let mut answer = Vec::new();
    // Servers may end TLS without saying so; the status is what counts.
    let end = stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer);
    let status = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| str::from_utf8(rest.get(..3)?).ok()?.parse().ok());
    match (status, end) {
        (Some(status), _) => Ok(status),
        (None, Err(error)) => Err(error),
        (None, Ok(_)) => Err(io::Error::other("the answer is no HTTP/1.1")),
    }
}
