//! What an edit does to a message, and the versions of it that stand beside each other under a hold.
//!
//! Invariant: a message has no version rows, or one for each edit that is out, and that of the edit under the
//! plain key says so; as it was sent it is under the plain key if no row does.

use super::case::{Case, Place};
use super::effect::{Outcome, Under};
use super::event::Sent;
use super::message::{Message, emitted};
use crate::ledger::key::{self, Home};
use crate::ledger::{Entry, Ledger, Rows, State};
use crate::policy::{End, Facts};

/// So many versions' rows are read at once.
const SLICE_ROWS_MAX: usize = 1_024;

/// The value in the row of a version that has no key of its own.
pub(super) const UNDER_PLAIN: &[u8] = &[1];

impl<L: Ledger> Case<'_, L> {
    pub(super) fn edited(
        &mut self,
        message: Message<'_>,
        found: Option<(Place, Entry<'_>)>,
        sent: Option<&Sent<'_>>,
        edited_at_ms: i64,
    ) -> Result<Outcome, L::Error> {
        let (place, mut entry) = match (found, sent) {
            (Some((place, entry)), _) if entry.state != State::Early => (place, entry),
            (found, Some(sent)) => return self.sent(message, found, sent, Some(edited_at_ms)),
            (None, None) if self.is_over(message) => return Ok(Outcome::Over),
            (_, None) => return Ok(Outcome::Nothing),
        };
        if self.was_read() {
            return Ok(Outcome::Known);
        }
        let facts = Facts::of(message.sent_at_ms, message.id, &entry);
        if self.view(message.conversation).held_by(&facts).is_some() {
            return self.edited_beside(message, place, entry, edited_at_ms);
        }
        if entry.edited_at_ms.is_some_and(|winner_ms| winner_ms >= edited_at_ms) {
            return Ok(Outcome::Known);
        }
        if entry.has_versions {
            self.overwrite_plain(message.sent_at_ms, message.id, edited_at_ms)?;
        }
        entry.edited_at_ms = Some(edited_at_ms);
        self.put(Some(place), message.sent_at_ms, message.id, &entry)?;
        self.emit(message.conversation, &facts, Under::Plain);
        Ok(emitted(entry.storage))
    }

    /// An edit of what a hold covers overwrites nothing: each version stands beside the others.
    fn edited_beside(
        &mut self,
        message: Message<'_>,
        place: Place,
        mut entry: Entry<'_>,
        edited_at_ms: i64,
    ) -> Result<Outcome, L::Error> {
        let Message { sent_at_ms: time_ms, id, conversation } = message;
        let mut row = Vec::new();
        Home { tenant: self.name, time_ms, id }.write_version(edited_at_ms, &mut self.desk.key);
        let known = entry.edited_at_ms == Some(edited_at_ms)
            || self.ledger.get(&self.desk.key, &mut self.desk.value)?;
        if known {
            return Ok(Outcome::Known);
        }
        self.ledger.put(&self.desk.key, &[]);
        if !entry.has_versions
            && let Some(plain_ms) = entry.edited_at_ms
        {
            // The edit that is under the plain key is one of them.
            self.home(time_ms, id).write_version(plain_ms, &mut row);
            self.ledger.put(&row, UNDER_PLAIN);
        }
        entry.has_versions = true;
        entry.edited_at_ms = entry.edited_at_ms.max(Some(edited_at_ms));
        self.put(Some(place), time_ms, id, &entry)?;
        self.books_mut().line_mut(entry.storage).live += 1;
        let facts = Facts::of(time_ms, id, &entry);
        self.emit(conversation, &facts, Under::Version(edited_at_ms));
        Ok(emitted(entry.storage))
    }

    /// An edit takes the plain key from the one that has it: that is no version of the message any more.
    fn overwrite_plain(
        &mut self,
        time_ms: i64,
        id: &str,
        edited_at_ms: i64,
    ) -> Result<(), L::Error> {
        let mut row = Vec::new();
        if let Some(plain_ms) = self.edit_under_plain(time_ms, id)? {
            self.home(time_ms, id).write_version(plain_ms, &mut row);
            self.ledger.delete(&row);
        }
        self.home(time_ms, id).write_version(edited_at_ms, &mut row);
        self.ledger.put(&row, UNDER_PLAIN);
        Ok(())
    }

    /// Of a message that has version rows, the edit under the plain key; none: it is there as it was sent.
    pub(super) fn edit_under_plain(
        &mut self,
        time_ms: i64,
        id: &str,
    ) -> Result<Option<i64>, L::Error> {
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        self.home(time_ms, id).write_versions(&mut from);
        to.extend_from_slice(&from);
        key::end_of_prefix(&mut to);
        loop {
            self.ledger.scan(&from, &to, SLICE_ROWS_MAX, &mut rows)?;
            for (row, value) in rows.iter() {
                if value == UNDER_PLAIN {
                    return Ok(Some(key::read_version(row)?.1));
                }
                from.clear();
                from.extend_from_slice(row);
                from.push(0);
            }
            if rows.len() < SLICE_ROWS_MAX {
                return Ok(None);
            }
        }
    }

    /// Emits a message's tombstone, and those of the versions beside it: they end together.
    pub(super) fn bury_message(
        &mut self,
        time_ms: i64,
        id: &str,
        entry: &Entry<'_>,
        end: End,
    ) -> Result<(), L::Error> {
        self.bury(entry.storage, id, Under::Plain, end);
        if !entry.has_versions {
            return Ok(());
        }
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        self.home(time_ms, id).write_versions(&mut from);
        to.extend_from_slice(&from);
        key::end_of_prefix(&mut to);
        loop {
            self.ledger.scan(&from, &to, SLICE_ROWS_MAX, &mut rows)?;
            for (row, value) in rows.iter() {
                let (_, version_ms) = key::read_version(row)?;
                if value != UNDER_PLAIN {
                    self.bury(entry.storage, id, Under::Version(version_ms), end);
                }
                self.ledger.delete(row);
            }
            if rows.len() < SLICE_ROWS_MAX {
                return Ok(());
            }
        }
    }
}
