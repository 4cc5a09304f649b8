//! Dead letters: each points to the input record that could not be processed, which is read where it still is.

use std::time::Duration;

use lethe_engine::Replaying;

use super::slice::Came;
use super::{Halt, source};
use crate::pipeline::clock::Now;
use crate::pipeline::desk::Desk;
use crate::pipeline::outputs::SOURCE;
use crate::pipeline::seam::{InputRecord, Kafka, Output, PartitionId, Source, SourceId, Sourced};

/// So many records of the input are read over rather than looked up anew.
const SKIP_MAX: i64 = 1_000;

/// Reads the input at the pointers of dead letters.
pub(super) struct Letters<S> {
    input: Option<S>,
    /// The next offset that the reader of the input brings.
    next: Option<i64>,
    /// The letter at hand: its offset, and where it points to.
    pending: Option<(i64, i64)>,
}

impl<S> Default for Letters<S> {
    fn default() -> Self {
        Self { input: None, next: None, pending: None }
    }
}

impl<S> Letters<S> {
    /// Begins with the next letter.
    pub(super) fn forget(&mut self) {
        self.next = None;
        self.pending = None;
    }
}

impl<S: Source> Letters<S> {
    /// Reads letters and what they point to. Gives what it came to, and how many it took.
    #[expect(
        clippy::too_many_arguments,
        reason = "two readers, the desk, the replay, and how much"
    )]
    pub(super) fn read<K: Kafka<Source = S>, O: Output>(
        &mut self,
        kafka: &K,
        letters: &mut S,
        desk: &mut Desk<O>,
        replaying: &mut Replaying,
        records_max: usize,
        id: PartitionId,
        now: Now,
    ) -> (Result<Came, Halt>, usize) {
        let mut taken = 0;
        while taken < records_max && !desk.is_full() {
            if replaying.row.next >= replaying.row.range.to {
                return (Ok(Came::Through), taken);
            }
            let step = match self.pending {
                None => self.take_letter(letters, desk, replaying, id),
                Some(pending) => self.follow(kafka, desk, replaying, pending, id, now),
            };
            match step {
                Ok(None) => taken += 1,
                Ok(Some(came)) => return (Ok(came), taken),
                Err(halt) => return (Err(halt), taken),
            }
        }
        (Ok(Came::More), taken)
    }

    /// Takes the next letter; none: it was taken.
    fn take_letter<O: Output>(
        &mut self,
        letters: &mut S,
        desk: &Desk<O>,
        replaying: &mut Replaying,
        id: PartitionId,
    ) -> Result<Option<Came>, Halt> {
        let row = &mut replaying.row;
        let letter = match source(letters.poll(Duration::ZERO))? {
            Sourced::Record(letter) => letter,
            Sourced::End(end) if end >= row.range.to => return Ok(Some(Came::Through)),
            Sourced::End(_) | Sourced::Nothing => return Ok(Some(Came::Nothing)),
            Sourced::OutOfRange => return Ok(Some(Came::OutOfRange)),
        };
        let offset = letter.offset();
        if offset < row.next {
            return Ok(None);
        }
        if offset >= row.range.to {
            return Ok(Some(Came::Through));
        }
        let input = desk.settings.topics.input(id.class);
        match pointer(&letter, input, id.partition) {
            Some(points_to) => self.pending = Some((offset, points_to)),
            None => {
                row.next = offset + 1;
                row.counts.filtered += 1;
            }
        }
        Ok(None)
    }

    /// Processes what a letter points to; none: done with it.
    fn follow<K: Kafka<Source = S>, O: Output>(
        &mut self,
        kafka: &K,
        desk: &mut Desk<O>,
        replaying: &mut Replaying,
        (letter, points_to): (i64, i64),
        id: PartitionId,
        now: Now,
    ) -> Result<Option<Came>, Halt> {
        let lane = SourceId {
            topic: desk.settings.topics.input(id.class).to_owned(),
            partition: id.partition,
        };
        let reader = match &mut self.input {
            Some(reader) => reader,
            empty => empty.insert(source(kafka.source())?),
        };
        let near = self.next.is_some_and(|next| (next..=next + SKIP_MAX).contains(&points_to));
        if !near {
            self.next = None;
            source(reader.open(&lane, points_to, id))?;
        }
        self.next = Some(self.next.unwrap_or(points_to));
        let next = &mut self.next;
        let found = match source(reader.poll(Duration::ZERO))? {
            Sourced::Record(record) if record.offset() < points_to => {
                *next = Some(record.offset() + 1);
                return Ok(None);
            }
            Sourced::Record(record) if record.offset() == points_to => {
                *next = Some(points_to + 1);
                replaying.row.next = letter + 1;
                desk.replay(replaying, &record, true, now)?;
                true
            }
            Sourced::Nothing => return Ok(Some(Came::Nothing)),
            // What it points to is no longer there.
            Sourced::Record(_) | Sourced::OutOfRange | Sourced::End(_) => false,
        };
        self.pending = None;
        if found {
            return Ok(None);
        }
        self.forget();
        replaying.row.next = letter + 1;
        replaying.row.counts.lost += 1;
        Ok(None)
    }
}

/// The offset that a letter points to, if it points to this partition of the input.
fn pointer<R: InputRecord>(letter: &R, input: &str, partition: i32) -> Option<i64> {
    let mut points_to = None;
    letter.headers(&mut |name, value| {
        if name == SOURCE {
            points_to = value.and_then(|value| offset_in(value, input, partition));
        }
    });
    points_to
}

fn offset_in(value: &[u8], input: &str, partition: i32) -> Option<i64> {
    let mut parts = std::str::from_utf8(value).ok()?.split('/');
    let own = parts.next() == Some(input) && parts.next()?.parse() == Ok(partition);
    let offset: i64 = parts.next()?.parse().ok()?;
    (own && parts.next().is_none() && offset >= 0).then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_followed_by_its_own_partition_alone() {
        assert_eq!(offset_in(b"im.messages/3/17", "im.messages", 3), Some(17));
        for other in [
            &b"im.messages/2/17"[..],
            b"im.profiles/3/17",
            b"im.messages/3",
            b"im.messages/3/17/1",
            b"im.messages/3/x",
            b"im.messages/3/-1",
            b"\xff",
        ] {
            assert_eq!(offset_in(other, "im.messages", 3), None);
        }
    }
}
