//! A certificate, and the authority that signs it and nothing else.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use secrecy::{ExposeSecret as _, SecretSlice};
use time::{Duration, OffsetDateTime};

use crate::server::clock;

/// How long it holds. Nobody renews it, so an end within the life of an installation would be an outage; and since the authority's key is
/// gone, a long life exposes nothing but the one key that the server holds. Browsers, which take no such lifetime, do not connect to a gate.
const LIFETIME: Duration = Duration::days(3650);

/// How far the clocks of those who connect may be behind.
const CLOCK_SKEW: Duration = Duration::hours(1);

/// All in PEM.
#[derive(Debug)]
pub(super) struct Issued {
    pub(super) ca_pem: String,
    pub(super) certificate_pem: String,
    key_pem: SecretSlice<u8>,
}

impl Issued {
    pub(super) fn key_pem(&self) -> &[u8] {
        self.key_pem.expose_secret()
    }
}

/// Makes an authority, signs a server's certificate for `names` (RFC 5280, P-256), and forgets the authority's key: whoever
/// believes this authority believes this one certificate.
pub(super) fn issue(names: &[String]) -> Result<Issued, String> {
    let told = |error: rcgen::Error| format!("no certificate can be made for {}: {error}", names.join(", "));
    let now = OffsetDateTime::from_unix_timestamp(clock::now().secs()).map_err(|error| error.to_string())?;
    let validity = |mut params: CertificateParams| {
        params.not_before = now.saturating_sub(CLOCK_SKEW);
        params.not_after = now.saturating_add(LIFETIME);
        params
    };

    let mut ca = validity(CertificateParams::new(Vec::new()).map_err(told)?);
    let name = names.first().map_or("gate", String::as_str);
    ca.distinguished_name.push(DnType::CommonName, format!("Portcullis authority of {name}"));
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca_key = KeyPair::generate().map_err(told)?;
    let ca_pem = ca.self_signed(&ca_key).map_err(told)?.pem();

    let mut server = validity(CertificateParams::new(names.to_vec()).map_err(told)?);
    server.distinguished_name.push(DnType::CommonName, name);
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(told)?;
    let certificate = server.signed_by(&key, &Issuer::new(ca, ca_key)).map_err(told)?;
    Ok(Issued { ca_pem, certificate_pem: certificate.pem(), key_pem: key.serialize_pem().into_bytes().into() })
}
