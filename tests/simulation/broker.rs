//! The simulated cluster: logs, the transaction coordinator, and time.
//!
//! As Kafka does it: a commit is decided before its markers are written; initialising a transactional
//! id ends what is open and fences whoever had it; what is open too long is aborted by the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use lethe::pipeline::seam::{Committed, OutputRecord, PartitionId, Position, Role};
use lethe::pipeline::settings::TRANSACTION_TIMEOUT;

use crate::group::Group;
use crate::log::{Log, Record};
use crate::random::Random;

/// When every run begins: 2026-01-01T00:00:00Z (Unix ms).
pub(crate) const START_MS: i64 = 1_767_225_600_000;
/// How late the markers of an ended transaction may be.
const MARKERS_LATE_MS: i64 = 150;

/// What becomes of the wish that a log's front be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    Done,
    Refused,
    /// The cluster says from the beginning that it cannot.
    Unknown,
}

/// How late a removal may be.
const REMOVAL_LATE_MS: i64 = 2_000;

/// The call came from somebody whose place was taken.
#[derive(Debug)]
pub(crate) struct Fenced;

#[derive(Debug, Default)]
struct Transactional {
    epoch: i32,
    open: Option<Open>,
    ending: Option<Ending>,
}

#[derive(Debug)]
struct Open {
    serial: u64,
    since_ms: i64,
    logs: BTreeSet<(Role, i32)>,
    positions: Vec<Position>,
}

/// Decided, but not all of its markers are written: each has its own time.
#[derive(Debug)]
struct Ending {
    serial: u64,
    commit: bool,
    logs: Vec<(i64, (Role, i32))>,
    positions_at_ms: i64,
    positions: Vec<Position>,
}

impl Ending {
    fn is_over(&self) -> bool {
        self.logs.is_empty() && self.positions.is_empty()
    }
}

pub(crate) struct Broker {
    /// True time (Unix ms).
    pub(crate) now_ms: i64,
    /// How far the broker's clock is ahead of it.
    pub(crate) skew_ms: i64,
    /// The furthest that the broker's clock has ever been ahead of true time: who read it then counts on
    /// from there until it reads it again.
    skew_max_ms: i64,
    pub(crate) random: Random,
    pub(crate) logs: BTreeMap<(Role, i32), Log>,
    pub(crate) group: Group,
    transactional: BTreeMap<String, Transactional>,
    /// Requests to commit that are still on their way.
    late: Vec<(i64, String, i32)>,
    pub(crate) removal: Removal,
    /// It tells committed positions that an open transaction can still change.
    pub(crate) tells_unstable: bool,
    /// What is to be removed of which log, and when.
    removals: Vec<(i64, (Role, i32), i64)>,
    /// Logs whose front was removed, snapshots that came to be read to their end.
    pub(crate) removed: u64,
    pub(crate) restores: u64,
    /// How often the control topic was made.
    pub(crate) control_made: u32,
    serials: u64,
    /// Transactions that were committed.
    pub(crate) commits: u64,
    pub(crate) aborts: u64,
}

impl Broker {
    pub(crate) fn new(random: Random, inputs: Vec<PartitionId>) -> Self {
        Self {
            now_ms: START_MS,
            skew_ms: 0,
            skew_max_ms: 0,
            random,
            logs: BTreeMap::new(),
            group: Group::new(inputs),
            transactional: BTreeMap::new(),
            late: Vec::new(),
            removal: Removal::Done,
            tells_unstable: false,
            removals: Vec::new(),
            removed: 0,
            restores: 0,
            control_made: 1,
            serials: 0,
            commits: 0,
            aborts: 0,
        }
    }

    /// The broker's clock (Unix ms).
    pub(crate) fn clock_ms(&self) -> i64 {
        self.now_ms + self.skew_ms
    }

    pub(crate) fn log(&mut self, role: Role, partition: i32) -> &mut Log {
        self.logs.entry((role, partition)).or_default()
    }

