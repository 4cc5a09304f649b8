//! One tenant's records at one moment: what every decision reads and writes.
//!
//! Invariant: every removal passes [`Case::gate`] or [`crate::policy::verdict()`], where holds and minimum are checked at that moment.

use crate::ledger::key::{self, Home, tag};
use crate::ledger::{Books, Conversation, Entry, Ledger, Rebuilt, State};
use crate::lifecycle::conversation::AtHand;
use crate::lifecycle::effect::{PolicyOffset, Tags, Under};
use crate::lifecycle::newest::Newest;
use crate::lifecycle::{Effects, Origin};
use crate::policy::duration::SECOND_MS;
use crate::policy::{End, Facts, Keep, Reason, Rules, TenantErasures, TenantHolds, View};
use crate::{Class, Storage};

/// A tenant as it is cached: everything here can be read from the ledger again.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) name: Box<str>,
    /// Where it is among those that are cached.
    pub(super) place: usize,
    pub(super) books: Books,
    pub(super) rules: Rules,
    /// The books differ from their row.
    pub(super) dirty: bool,
    /// What is known of its latest time.
    pub(super) newest: Newest,
    /// Its conversations with a horizon of their own, if they are at hand.
    pub(super) conversations: Option<AtHand>,
}

/// What the cases of a partition share.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Every tombstone is stopped.
    pub(super) stopped: bool,
    /// No look has anything to do before (Unix ms); none: nothing waits.
    pub(super) wake_ms: Option<i64>,
    /// The ledger was put together from the outputs.
    pub(super) rebuilt: Option<Rebuilt>,
    /// Where the event at hand was read.
    pub(super) origin: Origin,
    /// The places of the tenants whose books are to be written.
    pub(super) dirty: Vec<usize>,
    /// How many conversations are at hand, of all tenants.
    pub(super) at_hand: usize,
    /// A buffer for keys.
    pub(super) key: Vec<u8>,
    /// A buffer for values that are written.
    pub(super) value: Vec<u8>,
    /// A buffer for the entry that an event is about.
    pub(super) found: Vec<u8>,
}

impl Desk {
    /// Something is due at this time.
    pub(super) fn wake_at(&mut self, at_ms: i64) {
        self.wake_ms = Some(self.wake_ms.map_or(at_ms, |wake_ms| wake_ms.min(at_ms)));
    }
}

/// Where an entry was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the tenant's range, which the cursors walk.
    Range,
    /// Beside it: kept although the cursors have passed.
    Kept,
}

/// What holds and erasures say of one tenant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requests<'c> {
    pub(super) holds: Option<&'c TenantHolds>,
    pub(super) erasures: Option<&'c TenantErasures>,
    /// The hold on tenant `*`.
    pub(super) stop: PolicyOffset,
}

/// One tenant's records at one moment.
pub(super) struct Case<'c, L> {
    pub(super) class: Class,
    pub(super) name: &'c str,
    pub(super) tenant: &'c mut Tenant,
    pub(super) requests: Requests<'c>,
    pub(super) desk: &'c mut Desk,
    pub(super) ledger: &'c mut L,
    pub(super) now_ms: i64,
    pub(super) effects: &'c mut Effects,
}

