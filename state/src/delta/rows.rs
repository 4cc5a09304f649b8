//! Sorted, front-coded rows and the checksum around them: what deltas and snapshots have in common.

use super::decode::{DeltaError, Row};
use crate::reserved::is_reserved;

pub(crate) const CHECKSUM_BYTES: usize = 4;

/// Appends the checksum.
pub(crate) fn seal(mut record: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&record);
    record.extend_from_slice(&checksum.to_be_bytes());
    record
}

/// Checks the checksum, and gives what is between it and the format byte.
pub(crate) fn open_sealed(record: &[u8]) -> Result<Reader<'_>, DeltaError> {
    let (body, checksum) =
        record.split_last_chunk::<CHECKSUM_BYTES>().ok_or(DeltaError::TooShort)?;
    if crc32c::crc32c(body) != u32::from_be_bytes(*checksum) {
        return Err(DeltaError::Checksum);
    }
    Ok(Reader(body.get(1..).unwrap_or_default()))
}

/// Writes rows behind a header.
pub(crate) struct RowWriter {
    bytes: Vec<u8>,
    rows: u32,
    key: Vec<u8>,
}

impl RowWriter {
    pub(crate) fn new(header: Vec<u8>) -> Self {
        Self { bytes: header, rows: 0, key: Vec::new() }
    }

    /// How long the record is so far, without its checksum.
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) const fn rows(&self) -> u32 {
        self.rows
    }

    /// Adds a row, whose key is greater than the one before.
    pub(crate) fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
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

    /// Takes the last row back, before which the record was `length` long. No row may follow.
    pub(crate) fn take_back(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.rows -= 1;
    }

    /// The record without its checksum, its number of rows written into the header.
    pub(crate) fn unsealed(mut self, rows_at: usize) -> Vec<u8> {
        set(&mut self.bytes, rows_at, self.rows);
        self.bytes
    }

    /// The record.
    pub(crate) fn finish(self, rows_at: usize) -> Vec<u8> {
        seal(self.unsealed(rows_at))
    }
}

/// Writes a number into a header.
pub(crate) fn set(record: &mut [u8], at: usize, number: u32) {
    if let Some(place) = record.get_mut(at..).and_then(|record| record.first_chunk_mut()) {
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

/// Reads rows one by one.
pub(crate) struct RowReader<'a> {
    rows_left: u32,
    rows: Reader<'a>,
    /// The key of the row that was read last.
    key: Vec<u8>,
}

impl<'a> RowReader<'a> {
    pub(crate) const fn new(rows: Reader<'a>, count: u32) -> Self {
        Self { rows_left: count, rows, key: Vec::new() }
    }

    /// The next row; `None` after the last.
    pub(crate) fn next_row(&mut self) -> Result<Option<Row<'_, 'a>>, DeltaError> {
        let Some(rows_left) = self.rows_left.checked_sub(1) else {
            return if self.rows.is_empty() { Ok(None) } else { Err(DeltaError::TooLong) };
        };
        let shared = self.rows.varint()?;
        let suffix_bytes = self.rows.varint()?;
        let value_bytes = self.rows.varint()?;
        let suffix = self.rows.take(suffix_bytes)?;
        let value = match value_bytes.checked_sub(1) {
            None => None,
            Some(value_bytes) => Some(self.rows.take(value_bytes)?),
        };
        let replaced = self.key.get(shared..).ok_or(DeltaError::Shared)?;
        // With the same beginning, the ends decide. Also of the first key, which follows on an empty one.
        if suffix <= replaced {
            return Err(DeltaError::Order);
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        if is_reserved(&self.key) {
            return Err(DeltaError::Reserved);
        }
        self.rows_left = rows_left;
        Ok(Some((&self.key, value)))
    }
}

/// Bytes that are read from the front.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DeltaError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DeltaError::TooShort)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DeltaError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(DeltaError::TooShort)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn varint(&mut self) -> Result<usize, DeltaError> {
        let mut number = 0_usize;
        for shift in (0..usize::BITS).step_by(7) {
            let [byte] = self.array()?;
            let bits = usize::from(byte & 0x7f);
            if bits > usize::MAX >> shift {
                return Err(DeltaError::Length);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DeltaError::Length)
    }
}
