//! Putting a lost ledger together: what the outputs hold is live, what they hold a null value of is over.
//!
//! The control records come first, each as of its own time, so that they close the books of tenants of which
//! nothing was seen; then what the outputs hold. Nothing is ended meanwhile: the cursors begin anew, and
//! whatever has ended by now and has no tombstone yet gets it at the next look.
//!
//! Invariant: content of before the loss that the outputs do not know is never emitted again.

use super::beside::Beside;
use super::case::Case;
use super::edits::UNDER_PLAIN;
use super::engine::Engine;
use super::event::{Origin, Sent};
use super::version::version_facts;
use super::{Budget, Effects};
use crate::Storage;
use crate::ledger::key::{self, Home, TIME_MAX_MS, tag};
use crate::ledger::{Entry, Floor, Latest, Ledger, Rebuilt, State, write_over};
use crate::policy::{ControlRecord, Facts, Reason, Verdict, verdict};

/// How far a producer's clock may be ahead of the broker's, so that a message may be sent after it ended (ms).
const AHEAD_MS_MAX: i64 = 10 * 60 * 1000;

/// So many rows a look at an empty ledger may read: alarms, looks and sweeps of control records alone.
const LOOK_ROWS: usize = 8_192;

/// What becomes of a replay.
const REPLAY_LOST: &str = "how far it was is lost with the ledger: start another one";

/// What the outputs say of one record.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// Content of a message, and no null value behind it.
    Message(FoundMessage<'a>),
    /// Versions of a profile or a config item, and no null values behind them.
    Versions(FoundVersions<'a>),
    /// A null value alone, written at this time (Unix ms).
    Ended(i64),
}

/// A message whose content is on an output.
#[derive(Clone, Copy, Debug)]
pub struct FoundMessage<'a> {
    /// When it was sent (Unix ms).
    pub sent_at_ms: i64,
    /// On which of the two topics it is.
    pub storage: Storage,
    /// How it was sent, as far as that is known.
    pub sent: Sent<'a>,
    /// The edit under its record key, if any.
    pub edited_at_ms: Option<i64>,
    /// The edits that stand beside it, under keys of their own.
    pub versions: &'a [i64],
}

/// Versions of a profile or a config item that are on the outputs.
#[derive(Clone, Copy, Debug)]
pub struct FoundVersions<'a> {
    /// On `store.*`: their times in order.
    pub stored: &'a [i64],
    /// The one of them that is under the plain record key.
    pub plain_ms: Option<i64>,
    /// On `transit.*`.
    pub transit_ms: Option<i64>,
}

impl Engine {
    /// Draws the line before which the lost ledger had seen the input.
    pub fn adopt_line<L: Ledger>(&mut self, ledger: &mut L, rebuilt: Rebuilt) {
        key::first(tag::REBUILT, &mut self.desk.key);
        rebuilt.write(&mut self.desk.value);
        ledger.put(&self.desk.key, &self.desk.value);
        self.desk.rebuilt = Some(rebuilt);
    }

    /// Applies a control record as of its own time, in the order of the control topic, to a ledger that holds
    /// nothing yet. `seen_ms` tells since when the outputs have something of a tenant (Unix ms). What had been
    /// reported of the record is not reported again.
    pub fn adopt_control<L: Ledger>(
        &mut self,
        ledger: &mut L,
        record: &ControlRecord,
        seen_ms: impl Fn(&str) -> Option<i64>,
    ) -> Result<(), L::Error> {
        let at_ms = record.written_at_ms();
        self.adopt_time(ledger, at_ms)?;
        let tenant = record.subject().ok().and_then(|subject| subject.tenant());
        if let Some(tenant) = tenant.filter(|tenant| seen_ms(tenant).is_some_and(|ms| ms <= at_ms))
        {
            let mut nothing = Effects::default();
            let mut case = self.case(ledger, tenant, at_ms, &mut nothing)?;
            // The history of a tenant of which nothing was seen may still be brought in: not of this one.
            let line = &mut case.books_mut().transit;
            line.latest_ms = line.latest_ms.max(0);
        }
        self.control(ledger, record, at_ms, &mut Effects::default())?;
        self.end_replays(ledger, at_ms)?;
        self.adopt_time(ledger, at_ms)
    }

    /// How far replays were is lost with the ledger: none of them is begun anew.
    fn end_replays<L: Ledger>(&mut self, ledger: &mut L, at_ms: i64) -> Result<(), L::Error> {
        for offset in self.open_replays().to_vec() {
            if let Some(replaying) = self.read_replay(ledger, offset)? {
                self.fail_replay(ledger, replaying, REPLAY_LOST, at_ms, &mut Effects::default());
            }
        }
        Ok(())
    }

