//! How overdue expiry is and how far the clocks differ: over all workers, as two gauges.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::Gauge;

use super::clock::Now;
use crate::telemetry::names;

/// How often a worker reports.
const EVERY: Duration = Duration::from_millis(250);

/// The workers' reports.
pub struct Progress {
    workers: Mutex<Vec<Report>>,
    lag: Gauge,
    difference: Gauge,
}

#[derive(Clone, Copy, Debug, Default)]
struct Report {
    at: Option<Duration>,
    lag_ms: i64,
    difference_ms: i64,
}

impl Progress {
    /// Of so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers: Mutex::new(vec![Report::default(); workers]),
            lag: metrics::gauge!(names::EXPIRY_LAG),
            difference: metrics::gauge!(names::CLOCK_DIFFERENCE),
        }
    }

    /// Whether the worker has not reported for a while; notes that it does now.
    pub(super) fn is_due(&self, worker: usize, now: Now) -> bool {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(report) = workers.get_mut(worker) else { return false };
        let due = report.at.is_none_or(|at| now.monotonic.saturating_sub(at) >= EVERY);
        if due {
            report.at = Some(now.monotonic);
        }
        due
    }

    /// How overdue the worker's oldest overdue record is, and how far the host's clock is ahead of
    /// the broker's.
    pub(super) fn report(&self, worker: usize, lag_ms: i64, difference_ms: Option<i64>) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = workers.get_mut(worker) {
            report.lag_ms = lag_ms;
            report.difference_ms = difference_ms.unwrap_or(report.difference_ms);
        }
        let lag_ms = workers.iter().map(|report| report.lag_ms).max().unwrap_or_default();
        let furthest = workers.iter().map(|report| report.difference_ms);
        let difference_ms = furthest.max_by_key(|ms| ms.abs()).unwrap_or_default();
        self.lag.set(seconds(lag_ms));
        self.difference.set(seconds(difference_ms));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of seconds needs no more than 53 bits")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
