//! Taking over a partition: its ledger follows its changelog until nothing can be missing.
//!
//! The order is what keeps two owners apart: the producer is initialised before (so that this
//! worker's own open transaction has ended); then the stable committed position, then the
//! changelog's end as a read-uncommitted client sees it, then reading past that end; and the
//! sequences of both must agree. The last stable offset alone would hide another owner's deltas.
//!
//! Restoring goes on in slices beside the partitions that work.

use std::path::PathBuf;
use std::time::Duration;

use lethe_engine::Engine;
use lethe_state::{Delta, Identity, IdentityField, Remedy, Restored, StateError, Store};

use super::clock::{HostClock, Now};
use super::desk::Trouble;
use super::directory::partition_path;
use super::error::PipelineError;
use super::partition::{Goal, LastDelta, Live, Restoring, Stage};
use super::provenance::{Provenance, differs};
use super::room::Room;
use super::seam::{
    Committed, Fault, Input, Kafka, LogPolled, LogReader, LogRecord, PartitionId, Role,
};
use super::settings::{Beginning, STEP_RESTORE_RECORDS_MAX};
use super::transaction::{Mark, sequence};
use super::upkeep::Upkeep;
use super::worker::Worker;

/// How long a partition is left alone that waits for something.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked whether a partition that the input has gained is accepted.
const ROOM_PAUSE: Duration = Duration::from_secs(5);
/// How often a directory that is in use, or fails, is tried again: another worker of this process
/// closes it within moments.
const OPEN_TRIES: u32 = 100;
/// How often state that does not fit its changelog is built anew.
const REBUILD_TRIES: u32 = 1;
/// How often answers may disagree before that is final: another owner's last commit may just
/// be on its way.
const DISAGREEMENTS_MAX: u32 = 50;
/// How many slices' worth a worker restores in one step that has nothing else to do.
const ALONE_FACTOR: usize = 16;

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// One slice of restoring, if a partition needs it.
    pub(super) fn restore_step(&mut self, now: Now) -> Result<(), PipelineError> {
        let Some(id) = self.next_to_restore(now) else { return Ok(()) };
        let Some(stage) = self.desk.partitions.remove(&id) else { return Ok(()) };
        let (stage, trouble) = match stage {
            Stage::Opening { tries, .. } => (self.open(id, now, tries)?, None),
            Stage::Restoring(restoring) => self.follow(id, now, restoring)?,
            stage @ (Stage::Live(_) | Stage::Refused) => (stage, None),
        };
        if !matches!(stage, Stage::Restoring(_)) && self.reading == Some(id) {
            self.log.close();
            self.reading = None;
        }
        self.desk.partitions.insert(id, stage);
        match trouble {
            Some(Fault::Stop(why)) => Err(PipelineError::Kafka(why)),
            Some(fault) => {
                self.say(&fault.to_string());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Whether there is a slice to be read at once.
    pub(super) fn is_restoring(&self, now: Now) -> bool {
        self.next_to_restore(now).is_some()
    }

    fn next_to_restore(&self, now: Now) -> Option<PartitionId> {
        let ready = |stage: &Stage| match stage {
            Stage::Opening { not_before, .. } => *not_before <= now.monotonic,
            Stage::Restoring(restoring) => restoring.not_before <= now.monotonic,
            Stage::Live(_) | Stage::Refused => false,
        };
        let reading = self.reading.filter(|id| self.desk.partitions.get(id).is_some_and(ready));
        reading.or_else(|| {
            let mut waiting = self.desk.partitions.iter().filter(|(_, stage)| ready(stage));
            waiting.next().map(|(&id, _)| id)
        })
    }

    fn open(&mut self, id: PartitionId, now: Now, tries: u32) -> Result<Stage, PipelineError> {
        let again = |pause| Stage::Opening { not_before: now.monotonic + pause, tries: tries + 1 };
        let topic = self.desk.settings.topics.input(id.class).to_owned();
        let partitions = match self.room(id) {
            Ok(Room::For(partitions)) => partitions,
            Ok(Room::Not(why)) => {
                if tries == 0 {
                    tracing::error!(topic, partition = id.partition, "the partition waits: {why}");
                }
                return Ok(again(ROOM_PAUSE));
            }
            Err(fault @ Fault::Stop(_)) => return Err(fault.into()),
            Err(fault) => {
                self.say(&fault.to_string());
                return Ok(again(PAUSE));
            }
        };
        let identity = Identity {
            cluster: self.kafka.cluster_id().to_owned(),
            topic: topic.clone(),
            changelog_id: self.kafka.topic_id(Role::Changelog(id.class)),
            partition: id.partition,
            partitions,
        };
        let dir = partition_path(&self.desk.settings.data_dir, &topic, id.partition);
        match Store::open(&dir, &identity, &self.memory) {
            Ok(store) => Ok(Stage::Restoring(Box::new(Restoring::new(store)))),
            Err(StateError::Locked { .. }) if tries < OPEN_TRIES => Ok(again(PAUSE)),
            Err(error @ StateError::OtherIdentity { field: IdentityField::ChangelogId, .. }) => {
                tracing::error!(
                    topic,
                    partition = id.partition,
                    "the partition stands still: its changelog was recreated. {error}; without the \
                     directory it begins with what the changelog holds now"
                );
                Ok(Stage::Refused)
            }
            Err(error) => match error.remedy() {
                Remedy::Retry if tries < OPEN_TRIES => {
                    self.say(&error.to_string());
                    Ok(again(PAUSE))
                }
                Remedy::Rebuild if tries <= REBUILD_TRIES => {
                    tracing::warn!(%error, "the state is built anew from its changelog");
                    Store::destroy(&dir)?;
                    Ok(again(PAUSE))
                }
                Remedy::Retry | Remedy::Rebuild | Remedy::Stop => Err(error.into()),
            },
        }
    }

    /// Goes on with a changelog. Gives back what the partition is now, and what went wrong.
    fn follow(
        &mut self,
        id: PartitionId,
        now: Now,
        mut restoring: Box<Restoring>,
    ) -> Result<(Stage, Option<Fault>), PipelineError> {
        let result = self.advance(id, now, &mut restoring);
        let fault = match result {
            Ok(Some(place)) => return Ok((self.complete(id, *restoring, place)?, None)),
            Ok(None) => None,
            Err(Trouble::Fault(fault)) => {
                // Whatever was open is asked for and opened anew.
                restoring.goal = None;
                restoring.reading = false;
                restoring.not_before = now.monotonic + PAUSE;
                Some(fault)
            }
            Err(Trouble::Stop(PipelineError::State(error)))
                if error.remedy() == Remedy::Rebuild && restoring.store.sequence() > 0 =>
            {
                tracing::warn!(%error, "the state is built anew from its changelog");
                let topic = self.desk.settings.topics.input(id.class);
                let dir = partition_path(&self.desk.settings.data_dir, topic, id.partition);
                drop(restoring);
                Store::destroy(&dir)?;
                return Ok((Stage::opening(), None));
            }
            Err(Trouble::Stop(error)) => return Err(error),
        };
        Ok((Stage::Restoring(restoring), fault))
    }

    /// Reads a slice. Gives the place to start at once everything is read and agrees.
    fn advance(
        &mut self,
        id: PartitionId,
        now: Now,
        restoring: &mut Restoring,
    ) -> Result<Option<Place>, Trouble> {
        if self.desk.control.end().is_none() {
            restoring.not_before = now.monotonic + PAUSE;
            return Ok(None);
        }
        if !restoring.reading && !self.open_log(id, now, restoring)? {
            return Ok(None);
        }
        if restoring.reading && !self.read_slice(id, now, restoring)? {
            return Ok(None);
        }
        restoring.reading = false;
        self.place(id, now, restoring)
    }

    /// Asks where to read to, and opens the changelog, where there is anything to read.
    fn open_log(
        &mut self,
        id: PartitionId,
        now: Now,
        restoring: &mut Restoring,
    ) -> Result<bool, Trouble> {
        let role = Role::Changelog(id.class);
        let committed = self.input.committed(id)?;
        let whole = self.log.whole(role, id.partition)?;
        let stable = self.log.stable(role, id.partition)?;
        if self.kafka.capabilities().isolation && stable.end < whole.end {
            // An earlier owner's transaction is still open; the broker aborts it in time.
            restoring.not_before = now.monotonic + PAUSE;
            return Ok(false);
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
            return Ok(false);
        };
        restoring.goal = Some(Goal { committed, end: whole.end });
        restoring.reading = from < whole.end;
        if restoring.reading {
            self.log.open(role, id.partition, from)?;
            self.reading = Some(id);
        }
        Ok(true)
    }

    /// Applies some records. Returns whether the end was reached.
    fn read_slice(
        &mut self,
        id: PartitionId,
        now: Now,
        restoring: &mut Restoring,
    ) -> Result<bool, Trouble> {
        let alone = self.desk.live().next().is_none();
        let records = if alone { ALONE_FACTOR } else { 1 } * STEP_RESTORE_RECORDS_MAX;
        let wait = if alone { PAUSE } else { Duration::ZERO };
        let end = restoring.goal.as_ref().map_or(0, |goal| goal.end);
        for _ in 0..records {
            let mut applied = Ok(None);
            let mut next = 0;
            let polled = self.log.poll(wait, &mut |record| {
                next = record.offset + 1;
                applied = apply(restoring, &record);
            })?;
            restoring.records += u64::from(polled == LogPolled::Record);
            restoring.next = restoring.next.max(next);
            if let Some(start) = applied? {
                // A snapshot is in: the deltas among and behind its records are next.
                self.log.open(Role::Changelog(id.class), id.partition, start)?;
                continue;
            }
            match polled {
                // The end may be a delta's own record where the broker writes no markers.
                LogPolled::Record if next < end => {}
                LogPolled::Record | LogPolled::End => return Ok(true),
                LogPolled::OutOfRange => {
                    let why = "its changelog was truncated while it was read. Restore the topic's \
                               records";
                    self.ask_again(id, now, restoring, why)?;
                    return Ok(false);
                }
                LogPolled::Nothing => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Everything is read: where to start, if all of it agrees.
    fn place(
        &mut self,
        id: PartitionId,
        now: Now,
        restoring: &mut Restoring,
    ) -> Result<Option<Place>, Trouble> {
        let Some(goal) = restoring.goal.take() else { return Ok(None) };
        restoring.store.check_whole()?;
        let applied = restoring.store.sequence();
        let next = match &goal.committed {
            Some(Committed { offset, metadata }) => match sequence(metadata) {
                Some(committed) if committed == applied => *offset,
                Some(committed) => {
                    let why = format!(
                        "its changelog ends at delta {applied}, the group's committed position \
                         is of delta {committed}: one of them was reset or lost records. \
                         Restore the changelog topic, or set the group's position by hand"
                    );
                    self.ask_again(id, now, restoring, &why)?;
                    return Ok(None);
                }
                None => {
                    tracing::warn!(
                        topic = self.desk.settings.topics.input(id.class),
                        partition = id.partition,
                        offset,
                        "the group's position was set by hand; lethe goes on from there"
                    );
                    *offset
                }
            },
            None => self.first_offset(id, restoring)?,
        };
        let bounds = self.input.bounds(id)?;
        if next < bounds.start {
            tracing::warn!(
                topic = self.desk.settings.topics.input(id.class),
                partition = id.partition,
                lost = bounds.start - next,
                "the input has dropped records before lethe read them"
            );
        }
        let refused = (next > bounds.end).then(|| {
            format!(
                "the input ends at {}, before the position {next}: it was recreated or \
                     truncated. Its events would be taken for known ones; set the group's position \
                     by hand to go on",
                bounds.end
            )
        });
        let engine = Engine::open(id.class, &mut restoring.store)?;
        if !self.control_fits(engine.control_offset())? {
            restoring.not_before = now.monotonic + PAUSE;
            return Ok(None);
        }
        let last = restoring.last.as_ref();
        let input = self.kafka.topic_id(Role::Input(id.class));
        let before = last.and_then(|last| last.provenance.input.as_ref());
        let by_hand =
            goal.committed.as_ref().is_some_and(|place| sequence(&place.metadata).is_none());
        let refused = refused
            .or_else(|| (!by_hand).then(|| other_input(before, input.as_ref())).flatten())
            .or_else(|| self.control_gap(&engine, last, now));
        let control = self.control_id(last.and_then(|last| last.provenance.control.as_ref()));
        let provenance = Provenance { input: input.or_else(|| before.cloned()), control };
        // Where nobody says how long the changelog is, it is taken for long.
        let slack = self.desk.settings.changelog_slack_bytes;
        let unknown = Mark { snapshot: None, since: u64::from(applied > 0) * slack };
        let mark = goal.committed.and_then(|place| Mark::read(&place.metadata)).unwrap_or(unknown);
        Ok(Some(Place { next: next.max(bounds.start), engine, provenance, mark, refused }))
    }

    /// Where a group without a position begins.
    fn first_offset(&mut self, id: PartitionId, restoring: &Restoring) -> Result<i64, Trouble> {
        if let Some(last) = &restoring.last {
            tracing::warn!(
                topic = self.desk.settings.topics.input(id.class),
                partition = id.partition,
                offset = last.input_offset,
                "the group's position has expired; the changelog knows it"
            );
            return Ok(last.input_offset);
        }
        let bounds = self.input.bounds(id)?;
        Ok(match self.desk.settings.beginning {
            Beginning::Earliest => bounds.start,
            Beginning::Latest => bounds.end,
        })
    }

    fn complete(
        &mut self,
        id: PartitionId,
        restoring: Restoring,
        place: Place,
    ) -> Result<Stage, PipelineError> {
        let topic = self.desk.settings.topics.input(id.class);
        *self.restored.entry(id.class).or_default() += restoring.records;
        if let Some((sequence, counts)) = &restoring.unsure
            && restoring.store.sequence() >= *sequence
        {
            self.desk.counters.committed(id.class, counts);
        }
        if let Some(why) = place.refused {
            tracing::error!(topic, partition = id.partition, "the partition stands still: {why}");
            restoring.store.flush()?;
            return Ok(Stage::Refused);
        }
        tracing::info!(
            topic,
            partition = id.partition,
            deltas = restoring.applied,
            sequence = restoring.store.sequence(),
            offset = place.next,
            "restored"
        );
        let (key, upkeep) = (place.provenance.key(), Upkeep::new(place.mark));
        let live = Live::new(restoring.store, place.engine, key, place.next, upkeep);
        Ok(Stage::Live(Box::new(live)))
    }

    /// Where the state of a partition lies.
    fn directory(&self, id: PartitionId) -> PathBuf {
        let settings = &self.desk.settings;
        partition_path(&settings.data_dir, settings.topics.input(id.class), id.partition)
    }

    /// What the group and the changelog say does not fit together: another owner, of whom this worker has
    /// not heard yet, may have gone on between two answers. All of it is asked for anew, for a while.
    fn ask_again(
        &self,
        id: PartitionId,
        now: Now,
        restoring: &mut Restoring,
        why: &str,
    ) -> Result<(), Trouble> {
        restoring.disagreements += 1;
        if restoring.disagreements > DISAGREEMENTS_MAX {
            return Err(self.disagreement(id, why));
        }
        restoring.goal = None;
        restoring.reading = false;
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

/// Where a restored partition starts.
struct Place {
    next: i64,
    engine: Engine,
    /// Of which topics its offsets are.
    provenance: Provenance,
    /// What its changelog holds.
    mark: Mark,
    /// Why it must not.
    refused: Option<String>,
}

/// Why positions of one input topic are none of another's.
fn other_input(before: Option<&String>, now: Option<&String>) -> Option<String> {
    differs(before, now).then(|| {
        format!(
            "the input was recreated (its id is {}, the ledger speaks of {}): its events would be \
             taken for known ones. Set the group's position by hand to go on with what the ledger \
             knows, so that nothing comes back",
            now.map_or("unknown", String::as_str),
            before.map_or("unknown", String::as_str)
        )
    })
}

/// Applies a record of the changelog. Gives the offset to go back to, if that is asked for.
fn apply(restoring: &mut Restoring, record: &LogRecord<'_>) -> Result<Option<i64>, StateError> {
    let value = record.value.unwrap_or_default();
    let header = match restoring.store.restore(value, record.offset + 1)? {
        Restored::Applied(header) => {
            restoring.applied += 1;
            Some(header)
        }
        Restored::Incomplete | Restored::PassedOver => None,
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
