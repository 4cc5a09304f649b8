//! Carrying out an erasure: what is there is swept in slices, what comes later is met by the verdict.
//!
//! Invariant: an erasure that was withdrawn or replaced stays in force until its sweep is through, so that
//! nothing that it has ended counts as live again.

use std::collections::BTreeMap;

use super::case::{Case, Place};
use super::effect::{Audit, Effects};
use super::engine::Engine;
use crate::ledger::key::{self, tag};
use crate::ledger::{
    Conversation, Corrupt, Entry, ErasureCounts, ErasureRow, Ledger, Remembered, Rows, State,
};
use crate::policy::{
    Covered, Decider, End, Erasure, InForce, Keep, Reason, Statement, Subject, Verdict,
};
use crate::{Class, Storage};

/// So many erasures are read at once.
const SLICE_ROWS_MAX: usize = 1_024;

/// An erasure that is being carried out.
pub(super) struct Erasing {
    pub(super) row: ErasureRow,
    pub(super) in_force: InForce,
}

impl Erasing {
    fn of_row(row: ErasureRow, offset: i64) -> Result<Self, Corrupt> {
        match Subject::Erasure.statement(&row.body) {
            Ok(Statement::Erasure(erasure)) => {
                let in_force = InForce::new(erasure, row.written_at_ms, row.at_ms, offset);
                Ok(Self { row, in_force })
            }
            _ => Err(Corrupt("an erasure's body")),
        }
    }

    /// Nothing later than this concerns it (Unix ms); none: everything does.
    pub(super) fn before_ms(&self) -> Option<i64> {
        (!self.in_force.standing).then_some(self.in_force.before_ms)
    }

    /// How it ends content of this storage and time, if it does.
    fn end_of(&self, class: Class, storage: Storage, time_ms: i64) -> Option<End> {
        let (policy, decider) = (Some(self.in_force.offset), Decider::Erasure);
        if time_ms < self.in_force.before_ms {
            return Some(End { reason: Reason::Erased, policy, decider });
        }
        let opted_out =
            self.in_force.standing && storage == Storage::Stored && class != Class::Config;
        opted_out.then_some(End { reason: Reason::OptedOut, policy, decider })
    }

    fn count(&mut self, time_ms: i64, verdict: Verdict) {
        let counts = &mut self.row.counts;
        match verdict {
            Verdict::Live { .. } => return,
            Verdict::Ended(_) => counts.ended += 1,
            Verdict::Kept(_, Keep::Minimum { .. }) => counts.minimum += 1,
            Verdict::Kept(_, Keep::Hold { .. } | Keep::Stop { .. }) => counts.held += 1,
        }
        counts.saw(time_ms);
    }
}

impl Engine {
    /// The erasures that this partition carries out or has carried out, by their offsets.
    pub fn erasures<L: Ledger>(
        &self,
        ledger: &mut L,
        visit: &mut dyn FnMut(i64, &ErasureRow),
    ) -> Result<(), L::Error> {
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::first(tag::ERASURE, &mut from);
        key::first(tag::ERASURE + 1, &mut to);
        loop {
            ledger.scan(&from, &to, SLICE_ROWS_MAX, &mut rows)?;
            for (row, value) in rows.iter() {
                visit(key::read_number(row)?, &ErasureRow::read(value)?);
                from.clear();
                from.extend_from_slice(row);
                from.push(0);
            }
            if rows.len() < SLICE_ROWS_MAX {
                return Ok(());
            }
        }
    }

    /// The erasures of which nobody has said here that every partition is through, by their offsets, with the times
    /// when they were written (Unix ms).
    #[must_use]
    pub fn uncompleted(&self) -> &BTreeMap<i64, i64> {
        &self.uncompleted
    }

    /// Remembers that every partition is through with an erasure; the key of its control record. None: it is not known
    /// here, or this is not the first time.
    pub fn complete_erasure<L: Ledger>(
        &mut self,
        ledger: &mut L,
        offset: i64,
    ) -> Result<Option<String>, L::Error> {
        self.uncompleted.remove(&offset);
        let erasing = self.read_erasure(ledger, offset)?;
        let Some(mut erasing) = erasing.filter(|erasing| !erasing.row.completed) else {
            return Ok(None);
        };
        erasing.row.completed = true;
        self.put_erasure(ledger, offset, &erasing.row);
        Ok(Some(erasing.row.control_key))
    }

