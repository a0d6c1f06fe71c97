//! Metrics in the Prometheus text format.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::audit_log::AuditLog;
use super::lifecycle::Lifecycle;
use crate::gate::Gate;
use crate::policy::{Decision, Reason};
use crate::protocol::DIALECTS;

/// Upper bounds of the latency histogram, in seconds: from a warm decision to the deadline.
const BUCKETS: [f64; 13] =
    [10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 10e-3, 50e-3, 100e-3, 250e-3, 1.0];

/// The dialect of what no dialect claims.
const NO_DIALECT: &str = "none";

fn dialects() -> impl Iterator<Item = &'static str> {
    [NO_DIALECT].into_iter().chain(DIALECTS.iter().map(|dialect| dialect.name()))
}

/// The labels of a decision. All combinations are known at the start: a decision counts without looking anything up, and
/// clients add none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
    reason: &'static str,
    dialect: &'static str,
}

/// What is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    allowed: Vec<Counter>,
    denied: Vec<Vec<Counter>>,
    seconds: Histogram,
    gate: Arc<Gate>,
    lifecycle: Arc<Lifecycle>,
    audit: Arc<AuditLog>,
}

impl Metrics {
    /// Counts from zero.
    #[must_use]
    pub fn new(gate: Arc<Gate>, lifecycle: Arc<Lifecycle>, audit: Arc<AuditLog>) -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let decisions = Family::<Outcome, Counter>::default();
        registry.register("decisions", "Decisions by outcome, reason and dialect", decisions.clone());
        let seconds = Histogram::new(BUCKETS);
        registry.register_with_unit(
            "decision",
            "Time from the request's arrival to its answer",
            Unit::Seconds,
            seconds.clone(),
        );
        let counter = |outcome, reason, dialect| decisions.get_or_create_owned(&Outcome { outcome, reason, dialect });
        let allowed = dialects().map(|dialect| counter("allow", "allowed", dialect)).collect();
        let denied = dialects()
            .map(|dialect| Reason::ALL.iter().map(|reason| counter("deny", reason.code(), dialect)).collect())
            .collect();
        Self { registry, allowed, denied, seconds, gate, lifecycle, audit }
    }

    /// Counts a decision.
    pub fn count(&self, decision: &Decision, dialect: Option<&'static str>, took: Duration) {
        let place = dialects().position(|name| name == dialect.unwrap_or(NO_DIALECT)).unwrap_or_default();
        let counter = match decision {
            Ok(_) => self.allowed.get(place),
            Err(refusal) => self.denied.get(place).and_then(|reasons| reasons.get(refusal.reason as usize)),
        };
        if let Some(counter) = counter {
            counter.inc();
        }
        self.seconds.observe(took.as_secs_f64());
    }

    /// All of it as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Neither writing to a String nor these metrics can fail.
        prometheus_client::encoding::text::encode_registry(&mut text, &self.registry).ok();
        let gauges = [
            (
                "portcullis_verified_tokens",
                "gauge",
                "Verified tokens in the cache, about",
                self.gate.authenticator().cached_tokens(),
            ),
            ("portcullis_ready", "gauge", "Whether new work is welcome", u64::from(self.lifecycle.takes_work())),
            (
                "portcullis_audit_lines_dropped_total",
                "counter",
                "Audit lines lost to a slow or broken output",
                self.audit.dropped(),
            ),
        ];
        for (name, kind, help, value) in gauges {
            let family = name.strip_suffix("_total").unwrap_or(name);
            writeln!(text, "# HELP {family} {help}.\n# TYPE {family} {kind}\n{name} {value}").ok();
        }
        text.push_str("# EOF\n");
        text
    }
}
