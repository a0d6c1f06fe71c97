//! What is not counted but looked at, when somebody scrapes.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, EncodeMetric as _, MetricEncoder,
    NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use crate::config::Part;
use crate::gate::Gate;
use crate::introspection::Introspectors;
use crate::keys::KeyStore;
use crate::limits::Limits;
use crate::limits::shared::Shared;
use crate::revocations::Register;
use crate::server::audit_log::AuditLog;
use crate::server::lifecycle::{Lifecycle, Readiness};
use crate::server::reload::Reloads;

/// The parts that are looked at. Their labels are of the configuration and of this program.
#[derive(Debug)]
pub struct Observed {
    /// The gate, with its issuers and its cache.
    pub gate: Arc<Gate>,
    /// Where the process is in its life.
    pub lifecycle: Arc<Lifecycle>,
    /// The audit log.
    pub audit: Arc<AuditLog>,
    /// The issuers' keys.
    pub keys: Arc<KeyStore>,
    /// The issuers that are asked about tokens.
    pub introspectors: Arc<Introspectors>,
    /// What is revoked.
    pub register: Option<Arc<Register>>,
    /// The buckets of limits.
    pub limits: Arc<Limits>,
    /// How reading again went.
    pub reloads: Arc<Reloads>,
}

/// The one cache that there is yet, by its name in the settings.
const CACHE: (&str, &str) = ("cache", "verified_tokens");

impl Collector for Observed {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        families.gauge("build_info", "Which version this is; always 1.", None, [(version, 1_u64)])?;
        let ready = matches!(self.lifecycle.readiness(&self.gate, self.register.as_deref()), Readiness::Ready);
        families.gauge("ready", "Whether /ready says so: 1 or 0.", None, [(NONE, u64::from(ready))])?;
        let dropped = self.audit.dropped();
        families.counter(
            "audit_lines_dropped",
            "Audit lines lost to a slow or broken output.",
            None,
            [(NONE, dropped)],
        )?;
        self.policy(&mut families)?;
        self.cache(&mut families)?;
        self.keys(&mut families)?;
        self.introspections(&mut families)?;
        self.limits(&mut families)?;
        self.register.as_ref().map_or(Ok(()), |register| revocations(register, &mut families))
    }
}

fn revocations(register: &Register, families: &mut Families<'_>) -> fmt::Result {
    let live = u64::try_from(register.live().len()).unwrap_or(u64::MAX);
    families.gauge("revocations", "Revocations in memory.", None, [(NONE, live)])?;
    let age = register.age().map(|age| (NONE, age.as_secs_f64()));
    let help = "Age of what is known of revocations; absent until they are loaded.";
    families.gauge("revocations_feed_age", help, Some(&Unit::Seconds), age)?;
    let help = "Questions that the store of revocations did not answer.";
    families.counter("revocations_store_failures", help, None, [(NONE, register.failures())])
}

fn shared(shared: &Shared, families: &mut Families<'_>) -> fmt::Result {
    let help = "Whether the store of limits is lost, so that limits.on_loss is in force: 1 or 0.";
    families.gauge("limits_fallback", help, None, [(NONE, u64::from(shared.is_lost()))])?;
    let help = "Requests that were judged without the store of limits.";
    families.counter("limits_fallbacks", help, None, [(NONE, shared.alone())])?;
    let help = "Replicas that share the store of limits, as counted last.";
    families.gauge("limits_replicas", help, None, [(NONE, u64::from(shared.replicas()))])?;
    let help = "Questions that the store of limits did not answer.";
    families.counter("limits_store_failures", help, None, [(NONE, shared.failures())])?;
    let help = "How long answers of the store of limits took, one in sixteen of them.";
    families.histogram("limits_store", help, &Unit::Seconds, shared.latency())
}

impl Observed {
    fn limits(&self, families: &mut Families<'_>) -> fmt::Result {
        let in_force = self.gate.in_force();
        let counts: Vec<_> = in_force.limits().collect();
        let counts = counts.iter().flat_map(|(limit, allowed, limited)| {
            [("allowed", *allowed), ("limited", *limited)]
                .map(|(result, count)| ([("limit", *limit), ("result", result)], count))
        });
        // Of a policy without limits there is nothing to tell.
        if in_force.limits().next().is_some() {
            let help =
                "Requests by what became of them: tokens that were taken, and requests that found a bucket empty.";
            families.counter("limits", help, None, counts)?;
        }
        let memory = self.limits.memory();
        let buckets = u64::try_from(memory.len()).unwrap_or(u64::MAX);
        families.gauge("limits_buckets", "Buckets in memory.", None, [(NONE, buckets)])?;
        let help = "Buckets that gave up their place before they were full, because there were too many.";
        families.counter("limits_buckets_displaced", help, None, [(NONE, memory.displaced())])?;
        self.limits.shared().map_or(Ok(()), |store| shared(store, families))
    }

