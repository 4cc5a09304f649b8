//! A record is looked at: by an alarm, a sweep, or as a cursor passes it.
//!
//! Invariant: whatever leads here, [`verdict()`] decides at this moment.

use super::case::{Case, Place};
use super::message::Message;
use crate::ledger::{Entry, Ledger, State};
use crate::policy::{Facts, Keep, Verdict, verdict};
use crate::{Class, Storage};

impl<L: Ledger> Case<'_, L> {
    /// Judges a record: it gets its tombstone, waits on, or lives on.
    pub(super) fn judge(&mut self, time_ms: i64, id: &str) -> Result<(), L::Error> {
        let mut value = Vec::new();
        let Some((place, entry)) = self.find(time_ms, id, &mut value)? else {
            return Ok(());
        };
        let conversation = self.conversation(id)?;
        let message = Message { sent_at_ms: time_ms, id, conversation };
        match entry.state {
            State::Early | State::Gone => {
                if place == Place::Kept {
                    self.release_kept(message, &entry)?;
                }
                Ok(())
            }
            State::Live | State::Condemned(_) => self.judge_content(message, place, entry),
        }
    }

    fn judge_content(
        &mut self,
        message: Message<'_>,
        place: Place,
        entry: Entry<'_>,
    ) -> Result<(), L::Error> {
        let Message { sent_at_ms: time_ms, id, conversation } = message;
        let line = self.tenant.books.line(entry.storage);
        if place == Place::Range && line.has_passed(time_ms, id) {
            return Ok(());
        }
        if self.class != Class::Message && !self.is_newest(entry.storage, time_ms, id)? {
            return Ok(());
        }
        let facts = Facts::of(time_ms, &entry);
        match verdict(&facts, &self.view(conversation)) {
            Verdict::Live { .. } => {
                if place == Place::Kept {
                    return self.put_kept(true, time_ms, id, &entry);
                }
                self.watch(conversation, &facts, id);
                Ok(())
            }
            Verdict::Kept(end, keep) => {
                if entry.state != State::Condemned(end.reason) {
                    let condemned = Entry { state: State::Condemned(end.reason), ..entry };
                    self.put(Some(place), time_ms, id, &condemned)?;
                }
                if let Keep::Minimum { until_ms } = keep {
                    self.set_alarm(until_ms, time_ms, id);
                }
                Ok(())
            }
            Verdict::Ended(end) => {
                self.bury(entry.storage, id, end);
                self.leave(message, place, entry.storage)
            }
        }
    }

    /// Remembers that a record is gone, for as long as that matters.
    fn leave(
        &mut self,
        message: Message<'_>,
        place: Place,
        storage: Storage,
    ) -> Result<(), L::Error> {
        let Message { sent_at_ms: time_ms, id, .. } = message;
        if self.class != Class::Message
            && let Some(mut latest) = self.latest(id)?
        {
            *latest.live_ms_mut(storage) = None;
            self.put_latest(id, &latest);
        }
        let gone = Entry::bare(State::Gone, storage);
        match place {
            Place::Range => self.put(Some(place), time_ms, id, &gone),
            Place::Kept => self.release_kept(message, &gone),
        }
    }

    /// A kept entry without content stays while its conversation's horizon or a cursor is behind it.
    fn release_kept(&mut self, message: Message<'_>, entry: &Entry<'_>) -> Result<(), L::Error> {
        let Message { sent_at_ms: time_ms, id, conversation } = message;
        let behind = self.is_behind(conversation, time_ms);
        if behind || !self.tenant.books.has_forgotten(time_ms, id) {
            return self.put_kept(true, time_ms, id, entry);
        }
        self.drop_kept(time_ms, id);
        Ok(())
    }

    /// Whether a conversation's own horizon has not reached this time, so that content of it could still
    /// be stored.
    fn is_behind(&self, conversation: Option<crate::ledger::Conversation>, time_ms: i64) -> bool {
        conversation.is_some() && time_ms > self.view(conversation).horizon_ms(Storage::Stored)
    }

    /// Whether a version is the one whose content is out on this storage's topic.
    fn is_newest(&mut self, storage: Storage, time_ms: i64, id: &str) -> Result<bool, L::Error> {
        Ok(self.latest(id)?.is_some_and(|latest| latest.live_ms(storage) == Some(time_ms)))
    }

    /// A cursor passes a row of the range. What ends here needs no write: the cursor says it.
    pub(super) fn pass(
        &mut self,
        storage: Storage,
        time_ms: i64,
        id: &str,
        entry: Entry<'_>,
    ) -> Result<(), L::Error> {
        let conversation = self.conversation(id)?;
        let is_out = matches!(entry.state, State::Live | State::Condemned(_));
        if is_out && entry.storage == storage {
            return self.pass_content(conversation, time_ms, id, entry);
        }
        if entry.state == State::Early && storage == Storage::Transit {
            self.effects.count_unmatched();
        }
        let other = match storage {
            Storage::Stored => Storage::Transit,
            Storage::Transit => Storage::Stored,
        };
        let last = self.tenant.books.line(other).has_passed(time_ms, id);
        // Content that the other cursor has ended is gone.
        let entry = if is_out { Entry::bare(State::Gone, entry.storage) } else { entry };
        if last && self.is_behind(conversation, time_ms) {
            self.keep(time_ms, id, &entry)?;
        }
        Ok(())
    }

    fn pass_content(
        &mut self,
        conversation: Option<crate::ledger::Conversation>,
        time_ms: i64,
        id: &str,
        entry: Entry<'_>,
    ) -> Result<(), L::Error> {
        if self.class != Class::Message && !self.is_newest(entry.storage, time_ms, id)? {
            return Ok(());
        }
        let facts = Facts::of(time_ms, &entry);
        match verdict(&facts, &self.view(conversation)) {
            Verdict::Live { .. } => self.keep(time_ms, id, &entry),
            Verdict::Kept(end, _) => {
                let condemned = Entry { state: State::Condemned(end.reason), ..entry };
                self.keep(time_ms, id, &condemned)
            }
            Verdict::Ended(end) => {
                self.bury(entry.storage, id, end);
                if self.is_behind(conversation, time_ms) {
                    return self.keep(time_ms, id, &Entry::bare(State::Gone, entry.storage));
                }
                Ok(())
            }
        }
    }

    /// Copies an entry out of the range, unless there is a kept one already: that is the truth.
    fn keep(&mut self, time_ms: i64, id: &str, entry: &Entry<'_>) -> Result<(), L::Error> {
        let mut value = Vec::new();
        let found = self.find(time_ms, id, &mut value)?;
        if found.is_some_and(|(place, _)| place == Place::Kept) {
            return Ok(());
        }
        self.put_kept(false, time_ms, id, entry)
    }
}
