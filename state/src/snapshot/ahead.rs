//! The deltas that lie among a snapshot's records: kept until it is in, so that nothing is read twice.
//!
//! They take the room of write buffers, which stand empty meanwhile, out of a bound that all stores of a
//! process share. What finds no room is read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Room for what is kept, shared by all stores of a process.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<AtomicUsize>);

impl Room {
    /// For so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// Records of the changelog, in order, without a gap.
pub(crate) struct Ahead {
    room: Room,
    bytes: usize,
    /// Each with the offset after it.
    records: Vec<(i64, Vec<u8>)>,
    /// The offset of the first that found no room.
    again_from: Option<i64>,
}

impl Ahead {
    pub(crate) fn new(room: &Room) -> Self {
        Self { room: room.clone(), bytes: 0, records: Vec::new(), again_from: None }
    }

    /// Keeps a record, if there is room for it and all before it.
    pub(crate) fn keep(&mut self, record: &[u8], next_offset: i64) {
        if self.again_from.is_some() {
            return;
        }
        if !self.room.take(record.len()) {
            self.again_from = Some(next_offset - 1);
            return;
        }
        self.bytes += record.len();
        self.records.push((next_offset, record.to_owned()));
    }

    /// What is kept.
    pub(crate) fn records(&self) -> impl Iterator<Item = (i64, &[u8])> {
        self.records.iter().map(|(next, record)| (*next, record.as_slice()))
    }

    /// From where on the records are to be read again; none: all of them are here.
    pub(crate) const fn again_from(&self) -> Option<i64> {
        self.again_from
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.room.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}