    fn policy(&self, families: &mut Families<'_>) -> fmt::Result {
        let in_force = self.gate.in_force();
        let version = [("version", &*in_force.version)];
        families.gauge("policy_info", "Which policy is in force; always 1.", None, [(version, 1_u64)])?;
        let reloads = Part::ALL.into_iter().flat_map(|part| {
            let (ok, failed) = self.reloads.of(part);
            [("ok", ok), ("failed", failed)].map(|(result, count)| ([("what", part.name()), ("result", result)], count))
        });
        families.counter("reloads", "Changed files that were put in force, or could not be.", None, reloads)
    }

    fn cache(&self, families: &mut Families<'_>) -> fmt::Result {
        let cache = self.gate.authenticator().cache_state();
        let lookups = [("hit", cache.hits), ("miss", cache.misses)];
        let lookups = lookups.map(|(result, count)| ([CACHE, ("result", result)], count));
        families.counter("cache_lookups", "Lookups by whether something was there.", None, lookups)?;
        let removals = [("expired", cache.expired), ("size", cache.evicted), ("stale", cache.stale)];
        let removals = removals.map(|(cause, count)| ([CACHE, ("cause", cause)], count));
        let help = "Entries that went: their time was over, the bound was reached, or their key was gone.";
        families.counter("cache_removals", help, None, removals)?;
        families.gauge("cache_entries", "Entries, about.", None, [([CACHE], cache.entries)])?;
        families.gauge("cache", "Memory of the entries, about.", Some(&Unit::Bytes), [([CACHE], cache.bytes)])?;
        families.gauge("cache_max", "The bound of that memory.", Some(&Unit::Bytes), [([CACHE], cache.max_bytes)])
    }

    fn keys(&self, families: &mut Families<'_>) -> fmt::Result {
        let authenticator = self.gate.authenticator();
        let states: Vec<_> = authenticator
            .issuers()
            .enumerate()
            .map(|(index, issuer)| (("issuer", &*issuer.name), self.keys.state(index)))
            .collect();
        let keys = states.iter().flat_map(|(issuer, state)| {
            [("usable", state.usable), ("set_aside", state.set_aside)]
                .map(|(kind, count)| ([*issuer, ("state", kind)], count))
        });
        families.gauge("keys", "Keys in each issuer's set: in use, or set aside as unusable.", None, keys)?;
        let ages = states.iter().filter_map(|(issuer, state)| Some(([*issuer], state.age?.as_secs_f64())));
        let help = "Time since each issuer's keys were last loaded or fetched.";
        families.gauge("keys_age", help, Some(&Unit::Seconds), ages)?;
        let fetches = states.iter().flat_map(|(issuer, state)| {
            [("ok", state.fetched), ("failed", state.failed)]
                .map(|(result, count)| ([*issuer, ("result", result)], count))
        });
        families.counter("key_fetches", "Attempts to fetch each issuer's keys.", None, fetches)
    }

    fn introspections(&self, families: &mut Families<'_>) -> fmt::Result {
        let issuers = self.gate.authenticator().issuers().enumerate();
        let counts = issuers.flat_map(|(index, issuer)| {
            let state = self.introspectors.state(index);
            [
                ("active", state.active),
                ("inactive", state.inactive),
                ("failed", state.failed),
                ("not_asked", state.not_asked),
            ]
            .map(|(result, count)| ([("issuer", &*issuer.name), ("result", result)], count))
        });
        let help = "Questions to each issuer about tokens: what came of them, or that they were not put.";
        families.counter("introspections", help, None, counts)
    }
}

/// The labels of a family that has one sample.
pub(super) const NONE: [(&str, &str); 0] = [];

/// Writes whole families.
pub(super) struct Families<'a>(pub(super) DescriptorEncoder<'a>);

type Labels<'a, const N: usize> = [(&'a str, &'a str); N];

impl Families<'_> {
    /// A family of values that go up and down. `unit` becomes the end of its name.
    pub(super) fn gauge<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        samples
            .into_iter()
            .try_for_each(|(labels, value)| with_labels(&mut family, &labels, |sample| sample.encode_gauge(&value)))
    }

    /// A family of one histogram.
    fn histogram(&mut self, name: &str, help: &str, unit: &Unit, values: &Histogram) -> fmt::Result {
        values.encode(self.0.encode_descriptor(name, help, Some(unit), MetricType::Histogram)?)
    }

    /// A family of counts, whose samples are called `name_total`.
    pub(super) fn counter<'l, const N: usize, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        let exemplar: Option<&Exemplar<NoLabelSet, f64>> = None;
        samples.into_iter().try_for_each(|(labels, value)| {
            with_labels(&mut family, &labels, |sample| sample.encode_counter(&value, exemplar))
        })
    }
}

fn with_labels<const N: usize>(
    family: &mut MetricEncoder<'_>,
    labels: &Labels<'_, N>,
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result
where
    for<'l> Labels<'l, N>: EncodeLabelSet,
{
    if N == 0 { encode(family) } else { encode(&mut family.encode_family(labels)?) }
}
