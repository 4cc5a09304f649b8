//! What a control record does: the books are closed under the old policy before the new one holds.
//!
//! Invariant: records are applied in the order of the control topic, each at the earlier of its own time
//! and now, and what had ended before stays ended.

use super::case::Case;
use super::engine::Engine;
use super::{Audit, Effects};
use crate::ledger::key::{self, tag};
use crate::ledger::{Control, Corrupt, Floor, Ledger, Remembered};
use crate::policy::{ControlRecord, Hold, Reason, Statement, Subject, Terms};
use crate::{Class, Storage};

/// A record that comes into force.
struct Coming<'c> {
    key: &'c str,
    subject: &'c Subject,
    /// What was said under its key before.
    control: Control,
    record: Remembered,
    /// Since when.
    at_ms: i64,
}

/// What a record that is in force now changes.
struct Change<'c> {
    key: &'c str,
    subject: &'c Subject,
    /// What it says; none: what was said is withdrawn.
    statement: Option<Statement>,
    /// The offset of the record that was in force.
    replaces: Option<i64>,
    record: &'c Remembered,
    at_ms: i64,
}

impl Engine {
    /// Applies a control record, in the order of the control topic. One that has been applied is passed over.
    pub fn control<L: Ledger>(
        &mut self,
        ledger: &mut L,
        record: &ControlRecord,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        if record.offset() < self.control_offset {
            return Ok(());
        }
        // What came into force before this record was written is in force before it.
        let written_at_ms = record.written_at_ms().min(now_ms);
        self.activate(ledger, written_at_ms, now_ms, effects)?;
        self.control_offset = record.offset() + 1;
        self.touch_partition();
        let offset = record.offset();
        let subject = match record.subject() {
            Ok(subject) => subject,
            Err(why) => {
                effects.audit(record.key(), Audit::ControlRefused { offset, why });
                return Ok(());
            }
        };
        let mut control = self.read_control(ledger, record.key())?.unwrap_or_default();
        if let Some((at_ms, _)) = control.waiting.take() {
            key::timed(tag::WAITING, at_ms, record.key(), &mut self.desk.key);
            ledger.delete(&self.desk.key);
            self.waiting_ms = super::look::first_time_ms(ledger, tag::WAITING)?;
        }
        let remembered = Remembered {
            offset,
            written_at_ms: record.written_at_ms(),
            body: record.body().map(<[u8]>::to_vec),
        };
        let in_force_at_ms = record.in_force_at_ms();
        if in_force_at_ms > now_ms && in_force_at_ms > record.written_at_ms() {
            key::timed(tag::WAITING, in_force_at_ms, record.key(), &mut self.desk.key);
            ledger.put(&self.desk.key, &[]);
            control.waiting = Some((in_force_at_ms, remembered));
            self.waiting_ms = super::look::first_time_ms(ledger, tag::WAITING)?;
            self.desk.wake_at(in_force_at_ms);
            self.put_control(ledger, record.key(), &control);
            let effective_at_ms = in_force_at_ms;
            effects.audit(record.key(), Audit::ControlWaiting { offset, effective_at_ms });
            return Ok(());
        }
        let at_ms = in_force_at_ms.min(now_ms);
        let coming = Coming { key: record.key(), subject, control, record: remembered, at_ms };
        self.put_in_force(ledger, coming, now_ms, effects)
    }

    /// Brings waiting records into force whose time has come by then.
    pub(super) fn activate<L: Ledger>(
        &mut self,
        ledger: &mut L,
        until_ms: i64,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        while let Some(at_ms) = self.waiting_ms.filter(|&at_ms| at_ms <= until_ms) {
            let first = super::look::first_key(ledger, tag::WAITING)?;
            let first = first.ok_or(Corrupt("a waiting record is missing"))?;
            ledger.delete(&first);
            self.waiting_ms = super::look::first_time_ms(ledger, tag::WAITING)?;
            let (_, control_key) = key::read_timed(&first)?;
            let mut control = self.read_control(ledger, control_key)?.unwrap_or_default();
            let Some((_, remembered)) = control.waiting.take() else {
                continue;
            };
            let subject = Subject::parse(control_key).map_err(|_| Corrupt("a control key"))?;
            let (key, subject, at_ms) = (control_key, &subject, at_ms.min(now_ms));
            let coming = Coming { key, subject, control, record: remembered, at_ms };
            self.put_in_force(ledger, coming, now_ms, effects)?;
        }
        Ok(())
    }

