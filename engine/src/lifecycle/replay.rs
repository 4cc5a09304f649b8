//! Replays: what a control record asks for, how they begin and end, and what they remember.
//! (What a record means that is read again: `replayed`.)
//!
//! Invariant: a replay's position is a row of the ledger, so that it commits with what it did.

use super::Budget;
use super::effect::{Effects, Mark};
use super::engine::Engine;
use super::rehearsal::Rehearsal;
use crate::ledger::key::{self, tag};
use crate::ledger::{
    Control, Corrupt, Ledger, Remembered, ReplayRange, ReplayRow, ReplayStatus, Rows,
};
use crate::policy::duration::SECOND_MS;
use crate::policy::{Mode, Refused, Replay, Statement, Subject};
use crate::{Class, Storage};

/// So many replays that came to their ends are remembered; the oldest beyond are forgotten.
pub const REPLAYS_KEPT_MAX: usize = 100;
/// So many replays are read at once.
const SLICE_ROWS_MAX: usize = 1_024;
/// A time may be so far ahead of its record: whoever wrote it has a clock of its own.
const AHEAD_MS_MAX: i64 = 60 * SECOND_MS;

const OTHER_WORK: Refused =
    "a replay's source, range, class, tenants, mode and dry_run stay as they were: take another id";
const USED_UP: Refused = "this replay was cancelled: take another id";
const IN_THE_FUTURE: &str = "its range names a time that has not come";

/// A replay that is worked on.
#[derive(Debug)]
pub struct Replaying {
    /// The offset of its first control record.
    pub offset: i64,
    /// Its row, as it will be written.
    pub row: ReplayRow,
    /// What was asked for.
    pub replay: Replay,
    /// What a dry run would have changed, for as long as this value lives.
    pub(super) rehearsal: Option<Box<Rehearsal>>,
}

impl Replaying {
    /// Whether it is to be read on now.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.row.status == ReplayStatus::Running && !self.replay.paused
    }

    /// Whether it emits markers.
    fn marks(&self) -> bool {
        self.replay.mode == Mode::Refresh && !self.replay.dry_run
    }
}

impl Engine {
    /// Whether there is a replay about which something may be left to do.
    #[must_use]
    pub fn has_replays(&self) -> bool {
        !self.replays.is_empty()
    }

    /// The first control offsets of the replays about which something may be left to do, in order.
    #[must_use]
    pub fn open_replays(&self) -> &[i64] {
        &self.replays
    }

    /// Every replay that this partition remembers, in the order of their records.
    pub fn replays<L: Ledger>(
        &self,
        ledger: &mut L,
        visit: &mut dyn FnMut(i64, &ReplayRow),
    ) -> Result<(), L::Error> {
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::first(tag::REPLAY, &mut from);
        key::first(tag::REPLAY + 1, &mut to);
        loop {
            ledger.scan(&from, &to, SLICE_ROWS_MAX, &mut rows)?;
            for (row, value) in rows.iter() {
                visit(key::read_number(row)?, &ReplayRow::read(value)?);
                from.clear();
                from.extend_from_slice(row);
                from.push(0);
            }
            if rows.len() < SLICE_ROWS_MAX {
                return Ok(());
            }
        }
    }

    pub(super) fn read_replays<L: Ledger>(&mut self, ledger: &mut L) -> Result<(), L::Error> {
        let mut open = Vec::new();
        self.replays(ledger, &mut |offset, row| {
            if !row.status.is_terminal() || row.remembers {
                open.push(offset);
            }
        })?;
        self.replays = open;
        Ok(())
    }

    /// A replay by the offset of its first control record.
    pub fn read_replay<L: Ledger>(
        &mut self,
        ledger: &mut L,
        offset: i64,
    ) -> Result<Option<Replaying>, L::Error> {
        key::numbered(tag::REPLAY, offset, &mut self.desk.key);
        if !ledger.get(&self.desk.key, &mut self.desk.value)? {
            return Ok(None);
        }
        let row = ReplayRow::read(&self.desk.value)?;
        match Subject::Replay.statement(&row.body) {
            Ok(Statement::Replay(replay)) => {
                Ok(Some(Replaying { offset, row, replay, rehearsal: None }))
            }
            _ => Err(Corrupt("a replay's body").into()),
        }
    }

