//! The rows that lethe remembers of one partition, as sorted bytes.
//!
//! A [`Ledger`] is a sorted map from bytes to bytes with the changes of the batch at hand on top.
//! This module owns what the bytes mean ([`key`], [`Entry`], [`Books`]); where they are kept is the
//! business of the implementation: a map in memory in the tests, RocksDB in the program.
//!
//! Invariant: persisted bytes are forever. A tag or a field number is never reused.

use std::fmt;

mod books;
mod bytes;
mod control;
mod conversation;
mod entry;
mod erasure;
pub mod key;
mod latest;
mod reason;
mod rebuilt;
mod replay;
mod sweep;

pub use books::{Books, Floor, Line, NOTHING_MS};
pub use control::{Control, Remembered};
pub use conversation::Conversation;
pub use entry::{Entry, RECIPIENTS_INLINE_MAX, State};
pub use erasure::{ErasureCounts, ErasureRow};
pub use latest::Latest;
pub use rebuilt::{Rebuilt, read_over, write_over};
pub use replay::{REPLAY_OUTCOMES, ReplayCounts, ReplayRange, ReplayRow, ReplayStatus};
pub use sweep::Sweep;

/// Up to which time a tenant's rows are forgotten, if this is the row of its books: the tenant's bytes
/// and the time (Unix ms). For the filter that drops forgotten rows from the disk.
#[must_use]
pub fn forgotten_line<'a>(key: &'a [u8], value: &[u8]) -> Option<(&'a [u8], i64)> {
    let (&tag, tenant) = key.split_first()?;
    let books = (tag == key::tag::BOOKS).then(|| Books::read(value).ok())??;
    Some((tenant, books.forgotten_ms()))
}

/// Whether a row may be dropped from the disk, given up to which time each tenant's rows are forgotten.
/// It is then logically absent already: dropping it changes nothing but the disk's use.
#[must_use]
pub fn forget(key: &[u8], value: &[u8], line_of: &dyn Fn(&[u8]) -> i64) -> bool {
    let Some((tenant, rest)) = key::tenant_in(key) else {
        return false;
    };
    let time_ms = match key.first() {
        Some(&(key::tag::ENTRY | key::tag::RECIPIENT)) => {
            key::time_in(rest).map(|(time_ms, _)| time_ms)
        }
        // The newest version makes older ones known: it may go when they would be over anyway, and
        // nothing stands beside it.
        Some(&key::tag::LATEST) => Latest::read(value)
            .ok()
            .filter(|latest| latest.beside == 0)
            .map(|latest| latest.newest_ms),
        Some(&key::tag::OVER) => read_over(value).ok(),
        _ => None,
    };
    time_ms.is_some_and(|time_ms| time_ms <= line_of(tenant))
}

/// The remembered rows of one partition. Every change made through it belongs to the batch at hand:
/// it is seen by later reads at once, and kept or dropped as a whole when the batch commits or aborts.
pub trait Ledger {
    /// Why a row could not be read.
    type Error: From<Corrupt>;

    /// Reads a row's value into `value` (emptied first); `false` if there is no such row.
    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, Self::Error>;

    /// Writes a row.
    fn put(&mut self, key: &[u8], value: &[u8]);

    /// Removes a row, if it is there.
    fn delete(&mut self, key: &[u8]);

    /// Reads at most `rows_max` rows with `from <= key < to`, in order, into `rows` (emptied first).
    fn scan(
        &mut self,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        rows: &mut Rows,
    ) -> Result<(), Self::Error>;
}

/// A row that does not decode: a fault of the disk or of lethe, never of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt(pub &'static str);

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a ledger row does not decode: {}", self.0)
    }
}

impl std::error::Error for Corrupt {}

/// Rows that a scan has read, in one buffer that is used again.
#[derive(Debug, Default)]
pub struct Rows {
    bytes: Vec<u8>,
    /// Where each row's key and value end.
    ends: Vec<(usize, usize)>,
}

impl Rows {
    /// Empties the buffer, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends a row.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The rows, in the order in which they were read.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(key_end, end)| {
            let key = self.bytes.get(start..key_end).unwrap_or_default();
            let value = self.bytes.get(key_end..end).unwrap_or_default();
            start = end;
            (key, value)
        })
    }
}
