//! Metrics for Prometheus.

pub mod exposition;
mod observed;
mod process;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::clock;
use crate::policy::{Decision, Reason};
use crate::protocol::DIALECTS;
use exposition::Format;
pub use observed::Observed;
use process::Process;

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
}

impl Metrics {
    /// Counts from zero, and looks at `observed` when asked.
    #[must_use]
    pub fn new(observed: Observed) -> Self {
        let mut everything = Registry::default();
        everything.register_collector(Box::new(Process { started: clock::now() }));
        let registry = everything.sub_registry_with_prefix("portcullis");
        registry.register_collector(Box::new(observed));
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
        Self { registry: everything, allowed, denied, seconds }
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
    pub fn text(&self, format: Format) -> String {
        let mut text = String::new();
        // Neither writing to a String nor these metrics can fail.
        prometheus_client::encoding::text::encode(&mut text, &self.registry).ok();
        match format {
            Format::OpenMetrics => text,
            Format::Text => exposition::older(&text),
        }
    }
}
