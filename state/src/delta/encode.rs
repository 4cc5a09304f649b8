//! Writes deltas.

use super::{CHECKSUM_BYTES, DELTA_FORMAT, DeltaHeader, HEADER_BYTES, PARTS_AT, ROWS_AT};

/// Collects sorted rows into the parts of a delta.
pub(crate) struct DeltaWriter {
    header: DeltaHeader,
    part_bytes_max: usize,
    done: Vec<Vec<u8>>,
    part: Part,
}

/// The part that is being written.
struct Part {
    bytes: Vec<u8>,
    rows: u32,
    key: Vec<u8>,
}

impl DeltaWriter {
    /// Begins a delta whose parts are at most `part_bytes_max` long; a row that does not fit into one of
    /// that size gets a longer one to itself. The numbers of the header's parts are not used.
    pub(crate) fn new(header: DeltaHeader, part_bytes_max: usize) -> Self {
        let header = DeltaHeader { part: 1, parts: 1, ..header };
        Self { header, part_bytes_max, done: Vec::new(), part: Part::new(&header) }
    }

    /// Adds a row: its key, greater than the one before, and its value, or `None` if it is deleted.
    pub(crate) fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let end = self.part.bytes.len();
        self.part.push(key, value);
        let is_full = self.part.bytes.len() + CHECKSUM_BYTES > self.part_bytes_max;
        if is_full && self.part.rows > 1 {
            self.part.bytes.truncate(end);
            self.part.rows -= 1;
            self.header.part += 1;
            self.header.parts += 1;
            let full = std::mem::replace(&mut self.part, Part::new(&self.header));
            self.done.push(full.finish());
            self.part.push(key, value);
        }
    }

    /// The delta's parts.
    pub(crate) fn finish(mut self) -> Vec<Vec<u8>> {
        self.done.push(self.part.finish());
        for part in &mut self.done {
            set(part, PARTS_AT, self.header.parts);
            let checksum = crc32c::crc32c(part);
            part.extend_from_slice(&checksum.to_be_bytes());
        }
        self.done
    }
}

impl Part {
    fn new(header: &DeltaHeader) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + CHECKSUM_BYTES);
        bytes.push(DELTA_FORMAT);
        bytes.extend_from_slice(&header.sequence.to_be_bytes());
        bytes.extend_from_slice(&header.part.to_be_bytes());
        bytes.extend_from_slice(&header.parts.to_be_bytes());
        bytes.extend_from_slice(&header.input_offset.to_be_bytes());
        bytes.extend_from_slice(&header.control_offset.to_be_bytes());
        bytes.extend_from_slice(&header.decided_at_ms.to_be_bytes());
        bytes.extend_from_slice(&0_u32.to_be_bytes());
        Self { bytes, rows: 0, key: Vec::new() }
    }

    fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        debug_assert!(self.rows == 0 || self.key.as_slice() < key, "rows come sorted");
        let shared = self.key.iter().zip(key).take_while(|(a, b)| a == b).count();
        let suffix = key.get(shared..).unwrap_or_default();
        push_varint(&mut self.bytes, shared);
        push_varint(&mut self.bytes, suffix.len());
        push_varint(&mut self.bytes, value.map_or(0, |value| value.len() + 1));
        self.bytes.extend_from_slice(suffix);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        self.rows += 1;
    }

    fn finish(mut self) -> Vec<u8> {
        set(&mut self.bytes, ROWS_AT, self.rows);
        self.bytes
    }
}

fn set(part: &mut [u8], at: usize, number: u32) {
    if let Some(place) = part.get_mut(at..).and_then(|part| part.first_chunk_mut()) {
        *place = number.to_be_bytes();
    }
}

fn push_varint(bytes: &mut Vec<u8>, number: usize) {
    let mut rest = number;
    while rest >= 0x80 {
        // The low seven bits, and the bit that says that more follow.
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}
