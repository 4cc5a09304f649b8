//! What an event does to a message.
//!
//! Invariant: events of one message in any order, and any number of times, lead to the same end.

use super::case::{Case, Place};
use super::effect::{Outcome, Under};
use super::event::{MessageAction, Recipient, Sent};
use crate::Storage;
use crate::ledger::key::Home;
use crate::ledger::{Conversation, Entry, Ledger, RECIPIENTS_INLINE_MAX, State};
use crate::policy::{Facts, Reason, Verdict, keep, verdict};

/// At most so many recipients of a message are counted; beyond, only `all` or the limit ends the wait.
pub const RECIPIENTS_COUNTED_MAX: u32 = 10_000;

/// A message's time and id: with its tenant, its home.
#[derive(Clone, Copy)]
pub(super) struct Message<'m> {
    pub(super) sent_at_ms: i64,
    pub(super) id: &'m str,
    pub(super) conversation: Option<Conversation>,
}

/// Where content that comes for the first time belongs.
enum Admission {
    /// Emit it; it lives.
    Live(Storage),
    /// Store it although it has ended: something keeps it.
    Condemned(Reason),
    /// Emit nothing. It ended for a reason other than its age, which is to be remembered.
    OverForGood,
    /// Emit nothing: too old.
    TooOld,
}

