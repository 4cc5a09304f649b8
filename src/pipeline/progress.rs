//! How overdue expiry is, how far the clocks differ and what the partitions hold: over all workers,
//! as gauges.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lethe_engine::{Class, Storage};
use metrics::{Counter, Gauge};

use super::census::Holdings;
use super::clock::Now;
use super::seam::PartitionId;
use super::settings::{CLASSES, Topics};
use crate::telemetry::names;

/// How often a worker reports.
const EVERY: Duration = Duration::from_millis(250);

/// The workers' reports.
pub struct Progress {
    workers: Mutex<Vec<Report>>,
    lag: Gauge,
    difference: Gauge,
    live: Vec<(Class, Storage, Gauge)>,
    horizon_age: Vec<(Class, Storage, Gauge)>,
    kept: Vec<(Class, Gauge)>,
    holds: Gauge,
    changes_waiting: Gauge,
    change_due: Gauge,
    sweeps: Gauge,
    erasure_age: Gauge,
    restored: Vec<(Class, Counter)>,
    remaining: Vec<(Class, Gauge)>,
    replays: Vec<(Class, Gauge, Gauge)>,
    state_bytes: Gauge,
    changelog_bytes: Gauge,
    snapshot_age: Gauge,
    snapshot_stall: Gauge,
    consumer_lag: Vec<(Class, Gauge)>,
    pending_bytes: Gauge,
    stalled: Gauge,
    memory_bytes: Gauge,
}

#[derive(Clone, Debug, Default)]
struct Report {
    at: Option<Duration>,
    lag_ms: i64,
    difference_ms: i64,
    holdings: Holdings,
}

impl Progress {
    /// Of so many workers.
    #[must_use]
    pub fn new(workers: usize, topics: &Topics) -> Self {
        let by_storage = |name: &'static str| {
            let both = |class| [Storage::Stored, Storage::Transit].map(|storage| (class, storage));
            let each = CLASSES.into_iter().flat_map(both);
            let gauge = |(class, storage): (Class, Storage)| {
                let (of, is) = (class.name(), storage.name());
                (class, storage, metrics::gauge!(name, "class" => of, "storage" => is))
            };
            each.map(gauge).collect()
        };
        let kept = |class: Class| metrics::gauge!(names::KEPT_RECORDS, "class" => class.name());
        let input = |class| topics.input(class).to_owned();
        let restored = |class| metrics::counter!(names::RESTORED_RECORDS, "topic" => input(class));
        let lag = |class| metrics::gauge!(names::CONSUMER_LAG, "topic" => input(class));
        let replays = |class: Class| {
            let open = metrics::gauge!(names::REPLAYS, "class" => class.name());
            (class, open, metrics::gauge!(names::REPLAY_REMAINING, "class" => class.name()))
        };
        let remaining = |class| metrics::gauge!(names::RESTORE_REMAINING, "topic" => input(class));
        Self {
            live: by_storage(names::LIVE_RECORDS),
            horizon_age: by_storage(names::HORIZON_AGE),
            kept: CLASSES.map(|class| (class, kept(class))).into(),
            holds: metrics::gauge!(names::HOLDS),
            changes_waiting: metrics::gauge!(names::CHANGES_WAITING),
            change_due: metrics::gauge!(names::CHANGE_DUE),
            sweeps: metrics::gauge!(names::SWEEPS),
            erasure_age: metrics::gauge!(names::ERASURE_AGE),
            restored: CLASSES.map(|class| (class, restored(class))).into(),
            remaining: CLASSES.map(|class| (class, remaining(class))).into(),
            replays: CLASSES.map(replays).into(),
            consumer_lag: CLASSES.map(|class| (class, lag(class))).into(),
            pending_bytes: metrics::gauge!(names::ROCKSDB_PENDING),
            stalled: metrics::gauge!(names::ROCKSDB_STALLED),
            memory_bytes: metrics::gauge!(names::ROCKSDB_MEMORY),
            state_bytes: metrics::gauge!(names::STATE_BYTES),
            changelog_bytes: metrics::gauge!(names::CHANGELOG_BYTES),
            snapshot_age: metrics::gauge!(names::SNAPSHOT_AGE),
            snapshot_stall: metrics::gauge!(names::SNAPSHOT_STALL),
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
    pub(super) fn report(
        &self,
        worker: usize,
        lag_ms: i64,
        difference_ms: Option<i64>,
        holdings: Holdings,
    ) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = workers.get_mut(worker) {
            report.lag_ms = lag_ms;
            report.difference_ms = difference_ms.unwrap_or(report.difference_ms);
            report.holdings = holdings;
            for (class, counter) in &self.restored {
                counter.increment(report.holdings.restored.get(class).copied().unwrap_or_default());
            }
        }
        self.publish(&workers);
        let lag_ms = workers.iter().map(|report| report.lag_ms).max().unwrap_or_default();
        let furthest = workers.iter().map(|report| report.difference_ms);
        let difference_ms = furthest.max_by_key(|ms| ms.abs()).unwrap_or_default();
        self.lag.set(seconds(lag_ms));
        self.difference.set(seconds(difference_ms));
    }

