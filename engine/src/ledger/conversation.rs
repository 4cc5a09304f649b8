//! A conversation with a horizon of its own.

use super::Corrupt;
use super::bytes::{Reader, push_i64, push_optional_i64};
use crate::policy::Retention;

/// What is remembered of a conversation that has, or had, a retention of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Everything sent at or before has ended (Unix ms): as of the last closing of the books.
    pub horizon_ms: i64,
    /// Its retention, with the control record's offset; none: withdrawn, the tenant's holds again.
    pub retention: Option<(Retention, i64)>,
}

impl Conversation {
    /// Writes it as a row's value.
    pub fn write(&self, value: &mut Vec<u8>) {
        value.clear();
        push_i64(value, self.horizon_ms);
        value.push(u8::from(self.retention.is_some()));
        if let Some((retention, offset)) = self.retention {
            push_optional_i64(value, retention.ms());
            push_i64(value, offset);
        }
    }

    /// Reads it from a row's value.
    pub fn read(value: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(value, "conversation");
        let horizon_ms = reader.i64()?;
        let retention = match reader.byte()? {
            0 => None,
            _ => Some((Retention::of_ms(reader.optional_i64()?), reader.i64()?)),
        };
        reader.end()?;
        Ok(Self { horizon_ms, retention })
    }
}
