//! A walk over what a change may have ended, with how far it is.

use super::Corrupt;
use super::bytes::{Reader, push_slice};

/// A sweep finishes with the scope that it began with: the scope is part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// Whose records; none: every tenant's.
    pub tenant: Option<String>,
    /// Which conversation's (encoded, as in the record key); none: all.
    pub conversation: Option<String>,
    /// Kept entries alone, or the range as well.
    pub kept_only: bool,
    /// The key behind the last one that was judged; empty: not begun.
    pub position: Vec<u8>,
}

impl Sweep {
    /// Writes it as a row's value.
    pub fn write(&self, value: &mut Vec<u8>) {
        value.clear();
        let present = u8::from(self.tenant.is_some())
            | (u8::from(self.conversation.is_some()) << 1)
            | (u8::from(self.kept_only) << 2);
        value.push(present);
        for text in [&self.tenant, &self.conversation].into_iter().flatten() {
            push_slice(value, text.as_bytes());
        }
        push_slice(value, &self.position);
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
        reader.end()?;
        Ok(Self { tenant, conversation, kept_only: present & 4 != 0, position })
    }
}
