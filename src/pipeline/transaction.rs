//! A batch's end: one transaction with its outputs, deltas and positions; then RocksDB.
//!
//! Outputs are produced while the batch is decided, deltas after them (they are not known before),
//! positions last: the broker has added the transaction's first partitions by then, and does not
//! send the positions into a wait of half a second.
//!
//! Invariants: RocksDB is written after the commit alone; positions go with every transaction,
//! because without them there is no fencing; an outcome that is not known is read, never assumed.

use lethe_engine::Engine;

use super::assignment::Tenure;
use super::clock::{HostClock, Now};
use super::desk::{Batch, Trouble};
use super::error::PipelineError;
use super::outputs::Counted;
use super::partition::{Live, Restoring, Stage};
use super::seam::{Appended, Fault, Input, Kafka, Output, PartitionId, Position};
use super::settings::{REPLACE_MAX, REPLACE_WINDOW};
use super::worker::Worker;

/// The beginning of the metadata of lethe's commits: the format's version, then the sequence.
const METADATA: &str = "lethe/1 ";

/// What a commit's metadata says: the sequence of the partition's last delta.
#[must_use]
pub fn metadata(sequence: u64) -> String {
    format!("{METADATA}{sequence}")
}

/// What the position of a partition says whose ledger is being put together anew: no delta has this sequence,
/// so that nothing starts from it.
pub(super) const REBUILDING: &str = "lethe/1 18446744073709551615 rebuilding";

/// The last whole snapshot on a changelog, and what was written since: the rest of the metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) snapshot: Option<SnapshotMark>,
    /// Bytes of the deltas since its start.
    pub(crate) since: u64,
}

/// A whole snapshot on a changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotMark {
    /// The offset of its first record.
    pub(crate) start: i64,
    /// When it was closed (Unix ms).
    pub(crate) at_ms: i64,
    /// Its records' bytes.
    pub(crate) bytes: u64,
}

impl Mark {
    /// The whole metadata.
    pub(crate) fn metadata(&self, sequence: u64) -> String {
        let mut text = format!("{} since={}", metadata(sequence), self.since);
        if let Some(SnapshotMark { start, at_ms, bytes }) = self.snapshot {
            text.push_str(&format!(" snapshot={start} at={at_ms} size={bytes}"));
        }
        text
    }

    /// Reads a commit's metadata; none: it says nothing of it.
    pub(super) fn read(metadata: &str) -> Option<Self> {
        let words = metadata.strip_prefix(METADATA)?;
        let word = |name: &str| -> Option<i64> {
            words.split(' ').find_map(|word| word.strip_prefix(name)?.parse().ok())
        };
        let size = |name: &str| u64::try_from(word(name)?).ok();
        let snapshot = || {
            let (start, at_ms) = (word("snapshot=")?, word("at=")?);
            Some(SnapshotMark { start, at_ms, bytes: size("size=")? })
        };
        Some(Self { since: size("since=")?, snapshot: snapshot() })
    }
}