    /// Lets time pass for a ledger that holds nothing yet, up to one until which the lost one is known to have
    /// come (Unix ms): what waits comes into force, tenants end, and what was asked for is carried out.
    pub fn adopt_time<L: Ledger>(&mut self, ledger: &mut L, at_ms: i64) -> Result<(), L::Error> {
        let mut nothing = Effects::default();
        self.activate(ledger, at_ms, at_ms, &mut nothing)?;
        while self.look(ledger, at_ms, &mut Budget { rows: LOOK_ROWS }, &mut nothing)?.more {
            nothing.clear();
        }
        Ok(())
    }

    /// Has every erasure in force carried out again: over what the outputs still hold.
    pub fn adopt_erasures<L: Ledger>(&mut self, ledger: &mut L) -> Result<(), L::Error> {
        let mut found = Vec::new();
        self.erasures(ledger, &mut |offset, _| found.push(offset))?;
        for offset in found {
            self.erase_again(ledger, offset)?;
        }
        Ok(())
    }

    /// Takes over what the outputs say of a record of a tenant; the id is encoded as in its key. To be called
    /// once for each record, behind the control records, with the time of the last of them.
    pub fn adopt<L: Ledger>(
        &mut self,
        ledger: &mut L,
        tenant: &str,
        id: &str,
        found: &Found<'_>,
        now_ms: i64,
    ) -> Result<(), L::Error> {
        let class = self.class;
        // Nothing is emitted: what has ended is found by a look.
        let mut nothing = Effects::default();
        let mut case = self.case(ledger, tenant, now_ms, &mut nothing)?;
        match found {
            Found::Message(found) => case.adopt_message(id, found),
            Found::Versions(found) => case.adopt_versions(id, found),
            Found::Ended(at_ms) if class == crate::Class::Message => case.adopt_ended(*at_ms, id),
            Found::Ended(at_ms) => {
                case.put_latest(id, &Latest::new(*at_ms, true));
                case.pass_later(*at_ms);
                Ok(())
            }
        }
    }
}

