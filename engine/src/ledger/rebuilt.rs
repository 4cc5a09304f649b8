//! That a partition's ledger was put together from the outputs, and what had ended by then.
//!
//! Invariant: neither ever goes back. What lay behind the line when the ledger was lost stays behind it.

use super::Corrupt;
use super::bytes::{Reader, push_i64, push_slice};

/// How far the ledger that was lost had come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The ledger had seen the input up to before this offset: content from there that neither the outputs
    /// nor the ledger know has ended.
    pub below: i64,
    /// When it was rebuilt (Unix ms): nothing that had ended then was sent later, but for a clock's error.
    pub at_ms: i64,
    /// Of which input the offset is, where the broker told its id.
    pub input: Option<String>,
}

/// The layout of the row's bytes; a further one gets a further number.
const LAYOUT: u8 = 1;

impl Rebuilt {
    /// Writes it as a row's value.
    pub fn write(&self, value: &mut Vec<u8>) {
        value.clear();
        value.push(LAYOUT);
        push_i64(value, self.below);
        push_i64(value, self.at_ms);
        push_slice(value, self.input.as_deref().unwrap_or_default().as_bytes());
    }

    /// Reads it from a row's value.
    pub fn read(value: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(value, "rebuilt");
        if reader.byte()? != LAYOUT {
            return Err(Corrupt("a rebuild of an unknown layout"));
        }
        let (below, at_ms) = (reader.i64()?, reader.i64()?);
        let input = Some(reader.text()?.to_owned()).filter(|id| !id.is_empty());
        reader.end()?;
        Ok(Self { below, at_ms, input })
    }
}

/// Writes until when a message that has ended must be remembered (Unix ms): what was sent at or before then
/// and is forgotten by its tenant is over in any case.
pub fn write_over(until_ms: i64, value: &mut Vec<u8>) {
    value.clear();
    push_i64(value, until_ms);
}

/// Reads what [`write_over`] wrote.
pub fn read_over(value: &[u8]) -> Result<i64, Corrupt> {
    let mut reader = Reader::new(value, "what had ended");
    let until_ms = reader.i64()?;
    reader.end()?;
    Ok(until_ms)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Persisted bytes are forever: what these were, they stay.
    #[test]
    fn golden_bytes() {
        let rebuilt = Rebuilt { below: 300, at_ms: 5, input: Some("id".into()) };
        let mut value = Vec::new();
        rebuilt.write(&mut value);
        assert_eq!(value, [1, 0xD8, 0x04, 10, 2, b'i', b'd']);
        assert_eq!(Rebuilt::read(&value).unwrap(), rebuilt);
        let untold = Rebuilt { input: None, ..rebuilt };
        untold.write(&mut value);
        assert_eq!(value, [1, 0xD8, 0x04, 10, 0]);
        assert_eq!(Rebuilt::read(&value).unwrap(), untold);
        write_over(4, &mut value);
        assert_eq!(value, [8]);
        assert_eq!(read_over(&value).unwrap(), 4);
    }
}
