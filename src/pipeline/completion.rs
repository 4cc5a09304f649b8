//! When an erasure has been carried out in every partition: the partitions say so on `lethe.audit`, and whoever has
//! the reporting one reads that there, and says once that it is completed.
//!
//! Invariants: what is read is committed; the report of completion and the mark in the reporting partition's ledger are
//! one transaction, so that it comes once; a report that is read twice counts once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::{HostClock, Now};
use super::desk::Trouble;
use super::outputs::{Counted, REPORTER};
use super::partition::Stage;
use super::seam::{Fault, Kafka, LogId, LogPolled, LogReader, PartitionId, Role};
use super::settings::CLASSES;
use super::worker::Worker;
use crate::audit::{self, ErasureDone, Found, Report, What};

/// Where the reports are.
const AUDIT: LogId = LogId { role: Role::Audit, partition: audit::PARTITION };
/// Records that one step takes.
const STEP_RECORDS_MAX: usize = 10_000;
/// How long a step waits for a record.
const WAIT: Duration = Duration::from_millis(100);
/// The clocks of the control topic's and the audit's brokers may differ by so much.
const MARGIN_MS: i64 = 10 * 60 * 1_000;
/// How often it is looked whether partitions have come that were not there, or an abort has undone a report.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the partitions have reported of the erasures that are not completed.
#[derive(Debug, Default)]
pub struct Completions {
    state: Mutex<State>,
    /// Goes up with each report.
    version: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Erasures that somebody waits for, and when each was written (Unix ms).
    wanted: BTreeMap<i64, i64>,
    done: BTreeMap<i64, Done>,
}

/// What the partitions have reported of one erasure.
#[derive(Clone, Debug, Default)]
struct Done {
    partitions: BTreeSet<PartitionId>,
    by_class: BTreeMap<&'static str, Found>,
}

impl Completions {
    /// Waits for these erasures, and no others.
    fn want(&self, wanted: &BTreeMap<i64, i64>) {
        let mut state = self.lock();
        if state.wanted == *wanted {
            return;
        }
        state.wanted.clone_from(wanted);
        // One that the reporting partition has not come to yet is behind all that it knows.
        let last = wanted.keys().last().copied().unwrap_or(i64::MAX);
        state.done.retain(|offset, _| *offset > last || wanted.contains_key(offset));
    }

    /// When the first erasure was written that somebody waits for (Unix ms).
    fn since_ms(&self) -> Option<i64> {
        self.lock().wanted.values().copied().min()
    }

