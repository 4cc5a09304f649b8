//! The rows that a store keeps about itself; the table is in the crate's documentation.

use rocksdb::{DB, IteratorMode};
use std::path::Path;

use crate::error::StateError;

/// The first byte of every reserved key. The engine never uses it.
pub const RESERVED_TAG: u8 = 0x00;

/// The version of the format of the directory: of the reserved rows, and of what RocksDB is asked to write.
pub const FORMAT_VERSION: u32 = 1;

/// The first key that a scan may show.
pub(crate) const FIRST_KEY: &[u8] = &[RESERVED_TAG + 1];

pub(crate) const FORMAT_KEY: &[u8] = &[RESERVED_TAG, b'F'];
pub(crate) const IDENTITY_KEY: &[u8] = &[RESERVED_TAG, b'I'];
pub(crate) const POSITION_KEY: &[u8] = &[RESERVED_TAG, b'P'];

/// There while the store has a snapshot, but not yet the deltas that make it whole.
pub(crate) const RESTORING_KEY: &[u8] = &[RESERVED_TAG, b'R'];

const MAGIC: &[u8] = b"lethe-state";

/// Whether a key is this crate's own (or empty, which no row's is).
pub(crate) fn is_reserved(key: &[u8]) -> bool {
    key < FIRST_KEY
}

/// The value of the format row.
pub(crate) fn format_row() -> Vec<u8> {
    [MAGIC, &FORMAT_VERSION.to_be_bytes()].concat()
}

/// Reads the format row: `false` if the database is new.
pub(crate) fn check_format(db: &DB, dir: &Path) -> Result<bool, StateError> {
    let row = db.get(FORMAT_KEY).map_err(|error| StateError::from_rocksdb(dir, error))?;
    let Some(row) = row else {
        return is_empty(db, dir)?
            .then_some(false)
            .ok_or_else(|| StateError::Foreign { dir: dir.to_owned() });
    };
    let version = row.strip_prefix(MAGIC).and_then(|version| version.try_into().ok());
    match version.map(u32::from_be_bytes) {
        Some(FORMAT_VERSION) => Ok(true),
        Some(found) => {
            Err(StateError::OtherFormat { dir: dir.to_owned(), found, supported: FORMAT_VERSION })
        }
        None => Err(StateError::Foreign { dir: dir.to_owned() }),
    }
}

fn is_empty(db: &DB, dir: &Path) -> Result<bool, StateError> {
    match db.iterator(IteratorMode::Start).next() {
        None => Ok(true),
        Some(Ok(_)) => Ok(false),
        Some(Err(error)) => Err(StateError::from_rocksdb(dir, error)),
    }
}

/// How far the changelog is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The sequence of the last delta applied; 0 before the first.
    pub(crate) sequence: u64,
    /// The offset of the changelog to read on from.
    pub(crate) changelog_offset: i64,
}

impl Position {
    /// The value of the position row.
    pub(crate) fn row(self) -> [u8; 16] {
        let row =
            (u128::from(self.sequence) << 64) | u128::from(self.changelog_offset.cast_unsigned());
        row.to_be_bytes()
    }

    /// Reads the position row.
    pub(crate) fn read(row: &[u8]) -> Option<Self> {
        let (sequence, changelog_offset) = row.split_first_chunk()?;
        Some(Self {
            sequence: u64::from_be_bytes(*sequence),
            changelog_offset: i64::from_be_bytes(changelog_offset.try_into().ok()?),
        })
    }
}
