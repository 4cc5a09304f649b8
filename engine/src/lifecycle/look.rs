//! The passing of time: what is due is found and ended, in slices between the events.
//!
//! Invariant: a look reads at most its budget; what is left is found by the next one, after a crash too.

use super::case::Case;
use super::engine::Engine;
use super::{Budget, Effects, Looked};
use crate::Storage;
use crate::ledger::key::{self, TIME_MAX_MS, tag};
use crate::ledger::{Entry, Floor, Ledger, Rows};
use crate::policy::Reason;
use crate::policy::duration::SECOND_MS;

/// So many rows are read at once: few enough to be held in memory, many enough to read on evenly.
const SLICE_ROWS_MAX: usize = 1_024;
/// A tenant's look may read so many rows before the next tenant has its turn.
const TENANT_ROWS_MAX: usize = 8_192;

impl Engine {
    /// Ends what is due, within a budget; to be called between events, and while idle at
    /// [`Engine::wake_ms`].
    pub fn look<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now_ms: i64,
        budget: &mut Budget,
        effects: &mut Effects,
    ) -> Result<Looked, L::Error> {
        if self.desk.wake_ms.is_none_or(|wake_ms| wake_ms > now_ms) {
            return Ok(Looked { more: false, overdue_since_ms: None });
        }
        self.activate(ledger, now_ms, now_ms, effects)?;
        if !self.desk.stopped {
            self.ring_alarms(ledger, now_ms, budget, effects)?;
            self.look_at_tenants(ledger, now_ms, budget, effects)?;
            self.sweep(ledger, now_ms, budget, effects)?;
        }
        let wake_ms = self.next_wake_ms(ledger)?;
        self.desk.wake_ms = wake_ms;
        Ok(Looked {
            more: wake_ms.is_some_and(|wake_ms| wake_ms <= now_ms),
            overdue_since_ms: self.overdue_since_ms(ledger, now_ms)?,
        })
    }

    /// Judges the records whose alarms are due.
    fn ring_alarms<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now_ms: i64,
        budget: &mut Budget,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::first(tag::ALARM, &mut from);
        key::timed(tag::ALARM, now_ms + 1, "", &mut to);
        while budget.rows > 0 {
            ledger.scan(&from, &to, SLICE_ROWS_MAX.min(budget.rows), &mut rows)?;
            if rows.is_empty() {
                return Ok(());
            }
            budget.rows = budget.rows.saturating_sub(rows.len());
            for (alarm, _) in rows.iter() {
                let (_, home) = key::read_alarm(alarm)?;
                ledger.delete(alarm);
                let mut case = self.case(ledger, home.tenant, now_ms, effects)?;
                case.carry_out_end(now_ms)?;
                case.judge(home.time_ms, home.id)?;
            }
        }
        Ok(())
    }

    /// Looks at the tenants that are due, each for a slice, those that are due longest first.
    fn look_at_tenants<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now_ms: i64,
        budget: &mut Budget,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::first(tag::LOOK, &mut from);
        key::timed(tag::LOOK, now_ms + 1, "", &mut to);
        while budget.rows > 0 {
            ledger.scan(&from, &to, 1, &mut rows)?;
            let Some((look, _)) = rows.iter().next() else {
                return Ok(());
            };
            let (_, name) = key::read_timed(look)?;
            // Also where the books do not know of it: it would be found again, for ever.
            ledger.delete(look);
            let mut slice = Budget { rows: TENANT_ROWS_MAX.min(budget.rows) };
            // Finding that there is nothing to do counts as a row, so that looks are bounded.
            budget.rows = budget.rows.saturating_sub(slice.rows.max(1));
            let mut case = self.case(ledger, name, now_ms, effects)?;
            let overdue_since_ms = case.look(&mut slice)?;
            budget.rows += slice.rows;
            budget.rows = budget.rows.saturating_sub(1);
            self.note_backlog(name, overdue_since_ms);
            // What this batch has worked off is still walked over by a scan: not once for each tenant.
            from.clear();
            from.extend_from_slice(look);
            from.push(0);
        }
        Ok(())
    }

    fn note_backlog(&mut self, name: &str, overdue_since_ms: Option<i64>) {
        match overdue_since_ms {
            Some(since_ms) => {
                self.backlog.insert(name.into(), since_ms);
            }
            None => {
                self.backlog.remove(name);
            }
        }
    }

    /// Since when the oldest overdue record has been overdue (Unix ms).
    fn overdue_since_ms<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now_ms: i64,
    ) -> Result<Option<i64>, L::Error> {
        if self.desk.stopped {
            return Ok(None);
        }
        let look_ms = first_time_ms(ledger, tag::LOOK)?;
        let alarm_ms = first_time_ms(ledger, tag::ALARM)?;
        let backlog_ms = self.backlog.values().copied().min();
        let oldest_ms = [look_ms, alarm_ms, backlog_ms].into_iter().flatten().min();
        Ok(oldest_ms.filter(|&at_ms| at_ms <= now_ms))
    }

    /// When a look has something to do next (Unix ms).
    pub(super) fn next_wake_ms<L: Ledger>(
        &mut self,
        ledger: &mut L,
    ) -> Result<Option<i64>, L::Error> {
        let waiting_ms = first_time_ms(ledger, tag::WAITING)?;
        if self.desk.stopped {
            return Ok(waiting_ms);
        }
        let sweep_ms = first_key(ledger, tag::SWEEP)?.map(|_| 0);
        let look_ms = first_time_ms(ledger, tag::LOOK)?;
        let alarm_ms = first_time_ms(ledger, tag::ALARM)?;
        Ok([waiting_ms, sweep_ms, look_ms, alarm_ms].into_iter().flatten().min())
    }
}