    /// The next input offset of each partition of this process.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<PartitionId, i64> {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().flat_map(|report| report.holdings.positions.clone()).collect()
    }

    /// How far these positions are behind the ends of their partitions.
    pub fn behind(
        &self,
        positions: &BTreeMap<PartitionId, i64>,
        ends: &BTreeMap<PartitionId, i64>,
    ) {
        for (class, gauge) in &self.consumer_lag {
            let of_class = positions.iter().filter(|(id, _)| id.class == *class);
            let behind = of_class
                .filter_map(|(id, next)| u64::try_from(ends.get(id)?.saturating_sub(*next)).ok());
            gauge.set(number(behind.sum()));
        }
    }

    fn publish(&self, workers: &[Report]) {
        let held = || workers.iter().map(|report| &report.holdings);
        for (class, storage, gauge) in &self.live {
            let of = |held: &Holdings| held.live.get(&(*class, *storage)).copied();
            gauge.set(number(held().filter_map(of).sum()));
        }
        for (class, gauge) in &self.remaining {
            gauge.set(number(held().filter_map(|held| held.remaining.get(class)).sum()));
        }
        for (class, open, remaining) in &self.replays {
            let of = |held: &Holdings| held.replays.get(class).copied().unwrap_or_default();
            open.set(number(held().map(|held| of(held).0).sum()));
            remaining.set(number(held().map(|held| of(held).1).sum()));
        }
        for (class, storage, gauge) in &self.horizon_age {
            let of = |held: &Holdings| held.horizon_age_s.get(&(*class, *storage)).copied();
            gauge.set(number(held().filter_map(of).max().unwrap_or_default()));
        }
        for (class, gauge) in &self.kept {
            gauge.set(number(held().filter_map(|held| held.kept.get(class)).sum()));
        }
        self.holds.set(number(held().map(|held| held.holds).max().unwrap_or_default()));
        let waiting = held().map(|held| held.waiting).max().unwrap_or_default();
        self.changes_waiting.set(number(waiting));
        self.change_due.set(number(held().filter_map(|held| held.due_s).min().unwrap_or_default()));
        self.sweeps.set(number(held().map(|held| held.sweeps).sum()));
        let erasing_s = held().map(|held| held.erasure_age_s).max().unwrap_or_default();
        self.erasure_age.set(number(erasing_s));
        self.state_bytes.set(number(held().map(|held| held.state_bytes).sum()));
        self.changelog_bytes.set(number(held().map(|held| held.changelog_bytes).sum()));
        self.pending_bytes.set(number(held().map(|held| held.pending_bytes).sum()));
        self.stalled.set(number(held().map(|held| held.stalled).sum()));
        self.memory_bytes
            .set(number(held().map(|held| held.memory_bytes).max().unwrap_or_default()));
        let oldest_s = held().map(|held| held.snapshot_age_s).max().unwrap_or_default();
        self.snapshot_age.set(number(oldest_s));
        let stall = held().map(|held| held.snapshot_stall).max().unwrap_or_default();
        self.snapshot_stall.set(stall.as_secs_f64());
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge needs no more than 53 bits")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of seconds needs no more than 53 bits")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