    fn add(&self, report: &ErasureDone) {
        let Some(partition) = report.partition() else { return };
        let mut state = self.lock();
        let done = state.done.entry(report.control_offset).or_default();
        if done.partitions.insert(partition) {
            done.by_class.entry(partition.class.name()).or_default().add(report.found);
            self.version.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Erasures that all of these partitions have carried out.
    fn completed(&self, all: &BTreeSet<PartitionId>) -> Vec<(i64, Done)> {
        let state = self.lock();
        let whole = state.done.iter().filter(|(offset, done)| {
            state.wanted.contains_key(offset) && done.partitions.is_superset(all)
        });
        whole.map(|(offset, done)| (*offset, done.clone())).collect()
    }

    fn forget(&self) {
        self.lock().done.clear();
    }

    /// A panic elsewhere leaves the state whole: each change is one call.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reader of the reports; it reads while somebody waits for one.
pub struct ReportReader<L> {
    log: L,
    completions: Arc<Completions>,
    /// It reads what was reported since (Unix ms).
    since_ms: Option<i64>,
}

impl<L: LogReader> ReportReader<L> {
    /// Reads through `log`.
    pub fn new(log: L, completions: Arc<Completions>) -> Self {
        Self { log, completions, since_ms: None }
    }

    /// Reads what there is. Returns whether there is anything to read for now. A fault is for the caller to wait
    /// about.
    ///
    /// # Errors
    /// The reports cannot be read.
    pub fn step(&mut self) -> Result<bool, Fault> {
        let Some(since_ms) = self.completions.since_ms() else {
            if self.since_ms.take().is_some() {
                self.log.close(AUDIT);
                self.completions.forget();
            }
            return Ok(false);
        };
        if self.since_ms.is_none_or(|reads_ms| since_ms < reads_ms) {
            self.open(since_ms)?;
        }
        let mut wait = WAIT;
        for _ in 0..STEP_RECORDS_MAX {
            let completions = &self.completions;
            let polled = self.log.poll(std::mem::take(&mut wait), &mut |record| {
                if let Some(done) = record.value.and_then(ErasureDone::read) {
                    completions.add(&done);
                }
            })?;
            match polled {
                LogPolled::Record => {}
                LogPolled::OutOfRange(_) => self.since_ms = None,
                LogPolled::End(_) | LogPolled::Nothing => break,
            }
        }
        Ok(true)
    }

    fn open(&mut self, since_ms: i64) -> Result<(), Fault> {
        let first = match self.log.since(AUDIT, since_ms.saturating_sub(MARGIN_MS))? {
            Some(offset) => Some(offset),
            None => self.log.stable(&[AUDIT])?.first().map(|bounds| bounds.start),
        };
        self.log.open(AUDIT, first.unwrap_or_default())?;
        self.since_ms = Some(since_ms);
        Ok(())
    }
}

/// What a worker remembers of its looks at the reports.
#[derive(Debug, Default)]
pub(super) struct Looked {
    version: u64,
    at: Option<Duration>,
    waits: bool,
}

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// Says of erasures that they are completed, where this worker has the partition that does.
    pub(super) fn complete_erasures(&mut self, now: Now) -> Result<(), Trouble> {
        let reporter = self.desk.partitions.get(&REPORTER);
        let Some(Stage::Live(live)) = reporter.filter(|_| self.desk.time.ending_ms(now).is_some())
        else {
            if std::mem::take(&mut self.completion.waits) {
                self.completions.want(&BTreeMap::new());
            }
            return Ok(());
        };
        let wanted = live.engine.uncompleted();
        if wanted.is_empty() && !self.completion.waits {
            return Ok(());
        }
        let version = self.completions.version.load(Ordering::Acquire);
        let due = self.completion.at.is_none_or(|at| now.monotonic >= at + LOOK_EVERY);
        if self.completion.waits && version == self.completion.version && !due {
            return Ok(());
        }
        self.completions.want(wanted);
        self.completion = Looked { version, at: Some(now.monotonic), waits: !wanted.is_empty() };
        if wanted.is_empty() || !live.started {
            return Ok(());
        }
        let all = match self.all_partitions() {
            Ok(all) => all,
            Err(fault) => {
                tracing::debug!(%fault, "asking for the partitions of the inputs");
                return Ok(());
            }
        };
        for (offset, done) in self.completions.completed(&all) {
            self.report_completed(now, offset, done)?;
        }
        Ok(())
    }

    /// Every partition of every input.
    fn all_partitions(&self) -> Result<BTreeSet<PartitionId>, Fault> {
        let mut all = BTreeSet::new();
        for class in CLASSES {
            let count = self.kafka.partitions(Role::Input(class))?;
            all.extend((0..count).map(|partition| PartitionId { class, partition }));
        }
        Ok(all)
    }

    fn report_completed(&mut self, now: Now, offset: i64, done: Done) -> Result<(), Trouble> {
        self.desk.begin(now)?;
        let desk = &mut self.desk;
        let Some(Stage::Live(live)) = desk.partitions.get_mut(&REPORTER) else { return Ok(()) };
        let Some(key) = live.engine.complete_erasure(&mut live.store, offset)? else {
            return Ok(());
        };
        live.touched = true;
        live.stirred = true;
        let (partitions, by_class) = (done.partitions.len(), done.by_class);
        let what = What::ErasureCompleted { control_offset: offset, partitions, by_class };
        let at_ms = desk.time.ending_ms(now).unwrap_or_default();
        let (output, counts) = (&mut desk.output, &mut live.counts);
        desk.writer.audit(&mut Counted { output, counts }, &key, &Report::new(what, at_ms))?;
        desk.writer.written += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lethe_engine::Class;

    use super::*;

    fn done(control_offset: i64, class: Class, partition: i32) -> ErasureDone {
        let found = Found { ended: 1, first_ms: Some(2), last_ms: Some(2), ..Found::default() };
        let class = class.name().to_owned();
        ErasureDone { control_offset, class, partition, in_force_at_ms: 0, found }
    }

    #[test]
    fn an_erasure_is_completed_once_every_partition_has_said_so() {
        let all: BTreeSet<PartitionId> =
            [(Class::Message, 0), (Class::Message, 1), (Class::Config, 0)]
                .map(|(class, partition)| PartitionId { class, partition })
                .into();
        let completions = Completions::default();
        completions.want(&BTreeMap::from([(7, 100), (9, 50)]));
        assert_eq!(completions.since_ms(), Some(50));
        for _ in 0..2 {
            completions.add(&done(7, Class::Message, 0));
            completions.add(&done(7, Class::Message, 1));
            completions.add(&done(8, Class::Message, 0));
        }
        assert!(completions.completed(&all).is_empty());
        completions.add(&done(7, Class::Config, 0));
        let completed = completions.completed(&all);
        let offsets: Vec<i64> = completed.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, [7], "8 is nobody's");
        let found = completed.first().and_then(|(_, done)| done.by_class.get("message"));
        assert_eq!(found.map(|found| found.ended), Some(2), "each partition once");
        // What was completed is forgotten; what is not known yet is not.
        completions.add(&done(11, Class::Message, 0));
        completions.want(&BTreeMap::from([(9, 50)]));
        let known: Vec<i64> = completions.lock().done.keys().copied().collect();
        assert_eq!(known, [11]);
    }
}