/// The first key of a family.
pub(super) fn first_key<L: Ledger>(ledger: &mut L, tag: u8) -> Result<Option<Vec<u8>>, L::Error> {
    let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
    key::first(tag, &mut from);
    key::first(tag + 1, &mut to);
    ledger.scan(&from, &to, 1, &mut rows)?;
    Ok(rows.iter().next().map(|(key, _)| key.to_vec()))
}

/// The time of the first row of a family whose keys begin with one.
pub(super) fn first_time_ms<L: Ledger>(ledger: &mut L, tag: u8) -> Result<Option<i64>, L::Error> {
    match first_key(ledger, tag)? {
        Some(key) => Ok(Some(key::read_time(&key)?)),
        None => Ok(None),
    }
}

impl<L: Ledger> Case<'_, L> {
    /// Looks at the tenant: its end, then what its cursors may pass. Returns since when the oldest record
    /// that is left is overdue (Unix ms), if the budget ran out.
    fn look(&mut self, budget: &mut Budget) -> Result<Option<i64>, L::Error> {
        self.cancel_look();
        self.carry_out_end(self.now_ms)?;
        for storage in [Storage::Transit, Storage::Stored] {
            if !self.advance(storage, budget)? {
                self.look_at(self.now_ms);
                let next_ms = self.next_pass_ms(storage)?;
                return Ok(Some(next_ms.map_or(self.now_ms, |at_ms| at_ms.min(self.now_ms))));
            }
        }
        for storage in [Storage::Transit, Storage::Stored] {
            if let Some(at_ms) = self.next_pass_ms(storage)? {
                self.look_at(at_ms.max(self.now_ms + 1));
            }
        }
        if let Some(at_ms) = self.forgets_at_ms() {
            self.look_at(at_ms.max(self.now_ms + SECOND_MS));
        }
        if !self.tenant.rules.ended
            && let Some(end_ms) = self.tenant.rules.terms.end_ms()
        {
            self.look_at(end_ms.max(self.now_ms + 1));
        }
        Ok(None)
    }

    /// Moves a cursor on to where it may go; `false` if the budget ran out before.
    fn advance(&mut self, storage: Storage, budget: &mut Budget) -> Result<bool, L::Error> {
        let limit_ms = self.view(None).cursor_limit_ms(storage);
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::at_time(tag::ENTRY, self.name, limit_ms + 1, &mut to);
        loop {
            let line = self.tenant.books.line(storage);
            let nothing = line.latest_ms <= line.cursor_ms && self.tenant.books.conversations == 0;
            if limit_ms <= line.cursor_ms {
                return Ok(true);
            }
            if nothing {
                self.arrive(storage, limit_ms);
                return Ok(true);
            }
            if budget.rows == 0 {
                return Ok(false);
            }
            self.write_resume(storage, &mut from);
            let rows_max = SLICE_ROWS_MAX.min(budget.rows);
            self.ledger.scan(&from, &to, rows_max, &mut rows)?;
            budget.rows -= rows.len();
            let mut last = None;
            for (row, value) in rows.iter() {
                let home = key::read_home(row)?;
                self.pass(storage, home.time_ms, home.id, Entry::read(value)?)?;
                last = Some(home);
            }
            match last {
                Some(home) if rows.len() == rows_max => {
                    let line = self.books_mut().line_mut(storage);
                    line.cursor_ms = line.cursor_ms.max(home.time_ms - 1);
                    line.horizon_ms = line.horizon_ms.max(home.time_ms);
                    line.resume = Some((home.time_ms, home.id.to_owned()));
                }
                _ => {
                    self.arrive(storage, limit_ms);
                    return Ok(true);
                }
            }
        }
    }

    fn arrive(&mut self, storage: Storage, limit_ms: i64) {
        let line = self.books_mut().line_mut(storage);
        line.cursor_ms = limit_ms;
        // Also where the clock goes back: a cursor is never ahead of its horizon.
        line.horizon_ms = line.horizon_ms.max(limit_ms);
        line.resume = None;
    }

    /// Writes the first key behind what a cursor has passed.
    fn write_resume(&self, storage: Storage, from: &mut Vec<u8>) {
        let line = self.tenant.books.line(storage);
        match &line.resume {
            Some((time_ms, id)) => {
                self.home(*time_ms, id).write(tag::ENTRY, from);
                from.push(0);
            }
            None => key::at_time(tag::ENTRY, self.name, line.cursor_ms + 1, from),
        }
    }

    /// When the first row behind a cursor is due to be passed (Unix ms).
    fn next_pass_ms(&mut self, storage: Storage) -> Result<Option<i64>, L::Error> {
        let line = self.tenant.books.line(storage);
        if line.latest_ms <= line.cursor_ms {
            return Ok(None);
        }
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        self.write_resume(storage, &mut from);
        key::at_time(tag::ENTRY, self.name, TIME_MAX_MS, &mut to);
        self.ledger.scan(&from, &to, 1, &mut rows)?;
        let Some((row, _)) = rows.iter().next() else {
            return Ok(None);
        };
        let time_ms = key::read_home(row)?.time_ms;
        if self.is_frozen(storage, time_ms) {
            return Ok(None);
        }
        if time_ms <= self.view(None).horizon_ms(storage) {
            // It has ended: what holds the cursor back is the minimum.
            return Ok(Some(time_ms.saturating_add(self.tenant.rules.terms.minimum_ms)));
        }
        if storage == Storage::Stored && !self.tenant.rules.stores() {
            return Ok(None);
        }
        Ok(self.passes_at_ms(storage, time_ms))
    }

    /// When the last row of the tenant can be forgotten (Unix ms): an idle tenant's ids go as well.
    fn forgets_at_ms(&self) -> Option<i64> {
        let latest_ms = self.tenant.books.latest_ms();
        let passed = |storage| {
            self.tenant.books.line(storage).cursor_ms >= latest_ms
                || self.is_frozen(storage, latest_ms)
        };
        let at_ms = |storage| match storage {
            Storage::Stored if !self.tenant.rules.stores() => {
                self.passes_at_ms(Storage::Transit, latest_ms)
            }
            Storage::Stored | Storage::Transit => self.passes_at_ms(storage, latest_ms),
        };
        let waiting = [Storage::Transit, Storage::Stored].into_iter().find(|s| !passed(*s));
        waiting.and_then(at_ms)
    }

    /// Carries out the end of the tenant's use, once, if its time has come by then. A change carries out
    /// what came before it alone: it may take a later end back, however late it is applied.
    pub(super) fn carry_out_end(&mut self, until_ms: i64) -> Result<(), L::Error> {
        let Some(end_ms) = self.tenant.rules.terms.end_ms() else {
            return Ok(());
        };
        if end_ms > until_ms || self.tenant.rules.ended {
            return Ok(());
        }
        self.close(end_ms)?;
        let policy = self.tenant.rules.terms_policy;
        for storage in [Storage::Stored, Storage::Transit] {
            let line = self.books_mut().line_mut(storage);
            line.raise_floor(Floor {
                time_ms: end_ms.max(line.latest_ms),
                aged_ms: line.horizon_ms,
                reason: Reason::Ended,
                policy,
            });
        }
        self.books_mut().ended_at_ms = Some(end_ms);
        self.tenant.rules.ended = true;
        self.sweep_kept();
        if let Some(offset) = policy {
            self.effects.audit(self.name, super::Audit::TenantEnded { offset });
        }
        Ok(())
    }
}
