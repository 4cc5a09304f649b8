//! An erasure in a partition: what was asked for, and how far it is.

use super::Corrupt;
use super::bytes::{Reader, push_i64, push_optional_i64, push_slice, push_u64};

/// What an erasure found in a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErasureCounts {
    /// Records that it ended, and that are gone.
    pub ended: u64,
    /// Records that have ended and that a hold keeps.
    pub held: u64,
    /// Records that have ended and that the legal minimum keeps.
    pub minimum: u64,
    /// The earliest sent time of all of these (Unix ms).
    pub first_ms: Option<i64>,
    /// The latest (Unix ms).
    pub last_ms: Option<i64>,
}

impl ErasureCounts {
    /// Takes in the sent time of a record that was counted.
    pub fn saw(&mut self, time_ms: i64) {
        self.first_ms = Some(self.first_ms.map_or(time_ms, |ms| ms.min(time_ms)));
        self.last_ms = Some(self.last_ms.map_or(time_ms, |ms| ms.max(time_ms)));
    }
}

/// An erasure that this partition carries out, or has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureRow {
    /// The key of its control record.
    pub control_key: String,
    /// The value of its control record.
    pub body: Vec<u8>,
    /// When that was written (Unix ms).
    pub written_at_ms: i64,
    /// Since when it is in force (Unix ms).
    pub at_ms: i64,
    /// It was withdrawn or replaced before its sweep was through, and goes with it.
    pub withdrawn: bool,
    /// When its sweep was through (Unix ms); none: it is under way.
    pub done_at_ms: Option<i64>,
    /// It has been said that every partition is through: in the one partition that says so.
    pub completed: bool,
    /// What the sweep has found so far.
    pub counts: ErasureCounts,
}

/// The layout of the row's bytes; a further one gets a further number. The first one did not know whether it was
/// completed: nobody said so.
const LAYOUT: u8 = 2;
const LAYOUT_1: u8 = 1;

impl ErasureRow {
    /// Writes it as a row's value.
    pub fn write(&self, value: &mut Vec<u8>) {
        value.clear();
        value.push(LAYOUT);
        push_slice(value, self.control_key.as_bytes());
        push_slice(value, &self.body);
        push_i64(value, self.written_at_ms);
        push_i64(value, self.at_ms);
        value.push(u8::from(self.withdrawn));
        value.push(u8::from(self.completed));
        push_optional_i64(value, self.done_at_ms);
        for count in [self.counts.ended, self.counts.held, self.counts.minimum] {
            push_u64(value, count);
        }
        push_optional_i64(value, self.counts.first_ms);
        push_optional_i64(value, self.counts.last_ms);
    }

    /// Reads it from a row's value.
    pub fn read(value: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(value, "erasure");
        let layout = reader.byte()?;
        if !matches!(layout, LAYOUT | LAYOUT_1) {
            return Err(Corrupt("an erasure of an unknown layout"));
        }
        let row = Self {
            control_key: reader.text()?.to_owned(),
            body: reader.slice()?.to_vec(),
            written_at_ms: reader.i64()?,
            at_ms: reader.i64()?,
            withdrawn: reader.byte()? != 0,
            completed: layout != LAYOUT_1 && reader.byte()? != 0,
            done_at_ms: reader.optional_i64()?,
            counts: ErasureCounts {
                ended: reader.u64()?,
                held: reader.u64()?,
                minimum: reader.u64()?,
                first_ms: reader.optional_i64()?,
                last_ms: reader.optional_i64()?,
            },
        };
        reader.end()?;
        Ok(row)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Persisted bytes are forever: what these were, they stay.
    #[test]
    fn golden_bytes() {
        let mut counts = ErasureCounts { ended: 1, held: 2, minimum: 3, ..Default::default() };
        counts.saw(4);
        counts.saw(2);
        let row = ErasureRow {
            control_key: "erasure/1".into(),
            body: b"{}".to_vec(),
            written_at_ms: 5,
            at_ms: 6,
            withdrawn: true,
            completed: true,
            done_at_ms: Some(7),
            counts,
        };
        let mut value = Vec::new();
        row.write(&mut value);
        let golden = b"\x02\x09erasure/1\x02{}\x0a\x0c\x01\x01\x01\x0e\x01\x02\x03\x01\x04\x01\x08";
        assert_eq!(value, golden);
        assert_eq!(ErasureRow::read(&value).unwrap(), row);
        let first = b"\x01\x09erasure/1\x02{}\x0a\x0c\x01\x01\x0e\x01\x02\x03\x01\x04\x01\x08";
        assert_eq!(ErasureRow::read(first).unwrap(), ErasureRow { completed: false, ..row });
    }
}
