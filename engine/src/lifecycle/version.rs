//! What an event does to a profile or a config item: the newest version counts.
//!
//! Invariant: of the versions of one record at most one is the live one on each of the class's two topics.
//! What a hold keeps beside it is the business of [`super::beside`].

use super::beside::Beside;
use super::case::Case;
use super::effect::{Outcome, Under};
use super::event::VersionAction;
use crate::ledger::key::{self, tag};
use crate::ledger::{Entry, Latest, Ledger, State};
use crate::policy::{Facts, Keep, Reason, Verdict, keep, verdict};
use crate::{Class, Storage};

impl<L: Ledger> Case<'_, L> {
    /// Applies an event to a profile or a config item.
    pub(super) fn version(
        &mut self,
        time_ms: i64,
        id: &str,
        action: VersionAction,
    ) -> Result<Outcome, L::Error> {
        let latest = self.latest(id)?;
        match (latest, action) {
            (Some(latest), _) if latest.newest_ms > time_ms => return Ok(Outcome::Known),
            (Some(latest), VersionAction::Removed)
                if latest.newest_ms == time_ms && latest.removed =>
            {
                return Ok(Outcome::Known);
            }
            (Some(latest), VersionAction::Set) if latest.newest_ms == time_ms => {
                return Ok(Outcome::Known);
            }
            _ => {}
        }
        match action {
            VersionAction::Set => self.set(time_ms, id, latest),
            VersionAction::Removed => self.removed(time_ms, id, latest),
        }
    }

    fn set(&mut self, time_ms: i64, id: &str, latest: Option<Latest>) -> Result<Outcome, L::Error> {
        let (state, storage) = match self.admit_version(time_ms, id) {
            Admission::Emit(..) if self.had_ended(time_ms, id)? => {
                // It is known from now on, unless something older lives: that was not told when this one came.
                if latest.is_none_or(|latest| latest.is_nowhere()) {
                    self.removed(time_ms, id, latest)?;
                }
                return Ok(Outcome::Over);
            }
            Admission::Emit(state, storage) => (state, storage),
            Admission::TooOld => return Ok(Outcome::Over),
            Admission::Erased => {
                // It was the newest all the same: what is older ends, and is known.
                self.removed(time_ms, id, latest)?;
                return Ok(Outcome::Over);
            }
        };
        let mut next = Latest {
            newest_ms: time_ms,
            removed: false,
            ..latest.unwrap_or(Latest::new(time_ms, false))
        };
        let under = match storage {
            Storage::Stored => {
                self.end_version(id, &mut next, Storage::Transit)?;
                self.make_room(time_ms, id, &mut next)?
            }
            Storage::Transit => {
                self.end_version(id, &mut next, Storage::Stored)?;
                if let Some(older_ms) = next.transit_ms.replace(time_ms)
                    && self.is_version_out(Storage::Transit, older_ms, id)?
                {
                    self.forget_version(Storage::Transit, older_ms, id)?;
                }
                Under::Plain
            }
        };
        self.books_mut().line_mut(storage).live += 1;
        let entry = Entry::bare(state, storage);
        if storage == Storage::Stored && next.beside > 0 {
            // Those beside it end with it: that is to be noticed wherever the minimum has the cursor wait.
            self.note_latest(time_ms, &entry);
            self.put_kept(false, time_ms, id, &entry)?;
        } else {
            self.put(None, time_ms, id, &entry)?;
        }
        if let State::Condemned(_) = state {
            next.stored_ms = None;
            self.put_beside(time_ms, id, &mut next, Beside::Condemned)?;
        }
        self.put_latest(id, &next);
        let facts = Facts::of(time_ms, id, &entry);
        self.emit(None, &facts, under);
        self.watch(None, &facts, id);
        if facts.ended.is_some()
            && let Some(Keep::Minimum { until_ms }) = keep(&facts, &self.view(None))
        {
            // Stored although it has ended: no cursor need come by when the minimum has passed.
            self.set_alarm(until_ms, time_ms, id);
        }
        Ok(match storage {
            Storage::Stored => Outcome::Stored,
            Storage::Transit => Outcome::Transit,
        })
    }

    fn removed(
        &mut self,
        time_ms: i64,
        id: &str,
        latest: Option<Latest>,
    ) -> Result<Outcome, L::Error> {
        // Older versions that come later are over by themselves: there is nothing to remember.
        let too_old = self.tenant.books.has_forgotten(time_ms, id);
        if latest.is_none() && too_old {
            return Ok(Outcome::Over);
        }
        let mut next = Latest {
            newest_ms: time_ms,
            removed: true,
            ..latest.unwrap_or(Latest::new(time_ms, true))
        };
        self.end_version(id, &mut next, Storage::Stored)?;
        self.end_version(id, &mut next, Storage::Transit)?;
        self.put_latest(id, &next);
        // So that both cursors know that there is something to pass.
        if time_ms > self.tenant.books.transit.latest_ms {
            self.books_mut().transit.latest_ms = time_ms;
        }
        Ok(Outcome::Learned)
    }

    /// Ends the live version of a storage, if there is one: something newer has come.
    fn end_version(
        &mut self,
        id: &str,
        latest: &mut Latest,
        storage: Storage,
    ) -> Result<(), L::Error> {
        let Some(live_ms) = latest.live_ms(storage) else {
            return Ok(());
        };
        *latest.live_ms_mut(storage) = None;
        if !self.is_version_out(storage, live_ms, id)? {
            if storage == Storage::Stored {
                latest.plain_ms = latest.plain_ms.filter(|plain_ms| *plain_ms != live_ms);
            }
            return Ok(());
        }
        let mut value = Vec::new();
        let found = self.find(live_ms, id, &mut value)?;
        // What ended it first is the reason, also if something kept it since.
        let ended = found.and_then(|(_, entry)| Facts::of(live_ms, id, &entry).ended);
        let facts = Facts { ended, ..version_facts(storage, live_ms, id) };
        let reason = match verdict(&facts, &self.view(None)) {
            Verdict::Live { .. } => Reason::Removed,
            Verdict::Kept(end, _) | Verdict::Ended(end) => end.reason,
        };
        self.end_one(id, latest, &facts, reason)?;
        if storage == Storage::Stored {
            self.end_beside(id, latest, reason)?;
        }
        Ok(())
    }

    /// Where a version that comes belongs, and whether it has ended already.
    fn admit_version(&self, time_ms: i64, id: &str) -> Admission {
        let view = self.view(None);
        let line = &self.tenant.books.stored;
        let stored = version_facts(Storage::Stored, time_ms, id);
        let may_store = self.tenant.rules.stores()
            && time_ms >= view.since_ms()
            && time_ms > line.floor_ms()
            && time_ms > line.cursor_ms
            && view.opted_out_by(&stored).is_none();
        if may_store {
            match verdict(&stored, &view) {
                Verdict::Live { .. } => return Admission::Emit(State::Live, Storage::Stored),
                Verdict::Kept(end, _) => {
                    return Admission::Emit(State::Condemned(end.reason), Storage::Stored);
                }
                Verdict::Ended(_) => {}
            }
        }
        let transit = version_facts(Storage::Transit, time_ms, id);
        let too_old = time_ms <= view.horizon_ms(Storage::Transit);
        if view.erased_by(&transit).is_some() && (may_store || !too_old) {
            return Admission::Erased;
        }
        if self.class == Class::Config || too_old {
            return Admission::TooOld;
        }
        Admission::Emit(State::Live, Storage::Transit)
    }

    /// Whether a version is the live one on this storage's topic.
    pub(super) fn is_newest(
        &mut self,
        storage: Storage,
        time_ms: i64,
        id: &str,
    ) -> Result<bool, L::Error> {
        Ok(self.latest(id)?.is_some_and(|latest| latest.live_ms(storage) == Some(time_ms)))
    }

    pub(super) fn latest(&mut self, id: &str) -> Result<Option<Latest>, L::Error> {
        key::of_tenant(tag::LATEST, self.name, id, &mut self.desk.key);
        let mut value = std::mem::take(&mut self.desk.value);
        let found = self.ledger.get(&self.desk.key, &mut value)?;
        let latest = found.then(|| Latest::read(&value)).transpose();
        self.desk.value = value;
        Ok(latest?)
    }

    pub(super) fn put_latest(&mut self, id: &str, latest: &Latest) {
        let mut value = std::mem::take(&mut self.desk.value);
        latest.write(&mut value);
        key::of_tenant(tag::LATEST, self.name, id, &mut self.desk.key);
        self.ledger.put(&self.desk.key, &value);
        self.desk.value = value;
    }
}

/// Where a version that comes belongs.
enum Admission {
    /// Emit it.
    Emit(State, Storage),
    /// Emit nothing: too old.
    TooOld,
    /// Emit nothing: an erasure covers it.
    Erased,
}

/// What a verdict needs to know of a version that nothing has ended.
pub(super) const fn version_facts(storage: Storage, time_ms: i64, id: &str) -> Facts<'_> {
    Facts { id, sender: "", storage, time_ms, ttl_ms: 0, ended: None }
}
