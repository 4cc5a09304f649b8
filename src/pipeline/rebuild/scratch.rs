//! What the outputs of a partition say under each key, kept on disk until all of it is read: the last record
//! under a key counts.
//!
//! A row is the record's key, a byte that no key has, the topic, and the version's time; so the rows of one
//! record lie side by side. Nothing of a value is here but ids and times.

use lethe_engine::ledger::{Corrupt, Entry};
use lethe_engine::{Class, Storage};

/// What every row begins with: a tag that no ledger has.
const TAG: u8 = b'z';
/// The first key behind all rows.
pub(super) const END: [u8; 1] = [TAG + 1];
/// Behind the record key.
const KEY_END: u8 = 0xFF;
/// The version of what is under the plain key.
const PLAIN: i64 = -1;
/// Bytes behind the record key: its end, the topic, the version.
const SUFFIX_BYTES: usize = 10;
/// Every key of lethe's own begins like this (markers): none of them is a record's.
pub(super) const RESERVED: &[u8] = b"lethe:";

/// A key of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'k> {
    /// The record's key, without a version.
    pub(super) key: &'k str,
    /// On which of the class's two topics.
    pub(super) storage: Storage,
    /// The version that stands beside the others; none: it is under the plain key.
    pub(super) version_ms: Option<i64>,
}

/// What the last record under a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact<'f> {
    /// Null: it has ended. When that was written (Unix ms).
    Null(i64),
    /// Content of a message.
    Message {
        /// When it was sent (Unix ms).
        sent_at_ms: i64,
        /// Who sent it, to how many and for how long is known.
        told: bool,
        /// What is known.
        entry: Entry<'f>,
    },
    /// A version of a profile or a config item, and its time (Unix ms).
    Version(i64),
}

impl<'k> Place<'k> {
    /// Reads a key of an output; none: it is none of a record's.
    pub(super) fn read(class: Class, storage: Storage, key: &'k [u8]) -> Option<Self> {
        let key = std::str::from_utf8(key).ok()?;
        let parts = match class {
            Class::Message => 3,
            Class::Profile | Class::Config => 2,
        };
        match key.split('/').count().checked_sub(parts)? {
            0 => Some(Self { key, storage, version_ms: None }),
            1 => {
                let (key, version) = key.rsplit_once('/')?;
                Some(Self { key, storage, version_ms: Some(version.parse().ok()?) })
            }
            _ => None,
        }
    }

    /// The key of its row.
    pub(super) fn write(&self, row: &mut Vec<u8>) {
        row.clear();
        row.push(TAG);
        row.extend_from_slice(self.key.as_bytes());
        row.push(KEY_END);
        row.push(match self.storage {
            Storage::Stored => 0,
            Storage::Transit => 1,
        });
        row.extend_from_slice(&self.version_ms.unwrap_or(PLAIN).to_be_bytes());
    }

    /// Reads the key of a row.
    pub(super) fn of_row(row: &'k [u8]) -> Result<Self, Corrupt> {
        let corrupt = Corrupt("a row of what the outputs say");
        let at = row.len().checked_sub(SUFFIX_BYTES).ok_or(corrupt)?;
        let (key, suffix) = row.split_at_checked(at).ok_or(corrupt)?;
        let key = key.get(1..).and_then(|key| std::str::from_utf8(key).ok()).ok_or(corrupt)?;
        let [KEY_END, storage, version @ ..] = suffix else { return Err(corrupt) };
        let storage = if *storage == 0 { Storage::Stored } else { Storage::Transit };
        let version = <[u8; 8]>::try_from(version).map_err(|_| corrupt)?;
        let version_ms = Some(i64::from_be_bytes(version)).filter(|version| *version != PLAIN);
        Ok(Self { key, storage, version_ms })
    }
}

impl<'f> Fact<'f> {
    /// Its row.
    pub(super) fn write(&self, row: &mut Vec<u8>) {
        row.clear();
        match self {
            Self::Null(at_ms) => {
                row.push(0);
                row.extend_from_slice(&at_ms.to_be_bytes());
            }
            Self::Version(at_ms) => {
                row.push(1);
                row.extend_from_slice(&at_ms.to_be_bytes());
            }
            Self::Message { sent_at_ms, told, entry } => {
                // An entry writes from the start.
                entry.write(row);
                let head = [2 + u8::from(*told)].into_iter().chain(sent_at_ms.to_be_bytes());
                row.splice(0..0, head);
            }
        }
    }

    /// Reads a row.
    pub(super) fn read(row: &'f [u8]) -> Result<Self, Corrupt> {
        let corrupt = Corrupt("what the outputs say");
        let (kind, rest) = row.split_first().ok_or(corrupt)?;
        let (at, rest) = rest.split_first_chunk::<8>().ok_or(corrupt)?;
        let at_ms = i64::from_be_bytes(*at);
        match kind {
            0 => Ok(Self::Null(at_ms)),
            1 => Ok(Self::Version(at_ms)),
            told => {
                Ok(Self::Message { sent_at_ms: at_ms, told: *told == 3, entry: Entry::read(rest)? })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use lethe_engine::Sent;
    use lethe_engine::ledger::State;

    use super::*;

    #[test]
    fn keys_of_records_and_of_their_versions_lie_side_by_side() {
        let read = |class, key: &'static str| Place::read(class, Storage::Stored, key.as_bytes());
        let plain = read(Class::Message, "a/c/m").unwrap();
        let version = read(Class::Message, "a/c/m/17").unwrap();
        assert_eq!(version, Place { version_ms: Some(17), ..plain });
        assert_eq!(read(Class::Message, "a/c"), None);
        assert_eq!(read(Class::Message, "a/c/m/x"), None);
        assert_eq!(read(Class::Profile, "a/u/5").unwrap().version_ms, Some(5));
        let rows: Vec<Vec<u8>> = [plain, version, Place { key: "a/c/mm", ..plain }]
            .iter()
            .map(|place| {
                let mut row = Vec::new();
                place.write(&mut row);
                assert_eq!(Place::of_row(&row).unwrap(), *place);
                row
            })
            .collect();
        assert_eq!(rows.iter().filter(|row| row.starts_with(b"za/c/m\xFF")).count(), 2);
    }

    #[test]
    fn facts_are_read_as_they_were_written() {
        let sent = Sent { sender: "bob", kind: 2, recipients: 3, ttl_ms: 4 };
        let entry = Entry::bare(State::Live, Storage::Transit).with_sent(&sent);
        let message = Fact::Message { sent_at_ms: 9, told: true, entry };
        let untold = Fact::Message { sent_at_ms: 9, told: false, entry };
        for fact in [Fact::Null(7), Fact::Version(8), message, untold] {
            let mut row = Vec::new();
            fact.write(&mut row);
            assert_eq!(Fact::read(&row).unwrap(), fact);
        }
    }
}