impl<L: Ledger> Case<'_, L> {
    /// Applies an event to a message.
    pub(super) fn message(
        &mut self,
        sent_at_ms: i64,
        id: &str,
        action: &MessageAction<'_>,
    ) -> Result<Outcome, L::Error> {
        let conversation = self.conversation(id)?;
        let message = Message { sent_at_ms, id, conversation };
        let mut value = std::mem::take(&mut self.desk.found);
        // What is later than everything known of the tenant cannot be known: no need to read.
        let tenant = &self.tenant;
        let unknown = sent_at_ms > tenant.books.latest_ms() || tenant.newest.lacks(sent_at_ms, id);
        let found = if unknown { None } else { self.find(sent_at_ms, id, &mut value)? };
        if let Some((place, entry)) = found
            && !self.still_lives(message, place, &entry)?
        {
            self.desk.found = value;
            return Ok(Outcome::Over);
        }
        let outcome = match action {
            MessageAction::Sent(sent) => self.sent(message, found, sent, None),
            MessageAction::Edited { edited_at_ms, sent } => {
                self.edited(message, found, sent.as_ref(), *edited_at_ms)
            }
            MessageAction::Delivered(recipient) => self.delivered(message, found, *recipient),
            MessageAction::Read(reader) => self.delivered(message, found, Recipient::User(reader)),
            MessageAction::Recalled => self.recalled(message, found),
        };
        self.desk.found = value;
        outcome
    }

    pub(super) fn sent(
        &mut self,
        message: Message<'_>,
        found: Option<(Place, Entry<'_>)>,
        sent: &Sent<'_>,
        edited_at_ms: Option<i64>,
    ) -> Result<Outcome, L::Error> {
        let (place, early) = match found {
            None => (None, Entry::bare(State::Early, Storage::Stored)),
            Some((place, entry)) if entry.state == State::Early => (Some(place), entry),
            Some(_) => return Ok(Outcome::Known),
        };
        let admission = match self.admit(message, &early, sent) {
            Admission::Live(_) | Admission::Condemned(_)
                if self.had_ended(message.sent_at_ms, message.id)? =>
            {
                Admission::OverForGood
            }
            admission @ (Admission::Live(_)
            | Admission::Condemned(_)
            | Admission::OverForGood
            | Admission::TooOld) => admission,
        };
        let (state, storage) = match admission {
            Admission::Live(storage) => (State::Live, storage),
            Admission::Condemned(reason) => (State::Condemned(reason), Storage::Stored),
            Admission::OverForGood => {
                let gone = Entry::bare(State::Gone, Storage::Stored);
                self.put(place, message.sent_at_ms, message.id, &gone)?;
                return Ok(Outcome::Over);
            }
            Admission::TooOld => return Ok(Outcome::Over),
        };
        let mut entry = Entry { state, storage, recalled: false, ..early }.with_sent(sent);
        entry.edited_at_ms = edited_at_ms;
        if storage == Storage::Stored {
            entry.delivered = 0;
            entry.to_all = false;
        }
        self.put(place, message.sent_at_ms, message.id, &entry)?;
        self.books_mut().line_mut(storage).live += 1;
        let facts = Facts::of(message.sent_at_ms, message.id, &entry);
        self.emit(message.conversation, &facts, Under::Plain);
        match state {
            State::Condemned(_) => self.wait(message, &facts),
            State::Live | State::Early | State::Gone => {
                self.watch(message.conversation, &facts, message.id);
            }
        }
        Ok(emitted(storage))
    }

    /// Content that is stored already ended: judged again when what keeps it has passed.
    fn wait(&mut self, message: Message<'_>, facts: &Facts<'_>) {
        let kept = keep(facts, &self.view(message.conversation));
        if let Some(crate::policy::Keep::Minimum { until_ms }) = kept {
            self.set_alarm(until_ms, message.sent_at_ms, message.id);
        }
        if let Some(at_ms) = self.passes_at_ms(Storage::Stored, message.sent_at_ms)
            && !self.is_frozen(Storage::Stored, message.sent_at_ms)
        {
            self.look_at(at_ms);
        }
    }

    fn admit(&self, message: Message<'_>, early: &Entry<'_>, sent: &Sent<'_>) -> Admission {
        let view = self.view(message.conversation);
        let recalled = early.recalled.then_some(Reason::Recalled);
        let stored = Facts {
            id: message.id,
            sender: sent.sender,
            storage: Storage::Stored,
            time_ms: message.sent_at_ms,
            ttl_ms: sent.ttl_ms,
            ended: recalled,
        };
        let line = &self.tenant.books.stored;
        let may_store = self.tenant.rules.stores()
            && message.sent_at_ms >= view.since_ms()
            && message.sent_at_ms > line.floor_ms()
            && view.opted_out_by(&stored).is_none();
        if may_store {
            let aged = message.sent_at_ms <= view.horizon_ms(Storage::Stored);
            let forgotten = line.has_passed(message.sent_at_ms, message.id);
            match verdict(&stored, &view) {
                Verdict::Live { .. } => return Admission::Live(Storage::Stored),
                Verdict::Kept(end, _) if !aged || !forgotten => {
                    return Admission::Condemned(end.reason);
                }
                Verdict::Kept(..) => {}
                Verdict::Ended(_) if !aged => return Admission::OverForGood,
                Verdict::Ended(_) => {}
            }
        }
        let transit = Facts { storage: Storage::Transit, ..stored };
        if message.sent_at_ms <= view.horizon_ms(Storage::Transit) {
            return Admission::TooOld;
        }
        let complete = is_complete(sent.recipients, early);
        match verdict(&transit, &view) {
            Verdict::Live { .. } if complete => Admission::OverForGood,
            Verdict::Live { .. } => Admission::Live(Storage::Transit),
            // Content that was never stored is kept by nothing.
            Verdict::Kept(..) | Verdict::Ended(_) => Admission::OverForGood,
        }
    }

    fn delivered(
        &mut self,
        message: Message<'_>,
        found: Option<(Place, Entry<'_>)>,
        recipient: Recipient<'_>,
    ) -> Result<Outcome, L::Error> {
        let (place, mut entry) = match found {
            None if self.is_over_for_good(message) => return Ok(Outcome::Over),
            None => (None, Entry::bare(State::Early, Storage::Stored)),
            Some((place, entry)) => (Some(place), entry),
        };
        if entry.state == State::Live && entry.storage == Storage::Stored {
            return Ok(Outcome::Learned);
        }
        if !self.count_recipient(message, &mut entry, recipient)? {
            return Ok(Outcome::Known);
        }
        if entry.state == State::Live && is_complete(entry.recipients, &entry) {
            return self.end(message, place, entry, Reason::Delivered);
        }
        self.put(place, message.sent_at_ms, message.id, &entry)?;
        Ok(Outcome::Learned)
    }

    /// Counts a recipient once; `false` if that was known.
    fn count_recipient(
        &mut self,
        message: Message<'_>,
        entry: &mut Entry<'_>,
        recipient: Recipient<'_>,
    ) -> Result<bool, L::Error> {
        let user = match recipient {
            Recipient::Everyone => return Ok(!std::mem::replace(&mut entry.to_all, true)),
            Recipient::User(user) => user,
        };
        let hash = xxhash_rust::xxh3::xxh3_64(user.as_bytes());
        if entry.to_all || entry.inline_recipients().contains(&hash) {
            return Ok(false);
        }
        if entry.delivered >= RECIPIENTS_COUNTED_MAX {
            return Ok(false);
        }
        if let Some(slot) = entry.inline.get_mut(entry.delivered as usize) {
            *slot = hash;
        } else {
            let home = Home { tenant: self.name, time_ms: message.sent_at_ms, id: message.id };
            home.write_recipient(hash, &mut self.desk.key);
            if self.ledger.get(&self.desk.key, &mut self.desk.value)? {
                return Ok(false);
            }
            self.ledger.put(&self.desk.key, &[]);
        }
        entry.delivered += 1;
        Ok(true)
    }

    fn recalled(
        &mut self,
        message: Message<'_>,
        found: Option<(Place, Entry<'_>)>,
    ) -> Result<Outcome, L::Error> {
        match found {
            None if self.is_over_for_good(message) => Ok(Outcome::Over),
            None => {
                let mut early = Entry::bare(State::Early, Storage::Stored);
                early.recalled = true;
                self.put(None, message.sent_at_ms, message.id, &early)?;
                Ok(Outcome::Learned)
            }
            Some((_, entry)) if entry.state == State::Early && entry.recalled => Ok(Outcome::Known),
            Some((place, mut entry)) if entry.state == State::Early => {
                entry.recalled = true;
                self.put(Some(place), message.sent_at_ms, message.id, &entry)?;
                Ok(Outcome::Learned)
            }
            Some((place, entry)) => self.end(message, Some(place), entry, Reason::Recalled),
        }
    }

    /// Ends a live message by an event.
    fn end(
        &mut self,
        message: Message<'_>,
        place: Option<Place>,
        entry: Entry<'_>,
        reason: Reason,
    ) -> Result<Outcome, L::Error> {
        let facts = Facts::of(message.sent_at_ms, message.id, &entry);
        let entry = match self.gate(message.conversation, &facts, reason) {
            Some(end) => {
                self.bury_message(message.sent_at_ms, message.id, &entry, end)?;
                Entry::bare(State::Gone, entry.storage)
            }
            None => Entry { state: State::Condemned(reason), ..entry },
        };
        self.put(place, message.sent_at_ms, message.id, &entry)?;
        Ok(Outcome::Learned)
    }

    /// Whether an event can still say something of a known message. What has ended and was not carried
    /// out yet is carried out at once: what the event says is lost, and so may not matter again.
    fn still_lives(
        &mut self,
        message: Message<'_>,
        place: Place,
        entry: &Entry<'_>,
    ) -> Result<bool, L::Error> {
        match entry.state {
            State::Early => Ok(true),
            State::Condemned(_) | State::Gone => Ok(false),
            State::Live => {
                let facts = Facts::of(message.sent_at_ms, message.id, entry);
                let decided = verdict(&facts, &self.view(message.conversation));
                let line = self.tenant.books.line(entry.storage);
                let passed =
                    place == Place::Range && line.has_passed(message.sent_at_ms, message.id);
                if passed {
                    return Ok(false);
                }
                if matches!(decided, Verdict::Live { .. }) {
                    return Ok(true);
                }
                self.carry_out(message, place, *entry, decided)?;
                Ok(false)
            }
        }
    }

    /// Whether nothing that is said of a message can ever matter. Before the cursors have passed it, its age is
    /// the clock's to say, which may step back.
    fn is_over_for_good(&self, message: Message<'_>) -> bool {
        self.is_over(message)
            && message.conversation.is_none()
            && self.tenant.books.has_forgotten(message.sent_at_ms, message.id)
    }

    /// Whether a message that is not known is too old for anything.
    pub(super) fn is_over(&self, message: Message<'_>) -> bool {
        let view = self.view(message.conversation);
        message.sent_at_ms <= view.horizon_ms(Storage::Stored)
            && message.sent_at_ms <= view.horizon_ms(Storage::Transit)
    }
}

/// What came of content that was emitted.
pub(super) const fn emitted(storage: Storage) -> Outcome {
    match storage {
        Storage::Stored => Outcome::Stored,
        Storage::Transit => Outcome::Transit,
    }
}

/// Whether everyone whom transit content waits for has it.
fn is_complete(recipients: u32, entry: &Entry<'_>) -> bool {
    let counted = (1..=RECIPIENTS_COUNTED_MAX).contains(&recipients);
    entry.to_all || (counted && entry.delivered >= recipients)
}

// The inline recipients must be few enough to be counted.
const _: () = assert!(RECIPIENTS_INLINE_MAX < RECIPIENTS_COUNTED_MAX as usize);
