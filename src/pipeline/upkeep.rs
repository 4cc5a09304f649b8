//! Keeping changelogs short: snapshots of ledgers, written in slices with the batches' transactions,
//! and then the removal of the records before them.
//!
//! One partition of a worker writes at a time. A slice goes before the delta of the same
//! transaction, so that it is fenced as everything else is, and counts once that has committed; a
//! snapshot that a crash or a move interrupts is without its end, and so nothing.
//!
//! Invariant: records are removed only before the start of a whole snapshot, only once the group's
//! metadata names it, and only once the local state that lies behind them is on disk.

use std::time::Duration;

use lethe_state::{SnapshotCursor, StateError};

use super::clock::{HostClock, Now};
use super::error::PipelineError;
use super::partition::Live;
use super::seam::{Appended, Kafka, PartitionId, Role};
use super::settings::{Portions, SNAPSHOT_AGE_MS_MIN, SNAPSHOT_RENEWAL_BYTES_A_MS, UPKEEP_EVERY};
use super::transaction::Mark;
use super::worker::Worker;

/// What is done about a partition's changelog.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// The last whole snapshot, and what was written since.
    pub(super) mark: Mark,
    /// The snapshot that is being written, as far as it has committed.
    writing: Option<Writing>,
    /// The slice of the batch at hand.
    slice: Option<Slice>,
    /// The last whole snapshot's start, until the group's metadata names it: who takes over a state that
    /// the changelog no longer reaches back to has to find the snapshot there.
    unnamed: Option<i64>,
    /// Records before this offset can go once the state is on disk.
    removal: Option<i64>,
}

/// A snapshot under way.
#[derive(Clone, Debug)]
struct Writing {
    cursor: SnapshotCursor,
    /// The offset of its first record, once that has committed.
    start: Option<i64>,
    /// Its records so far.
    bytes: u64,
    /// Deltas behind its start.
    since: u64,
}

/// What the batch at hand adds to a snapshot.
#[derive(Debug)]
struct Slice {
    next: Option<SnapshotCursor>,
    bytes: u64,
}

impl Upkeep {
    /// Of a partition that was taken over: what its last commit said.
    pub(super) fn new(mark: Mark) -> Self {
        let removal = mark.snapshot.map(|snapshot| snapshot.start);
        Self { mark, removal, ..Self::default() }
    }

    /// About how many bytes the changelog has from the last whole snapshot on.
    pub(super) fn changelog_bytes(&self) -> u64 {
        let written = self.writing.as_ref().map_or(0, |writing| writing.bytes);
        self.mark.snapshot.map_or(0, |snapshot| snapshot.bytes) + self.mark.since + written
    }

    /// How far beyond its measure the changelog is; none: it is within. An old snapshot is replaced where it
    /// `renews`: where that makes the changelog shorter.
    fn excess(&self, slack: u64, wall_ms: i64, renews: bool) -> Option<u64> {
        let (bytes, at_ms) =
            self.mark.snapshot.map_or((0, i64::MAX), |snapshot| (snapshot.bytes, snapshot.at_ms));
        let measure = bytes / 2 + slack;
        let age_ms = u64::try_from(wall_ms.saturating_sub(at_ms)).unwrap_or_default();
        let old = renews
            && age_ms > SNAPSHOT_AGE_MS_MIN.max(bytes / SNAPSHOT_RENEWAL_BYTES_A_MS)
            && self.mark.since > 0
            && bytes + self.mark.since > 2 * slack;
        self.mark.since.checked_sub(measure).or_else(|| old.then_some(0))
    }

    /// Whether the batch at hand has a part of a snapshot.
    pub(super) const fn has_slice(&self) -> bool {
        self.slice.is_some()
    }

    /// The batch at hand was aborted.
    pub(super) fn aborted(&mut self) {
        self.slice = None;
    }
}

impl Live {
    /// The records that the batch at hand adds to the snapshot, if one is being written.
    pub(super) fn snapshot_slice(
        &mut self,
        portions: &Portions,
    ) -> Result<Vec<Vec<u8>>, StateError> {
        let Some(writing) = &self.upkeep.writing else { return Ok(Vec::new()) };
        let slice = self.store.snapshot_slice(
            &writing.cursor,
            portions.delta_part_bytes_max,
            portions.snapshot_slice_bytes,
        )?;
        let bytes = slice.records.iter().map(|record| record.len() as u64).sum();
        self.upkeep.slice = Some(Slice { next: slice.next, bytes });
        Ok(slice.records)
    }