    /// Time passes: whatever is due on the broker happens.
    pub(crate) fn advance(&mut self, ms: i64) {
        self.now_ms += ms;
        self.skew_max_ms = self.skew_max_ms.max(self.skew_ms);
        let now_ms = self.now_ms;
        let timeout_ms = TRANSACTION_TIMEOUT.as_millis() as i64;
        let ids: Vec<String> = self.transactional.keys().cloned().collect();
        for id in ids {
            let of = self.transactional.entry(id.clone()).or_default();
            if of.open.as_ref().is_some_and(|open| now_ms - open.since_ms >= timeout_ms) {
                of.epoch += 1;
                self.end_open(&id, false);
            }
            self.write_markers_due(&id, now_ms);
        }
        let late = std::mem::take(&mut self.late);
        for (at_ms, id, epoch) in late {
            if at_ms > now_ms {
                self.late.push((at_ms, id, epoch));
            } else {
                // Whether it still counts is the epoch's to say.
                let _ = self.end(&id, epoch, true);
            }
        }
        self.remove_due();
        self.group.advance(now_ms, &mut self.random);
    }

    /// Of all that the logs hold.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for ((role, partition), log) in &self.logs {
            (role, partition, log.start, log.end()).hash(&mut hasher);
            for (offset, record) in log.committed() {
                (offset, &record.key, &record.value, record.at_ms).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// Everything that is decided is written.
    pub(crate) fn write_all_markers(&mut self) {
        let ids: Vec<String> = self.transactional.keys().cloned().collect();
        for id in ids {
            self.write_markers(&id);
        }
    }

    /// The control topic's id.
    pub(crate) fn control_id(&self) -> String {
        format!("control-{}", self.control_made)
    }

    /// Removes a log's front, in its own time.
    pub(crate) fn remove_before(&mut self, role: Role, partition: i32, offset: i64) {
        if self.removal == Removal::Done {
            let at_ms = self.now_ms + self.random.ms(0, REMOVAL_LATE_MS);
            self.removals.push((at_ms, (role, partition), offset));
        }
    }

    fn remove_due(&mut self) {
        let (due, later) = std::mem::take(&mut self.removals)
            .into_iter()
            .partition(|(at_ms, ..)| *at_ms <= self.now_ms);
        self.removals = later;
        let due: Vec<(i64, (Role, i32), i64)> = due;
        for (_, (role, partition), offset) in due {
            let log = self.log(role, partition);
            if offset > log.start && offset <= log.end() {
                log.start = offset;
                self.removed += 1;
            }
        }
    }

    /// Ends what the id has left open, and fences whoever had it. Gives its new epoch.
    pub(crate) fn init(&mut self, id: &str) -> i32 {
        self.write_markers(id);
        self.end_open(id, false);
        self.write_markers(id);
        let of = self.transactional.entry(id.to_owned()).or_default();
        of.epoch += 1;
        of.epoch
    }

    /// Appends a record outside of any transaction.
    pub(crate) fn write(
        &mut self,
        role: Role,
        partition: i32,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> i64 {
        let record = self.record(None, Some(key), value, Vec::new());
        self.log(role, partition).append(record)
    }

    /// Appends records of a producer's own transaction, which is aborted.
    pub(crate) fn write_aborted(&mut self, role: Role, partition: i32, key: &[u8], value: &[u8]) {
        self.serials += 1;
        let serial = self.serials;
        let record = self.record(Some(serial), Some(key), Some(value), Vec::new());
        let log = self.log(role, partition);
        log.append(record);
        log.mark(serial, false);
    }

    fn record(
        &self,
        serial: Option<u64>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Record {
        Record {
            serial,
            key: key.map(Into::into),
            value: value.map(Into::into),
            headers: headers.into(),
            at_ms: self.clock_ms(),
            clock_max_ms: self.now_ms + self.skew_max_ms,
        }
    }

    fn open(&mut self, id: &str, epoch: i32) -> Result<&mut Open, Fenced> {
        if self.transactional.get(id).is_none_or(|of| of.epoch != epoch) {
            return Err(Fenced);
        }
        // The broker says CONCURRENT_TRANSACTIONS until the markers are there; the client waits.
        self.write_markers(id);
        self.serials += 1;
        let (serial, since_ms) = (self.serials, self.now_ms);
        let of = self.transactional.entry(id.to_owned()).or_default();
        Ok(of.open.get_or_insert_with(|| Open {
            serial,
            since_ms,
            logs: BTreeSet::new(),
            positions: Vec::new(),
        }))
    }

    /// Appends a record of a transaction. Gives its offset and the broker's time of it.
    pub(crate) fn produce(
        &mut self,
        id: &str,
        epoch: i32,
        output: &OutputRecord<'_>,
    ) -> Result<(i64, i64), Fenced> {
        let open = self.open(id, epoch)?;
        let serial = open.serial;
        open.logs.insert((output.role, output.partition));
        let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers =
            output.headers.iter().map(|(name, value)| (name.to_vec(), own(value))).collect();
        let record = self.record(Some(serial), output.key, output.value, headers);
        let at_ms = record.at_ms;
        Ok((self.log(output.role, output.partition).append(record), at_ms))
    }

    /// Adds positions to a transaction. Whether the member may was asked before.
    pub(crate) fn add_positions(
        &mut self,
        id: &str,
        epoch: i32,
        positions: &[Position],
    ) -> Result<(), Fenced> {
        self.open(id, epoch)?.positions.extend_from_slice(positions);
        Ok(())
    }

    /// Ends a transaction: decided at once, its markers follow.
    pub(crate) fn end(&mut self, id: &str, epoch: i32, commit: bool) -> Result<(), Fenced> {
        if self.transactional.get(id).is_none_or(|of| of.epoch != epoch) {
            return Err(Fenced);
        }
        self.end_open(id, commit);
        Ok(())
    }

    /// A request to commit that is still on its way.
    pub(crate) fn end_late(&mut self, id: &str, epoch: i32) {
        let at_ms = self.now_ms + self.random.ms(1, 3_000);
        self.late.push((at_ms, id.to_owned(), epoch));
    }

    fn end_open(&mut self, id: &str, commit: bool) {
        let Some(of) = self.transactional.get_mut(id) else { return };
        let Some(open) = of.open.take() else { return };
        if commit {
            self.commits += 1;
        } else {
            self.aborts += 1;
        }
        let mut late = || self.now_ms + self.random.ms(0, MARKERS_LATE_MS);
        of.ending = Some(Ending {
            serial: open.serial,
            commit,
            logs: open.logs.into_iter().map(|log| (late(), log)).collect(),
            positions_at_ms: late(),
            positions: open.positions,
        });
    }

    /// The coordinator takes nothing new before all markers are there.
    fn write_markers(&mut self, id: &str) {
        self.write_markers_due(id, i64::MAX);
    }

    fn write_markers_due(&mut self, id: &str, now_ms: i64) {
        let Some(of) = self.transactional.get_mut(id) else { return };
        let Some(ending) = &mut of.ending else { return };
        let (serial, commit) = (ending.serial, ending.commit);
        ending.logs.retain(|&(at_ms, log)| {
            if at_ms <= now_ms {
                self.logs.entry(log).or_default().mark(serial, commit);
            }
            at_ms > now_ms
        });
        if ending.positions_at_ms <= now_ms {
            for Position { id, offset, metadata } in std::mem::take(&mut ending.positions) {
                if commit {
                    self.group.committed.insert(id, Committed { offset, metadata });
                }
            }
        }
        if ending.is_over() {
            of.ending = None;
        }
    }

    /// Whether an open transaction may still change the partition's committed position.
    pub(crate) fn is_unstable(&self, id: PartitionId) -> bool {
        let holds = |all: &[Position]| all.iter().any(|position| position.id == id);
        self.transactional.values().any(|of| {
            of.open.as_ref().is_some_and(|open| holds(&open.positions))
                || of.ending.as_ref().is_some_and(|ending| holds(&ending.positions))
        })
    }
}
