//! Reads deltas.

use super::{CHECKSUM_BYTES, DELTA_FORMAT, DeltaHeader};
use crate::reserved::is_reserved;

/// Why bytes are not a part of a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// There is no first byte.
    #[error("it is empty")]
    Empty,
    /// The first byte is not a format that this version reads.
    #[error("its format is {0}, this version of lethe reads {DELTA_FORMAT}")]
    OtherFormat(u8),
    /// The checksum differs: bytes were changed on the way.
    #[error("its checksum is wrong")]
    Checksum,
    /// It ends within its header or a row.
    #[error("it ends too early")]
    TooShort,
    /// It goes on after its last row.
    #[error("it goes on after its last row")]
    TooLong,
    /// It says to be part 0, or a part after the last.
    #[error("it says to be part {part} of {parts}")]
    Part {
        /// The part that it says to be.
        part: u32,
        /// How many parts it says that there are.
        parts: u32,
    },
    /// A length does not fit into the machine's numbers.
    #[error("a length in it is out of bounds")]
    Length,
    /// A key begins with more of the one before than there is.
    #[error("a key in it leans on more of the key before than there is")]
    Shared,
    /// A key is not greater than the one before.
    #[error("its keys are not in order")]
    Order,
    /// A key is reserved for the store itself.
    #[error("a key in it is reserved")]
    Reserved,
}

/// A row of a delta: its key, and its value, or `None` if it is deleted.
pub type Row<'key, 'delta> = (&'key [u8], Option<&'delta [u8]>);

/// A part of a delta, read row by row.
pub struct Delta<'a> {
    header: DeltaHeader,
    rows_left: u32,
    rows: Reader<'a>,
    /// The key of the row that was read last.
    key: Vec<u8>,
}

impl<'a> Delta<'a> {
    /// Checks a changelog record's format and checksum and reads its header.
    pub fn decode(record: &'a [u8]) -> Result<Self, DeltaError> {
        let format = *record.first().ok_or(DeltaError::Empty)?;
        if format != DELTA_FORMAT {
            return Err(DeltaError::OtherFormat(format));
        }
        let (body, checksum) =
            record.split_last_chunk::<CHECKSUM_BYTES>().ok_or(DeltaError::TooShort)?;
        if crc32c::crc32c(body) != u32::from_be_bytes(*checksum) {
            return Err(DeltaError::Checksum);
        }
        let mut rows = Reader(body.get(1..).unwrap_or_default());
        let header = DeltaHeader {
            sequence: u64::from_be_bytes(rows.array()?),
            part: u32::from_be_bytes(rows.array()?),
            parts: u32::from_be_bytes(rows.array()?),
            input_offset: i64::from_be_bytes(rows.array()?),
            control_offset: i64::from_be_bytes(rows.array()?),
            decided_at_ms: i64::from_be_bytes(rows.array()?),
        };
        let rows_left = u32::from_be_bytes(rows.array()?);
        let DeltaHeader { part, parts, .. } = header;
        if part == 0 || part > parts {
            return Err(DeltaError::Part { part, parts });
        }
        Ok(Self { header, rows_left, rows, key: Vec::new() })
    }

    /// What the part says of itself.
    #[must_use]
    pub const fn header(&self) -> &DeltaHeader {
        &self.header
    }

    /// The next row; `None` after the last.
    pub fn next_row(&mut self) -> Result<Option<Row<'_, 'a>>, DeltaError> {
        let Some(rows_left) = self.rows_left.checked_sub(1) else {
            return if self.rows.0.is_empty() { Ok(None) } else { Err(DeltaError::TooLong) };
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
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DeltaError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DeltaError::TooShort)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DeltaError> {
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