    fn put_in_force<L: Ledger>(
        &mut self,
        ledger: &mut L,
        coming: Coming<'_>,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        let Coming { key, subject, mut control, record, at_ms } = coming;
        let offset = record.offset;
        if *subject == Subject::Replay
            && let Some(why) = Self::refuses_replay(&control, record.body.as_deref())
        {
            effects.audit(key, Audit::ControlRefused { offset, why });
            return Ok(());
        }
        // The rules before the change are read from the records in force: before this one is among them.
        if let Some(name) = subject.tenant() {
            self.case(ledger, name, now_ms, effects)?;
        }
        let before = control.in_force.filter(|before| before.body.is_some());
        let replaces = before.map(|before| before.offset);
        control.in_force = Some(record.clone());
        self.put_control(ledger, key, &control);
        let body = record.body.as_deref();
        let statement = body.map(|body| subject.statement(body)).transpose();
        let statement = statement.map_err(|_| Corrupt("a control record's body"))?;
        let change = Change { key, subject, statement, replaces, record: &record, at_ms };
        let audit = self.carry_out(ledger, change, now_ms, effects)?;
        effects.audit(key, audit);
        Ok(())
    }

    /// Does what a record that is in force now says; gives what is to be reported.
    fn carry_out<L: Ledger>(
        &mut self,
        ledger: &mut L,
        change: Change<'_>,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<Audit, L::Error> {
        let Change { key, subject, statement, replaces, record, at_ms } = change;
        let offset = record.offset;
        let mut audit = Audit::ControlInForce { offset };
        match (subject, statement) {
            (Subject::Tenant(name), statement) => {
                let mut case = self.case(ledger, name, now_ms, effects)?;
                case.change(at_ms, offset, |rules| match &statement {
                    Some(Statement::Tenant(choice)) => rules.choose(Some(choice), Some(offset)),
                    _ => rules.choose(None, Some(offset)),
                })?;
            }
            (Subject::Terms(name), statement) => {
                let mut case = self.case(ledger, name, now_ms, effects)?;
                case.change(at_ms, offset, |rules| {
                    rules.terms = match &statement {
                        Some(Statement::Terms(terms)) => *terms,
                        _ => Terms::default(),
                    };
                    rules.terms_policy = statement.is_some().then_some(offset);
                })?;
            }
            (Subject::Conversation { tenant, conversation }, statement) => {
                let retention = match statement {
                    Some(Statement::Conversation(retention)) => Some((retention, offset)),
                    _ => None,
                };
                let mut case = self.case(ledger, tenant, now_ms, effects)?;
                case.change_conversation(conversation, retention, at_ms, offset)?;
            }
            (Subject::Hold, Some(Statement::Hold(hold))) => {
                audit = Audit::HoldInForce { offset };
                self.change_hold(ledger, key, Some((hold, offset)), now_ms, effects)?;
            }
            (Subject::Hold, _) => {
                audit = Audit::HoldReleased { offset };
                self.change_hold(ledger, key, None, now_ms, effects)?;
            }
            (Subject::Erasure, statement) => {
                let erasure = match statement {
                    Some(Statement::Erasure(erasure)) => Some(erasure),
                    _ => None,
                };
                self.change_erasure(ledger, key, replaces, erasure, record, at_ms, effects)?;
            }
            (Subject::Replay, _) => self.change_replay(ledger, key, record, now_ms, effects)?,
        }
        Ok(audit)
    }

    fn put_control<L: Ledger>(&mut self, ledger: &mut L, control_key: &str, control: &Control) {
        control.write(&mut self.desk.value);
        key::of_text(tag::CONTROL, control_key, &mut self.desk.key);
        ledger.put(&self.desk.key, &self.desk.value);
    }

    /// Places a hold, replaces it or (none) releases it. What had waited for it is judged again.
    fn change_hold<L: Ledger>(
        &mut self,
        ledger: &mut L,
        control_key: &str,
        hold: Option<(Hold, i64)>,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        let before = self.holds.change(control_key, hold);
        if let Some(tenant) = before.as_ref().and_then(Hold::tenant) {
            let mut case = self.case(ledger, tenant, now_ms, effects)?;
            case.sweep_kept();
            if case.tenant.books.latest_ms() >= 0 {
                case.look_at(now_ms);
            }
        }
        self.set_stopped(ledger);
        Ok(())
    }