/// Reads a commit's metadata; none: the commit is not lethe's (an operator set the position).
#[must_use]
pub fn sequence(metadata: &str) -> Option<u64> {
    metadata.strip_prefix(METADATA)?.split(' ').next()?.parse().ok()
}

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// Ends the batch at hand. Afterwards there is none, whatever happened.
    pub(super) fn finish_batch(&mut self, now: Now) -> Result<(), PipelineError> {
        let touched = self.touched();
        if touched.is_empty() {
            // Nothing was done: the transaction, if it was begun, is empty, and the broker
            // has not heard of it.
            return self.drop_empty(now);
        }
        match self.membership() {
            Tenure::Same => {}
            Tenure::Another => return self.was_away(now),
            Tenure::None => {
                return self.abort_batch(now, "this worker has lost its place in the group");
            }
        }
        let mut appended = Vec::new();
        let fault = match self.try_commit(now, &touched, &mut appended) {
            Ok(()) => return self.committed(now, &touched, &appended),
            Err(Trouble::Stop(error)) => return Err(error),
            Err(Trouble::Fault(fault)) => fault,
        };
        match fault {
            Fault::Retry(why) | Fault::Abort(why) => self.abort_batch(now, &why),
            Fault::Unknown(why) => self.replace_output(now, &why),
            Fault::Stop(_) => Err(fault.into()),
        }
    }

    /// The partitions of which the batch at hand has a delta.
    fn touched(&mut self) -> Vec<PartitionId> {
        let mut touched = Vec::new();
        for (id, live) in self.desk.live() {
            if live.stirred {
                live.engine.flush(&mut live.store);
                live.touched |= live.store.is_dirty();
            }
            if live.touched {
                touched.push(id);
            }
        }
        touched
    }

    fn try_commit(
        &mut self,
        now: Now,
        touched: &[PartitionId],
        appended: &mut Vec<Appended>,
    ) -> Result<(), Trouble> {
        self.desk.begin(now)?;
        let decided_at_ms = self.desk.time.ending_ms(now).unwrap_or_default();
        let portions = self.desk.settings.portions;
        let mut positions = Vec::with_capacity(touched.len());
        for &id in touched {
            let Some(Stage::Live(live)) = self.desk.partitions.get_mut(&id) else { continue };
            let parts = live.store.delta(
                live.next,
                live.engine.control_offset(),
                decided_at_ms,
                portions.delta_part_bytes_max,
            );
            live.delta_bytes = parts.iter().map(|part| part.len() as u64).sum();
            // Before the delta: the last record of a partition is always one.
            for part in live.snapshot_slice(&portions)?.iter().chain(&parts) {
                let (output, counts) = (&mut self.desk.output, &mut live.counts);
                self.desk.writer.delta(&mut Counted { output, counts }, id, &live.key, part)?;
            }
            let metadata = live.upkeep.mark.metadata(live.store.sequence() + 1);
            positions.push(Position { id, offset: live.next, metadata });
        }
        self.desk.output.send_positions(&self.input, &positions)?;
        self.desk.output.commit(appended)?;
        Ok(())
    }

    /// The transaction, whose end began at `since`, is committed: the ledgers follow, then the counters.
    fn committed(
        &mut self,
        since: Now,
        ids: &[PartitionId],
        appended: &[Appended],
    ) -> Result<(), PipelineError> {
        let now = self.clock.now();
        if let Some(broker_ms) = appended.iter().filter_map(|record| record.broker_ms).max() {
            self.desk.time.learn(broker_ms, now.monotonic);
        } else if self.desk.time.broker_tells() {
            return Err(PipelineError::Kafka(
                "the changelog topics do not carry the broker's time: set their \
                 message.timestamp.type to LogAppendTime (`lethe topics apply` does)"
                    .to_owned(),
            ));
        }
        for &id in ids {
            let last = appended.iter().filter(|record| record.id == id).map(|record| record.offset);
            let Some(Stage::Live(live)) = self.desk.partitions.get_mut(&id) else { continue };
            let Some(last) = last.max() else {
                return Err(PipelineError::Kafka(format!(
                    "a commit of {}/{} came back without the offset of its delta",
                    self.desk.settings.topics.input(id.class),
                    id.partition
                )));
            };
            live.store.commit(last + 1)?;
            live.committed = live.next;
            live.announced = true;
            live.touched = false;
            live.stirred = false;
            if live.upkeep.has_slice() {
                let stall = now.monotonic.saturating_sub(since.monotonic);
                self.snapshot_stall = self.snapshot_stall.max(stall);
            }
            live.slice_committed(id, appended, now.wall_ms)?;
            let counts = std::mem::take(&mut live.counts);
            self.desk.counters.committed(id.class, &counts);
            let applied = live.engine.control_offset();
            let topic = self.desk.settings.topics.input(id.class);
            self.health.applied(self.number, topic, id.partition, applied);
        }
        for (_, live) in self.desk.live() {
            // Looked at, and nothing came of it.
            live.stirred = false;
        }
        let batch = std::mem::take(&mut self.desk.batch);
        self.desk.counters.transaction(now.monotonic.saturating_sub(since.monotonic));
        for (class, timestamp_ms) in batch.timestamps {
            self.desk.counters.latency(class, timestamp_ms, now.wall_ms);
        }
        self.desk.writer.committed(&self.tenants, &self.reports);
        self.calm(now);
        Ok(())
    }

    fn drop_empty(&mut self, now: Now) -> Result<(), PipelineError> {
        for (_, live) in self.desk.live() {
            live.stirred = false;
        }
        if std::mem::take(&mut self.desk.batch).open
            && let Err(fault) = self.desk.output.abort()
        {
            return self.replace_output(now, &fault.to_string());
        }
        self.desk.writer.written = 0;
        Ok(())
    }

    /// Aborts the batch at hand: nothing of it is left, and the input goes back to where it began.
    pub(super) fn abort_batch(&mut self, now: Now, why: &str) -> Result<(), PipelineError> {
        self.trouble(now, why);
        let open = std::mem::take(&mut self.desk.batch).open;
        self.desk.writer.forget();
        if open && let Err(fault) = self.desk.output.abort() {
            return self.replace_output(now, &fault.to_string());
        }
        self.desk.counters.aborts.increment(1);
        for (id, live) in self.desk.live() {
            if !live.in_batch() {
                continue;
            }
            live.store.abort();
            live.engine = Engine::open(id.class, &mut live.store)?;
            live.next = live.committed;
            // Started anew, it goes back; and it sees the control log from its own offset on.
            live.started = false;
            live.control_seen = 0;
            live.suspended = None;
            live.counts = Default::default();
            live.stirred = false;
            live.touched = !live.announced;
            live.upkeep.aborted();
        }
        Ok(())
    }

    /// What became of the transaction is not known: a new producer aborts or finds it finished,
    /// and each partition of the batch reads its changelog's tail.
    pub(super) fn replace_output(&mut self, now: Now, why: &str) -> Result<(), PipelineError> {
        self.trouble(now, why);
        self.replaced.retain(|at| now.monotonic.saturating_sub(*at) < REPLACE_WINDOW);
        self.replaced.push(now.monotonic);
        if self.replaced.len() > REPLACE_MAX as usize {
            return Err(PipelineError::Kafka(format!(
                "the producer had to be replaced {REPLACE_MAX} times within {} s, the last time \
                 because of: {why}; is another process running with this instance's name?",
                REPLACE_WINDOW.as_secs()
            )));
        }
        self.desk.output = self.kafka.output(self.number)?;
        self.output_ready = false;
        self.desk.batch = Batch::default();
        self.desk.writer.forget();
        self.desk.counters.unknown.increment(1);
        let ids: Vec<PartitionId> =
            self.desk.live().filter(|(_, live)| live.in_batch()).map(|(id, _)| id).collect();
        for id in ids {
            self.read_anew(id);
        }
        Ok(())
    }

    /// A partition follows its changelog again, from where its ledger is. What the batch at hand did
    /// with it counts if it is found there.
    pub(super) fn read_anew(&mut self, id: PartitionId) {
        let Some(stage) = self.desk.partitions.remove(&id) else { return };
        let stage = match stage {
            Stage::Live(live) => {
                if let Err(fault) = self.input.pause(id) {
                    tracing::debug!(%fault, "pausing a partition that is read anew");
                }
                let topic = self.desk.settings.topics.input(id.class);
                self.health.assigned(self.number, topic, id.partition);
                Stage::Restoring(Box::new(unsure(*live)))
            }
            Stage::Restoring(mut restoring) => {
                self.close_log(id);
                restoring.goal = None;
                Stage::Restoring(restoring)
            }
            stage @ (Stage::Opening { .. } | Stage::Refused) => stage,
        };
        self.desk.partitions.insert(id, stage);
    }
}

