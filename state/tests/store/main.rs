//! Stores as their users see them: written, dropped or crashed, opened again, compared. One scenario a file;
//! one program, because each links all of RocksDB.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod corruption;
mod delta_decode;
mod delta_format;
mod disk;
mod forgetting;
mod format_version;
mod identity;
mod lock;
mod model;
mod reopen;
mod reserved_rows;
mod restore;
mod roundtrip;
mod snapshot;
mod support;
mod unwritable;
