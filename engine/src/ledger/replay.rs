//! A replay in a partition: what was asked for, its frozen range, how far it is, and what it has counted.

use super::Corrupt;
use super::bytes::{Reader, push_i64, push_optional_i64, push_slice, push_u64};

/// What became of the records that a replay has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayCounts {
    /// Their content was emitted (or would be).
    pub emitted: u64,
    /// Events about a known or coming record: remembered or acted on.
    pub learned: u64,
    /// Known already; in mode `refresh` also what is not the winning version.
    pub known: u64,
    /// Their record is over, by its age or an event.
    pub over: u64,
    /// An erasure covers them.
    pub erased: u64,
    /// Over, of a tenant that has said nothing.
    pub unknown_tenant: u64,
    /// Mode `refresh` alone: content that lethe has not processed yet, and that is not over.
    pub unprocessed: u64,
    /// There was nothing to act on.
    pub nothing: u64,
    /// They do not decode, or no output topic would take them.
    pub bad: u64,
    /// Of other tenants, other partitions, or no event: not looked at further.
    pub filtered: u64,
    /// Tombstones that followed from them.
    pub ended: u64,
    /// Offsets of the range that retention had removed before they were read.
    pub lost: u64,
}

/// So many outcomes are counted.
pub const REPLAY_OUTCOMES: usize = 12;

impl ReplayCounts {
    /// The counts with their names, in the order in which they are shown.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); REPLAY_OUTCOMES] {
        [
            ("emitted", self.emitted),
            ("learned", self.learned),
            ("known", self.known),
            ("over", self.over),
            ("erased", self.erased),
            ("unknown_tenant", self.unknown_tenant),
            ("unprocessed", self.unprocessed),
            ("nothing", self.nothing),
            ("bad", self.bad),
            ("filtered", self.filtered),
            ("ended", self.ended),
            ("lost", self.lost),
        ]
    }

    const fn numbers_mut(&mut self) -> [&mut u64; REPLAY_OUTCOMES] {
        [
            &mut self.emitted,
            &mut self.learned,
            &mut self.known,
            &mut self.over,
            &mut self.erased,
            &mut self.unknown_tenant,
            &mut self.unprocessed,
            &mut self.nothing,
            &mut self.bad,
            &mut self.filtered,
            &mut self.ended,
            &mut self.lost,
        ]
    }
}

/// How far a replay's life is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayStatus {
    /// Its range is not known yet.
    Waiting,
    /// It reads its range, or stands still in it.
    Running,
    /// It has read all of it.
    Done,
    /// It was withdrawn before.
    Cancelled,
    /// It cannot be done; why, in a few words.
    Failed(String),
}

impl ReplayStatus {
    /// The name in reports and answers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether nothing more will be done for it.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        match self {
            Self::Waiting | Self::Running => false,
            Self::Done | Self::Cancelled | Self::Failed(_) => true,
        }
    }
}

/// The range of a replay in one partition, in offsets of its source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayRange {
    /// The first offset of the range.
    pub from: i64,
    /// The one behind its last.
    pub to: i64,
    /// The id of the source as of then, where the broker tells it: offsets mean nothing on another topic.
    pub source_id: Option<String>,
}

/// A replay of which this partition has its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRow {
    /// The key of its control record.
    pub control_key: String,
    /// The newest value of its control record.
    pub body: Vec<u8>,
    /// When the first was written (Unix ms).
    pub written_at_ms: i64,
    /// How far its life is.
    pub status: ReplayStatus,
    /// When its range was frozen here (Unix ms).
    pub began_at_ms: Option<i64>,
    /// When it came to its end (Unix ms).
    pub ended_at_ms: Option<i64>,
    /// What it reads.
    pub range: ReplayRange,
    /// The next offset of its source.
    pub next: i64,
    /// What became of what it has read.
    pub counts: ReplayCounts,
    /// Records that were live in the state when a dry run came to its end, as far as the source could have them.
    pub live: Option<u64>,
    /// It has remembered which records it emitted; they are to be forgotten.
    pub remembers: bool,
}

/// The layout of the row's bytes; a further one gets a further number.
const LAYOUT: u8 = 1;

impl ReplayRow {
    /// A replay that was just asked for.
    #[must_use]
    pub fn new(control_key: &str, body: &[u8], written_at_ms: i64) -> Self {
        Self {
            control_key: control_key.to_owned(),
            body: body.to_vec(),
            written_at_ms,
            status: ReplayStatus::Waiting,
            began_at_ms: None,
            ended_at_ms: None,
            range: ReplayRange::default(),
            next: 0,
            counts: ReplayCounts::default(),
            live: None,
            remembers: false,
        }
    }

