//! TLS on a listener: a certificate that is exchanged while connections go on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};

/// How often the files are looked at. A certificate is renewed days before it ends; a second of CPU a year is no price.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A certificate with its key, from files, as they are now.
#[derive(Debug)]
pub struct Certificate {
    listener: &'static str,
    certificate_file: PathBuf,
    key_file: PathBuf,
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    /// What the files held, to see whether they changed: times and links say less than content.
    certificate_pem: Vec<u8>,
    key_pem: secrecy::SecretSlice<u8>,
}

impl Certificate {
    /// Loads the files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn load(listener: &'static str, certificate_file: PathBuf, key_file: PathBuf) -> Result<Self, String> {
        let current = ArcSwap::from_pointee(Loaded::read(&certificate_file, &key_file)?);
        Ok(Self { listener, certificate_file, key_file, current })
    }

    /// A server configuration that asks this certificate at each handshake. TLS 1.3 and 1.2 (RFC 9325); no client certificates.
    ///
    /// # Errors
    /// None that depend on the files.
    pub fn config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?;
        let resolver = Arc::clone(self) as Arc<dyn ResolvesServerCert>;
        Ok(builder.with_no_client_auth().with_cert_resolver(resolver))
    }

    /// Takes up the files if they have changed. What cannot be used changes nothing.
    ///
    /// # Errors
    /// Why the changed files cannot be used.
    fn reload(&self) -> Result<bool, String> {
        let new = Loaded::read(&self.certificate_file, &self.key_file)?;
        let changed = !self.current.load().is_same(&new);
        if changed {
            self.current.store(Arc::new(new));
        }
        Ok(changed)
    }

    /// Watches the files for as long as the listener lives.
    pub async fn watch(self: Arc<Self>) {
        let mut complaint = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            match self.reload() {
                Ok(true) => tracing::info!(listener = self.listener, "certificate exchanged"),
                Ok(false) => {}
                Err(why) if complaint.as_ref() == Some(&why) => continue,
                Err(why) => {
                    tracing::error!(
                        listener = self.listener,
                        why,
                        "the new certificate cannot be used; the old one stays"
                    );
                    complaint = Some(why);
                    continue;
                }
            }
            complaint = None;
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}

impl Loaded {
    fn read(certificate_file: &PathBuf, key_file: &PathBuf) -> Result<Self, String> {
        let read =
            |path: &PathBuf| std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()));
        let (certificate_pem, key_pem) = (read(certificate_file)?, read(key_file)?);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate_pem).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| format!("{} holds no certificate in PEM", certificate_file.display()))?;
        let key = PrivateKeyDer::from_pem_slice(&key_pem);
        let key = key.map_err(|_| format!("{} holds no private key in PEM", key_file.display()))?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| format!("{} and {}: {error}", certificate_file.display(), key_file.display()))?;
        Ok(Self { key: Arc::new(key), certificate_pem, key_pem: key_pem.into() })
    }

    fn is_same(&self, other: &Self) -> bool {
        use secrecy::ExposeSecret as _;
        self.certificate_pem == other.certificate_pem && self.key_pem.expose_secret() == other.key_pem.expose_secret()
    }
}
