//! Writes deltas.

use super::rows::{CHECKSUM_BYTES, RowWriter, seal, set};
use super::{DELTA_FORMAT, DeltaHeader, HEADER_BYTES, PARTS_AT, ROWS_AT};

/// Collects sorted rows into the parts of a delta.
pub(crate) struct DeltaWriter {
    header: DeltaHeader,
    part_bytes_max: usize,
    done: Vec<Vec<u8>>,
    part: RowWriter,
}

impl DeltaWriter {
    /// Begins a delta whose parts are at most `part_bytes_max` long; a row that does not fit into one of
    /// that size gets a longer one to itself. The numbers of the header's parts are not used.
    pub(crate) fn new(header: DeltaHeader, part_bytes_max: usize) -> Self {
        let header = DeltaHeader { part: 1, parts: 1, ..header };
        Self { header, part_bytes_max, done: Vec::new(), part: begin(&header) }
    }

    /// Adds a row: its key, greater than the one before, and its value, or `None` if it is deleted.
    pub(crate) fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let end = self.part.len();
        self.part.push(key, value);
        let is_full = self.part.len() + CHECKSUM_BYTES > self.part_bytes_max;
        if is_full && self.part.rows() > 1 {
            self.part.take_back(end);
            self.header.part += 1;
            self.header.parts += 1;
            let full = std::mem::replace(&mut self.part, begin(&self.header));
            self.done.push(full.unsealed(ROWS_AT));
            self.part.push(key, value);
        }
    }

    /// The delta's parts.
    pub(crate) fn finish(mut self) -> Vec<Vec<u8>> {
        self.done.push(self.part.unsealed(ROWS_AT));
        let parts = self.header.parts;
        let whole = |mut part: Vec<u8>| {
            set(&mut part, PARTS_AT, parts);
            seal(part)
        };
        self.done.into_iter().map(whole).collect()
    }
}

fn begin(header: &DeltaHeader) -> RowWriter {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + CHECKSUM_BYTES);
    bytes.push(DELTA_FORMAT);
    bytes.extend_from_slice(&header.sequence.to_be_bytes());
    bytes.extend_from_slice(&header.part.to_be_bytes());
    bytes.extend_from_slice(&header.parts.to_be_bytes());
    bytes.extend_from_slice(&header.input_offset.to_be_bytes());
    bytes.extend_from_slice(&header.control_offset.to_be_bytes());
    bytes.extend_from_slice(&header.decided_at_ms.to_be_bytes());
    bytes.extend_from_slice(&0_u32.to_be_bytes());
    RowWriter::new(bytes)
}
