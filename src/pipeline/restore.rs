//! Taking over a partition: its ledger follows its changelog until nothing can be missing.
//!
//! The order is what keeps two owners apart: the producer is initialised before (so that this
//! worker's own open transaction has ended); then the stable committed position, then the
//! changelog's end as a read-uncommitted client sees it, then reading past that end; and the
//! sequences of both must agree. The last stable offset alone would hide another owner's deltas.
//!
//! The partitions of a worker go this way together: they are opened at once, asked about with one
//! request each way, and read side by side, in slices beside the partitions that work.

use std::path::PathBuf;
use std::time::Duration;

use lethe_state::{Delta, Remedy, Restored, StateError, Store};

use super::clock::{HostClock, Now};
use super::desk::Trouble;
use super::directory::partition_path;
use super::error::PipelineError;
use super::partition::{Goal, LastDelta, Restoring, Stage};
use super::provenance::Provenance;
use super::seam::{
    Bounds, Committed, Fault, Input, Kafka, LogId, LogPolled, LogReader, LogRecord, PartitionId,
    Role,
};
use super::settings::{STEP_RESTORE_BYTES_MAX, STEP_RESTORE_RECORDS_MAX};
use super::takeover::Place;
use super::transaction::{Mark, REBUILDING};
use super::worker::Worker;

/// How long a partition is left alone that waits for something of the broker's.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
/// How long it waits for the control topic to be read: some milliseconds at a start.
const CONTROL_PAUSE: Duration = Duration::from_millis(5);
/// How long a poll of changelogs waits where nothing else is to be done.
const READ_WAIT: Duration = Duration::from_millis(100);
/// How often answers may disagree before that is final: another owner's last commit may just
/// be on its way.
const DISAGREEMENTS_MAX: u32 = 250;
/// Partitions that had no answer so often are asked about one by one: the open transaction of one
/// must not hold the others up.
const UNANSWERED_MAX: u32 = 2;
/// How many slices' worth a worker restores in one step that has nothing else to do.
const ALONE_FACTOR: usize = 16;

