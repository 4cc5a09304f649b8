//! Putting deltas together from the records of the changelog.
//!
//! A delta is written whole or not at all. Of one whose writer died, or whose transaction was aborted on a
//! broker without filtering, only the first parts may be there: they wait in memory, and are dropped when
//! the delta with that sequence begins anew.

use std::path::Path;

use crate::delta::{Delta, DeltaHeader};
use crate::error::StateError;
use crate::filter::Forgetting;
use crate::options;
use crate::reserved::{Position, RESTORING_KEY};
use crate::snapshot::{self, Ingest, SnapshotRecord};
use crate::store::{Store, Writes};

impl Store {
    /// Applies a record of the changelog, and moves on to the offset after it. The parts of a delta are collected
    /// until the last is there. After an error the store is as it was before the delta.
    ///
    /// An empty store takes in the first whole snapshot that it meets, and passes over the deltas until then, but
    /// for those that begin with the first; those among the snapshot's records are kept until it is in. Any other
    /// store passes over snapshots.
    ///
    /// # Panics
    /// If a batch is at hand: a fault of the caller's.
    pub fn restore(
        &mut self,
        record: &[u8],
        next_changelog_offset: i64,
    ) -> Result<Restored, StateError> {
        assert!(!self.is_dirty(), "a restore comes before the first batch");
        let refused = |source| StateError::Delta { dir: self.dir.clone(), source };
        if let Some(found) = snapshot::read(record).map_err(refused)? {
            return self.restore_snapshot(found, next_changelog_offset);
        }
        if self.position.sequence == 0 {
            let sequence = Delta::decode(record).map_err(refused)?.header().sequence;
            if let Some(ingest) = &mut self.ingest {
                ingest.ahead.keep(record, next_changelog_offset);
            }
            if self.ingest.is_some() || sequence > 1 {
                self.passed_over.get_or_insert(sequence);
                return Ok(Restored::PassedOver);
            }
        }
        self.restore_delta(record, next_changelog_offset)
    }

    fn restore_delta(
        &mut self,
        record: &[u8],
        next_changelog_offset: i64,
    ) -> Result<Restored, StateError> {
        let applied = self.position.sequence;
        match self.assembly.add(record, applied, &self.forgetting, &self.dir)? {
            Collected::Whole(header, writes) => {
                let changelog_offset = next_changelog_offset;
                self.write(writes, Position { sequence: header.sequence, changelog_offset })?;
                Ok(Restored::Applied(header))
            }
            Collected::Incomplete => Ok(Restored::Incomplete),
            Collected::Known => {
                self.move_on(next_changelog_offset);
                Ok(Restored::Known)
            }
        }
    }

    /// To be called once the changelog is read to its end: whether nothing is missing.
    pub fn check_whole(&self) -> Result<(), StateError> {
        let missing = match (self.incomplete_until, self.passed_over) {
            (Some(until), _) => Some(until),
            (None, Some(found)) if self.position.sequence == 0 => Some(found),
            (None, Some(_) | None) => None,
        };
        match missing {
            Some(found) => Err(StateError::NoSnapshot { dir: self.dir.clone(), found }),
            None => Ok(()),
        }
    }

    fn restore_snapshot(
        &mut self,
        record: SnapshotRecord<'_>,
        next_changelog_offset: i64,
    ) -> Result<Restored, StateError> {
        if self.position.sequence > 0 || self.assembly.is_waiting() {
            self.move_on(next_changelog_offset);
            return Ok(Restored::PassedOver);
        }
        match record {
            SnapshotRecord::Part { sequence, part: 1, rows } => {
                self.ingest = None;
                let start = next_changelog_offset - 1;
                let mut ingest = Ingest::begin(&self.dir, sequence, start, &self.ahead)?;
                ingest.add(rows, &self.forgetting)?;
                self.ingest = Some(ingest);
            }
            SnapshotRecord::Part { sequence, part, rows } => {
                // What does not go on from the part before it is of an interrupted snapshot; one that is
                // there already may come again.
                let goes_on =
                    |ingest: &Ingest| ingest.sequence == sequence && part <= ingest.parts + 1;
                if let Some(mut ingest) = self.ingest.take().filter(goes_on) {
                    if part > ingest.parts {
                        ingest.add(rows, &self.forgetting)?;
                    }
                    self.ingest = Some(ingest);
                }
            }
            SnapshotRecord::End { sequence, parts, closed } => {
                let ends = |ingest: &Ingest| ingest.sequence == sequence && ingest.parts == parts;
                let begun = match self.ingest.take() {
                    // Its end is all that there was to write of an empty ledger, by those that wrote no empty part.
                    _ if parts == 0 => {
                        let start = next_changelog_offset - 1;
                        Some(Ingest::begin(&self.dir, sequence, start, &self.ahead)?)
                    }
                    begun => begun.filter(ends),
                };
                if let Some(ingest) = begun {
                    return self.take_in(ingest, closed, next_changelog_offset);
                }
            }
        }
        Ok(Restored::PassedOver)
    }

