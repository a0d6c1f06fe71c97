//! The second stage: from files to a gate. Every mistake of every file is reported at once.

mod files;
mod introspection;
mod issuers;
mod keys;
mod limits;
mod policy;
mod redis;
pub mod rehearsal;
mod revocations;
mod source;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretSlice;

use super::document::Document;
use super::environment;
use super::report::Report;
use super::settings::{AuditTo, ListenersFile, SettingsFile};
use crate::gate::cache::TokenCache;
use crate::gate::{Authenticator, Gate, Introspection, Keys, Limiter, NoRevocations, Revocations};
use crate::introspection::{Introspector, Introspectors};
use crate::keys::refresh::Refresher;
use crate::keys::{KeyStore, file};
use crate::limits::Limits;
use crate::mistake::Mistake;
use crate::policy::Policy;
use crate::protocol::TrustedProxies;
use crate::redis::Redis;
use crate::revocations::{Kind, Setup};
use crate::tls::Certificate;
use crate::token::Issuer;
use policy::Compiled;
pub use source::{Part, Source};
use source::{Seen, digest};

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
    /// The certificates of the listeners that speak TLS.
    pub certificates: Certificates,
    /// The keys, which the sources keep up to date.
    pub keys: Arc<KeyStore>,
    /// The sources of keys that are to be fetched.
    pub sources: Vec<Refresher>,
    /// The issuers that are asked about tokens.
    pub introspectors: Arc<Introspectors>,
    /// How revocations are kept, if anything can be revoked.
    pub revocations: Option<Setup>,
    /// The buckets of limits.
    pub limits: Arc<Limits>,
    /// The token of whoever may change something through the admin listener.
    pub admin_token: Option<SecretSlice<u8>>,
    /// Where all of this came from, to be read again.
    pub source: Source,
}

/// The certificates of the listeners that speak TLS.
#[derive(Debug, Default)]
pub struct Certificates {
    /// Of the decision listener.
    pub decisions: Option<Arc<Certificate>>,
    /// Of the admin listener.
    pub admin: Option<Arc<Certificate>>,
    /// Of the public listener.
    pub public: Option<Arc<Certificate>>,
}

/// Shortest idle time of a connection: proxies keep theirs for 90 s, and who closes first while the
/// other sends loses a request (contract C11).
const MIN_KEEP_ALIVE: Duration = Duration::from_secs(120);

/// Longest times: far beyond any use, and far from where clocks overflow.
const MAX_KEEP_ALIVE: Duration = Duration::from_secs(24 * 3600);
const MAX_SHUTDOWN: Duration = Duration::from_secs(3600);

/// Longest deadline: behind it stand proxies that give up after a second, and people who wait.
const MAX_DEADLINE: Duration = Duration::from_secs(1);

/// Shortest deadline: a first signature check takes up to a fifth of it.
const MIN_DEADLINE: Duration = Duration::from_millis(1);

/// Most threads: more than the cores of any machine that runs this.
const MAX_WORKERS: usize = 1024;

/// Largest configuration file, in bytes: ten thousand rules have two MiB.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Reads the settings file, the policy and the keys that it names.
///
/// # Errors
/// All mistakes of all files.
pub fn load(path: &Path, flags: &Flags) -> Result<Loaded, Report> {
    let variables = environment::settings().map_err(|why| Report::plain("environment", why))?;
    let (document, digest) = open(path)?;
    let document = document.layered(&variables, flags)?;
    let mut made = None;
    let settings = document.read_checked(|settings| {
        let (parts, mistakes) = make(settings, path.parent().unwrap_or(Path::new("")));
        made = Some(parts);
        mistakes
    });
    let policy = made.as_mut().and_then(|parts| parts.policy.take());
    match (settings, made, policy) {
        (Ok(settings), Some(mut parts), Some(Ok(policy))) => {
            let settings_file = Seen::new(Part::Settings, path, digest);
            let files = [settings_file].into_iter().chain(std::mem::take(&mut parts.files)).collect();
            assemble(settings, parts, policy, Source::new(path, flags, document, files))
        }
        (Ok(_), _, Some(Err(report))) | (Err(report), _, None | Some(Ok(_))) => Err(report),
        (Err(report), _, Some(Err(policy))) => Err(report.merge(policy)),
        (Ok(_), ..) => Err(Report::plain(path.display().to_string(), "the settings name no policy")),
    }
}

