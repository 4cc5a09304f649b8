//! What a partition remembers of a control key: the record in force, and one that waits.

use super::Corrupt;
use super::bytes::{Reader, push_i64, push_slice};

/// A control record as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Its offset on the control topic.
    pub offset: i64,
    /// When the broker wrote it (Unix ms).
    pub written_at_ms: i64,
    /// Its value as it came; none: a withdrawal.
    pub body: Option<Vec<u8>>,
}

/// The records of one control key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The last valid one.
    pub in_force: Option<Remembered>,
    /// A valid one that waits, and when it comes into force (Unix ms).
    pub waiting: Option<(i64, Remembered)>,
}

impl Control {
    /// Writes it as a row's value.
    pub fn write(&self, value: &mut Vec<u8>) {
        value.clear();
        value.push(u8::from(self.in_force.is_some()) | (u8::from(self.waiting.is_some()) << 1));
        if let Some(record) = &self.in_force {
            record.write(value);
        }
        if let Some((effective_at_ms, record)) = &self.waiting {
            push_i64(value, *effective_at_ms);
            record.write(value);
        }
    }

    /// Reads it from a row's value.
    pub fn read(value: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(value, "control record");
        let present = reader.byte()?;
        let mut control = Self::default();
        if present & 1 != 0 {
            control.in_force = Some(Remembered::read(&mut reader)?);
        }
        if present & 2 != 0 {
            control.waiting = Some((reader.i64()?, Remembered::read(&mut reader)?));
        }
        reader.end()?;
        Ok(control)
    }
}

impl Remembered {
    fn write(&self, value: &mut Vec<u8>) {
        push_i64(value, self.offset);
        push_i64(value, self.written_at_ms);
        value.push(u8::from(self.body.is_some()));
        if let Some(body) = &self.body {
            push_slice(value, body);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let (offset, written_at_ms) = (reader.i64()?, reader.i64()?);
        let body = match reader.byte()? {
            0 => None,
            _ => Some(reader.slice()?.to_vec()),
        };
        Ok(Self { offset, written_at_ms, body })
    }
}
