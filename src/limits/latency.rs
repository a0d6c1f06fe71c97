//! How long answers took, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds, in microseconds: from a Redis on the same host to the longest that is waited.
const BOUNDS: [u64; 10] = [50, 100, 250, 500, 1_000, 2_500, 5_000, 25_000, 100_000, 400_000];

/// A histogram.
#[derive(Debug, Default)]
pub struct Latency {
    counts: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Latency {
    /// Counts an answer.
    pub(super) fn count(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The sum in seconds, and how many answers came within each bound, in seconds; the last one is infinite.
    #[must_use]
    pub fn read(&self) -> (f64, Vec<(f64, u64)>) {
        let bounds = BOUNDS.iter().map(|micros| Duration::from_micros(*micros).as_secs_f64()).chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        (Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64(), bounds.zip(counts).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_in_one_bucket() {
        let latency = Latency::default();
        for micros in [0, 50, 51, 99_000, 10_000_000] {
            latency.count(Duration::from_micros(micros));
        }
        let (sum, counts) = latency.read();
        assert!((sum - 10.099_101).abs() < 1e-9);
        assert_eq!(counts.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
    }
}
