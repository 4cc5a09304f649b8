//! What is remembered of one record, in its home.
//!
//! Invariant: an entry only learns. Early (facts before the content) → live → condemned (ended, but a
//! hold or a minimum keeps it) → gone; never back.

use super::bytes::{Reader, push_i64, push_slice, push_u64};
use super::{Corrupt, reason};
use crate::policy::Reason;
use crate::{Sent, Storage};

/// How far a record's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Only events about it have come; its content has not.
    Early,
    /// Its content is out, and no tombstone.
    Live,
    /// It has ended, but a hold or a minimum keeps it.
    Condemned(Reason),
    /// Its tombstone is out, or it was over before it came.
    Gone,
}

/// So many recipients are remembered inside the entry; further ones get rows of their own.
pub const RECIPIENTS_INLINE_MAX: usize = 4;

/// What is remembered of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// How far its life is.
    pub state: State,
    /// Where its content is; fixed when the content is first processed.
    pub storage: Storage,
    /// Early only: it was recalled.
    pub recalled: bool,
    /// Everyone has it.
    pub to_all: bool,
    /// How many users must have it; 0: not stated.
    pub recipients: u32,
    /// How many have it.
    pub delivered: u32,
    /// The first of those who have it, as hashes.
    pub inline: [u64; RECIPIENTS_INLINE_MAX],
    /// Its own time to live; 0: none.
    pub ttl_ms: i64,
    /// The edit that won, if any.
    pub edited_at_ms: Option<i64>,
    /// Versions of it stand beside it, in rows of their own.
    pub has_versions: bool,
    /// `lethe.v1.Kind`.
    pub kind: u8,
    /// Who sent it: what a scope of one user covers.
    pub sender: &'a str,
}

const STATE_MASK: u8 = 0b11;
const TRANSIT: u8 = 1 << 2;
const RECALLED: u8 = 1 << 3;
const TO_ALL: u8 = 1 << 4;

const HAS_SENDER: u8 = 1;
const HAS_KIND: u8 = 1 << 1;
const HAS_RECIPIENTS: u8 = 1 << 2;
const HAS_DELIVERED: u8 = 1 << 3;
const HAS_TTL: u8 = 1 << 4;
const HAS_EDITED: u8 = 1 << 5;
/// Nothing follows for it: the versions have rows of their own.
const HAS_VERSIONS: u8 = 1 << 6;

impl<'a> Entry<'a> {
    /// An entry that knows nothing but its state.
    #[must_use]
    pub const fn bare(state: State, storage: Storage) -> Self {
        Self {
            state,
            storage,
            recalled: false,
            to_all: false,
            recipients: 0,
            delivered: 0,
            inline: [0; RECIPIENTS_INLINE_MAX],
            ttl_ms: 0,
            edited_at_ms: None,
            has_versions: false,
            kind: 0,
            sender: "",
        }
    }

    /// The entry with what a `Sent` says. Whom stored content waits for does not matter.
    #[must_use]
    pub const fn with_sent(mut self, sent: &Sent<'a>) -> Self {
        if matches!(self.storage, Storage::Transit) {
            self.recipients = sent.recipients;
        }
        self.ttl_ms = sent.ttl_ms;
        self.kind = sent.kind;
        self.sender = sent.sender;
        self
    }

    /// Those who have it and are remembered inside the entry.
    #[must_use]
    pub fn inline_recipients(&self) -> &[u64] {
        let count = RECIPIENTS_INLINE_MAX.min(self.delivered as usize);
        self.inline.get(..count).unwrap_or_default()
    }

    /// Writes the entry as a row's value.
    pub fn write(&self, value: &mut Vec<u8>) {
        value.clear();
        let (state, reason) = match self.state {
            State::Early => (0, None),
            State::Live => (1, None),
            State::Condemned(reason) => (2, Some(reason)),
            State::Gone => (3, None),
        };
        let transit = if self.storage == Storage::Transit { TRANSIT } else { 0 };
        let recalled = if self.recalled { RECALLED } else { 0 };
        let to_all = if self.to_all { TO_ALL } else { 0 };
        value.push(state | transit | recalled | to_all);
        if let Some(reason) = reason {
            value.push(reason::number(reason));
        }
        if self.state != State::Gone {
            self.write_fields(value);
        }
    }