    /// Writes a replay's row: before the batch commits.
    pub fn keep_replay<L: Ledger>(&mut self, ledger: &mut L, replaying: &Replaying) {
        let Replaying { offset, row, .. } = replaying;
        row.write(&mut self.desk.value);
        key::numbered(tag::REPLAY, *offset, &mut self.desk.key);
        ledger.put(&self.desk.key, &self.desk.value);
        let is_open = !row.status.is_terminal() || row.remembers;
        match (self.replays.binary_search(offset), is_open) {
            (Err(at), true) => self.replays.insert(at, *offset),
            (Ok(at), false) => drop(self.replays.remove(at)),
            (Ok(_), true) | (Err(_), false) => {}
        }
    }

    /// Why a further record of a replay changes nothing, if so.
    pub(super) fn refuses_replay(control: &Control, body: Option<&[u8]>) -> Option<Refused> {
        let before = control.in_force.as_ref()?;
        let after = replay_of(body)?;
        match &before.body {
            None => Some(USED_UP),
            // What an earlier version took notice of alone says nothing.
            Some(before) => {
                let before = replay_of(Some(before))?;
                (!before.is_same_work(&after)).then_some(OTHER_WORK)
            }
        }
    }

    /// Takes what a control record asks for: a new replay, another rate or a pause, or (none) its end.
    pub(super) fn change_replay<L: Ledger>(
        &mut self,
        ledger: &mut L,
        control_key: &str,
        record: &Remembered,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        let mut known = None;
        self.replays(ledger, &mut |offset, row| {
            if row.control_key == control_key {
                known = Some(offset);
            }
        })?;
        let known = match known {
            Some(offset) => self.read_replay(ledger, offset)?,
            None => None,
        };
        match (known, &record.body) {
            (Some(mut replaying), Some(body)) => {
                replaying.row.body.clone_from(body);
                self.keep_replay(ledger, &replaying);
            }
            (Some(replaying), None) if replaying.row.status.is_terminal() => {}
            (Some(replaying), None) => {
                self.close_replay(ledger, replaying, ReplayStatus::Cancelled, now_ms, effects);
            }
            (None, Some(body)) => {
                self.new_replay(ledger, control_key, record, body, now_ms, effects)?
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn new_replay<L: Ledger>(
        &mut self,
        ledger: &mut L,
        control_key: &str,
        record: &Remembered,
        body: &[u8],
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        let replay = replay_of(Some(body)).ok_or(Corrupt("a replay's body"))?;
        if replay.class.is_some_and(|class| class != self.class) {
            return Ok(());
        }
        self.forget_old_replays(ledger)?;
        let row = ReplayRow::new(control_key, body, record.written_at_ms);
        let ahead_ms = record.written_at_ms.saturating_add(AHEAD_MS_MAX);
        let too_early = replay.latest_ms().is_some_and(|latest_ms| latest_ms > ahead_ms);
        let replaying = Replaying { offset: record.offset, row, replay, rehearsal: None };
        if too_early {
            let why = ReplayStatus::Failed(IN_THE_FUTURE.to_owned());
            self.close_replay(ledger, replaying, why, now_ms, effects);
        } else {
            self.keep_replay(ledger, &replaying);
        }
        Ok(())
    }

    fn forget_old_replays<L: Ledger>(&mut self, ledger: &mut L) -> Result<(), L::Error> {
        let mut over = Vec::new();
        self.replays(ledger, &mut |offset, row| {
            if row.status.is_terminal() && !row.remembers {
                over.push(offset);
            }
        })?;
        let too_many = (over.len() + 1).saturating_sub(REPLAYS_KEPT_MAX);
        for &offset in over.iter().take(too_many) {
            self.leave_replay(ledger, offset);
        }
        Ok(())
    }

    /// A replay turns out to be none of this partition's.
    pub fn leave_replay<L: Ledger>(&mut self, ledger: &mut L, offset: i64) {
        key::numbered(tag::REPLAY, offset, &mut self.desk.key);
        ledger.delete(&self.desk.key);
        self.replays.retain(|open| *open != offset);
    }

    /// A replay's range is known: it begins.
    pub fn begin_replay<L: Ledger>(
        &mut self,
        ledger: &mut L,
        mut replaying: Replaying,
        range: ReplayRange,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        replaying.row.status = ReplayStatus::Running;
        replaying.row.began_at_ms = Some(now_ms);
        replaying.row.next = range.from;
        replaying.row.range = range;
        self.mark(&replaying, Mark::Begin, effects);
        self.keep_replay(ledger, &replaying);
    }

    /// A replay cannot be done, or not any further.
    pub fn fail_replay<L: Ledger>(
        &mut self,
        ledger: &mut L,
        replaying: Replaying,
        why: &str,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        let why = ReplayStatus::Failed(why.to_owned());
        self.close_replay(ledger, replaying, why, now_ms, effects);
    }

    /// A replay has read all of its range. `holds`: which of the class's two storages its source can have
    /// records of; none: both.
    pub fn complete_replay<L: Ledger>(
        &mut self,
        ledger: &mut L,
        mut replaying: Replaying,
        holds: Option<Storage>,
        now_ms: i64,
        effects: &mut Effects,
    ) -> Result<(), L::Error> {
        replaying.row.next = replaying.row.range.to.max(replaying.row.next);
        if replaying.replay.dry_run && replaying.replay.mode == Mode::Refresh {
            self.flush(ledger);
            let (mut live, tenants) = (0, replaying.replay.tenants.as_ref());
            self.census(ledger, &mut |tenant, storage, count| {
                let asked = tenants.is_none_or(|tenants| tenants.contains(tenant));
                if asked && holds.is_none_or(|holds| holds == storage) {
                    live += count;
                }
            })?;
            replaying.row.live = Some(live);
        }
        self.close_replay(ledger, replaying, ReplayStatus::Done, now_ms, effects);
        Ok(())
    }

    fn close_replay<L: Ledger>(
        &mut self,
        ledger: &mut L,
        mut replaying: Replaying,
        status: ReplayStatus,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        if replaying.row.status == ReplayStatus::Running {
            let mark = if status == ReplayStatus::Done { Mark::End } else { Mark::Cancelled };
            self.mark(&replaying, mark, effects);
        }
        replaying.row.status = status;
        replaying.row.ended_at_ms = Some(now_ms);
        effects.replayed(replaying.offset, &replaying.row);
        self.keep_replay(ledger, &replaying);
    }

    fn mark(&self, replaying: &Replaying, mark: Mark, effects: &mut Effects) {
        if !replaying.marks() {
            return;
        }
        let key = &replaying.row.control_key;
        effects.marker(Storage::Stored, key, mark);
        // Config items are never in transit.
        if self.class != Class::Config {
            effects.marker(Storage::Transit, key, mark);
        }
    }

    /// Forgets, within the budget, what a replay that has come to its end remembered of its records. Returns
    /// whether there is more.
    pub fn forget_replayed<L: Ledger>(
        &mut self,
        ledger: &mut L,
        mut replaying: Replaying,
        budget: Budget,
    ) -> Result<bool, L::Error> {
        let (mut from, mut to, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::numbered(tag::REPLAYED, replaying.offset, &mut from);
        to.extend_from_slice(&from);
        key::end_of_prefix(&mut to);
        ledger.scan(&from, &to, budget.rows, &mut rows)?;
        for (row, _) in rows.iter() {
            ledger.delete(row);
        }
        if rows.len() == budget.rows {
            return Ok(true);
        }
        replaying.row.remembers = false;
        self.keep_replay(ledger, &replaying);
        Ok(false)
    }
}

/// What a body asks for, if it is valid.
fn replay_of(body: Option<&[u8]>) -> Option<Replay> {
    match Subject::Replay.statement(body?) {
        Ok(Statement::Replay(replay)) => Some(replay),
        _ => None,
    }
}
