//! Where the issuers' keys come from.

use std::path::Path;
use std::time::Duration;

use secrecy::SecretSlice;

use super::source::{Part, Seen, digest};
use super::{Stage, read};
use crate::config::environment;
use crate::config::settings::{IssuerFile, KeysFile};
use crate::keys::file;
use crate::keys::refresh::Refresher;
use crate::provider::discovery::{Discovery, Place};
use crate::provider::fetch::Fetcher;

/// How often keys are fetched: a new key is then known minutes after it is published, which issuers do hours before they use it.
const DEFAULT_REFRESH: Duration = Duration::from_secs(300);
const MIN_REFRESH: Duration = Duration::from_secs(1);
const MAX_REFRESH: Duration = Duration::from_secs(24 * 3600);

/// How long keys serve on that cannot be fetched anew. An issuer's outage is not to become ours for a working day; longer, and a key that
/// was taken back because somebody stole it would still open doors.
const DEFAULT_MAX_STALE: Duration = Duration::from_secs(24 * 3600);
const MAX_MAX_STALE: Duration = Duration::from_secs(30 * 24 * 3600);

impl Stage {
    /// The keys that are there at the start; none if they are to be fetched.
    pub(super) fn keys(&mut self, index: usize, file: &IssuerFile, at: &str) -> Option<file::Loaded> {
        let keys = &file.keys;
        if keys.are_local() {
            return self.local_keys(file, at);
        }
        if keys.jwks_url.is_some() && keys.discovery_url.is_some() {
            let what = "with `jwks_url` no metadata is looked for";
            self.add(format!("{at}.keys.discovery_url"), what, "remove one of them");
        }
        let times = [
            ("refresh", keys.refresh, DEFAULT_REFRESH, MIN_REFRESH..=MAX_REFRESH, "from 1s to 1day; 5min is usual"),
            (
                "max_stale",
                keys.max_stale,
                DEFAULT_MAX_STALE,
                MIN_REFRESH..=MAX_MAX_STALE,
                "from 1s to 30days; 1day is usual",
            ),
        ];
        let [every, max_stale] = times.map(|(key, given, usual, bounds, remedy)| {
            let time = given.map_or(usual, |period| period.0);
            if !bounds.contains(&time) {
                self.add(format!("{at}.keys.{key}"), "this is no sensible time", format!("write a time {remedy}"));
            }
            time
        });
        match self.fetched_keys(file) {
            Ok((place, fetcher)) => self.sources.push(Refresher {
                issuer: file.name.as_str().into(),
                index,
                place,
                fetcher,
                allowed: file.algorithms.clone().unwrap_or_default(),
                every,
                max_stale,
            }),
            Err((key, why)) => {
                let remedy = match key {
                    ".keys.ca_file" => "name a PEM file with the authorities whose certificates are believed",
                    ".keys.jwks_url" => url_remedy(file, keys.jwks_url.as_deref(), A_SOURCE),
                    ".keys.discovery_url" => url_remedy(file, keys.discovery_url.as_deref(), A_SOURCE),
                    _ => url_remedy(file, Some(&file.issuer), A_SOURCE),
                };
                self.add(format!("{at}{key}"), why, remedy);
            }
        }
        None
    }

    /// Where keys are fetched, and how; or which setting is wrong, and why.
    fn fetched_keys(&self, file: &IssuerFile) -> Result<(Place, Fetcher), (&'static str, String)> {
        let keys = &file.keys;
        let fetcher = self.fetcher(file).map_err(|why| (".keys.ca_file", why))?;
        let place = match (&keys.jwks_url, &keys.discovery_url) {
            (Some(url), _) => fetcher.url(url).map(Place::Url).map_err(|why| (".keys.jwks_url", why))?,
            (None, Some(url)) => {
                let found = Discovery::of(&file.issuer, Some(url), &fetcher);
                found.map(Place::Discovered).map_err(|why| (".keys.discovery_url", why))?
            }
            (None, None) => {
                let found = Discovery::of(&file.issuer, None, &fetcher);
                let why = |why| format!("no keys are named, and its metadata cannot be looked for: {why}");
                found.map(Place::Discovered).map_err(|error| (".issuer", why(error)))?
            }
        };
        Ok((place, fetcher))
    }

    /// How an issuer is asked for what is public.
    pub(super) fn fetcher(&self, file: &IssuerFile) -> Result<Fetcher, String> {
        let ca = file.keys.ca_file.as_deref().map(|ca| self.path(ca));
        Fetcher::new(file.danger_allow_http_issuer, ca.as_deref())
    }

