//! One HTTP request and the status of its answer: for the health check, and for the demo that waits for its proxies.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned};

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
        Ok(Self::Tls(Arc::new(client()?.with_root_certificates(roots).with_no_client_auth())))
    }

    /// TLS with any certificate: only for asking the demo's own Traefik, which makes one up, whether it is up.
    pub(super) fn with_any_certificate() -> io::Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(AnyCertificate(provider));
        Ok(Self::Tls(Arc::new(client()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())))
    }
}

fn client() -> io::Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(io::Error::other)
}

/// The status that `GET path` is answered with.
pub(super) fn status(transport: &Transport, address: SocketAddr, host: &str, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    match transport {
        Transport::Plain => ask(&mut stream, host, path),
        Transport::Tls(config) => {
            let name = ServerName::from(address.ip());
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
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
