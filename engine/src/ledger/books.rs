//! A tenant's books in one partition: how far its time has come.
//!
//! Invariants: a horizon never goes back, a cursor never passes its horizon, and what both cursors have
//! passed is logically absent from the tenant's range, whether it is still on disk or not.

use super::bytes::{Reader, push_i64, push_optional_i64, push_slice, push_u64};
use super::{Corrupt, reason};
use crate::Storage;
use crate::policy::Reason;

/// Before every valid time: nothing has ended.
pub const NOTHING_MS: i64 = -1;

/// A line that a change drew: everything sent at or before it has ended for a reason of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Everything sent at or before has ended (Unix ms).
    pub time_ms: i64,
    /// Everything sent at or before had ended by age already.
    pub aged_ms: i64,
    /// Why the rest ended.
    pub reason: Reason,
    /// The control record that said so.
    pub policy: Option<i64>,
}

/// How far the time of one storage has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Everything sent at or before has ended: as of the last time that the books were closed.
    pub horizon_ms: i64,
    /// Everything sent at or before has its tombstone.
    pub cursor_ms: i64,
    /// Inside the times behind the cursor: everything up to this home has its tombstone too.
    pub resume: Option<(i64, String)>,
    /// The latest time of a row of this storage; rows of no storage yet count as transit.
    pub latest_ms: i64,
    /// How many records have their content out and no tombstone.
    pub live: u64,
    /// The highest line that a change drew.
    pub floor: Option<Floor>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            horizon_ms: NOTHING_MS,
            cursor_ms: NOTHING_MS,
            resume: None,
            latest_ms: NOTHING_MS,
            live: 0,
            floor: None,
        }
    }
}

impl Line {
    /// Whether the tombstones are out up to and including this home.
    #[must_use]
    pub fn has_passed(&self, time_ms: i64, id: &str) -> bool {
        time_ms <= self.cursor_ms
            || self.resume.as_ref().is_some_and(|(time, last)| (time_ms, id) <= (*time, last))
    }

    /// The floor's time, or before every time.
    #[must_use]
    pub fn floor_ms(&self) -> i64 {
        self.floor.map_or(NOTHING_MS, |floor| floor.time_ms)
    }

    /// Draws a floor; one that lies higher stays. The horizon follows. What an earlier one has ended, ended by that one.
    pub fn raise_floor(&mut self, floor: Floor) {
        if floor.time_ms > self.floor_ms() {
            self.floor = Some(match self.floor {
                // Nothing has come since.
                Some(before) if self.latest_ms <= before.time_ms => {
                    Floor { time_ms: floor.time_ms, ..before }
                }
                // The horizon lies where it does because of the one before: nothing has aged since.
                Some(before) if floor.aged_ms <= before.time_ms => {
                    Floor { aged_ms: before.aged_ms, ..floor }
                }
                Some(_) | None => floor,
            });
        }
        self.horizon_ms = self.horizon_ms.max(floor.time_ms);
    }

    fn write(&self, value: &mut Vec<u8>) {
        push_i64(value, self.horizon_ms);
        push_i64(value, self.cursor_ms);
        push_i64(value, self.latest_ms);
        push_u64(value, self.live);
        value.push(u8::from(self.resume.is_some()) | (u8::from(self.floor.is_some()) << 1));
        if let Some((time_ms, id)) = &self.resume {
            push_i64(value, *time_ms);
            push_slice(value, id.as_bytes());
        }
        if let Some(floor) = &self.floor {
            push_i64(value, floor.time_ms);
            push_i64(value, floor.aged_ms);
            value.push(reason::number(floor.reason));
            push_optional_i64(value, floor.policy);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let mut line = Self {
            horizon_ms: reader.i64()?,
            cursor_ms: reader.i64()?,
            latest_ms: reader.i64()?,
            live: reader.u64()?,
            ..Self::default()
        };
        let present = reader.byte()?;
        if present & 1 != 0 {
            line.resume = Some((reader.i64()?, reader.text()?.to_owned()));
        }
        if present & 2 != 0 {
            line.floor = Some(Floor {
                time_ms: reader.i64()?,
                aged_ms: reader.i64()?,
                reason: reason::of_number(reader.byte()?)?,
                policy: reader.optional_i64()?,
            });
        }
        Ok(line)
    }
}

/// A tenant's books in one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Of stored content.
    pub stored: Line,
    /// Of content in transit, and of events whose content has not come.
    pub transit: Line,
    /// When the tenant is looked at next (Unix ms): the time in its look row.
    pub next_look_ms: Option<i64>,
    /// How many of its conversations have a horizon of their own.
    pub conversations: u64,
    /// How many kept entries it has.
    pub kept: u64,
    /// When the tenant last went from out to in (Unix ms); none: it is out.
    pub opted_in_at_ms: Option<i64>,
    /// The end of the tenant that has been carried out (Unix ms), if any.
    pub ended_at_ms: Option<i64>,
}

