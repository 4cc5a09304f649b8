//! What an event does to a profile or a config item: the newest version counts.
//!
//! Invariant: of the versions of one record at most one is live on each of the class's two topics.

use super::case::Case;
use super::effect::Outcome;
use super::event::VersionAction;
use crate::ledger::key::{self, Home, tag};
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
        let Some((state, storage)) = self.admit_version(time_ms) else {
            return Ok(Outcome::Over);
        };
        let mut next = Latest {
            newest_ms: time_ms,
            removed: false,
            ..latest.unwrap_or(Latest::new(time_ms, false))
        };
        let other = match storage {
            Storage::Stored => Storage::Transit,
            Storage::Transit => Storage::Stored,
        };
        self.end_version(id, &mut next, other)?;
        let older_ms = next.live_ms_mut(storage).replace(time_ms);
        match older_ms {
            Some(older_ms) if self.is_out(storage, older_ms, id) => {
                self.forget_version(older_ms, id)
            }
            Some(_) | None => self.books_mut().line_mut(storage).live += 1,
        }
        let entry = Entry::bare(state, storage);
        self.put(None, time_ms, id, &entry)?;
        self.put_latest(id, &next);
        let facts = Facts::of(time_ms, &entry);
        self.emit(None, &facts, id);
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
        if !self.is_out(storage, live_ms, id) {
            *latest.live_ms_mut(storage) = None;
            return Ok(());
        }
        let mut value = Vec::new();
        let found = self.find(live_ms, id, &mut value)?;
        // What ended it first is the reason, also if something kept it since.
        let ended = found.and_then(|(_, entry)| Facts::of(live_ms, &entry).ended);
        let facts = Facts { storage, time_ms: live_ms, ttl_ms: 0, ended };
        let reason = match verdict(&facts, &self.view(None)) {
            Verdict::Live { .. } => Reason::Removed,
            Verdict::Kept(end, _) | Verdict::Ended(end) => end.reason,
        };
        if self.finish(None, &facts, reason, id) {
            *latest.live_ms_mut(storage) = None;
            self.forget_version(live_ms, id);
        } else {
            let condemned = Entry::bare(State::Condemned(reason), storage);
            self.put(None, live_ms, id, &condemned)?;
        }
        Ok(())
    }

    /// Where a version that comes belongs, and whether it has ended already; none: it is over.
    fn admit_version(&self, time_ms: i64) -> Option<(State, Storage)> {
        let view = self.view(None);
        let line = &self.tenant.books.stored;
        let may_store = self.tenant.rules.stores()
            && time_ms >= view.since_ms()
            && time_ms > line.floor_ms()
            && time_ms > line.cursor_ms;
        let stored = Facts { storage: Storage::Stored, time_ms, ttl_ms: 0, ended: None };
        if may_store {
            match verdict(&stored, &view) {
                Verdict::Live { .. } => return Some((State::Live, Storage::Stored)),
                Verdict::Kept(end, _) => {
                    return Some((State::Condemned(end.reason), Storage::Stored));
                }
                Verdict::Ended(_) => {}
            }
        }
        let in_transit = self.class != Class::Config && time_ms > view.horizon_ms(Storage::Transit);
        in_transit.then_some((State::Live, Storage::Transit))
    }

    /// Whether the content of a version has no tombstone yet.
    pub(super) fn is_out(&self, storage: Storage, time_ms: i64, id: &str) -> bool {
        !self.tenant.books.line(storage).has_passed(time_ms, id)
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

    /// Removes the row of a version that a newer one has replaced: nothing will look for it.
    fn forget_version(&mut self, time_ms: i64, id: &str) {
        Home { tenant: self.name, time_ms, id }.write(tag::ENTRY, &mut self.desk.key);
        self.ledger.delete(&self.desk.key);
    }
}
