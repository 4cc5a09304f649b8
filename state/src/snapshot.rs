//! A ledger written to its changelog, so that the records before it can be removed.
//!
//! A snapshot is written slice by slice between batches, while deltas go on: each slice holds the rows as they
//! are when it is written. That is enough: a row that no delta changes meanwhile is the same in every slice, and
//! one that a delta changes is put right by that delta, because deltas carry whole values. So a snapshot that
//! began at sequence *s*, with every delta after *s* applied in order, is the ledger as of the last of them; and
//! the deltas after *s* all lie behind the snapshot's first record. A snapshot without its end is nothing.
//!
//! | bytes | a part | the end |
//! |---|---|---|
//! | 1 | the format, [`PART_FORMAT`] | the format, [`END_FORMAT`] |
//! | 8 | the sequence (u64) at which the snapshot began | the same |
//! | 4 | this part (u32), counted from 1 | how many parts it has (u32) |
//! | 4 | how many rows the part has (u32) | |
//! | 8 | | the sequence (u64) at which it was closed: deltas up to it must follow |
//! | … | the rows, as in a [delta](crate::delta); each has a value | |
//! | 4 | CRC-32C (u32) of all bytes before it | the same |
//!
//! Keys ascend over all parts: they go into sorted files, which the database takes in as they are.

mod ahead;
mod ingest;
mod write;

use crate::delta::DeltaError;
use crate::delta::rows::{RowReader, open_sealed};
pub(crate) use ahead::{Ahead, Room};
pub(crate) use ingest::{Ingest, clean, ingest_options};
pub(crate) use write::write_slice;

/// The first byte of every part of a snapshot.
pub const PART_FORMAT: u8 = 2;
/// The first byte of a snapshot's end.
pub const END_FORMAT: u8 = 3;

/// Where a snapshot that is being written has come to. It counts once the slice before it is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotCursor {
    /// The sequence at which it began.
    pub(crate) sequence: u64,
    /// The parts that are written.
    pub(crate) parts: u32,
    /// The last key that is written.
    pub(crate) after: Vec<u8>,
}

impl SnapshotCursor {
    /// The sequence at which the snapshot began.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether nothing of it is written yet.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.parts == 0
    }
}

/// A slice of a snapshot.
#[derive(Debug)]
pub struct SnapshotSlice {
    /// Records for the changelog, in order.
    pub records: Vec<Vec<u8>>,
    /// Where to go on; none: the last of the records is the snapshot's end.
    pub next: Option<SnapshotCursor>,
}

/// A record of a snapshot.
pub(crate) enum SnapshotRecord<'a> {
    /// Rows.
    Part {
        /// Of the snapshot that began at this sequence.
        sequence: u64,
        /// Counted from 1.
        part: u32,
        /// In order.
        rows: RowReader<'a>,
    },
    /// All parts are written.
    End {
        /// The snapshot began at this sequence.
        sequence: u64,
        /// It has so many parts.
        parts: u32,
        /// Deltas up to this one must follow.
        closed: u64,
    },
}

/// Reads a record of a snapshot; none: it is none.
pub(crate) fn read(record: &[u8]) -> Result<Option<SnapshotRecord<'_>>, DeltaError> {
    let format = match record.first() {
        Some(&format @ (PART_FORMAT | END_FORMAT)) => format,
        Some(_) | None => return Ok(None),
    };
    let mut bytes = open_sealed(record)?;
    let sequence = u64::from_be_bytes(bytes.array()?);
    let count = u32::from_be_bytes(bytes.array()?);
    if format == PART_FORMAT {
        let rows = u32::from_be_bytes(bytes.array()?);
        let rows = RowReader::new(bytes, rows);
        return Ok(Some(SnapshotRecord::Part { sequence, part: count, rows }));
    }
    let closed = u64::from_be_bytes(bytes.array()?);
    if !bytes.is_empty() {
        return Err(DeltaError::TooLong);
    }
    Ok(Some(SnapshotRecord::End { sequence, parts: count, closed }))
}
