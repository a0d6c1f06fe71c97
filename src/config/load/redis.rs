//! Where a Redis is, for every section that names one.

use std::path::Path;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

use super::keys::without_line_feed;
use super::{Stage, read};
use crate::config::environment;
use crate::config::settings::redis::RedisFile;
use crate::keys::file::MAX_KEY_FILE_BYTES;
use crate::redis::Redis;
use crate::redis::address::has_credential;

/// What the settings hold.
const WITHOUT_PASSWORD: &str = "write redis://HOST:PORT, redis-sentinel://HOST:PORT,HOST:PORT?master=NAME or redis-cluster://HOST:PORT,HOST:PORT, with rediss for TLS";

/// What a file or a variable with the URL of a Redis holds.
const WITH_PASSWORD: &str = "write rediss://USER:PASSWORD@HOST:PORT into it, or rediss-sentinel or rediss-cluster with more hosts, with other characters than letters, digits and -._~ as %XX in user and password";

impl Stage {
    /// The Redis that the section at the dotted path `at` names; connecting to it and each of its answers take at most `timeout`. None if
    /// something is wrong with it, which is then told.
    pub(super) fn redis(&mut self, at: &str, file: &RedisFile, timeout: Duration) -> Option<Redis> {
        let (key, url) = match (&file.url, &file.url_file, &file.url_env) {
            (Some(url), None, None) if has_credential(url) => (
                "url",
                Err("the URL holds a user or a password, which stand in no settings file; use url_file or url_env"
                    .to_owned()),
            ),
            (Some(url), None, None) => ("url", Ok(url.clone().into_bytes().into())),
            (None, Some(path), None) => ("url_file", self.secret_file(path)),
            (None, None, Some(name)) => ("url_env", environment::secret(name)),
            _ => {
                self.add(at, "it is not one URL that is named", "write exactly one of url, url_file, url_env");
                return None;
            }
        };
        let ca = match file.ca_file.as_ref().map(|path| self.authorities(path)) {
            None => None,
            Some(Ok(pem)) => Some(pem),
            Some(Err(why)) => {
                self.add(format!("{at}.ca_file"), why, "name the authorities of Redis' certificate, in PEM");
                return None;
            }
        };
        let redis = url.and_then(|url: SecretSlice<u8>| {
            let text = str::from_utf8(url.expose_secret()).map_err(|_| "the URL is no text".to_owned())?;
            Redis::new(&SecretString::from(text.to_owned()), ca, timeout)
        });
        match redis {
            Ok(redis) => Some(redis),
            Err(why) => {
                let (why, remedy) = match (key, &file.url_file) {
                    ("url", _) => (why, WITHOUT_PASSWORD),
                    (_, Some(path)) => {
                        let file = self.path(path).display().to_string();
                        let why = if why.starts_with(&file) { why } else { format!("{file}: {why}") };
                        (why, WITH_PASSWORD)
                    }
                    (_, None) => (why, WITH_PASSWORD),
                };
                self.add(format!("{at}.{key}"), why, remedy);
                None
            }
        }
    }

    fn authorities(&self, path: &Path) -> Result<Vec<u8>, String> {
        let path = self.path(path);
        let pem = read(&path, MAX_KEY_FILE_BYTES as u64).map_err(|why| format!("{}: {why}", path.display()))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Ok(pem),
            Ok(_) | Err(_) => Err(format!("{}: it holds no certificate in PEM", path.display())),
        }
    }

    /// What is in a file, but for the line feed at its end.
    pub(super) fn secret_file(&self, path: &Path) -> Result<SecretSlice<u8>, String> {
        let path = self.path(path);
        let text = read(&path, MAX_KEY_FILE_BYTES as u64).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(SecretSlice::from(without_line_feed(&text).to_vec()))
    }
}
