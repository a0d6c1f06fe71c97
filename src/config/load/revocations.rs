//! Revocation, and who may revoke.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretSlice};

use super::Stage;
use crate::config::environment;
use crate::config::settings::revocations::{OnStale, RevocationsFile};
use crate::config::settings::{AdminFile, SettingsFile};
use crate::revocations::live::WhenStale;
use crate::revocations::store::TIMEOUT;
use crate::revocations::store::redis::Redis;
use crate::revocations::{Kind, Live, Setup};

/// The feed speaks four times a second: less than a second would refuse everybody at every hiccup, and in an hour a revoked token
/// has done its harm.
const MIN_FEED_AGE: Duration = Duration::from_secs(1);
const MAX_FEED_AGE: Duration = Duration::from_secs(3600);

/// Comparing everything more often than each second is all that would be done.
const MIN_RESYNC: Duration = Duration::from_secs(1);
const MAX_RESYNC: Duration = Duration::from_secs(24 * 3600);

/// Ten million entries take three gigabytes in each replica (`cargo bench --bench revocations`).
const MAX_ENTRIES: usize = 10_000_000;

/// Shortest token of the admin listener, in bytes: what `openssl rand -hex 16` gives has 128 random bits.
const MIN_TOKEN_BYTES: usize = 32;

impl Stage {
    /// Where revocations are kept; none if nothing can be revoked.
    pub(super) fn revocations(&mut self, settings: &SettingsFile) -> Option<Kind> {
        let file = settings.revocations.as_ref()?;
        let dangers = [
            ("store.danger_memory", file.store.danger_memory, "a restart forgets what was revoked"),
            (
                "on_stale: danger_go_on",
                file.on_stale == OnStale::DangerGoOn,
                "revoked tokens pass while the store is gone",
            ),
        ];
        for (key, _, what) in dangers.into_iter().filter(|(_, is_on, _)| *is_on) {
            self.warnings.push(format!("revocations.{key}: {what}"));
        }
        for (key, period, least, most, remedy) in [
            ("max_feed_age", file.max_feed_age, MIN_FEED_AGE, MAX_FEED_AGE, "write a time from 1s to 1h; 5s is usual"),
            ("resync", file.resync, MIN_RESYNC, MAX_RESYNC, "write a time from 1s to 1day; 60s is usual"),
        ] {
            if !(least..=most).contains(&period.0) {
                self.add(format!("revocations.{key}"), "this is no sensible length of time for it", remedy);
            }
        }
        if !(1..=MAX_ENTRIES).contains(&file.max_entries) {
            self.add(
                "revocations.max_entries",
                "this is no sensible bound",
                format!("write a number from 1 to {MAX_ENTRIES}; each entry takes about 300 bytes of memory"),
            );
        }
        if settings.listeners.admin.token_file.is_none() && settings.listeners.admin.token_env.is_none() {
            let what =
                "revocations: nobody can revoke anything, since listeners.admin has neither token_file nor token_env";
            self.warnings.push(what.to_owned());
        }
        self.store(file, settings)
    }

    fn store(&mut self, file: &RevocationsFile, settings: &SettingsFile) -> Option<Kind> {
        let store = &file.store;
        match (&store.sqlite, &store.redis, store.danger_memory) {
            (None, None, true) => Some(Kind::Memory),
            (None, Some(redis), false) => {
                let server = self.redis("revocations.store.redis", redis, TIMEOUT)?;
                Some(Kind::Redis(Box::new(Redis::new(server))))
            }
            (sqlite, None, false) => {
                let named = sqlite.as_ref().map_or_else(|| "revocations.db".into(), |sqlite| sqlite.file.clone());
                let others: Vec<PathBuf> = settings.audit.file.iter().cloned().collect();
                self.own_file("revocations.store.sqlite.file", &named, &others, settings);
                Some(Kind::Sqlite(self.path(&named)))
            }
            _ => {
                let what = "more than one store is named";
                self.add("revocations.store", what, "write exactly one of sqlite, redis, danger_memory: true");
                None
            }
        }
    }

    /// The token that the admin listener demands of whoever wants to change something; none if there is nobody.
    pub(super) fn admin_token(&mut self, file: &AdminFile) -> Option<SecretSlice<u8>> {
        let (key, token) = match (&file.token_file, &file.token_env) {
            (None, None) => return None,
            (Some(path), None) => ("token_file", self.secret_file(path)),
            (None, Some(name)) => ("token_env", environment::secret(name)),
            (Some(_), Some(_)) => ("token_env", Err("`token_file` names one, too".to_owned())),
        };
        let token = token.and_then(|token| {
            let bytes = token.expose_secret();
            if bytes.len() < MIN_TOKEN_BYTES {
                return Err(format!("the token has {} bytes, fewer than {MIN_TOKEN_BYTES}", bytes.len()));
            }
            let sane = bytes.iter().all(u8::is_ascii_graphic);
            if sane { Ok(token) } else { Err("the token has blanks or letters that a header cannot hold".to_owned()) }
        });
        match token {
            Ok(token) => Some(token),
            Err(why) => {
                self.add(format!("listeners.admin.{key}"), why, "name one token; make it: openssl rand -hex 32");
                None
            }
        }
    }
}

/// Revocation as it is configured, with a hash key that nobody else has.
pub(super) fn setup(file: &RevocationsFile, store: Kind, hash_key: [u8; 16]) -> Setup {
    let when_stale = match file.on_stale {
        OnStale::Refuse => WhenStale::Refuse,
        OnStale::DangerGoOn => WhenStale::GoOn,
    };
    let live = Arc::new(Live::new(file.max_feed_age.0, when_stale, hash_key));
    Setup { live, store, resync: file.resync.0, max_entries: file.max_entries }
}