    /// Makes a snapshot that is there whole the store's content, and applies the deltas among its records.
    fn take_in(
        &mut self,
        ingest: Ingest,
        closed: u64,
        next_changelog_offset: i64,
    ) -> Result<Restored, StateError> {
        let position = Position { sequence: ingest.sequence, changelog_offset: ingest.start };
        let (files, books, ahead) = ingest.finish()?;
        let mark = self.db.put_opt(RESTORING_KEY, closed.to_be_bytes(), &options::write());
        mark.map_err(|error| self.failed(error))?;
        self.flush()?;
        if !files.is_empty() {
            let taken = self.db.ingest_external_file_opts(&snapshot::ingest_options(), files);
            taken.map_err(|error| self.failed(error))?;
        }
        snapshot::clean(&self.dir)?;
        self.keep_step()?;
        for (key, value) in &books {
            self.forgetting.learn(key, value);
        }
        self.incomplete_until = Some(closed);
        self.passed_over = None;
        self.write(Writes::default(), position)?;
        for (next_offset, record) in ahead.records() {
            self.restore_delta(record, next_offset)?;
        }
        match ahead.again_from() {
            Some(offset) => Ok(Restored::Rewind(offset)),
            None => {
                self.move_on(next_changelog_offset);
                Ok(Restored::TakenIn)
            }
        }
    }

    /// Nothing is to be done about the records before an offset.
    fn move_on(&mut self, next_changelog_offset: i64) {
        if !self.assembly.is_waiting() {
            let offset = &mut self.position.changelog_offset;
            *offset = next_changelog_offset.max(*offset);
        }
    }
}

/// What became of a record of the changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// It was the last part of the next delta, which is written now. The header is this last part's.
    Applied(DeltaHeader),
    /// It waits for the parts that follow.
    Incomplete,
    /// Its delta had been applied before.
    Known,
    /// It is a part of a snapshot, or a delta that is applied after one.
    PassedOver,
    /// A snapshot was taken in, with the deltas that lie among its records.
    TakenIn,
    /// The same, but there was no room for all of these: the records from this offset on are to be read again.
    Rewind(i64),
}

/// A record, put with those before it.
pub(crate) enum Collected {
    Whole(DeltaHeader, Writes),
    Incomplete,
    Known,
}

/// The parts of the next delta that are there.
#[derive(Default)]
pub(crate) struct Assembly(Option<Arriving>);

struct Arriving {
    /// Of the last part that is there.
    header: DeltaHeader,
    writes: Writes,
}

impl Assembly {
    /// Whether a delta waits for the rest of its parts.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.0.is_some()
    }

    /// Forgets the parts that are there.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// Takes in a record, given the sequence of the last delta applied.
    pub(crate) fn add(
        &mut self,
        record: &[u8],
        applied: u64,
        forgetting: &Forgetting,
        dir: &Path,
    ) -> Result<Collected, StateError> {
        let refused = |source| StateError::Delta { dir: dir.to_owned(), source };
        let mut delta = Delta::decode(record).map_err(refused)?;
        let header = *delta.header();
        if header.sequence <= applied {
            return Ok(Collected::Known);
        }
        if header.sequence - applied > 1 {
            let found = header.sequence;
            return Err(StateError::Gap { dir: dir.to_owned(), applied, found });
        }
        let mut writes = self.take_before(&header, dir)?;
        while let Some((key, value)) = delta.next_row().map_err(refused)? {
            writes.add(key, value, forgetting);
        }
        if header.part == header.parts {
            return Ok(Collected::Whole(header, writes));
        }
        self.0 = Some(Arriving { header, writes });
        Ok(Collected::Incomplete)
    }

    /// The rows of the parts before this one.
    fn take_before(&mut self, header: &DeltaHeader, dir: &Path) -> Result<Writes, StateError> {
        let arriving = self.0.take();
        if header.part == 1 {
            return Ok(Writes::default());
        }
        let expected = arriving.as_ref().map_or(1, |arriving| arriving.header.part + 1);
        match arriving {
            Some(Arriving { header: before, writes })
                if *header == (DeltaHeader { part: expected, ..before }) =>
            {
                Ok(writes)
            }
            Some(_) | None => Err(StateError::PartMissing {
                dir: dir.to_owned(),
                sequence: header.sequence,
                expected,
                found: header.part,
            }),
        }
    }
}
