//! Conversations with a horizon of their own: what a retention that is set for one alone brings about.
//!
//! Every event asks for its conversation, so those of a tenant are kept at hand, all together or not at all.
//!
//! Invariant: what is at hand is what the ledger has. One that is missing there has no row.

use std::collections::HashMap;

use foldhash::quality::FixedState;

use super::case::Case;
use crate::ledger::key::{self, tag};
use crate::ledger::{Conversation, Ledger, Rows};
use crate::policy::{Retention, conversation_of};
use crate::{Class, Storage};

/// So many rows are read at once.
const SLICE_ROWS_MAX: usize = 1_024;
/// So many are at hand in a partition, some 6 MiB. What goes beyond is looked up in the ledger.
const AT_HAND_MAX: usize = 65_536;

/// The conversations of a tenant that have a row, by id.
pub(super) type AtHand = HashMap<Box<str>, Conversation, FixedState>;

impl<L: Ledger> Case<'_, L> {
    /// The conversation of a message, where it has a horizon of its own.
    pub(super) fn conversation(&mut self, id: &str) -> Result<Option<Conversation>, L::Error> {
        if self.tenant.books.conversations == 0 || self.class != Class::Message {
            return Ok(None);
        }
        let conversation = conversation_of(id);
        if self.tenant.conversations.is_none() && self.is_room_at_hand() {
            self.take_to_hand()?;
        }
        match &self.tenant.conversations {
            Some(at_hand) => Ok(at_hand.get(conversation).copied()),
            None => self.look_up(conversation),
        }
    }

    fn is_room_at_hand(&self) -> bool {
        let count = usize::try_from(self.tenant.books.conversations).unwrap_or(usize::MAX);
        self.desk.at_hand.saturating_add(count) <= AT_HAND_MAX
    }

    fn look_up(&mut self, conversation: &str) -> Result<Option<Conversation>, L::Error> {
        key::of_tenant(tag::CONVERSATION, self.name, conversation, &mut self.desk.key);
        let mut value = std::mem::take(&mut self.desk.value);
        let found = self.ledger.get(&self.desk.key, &mut value)?;
        let conversation = found.then(|| Conversation::read(&value)).transpose();
        self.desk.value = value;
        Ok(conversation?)
    }

    fn take_to_hand(&mut self) -> Result<(), L::Error> {
        let mut at_hand = AtHand::default();
        self.each_conversation(|_, conversation, row| {
            at_hand.insert(conversation.into(), row);
        })?;
        self.desk.at_hand += at_hand.len();
        self.tenant.conversations = Some(at_hand);
        Ok(())
    }

    /// Visits the rows as they are before the visit changes any.
    fn each_conversation(
        &mut self,
        mut visit: impl FnMut(&mut Self, &str, Conversation),
    ) -> Result<(), L::Error> {
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::prefix(tag::CONVERSATION, self.name, &mut from);
        to.extend_from_slice(&from);
        key::end_of_prefix(&mut to);
        loop {
            self.ledger.scan(&from, &to, SLICE_ROWS_MAX, &mut rows)?;
            for (key, value) in rows.iter() {
                visit(self, key::read_of_tenant(key)?, Conversation::read(value)?);
                from.clear();
                from.extend_from_slice(key);
                from.push(0);
            }
            if rows.len() < SLICE_ROWS_MAX {
                return Ok(());
            }
        }
    }

    /// Closes the horizons of all of them as of a time.
    pub(super) fn close_conversations(&mut self, at_ms: i64) -> Result<(), L::Error> {
        if self.tenant.books.conversations == 0 {
            return Ok(());
        }
        self.each_conversation(|case, conversation, row| {
            case.put_conversation(conversation, true, row.retention, Some(row), at_ms);
        })
    }

    /// Closes a conversation's horizon as of a time and writes its row. One that is withdrawn goes on as
    /// a row under the tenant's retention until its horizon is the tenant's.
    fn put_conversation(
        &mut self,
        conversation: &str,
        exists: bool,
        retention: Option<(Retention, i64)>,
        before: Option<Conversation>,
        at_ms: i64,
    ) {
        let horizon_at = |case: &Self, conversation| {
            let mut view = case.view(conversation);
            view.now_ms = at_ms;
            view.horizon_ms(Storage::Stored)
        };
        let horizon_ms = horizon_at(self, before);
        let row = Conversation { horizon_ms, retention };
        let is_needed =
            retention.is_some() || horizon_at(self, Some(row)) != horizon_at(self, None);
        self.write_conversation(conversation, is_needed.then_some(row));
        let books = self.books_mut();
        match (exists, is_needed) {
            (false, true) => books.conversations += 1,
            (true, false) => books.conversations = books.conversations.saturating_sub(1),
            (true, true) | (false, false) => {}
        }
    }

    /// Writes a row, or deletes it, in the ledger and at hand.
    fn write_conversation(&mut self, conversation: &str, row: Option<Conversation>) {
        let at_hand = self.tenant.conversations.as_mut();
        key::of_tenant(tag::CONVERSATION, self.name, conversation, &mut self.desk.key);
        if let Some(row) = row {
            row.write(&mut self.desk.value);
            self.ledger.put(&self.desk.key, &self.desk.value);
            let is_new = at_hand.map(|all| all.insert(conversation.into(), row).is_none());
            self.desk.at_hand += usize::from(is_new == Some(true));
        } else {
            self.ledger.delete(&self.desk.key);
            let was_there = at_hand.map(|all| all.remove(conversation).is_some());
            self.desk.at_hand -= usize::from(was_there == Some(true));
        }
        if self.desk.at_hand > AT_HAND_MAX
            && let Some(all) = self.tenant.conversations.take()
        {
            self.desk.at_hand -= all.len();
        }
    }

    /// Gives a conversation a retention of its own, or (none) takes it back. A new one begins at the
    /// tenant's horizon.
    pub(super) fn change_conversation(
        &mut self,
        conversation: &str,
        retention: Option<(Retention, i64)>,
        at_ms: i64,
        offset: i64,
    ) -> Result<(), L::Error> {
        if self.class != Class::Message {
            return Ok(());
        }
        self.carry_out_end(at_ms)?;
        let before = self.conversation(conversation)?;
        self.put_conversation(conversation, before.is_some(), retention, before, at_ms);
        // Where no row is left to say so, its tenant's line says what has ended, wherever the clock goes.
        self.close_lines(at_ms);
        self.sweep_conversation(offset, conversation);
        Ok(())
    }
}