/// What the settings make, before it is known that all of it is good.
struct Parts {
    trusted_proxies: Option<TrustedProxies>,
    issuers: Vec<Issuer>,
    keys: Vec<Option<file::Loaded>>,
    certificates: Certificates,
    sources: Vec<Refresher>,
    introspectors: Vec<Option<Introspector>>,
    revocations: Option<Kind>,
    limits: Option<Redis>,
    admin_token: Option<SecretSlice<u8>>,
    warnings: Vec<String>,
    policy: Option<Result<Compiled, Report>>,
    files: Vec<Seen>,
}

fn make(settings: &SettingsFile, beside: &Path) -> (Parts, Vec<Mistake>) {
    let mut stage = Stage { beside: beside.to_owned(), ..Stage::default() };
    stage.check(settings);
    let trusted_proxies = stage.trusted_proxies(settings);
    let (issuers, keys) = stage.issuers(&settings.issuers);
    let certificates = Certificates {
        decisions: stage.certificate("decisions", settings.listeners.decisions.tls.as_ref()),
        admin: stage.certificate("admin", settings.listeners.admin.tls.as_ref()),
        public: stage.certificate("public", settings.listeners.public.as_ref().and_then(|public| public.tls.as_ref())),
    };
    let (revocations, admin_token) = (stage.revocations(settings), stage.admin_token(&settings.listeners.admin));
    let limits = stage.limits(settings);
    let policy = stage.policy(settings);
    let Stage { mistakes, warnings, sources, introspectors, files, .. } = stage;
    let parts = Parts {
        trusted_proxies,
        issuers,
        keys,
        certificates,
        sources,
        introspectors,
        revocations,
        limits,
        admin_token,
        warnings,
        policy,
        files,
    };
    (parts, mistakes)
}

fn assemble(settings: SettingsFile, parts: Parts, compiled: Compiled, source: Source) -> Result<Loaded, Report> {
    let Compiled { policy, rules, version } = compiled;
    let Parts { trusted_proxies, issuers, keys, certificates, sources, admin_token, mut warnings, .. } = parts;
    warnings.extend(renamed_headers(&policy));
    warnings.extend(policy.warnings.iter().map(|warning| format!("{}: {warning}", settings.policy.display())));
    let unusable = || source.report("trusted_proxies cannot be used");
    let trusted_proxies = trusted_proxies.ok_or_else(unusable)?;
    warnings.extend(limits::forgetful(&settings, &policy));
    let max_bytes = settings.stores.verified_tokens.max_mebibytes.saturating_mul(1024 * 1024);
    let cache = TokenCache::new(max_bytes, random(&source)?);
    let keys = Arc::new(KeyStore::new(keys));
    let cookie_name = &settings.credentials.cookie_name;
    let hash_key = random(&source)?;
    let revocations = settings.revocations.as_ref().zip(parts.revocations);
    let revocations = revocations.map(|(file, store)| revocations::setup(file, store, hash_key));
    let revoked = revocations.as_ref().map_or_else(
        || Arc::new(NoRevocations) as Arc<dyn Revocations>,
        |setup| Arc::clone(&setup.live) as Arc<dyn Revocations>,
    );
    let introspectors = Arc::new(Introspectors::new(parts.introspectors));
    let asking = Arc::clone(&introspectors) as Arc<dyn Introspection>;
    let known = Arc::clone(&keys) as Arc<dyn Keys>;
    let authenticator = Authenticator::new(issuers, known, asking, revoked, cache, cookie_name);
    let limits = Arc::new(limits::limits(&settings.limits, parts.limits, random(&source)?));
    let limiter = Arc::clone(&limits) as Arc<dyn Limiter>;
    let gate = Gate::new(policy, &version, authenticator, limiter);
    Ok(Loaded {
        gate,
        trusted_proxies,
        settings,
        warnings,
        keys,
        sources,
        introspectors,
        revocations,
        limits,
        admin_token,
        rules,
        certificates,
        source,
    })
}