    /// The batch with the slice, and with a delta of so many bytes, has committed.
    pub(super) fn slice_committed(
        &mut self,
        id: PartitionId,
        appended: &[Appended],
        wall_ms: i64,
    ) -> Result<(), StateError> {
        let delta_bytes = std::mem::take(&mut self.delta_bytes);
        let upkeep = &mut self.upkeep;
        upkeep.mark.since += delta_bytes;
        if let Some(start) = upkeep.unnamed.take() {
            upkeep.removal = Some(start);
        }
        let Some(slice) = upkeep.slice.take() else { return Ok(()) };
        let Some(mut writing) = upkeep.writing.take() else { return Ok(()) };
        let mut offsets = appended.iter().filter(|record| record.id == id);
        let first = offsets.next().map(|record| record.offset);
        writing.start = writing.start.or(first);
        writing.bytes += slice.bytes;
        writing.since += delta_bytes;
        if let Some(cursor) = slice.next {
            upkeep.writing = Some(Writing { cursor, ..writing });
            return Ok(());
        }
        let Some(start) = writing.start else { return Ok(()) };
        upkeep.mark = Mark {
            snapshot: Some(super::transaction::SnapshotMark {
                start,
                at_ms: wall_ms,
                bytes: writing.bytes,
            }),
            since: writing.since,
        };
        upkeep.unnamed = Some(start);
        // The mark goes with the next commit.
        self.touched = true;
        self.store.flush_soon()
    }
}

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// Begins snapshots where changelogs are long, keeps the one under way going, and removes what
    /// nobody needs any more.
    pub(super) fn keep_changelogs_short(&mut self, now: Now) -> Result<(), PipelineError> {
        let mut writing = false;
        for (_, live) in self.desk.live() {
            if live.upkeep.writing.is_some() {
                live.touched = true;
                writing = true;
            }
        }
        if writing {
            self.desk.batch.since.get_or_insert(now.monotonic);
        }
        if now.monotonic < self.upkeep_at {
            return Ok(());
        }
        self.upkeep_at = now.monotonic + UPKEEP_EVERY;
        for (_, live) in self.desk.live() {
            live.store.check_disk()?;
        }
        self.remove_records()?;
        if writing {
            return Ok(());
        }
        let slack = self.desk.settings.changelog_slack_bytes;
        let renews = self.kafka.capabilities().delete_records && !self.kafka.refuses_removals();
        let long = self.desk.live().filter(|(_, live)| live.started && live.store.sequence() > 0);
        let excess = long
            .filter_map(|(id, live)| Some((live.upkeep.excess(slack, now.wall_ms, renews)?, id)));
        if let Some((_, id)) = excess.max()
            && let Some((_, live)) = self.desk.live().find(|(live_id, _)| *live_id == id)
        {
            let cursor = live.store.begin_snapshot();
            tracing::debug!(?id, sequence = cursor.sequence(), "a snapshot begins");
            live.upkeep.writing = Some(Writing { cursor, start: None, bytes: 0, since: 0 });
        }
        Ok(())
    }

    fn remove_records(&mut self) -> Result<(), PipelineError> {
        if !self.kafka.capabilities().delete_records {
            return Ok(());
        }
        let mut removable = Vec::new();
        for (id, live) in self.desk.live() {
            let Some(start) = live.upkeep.removal else { continue };
            if live.store.flushed_offset()? >= start {
                live.upkeep.removal = None;
                removable.push((id, start));
            }
        }
        for (id, start) in removable {
            self.kafka.remove_before(Role::Changelog(id.class), id.partition, start);
        }
        Ok(())
    }
}

/// How old the last whole snapshot is.
pub(super) fn age(live: &Live, wall_ms: i64) -> Option<Duration> {
    let snapshot = live.upkeep.mark.snapshot?;
    let age_ms = u64::try_from(wall_ms.saturating_sub(snapshot.at_ms)).unwrap_or_default();
    Some(Duration::from_millis(age_ms))
}

#[cfg(test)]
mod tests {
    use super::super::transaction::SnapshotMark;
    use super::*;

    const MIB: u64 = 1 << 20;
    const SLACK: u64 = 24 * MIB;

    fn excess(snapshot_bytes: u64, since: u64) -> Option<u64> {
        let snapshot = SnapshotMark { start: 1, at_ms: 0, bytes: snapshot_bytes };
        let mark = Mark { snapshot: Some(snapshot), since };
        Upkeep::new(mark).excess(SLACK, 1, true)
    }

    #[test]
    fn a_snapshot_is_due_early_enough_for_the_bound() {
        assert_eq!(excess(0, 24 * MIB - 1), None);
        assert_eq!(excess(0, 24 * MIB), Some(0));
        assert_eq!(excess(100 * MIB, 73 * MIB), None);
        assert_eq!(excess(100 * MIB, 75 * MIB), Some(MIB));
    }

    #[test]
    fn an_old_snapshot_is_replaced_if_there_is_anything_to_win() {
        let of = |mib: u64, since: u64| {
            let snapshot = SnapshotMark { start: 1, at_ms: 0, bytes: mib * MIB };
            Upkeep::new(Mark { snapshot: Some(snapshot), since })
        };
        let replaced = |mib: u64, since: u64, age_minutes: i64| {
            of(mib, since).excess(SLACK, age_minutes * 60_000, true) == Some(0)
        };
        assert!(replaced(100, 1, 11));
        assert!(!replaced(100, 1, 9));
        assert!(!replaced(100, 0, 11), "nothing has happened since");
        assert!(!replaced(40, 1, 11), "it is short");
        assert!(!replaced(1_000, 1, 60), "so much in so short a time");
        assert!(replaced(1_000, 1, 70));
        assert_eq!(of(100, 1).excess(SLACK, 660_000, false), None, "nothing can be removed");
        assert_eq!(Upkeep::default().excess(SLACK, i64::MAX, true), None);
    }
}