    /// Until when a late, first arrival that an erasure covers could still be stored here under the policies
    /// of this moment, so that it may not be withdrawn (Unix ms); none: without end.
    pub fn erasure_needed_until_ms<L: Ledger>(
        &mut self,
        ledger: &mut L,
        erasure: &InForce,
        now_ms: i64,
    ) -> Result<Option<i64>, L::Error> {
        let mut effects = Effects::default();
        let case = self.case(ledger, &erasure.scope.tenant, now_ms, &mut effects)?;
        let rules = case.tenant.rules.clone();
        let mut needed_ms = erasure.needed_until_ms(&rules, None);
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::prefix(tag::CONVERSATION, &erasure.scope.tenant, &mut from);
        to.extend_from_slice(&from);
        key::end_of_prefix(&mut to);
        // Conversations that live longer than their tenant's messages.
        ledger.scan(&from, &to, usize::MAX, &mut rows)?;
        for (_, value) in rows.iter() {
            let own = Conversation::read(value)?.retention;
            let own_ms = erasure.needed_until_ms(&rules, own);
            needed_ms = needed_ms.zip(own_ms).map(|(a, b)| a.max(b));
        }
        Ok(needed_ms)
    }

    pub(super) fn read_erasures<L: Ledger>(&mut self, ledger: &mut L) -> Result<(), L::Error> {
        let mut found = Vec::new();
        self.erasures(ledger, &mut |offset, row| found.push((offset, row.clone())))?;
        for (offset, row) in found {
            if !row.completed {
                self.uncompleted.insert(offset, row.written_at_ms);
            }
            let control_key = row.control_key.clone();
            self.erasures.insert(&control_key, &Erasing::of_row(row, offset)?.in_force);
        }
        Ok(())
    }

