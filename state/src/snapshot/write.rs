//! Writes the slices of a snapshot.

use rocksdb::DB;

use super::{END_FORMAT, PART_FORMAT, SnapshotCursor, SnapshotSlice};
use crate::delta::rows::{RowWriter, seal};
use crate::filter::Forgetting;
use crate::options;
use crate::reserved::FIRST_KEY;

/// A key after every other: an engine's keys begin with a tag.
const LAST_KEY: &[u8] = &[0xff; 16];
/// Where the number of rows is in a part.
const ROWS_AT: usize = 13;
/// Rows that one slice looks at, most of which may be forgotten already: some 20 ms.
const SLICE_ROWS_MAX: usize = 100_000;

/// Writes the rows after the cursor, until they are more than `slice_bytes_max`.
pub(crate) fn write_slice(
    db: &DB,
    forgetting: &Forgetting,
    cursor: &SnapshotCursor,
    closed: u64,
    part_bytes_max: usize,
    slice_bytes_max: usize,
) -> Result<SnapshotSlice, rocksdb::Error> {
    let mut disk = db.raw_iterator_opt(options::scan(LAST_KEY, usize::MAX));
    let mut next = cursor.clone();
    if next.after.is_empty() {
        disk.seek(FIRST_KEY);
    } else {
        // The next key after it is the same with a zero behind.
        next.after.push(0);
        disk.seek(&next.after);
        next.after.pop();
    }
    let mut records = Vec::new();
    let (mut bytes, mut seen) = (0, 0);
    let mut part: Option<RowWriter> = None;
    let mut done = true;
    while let Some((key, value)) = disk.item() {
        if bytes >= slice_bytes_max || seen >= SLICE_ROWS_MAX {
            done = false;
            break;
        }
        seen += 1;
        next.after.clear();
        next.after.extend_from_slice(key);
        if !forgetting.is_forgotten(key, value) {
            let mut rows = part.take().unwrap_or_else(|| begin(&mut next));
            rows.push(key, Some(value));
            if rows.len() >= part_bytes_max {
                let record = rows.finish(ROWS_AT);
                bytes += record.len();
                records.push(record);
            } else {
                part = Some(rows);
            }
        }
        disk.next();
    }
    disk.status()?;
    records.extend(part.map(|rows| rows.finish(ROWS_AT)));
    if next.parts == 0 {
        // The first record says where the snapshot begins, and the deltas that belong to it: there has to be one,
        // although all rows so far can be forgotten.
        records.push(begin(&mut next).finish(ROWS_AT));
    }
    if !done {
        return Ok(SnapshotSlice { records, next: Some(next) });
    }
    let mut end = vec![END_FORMAT];
    end.extend_from_slice(&next.sequence.to_be_bytes());
    end.extend_from_slice(&next.parts.to_be_bytes());
    end.extend_from_slice(&closed.to_be_bytes());
    records.push(seal(end));
    Ok(SnapshotSlice { records, next: None })
}

/// Begins the next part.
fn begin(cursor: &mut SnapshotCursor) -> RowWriter {
    cursor.parts += 1;
    let mut header = vec![PART_FORMAT];
    header.extend_from_slice(&cursor.sequence.to_be_bytes());
    header.extend_from_slice(&cursor.parts.to_be_bytes());
    header.extend_from_slice(&0_u32.to_be_bytes());
    RowWriter::new(header)
}
