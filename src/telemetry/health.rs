//! Whether the process may be sent work: what the workers report, and what follows from it.
//!
//! Invariant: ready means that the control topic is read, that every worker has its place in the
//! group, that every assigned partition is restored, and that nothing is stopping.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The health of the process, shared by its workers and the HTTP server.
///
/// Workers report rarely (at start, at a rebalance, at the end), so one lock is enough.
#[derive(Debug)]
pub struct Health {
    state: Mutex<State>,
    started: Instant,
    /// When each worker took its last step (ms since the start); 0: none yet.
    steps: Vec<AtomicU64>,
}

#[derive(Debug)]
struct State {
    instance: Option<String>,
    workers: usize,
    joined: BTreeSet<usize>,
    control_read: bool,
    /// By worker, topic and partition; the worker is part of the key because the new owner of a
    /// partition may report before the old one has let go of it.
    partitions: BTreeMap<(usize, String, i32), Share>,
    /// Changelog records that each worker still has to read.
    restore_left: BTreeMap<usize, u64>,
    caution: Option<String>,
    standby: Option<StandbyReport>,
    drain: Drain,
    stopping: bool,
    fatal: Option<String>,
}

/// How far a partition of this process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    /// Its ledger is complete.
    restored: bool,
    /// The control records below this offset are applied to it, and that is committed.
    control_offset: Option<i64>,
}

/// A partition of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// Its input topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Its ledger is complete.
    pub restored: bool,
    /// The control records below this offset are applied to it; none: not known yet.
    pub control_offset: Option<i64>,
}

/// How far the process is in leaving its group for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drain {
    /// Nobody has asked for it.
    #[default]
    Not,
    /// Its workers finish, and leave.
    Draining,
    /// It has left.
    Drained,
}

impl Drain {
    /// Why the process takes no work; none: it does.
    fn why(self) -> Option<&'static str> {
        match self {
            Self::Not => None,
            Self::Draining => Some("draining: leaving the group"),
            Self::Drained => Some("drained: it has left the group"),
        }
    }
}

/// How far the partitions are followed that this process is a standby of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyReport {
    /// Partitions that it is to follow.
    pub wanted: usize,
    /// Of these, the ones of which it had applied everything when it last looked.
    pub current: usize,
    /// Changelog records that it lacks.
    pub behind: u64,
}

/// The answer to "may I be sent work?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Yes.
    Ready,
    /// No, and why, in a few words.
    NotReady(String),
}

/// What there is to show of the health at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The process's name in its group, once it is known.
    pub instance: Option<String>,
    /// Workers of this process.
    pub workers: usize,
    /// Workers that have been given their share (which may be empty).
    pub workers_joined: usize,
    /// The control topic was read to its end.
    pub control_read: bool,
    /// Partitions assigned to this process.
    pub partitions_assigned: usize,
    /// Of these, the ones whose ledger is complete.
    pub partitions_restored: usize,
    /// Changelog records that the others still have to read, as far as known.
    pub restore_left: u64,
    /// Why every tombstone is stopped, if it is (guarantee 7 of the contract).
    pub caution: Option<String>,
    /// The partitions that it follows, where it is a standby.
    pub standby: Option<StandbyReport>,
    /// Whether it leaves its group.
    pub drain: Drain,
    /// The process is stopping.
    pub stopping: bool,
    /// What ended the work for good, if anything did.
    pub fatal: Option<String>,
}

