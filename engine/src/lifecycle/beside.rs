//! Versions of a profile or config item that stand beside the live one: those that a hold kept from being
//! overwritten, and those that have ended and wait.
//!
//! Invariants: each has a row; what has ended has a kept entry too, and so has the live one while any stands
//! beside it. A newer version goes under the plain record key unless a hold covers the one that is there; those
//! it did not overwrite end with it, each as soon as nothing keeps it.

use super::case::{Case, Place};
use super::effect::Under;
use super::version::version_facts;
use crate::Storage;
use crate::ledger::key::{self, Home, tag};
use crate::ledger::{Corrupt, Entry, Latest, Ledger, Rows, State};
use crate::policy::{End, Facts, Reason, Verdict, keep, verdict};

/// The time in the home of a record's versions: they are found by its id.
const NO_TIME_MS: i64 = 0;

/// Why a version stands beside the live one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// A newer one has not overwritten it: it ends with that.
    Older,
    /// It has ended, and something keeps it.
    Condemned,
}

impl Beside {
    const fn byte(self) -> u8 {
        match self {
            Self::Older => 0,
            Self::Condemned => 1,
        }
    }

    fn read(value: &[u8]) -> Result<Self, Corrupt> {
        match value {
            [0] => Ok(Self::Older),
            [1] => Ok(Self::Condemned),
            _ => Err(Corrupt("a version beside others")),
        }
    }
}