/// What the group and the broker say of a partition.
struct Answer {
    committed: Option<Committed>,
    whole: Bounds,
    stable: Bounds,
}

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// One slice of restoring, if partitions need it.
    pub(super) fn restore_step(&mut self, now: Now) -> Result<(), PipelineError> {
        self.open_stores(now)?;
        self.ask(now)?;
        self.read(now)
    }

    /// Whether there is a slice to be done at once.
    pub(super) fn is_restoring(&self, now: Now) -> bool {
        self.desk.partitions.values().any(|stage| match stage {
            Stage::Opening { not_before, .. } => *not_before <= now.monotonic,
            Stage::Restoring(restoring) => restoring.not_before <= now.monotonic,
            Stage::Live(_) | Stage::Refused => false,
        })
    }

    /// Reads nothing more of a partition's changelog.
    pub(super) fn close_log(&mut self, id: PartitionId) {
        if self.reading.remove(&id) {
            self.log.close(changelog(id));
        }
    }

    /// Asks where to read to, for all partitions that do not know it yet, and opens their changelogs.
    fn ask(&mut self, now: Now) -> Result<(), PipelineError> {
        let waiting = self.desk.partitions.iter().filter_map(|(&id, stage)| match stage {
            Stage::Restoring(restoring)
                if restoring.goal.is_none() && restoring.not_before <= now.monotonic =>
            {
                Some((id, restoring.unanswered >= UNANSWERED_MAX))
            }
            Stage::Restoring(_) | Stage::Opening { .. } | Stage::Live(_) | Stage::Refused => None,
        });
        let (alone, mut ids): (Vec<_>, Vec<_>) = waiting.partition(|(_, alone)| *alone);
        if ids.is_empty() {
            ids.extend(alone.first());
        }
        let ids: Vec<PartitionId> = ids.into_iter().map(|(id, _)| id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        if self.desk.control.end().is_none() {
            self.rest(&ids, now, CONTROL_PAUSE);
            return Ok(());
        }
        match self.answers(&ids) {
            Ok(answers) => ids.into_iter().zip(answers).try_for_each(|(id, answer)| {
                self.go_on(id, now, |worker, restoring| worker.open_log(id, now, restoring, answer))
            }),
            Err(fault) => {
                for id in &ids {
                    if let Some(Stage::Restoring(restoring)) = self.desk.partitions.get_mut(id) {
                        restoring.unanswered += 1;
                    }
                }
                self.rest(&ids, now, PAUSE);
                self.heard(fault)
            }
        }
    }

    /// The order matters: see above.
    fn answers(&mut self, ids: &[PartitionId]) -> Result<Vec<Answer>, Fault> {
        let logs: Vec<LogId> = ids.iter().map(|&id| changelog(id)).collect();
        let committed = self.input.committed(ids)?;
        let whole = self.log.whole(&logs)?;
        let stable = self.log.stable(&logs)?;
        let answers = committed.into_iter().zip(whole).zip(stable);
        Ok(answers
            .map(|((committed, whole), stable)| Answer { committed, whole, stable })
            .collect())
    }

    /// Leaves partitions alone for a while.
    fn rest(&mut self, ids: &[PartitionId], now: Now, pause: Duration) {
        for id in ids {
            if let Some(Stage::Restoring(restoring)) = self.desk.partitions.get_mut(id) {
                restoring.not_before = now.monotonic + pause;
            }
        }
    }

    /// A fault that passes is said; another one is final.
    fn heard(&mut self, fault: Fault) -> Result<(), PipelineError> {
        match fault {
            Fault::Stop(why) => Err(PipelineError::Kafka(why)),
            fault @ (Fault::Retry(_) | Fault::Abort(_) | Fault::Unknown(_)) => {
                self.say(&fault.to_string());
                Ok(())
            }
        }
    }

    /// Does something about a partition that is being restored, and what follows from its outcome: a
    /// place means that it can start.
    fn go_on(
        &mut self,
        id: PartitionId,
        now: Now,
        act: impl FnOnce(&mut Self, &mut Restoring) -> Result<Option<Place>, Trouble>,
    ) -> Result<(), PipelineError> {
        let mut restoring = match self.desk.partitions.remove(&id) {
            Some(Stage::Restoring(restoring)) => restoring,
            Some(stage @ (Stage::Opening { .. } | Stage::Live(_) | Stage::Refused)) => {
                self.desk.partitions.insert(id, stage);
                return Ok(());
            }
            None => return Ok(()),
        };
        let mut trouble = Ok(());
        let stage = match act(self, &mut restoring) {
            Ok(Some(place)) => self.complete(id, *restoring, place)?,
            Ok(None) => Stage::Restoring(restoring),
            Err(Trouble::Fault(fault)) => {
                // Whatever was open is asked for and opened anew.
                self.close_log(id);
                restoring.goal = None;
                restoring.not_before = now.monotonic + PAUSE;
                trouble = self.heard(fault);
                Stage::Restoring(restoring)
            }
            Err(Trouble::Stop(PipelineError::State(error)))
                if error.remedy() == Remedy::Rebuild && restoring.store.sequence() > 0 =>
            {
                tracing::warn!(%error, "the state is built anew from its changelog");
                self.close_log(id);
                drop(restoring);
                Store::destroy(&self.directory(id))?;
                Stage::opening()
            }
            Err(Trouble::Stop(error)) => return Err(error),
        };
        self.desk.partitions.insert(id, stage);
        trouble
    }

    /// Opens the changelog, where there is anything to read.
    fn open_log(
        &mut self,
        id: PartitionId,
        now: Now,
        restoring: &mut Restoring,
        answer: Answer,
    ) -> Result<Option<Place>, Trouble> {
        let Answer { committed, whole, stable } = answer;
        restoring.unanswered = 0;
        if committed.as_ref().is_some_and(|place| place.metadata == REBUILDING) {
            return Err(self.disagreement(
                id,
                "`lethe rebuild` has begun to put its ledger together and has not ended: let it end, or \
                 start it again",
            ));
        }
        if self.kafka.capabilities().isolation && stable.end < whole.end {
            // An earlier owner's transaction is still open; the broker aborts it in time.
            restoring.not_before = now.monotonic + PAUSE;
            return Ok(None);
        }
        let store = &restoring.store;
        if store.sequence() > 0 && store.changelog_offset() > whole.end {
            return Err(self.disagreement(
                id,
                "its changelog ends before the local state does: the \
                topic was recreated or truncated. Restore the topic, or remove this partition's \
                directory under the data directory to start from what the topic holds",
            ));
        }
        let mark = committed.as_ref().and_then(|place| Mark::read(&place.metadata));
        let snapshot = mark.and_then(|mark| mark.snapshot).map(|snapshot| snapshot.start);
        let snapshot = snapshot.filter(|&start| start >= stable.start && start < whole.end);
        let from = if store.sequence() == 0 {
            snapshot.unwrap_or(stable.start)
        } else if stable.start <= store.changelog_offset() {
            // The last delta is read again: it says when it was written, and the input's position.
            stable.start.max(store.changelog_offset() - 1)
        } else if snapshot.is_some() {
            // It was away for longer than the changelog reaches back.
            return Err(Trouble::Stop(PipelineError::State(StateError::Gap {
                dir: self.directory(id),
                applied: store.sequence(),
                found: store.sequence().saturating_add(2),
            })));
        } else {
            let why = "its changelog no longer holds what the local state lacks, and the group knows \
                       of no snapshot in it: records were removed from it. Restore the topic's \
                       records, or remove this partition's directory under the data directory, to \
                       begin with a snapshot if the topic still holds one";
            self.ask_again(id, now, restoring, why)?;
            return Ok(None);
        };
        restoring.goal = Some(Goal { committed, end: whole.end });
        if from >= whole.end {
            return self.place(id, now, restoring);
        }
        restoring.next = from;
        self.reading.insert(id);
        self.log.open(changelog(id), from)?;
        Ok(None)
    }

    /// Applies some records, of whichever changelogs have them.
    fn read(&mut self, now: Now) -> Result<(), PipelineError> {
        if self.reading.is_empty() {
            return Ok(());
        }
        let alone = self.desk.live().next().is_none();
        let factor = if alone { ALONE_FACTOR } else { 1 };
        let (records, mut bytes) =
            (factor * STEP_RESTORE_RECORDS_MAX, factor * STEP_RESTORE_BYTES_MAX);
        let wait = if alone { READ_WAIT } else { Duration::ZERO };
        for _ in 0..records {
            if self.reading.is_empty() || bytes == 0 {
                return Ok(());
            }
            let mut met = None;
            let partitions = &mut self.desk.partitions;
            let polled = self.log.poll(wait, &mut |record| {
                bytes = bytes.saturating_sub(record.value.unwrap_or_default().len());
                let id = partition(record.log);
                if let Some(id) = id
                    && let Some(Stage::Restoring(restoring)) = partitions.get_mut(&id)
                {
                    met = Some((id, record.offset + 1, apply(restoring, &record)));
                }
            });
            match polled {
                Ok(LogPolled::Record) => {
                    if let Some((id, next, applied)) = met {
                        self.met(id, now, next, applied)?;
                    }
                }
                Ok(LogPolled::End(log)) => self.read_out(log, now)?,
                Ok(LogPolled::OutOfRange(log)) => self.out_of_range(log, now)?,
                Ok(LogPolled::Nothing) => return Ok(()),
                Err(fault) => return self.close_all(now, fault),
            }
        }
        Ok(())
    }

    /// A record was applied, or could not be.
    fn met(
        &mut self,
        id: PartitionId,
        now: Now,
        next: i64,
        applied: Result<Option<i64>, StateError>,
    ) -> Result<(), PipelineError> {
        let end = match self.desk.partitions.get(&id) {
            Some(Stage::Restoring(restoring)) => restoring.goal.as_ref().map(|goal| goal.end),
            Some(Stage::Opening { .. } | Stage::Live(_) | Stage::Refused) | None => None,
        };
        // The end may be a delta's own record where the broker writes no markers.
        let more = end.is_none_or(|end| next < end);
        if more && matches!(applied, Ok(None)) {
            return Ok(());
        }
        self.go_on(id, now, |worker, restoring| match applied? {
            Some(start) => {
                // A snapshot is in: the deltas among and behind its records are next.
                restoring.next = start;
                worker.log.open(changelog(id), start)?;
                Ok(None)
            }
            None => worker.place(id, now, restoring),
        })
    }

    fn read_out(&mut self, log: LogId, now: Now) -> Result<(), PipelineError> {
        let Some(id) = partition(log) else { return Ok(()) };
        self.go_on(id, now, |worker, restoring| worker.place(id, now, restoring))
    }

    fn out_of_range(&mut self, log: LogId, now: Now) -> Result<(), PipelineError> {
        let Some(id) = partition(log) else { return Ok(()) };
        self.go_on(id, now, |worker, restoring| {
            let why = "its changelog was truncated while it was read. Restore the topic's records";
            worker.ask_again(id, now, restoring, why)?;
            Ok(None)
        })
    }

    /// Nothing can be read now: all of it is asked for and opened anew.
    fn close_all(&mut self, now: Now, fault: Fault) -> Result<(), PipelineError> {
        let ids: Vec<PartitionId> = self.reading.iter().copied().collect();
        for &id in &ids {
            self.close_log(id);
            if let Some(Stage::Restoring(restoring)) = self.desk.partitions.get_mut(&id) {
                restoring.goal = None;
            }
        }
        self.rest(&ids, now, PAUSE);
        self.heard(fault)
    }

    /// Where the state of a partition lies.
    pub(super) fn directory(&self, id: PartitionId) -> PathBuf {
        let settings = &self.desk.settings;
        partition_path(&settings.data_dir, settings.topics.input(id.class), id.partition)
    }

    /// What the group and the changelog say does not fit together: another owner, of whom this worker has
    /// not heard yet, may have gone on between two answers. All of it is asked for anew, for a while.
    pub(super) fn ask_again(
        &mut self,
        id: PartitionId,
        now: Now,
        restoring: &mut Restoring,
        why: &str,
    ) -> Result<(), Trouble> {
        restoring.disagreements += 1;
        if restoring.disagreements > DISAGREEMENTS_MAX {
            return Err(self.disagreement(id, why));
        }
        self.close_log(id);
        restoring.goal = None;
        restoring.not_before = now.monotonic + PAUSE;
        Ok(())
    }

    fn disagreement(&self, id: PartitionId, why: &str) -> Trouble {
        Trouble::Stop(PipelineError::Disagreement {
            topic: self.desk.settings.topics.input(id.class).to_owned(),
            partition: id.partition,
            why: why.to_owned(),
        })
    }
}

