//! Walks over what a change may have ended: a tenant's kept entries and its range, in slices.

use super::case::{Case, Desk};
use super::engine::Engine;
use super::{Budget, Effects};
use crate::Class;
use crate::ledger::key::{self, tag};
use crate::ledger::{Corrupt, Entry, Ledger, Rows, State, Sweep};
use crate::policy::{InForce, conversation_of};

/// So many rows are read at once.
const SLICE_ROWS_MAX: usize = 1_024;

/// What waits in kept entries is judged after everything that control records asked for, once however many
/// changes were made meanwhile.
const KEPT_LAST: i64 = i64::MAX;

/// Writes a sweep's key: they run in the order of the records that caused them. A record may cause one
/// of each kind for a tenant; the same one again begins anew.
fn write_key(number: i64, sweep: &Sweep, key: &mut Vec<u8>) {
    key::numbered(tag::SWEEP, number, key);
    key.push(u8::from(sweep.kept_only));
    key.extend_from_slice(sweep.tenant.as_deref().unwrap_or_default().as_bytes());
}

impl Engine {
    /// Begins a sweep over every tenant's kept entries.
    pub(super) fn sweep_all_kept<L: Ledger>(&mut self, ledger: &mut L) {
        let sweep = Sweep { kept_only: true, ..Sweep::default() };
        self.desk.put_sweep(ledger, KEPT_LAST, &sweep);
    }

    /// Begins to carry out an erasure.
    pub(super) fn sweep_for_erasure<L: Ledger>(&mut self, ledger: &mut L, erasure: &InForce) {
        let sweep = Sweep {
            tenant: Some(erasure.scope.tenant.clone()),
            erasure: Some(erasure.offset),
            ..Sweep::default()
        };
        self.desk.put_sweep(ledger, erasure.offset, &sweep);
    }

    /// Walks on, within the budget.
    pub(super) fn sweep<L: Ledger>(
        &mut self,
        ledger: &mut L,
        now_ms: i64,
        budget: &mut Budget,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::first(tag::SWEEP, &mut from);
        key::first(tag::SWEEP + 1, &mut to);
        while budget.rows > 0 {
            ledger.scan(&from, &to, 1, &mut rows)?;
            let Some((sweep_key, value)) = rows.iter().next() else {
                return Ok(());
            };
            let mut sweep = Sweep::read(value)?;
            let sweep_key = sweep_key.to_vec();
            if self.sweep_slice(ledger, &mut sweep, now_ms, budget, effects)? {
                ledger.delete(&sweep_key);
                // What this batch has worked off is still walked over by a scan: not once for each sweep.
                from = sweep_key;
                from.push(0);
            } else {
                sweep.write(&mut self.desk.value);
                ledger.put(&sweep_key, &self.desk.value);
            }
        }
        Ok(())
    }

    /// Judges the next rows of a sweep; `true` if it is through.
    fn sweep_slice<L: Ledger>(
        &mut self,
        ledger: &mut L,
        sweep: &mut Sweep,
        now_ms: i64,
        budget: &mut Budget,
        effects: &mut Effects,
    ) -> Result<bool, L::Error> {
        let mut erasing = match sweep.erasure {
            Some(offset) => match self.read_erasure(ledger, offset)? {
                Some(erasing) => Some(erasing),
                None => return Err(Corrupt("a sweep without its erasure").into()),
            },
            None => None,
        };
        if sweep.position.is_empty() {
            start(sweep, tag::KEPT);
        }
        let family = sweep.position.first().copied().unwrap_or(tag::KEPT);
        let (mut to, mut rows) = (Vec::new(), Rows::default());
        let before_ms = erasing.as_ref().and_then(|erasing| erasing.before_ms());
        write_end(sweep, family, before_ms, &mut to);
        let rows_max = SLICE_ROWS_MAX.min(budget.rows);
        ledger.scan(&sweep.position, &to, rows_max, &mut rows)?;
        budget.rows = budget.rows.saturating_sub(rows.len().max(1));
        for (row, value) in rows.iter() {
            match &mut erasing {
                Some(erasing) => {
                    self.erase_row(ledger, erasing, (row, value), now_ms, effects)?;
                }
                None => self.judge_row(ledger, sweep, (row, value), now_ms, effects)?,
            }
            sweep.position.clear();
            sweep.position.extend_from_slice(row);
            sweep.position.push(0);
        }
        let next =
            if rows.len() == rows_max { Some(family) } else { self.family_after(sweep, family) };
        if let Some(next) = next.filter(|next| *next != family) {
            start(sweep, next);
        }
        if let Some(erasing) = erasing {
            self.note_erasure(ledger, erasing, next.is_none(), now_ms, effects);
        }
        Ok(next.is_none())
    }