impl<L: Ledger> Case<'_, L> {
    pub(super) fn home<'h>(&'h self, time_ms: i64, id: &'h str) -> Home<'h> {
        Home { tenant: self.name, time_ms, id }
    }

    /// What a verdict stands on, for a record of this conversation.
    pub(super) fn view(&self, conversation: Option<Conversation>) -> View<'_> {
        View {
            rules: &self.tenant.rules,
            books: &self.tenant.books,
            conversation,
            holds: self.requests.holds,
            erasures: self.requests.erasures,
            stop: self.requests.stop,
            stopped: self.desk.stopped,
            now_ms: self.now_ms,
        }
    }

    pub(super) fn books_mut(&mut self) -> &mut Books {
        if !self.tenant.dirty {
            self.tenant.dirty = true;
            self.desk.dirty.push(self.tenant.place);
        }
        &mut self.tenant.books
    }

    /// Reads a record's entry: kept first, then the range, unless both cursors have passed it.
    pub(super) fn find<'v>(
        &mut self,
        time_ms: i64,
        id: &str,
        value: &'v mut Vec<u8>,
    ) -> Result<Option<(Place, Entry<'v>)>, L::Error> {
        let mut place = None;
        if self.tenant.books.kept > 0 && self.read(tag::KEPT, time_ms, id, value)? {
            place = Some(Place::Kept);
        } else if !self.tenant.books.has_forgotten(time_ms, id)
            && self.read(tag::ENTRY, time_ms, id, value)?
        {
            place = Some(Place::Range);
        }
        Ok(match place {
            Some(place) => Some((place, Entry::read(value)?)),
            None => None,
        })
    }

    fn read(
        &mut self,
        tag: u8,
        time_ms: i64,
        id: &str,
        value: &mut Vec<u8>,
    ) -> Result<bool, L::Error> {
        Home { tenant: self.name, time_ms, id }.write(tag, &mut self.desk.key);
        self.ledger.get(&self.desk.key, value)
    }

    /// Writes an entry where it belongs. What a cursor has passed would be taken for ended in the range:
    /// it is kept instead, with an alarm. So is what is condemned: all that waits is found there.
    pub(super) fn put(
        &mut self,
        found: Option<Place>,
        time_ms: i64,
        id: &str,
        entry: &Entry<'_>,
    ) -> Result<(), L::Error> {
        self.note_latest(time_ms, entry);
        let books = &self.tenant.books;
        let is_out = matches!(entry.state, State::Live | State::Condemned(_));
        let passed = books.has_forgotten(time_ms, id)
            || (is_out && books.line(entry.storage).has_passed(time_ms, id));
        let condemned = matches!(entry.state, State::Condemned(_));
        if found == Some(Place::Kept) || passed || condemned {
            if found == Some(Place::Range) {
                Home { tenant: self.name, time_ms, id }.write(tag::ENTRY, &mut self.desk.key);
                self.ledger.delete(&self.desk.key);
            }
            return self.put_kept(found == Some(Place::Kept), time_ms, id, entry);
        }
        self.write(tag::ENTRY, time_ms, id, entry);
        Ok(())
    }

    /// Kept entries too: what is later than everything known is not looked for. What is early may yet be of
    /// either storage; the transit cursor is the one that counts it.
    pub(super) fn note_latest(&mut self, time_ms: i64, entry: &Entry<'_>) {
        let storage = match entry.state {
            State::Early => Storage::Transit,
            State::Live | State::Condemned(_) | State::Gone => entry.storage,
        };
        if time_ms > self.tenant.books.line(storage).latest_ms {
            if time_ms > self.tenant.books.latest_ms() {
                self.tenant.newest.begin(time_ms);
            }
            self.books_mut().line_mut(storage).latest_ms = time_ms;
        }
    }

    /// Writes a kept entry, and the alarm at which it is to be judged.
    pub(super) fn put_kept(
        &mut self,
        exists: bool,
        time_ms: i64,
        id: &str,
        entry: &Entry<'_>,
    ) -> Result<(), L::Error> {
        if !exists {
            self.books_mut().kept += 1;
        }
        self.write(tag::KEPT, time_ms, id, entry);
        let conversation = self.conversation(id)?;
        let view = self.view(conversation);
        let facts = Facts::of(time_ms, id, entry);
        let at_ms = match entry.state {
            State::Condemned(_) => match crate::policy::keep(&facts, &view) {
                Some(Keep::Stop { .. } | Keep::Hold { .. }) => None,
                Some(Keep::Minimum { until_ms }) => Some(until_ms),
                None => Some(self.now_ms + 1),
            },
            State::Live => view.due_ms(&facts),
            // For as long as its content could still come, and no cursor need be asked all the time.
            State::Early | State::Gone => {
                let any = |storage| view.due_ms(&Facts { storage, ttl_ms: 0, ..facts });
                let stored_ms = any(Storage::Stored);
                stored_ms.max(any(Storage::Transit)).map(|at_ms| at_ms.max(self.now_ms + SECOND_MS))
            }
        };
        if let Some(at_ms) = at_ms {
            self.set_alarm(at_ms, time_ms, id);
        }
        Ok(())
    }

    pub(super) fn drop_kept(&mut self, time_ms: i64, id: &str) {
        Home { tenant: self.name, time_ms, id }.write(tag::KEPT, &mut self.desk.key);
        self.ledger.delete(&self.desk.key);
        let books = self.books_mut();
        books.kept = books.kept.saturating_sub(1);
    }

    pub(super) fn write(&mut self, tag: u8, time_ms: i64, id: &str, entry: &Entry<'_>) {
        let mut value = std::mem::take(&mut self.desk.value);
        entry.write(&mut value);
        Home { tenant: self.name, time_ms, id }.write(tag, &mut self.desk.key);
        self.ledger.put(&self.desk.key, &value);
        self.desk.value = value;
        self.tenant.newest.add(time_ms, id);
    }

    /// A record is to be judged at this time. An alarm only says when to look.
    pub(super) fn set_alarm(&mut self, at_ms: i64, time_ms: i64, id: &str) {
        Home { tenant: self.name, time_ms, id }.write_alarm(at_ms, &mut self.desk.key);
        self.ledger.put(&self.desk.key, &[]);
        self.desk.wake_at(at_ms);
    }

    /// The tenant is to be looked at at this time, or earlier if that was said before.
    pub(super) fn look_at(&mut self, at_ms: i64) {
        if self.tenant.books.next_look_ms.is_some_and(|next_ms| next_ms <= at_ms) {
            return;
        }
        self.cancel_look();
        key::timed(tag::LOOK, at_ms, self.name, &mut self.desk.key);
        self.ledger.put(&self.desk.key, &[]);
        self.books_mut().next_look_ms = Some(at_ms.clamp(0, key::TIME_MAX_MS));
        self.desk.wake_at(at_ms);
    }

    pub(super) fn cancel_look(&mut self) {
        if let Some(next_ms) = self.tenant.books.next_look_ms {
            key::timed(tag::LOOK, next_ms, self.name, &mut self.desk.key);
            self.ledger.delete(&self.desk.key);
            self.books_mut().next_look_ms = None;
        }
    }

    /// Whether a hold keeps the storage's cursor from ever coming to this time.
    pub(super) fn is_frozen(&self, storage: Storage, time_ms: i64) -> bool {
        let frozen_from_ms = self.view(None).frozen_from_ms();
        storage == Storage::Stored && frozen_from_ms.is_some_and(|from_ms| time_ms >= from_ms)
    }

    /// When content of this time is due to be passed by its cursor (Unix ms).
    pub(super) fn passes_at_ms(&self, storage: Storage, time_ms: i64) -> Option<i64> {
        let view = self.view(None);
        let lifetime_ms = view.lifetime(storage).ms()?;
        let minimum_ms = match storage {
            Storage::Stored => self.tenant.rules.terms.minimum_ms,
            Storage::Transit => 0,
        };
        Some(time_ms.saturating_add(lifetime_ms.max(minimum_ms)))
    }

    /// Makes sure that live content ends in time: by its tenant's cursor, or by an alarm of its own.
    pub(super) fn watch(
        &mut self,
        conversation: Option<Conversation>,
        facts: &Facts<'_>,
        id: &str,
    ) {
        let passes_at_ms = self.passes_at_ms(facts.storage, facts.time_ms);
        if let Some(at_ms) = passes_at_ms
            && !self.is_frozen(facts.storage, facts.time_ms)
        {
            self.look_at(at_ms);
        }
        let ends_at_ms = self.view(conversation).due_ms(facts);
        // What has a clock of its own keeps its alarm: the tenant's cursor may yet be slowed down.
        let own_clock = facts.ttl_ms > 0 || conversation.is_some();
        if let Some(at_ms) = ends_at_ms
            && (own_clock || passes_at_ms.is_none_or(|passes_at_ms| at_ms < passes_at_ms))
        {
            self.set_alarm(at_ms, facts.time_ms, id);
        }
    }

    /// The gate: a record whose life has ended may go, or is to be condemned while something keeps it. What
    /// becomes of it is the caller's to write.
    pub(super) fn gate(
        &mut self,
        conversation: Option<Conversation>,
        facts: &Facts<'_>,
        reason: Reason,
    ) -> Option<End> {
        let facts = Facts { ended: Some(reason), ..*facts };
        let view = self.view(conversation);
        let end = view.end_of(reason, &facts);
        match crate::policy::keep(&facts, &view) {
            Some(Keep::Minimum { until_ms }) => self.set_alarm(until_ms, facts.time_ms, facts.id),
            Some(Keep::Stop { .. } | Keep::Hold { .. }) => {}
            None => return Some(end),
        }
        None
    }

    /// Emits a tombstone that the verdict allows.
    pub(super) fn bury(&mut self, storage: Storage, id: &str, under: Under, end: End) {
        self.effects.tombstone(storage, self.name, id, under, end);
        let line = self.books_mut().line_mut(storage);
        line.live = line.live.saturating_sub(1);
    }

    /// Emits the content of the event at hand.
    pub(super) fn emit(
        &mut self,
        conversation: Option<Conversation>,
        facts: &Facts<'_>,
        under: Under,
    ) {
        let tags = self.tags(conversation, facts);
        self.effects.content(facts.storage, self.name, facts.id, under, tags);
    }

    fn tags(&self, conversation: Option<Conversation>, facts: &Facts<'_>) -> Tags {
        let view = self.view(conversation);
        let (retention_ms, policy): (Option<i64>, PolicyOffset) = match facts.storage {
            Storage::Stored => {
                let (retention, policy) = view.retention();
                (retention.ms(), policy)
            }
            Storage::Transit => {
                (Some(self.tenant.rules.transit_limit_ms()), self.tenant.rules.transit_policy())
            }
        };
        let aged_at_ms = retention_ms.map(|ms| match facts.storage {
            Storage::Stored => facts.time_ms + ms.max(self.tenant.rules.terms.minimum_ms),
            Storage::Transit => facts.time_ms + ms,
        });
        let expires_at_ms = match (aged_at_ms, facts.burns_at_ms()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Tags { retention_ms, expires_at_ms, policy }
    }
}

impl<'a> Facts<'a> {
    /// What a verdict needs to know of an entry.
    pub(super) fn of(time_ms: i64, id: &'a str, entry: &Entry<'a>) -> Self {
        let ended = match entry.state {
            State::Condemned(reason) => Some(reason),
            State::Early | State::Live | State::Gone => None,
        };
        let (storage, ttl_ms) = (entry.storage, entry.ttl_ms);
        Self { id, sender: entry.sender, storage, time_ms, ttl_ms, ended }
    }
}
