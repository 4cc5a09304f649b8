//! A record is looked at: by an alarm, a sweep, or as a cursor passes it.
//!
//! Invariant: whatever leads here, [`verdict()`] decides at this moment.

use super::case::{Case, Place};
use super::message::Message;
use crate::ledger::{Conversation, Entry, Ledger, State};
use crate::policy::{End, Facts, Keep, Verdict, keep, verdict};
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
            State::Live | State::Condemned(_) if !self.is_out(message, place, &entry)? => Ok(()),
            State::Live | State::Condemned(_) => {
                let decided = verdict(&Facts::of(time_ms, id, &entry), &self.view(conversation));
                self.carry_out(message, place, entry, decided)
            }
        }
    }

    /// Ends a record by what was decided before, as far as it has not ended by itself. Returns what became
    /// of it; none: there was nothing to end.
    pub(super) fn end_by(
        &mut self,
        seen_in: Place,
        time_ms: i64,
        id: &str,
        end: End,
    ) -> Result<Option<Verdict>, L::Error> {
        let mut value = Vec::new();
        let Some((place, entry)) = self.find(time_ms, id, &mut value)? else {
            return Ok(None);
        };
        let conversation = self.conversation(id)?;
        let message = Message { sent_at_ms: time_ms, id, conversation };
        let has_content = matches!(entry.state, State::Live | State::Condemned(_));
        // What waits beside the range was met there.
        let met = place != seen_in && matches!(entry.state, State::Condemned(_));
        if !has_content || met || !self.is_out(message, place, &entry)? {
            return Ok(None);
        }
        let facts = Facts::of(time_ms, id, &entry);
        let view = self.view(conversation);
        let decided = match verdict(&facts, &view) {
            Verdict::Live { .. } => match keep(&facts, &view) {
                Some(keep) => Verdict::Kept(end, keep),
                None => Verdict::Ended(end),
            },
            decided @ (Verdict::Kept(..) | Verdict::Ended(_)) => decided,
        };
        self.carry_out(message, place, entry, decided)?;
        Ok(Some(decided))
    }

    /// Whether the content of an entry with content is on its topic, and its own to end.
    fn is_out(
        &mut self,
        message: Message<'_>,
        place: Place,
        entry: &Entry<'_>,
    ) -> Result<bool, L::Error> {
        let Message { sent_at_ms: time_ms, id, .. } = message;
        if place == Place::Kept {
            return Ok(true);
        }
        if self.tenant.books.line(entry.storage).has_passed(time_ms, id) {
            return Ok(false);
        }
        Ok(self.class == Class::Message || self.is_newest(entry.storage, time_ms, id)?)
    }

    /// Does what was decided of content that is out.
    pub(super) fn carry_out(
        &mut self,
        message: Message<'_>,
        place: Place,
        entry: Entry<'_>,
        decided: Verdict,
    ) -> Result<(), L::Error> {
        let Message { sent_at_ms: time_ms, id, conversation } = message;
        match decided {
            Verdict::Live { .. } => {
                if place == Place::Kept {
                    return self.put_kept(true, time_ms, id, &entry);
                }
                self.watch(conversation, &Facts::of(time_ms, id, &entry), id);
                Ok(())
            }
            Verdict::Kept(end, keep) => {
                if entry.state != State::Condemned(end.reason) {
                    let condemned = Entry { state: State::Condemned(end.reason), ..entry };
                    self.put(Some(place), time_ms, id, &condemned)?;
                    self.condemned_version(time_ms, id, entry.storage, end.reason)?;
                }
                if let Keep::Minimum { until_ms } = keep {
                    self.set_alarm(until_ms, time_ms, id);
                }
                Ok(())
            }
            Verdict::Ended(end) => {
                match self.class {
                    Class::Message => self.bury_message(time_ms, id, &entry, end)?,
                    Class::Profile | Class::Config => {
                        self.bury_version(time_ms, id, entry.storage, end)?;
                    }
                }
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
        let gone = Entry::bare(State::Gone, storage);
        match place {
            Place::Range => self.put(Some(place), message.sent_at_ms, message.id, &gone),
            Place::Kept => self.release_kept(message, &gone),
        }
    }

    /// A kept entry without content goes back to the range where a cursor is still to come, and stays while
    /// its conversation's horizon is behind.
    fn release_kept(&mut self, message: Message<'_>, entry: &Entry<'_>) -> Result<(), L::Error> {
        let Message { sent_at_ms: time_ms, id, conversation } = message;
        if !self.tenant.books.has_forgotten(time_ms, id) {
            self.write(crate::ledger::key::tag::ENTRY, time_ms, id, entry);
        } else if self.is_behind(conversation, time_ms) {
            return self.put_kept(true, time_ms, id, entry);
        }
        self.drop_kept(time_ms, id);
        Ok(())
    }

    /// Whether a conversation's own horizon has not reached this time, so that content of it could still
    /// be stored.
    fn is_behind(&self, conversation: Option<Conversation>, time_ms: i64) -> bool {
        conversation.is_some() && time_ms > self.view(conversation).horizon_ms(Storage::Stored)
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
        conversation: Option<Conversation>,
        time_ms: i64,
        id: &str,
        entry: Entry<'_>,
    ) -> Result<(), L::Error> {
        if self.class != Class::Message && !self.is_newest(entry.storage, time_ms, id)? {
            return Ok(());
        }
        match verdict(&Facts::of(time_ms, id, &entry), &self.view(conversation)) {
            Verdict::Live { .. } => self.keep(time_ms, id, &entry),
            Verdict::Kept(end, _) => {
                let condemned = Entry { state: State::Condemned(end.reason), ..entry };
                self.keep(time_ms, id, &condemned)?;
                self.condemned_version(time_ms, id, entry.storage, end.reason)
            }
            Verdict::Ended(end) => {
                match self.class {
                    Class::Message => self.bury_message(time_ms, id, &entry, end)?,
                    Class::Profile | Class::Config => {
                        self.pass_version(time_ms, id, entry.storage, end)?;
                    }
                }
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