impl<L: Ledger> Case<'_, L> {
    /// Makes room for a newer stored version: what a hold covers is not overwritten. Returns under which
    /// key the new one goes; from then on it is the live one.
    pub(super) fn make_room(
        &mut self,
        time_ms: i64,
        id: &str,
        latest: &mut Latest,
    ) -> Result<Under, L::Error> {
        let live_ms = match latest.stored_ms.take() {
            Some(live_ms) if self.is_version_out(Storage::Stored, live_ms, id)? => Some(live_ms),
            Some(live_ms) => {
                latest.plain_ms = latest.plain_ms.filter(|plain_ms| *plain_ms != live_ms);
                None
            }
            None => None,
        };
        let held = latest.plain_ms.filter(|plain_ms| {
            let facts = version_facts(Storage::Stored, *plain_ms, id);
            self.view(None).held_by(&facts).is_some()
        });
        let overwritten = if held.is_some() { None } else { latest.plain_ms };
        if let Some(plain_ms) = overwritten {
            self.forget_version(Storage::Stored, plain_ms, id)?;
            self.delete_beside(plain_ms, id, latest)?;
        }
        if let Some(live_ms) = live_ms {
            self.step_aside(live_ms, id, latest, overwritten == Some(live_ms))?;
        }
        latest.stored_ms = Some(time_ms);
        if held.is_some() {
            return Ok(Under::Version(time_ms));
        }
        latest.plain_ms = Some(time_ms);
        Ok(Under::Plain)
    }

    /// The live version is replaced by a newer one. Unless it was overwritten it stays on its topic, or ends if
    /// it has; then those beside it have ended with it.
    fn step_aside(
        &mut self,
        live_ms: i64,
        id: &str,
        latest: &mut Latest,
        overwritten: bool,
    ) -> Result<(), L::Error> {
        let mut value = Vec::new();
        let found = self.find(live_ms, id, &mut value)?;
        let ended = found.and_then(|(_, entry)| Facts::of(live_ms, id, &entry).ended);
        let facts = Facts { ended, ..version_facts(Storage::Stored, live_ms, id) };
        match verdict(&facts, &self.view(None)) {
            Verdict::Live { .. } if overwritten => Ok(()),
            Verdict::Live { .. } => {
                self.drop_version(live_ms, id)?;
                self.put_beside(live_ms, id, latest, Beside::Older)
            }
            Verdict::Kept(end, _) | Verdict::Ended(end) => {
                if !overwritten {
                    self.end_one(id, latest, &facts, end.reason)?;
                }
                self.end_beside(id, latest, end.reason)
            }
        }
    }

    /// Ends the versions that stand beside the live one, which has ended.
    pub(super) fn end_beside(
        &mut self,
        id: &str,
        latest: &mut Latest,
        reason: Reason,
    ) -> Result<(), L::Error> {
        if latest.beside == 0 {
            return Ok(());
        }
        for version_ms in self.older_versions(id)? {
            let facts = version_facts(Storage::Stored, version_ms, id);
            // An erasure may have ended it before the live one.
            let erased = self.view(None).erased_by(&facts).is_some();
            let reason = if erased { Reason::Erased } else { reason };
            self.end_one(id, latest, &facts, reason)?;
        }
        Ok(())
    }

    /// Ends an older version by what was decided before. Returns what became of it; none: it had ended.
    pub(super) fn end_older_by(
        &mut self,
        time_ms: i64,
        id: &str,
        end: End,
    ) -> Result<Option<Verdict>, L::Error> {
        let (Some(mut latest), Some(Beside::Older)) = (self.latest(id)?, self.beside(time_ms, id)?)
        else {
            return Ok(None);
        };
        let facts = version_facts(Storage::Stored, time_ms, id);
        let kept = keep(&facts, &self.view(None));
        self.end_one(id, &mut latest, &facts, end.reason)?;
        self.put_latest(id, &latest);
        Ok(Some(kept.map_or(Verdict::Ended(end), |keep| Verdict::Kept(end, keep))))
    }

    /// Ends one version for a reason: it gets its tombstone, or is condemned.
    pub(super) fn end_one(
        &mut self,
        id: &str,
        latest: &mut Latest,
        facts: &Facts<'_>,
        reason: Reason,
    ) -> Result<(), L::Error> {
        let Facts { storage, time_ms, .. } = *facts;
        match self.gate(None, facts, reason) {
            Some(end) => {
                self.bury(storage, id, under(latest, storage, time_ms), end);
                self.drop_version(time_ms, id)?;
                self.left_topic(storage, time_ms, id, latest)
            }
            None => {
                let condemned = Entry::bare(State::Condemned(reason), storage);
                let mut value = Vec::new();
                let found = self.find(time_ms, id, &mut value)?.map(|(place, _)| place);
                self.put(found, time_ms, id, &condemned)?;
                match storage {
                    Storage::Stored => self.put_beside(time_ms, id, latest, Beside::Condemned),
                    Storage::Transit => {
                        latest.transit_ms = Some(time_ms);
                        Ok(())
                    }
                }
            }
        }
    }

    /// A version has been condemned where it was judged: it waits beside whatever comes.
    pub(super) fn condemned_version(
        &mut self,
        time_ms: i64,
        id: &str,
        storage: Storage,
        reason: Reason,
    ) -> Result<(), L::Error> {
        if self.class == crate::Class::Message || storage == Storage::Transit {
            return Ok(());
        }
        let Some(mut latest) = self.latest(id)? else {
            return Ok(());
        };
        self.put_beside(time_ms, id, &mut latest, Beside::Condemned)?;
        if latest.stored_ms == Some(time_ms) {
            latest.stored_ms = None;
            self.end_beside(id, &mut latest, reason)?;
        }
        self.put_latest(id, &latest);
        Ok(())
    }

    /// Emits the tombstone of a version that was judged, and ends those beside it if it was the live one.
    pub(super) fn bury_version(
        &mut self,
        time_ms: i64,
        id: &str,
        storage: Storage,
        end: End,
    ) -> Result<(), L::Error> {
        let Some(mut latest) = self.latest(id)? else {
            self.bury(storage, id, Under::Plain, end);
            return Ok(());
        };
        self.bury(storage, id, under(&latest, storage, time_ms), end);
        let was_live = latest.live_ms(storage) == Some(time_ms);
        self.left_topic(storage, time_ms, id, &mut latest)?;
        if was_live {
            *latest.live_ms_mut(storage) = None;
            if storage == Storage::Stored {
                self.end_beside(id, &mut latest, end.reason)?;
            }
        }
        self.put_latest(id, &latest);
        Ok(())
    }

    /// The same as a cursor passes it: where it stands alone the cursor says all that there is to say.
    pub(super) fn pass_version(
        &mut self,
        time_ms: i64,
        id: &str,
        storage: Storage,
        end: End,
    ) -> Result<(), L::Error> {
        let latest = self.latest(id)?;
        if latest.is_some_and(|latest| latest.beside > 0) {
            return self.bury_version(time_ms, id, storage, end);
        }
        let under = latest.map_or(Under::Plain, |latest| under(&latest, storage, time_ms));
        self.bury(storage, id, under, end);
        Ok(())
    }

    /// A version's tombstone is out: its key is free, and it stands beside nothing any more.
    fn left_topic(
        &mut self,
        storage: Storage,
        time_ms: i64,
        id: &str,
        latest: &mut Latest,
    ) -> Result<(), L::Error> {
        if storage == Storage::Transit {
            return Ok(());
        }
        latest.plain_ms = latest.plain_ms.filter(|plain_ms| *plain_ms != time_ms);
        self.delete_beside(time_ms, id, latest)
    }

    /// Whether the content of a version has no tombstone yet.
    pub(super) fn is_version_out(
        &mut self,
        storage: Storage,
        time_ms: i64,
        id: &str,
    ) -> Result<bool, L::Error> {
        if !self.tenant.books.line(storage).has_passed(time_ms, id) {
            return Ok(true);
        }
        let mut value = Vec::new();
        let found = self.find(time_ms, id, &mut value)?;
        Ok(found.is_some_and(|(place, entry)| {
            place == Place::Kept && matches!(entry.state, State::Live | State::Condemned(_))
        }))
    }

    /// A newer version takes the place of one on its topic: nothing will look for it.
    pub(super) fn forget_version(
        &mut self,
        storage: Storage,
        time_ms: i64,
        id: &str,
    ) -> Result<(), L::Error> {
        let line = self.books_mut().line_mut(storage);
        line.live = line.live.saturating_sub(1);
        self.drop_version(time_ms, id)
    }

    /// Removes the rows of a version.
    fn drop_version(&mut self, time_ms: i64, id: &str) -> Result<(), L::Error> {
        let mut value = Vec::new();
        if let Some((Place::Kept, _)) = self.find(time_ms, id, &mut value)? {
            self.drop_kept(time_ms, id);
        }
        Home { tenant: self.name, time_ms, id }.write(tag::ENTRY, &mut self.desk.key);
        self.ledger.delete(&self.desk.key);
        Ok(())
    }

    /// Whether a version stands beside the live one.
    pub(super) fn beside(&mut self, time_ms: i64, id: &str) -> Result<Option<Beside>, L::Error> {
        let mut row = Vec::new();
        self.home(NO_TIME_MS, id).write_version(time_ms, &mut row);
        let mut value = Vec::new();
        let found = self.ledger.get(&row, &mut value)?;
        Ok(found.then(|| Beside::read(&value)).transpose()?)
    }

    pub(super) fn put_beside(
        &mut self,
        time_ms: i64,
        id: &str,
        latest: &mut Latest,
        beside: Beside,
    ) -> Result<(), L::Error> {
        if self.beside(time_ms, id)?.is_none() {
            latest.beside += 1;
        }
        let mut row = Vec::new();
        self.home(NO_TIME_MS, id).write_version(time_ms, &mut row);
        self.ledger.put(&row, &[beside.byte()]);
        Ok(())
    }

    fn delete_beside(
        &mut self,
        time_ms: i64,
        id: &str,
        latest: &mut Latest,
    ) -> Result<(), L::Error> {
        if latest.beside > 0 && self.beside(time_ms, id)?.is_some() {
            latest.beside -= 1;
            let mut row = Vec::new();
            self.home(NO_TIME_MS, id).write_version(time_ms, &mut row);
            self.ledger.delete(&row);
        }
        Ok(())
    }

    /// The older versions that end with the live one: as many as were updated under holds.
    pub(super) fn older_versions(&mut self, id: &str) -> Result<Vec<i64>, L::Error> {
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        self.home(NO_TIME_MS, id).write_versions(&mut from);
        to.extend_from_slice(&from);
        key::end_of_prefix(&mut to);
        self.ledger.scan(&from, &to, usize::MAX, &mut rows)?;
        let mut older = Vec::new();
        for (row, value) in rows.iter() {
            match Beside::read(value)? {
                Beside::Older => older.push(key::read_version(row)?.1),
                Beside::Condemned => {}
            }
        }
        Ok(older)
    }
}

/// Under which key a version is on its topic.
pub(super) fn under(latest: &Latest, storage: Storage, time_ms: i64) -> Under {
    match storage {
        Storage::Stored if latest.plain_ms != Some(time_ms) => Under::Version(time_ms),
        Storage::Stored | Storage::Transit => Under::Plain,
    }
}
