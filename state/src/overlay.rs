//! The changes of the batch at hand: rows that were put or deleted, the last change of a key alone.
//!
//! Reads and writes go through a hash index over an arena, without an allocation a row once the buffers
//! have grown. The order is made when somebody asks for it, and kept: rows that came since are sorted in.

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};
use std::hash::BuildHasher;

/// Up to how many new rows are inserted into the order one by one; more are appended and sorted. One costs a
/// move of the indices behind it, sorting a pass over all of them.
const INSERT_ROWS_MAX: usize = 32;

/// What an empty overlay keeps of its buffers after a large batch, so that one storm does not hold memory
/// for ever.
const KEEP_BYTES_MAX: usize = 4 * 1024 * 1024;
const KEEP_ROWS_MAX: usize = 64 * 1024;

/// A row's kind, and the lengths of its key and its value, at most for the rows that a ledger has.
const LENGTHS_BYTES: usize = 5;

/// A row: its key, and its value, or `None` if it is deleted.
pub(crate) type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// The changes of a batch.
#[derive(Default)]
pub(crate) struct Overlay {
    arena: Arena,
    /// In the order in which their keys first came.
    rows: Vec<Row>,
    /// Finds a row's number by its key.
    index: HashTable<usize>,
    hasher: DefaultHashBuilder,
    /// Numbers of rows, by key; as long as `rows` once sorted.
    sorted: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Row {
    key: Span,
    value: Option<Span>,
}

impl Overlay {
    /// Whether nothing was changed.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// About how many bytes the changes take as rows, each behind its lengths.
    pub(crate) fn bytes(&self) -> usize {
        self.arena.0.len() + self.rows.len() * LENGTHS_BYTES
    }

    /// The last change of a key: `Some(None)` if it was deleted, `None` if it was not changed.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        if self.rows.is_empty() {
            return None;
        }
        let hash = self.hasher.hash_one(key);
        let row = self.index.find(hash, |&row| key_of(&self.arena, &self.rows, row) == key)?;
        let row = self.rows.get(*row)?;
        Some(row.value.map(|value| self.arena.bytes(value)))
    }

    /// Changes a row.
    pub(crate) fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Self { arena, rows, index, hasher, sorted: _ } = self;
        let entry = index.entry(
            hasher.hash_one(key),
            |&row| key_of(arena, rows, row) == key,
            |&row| hasher.hash_one(key_of(arena, rows, row)),
        );
        match entry {
            Entry::Occupied(entry) => {
                if let Some(row) = rows.get_mut(*entry.get()) {
                    row.value = value.map(|value| arena.replace(row.value, value));
                }
            }
            Entry::Vacant(entry) => {
                entry.insert(rows.len());
                let key = arena.push(key);
                rows.push(Row { key, value: value.map(|value| arena.push(value)) });
            }
        }
    }

    /// All changes, by key.
    pub(crate) fn sorted(&mut self) -> impl Iterator<Item = Change<'_>> {
        self.sort();
        self.sorted.iter().filter_map(|&row| self.change(row))
    }

    /// The changes of keys with `from <= key < to`, by key.
    pub(crate) fn range(&mut self, from: &[u8], to: &[u8]) -> impl Iterator<Item = Change<'_>> {
        self.sort();
        let before = |bound: &[u8]| {
            self.sorted.partition_point(|&row| key_of(&self.arena, &self.rows, row) < bound)
        };
        let rows = self.sorted.get(before(from)..before(to)).unwrap_or_default();
        rows.iter().filter_map(|&row| self.change(row))
    }

    /// Forgets all changes.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.rows.clear();
        self.rows.shrink_to(KEEP_ROWS_MAX);
        self.sorted.clear();
        self.sorted.shrink_to(KEEP_ROWS_MAX);
        self.index.clear();
        // The table is empty: there is nothing to hash.
        self.index.shrink_to(KEEP_ROWS_MAX, |_| 0);
    }

    fn change(&self, row: usize) -> Option<Change<'_>> {
        let row = self.rows.get(row)?;
        Some((self.arena.bytes(row.key), row.value.map(|value| self.arena.bytes(value))))
    }

    fn sort(&mut self) {
        let Self { arena, rows, sorted, .. } = self;
        let new = sorted.len()..rows.len();
        if new.len() > INSERT_ROWS_MAX {
            sorted.extend(new);
            // Stable sorting finds and keeps the run that is sorted already.
            sorted.sort_by(|&a, &b| key_of(arena, rows, a).cmp(key_of(arena, rows, b)));
            return;
        }
        for row in new {
            let key = key_of(arena, rows, row);
            let at = sorted.partition_point(|&other| key_of(arena, rows, other) < key);
            sorted.insert(at, row);
        }
    }
}

fn key_of<'a>(arena: &'a Arena, rows: &[Row], row: usize) -> &'a [u8] {
    rows.get(row).map(|row| arena.bytes(row.key)).unwrap_or_default()
}

/// Bytes of an arena.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    length: usize,
}

/// Bytes of many keys and values in one buffer.
#[derive(Default)]
struct Arena(Vec<u8>);

impl Arena {
    fn bytes(&self, span: Span) -> &[u8] {
        self.0.get(span.start..span.start + span.length).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) -> Span {
        let span = Span { start: self.0.len(), length: bytes.len() };
        self.0.extend_from_slice(bytes);
        span
    }

    /// Writes a value in the place of an older one if it fits there, else at the end.
    fn replace(&mut self, older: Option<Span>, bytes: &[u8]) -> Span {
        if let Some(older) = older
            && let Some(place) = self.0.get_mut(older.start..older.start + older.length)
            && let Some(place) = place.get_mut(..bytes.len())
        {
            place.copy_from_slice(bytes);
            return Span { start: older.start, length: bytes.len() };
        }
        self.push(bytes)
    }

    fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(KEEP_BYTES_MAX);
    }
}
