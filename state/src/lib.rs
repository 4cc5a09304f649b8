//! One partition's ledger on local disk.
//!
//! A [`Store`] is a RocksDB directory with the changes of the batch at hand (the overlay) on top. It
//! implements [`lethe_engine::Ledger`] and knows nothing of Kafka: it hands out a batch's changes as
//! bytes for a changelog ([`Store::delta`]), writes them once they are committed there
//! ([`Store::commit`]), and applies the same bytes elsewhere ([`Store::restore`]).
//!
//! # Invariants
//! - The directory is never ahead of the committed changelog, and always a prefix of it: a delta's rows,
//!   its sequence and the changelog's offset are one write, there is no write-ahead log, and memory goes to
//!   disk in the order in which it was written.
//! - The compaction filter sees committed lines alone ([`Rule`]).
//! - Persisted bytes are forever: golden tests pin them, and the format version is checked at open.
//!
//! # Reserved rows
//! Keys that begin with [`RESERVED_TAG`] belong to this crate: reads and scans never show them, and a delta
//! that names one is refused. Numbers are big-endian.
//!
//! | key | value |
//! |---|---|
//! | `00 'F'` | the 11 bytes `lethe-state`, then the format version (u32) |
//! | `00 'I'` | the [`Identity`]: the layout (a byte, 1), partition (i32), partitions (i32), then cluster, topic and changelog id, each its length (u32) and its UTF-8 bytes; an unknown id is empty |
//! | `00 'P'` | the position: sequence (u64) of the last delta applied, next changelog offset (i64) |
//! | `00 'R'` | while a snapshot is taken in: the sequence (u64) up to which deltas must follow |
//!
//! # Map
//! [`store`](Store) opens and writes, `overlay` holds the batch, `scan` merges the two, `restore` collects a
//! delta's parts, [`delta`] and [`snapshot`] are the formats of the changelog, `filter` forgets, `reserved` and `identity` are
//! the rows above, `options` and `memory` configure RocksDB.

pub mod delta;
mod error;
mod filter;
mod identity;
mod memory;
mod options;
mod overlay;
mod reserved;
mod restore;
mod scan;
pub mod snapshot;
mod store;

pub use delta::{Delta, DeltaError, DeltaHeader};
pub use error::{Remedy, StateError};
pub use filter::{LineOf, LineOfBooks, Rule};
pub use identity::{Identity, IdentityField};
pub use memory::Memory;
pub use reserved::{FORMAT_VERSION, RESERVED_TAG};
pub use restore::Restored;
pub use snapshot::{SnapshotCursor, SnapshotSlice};
pub use store::{Pressure, Store};