/// A partition's changelog.
pub(super) fn changelog(id: PartitionId) -> LogId {
    LogId { role: Role::Changelog(id.class), partition: id.partition }
}

/// Whose changelog it is.
fn partition(log: LogId) -> Option<PartitionId> {
    match log.role {
        Role::Changelog(class) => Some(PartitionId { class, partition: log.partition }),
        Role::Input(_) | Role::Output(..) | Role::Control | Role::Audit | Role::DeadLetters => None,
    }
}

/// Applies a record of the changelog. Gives the offset to go back to, if that is asked for.
fn apply(restoring: &mut Restoring, record: &LogRecord<'_>) -> Result<Option<i64>, StateError> {
    let value = record.value.unwrap_or_default();
    restoring.records += 1;
    restoring.next = restoring.next.max(record.offset + 1);
    let header = match restoring.store.restore(value, record.offset + 1)? {
        Restored::Applied(header) => {
            restoring.applied += 1;
            Some(header)
        }
        Restored::Incomplete | Restored::PassedOver | Restored::TakenIn => None,
        Restored::Rewind(start) => return Ok(Some(start)),
        Restored::Known => Delta::decode(value).ok().map(|delta| *delta.header()),
    };
    if let Some(header) = header {
        restoring.last = Some(LastDelta {
            input_offset: header.input_offset,
            provenance: Provenance::read(record.key),
            written_ms: record.timestamp_ms,
        });
    }
    Ok(None)
}