impl Health {
    /// The health of a process that is about to start so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let state = State {
            instance: None,
            workers,
            joined: BTreeSet::new(),
            control_read: false,
            partitions: BTreeMap::new(),
            restore_left: BTreeMap::new(),
            caution: None,
            standby: None,
            drain: Drain::Not,
            stopping: false,
            fatal: None,
        };
        let steps = (0..workers).map(|_| AtomicU64::new(0)).collect();
        Self { state: Mutex::new(state), started: Instant::now(), steps }
    }

    /// The worker takes a step.
    pub fn step(&self, worker: usize) {
        if let Some(step) = self.steps.get(worker) {
            step.store(self.elapsed_ms().max(1), Ordering::Relaxed);
        }
    }

    /// How long ago the worker took its last step that has taken none for longest.
    #[must_use]
    pub fn silence(&self) -> Duration {
        let steps = self.steps.iter().map(|step| step.load(Ordering::Relaxed));
        let oldest_ms = steps.filter(|&at_ms| at_ms > 0).min();
        let silence_ms = oldest_ms.map_or(0, |at_ms| self.elapsed_ms().saturating_sub(at_ms));
        Duration::from_millis(silence_ms)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The process's name in its group.
    pub fn is_called(&self, instance: &str) {
        self.lock().instance = Some(instance.to_owned());
    }

    /// The control topic has been read to its end.
    pub fn control_read(&self) {
        self.lock().control_read = true;
    }

    /// The worker has been given its share of the partitions, be it empty.
    pub fn joined(&self, worker: usize) {
        self.lock().joined.insert(worker);
    }

    /// A partition is the worker's; its ledger is not yet complete.
    pub fn assigned(&self, worker: usize, topic: &str, partition: i32) {
        self.lock().partitions.insert((worker, topic.to_owned(), partition), Share::default());
    }

    /// The ledger of an assigned partition is complete.
    pub fn restored(&self, worker: usize, topic: &str, partition: i32) {
        let mut state = self.lock();
        if let Some(share) = state.partitions.get_mut(&(worker, topic.to_owned(), partition)) {
            share.restored = true;
        }
    }

    /// The control records below an offset are applied to an assigned partition.
    pub fn applied(&self, worker: usize, topic: &str, partition: i32, control_offset: i64) {
        let mut state = self.lock();
        if let Some(share) = state.partitions.get_mut(&(worker, topic.to_owned(), partition)) {
            share.control_offset = Some(control_offset);
        }
    }

    /// How many changelog records the worker still has to read.
    pub fn restoring(&self, worker: usize, left: u64) {
        self.lock().restore_left.insert(worker, left);
    }

    /// A partition is no longer the worker's.
    pub fn revoked(&self, worker: usize, topic: &str, partition: i32) {
        self.lock().partitions.remove(&(worker, topic.to_owned(), partition));
    }

    /// Every tombstone is stopped, and why; none: they flow.
    pub fn caution(&self, why: Option<String>) {
        self.lock().caution = why;
    }

    /// How far the partitions are followed that the process is a standby of.
    pub fn standby(&self, report: StandbyReport) {
        self.lock().standby = Some(report);
    }

    /// The process leaves its group for good, or has left it.
    pub fn drain(&self, drain: Drain) {
        self.lock().drain = drain;
    }

    /// The process is stopping.
    pub fn stopping(&self) {
        self.lock().stopping = true;
    }

    /// The work has ended for good; the first reason is kept.
    pub fn fatal(&self, why: impl fmt::Display) {
        self.lock().fatal.get_or_insert_with(|| why.to_string());
    }

    /// May the process be sent work?
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let now = self.snapshot();
        let why = if let Some(fatal) = now.fatal {
            format!("failed: {fatal}")
        } else if now.stopping {
            "stopping".to_owned()
        } else if let Some(why) = now.drain.why() {
            why.to_owned()
        } else if !now.control_read {
            "reading the control topic".to_owned()
        } else if now.workers_joined < now.workers {
            format!("joining the group: {} of {} workers", now.workers_joined, now.workers)
        } else if now.partitions_restored < now.partitions_assigned {
            let (done, all) = (now.partitions_restored, now.partitions_assigned);
            match now.restore_left {
                0 => format!("restoring: {done} of {all} partitions are ready"),
                left => format!(
                    "restoring: {done} of {all} partitions are ready, {left} changelog records left"
                ),
            }
        } else {
            return Readiness::Ready;
        };
        Readiness::NotReady(why)
    }

    /// The partitions of this process.
    #[must_use]
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        let state = self.lock();
        let statuses = state.partitions.iter().map(|((_, topic, partition), share)| {
            let Share { restored, control_offset } = *share;
            PartitionStatus {
                topic: topic.clone(),
                partition: *partition,
                restored,
                control_offset,
            }
        });
        statuses.collect()
    }

    /// All of it at one moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let state = self.lock();
        let restored = state.partitions.values().filter(|share| share.restored);
        Snapshot {
            instance: state.instance.clone(),
            workers: state.workers,
            workers_joined: state.joined.len(),
            control_read: state.control_read,
            partitions_assigned: state.partitions.len(),
            partitions_restored: restored.count(),
            restore_left: state.restore_left.values().sum(),
            caution: state.caution.clone(),
            standby: state.standby,
            drain: state.drain,
            stopping: state.stopping,
            fatal: state.fatal.clone(),
        }
    }

    /// A panic elsewhere cannot leave the state half written: each change is one assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_ready(why: &str) -> Readiness {
        Readiness::NotReady(why.to_owned())
    }

    #[test]
    fn ready_once_everything_assigned_is_restored_and_until_it_stops() {
        let health = Health::new(1);
        assert_eq!(health.readiness(), not_ready("reading the control topic"));
        health.control_read();
        assert_eq!(health.readiness(), not_ready("joining the group: 0 of 1 workers"));
        health.assigned(0, "im.messages", 0);
        health.assigned(0, "im.messages", 1);
        health.joined(0);
        health.restored(0, "im.messages", 0);
        assert_eq!(health.readiness(), not_ready("restoring: 1 of 2 partitions are ready"));
        health.restoring(0, 70);
        assert_eq!(
            health.readiness(),
            not_ready("restoring: 1 of 2 partitions are ready, 70 changelog records left")
        );
        health.restored(0, "im.messages", 1);
        assert_eq!(health.readiness(), Readiness::Ready);
        health.stopping();
        assert_eq!(health.readiness(), not_ready("stopping"));
    }

    #[test]
    fn a_process_that_leaves_its_group_takes_no_work() {
        let health = Health::new(0);
        health.control_read();
        assert_eq!(health.readiness(), Readiness::Ready);
        health.drain(Drain::Draining);
        assert_eq!(health.readiness(), not_ready("draining: leaving the group"));
        health.drain(Drain::Drained);
        assert_eq!(health.readiness(), not_ready("drained: it has left the group"));
        health.stopping();
        assert_eq!(health.readiness(), not_ready("stopping"));
    }

    #[test]
    fn a_worker_without_partitions_is_ready() {
        let health = Health::new(1);
        health.control_read();
        health.joined(0);
        assert_eq!(health.readiness(), Readiness::Ready);
    }

    #[test]
    fn a_partition_that_moves_between_workers_counts_for_its_new_owner() {
        let health = Health::new(2);
        health.control_read();
        health.joined(0);
        health.joined(1);
        health.assigned(0, "im.messages", 0);
        health.restored(0, "im.messages", 0);
        health.assigned(1, "im.messages", 0);
        health.revoked(0, "im.messages", 0);
        assert_eq!(health.readiness(), not_ready("restoring: 0 of 1 partitions are ready"));
    }

    #[test]
    fn stopped_tombstones_are_shown_but_do_not_take_the_process_out_of_service() {
        let health = Health::new(0);
        health.control_read();
        health.caution(Some("the control topic was recreated".to_owned()));
        assert_eq!(health.readiness(), Readiness::Ready);
        assert!(health.snapshot().caution.is_some());
    }

    #[test]
    fn the_first_fatal_reason_is_kept() {
        let health = Health::new(0);
        health.fatal("the disk is full");
        health.fatal("a later one");
        assert_eq!(health.readiness(), not_ready("failed: the disk is full"));
    }
}
