//! Walks over what a change may have ended: a tenant's kept entries and its range, in slices.

use super::case::Case;
use super::engine::Engine;
use super::{Budget, Effects};
use crate::ledger::key::{self, tag};
use crate::ledger::{Ledger, Rows, Sweep};

/// So many rows are read at once.
const SLICE_ROWS_MAX: usize = 1_024;

/// Writes a sweep's key: they run in the order of the records that caused them. A record may cause one
/// of either kind for a tenant; the same one again begins anew.
fn write_key(number: i64, sweep: &Sweep, key: &mut Vec<u8>) {
    key.clear();
    key.push(tag::SWEEP);
    key.extend_from_slice(&number.max(0).to_be_bytes());
    key.push(u8::from(sweep.kept_only));
    key.extend_from_slice(sweep.tenant.as_deref().unwrap_or_default().as_bytes());
}

impl Engine {
    /// Begins a sweep over every tenant.
    pub(super) fn sweep_all<L: Ledger>(&mut self, ledger: &mut L, number: i64) {
        let sweep =
            Sweep { tenant: None, conversation: None, kept_only: false, position: Vec::new() };
        sweep.write(&mut self.desk.value);
        write_key(number, &sweep, &mut self.desk.key);
        ledger.put(&self.desk.key, &self.desk.value);
        self.desk.wake_at(0);
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
        if sweep.position.is_empty() {
            start(sweep, tag::KEPT);
        }
        let family = sweep.position.first().copied().unwrap_or(tag::KEPT);
        let (mut to, mut rows) = (Vec::new(), Rows::default());
        write_prefix(sweep, family, &mut to);
        key::end_of_prefix(&mut to);
        let rows_max = SLICE_ROWS_MAX.min(budget.rows);
        ledger.scan(&sweep.position, &to, rows_max, &mut rows)?;
        budget.rows = budget.rows.saturating_sub(rows.len().max(1));
        for (row, _) in rows.iter() {
            let home = key::read_home(row)?;
            if covers(sweep, home.id) {
                let mut case = self.case(ledger, home.tenant, now_ms, effects)?;
                case.judge(home.time_ms, home.id)?;
            }
            sweep.position.clear();
            sweep.position.extend_from_slice(row);
            sweep.position.push(0);
        }
        if rows.len() == rows_max {
            return Ok(false);
        }
        if family == tag::KEPT && !sweep.kept_only {
            start(sweep, tag::ENTRY);
            return Ok(false);
        }
        Ok(true)
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

/// Whether the sweep's conversation, if it has one, is that of this id.
fn covers(sweep: &Sweep, id: &str) -> bool {
    sweep.conversation.as_deref().is_none_or(|conversation| {
        id.strip_prefix(conversation).is_some_and(|rest| rest.starts_with('/'))
    })
}

impl<L: Ledger> Case<'_, L> {
    /// Begins a sweep over the tenant's kept entries, if it has any.
    pub(super) fn sweep_kept(&mut self, number: i64) {
        if self.tenant.books.kept > 0 {
            self.begin_sweep(number, None, true);
        }
    }

    /// Begins a sweep over the tenant's records, or those of one conversation.
    pub(super) fn begin_sweep(&mut self, number: i64, conversation: Option<&str>, kept_only: bool) {
        let sweep = Sweep {
            tenant: Some(self.name.to_owned()),
            conversation: conversation.map(str::to_owned),
            kept_only,
            position: Vec::new(),
        };
        sweep.write(&mut self.desk.value);
        write_key(number, &sweep, &mut self.desk.key);
        self.ledger.put(&self.desk.key, &self.desk.value);
        self.desk.wake_at(0);
    }
}