    /// Puts an erasure in force, replaces it or (none) withdraws it.
    #[expect(
        clippy::too_many_arguments,
        reason = "a record, what was before, when, and the outlets"
    )]
    pub(super) fn change_erasure<L: Ledger>(
        &mut self,
        ledger: &mut L,
        control_key: &str,
        before: Option<i64>,
        erasure: Option<Erasure>,
        record: &Remembered,
        at_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        if let Some(offset) = before {
            self.withdraw_erasure(ledger, offset)?;
        }
        let Some(erasure) = erasure else {
            return Ok(());
        };
        let concerns = erasure.scope.has(self.class);
        let mut row = ErasureRow {
            control_key: control_key.to_owned(),
            body: record.body.clone().unwrap_or_default(),
            written_at_ms: record.written_at_ms,
            at_ms,
            withdrawn: false,
            completed: false,
            done_at_ms: None,
            counts: ErasureCounts::default(),
        };
        let in_force = InForce::new(erasure, record.written_at_ms, at_ms, record.offset);
        self.erasures.insert(control_key, &in_force);
        self.uncompleted.insert(record.offset, record.written_at_ms);
        if concerns {
            self.sweep_for_erasure(ledger, &in_force);
        } else {
            self.report_erasure(&mut row, record.offset, at_ms, effects);
        }
        self.put_erasure(ledger, record.offset, &row);
        Ok(())
    }

    fn withdraw_erasure<L: Ledger>(&mut self, ledger: &mut L, offset: i64) -> Result<(), L::Error> {
        // One that an earlier version took notice of alone has no row.
        let Some(mut erasing) = self.read_erasure(ledger, offset)? else {
            return Ok(());
        };
        if erasing.row.done_at_ms.is_some() {
            self.forget_erasure(ledger, &erasing.in_force);
        } else {
            erasing.row.withdrawn = true;
            self.put_erasure(ledger, offset, &erasing.row);
        }
        Ok(())
    }

    /// Begins to carry out an erasure as if it had just come.
    pub(super) fn erase_again<L: Ledger>(
        &mut self,
        ledger: &mut L,
        offset: i64,
    ) -> Result<(), L::Error> {
        let Some(erasing) = self.read_erasure(ledger, offset)? else { return Ok(()) };
        if erasing.in_force.scope.has(self.class) {
            self.sweep_for_erasure(ledger, &erasing.in_force);
            let counts = ErasureCounts::default();
            self.put_erasure(
                ledger,
                offset,
                &ErasureRow { done_at_ms: None, counts, ..erasing.row },
            );
        }
        Ok(())
    }

    fn forget_erasure<L: Ledger>(&mut self, ledger: &mut L, in_force: &InForce) {
        self.erasures.remove(in_force);
        self.uncompleted.remove(&in_force.offset);
        key::numbered(tag::ERASURE, in_force.offset, &mut self.desk.key);
        ledger.delete(&self.desk.key);
    }

    /// The erasure at an offset.
    pub(super) fn read_erasure<L: Ledger>(
        &mut self,
        ledger: &mut L,
        offset: i64,
    ) -> Result<Option<Erasing>, L::Error> {
        key::numbered(tag::ERASURE, offset, &mut self.desk.key);
        if !ledger.get(&self.desk.key, &mut self.desk.value)? {
            return Ok(None);
        }
        Ok(Some(Erasing::of_row(ErasureRow::read(&self.desk.value)?, offset)?))
    }

    fn put_erasure<L: Ledger>(&mut self, ledger: &mut L, offset: i64, row: &ErasureRow) {
        row.write(&mut self.desk.value);
        key::numbered(tag::ERASURE, offset, &mut self.desk.key);
        ledger.put(&self.desk.key, &self.desk.value);
    }

    /// Keeps what a slice of its sweep has found; the last one completes it.
    pub(super) fn note_erasure<L: Ledger>(
        &mut self,
        ledger: &mut L,
        mut erasing: Erasing,
        through: bool,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        let offset = erasing.in_force.offset;
        if through {
            self.report_erasure(&mut erasing.row, offset, now_ms, effects);
            if erasing.row.withdrawn {
                return self.forget_erasure(ledger, &erasing.in_force);
            }
        }
        self.put_erasure(ledger, offset, &erasing.row);
    }

    fn report_erasure(
        &mut self,
        row: &mut ErasureRow,
        offset: i64,
        done_at_ms: i64,
        effects: &mut Effects,
    ) {
        row.done_at_ms = Some(done_at_ms);
        let (at_ms, counts) = (row.at_ms, row.counts);
        effects.audit(&row.control_key, Audit::ErasureDone { offset, at_ms, counts });
    }

    /// Meets a row of an erasure's sweep.
    pub(super) fn erase_row<L: Ledger>(
        &mut self,
        ledger: &mut L,
        erasing: &mut Erasing,
        (row, value): (&[u8], &[u8]),
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        let class = self.class;
        let (home, storage, sender, place) = if row.first() == Some(&tag::VERSION) {
            let (home, time_ms) = key::read_version(row)?;
            (key::Home { time_ms, ..home }, Storage::Stored, "", None)
        } else {
            let (home, entry) = (key::read_home(row)?, Entry::read(value)?);
            if !matches!(entry.state, State::Live | State::Condemned(_)) {
                return Ok(());
            }
            let kept = row.first() == Some(&tag::KEPT);
            let place = if kept { Place::Kept } else { Place::Range };
            (home, entry.storage, entry.sender, Some(place))
        };
        let covered = Covered { class, id: home.id, sender };
        let end = erasing.end_of(class, storage, home.time_ms);
        let end = end.filter(|_| erasing.in_force.scope.covers(covered));
        let Some(end) = end else { return Ok(()) };
        let mut case: Case<'_, L> = self.case(ledger, home.tenant, now_ms, effects)?;
        case.carry_out_end(now_ms)?;
        if place == Some(Place::Kept) && class != Class::Message {
            // Those beside it would end with it: they are met first, each by itself.
            for version_ms in case.older_versions(home.id)? {
                if let Some(end) = erasing.end_of(class, Storage::Stored, version_ms)
                    && let Some(verdict) = case.end_older_by(version_ms, home.id, end)?
                {
                    erasing.count(version_ms, verdict);
                }
            }
        }
        let ended = match place {
            Some(place) => case.end_by(place, home.time_ms, home.id, end)?,
            None => case.end_older_by(home.time_ms, home.id, end)?,
        };
        if let Some(verdict) = ended {
            erasing.count(home.time_ms, verdict);
        }
        Ok(())
    }
}
