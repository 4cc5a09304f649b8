//! Scans: the overlay's changes over the rows on disk.

use lethe_engine::Rows;
use rocksdb::{DB, DBRawIterator};
use std::cmp::Ordering;
use std::iter::Peekable;

use crate::options;
use crate::overlay::{Change, Overlay};
use crate::reserved::FIRST_KEY;

/// Reads at most `rows_max` rows with `from <= key < to` into `rows`. Reserved rows are never among them.
pub(crate) fn scan(
    db: &DB,
    overlay: &mut Overlay,
    from: &[u8],
    to: &[u8],
    rows_max: usize,
    rows: &mut Rows,
) -> Result<(), rocksdb::Error> {
    rows.clear();
    let from = from.max(FIRST_KEY);
    if from >= to || rows_max == 0 {
        return Ok(());
    }
    let mut disk = db.raw_iterator_opt(options::scan(to, rows_max));
    disk.seek(from);
    let mut changes = overlay.range(from, to).peekable();
    while rows.len() < rows_max && step(&mut changes, &mut disk, rows) {}
    disk.status()
}

/// Takes the lesser key of the two, or both if they are equal: then the change hides the row. `false` at the
/// end of both.
fn step<'a>(
    changes: &mut Peekable<impl Iterator<Item = Change<'a>>>,
    disk: &mut DBRawIterator<'_>,
    rows: &mut Rows,
) -> bool {
    let row = disk.item();
    let order = match (changes.peek(), row) {
        (None, None) => return false,
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some((changed, _)), Some((stored, _))) => (*changed).cmp(stored),
    };
    if order == Ordering::Greater {
        if let Some((key, value)) = row {
            rows.push(key, value);
        }
    } else if let Some((key, Some(value))) = changes.next() {
        rows.push(key, value);
    }
    if order != Ordering::Less {
        disk.next();
    }
    true
}
