//! Where the buckets of limits are kept.

use std::sync::Arc;
use std::time::Duration;

use super::Stage;
use crate::config::settings::SettingsFile;
use crate::config::settings::limits::{LimitsFile, OnLossFile};
use crate::limits::Limits;
use crate::limits::memory::Memory;
use crate::limits::shared::{OnLoss, Shared};
use crate::policy::Policy;
use crate::policy::limit::Counts;
use crate::redis::Redis;

/// Shortest time in which a Redis on another host answers when it is busy.
const MIN_TIMEOUT: Duration = Duration::from_millis(5);

/// Fewer buckets than that would be displaced by an ordinary crowd; more take gigabytes.
const MIN_BUCKETS: usize = 1_000;
const MAX_BUCKETS: usize = 100_000_000;

/// Longest time that a connection waits for an answer: any decision has its own before it ends.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Most replicas.
const MAX_REPLICAS: u32 = 1_000;

impl Stage {
    /// The Redis that holds the buckets; none if they are in memory.
    pub(super) fn limits(&mut self, settings: &SettingsFile) -> Option<Redis> {
        let LimitsFile { store, on_loss, replicas, timeout, max_buckets } = &settings.limits;
        if !(MIN_BUCKETS..=MAX_BUCKETS).contains(max_buckets) {
            let remedy = format!(
                "write a number from {MIN_BUCKETS} to {MAX_BUCKETS}; each bucket takes about 55 bytes of memory"
            );
            self.add("limits.max_buckets", "this is no sensible bound", remedy);
        }
        if !(1..=MAX_REPLICAS).contains(replicas) {
            let remedy =
                format!("write how many there are, from 1 to {MAX_REPLICAS}; the most that your autoscaler may start");
            self.add("limits.replicas", "this is no number of replicas", remedy);
        }
        let deadline = settings.listeners.decisions.deadline.0;
        if timeout.0 < MIN_TIMEOUT || timeout.0 >= ANSWERS_WITHIN || store.redis.is_some() && timeout.0 >= deadline {
            let remedy = "write a time from 5ms, and less than listeners.decisions.deadline; 100ms is usual";
            self.add("limits.timeout", "a decision could not come in time", remedy);
        }
        if *on_loss == OnLossFile::DangerAllow {
            self.warnings.push("limits.on_loss: danger_allow: nobody is limited while the store is gone".to_owned());
        }
        if store.redis.is_none() && (*on_loss != OnLossFile::Local || *replicas != 1) {
            let what = "limits: without `store` each gate counts for itself, and `on_loss` and `replicas` say nothing";
            self.warnings.push(what.to_owned());
        }
        self.redis("limits.store.redis", store.redis.as_ref()?, ANSWERS_WITHIN)
    }
}

/// The buckets as they are configured, under a hash key that nobody else has.
pub(super) fn limits(file: &LimitsFile, redis: Option<Redis>, hash_key: [u8; 16]) -> Limits {
    let memory = Arc::new(Memory::new(file.max_buckets, hash_key));
    let on_loss = match file.on_loss {
        OnLossFile::Local => OnLoss::Local,
        OnLossFile::Refuse => OnLoss::Refuse,
        OnLossFile::DangerAllow => OnLoss::Allow,
    };
    let shared = redis.map(|redis| Shared::new(redis, file.timeout.0, Arc::clone(&memory), on_loss, file.replicas));
    Limits::new(memory, shared)
}

/// Who is known is not held up by strangers, unless nobody is remembered.
pub(super) fn forgetful(settings: &SettingsFile, policy: &Policy) -> Option<String> {
    let hold_up = policy.limits.iter().any(|limit| limit.counts != Counts::Requests);
    let is_forgetful = settings.stores.verified_tokens.max_mebibytes == 0 && hold_up;
    is_forgetful.then(|| {
        "stores.verified_tokens.max_mebibytes: 0 makes everybody a stranger at each request, whom limits of `unauthenticated` and \
         `failures` hold up"
            .to_owned()
    })
}