    /// Which rows a sweep walks over next.
    fn family_after(&self, sweep: &Sweep, family: u8) -> Option<u8> {
        match family {
            tag::KEPT if sweep.kept_only => None,
            tag::KEPT if sweep.erasure.is_some() && self.class != Class::Message => {
                Some(tag::VERSION)
            }
            tag::KEPT | tag::VERSION => Some(tag::ENTRY),
            _ => None,
        }
    }

    fn judge_row<L: Ledger>(
        &mut self,
        ledger: &mut L,
        sweep: &Sweep,
        (row, value): (&[u8], &[u8]),
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        let home = key::read_home(row)?;
        let conversation = sweep.conversation.as_deref();
        if conversation.is_some_and(|conversation| conversation_of(home.id) != conversation) {
            return Ok(());
        }
        // Without content there is nothing to judge, but for the place that it takes among what is kept.
        let state = Entry::read(value)?.state;
        if row.first() == Some(&tag::ENTRY) && matches!(state, State::Early | State::Gone) {
            return Ok(());
        }
        let mut case = self.case(ledger, home.tenant, now_ms, effects)?;
        case.carry_out_end(now_ms)?;
        case.judge(home.time_ms, home.id)
    }
}

fn start(sweep: &mut Sweep, family: u8) {
    let mut position = std::mem::take(&mut sweep.position);
    write_prefix(sweep, family, &mut position);
    sweep.position = position;
}

fn write_prefix(sweep: &Sweep, family: u8, key: &mut Vec<u8>) {
    match &sweep.tenant {
        Some(tenant) => key::prefix(family, tenant, key),
        None => key::first(family, key),
    }
}

/// Writes the key before which a sweep of a family ends.
fn write_end(sweep: &Sweep, family: u8, before_ms: Option<i64>, key: &mut Vec<u8>) {
    match (before_ms, &sweep.tenant, family) {
        (Some(before_ms), Some(tenant), tag::KEPT | tag::ENTRY) => {
            key::at_time(family, tenant, before_ms, key);
        }
        _ => {
            write_prefix(sweep, family, key);
            key::end_of_prefix(key);
        }
    }
}

impl Desk {
    fn put_sweep<L: Ledger>(&mut self, ledger: &mut L, number: i64, sweep: &Sweep) {
        sweep.write(&mut self.value);
        write_key(number, sweep, &mut self.key);
        ledger.put(&self.key, &self.value);
        self.wake_at(0);
    }
}

impl<L: Ledger> Case<'_, L> {
    /// Begins a sweep over the tenant's kept entries, if it has any.
    pub(super) fn sweep_kept(&mut self) {
        if self.tenant.books.kept > 0 {
            let tenant = Some(self.name.to_owned());
            let sweep = Sweep { tenant, kept_only: true, ..Sweep::default() };
            self.desk.put_sweep(self.ledger, KEPT_LAST, &sweep);
        }
    }

    /// Begins a sweep over one conversation's records.
    pub(super) fn sweep_conversation(&mut self, number: i64, conversation: &str) {
        let sweep = Sweep {
            tenant: Some(self.name.to_owned()),
            conversation: Some(conversation.to_owned()),
            ..Sweep::default()
        };
        self.desk.put_sweep(self.ledger, number, &sweep);
    }
}
