//! Issuers and their keys.

use std::path::Path;
use std::time::Duration;

use secrecy::SecretSlice;

use super::{Stage, read};
use crate::config::environment;
use crate::config::settings::{IssuerFile, KeysFile};
use crate::keys::file;
use crate::keys::url::UrlSource;
use crate::token::Issuer;
use crate::token::issuer::{Audiences, Types};

/// Longest leeway: clocks that are a minute apart are broken, and every second prolongs tokens.
const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// How often keys are fetched: a new key is then known minutes after it is published, which issuers do hours before they use it.
const DEFAULT_REFRESH: Duration = Duration::from_secs(300);
const MIN_REFRESH: Duration = Duration::from_secs(1);
const MAX_REFRESH: Duration = Duration::from_secs(24 * 3600);

impl Stage {
    /// The issuers, and their keys in the same order.
    pub(super) fn issuers(&mut self, files: &[IssuerFile]) -> (Vec<Issuer>, Vec<Option<file::Loaded>>) {
        if files.is_empty() {
            self.add("issuers", "no issuer is trusted, so that nobody could ever be told", "write at least one issuer");
        }
        let mut keys = Vec::new();
        let mut issuers: Vec<Issuer> = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let at = format!("issuers[{index}]");
            let named = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
            if file.name.is_empty() || !file.name.bytes().all(named) {
                self.add(
                    format!("{at}.name"),
                    format!("`{}` is no issuer name", file.name),
                    "write lower-case letters, digits, `-`, `_` and `.`",
                );
            }
            if issuers.iter().any(|earlier| *earlier.name == *file.name) {
                self.add(
                    format!("{at}.name"),
                    format!("the name `{}` is taken", file.name),
                    "give each issuer a name of its own",
                );
            }
            if issuers.iter().any(|earlier| *earlier.issuer == *file.issuer) {
                self.add(
                    format!("{at}.issuer"),
                    "this issuer is configured twice",
                    "write all that it may do in one entry",
                );
            }
            if file.issuer.trim().is_empty() {
                self.add(
                    format!("{at}.issuer"),
                    "the issuer has no identifier",
                    "write the exact text of its tokens' `iss`",
                );
            }
            issuers.push(self.issuer(file, &at));
            keys.push(self.keys(index, file, &at));
        }
        (issuers, keys)
    }

    fn issuer(&mut self, file: &IssuerFile, at: &str) -> Issuer {
        if file.algorithms.as_ref().is_some_and(Vec::is_empty) {
            self.add(
                format!("{at}.algorithms"),
                "no algorithm is allowed",
                "name some, or leave the key out for those of the keys",
            );
        }
        if file.leeway.0 > MAX_LEEWAY {
            self.add(
                format!("{at}.leeway"),
                "every second of it prolongs every token",
                "write 60s or less; 5s is usual",
            );
        }
        let audiences = match (file.danger_any_audience, file.audiences.is_empty()) {
            (false, true) => {
                self.add(
                    format!("{at}.audiences"),
                    "tokens meant for other services would be taken",
                    "write the audience of your services, or danger_any_audience: true",
                );
                Audiences::OneOf(Vec::new())
            }
            (true, false) => {
                self.add(format!("{at}.danger_any_audience"), "it contradicts `audiences`", "remove one of them");
                Audiences::Any
            }
            (true, true) => Audiences::Any,
            (false, false) => Audiences::OneOf(file.audiences.iter().map(|aud| aud.as_str().into()).collect()),
        };
        if file.audiences.iter().any(|aud| aud.trim().is_empty()) {
            self.add(format!("{at}.audiences"), "an audience is empty", "remove it");
        }
        let lower: Vec<String> = file.types.iter().map(|typ| typ.to_ascii_lowercase()).collect();
        let types = Types {
            names: lower
                .iter()
                .filter(|typ| *typ != "none")
                .map(|typ| typ.strip_prefix("application/").unwrap_or(typ).into())
                .collect(),
            absent: lower.iter().any(|typ| typ == "none"),
        };
        if lower.is_empty() || lower.iter().any(|typ| typ.trim().is_empty()) {
            self.add(
                format!("{at}.types"),
                "no token type is taken, or one is empty",
                "write [JWT, at+jwt]; add none for tokens without `typ`",
            );
        }
        for (key, path) in [("roles", &file.claims.roles), ("scopes", &file.claims.scopes), ("tier", &file.claims.tier)]
        {
            if !path.is_sane() {
                self.add(
                    format!("{at}.claims.{key}"),
                    format!("`{path}` is no claim path"),
                    "write names joined by single dots, one URI, or a list of names",
                );
            }
        }
        Issuer {
            name: file.name.as_str().into(),
            issuer: file.issuer.as_str().into(),
            audiences,
            types,
            leeway: file.leeway.0,
            roles: file.claims.roles.clone(),
            scopes: file.claims.scopes.clone(),
            tier: file.claims.tier.clone(),
        }
    }

    /// The keys that are there at the start; none if they are to be fetched.
    fn keys(&mut self, index: usize, file: &IssuerFile, at: &str) -> Option<file::Loaded> {
        let keys = &file.keys;
        if keys.jwks_url.is_none() {
            for (key, given) in [("ca_file", keys.ca_file.is_some()), ("refresh", keys.refresh.is_some())] {
                if given {
                    self.add(format!("{at}.keys.{key}"), "nothing is fetched", "remove it, or write jwks_url");
                }
            }
            if file.danger_allow_http_issuer {
                self.add(
                    format!("{at}.danger_allow_http_issuer"),
                    "nothing is fetched",
                    "remove it, or write jwks_url",
                );
            }
        }
        let (source, loaded) = match &keys.jwks_url {
            Some(url) if !keys.has_local() => match self.url_source(index, file, url, at) {
                Ok(source) => {
                    self.sources.push(source);
                    return None;
                }
                Err(why) => ("jwks_url", Err(why)),
            },
            Some(_) => ("", Err("more than one source of keys is named".into())),
            None => self.key_source(keys, file.algorithms.as_deref().unwrap_or_default()),
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
                "write exactly one of jwks_url, jwks_file, pem_file, hmac_secret_file, hmac_secret_env",
            ),
            Err(why) => {
                self.add(format!("{at}.keys.{source}"), why, "name a source with keys that verify this issuer's tokens")
            }
        }
        None
    }

    fn url_source(&mut self, index: usize, file: &IssuerFile, url: &str, at: &str) -> Result<UrlSource, String> {
        let every = file.keys.refresh.map_or(DEFAULT_REFRESH, |period| period.0);
        if !(MIN_REFRESH..=MAX_REFRESH).contains(&every) {
            let what = "this is no sensible pause between two fetches";
            self.add(format!("{at}.keys.refresh"), what, "write a time from 1s to 1day; 5min is usual");
        }
        let ca = file.keys.ca_file.as_deref().map(|ca| self.path(ca));
        let http = file.danger_allow_http_issuer;
        let allowed = file.algorithms.as_deref().unwrap_or_default();
        UrlSource::new(&file.name, index, url, http, ca.as_deref(), allowed, every)
    }

    fn key_source(
        &self,
        keys: &KeysFile,
        allowed: &[crate::token::Algorithm],
    ) -> (&'static str, Result<file::Loaded, String>) {
        let bytes = |path: &Path| {
            let path = self.path(path);
            read(&path, file::MAX_KEY_FILE_BYTES as u64).map_err(|why| format!("{}: {why}", path.display()))
        };
        let in_file = |path: &Path, why: String| format!("{}: {why}", self.path(path).display());
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

/// Editors end a file with a line feed, which is no part of a secret; every other byte is.
fn without_line_feed(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}