    /// How it is asked about tokens.
    pub(super) fn discreet_fetcher(&self, file: &IssuerFile) -> Result<Fetcher, String> {
        let ca = file.keys.ca_file.as_deref().map(|ca| self.path(ca));
        Fetcher::for_secrets(file.danger_allow_http_issuer, ca.as_deref())
    }

    fn local_keys(&mut self, file: &IssuerFile, at: &str) -> Option<file::Loaded> {
        let keys = &file.keys;
        // It may be asked about tokens all the same.
        let is_asked = file.introspection.is_some();
        let for_fetching = [
            (".keys.ca_file", keys.ca_file.is_some() && !is_asked),
            (".keys.refresh", keys.refresh.is_some()),
            (".keys.max_stale", keys.max_stale.is_some()),
            (".danger_allow_http_issuer", file.danger_allow_http_issuer && !is_asked),
        ];
        for (key, _) in for_fetching.iter().filter(|(_, given)| *given) {
            self.add(format!("{at}{key}"), "nothing is fetched", "remove it, or the keys that are here");
        }
        let (source, loaded) = if keys.jwks_url.is_some() || keys.discovery_url.is_some() {
            ("", Err("more than one source of keys is named".into()))
        } else {
            self.key_source(keys, file.algorithms.as_deref().unwrap_or_default())
        };
        match loaded {
            Ok(loaded) => {
                let name = &file.name;
                self.warnings.extend(loaded.set_aside.iter().map(|why| format!("issuer `{name}`: {why}; set aside")));
                return Some(loaded);
            }
            Err(why) if source.is_empty() => self.add(
                format!("{at}.keys"),
                why,
                "write at most one of jwks_url, discovery_url, jwks_file, pem_file, hmac_secret_file, hmac_secret_env",
            ),
            Err(why) => {
                self.add(format!("{at}.keys.{source}"), why, A_SOURCE);
            }
        }
        None
    }

    fn key_source(
        &mut self,
        keys: &KeysFile,
        allowed: &[crate::token::Algorithm],
    ) -> (&'static str, Result<file::Loaded, String>) {
        let (beside, files) = (&self.beside, &mut self.files);
        let mut bytes = |path: &Path| {
            let path = beside.join(path);
            let text =
                read(&path, file::MAX_KEY_FILE_BYTES as u64).map_err(|why| format!("{}: {why}", path.display()))?;
            files.push(Seen::new(Part::Keys, &path, digest(&text)));
            Ok::<_, String>(text)
        };
        let in_file = |path: &Path, why: String| format!("{}: {why}", beside.join(path).display());
        match (&keys.jwks_file, &keys.pem_file, &keys.hmac_secret_file, &keys.hmac_secret_env) {
            (Some(path), None, None, None) => (
                "jwks_file",
                bytes(path).and_then(|text| file::jwk_set(&text, allowed).map_err(|why| in_file(path, why))),
            ),
            (None, Some(path), None, None) => {
                ("pem_file", bytes(path).and_then(|text| file::pem(&text, allowed).map_err(|why| in_file(path, why))))
            }
            (None, None, Some(path), None) => {
                let secret = bytes(path).map(|text| SecretSlice::from(without_line_feed(&text).to_vec()));
                (
                    "hmac_secret_file",
                    secret.and_then(|secret| file::secret(&secret, allowed).map_err(|why| in_file(path, why))),
                )
            }
            (None, None, None, Some(name)) => {
                let secret = environment::secret(name);
                ("hmac_secret_env", secret.and_then(|secret| file::secret(&secret, allowed)))
            }
            (None, None, None, None) => ("", Err("no source of keys is named".into())),
            _ => ("", Err("more than one source of keys is named".into())),
        }
    }
}

const A_SOURCE: &str = "name a source with keys that verify this issuer's tokens";

/// What to write instead of a URL that cannot be asked; `usual`, if nothing about the URL itself says more.
pub(super) fn url_remedy(file: &IssuerFile, url: Option<&str>, usual: &'static str) -> &'static str {
    let url = url.unwrap_or_default();
    if url.starts_with("http://") && !file.danger_allow_http_issuer {
        "write https://…, or danger_allow_http_issuer: true where nobody else is on the way"
    } else if !url.contains("://") {
        "write the whole URL: https://…"
    } else {
        usual
    }
}

/// Editors end a file with a line feed, which is no part of a secret; every other byte is.
pub(super) fn without_line_feed(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}