impl<L: Ledger> Case<'_, L> {
    /// Whether content that comes for the first time had its life before the ledger was lost.
    pub(super) fn had_ended(&mut self, time_ms: i64, id: &str) -> Result<bool, L::Error> {
        let Some(rebuilt) = &self.desk.rebuilt else { return Ok(false) };
        let past = match self.desk.origin {
            Origin::Input(_) => self.was_read(),
            // Whether it was in the input before cannot be known: unknown means privacy.
            Origin::Elsewhere => time_ms <= rebuilt.at_ms,
        };
        if past || time_ms > rebuilt.at_ms.saturating_add(AHEAD_MS_MAX) {
            return Ok(past);
        }
        key::of_tenant(tag::OVER, self.name, id, &mut self.desk.key);
        self.ledger.get(&self.desk.key, &mut self.desk.value)
    }

    /// Whether the lost ledger had seen the event at hand: what it brought is on the outputs, or over.
    pub(super) fn was_read(&self) -> bool {
        match (&self.desk.rebuilt, self.desk.origin) {
            (Some(rebuilt), Origin::Input(offset)) => offset < rebuilt.below,
            (Some(_), Origin::Elsewhere) | (None, Origin::Input(_) | Origin::Elsewhere) => false,
        }
    }

    fn adopt_message(&mut self, id: &str, found: &FoundMessage<'_>) -> Result<(), L::Error> {
        let FoundMessage { sent_at_ms, storage, sent, edited_at_ms, versions } = *found;
        let mut entry = Entry::bare(State::Live, storage).with_sent(&sent);
        entry.edited_at_ms = edited_at_ms.max(versions.iter().copied().max());
        entry.has_versions = !versions.is_empty();
        if storage == Storage::Stored {
            self.draw_floor_behind(sent_at_ms);
        }
        let home = Home { tenant: self.name, time_ms: sent_at_ms, id };
        for &version_ms in versions {
            home.write_version(version_ms, &mut self.desk.key);
            self.ledger.put(&self.desk.key, &[]);
        }
        if let Some(plain_ms) = edited_at_ms.filter(|_| entry.has_versions) {
            home.write_version(plain_ms, &mut self.desk.key);
            self.ledger.put(&self.desk.key, UNDER_PLAIN);
        }
        self.put(None, sent_at_ms, id, &entry)?;
        self.books_mut().line_mut(storage).live += 1 + versions.len() as u64;
        let conversation = self.conversation(id)?;
        self.watch(conversation, &Facts::of(sent_at_ms, id, &entry), id);
        Ok(())
    }

    /// While a tenant stores nothing, what it had stored has ended: the line that was drawn then lay behind all of
    /// it, also behind what was sent ahead of the clock.
    fn draw_floor_behind(&mut self, time_ms: i64) {
        let rules = &self.tenant.rules;
        let line = &self.tenant.books.stored;
        if rules.stores() || time_ms <= line.floor_ms() {
            return;
        }
        let (reason, policy) = match rules.ended {
            true => (Reason::Ended, rules.terms_policy),
            false => (Reason::OptedOut, rules.choice_policy),
        };
        let aged_ms = line.floor.map_or(line.horizon_ms, |floor| floor.aged_ms);
        self.books_mut().stored.raise_floor(Floor { time_ms, aged_ms, reason, policy });
    }

    /// Remembers a message that has ended for as long as a duplicate of it could be taken for a new one. When
    /// it was sent is not known: not long after its null value was written.
    fn adopt_ended(&mut self, ended_at_ms: i64, id: &str) -> Result<(), L::Error> {
        let last_ms = ended_at_ms.saturating_add(AHEAD_MS_MAX);
        // While its conversation lives longer than its tenant's messages, no cursor says that it is over.
        let own = self.conversation(id)?.is_some();
        let until_ms = if own { TIME_MAX_MS } else { last_ms };
        if !own && last_ms <= self.over_by_age_ms() {
            return Ok(());
        }
        key::of_tenant(tag::OVER, self.name, id, &mut self.desk.key);
        write_over(until_ms, &mut self.desk.value);
        self.ledger.put(&self.desk.key, &self.desk.value);
        self.pass_later(last_ms);
        Ok(())
    }

    /// What was sent at or before has ended in either storage (Unix ms).
    fn over_by_age_ms(&self) -> i64 {
        let view = self.view(None);
        view.horizon_ms(Storage::Stored).min(view.horizon_ms(Storage::Transit))
    }

    /// Has the cursors pass a time, so that what is remembered up to it can be forgotten.
    fn pass_later(&mut self, time_ms: i64) {
        if time_ms > self.tenant.books.transit.latest_ms {
            self.books_mut().transit.latest_ms = time_ms;
        }
        if let Some(at_ms) = self.passes_at_ms(Storage::Transit, time_ms) {
            self.look_at(at_ms);
        }
    }

    fn adopt_versions(&mut self, id: &str, found: &FoundVersions<'_>) -> Result<(), L::Error> {
        let FoundVersions { stored, plain_ms, transit_ms } = *found;
        let newest_ms = stored.last().copied().max(transit_ms);
        let Some(newest_ms) = newest_ms else { return Ok(()) };
        if let Some(&time_ms) = stored.last() {
            self.draw_floor_behind(time_ms);
        }
        let mut latest = Latest { plain_ms, ..Latest::new(newest_ms, false) };
        // Of two topics the newer version's has the live one. What stands beside it has been replaced, and only
        // what keeps it keeps it: whether it had ended before that is not known.
        let is_live = |time_ms: i64| time_ms == newest_ms;
        for &time_ms in stored.iter().filter(|time_ms| !is_live(**time_ms)) {
            self.adopt_condemned(Storage::Stored, time_ms, id)?;
            self.put_beside(time_ms, id, &mut latest, Beside::Condemned)?;
        }
        for (storage, of_storage) in
            [(Storage::Stored, stored.last().copied()), (Storage::Transit, transit_ms)]
        {
            let Some(time_ms) = of_storage else { continue };
            if is_live(time_ms) {
                self.adopt_live(storage, time_ms, id, latest.beside > 0)?;
                *latest.live_ms_mut(storage) = Some(time_ms);
            } else if storage == Storage::Transit {
                self.adopt_condemned(storage, time_ms, id)?;
                latest.transit_ms = Some(time_ms);
            }
        }
        self.books_mut().stored.live += stored.len() as u64;
        self.books_mut().transit.live += u64::from(transit_ms.is_some());
        self.put_latest(id, &latest);
        Ok(())
    }

    fn adopt_live(
        &mut self,
        storage: Storage,
        time_ms: i64,
        id: &str,
        has_others: bool,
    ) -> Result<(), L::Error> {
        let entry = Entry::bare(State::Live, storage);
        if storage == Storage::Stored && has_others {
            // Those beside it end with it: that is to be noticed wherever the minimum has the cursor wait.
            self.note_latest(time_ms, &entry);
            self.put_kept(false, time_ms, id, &entry)?;
        } else {
            self.put(None, time_ms, id, &entry)?;
        }
        let facts = version_facts(storage, time_ms, id);
        if !matches!(verdict(&facts, &self.view(None)), Verdict::Live { .. }) {
            // No cursor comes by what is kept.
            self.set_alarm(self.now_ms, time_ms, id);
        }
        self.watch(None, &facts, id);
        Ok(())
    }

    fn adopt_condemned(
        &mut self,
        storage: Storage,
        time_ms: i64,
        id: &str,
    ) -> Result<(), L::Error> {
        let reason = match verdict(&version_facts(storage, time_ms, id), &self.view(None)) {
            Verdict::Live { .. } => Reason::Removed,
            Verdict::Kept(end, _) | Verdict::Ended(end) => end.reason,
        };
        self.put(None, time_ms, id, &Entry::bare(State::Condemned(reason), storage))
    }
}
