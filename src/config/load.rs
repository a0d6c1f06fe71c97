//! The second stage: from files to a gate. Every mistake of every file is reported at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretSlice;

use super::document::Document;
use super::environment;
use super::report::Report;
use super::settings::{AuditTo, IssuerFile, KeysFile, SettingsFile};
use crate::gate::cache::TokenCache;
use crate::gate::{Authenticator, Gate};
use crate::keys::{LoadedKeys, file};
use crate::mistake::Mistake;
use crate::policy::{Policy, PolicyFile};
use crate::protocol::TrustedProxies;
use crate::token::issuer::{Audiences, Types};
use crate::token::{Issuer, KeySet};

/// What the command line says over the file and the environment: dotted path and value.
pub type Flags = Vec<(String, String)>;

/// Everything that a configuration makes.
#[derive(Debug)]
pub struct Loaded {
    /// The gate.
    pub gate: Gate,
    /// Who may ask it.
    pub trusted_proxies: TrustedProxies,
    /// The settings as they are in force.
    pub settings: SettingsFile,
    /// Keys that were set aside, and other things that work and deserve a look.
    pub warnings: Vec<String>,
    /// How many rules the policy has.
    pub rules: usize,
}

/// Shortest idle time of a connection: proxies keep theirs for 90 s, and who closes first while the
/// other sends loses a request (contract C11).
const MIN_KEEP_ALIVE: Duration = Duration::from_secs(120);

/// Longest deadline: behind it stand proxies that give up after a second, and people who wait.
const MAX_DEADLINE: Duration = Duration::from_secs(1);

/// Longest leeway: clocks that are a minute apart are broken, and every second prolongs tokens.
const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// Largest configuration file, in bytes: ten thousand rules have two MiB.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Reads the settings file, the policy and the keys that it names.
///
/// # Errors
/// All mistakes of all files.
pub fn load(path: &Path, flags: &Flags) -> Result<Loaded, Report> {
    let document = open(path)?.layered(&environment::settings(), flags)?;
    let settings: SettingsFile = document.read()?;
    let beside = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut stage = Stage { beside, mistakes: Vec::new(), warnings: Vec::new() };
    stage.check(&settings);
    let trusted_proxies = stage.trusted_proxies(&settings);
    let (issuers, keys) = stage.issuers(&settings.issuers);
    let policy = stage.policy(&settings.policy);
    let Stage { mistakes, warnings, .. } = stage;
    let report = if mistakes.is_empty() { None } else { Some(document.report(mistakes)) };
    match (policy, trusted_proxies, report) {
        (Ok((policy, rules)), Some(trusted_proxies), None) => {
            let max_bytes = settings.stores.verified_tokens.max_mebibytes.saturating_mul(1024 * 1024);
            let cache = TokenCache::new(max_bytes, random(path)?);
            let authenticator =
                Authenticator::new(issuers, Arc::new(LoadedKeys::new(keys)), cache, &settings.credentials.cookie_name);
            Ok(Loaded { gate: Gate::new(policy, authenticator), trusted_proxies, settings, warnings, rules })
        }
        (Err(policy), _, Some(report)) => Err(report.merge(policy)),
        (Err(report), _, None) | (Ok(_), _, Some(report)) => Err(report),
        (Ok(_), None, None) => Err(Report::plain(path.display().to_string(), "trusted_proxies cannot be used")),
    }
}

fn random(path: &Path) -> Result<[u8; 16], Report> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Report::plain(path.display().to_string(), format!("the system gives no random bytes: {error}"))
    })?;
    Ok(bytes)
}

/// Opens and parses a YAML file.
fn open(path: &Path) -> Result<Document, Report> {
    let name = path.display().to_string();
    let bytes = read(path, MAX_FILE_BYTES).map_err(|why| Report::plain(&name, why))?;
    Document::parse(&name, bytes)
}

/// Reads a regular file of bounded size.
fn read(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let meta = std::fs::metadata(path).map_err(|error| format!("it cannot be read: {error}"))?;
    if !meta.is_file() {
        return Err("it is no regular file".into());
    }
    if meta.len() > max {
        return Err(format!("it has {} bytes, more than {max}", meta.len()));
    }
    std::fs::read(path).map_err(|error| format!("it cannot be read: {error}"))
}

struct Stage {
    beside: PathBuf,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
}

impl Stage {
    fn add(&mut self, at: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        self.mistakes.push(Mistake::new(at, what, remedy));
    }

    /// A path in the settings starts at the settings file.
    fn path(&self, path: &Path) -> PathBuf {
        self.beside.join(path)
    }