    /// Stops every tombstone, or lets them go again: for as long as the control topic is not trusted.
    pub fn suspend<L: Ledger>(
        &mut self,
        ledger: &mut L,
        suspended: bool,
        _now_ms: i64,
    ) -> Result<(), L::Error> {
        if self.suspended != suspended {
            self.suspended = suspended;
            self.touch_partition();
            self.set_stopped(ledger);
        }
        Ok(())
    }

    fn set_stopped<L: Ledger>(&mut self, ledger: &mut L) {
        let stopped = self.is_stopped();
        if std::mem::replace(&mut self.desk.stopped, stopped) && !stopped {
            self.sweep_all_kept(ledger);
        }
    }
}

impl<L: Ledger> Case<'_, L> {
    /// Closes the books as of a change, puts the new rules in force, and draws the lines that follow.
    fn change(
        &mut self,
        at_ms: i64,
        offset: i64,
        set: impl FnOnce(&mut crate::policy::Rules),
    ) -> Result<(), L::Error> {
        self.carry_out_end(at_ms)?;
        self.close(at_ms)?;
        let before = self.tenant.rules.clone();
        set(&mut self.tenant.rules);
        self.note_flip(&before, at_ms, offset);
        self.note_end(&before, at_ms);
        self.sweep_kept();
        self.look_at(self.now_ms);
        // The books exist from now on, in every partition.
        self.books_mut();
        Ok(())
    }

    /// The tenant may have gone in or out, or named another `since`.
    fn note_flip(&mut self, before: &crate::policy::Rules, at_ms: i64, offset: i64) {
        if self.class == Class::Config {
            return;
        }
        let (was_in, is_in) = (before.chose_in(), self.tenant.rules.chose_in());
        let stored = &self.tenant.books.stored;
        let latest_ms = at_ms.max(stored.latest_ms);
        let floor_ms = match (was_in, is_in) {
            (true, false) => Some(latest_ms),
            (true, true) => {
                let before_ms = before.since_ms().or(self.tenant.books.opted_in_at_ms);
                let since_ms = self.tenant.rules.since_ms().or(self.tenant.books.opted_in_at_ms);
                let later = since_ms.filter(|since_ms| before_ms.is_none_or(|ms| *since_ms > ms));
                later.map(|since_ms| latest_ms.min(since_ms - 1))
            }
            (false, _) => None,
        };
        if let Some(time_ms) = floor_ms {
            let aged_ms = stored.horizon_ms;
            let policy = Some(offset);
            let floor = Floor { time_ms, aged_ms, reason: Reason::OptedOut, policy };
            self.books_mut().stored.raise_floor(floor);
        }
        match (was_in, is_in) {
            (false, true) => self.books_mut().opted_in_at_ms = Some(at_ms),
            (true, false) => self.books_mut().opted_in_at_ms = None,
            (true, true) | (false, false) => {}
        }
    }

    /// The end of the tenant's use may have been moved or taken back: an end that was carried out stays
    /// in force only while the terms say so.
    fn note_end(&mut self, before: &crate::policy::Rules, at_ms: i64) {
        let end_ms = self.tenant.rules.terms.end_ms();
        if end_ms != before.terms.end_ms() && self.tenant.rules.ended {
            let still_ended = end_ms.is_some_and(|end_ms| end_ms <= at_ms);
            self.tenant.rules.ended = still_ended;
            self.books_mut().ended_at_ms = end_ms.filter(|_| still_ended);
        }
    }

    /// Writes down what has ended under the policies of this moment, as of a time.
    pub(super) fn close(&mut self, at_ms: i64) -> Result<(), L::Error> {
        self.close_conversations(at_ms)?;
        self.close_lines(at_ms);
        Ok(())
    }

    pub(super) fn close_lines(&mut self, at_ms: i64) {
        let mut view = self.view(None);
        view.now_ms = at_ms;
        let stored_ms = view.horizon_ms(Storage::Stored);
        let transit_ms = view.horizon_ms(Storage::Transit);
        // A tenant of which nothing was seen has nothing to forget: its history may still be brought in.
        let unseen = self.tenant.books.latest_ms() < 0;
        let stores = self.tenant.rules.stores();
        let books = self.books_mut();
        books.transit.horizon_ms = transit_ms;
        if stores || !unseen {
            books.stored.horizon_ms = stored_ms;
        }
    }
}
