//! `portcullis certificate`: TLS between proxy and gate for whoever has no authority of his own.

mod issue;
mod secret;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

use super::{EXIT_FAILED, complain, say};
use issue::Issued;
use secret::Cluster;

/// The authority's certificate, for those who connect.
const CA: &str = "ca.crt";
/// The server's certificate and its key, named as in a Kubernetes Secret of type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Whose certificate, and where it goes.
#[derive(Debug, Args)]
pub struct Options {
    /// A name or an IP address that the server is reached by; once for each.
    #[arg(long = "name", value_name = "NAME", required = true, value_parser = name)]
    names: Vec<String>,
    /// The folder for ca.crt, tls.crt and tls.key. If all three are there, and for these names, nothing is done.
    #[arg(long, value_name = "FOLDER", required_unless_present = "secret", conflicts_with = "secret")]
    dir: Option<PathBuf>,
    /// In a pod: the Kubernetes Secret to create in the pod's namespace. If it is there, nothing is done.
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// The Kubernetes API server.
    #[arg(long, value_name = "URL", default_value = "https://kubernetes.default.svc", requires = "secret")]
    api_server: String,
    /// The folder with the pod's account: token, namespace and ca.crt.
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount",
        requires = "secret"
    )]
    service_account: PathBuf,
}

/// What a client can find in a certificate (RFC 9525); anything else would be made and never match.
fn name(text: &str) -> Result<String, String> {
    ServerName::try_from(text).map_err(|_| "this is neither a DNS name nor an IP address".to_owned())?;
    Ok(text.to_owned())
}

/// Makes a certificate and puts it where it belongs.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    match make(options) {
        Ok(done) => {
            say(&done);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("portcullis certificate: {error}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn make(options: &Options) -> Result<String, String> {
    if let Some(name) = &options.secret {
        let cluster = Cluster::of(&options.api_server, &options.service_account)?;
        let issued = issue::issue(&options.names)?;
        let created = actix_web::rt::System::new().block_on(cluster.create(name, &issued))?;
        let what = if created { "created" } else { "is there already and stays as it is" };
        return Ok(format!("Secret {}/{name} {what}", cluster.namespace()));
    }
    let dir = options.dir.as_deref().ok_or("name a folder (--dir) or a Secret (--secret)")?;
    let what = if ensure(dir, &options.names)? { "made" } else { "are there already and stay as they are" };
    Ok(format!("{CA}, {CERTIFICATE} and {KEY} in {} {what}", dir.display()))
}

/// Makes a certificate for `names` in a folder, unless one is there; tells whether it did.
///
/// # Errors
/// If the folder holds a part of one, or one for other names, or cannot be written.
pub(super) fn ensure(dir: &Path, names: &[String]) -> Result<bool, String> {
    let (there, missing): (Vec<&str>, Vec<&str>) =
        [CA, CERTIFICATE, KEY].into_iter().partition(|name| dir.join(name).exists());
    if missing.is_empty() {
        holds_for(&dir.join(CERTIFICATE), names)?;
        return Ok(false);
    }
    if !there.is_empty() {
        let (there, missing) = (there.join(" and "), missing.join(" and "));
        return Err(format!(
            "{} holds {there} but not {missing}; remove what is there, or name another",
            dir.display()
        ));
    }
    let issued = issue::issue(names)?;
    write(dir, &issued).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(true)
}

/// Whether the certificate of a file is for all of `names`: whoever asked for another one would find out when no proxy connects.
fn holds_for(file: &Path, names: &[String]) -> Result<(), String> {
    let told = |what: &str| format!("{} {what}; remove the three files to have new ones made", file.display());
    let certificate = CertificateDer::from_pem_file(file).map_err(|_| told("holds no certificate in PEM"))?;
    let certificate = ParsedCertificate::try_from(&certificate).map_err(|_| told("holds no certificate"))?;
    let is_missing = |name: &&String| {
        !ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
    };
    match names.iter().find(is_missing) {
        None => Ok(()),
        Some(name) => Err(told(&format!("is there already, and not for {name}"))),
    }
}

fn write(dir: &Path, issued: &Issued) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    // The key first: whoever watches for the certificate finds it there. Nobody else may read it, at no time.
    let mut key = OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(KEY))?;
    key.write_all(issued.key_pem())?;
    fs::write(dir.join(CERTIFICATE), &issued.certificate_pem)?;
    fs::write(dir.join(CA), &issued.ca_pem)
}