    fn check(&mut self, settings: &SettingsFile) {
        let listener = &settings.listeners.decisions;
        if listener.keep_alive.0 < MIN_KEEP_ALIVE {
            self.add(
                "listeners.decisions.keep_alive",
                "proxies keep idle connections for 90 s and would lose requests",
                "write 120s or more",
            );
        }
        if listener.deadline.0.is_zero() || listener.deadline.0 >= MAX_DEADLINE {
            self.add(
                "listeners.decisions.deadline",
                "a decision must come within a second",
                "write a time below 1s, such as 500ms",
            );
        }
        if listener.workers == Some(0) {
            self.add(
                "listeners.decisions.workers",
                "no thread would serve",
                "write 1 or more, or leave it out for one per core",
            );
        }
        let admin = settings.listeners.admin.address;
        if admin == listener.address && admin.port() != 0 {
            self.add(
                "listeners.admin.address",
                "both listeners have the same address",
                "give each an address of its own: proxies must not reach the admin endpoints",
            );
        }
        let cookie = &settings.credentials.cookie_name;
        if cookie.is_empty() || !cookie.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            self.add(
                "credentials.cookie_name",
                format!("`{cookie}` is no cookie name"),
                "write letters, digits, `-`, `_` and `.`",
            );
        }
        match (settings.audit.to, &settings.audit.file) {
            (AuditTo::File, None) => self.add("audit.to", "no file is named", "write `file: PATH` beside it"),
            (AuditTo::Stdout | AuditTo::Stderr | AuditTo::Off, Some(_)) => {
                self.add(
                    "audit.file",
                    "the file is not written, since `to` says otherwise",
                    "write `to: file`, or remove it",
                );
            }
            (AuditTo::File, Some(_)) | (AuditTo::Stdout | AuditTo::Stderr | AuditTo::Off, None) => {}
        }
    }

    fn trusted_proxies(&mut self, settings: &SettingsFile) -> Option<TrustedProxies> {
        let at = "listeners.decisions.trusted_proxies";
        let networks = settings.listeners.decisions.trusted_proxies.clone();
        if networks.is_empty() {
            self.add(at, "nobody may ask", "write the networks of your proxies");
        }
        match TrustedProxies::new(networks) {
            Ok(trusted) => Some(trusted),
            Err(wide) => {
                self.add(
                    at,
                    format!("{wide} holds strangers, who could state any host, path and address"),
                    "write the networks of your proxies, at most as wide as 10.0.0.0/8",
                );
                None
            }
        }
    }

    fn policy(&self, path: &Path) -> Result<(Policy, usize), Report> {
        let document = open(&self.path(path))?;
        let file: PolicyFile = document.read()?;
        let policy = Policy::compile(&file).map_err(|mistakes| document.report(mistakes))?;
        Ok((policy, file.rules.len()))
    }

    fn issuers(&mut self, files: &[IssuerFile]) -> (Vec<Issuer>, Vec<KeySet>) {
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
            keys.push(self.keys(file, &at));
        }
        (issuers, keys)
    }

    fn issuer(&mut self, file: &IssuerFile, at: &str) -> Issuer {
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

    fn keys(&mut self, file: &IssuerFile, at: &str) -> KeySet {
        let (source, loaded) = self.key_source(&file.keys, &file.algorithms);
        match loaded {
            Ok(loaded) => {
                self.warnings
                    .extend(loaded.set_aside.iter().map(|why| format!("issuer `{}`: {why}; set aside", file.name)));
                return loaded.keys;
            }
            Err(why) if source.is_empty() => self.add(
                format!("{at}.keys"),
                why,
                "write exactly one of jwks_file, pem_file, hmac_secret_file, hmac_secret_env",
            ),
            Err(why) => {
                self.add(format!("{at}.keys.{source}"), why, "name a source with keys that verify this issuer's tokens")
            }
        }
        KeySet::default()
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
                let secret = bytes(path).map(|text| SecretSlice::from(text.trim_ascii_end().to_vec()));
                (
                    "hmac_secret_file",
                    secret.and_then(|secret| file::secret(&secret, allowed).map_err(|why| in_file(path, why))),
                )
            }
            (None, None, None, Some(name)) => {
                let secret = environment::secret(name)
                    .ok_or_else(|| format!("the environment has no variable `{name}`, or it is empty"));
                ("hmac_secret_env", secret.and_then(|secret| file::secret(&secret, allowed)))
            }
            (None, None, None, None) => ("", Err("no source of keys is named".into())),
            _ => ("", Err("more than one source of keys is named".into())),
        }
    }
}
