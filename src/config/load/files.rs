//! Files that the gate writes, and certificates that it shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Stage;
use crate::config::settings::{SettingsFile, TlsFile};
use crate::tls::Certificate;

impl Stage {
    /// What is written over or behind whatever is there must be nothing, or a file that is nothing else.
    pub(super) fn own_file(&mut self, at: &str, file: &Path, others: &[PathBuf], settings: &SettingsFile) {
        let path = self.path(file);
        let listeners = &settings.listeners;
        let public = listeners.public.as_ref().map(|public| &public.tls);
        let tls = [&listeners.decisions.tls, &listeners.admin.tls].into_iter().chain(public);
        let tls = tls.flatten().flat_map(|tls| [Some(&tls.certificate_file), Some(&tls.key_file)]);
        let keys = settings.issuers.iter().map(|issuer| &issuer.keys);
        let keys = keys.flat_map(|keys| [&keys.jwks_file, &keys.pem_file, &keys.hmac_secret_file, &keys.ca_file]);
        let secrets = settings.issuers.iter().filter_map(|issuer| issuer.introspection.as_ref());
        let secrets = secrets.map(|asking| asking.client_secret_file.as_ref());
        let tokens = [&listeners.admin.token_file].into_iter().map(Option::as_ref).chain(secrets);
        let mut others =
            tls.chain(keys.map(Option::as_ref)).chain(tokens).flatten().chain([&settings.policy]).chain(others);
        let is_other = others.any(|other| self.path(other) == path);
        let is_file = !path.is_dir();
        let is_in_folder = path.parent().is_some_and(|folder| folder.as_os_str().is_empty() || folder.is_dir());
        if is_other || !is_file || !is_in_folder {
            let what = format!("{} is another file of this configuration, a folder, or in no folder", path.display());
            self.add(at, what, "name a file of its own in a folder that is there");
        }
    }

    pub(super) fn certificate(&mut self, listener: &'static str, file: Option<&TlsFile>) -> Option<Arc<Certificate>> {
        let file = file?;
        match Certificate::load(listener, self.path(&file.certificate_file), self.path(&file.key_file)) {
            Ok(certificate) => Some(Arc::new(certificate)),
            Err(why) => {
                self.add(
                    format!("listeners.{listener}.tls"),
                    why,
                    "name a certificate and its own private key, both in PEM",
                );
                None
            }
        }
    }
}
