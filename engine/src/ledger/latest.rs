//! The newest version of a profile or a config item, and where versions of it are live.

use super::Corrupt;
use super::bytes::{Reader, push_i64, push_optional_i64, push_u64};
use crate::Storage;

/// The newest version of one profile or config item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latest {
    /// Its time (Unix ms): what is older is known.
    pub newest_ms: i64,
    /// It says that the record was removed.
    pub removed: bool,
    /// The version whose content is on `store.*`, if its tombstone is not out.
    pub stored_ms: Option<i64>,
    /// The same of `transit.*`.
    pub transit_ms: Option<i64>,
    /// The version under the plain record key on `store.*`; newer ones stand beside it.
    pub plain_ms: Option<i64>,
    /// How many versions on `store.*` have rows of their own.
    pub beside: u32,
}

impl Latest {
    /// A record of which nothing is out yet.
    #[must_use]
    pub const fn new(newest_ms: i64, removed: bool) -> Self {
        Self { newest_ms, removed, stored_ms: None, transit_ms: None, plain_ms: None, beside: 0 }
    }

    /// Whether no content of it is on a topic.
    #[must_use]
    pub const fn is_nowhere(&self) -> bool {
        self.stored_ms.is_none() && self.transit_ms.is_none() && self.beside == 0
    }

    /// The live version of a storage.
    #[must_use]
    pub const fn live_ms(&self, storage: Storage) -> Option<i64> {
        match storage {
            Storage::Stored => self.stored_ms,
            Storage::Transit => self.transit_ms,
        }
    }

    /// The live version of a storage, to be changed.
    pub const fn live_ms_mut(&mut self, storage: Storage) -> &mut Option<i64> {
        match storage {
            Storage::Stored => &mut self.stored_ms,
            Storage::Transit => &mut self.transit_ms,
        }
    }

    /// Writes it as a row's value.
    pub fn write(&self, value: &mut Vec<u8>) {
        value.clear();
        push_i64(value, self.newest_ms);
        value.push(u8::from(self.removed));
        push_optional_i64(value, self.stored_ms);
        push_optional_i64(value, self.transit_ms);
        // Most records have one version, under the plain key.
        if self.plain_ms != self.stored_ms || self.beside > 0 {
            push_optional_i64(value, self.plain_ms);
            push_u64(value, u64::from(self.beside));
        }
    }

    /// Reads it from a row's value.
    pub fn read(value: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(value, "latest version");
        let mut latest = Self {
            newest_ms: reader.i64()?,
            removed: reader.byte()? != 0,
            stored_ms: reader.optional_i64()?,
            transit_ms: reader.optional_i64()?,
            plain_ms: None,
            beside: 0,
        };
        latest.plain_ms = latest.stored_ms;
        if !reader.is_empty() {
            latest.plain_ms = reader.optional_i64()?;
            latest.beside = reader.u32()?;
        }
        reader.end()?;
        Ok(latest)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Persisted bytes are forever: what these were, they stay.
    #[test]
    fn golden_bytes() {
        let latest = Latest { stored_ms: Some(3), plain_ms: Some(3), ..Latest::new(4, true) };
        let mut value = Vec::new();
        latest.write(&mut value);
        assert_eq!(value, [8, 1, 1, 6, 0]);
        assert_eq!(Latest::read(&value).unwrap(), latest);
        let beside = Latest { plain_ms: Some(2), beside: 1, ..latest };
        beside.write(&mut value);
        assert_eq!(value, [8, 1, 1, 6, 0, 1, 4, 1]);
        assert_eq!(Latest::read(&value).unwrap(), beside);
    }
}