/// The layout of the books' bytes; a further one gets a further number.
const LAYOUT: u8 = 1;

impl Books {
    /// The line of a storage.
    #[must_use]
    pub const fn line(&self, storage: Storage) -> &Line {
        match storage {
            Storage::Stored => &self.stored,
            Storage::Transit => &self.transit,
        }
    }

    /// The line of a storage, to be changed.
    pub const fn line_mut(&mut self, storage: Storage) -> &mut Line {
        match storage {
            Storage::Stored => &mut self.stored,
            Storage::Transit => &mut self.transit,
        }
    }

    /// The latest time of any row of the tenant: what is later cannot be known.
    #[must_use]
    pub fn latest_ms(&self) -> i64 {
        self.stored.latest_ms.max(self.transit.latest_ms)
    }

    /// Whether a row of the range is logically absent.
    #[must_use]
    pub fn has_forgotten(&self, time_ms: i64, id: &str) -> bool {
        self.stored.has_passed(time_ms, id) && self.transit.has_passed(time_ms, id)
    }

    /// Everything at or before this time is absent from the range (Unix ms).
    #[must_use]
    pub fn forgotten_ms(&self) -> i64 {
        self.stored.cursor_ms.min(self.transit.cursor_ms)
    }

    /// Writes the books as a row's value.
    pub fn write(&self, value: &mut Vec<u8>) {
        value.clear();
        value.push(LAYOUT);
        self.stored.write(value);
        self.transit.write(value);
        push_optional_i64(value, self.next_look_ms);
        push_u64(value, self.conversations);
        push_u64(value, self.kept);
        push_optional_i64(value, self.opted_in_at_ms);
        push_optional_i64(value, self.ended_at_ms);
    }

    /// Reads books from a row's value.
    pub fn read(value: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(value, "books");
        if reader.byte()? != LAYOUT {
            return Err(Corrupt("books of an unknown layout"));
        }
        let books = Self {
            stored: Line::read(&mut reader)?,
            transit: Line::read(&mut reader)?,
            next_look_ms: reader.optional_i64()?,
            conversations: reader.u64()?,
            kept: reader.u64()?,
            opted_in_at_ms: reader.optional_i64()?,
            ended_at_ms: reader.optional_i64()?,
        };
        reader.end()?;
        Ok(books)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Persisted bytes are forever: what these were, they stay.
    #[test]
    fn golden_bytes() {
        let floor = Floor { time_ms: 40, aged_ms: -1, reason: Reason::OptedOut, policy: Some(3) };
        let mut books = Books { kept: 5, opted_in_at_ms: Some(9), ..Books::default() };
        books.stored.resume = Some((1, "c/m".into()));
        books.stored.raise_floor(floor);
        let mut value = Vec::new();
        books.write(&mut value);
        let golden = [
            1, 80, 1, 1, 0, 3, 2, 3, b'c', b'/', b'm', 80, 1, 7, 1, 6, 1, 1, 1, 0, 0, 0, 0, 5, 1,
            18, 0,
        ];
        assert_eq!(value, golden);
        assert_eq!(Books::read(&value).unwrap(), books);
    }

    #[test]
    fn what_a_floor_has_ended_ended_by_that_one() {
        let floor = |time_ms, aged_ms, reason| Floor { time_ms, aged_ms, reason, policy: None };
        let mut line = Line { latest_ms: 7, ..Line::default() };
        line.raise_floor(floor(9, 2, Reason::OptedOut));
        line.raise_floor(floor(12, 9, Reason::Ended));
        assert_eq!(line.floor, Some(floor(12, 2, Reason::OptedOut)), "nothing came meanwhile");
        line.latest_ms = 15;
        line.raise_floor(floor(16, 12, Reason::Ended));
        assert_eq!(line.floor, Some(floor(16, 2, Reason::Ended)));
        line.latest_ms = 20;
        line.raise_floor(floor(21, 19, Reason::OptedOut));
        assert_eq!(line.floor, Some(floor(21, 19, Reason::OptedOut)), "some have aged");
    }

    #[test]
    fn a_lower_floor_changes_nothing() {
        let mut line = Line::default();
        let high = Floor { time_ms: 9, aged_ms: 0, reason: Reason::Ended, policy: None };
        line.raise_floor(high);
        line.raise_floor(Floor { time_ms: 5, reason: Reason::OptedOut, ..high });
        assert_eq!((line.floor, line.horizon_ms), (Some(high), 9));
    }
}