    /// Its id, encoded as in its control key.
    #[must_use]
    pub fn id(&self) -> &str {
        self.control_key.split_once('/').map_or(self.control_key.as_str(), |(_, id)| id)
    }

    /// How many offsets of its range are still to be read.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        match self.status {
            ReplayStatus::Running => {
                u64::try_from(self.range.to.saturating_sub(self.next)).unwrap_or_default()
            }
            ReplayStatus::Waiting
            | ReplayStatus::Done
            | ReplayStatus::Cancelled
            | ReplayStatus::Failed(_) => 0,
        }
    }

    /// Writes it as a row's value.
    pub fn write(&self, value: &mut Vec<u8>) {
        value.clear();
        value.push(LAYOUT);
        push_slice(value, self.control_key.as_bytes());
        push_slice(value, &self.body);
        push_i64(value, self.written_at_ms);
        let (status, why) = match &self.status {
            ReplayStatus::Waiting => (0, ""),
            ReplayStatus::Running => (1, ""),
            ReplayStatus::Done => (2, ""),
            ReplayStatus::Cancelled => (3, ""),
            ReplayStatus::Failed(why) => (4, why.as_str()),
        };
        value.push(status);
        push_slice(value, why.as_bytes());
        push_optional_i64(value, self.began_at_ms);
        push_optional_i64(value, self.ended_at_ms);
        push_i64(value, self.range.from);
        push_i64(value, self.range.to);
        push_slice(value, self.range.source_id.as_deref().unwrap_or_default().as_bytes());
        push_i64(value, self.next);
        for (_, count) in self.counts.named() {
            push_u64(value, count);
        }
        push_optional_i64(value, self.live.map(|live| i64::try_from(live).unwrap_or(i64::MAX)));
        value.push(u8::from(self.remembers));
    }

    /// Reads it from a row's value.
    pub fn read(value: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(value, "replay");
        if reader.byte()? != LAYOUT {
            return Err(Corrupt("a replay of an unknown layout"));
        }
        let (control_key, body) = (reader.text()?.to_owned(), reader.slice()?.to_vec());
        let mut row = Self { control_key, body, ..Self::new("", &[], reader.i64()?) };
        let (status, why) = (reader.byte()?, reader.text()?);
        row.status = match status {
            0 => ReplayStatus::Waiting,
            1 => ReplayStatus::Running,
            2 => ReplayStatus::Done,
            3 => ReplayStatus::Cancelled,
            4 => ReplayStatus::Failed(why.to_owned()),
            _ => return Err(Corrupt("a replay of an unknown status")),
        };
        row.began_at_ms = reader.optional_i64()?;
        row.ended_at_ms = reader.optional_i64()?;
        (row.range.from, row.range.to) = (reader.i64()?, reader.i64()?);
        row.range.source_id = Some(reader.text()?.to_owned()).filter(|id| !id.is_empty());
        row.next = reader.i64()?;
        for count in row.counts.numbers_mut() {
            *count = reader.u64()?;
        }
        row.live = reader.optional_i64()?.and_then(|live| u64::try_from(live).ok());
        row.remembers = reader.byte()? != 0;
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
        let mut row = ReplayRow::new("replay/1", b"{}", 5);
        row.status = ReplayStatus::Failed("why".into());
        row.began_at_ms = Some(6);
        row.ended_at_ms = Some(7);
        row.range = ReplayRange { from: 1, to: 9, source_id: Some("id".into()) };
        row.next = 4;
        for (number, count) in (1..).zip(row.counts.numbers_mut()) {
            *count = number;
        }
        row.live = Some(3);
        row.remembers = true;
        let mut value = Vec::new();
        row.write(&mut value);
        let golden = b"\x01\x08replay/1\x02{}\x0a\x04\x03why\x01\x0c\x01\x0e\x02\x12\x02id\x08\
            \x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x01\x06\x01";
        assert_eq!(value, golden);
        assert_eq!(ReplayRow::read(&value).unwrap(), row);
    }

    #[test]
    fn every_status_is_read_as_it_was_written() {
        for status in [
            ReplayStatus::Waiting,
            ReplayStatus::Running,
            ReplayStatus::Done,
            ReplayStatus::Cancelled,
        ] {
            let row = ReplayRow { status, ..ReplayRow::new("replay/%2F", b"", 0) };
            let mut value = Vec::new();
            row.write(&mut value);
            assert_eq!(ReplayRow::read(&value).unwrap(), row);
            assert_eq!(row.id(), "%2F");
        }
    }
}