/// The proxies' files name the default headers. With others, a client's own copies would pass until those files are changed too.
fn renamed_headers(policy: &Policy) -> Option<String> {
    const SHIPPED: [&str; 3] = ["x-user-id", "x-user-role", "x-user-tier"];
    let others: Vec<&str> = policy.identity.names().filter(|name| !SHIPPED.contains(name)).collect();
    (!others.is_empty()).then(|| {
        format!(
            "identity headers beside the default ones: {}. Every proxy must remove them from what clients send and take them from \
             the answer, and go on removing the default ones: in Traefik `strip` and `authResponseHeaders`, in Envoy \
             `early_header_mutation_extensions` and `allowed_upstream_headers`",
            others.join(", ")
        )
    })
}

fn random(source: &Source) -> Result<[u8; 16], Report> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| source.report(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes)
}

/// Opens and parses a YAML file.
fn open(path: &Path) -> Result<(Document, source::Digest), Report> {
    let name = path.display().to_string();
    let bytes = read(path, MAX_FILE_BYTES).map_err(|why| Report::plain(&name, why))?;
    let digest = digest(&bytes);
    Ok((Document::parse(&name, bytes)?, digest))
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

#[derive(Default)]
struct Stage {
    beside: PathBuf,
    mistakes: Vec<Mistake>,
    warnings: Vec<String>,
    sources: Vec<Refresher>,
    introspectors: Vec<Option<Introspector>>,
    files: Vec<Seen>,
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
        if listener.keep_alive.0 > MAX_KEEP_ALIVE {
            self.add(
                "listeners.decisions.keep_alive",
                "no connection is idle for longer than a day",
                "write 1day or less",
            );
        }
        for (key, period) in [("not_ready_for", settings.shutdown.not_ready_for), ("drain", settings.shutdown.drain)] {
            if period.0 > MAX_SHUTDOWN {
                self.add(format!("shutdown.{key}"), "the process would seem never to end", "write 1h or less");
            }
        }
        if listener.deadline.0 < MIN_DEADLINE || listener.deadline.0 >= MAX_DEADLINE {
            self.add(
                "listeners.decisions.deadline",
                "a decision must come within a second",
                "write a time below 1s, such as 500ms",
            );
        }
        let workers = "listeners.decisions.workers";
        match listener.workers {
            Some(0) => self.add(workers, "no thread would serve", "write 1 or more, or leave it out for one per core"),
            Some(many) if many > MAX_WORKERS => {
                self.add(workers, format!("{many} threads only cost memory"), "leave it out for one per core");
            }
            Some(_) | None => {}
        }
        self.addresses(&settings.listeners);
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
            (AuditTo::File, Some(file)) => self.own_file("audit.file", file, &[], settings),
            (AuditTo::Stdout | AuditTo::Stderr | AuditTo::Off, None) => {}
        }
    }

    /// What stands on one listener must not be reached through another.
    fn addresses(&mut self, listeners: &ListenersFile) {
        let public = listeners.public.as_ref().map(|public| ("public", public.address));
        let own = [("decisions", listeners.decisions.address), ("admin", listeners.admin.address)];
        let mut earlier: Vec<(&str, SocketAddr)> = Vec::new();
        for (name, address) in own.into_iter().chain(public) {
            let overlaps = |other: &SocketAddr| {
                let same = address.ip() == other.ip() || address.ip().is_unspecified() || other.ip().is_unspecified();
                same && address.port() == other.port() && address.port() != 0
            };
            if let Some((other, _)) = earlier.iter().find(|(_, other)| overlaps(other)) {
                self.add(
                    format!("listeners.{name}.address"),
                    format!("the {name} listener has the address of the {other} listener"),
                    "give each an address of its own: they serve different people",
                );
            }
            earlier.push((name, address));
        }
    }

    fn trusted_proxies(&mut self, settings: &SettingsFile) -> Option<TrustedProxies> {
        let at = "listeners.decisions.trusted_proxies";
        let networks: Vec<_> = settings.listeners.decisions.trusted_proxies.iter().map(|network| network.0).collect();
        if networks.is_empty() {
            self.add(at, "nobody may ask", "write the networks of your proxies");
        }
        match TrustedProxies::new(networks) {
            Ok(trusted) => Some(trusted),
            Err(wide) => {
                self.add(
                    at,
                    format!("{wide} holds strangers, who could state any host, path and address"),
                    "write the networks of your proxies: private ones, or public ones of at most a /16 (IPv6: /32)",
                );
                None
            }
        }
    }
}
