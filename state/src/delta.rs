//! The format of the changelog: the changes of one batch as sorted, front-coded rows, in parts that each
//! decode alone.
//!
//! | bytes | content (numbers are big-endian) |
//! |---|---|
//! | 1 | the format, [`DELTA_FORMAT`] |
//! | 8 | sequence of the delta (u64): one more than that of the delta before it |
//! | 4 | this part (u32), counted from 1 |
//! | 4 | how many parts the delta has (u32) |
//! | 8 | input offset (i64) |
//! | 8 | control offset (i64) |
//! | 8 | time of the decision (i64, Unix ms) |
//! | 4 | how many rows the part has (u32) |
//! | … | the rows, keys strictly ascending |
//! | 4 | CRC-32C (u32) of all bytes before it: consumers of Kafka need not check its own |
//!
//! A row is three varints (LEB128): how many bytes of its key are those of the key before it in the part, how
//! many follow, and the length of its value + 1 (0: the row is deleted); then those bytes of the key, then the
//! value.
//!
//! Invariant: any bytes decode to rows or to an error that names no content.

mod decode;
mod encode;
pub(crate) mod rows;

pub use decode::{Delta, DeltaError, Row};
pub(crate) use encode::DeltaWriter;

/// The first byte of every part. A new format gets a new number.
pub const DELTA_FORMAT: u8 = 1;

/// Where the numbers of parts and of rows are in a part, and where its rows begin.
const PARTS_AT: usize = 13;
const ROWS_AT: usize = 41;
const HEADER_BYTES: usize = 45;

/// What a part of a delta says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaHeader {
    /// The delta's place in its partition's changelog: 1, 2, 3 …
    pub sequence: u64,
    /// Which part of the delta this is, from 1.
    pub part: u32,
    /// How many parts the delta has.
    pub parts: u32,
    /// The offset of the input up to which (exclusive) the delta accounts for.
    pub input_offset: i64,
    /// The offset of the control topic up to which (exclusive) its records were known.
    pub control_offset: i64,
    /// When the batch was decided (Unix ms).
    pub decided_at_ms: i64,
}
