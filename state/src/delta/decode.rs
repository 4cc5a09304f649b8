//! Reads deltas.

use super::rows::{RowReader, open_sealed};
use super::{DELTA_FORMAT, DeltaHeader};

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
    rows: RowReader<'a>,
}

impl<'a> Delta<'a> {
    /// Checks a changelog record's format and checksum and reads its header.
    pub fn decode(record: &'a [u8]) -> Result<Self, DeltaError> {
        let format = *record.first().ok_or(DeltaError::Empty)?;
        if format != DELTA_FORMAT {
            return Err(DeltaError::OtherFormat(format));
        }
        let mut bytes = open_sealed(record)?;
        let header = DeltaHeader {
            sequence: u64::from_be_bytes(bytes.array()?),
            part: u32::from_be_bytes(bytes.array()?),
            parts: u32::from_be_bytes(bytes.array()?),
            input_offset: i64::from_be_bytes(bytes.array()?),
            control_offset: i64::from_be_bytes(bytes.array()?),
            decided_at_ms: i64::from_be_bytes(bytes.array()?),
        };
        let rows = u32::from_be_bytes(bytes.array()?);
        let DeltaHeader { part, parts, .. } = header;
        if part == 0 || part > parts {
            return Err(DeltaError::Part { part, parts });
        }
        Ok(Self { header, rows: RowReader::new(bytes, rows) })
    }

    /// What the part says of itself.
    #[must_use]
    pub const fn header(&self) -> &DeltaHeader {
        &self.header
    }

    /// The next row; `None` after the last.
    pub fn next_row(&mut self) -> Result<Option<Row<'_, 'a>>, DeltaError> {
        self.rows.next_row()
    }
}