/// A ledger of which it is not known whether its batch has been committed.
fn unsure(mut live: Live) -> Restoring {
    live.store.abort();
    let sequence = live.store.sequence() + 1;
    let mut restoring = Restoring::new(live.store);
    restoring.unsure = Some((sequence, live.counts));
    restoring
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_carries_the_sequence_and_nothing_else_reads_as_one() {
        assert_eq!(sequence(&metadata(42)), Some(42));
        assert_eq!(sequence(""), None);
        assert_eq!(sequence("42"), None);
    }

    #[test]
    fn metadata_carries_where_the_last_snapshot_begins() {
        let mut mark = Mark { snapshot: None, since: 7 };
        assert_eq!(mark.metadata(42), "lethe/1 42 since=7");
        assert_eq!(Mark::read(&mark.metadata(42)), Some(mark));
        mark.snapshot = Some(SnapshotMark { start: 5, at_ms: 1_700_000_000_000, bytes: 99 });
        assert_eq!(Mark::read(&mark.metadata(42)), Some(mark));
        assert_eq!(sequence(&mark.metadata(42)), Some(42));
        assert_eq!(Mark::read(&metadata(42)), None);
        assert_eq!(Mark::read("lethe/1 42 since=x"), None);
        assert_eq!(sequence(REBUILDING), Some(u64::MAX));
    }
}
