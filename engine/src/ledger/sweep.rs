//! A walk over what a change may have ended, with how far it is.

use super::Corrupt;
use super::bytes::{Reader, push_i64, push_slice};

/// A sweep finishes with the scope that it began with: the scope is part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Whose records; none: every tenant's.
    pub tenant: Option<String>,
    /// Which conversation's (encoded, as in the record key); none: all.
    pub conversation: Option<String>,
    /// Kept entries alone, or the range as well.
    pub kept_only: bool,
    /// It carries out the erasure of this offset, whose scope is in the row of that.
    pub erasure: Option<i64>,
    /// The key behind the last one that was judged; empty: not begun.
    pub position: Vec<u8>,
}

impl Sweep {
    /// Writes it as a row's value.
    pub fn write(&self, value: &mut Vec<u8>) {
        value.clear();
        let present = u8::from(self.tenant.is_some())
            | (u8::from(self.conversation.is_some()) << 1)
            | (u8::from(self.kept_only) << 2)
            | (u8::from(self.erasure.is_some()) << 3);
        value.push(present);
        for text in [&self.tenant, &self.conversation].into_iter().flatten() {
            push_slice(value, text.as_bytes());
        }
        push_slice(value, &self.position);
        if let Some(offset) = self.erasure {
            push_i64(value, offset);
        }
    }

    /// Reads it from a row's value.
    pub fn read(value: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(value, "sweep");
        let present = reader.byte()?;
        let mut text = |bit: u8| -> Result<Option<String>, Corrupt> {
            if present & bit == 0 { Ok(None) } else { Ok(Some(reader.text()?.to_owned())) }
        };
        let (tenant, conversation) = (text(1)?, text(2)?);
        let position = reader.slice()?.to_vec();
        let erasure = if present & 8 == 0 { None } else { Some(reader.i64()?) };
        reader.end()?;
        Ok(Self { tenant, conversation, kept_only: present & 4 != 0, erasure, position })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Persisted bytes are forever: what these were, they stay.
    #[test]
    fn golden_bytes() {
        let sweep = Sweep {
            tenant: Some("a".into()),
            conversation: Some("c".into()),
            kept_only: true,
            erasure: None,
            position: vec![9],
        };
        let mut value = Vec::new();
        sweep.write(&mut value);
        assert_eq!(value, [7, 1, b'a', 1, b'c', 1, 9]);
        assert_eq!(Sweep::read(&value).unwrap(), sweep);
        let erasing = Sweep { erasure: Some(3), ..sweep };
        erasing.write(&mut value);
        assert_eq!(value, [15, 1, b'a', 1, b'c', 1, 9, 6]);
        assert_eq!(Sweep::read(&value).unwrap(), erasing);
    }
}