    fn write_fields(&self, value: &mut Vec<u8>) {
        let present = [
            (HAS_SENDER, !self.sender.is_empty()),
            (HAS_KIND, self.kind != 0),
            (HAS_RECIPIENTS, self.recipients != 0),
            (HAS_DELIVERED, self.delivered != 0),
            (HAS_TTL, self.ttl_ms != 0),
            (HAS_EDITED, self.edited_at_ms.is_some()),
            (HAS_VERSIONS, self.has_versions),
        ];
        let fields = present.iter().fold(0, |sum, &(bit, is)| if is { sum | bit } else { sum });
        if fields == 0 {
            return;
        }
        value.push(fields);
        if !self.sender.is_empty() {
            push_slice(value, self.sender.as_bytes());
        }
        if self.kind != 0 {
            value.push(self.kind);
        }
        if self.recipients != 0 {
            push_u64(value, u64::from(self.recipients));
        }
        if self.delivered != 0 {
            push_u64(value, u64::from(self.delivered));
            for hash in self.inline_recipients() {
                value.extend_from_slice(&hash.to_be_bytes());
            }
        }
        if self.ttl_ms != 0 {
            push_i64(value, self.ttl_ms);
        }
        if let Some(edited_at_ms) = self.edited_at_ms {
            push_i64(value, edited_at_ms);
        }
    }

    /// Reads an entry from a row's value.
    pub fn read(value: &'a [u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(value, "entry");
        let head = reader.byte()?;
        let state = match head & STATE_MASK {
            0 => State::Early,
            1 => State::Live,
            2 => State::Condemned(reason::of_number(reader.byte()?)?),
            _ => State::Gone,
        };
        let storage = if head & TRANSIT == 0 { Storage::Stored } else { Storage::Transit };
        let mut entry = Self::bare(state, storage);
        entry.recalled = head & RECALLED != 0;
        entry.to_all = head & TO_ALL != 0;
        let Ok(fields) = reader.byte() else {
            return Ok(entry);
        };
        if fields & HAS_SENDER != 0 {
            entry.sender = reader.text()?;
        }
        if fields & HAS_KIND != 0 {
            entry.kind = reader.byte()?;
        }
        if fields & HAS_RECIPIENTS != 0 {
            entry.recipients = reader.u32()?;
        }
        if fields & HAS_DELIVERED != 0 {
            entry.delivered = reader.u32()?;
            for slot in entry.inline.iter_mut().take(entry.delivered as usize) {
                *slot = reader.fixed_u64()?;
            }
        }
        if fields & HAS_TTL != 0 {
            entry.ttl_ms = reader.i64()?;
        }
        if fields & HAS_EDITED != 0 {
            entry.edited_at_ms = Some(reader.i64()?);
        }
        entry.has_versions = fields & HAS_VERSIONS != 0;
        reader.end()?;
        Ok(entry)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Persisted bytes are forever: what these were, they stay.
    #[test]
    fn golden_bytes() {
        let sent = Sent { sender: "bob", kind: 2, recipients: 300, ttl_ms: 90_000 };
        let mut entry = Entry::bare(State::Live, Storage::Transit).with_sent(&sent);
        entry.delivered = 1;
        entry.inline = [0x0102_0304_0506_0708, 0, 0, 0];
        entry.edited_at_ms = Some(7);
        let mut value = Vec::new();
        entry.write(&mut value);
        let golden = [
            5, 0b11_1111, 3, b'b', b'o', b'b', 2, 0xAC, 0x02, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0xA0,
            0xFE, 0x0A, 14,
        ];
        assert_eq!(value, golden);
        assert_eq!(Entry::read(&value).unwrap(), entry);
    }

    #[test]
    fn a_gone_entry_is_one_byte() {
        let mut value = Vec::new();
        Entry::bare(State::Gone, Storage::Stored).write(&mut value);
        assert_eq!(value, [3]);
        let condemned = Entry::bare(State::Condemned(Reason::Recalled), Storage::Stored);
        condemned.write(&mut value);
        assert_eq!(value, [2, 4]);
        assert_eq!(Entry::read(&value).unwrap(), condemned);
        let versioned = Entry { has_versions: true, ..condemned };
        versioned.write(&mut value);
        assert_eq!(value, [2, 4, HAS_VERSIONS]);
        assert_eq!(Entry::read(&value).unwrap(), versioned);
    }

    #[test]
    fn what_does_not_decode_is_corrupt() {
        for value in [&[][..], &[2], &[2, 99], &[1, HAS_SENDER, 9, b'x'], &[1, HAS_KIND, 1, 1]] {
            assert!(Entry::read(value).is_err(), "{value:?}");
        }
    }
}
