//! What a worker's partitions hold, for the metrics: counted from the books and the sweeps a few rows at a
//! time, outside of the batches.

use std::collections::BTreeMap;
use std::time::Duration;

use lethe_engine::ledger::key::{self, tag};
use lethe_engine::ledger::{Books, ErasureRow, Line, NOTHING_MS, Sweep};
use lethe_engine::{Class, Ledger, Rows, Storage};
use lethe_state::{Pressure, StateError};

use super::clock::{HostClock, Now};
use super::partition::{Live, Stage};
use super::seam::{Kafka, PartitionId};
use super::settings::CENSUS_ROWS;
use super::upkeep::age;
use super::worker::Worker;

/// What the books of a partition say.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    stored: Held,
    transit: Held,
    kept: u64,
}

/// What they say of one storage.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    live: u64,
    /// The earliest cursor of a tenant with live records (Unix ms).
    cursor_ms: Option<i64>,
}

impl Held {
    fn add(&mut self, line: &Line) {
        self.live += line.live;
        // Before the first end a cursor stands before all times.
        if line.live > 0 && line.cursor_ms > NOTHING_MS {
            let earliest_ms = self.cursor_ms.map_or(line.cursor_ms, |ms| ms.min(line.cursor_ms));
            self.cursor_ms = Some(earliest_ms);
        }
    }
}

/// What a partition holds, as of the last time that all its books were read.
#[derive(Debug, Default)]
pub(super) struct Census {
    count: Count,
    /// Where counting goes on, and what was counted so far.
    from: Vec<u8>,
    counted: Count,
    /// Walks that are not through, `CENSUS_ROWS` at most, and since when the first erasure among them is
    /// in force (Unix ms).
    sweeps: u64,
    erasing_since_ms: Option<i64>,
    /// Control records that wait, `CENSUS_ROWS` at most, and when the first comes into force (Unix ms).
    waiting: u64,
    due_at_ms: Option<i64>,
}

/// What a worker's partitions hold together.
#[derive(Clone, Debug, Default)]
pub(super) struct Holdings {
    /// Live records, and how far back the horizon lies that is furthest back (seconds).
    pub(super) live: BTreeMap<(Class, Storage), u64>,
    pub(super) horizon_age_s: BTreeMap<(Class, Storage), u64>,
    /// Records that outlast their tenant's cursor.
    pub(super) kept: BTreeMap<Class, u64>,
    /// Holds in force, of the partition that knows most.
    pub(super) holds: u64,
    /// Control records that wait, of the partition that knows most, and how long yet (seconds).
    pub(super) waiting: u64,
    pub(super) due_s: Option<u64>,
    pub(super) sweeps: u64,
    /// Of the oldest erasure that is not through (seconds).
    pub(super) erasure_age_s: u64,
    /// Changelog records that restores have read since the last report, and still have to read.
    pub(super) restored: BTreeMap<Class, u64>,
    pub(super) remaining: BTreeMap<Class, u64>,
    /// Replays that are not through, and the offsets that they have still to read.
    pub(super) replays: BTreeMap<Class, (u64, u64)>,
    pub(super) state_bytes: u64,
    pub(super) changelog_bytes: u64,
    /// The next input offset of each partition.
    pub(super) positions: BTreeMap<PartitionId, i64>,
    /// What compactions still have to rewrite, and partitions whose writes wait for that.
    pub(super) pending_bytes: u64,
    pub(super) stalled: u64,
    /// RocksDB's memory, of the whole process.
    pub(super) memory_bytes: u64,
    /// Of the oldest snapshot (seconds).
    pub(super) snapshot_age_s: u64,
    /// How long a slice of a snapshot has held the worker up, at most.
    pub(super) snapshot_stall: Duration,
}

impl Holdings {
    fn presses(&mut self, pressure: Pressure) {
        self.pending_bytes += pressure.pending_bytes;
        self.stalled += u64::from(pressure.is_stalled);
    }

    fn counted(&mut self, class: Class, census: &Census, now: Now) {
        let seconds = |ms: i64| u64::try_from(ms / 1_000).unwrap_or(0);
        let age_s = |since_ms: i64| seconds(now.wall_ms - since_ms);
        let Count { stored, transit, kept } = census.count;
        for (storage, held) in [(Storage::Stored, stored), (Storage::Transit, transit)] {
            *self.live.entry((class, storage)).or_default() += held.live;
            let oldest_s = self.horizon_age_s.entry((class, storage)).or_default();
            *oldest_s = held.cursor_ms.map_or(0, age_s).max(*oldest_s);
        }
        *self.kept.entry(class).or_default() += kept;
        self.waiting = self.waiting.max(census.waiting);
        let due_s = census.due_at_ms.map(|at_ms| seconds(at_ms - now.wall_ms));
        self.due_s = self.due_s.into_iter().chain(due_s).min();
        self.sweeps += census.sweeps;
        let erasing_s = census.erasing_since_ms.map_or(0, age_s);
        self.erasure_age_s = self.erasure_age_s.max(erasing_s);
    }
}

impl Live {
    /// Counts some more rows.
    fn count(&mut self) -> Result<(), StateError> {
        self.count_books()?;
        self.count_waiting()?;
        self.count_sweeps()
    }

    fn count_waiting(&mut self) -> Result<(), StateError> {
        let (mut from, mut end, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::first(tag::WAITING, &mut from);
        key::first(tag::WAITING + 1, &mut end);
        self.store.scan(&from, &end, CENSUS_ROWS, &mut rows)?;
        self.census.waiting = rows.len() as u64;
        let first = rows.iter().next().map(|(key, _)| key::read_time(key)).transpose()?;
        self.census.due_at_ms = first;
        Ok(())
    }

    fn count_books(&mut self) -> Result<(), StateError> {
        let (mut start, mut end, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::first(tag::BOOKS, &mut start);
        key::first(tag::BOOKS + 1, &mut end);
        let census = &mut self.census;
        let from = if census.from.is_empty() { &start } else { &census.from };
        self.store.scan(from, &end, CENSUS_ROWS, &mut rows)?;
        let mut last = None;
        for (key, value) in rows.iter() {
            let books = Books::read(value)?;
            census.counted.stored.add(&books.stored);
            census.counted.transit.add(&books.transit);
            census.counted.kept += books.kept;
            last = Some(key);
        }
        match last.filter(|_| rows.len() == CENSUS_ROWS) {
            Some(last) => census.from = [last, &[0]].concat(),
            None => {
                census.count = std::mem::take(&mut census.counted);
                census.from.clear();
            }
        }
        Ok(())
    }

    fn count_sweeps(&mut self) -> Result<(), StateError> {
        let (mut from, mut end, mut rows) = (Vec::new(), Vec::new(), Rows::default());
        key::first(tag::SWEEP, &mut from);
        key::first(tag::SWEEP + 1, &mut end);
        self.store.scan(&from, &end, CENSUS_ROWS, &mut rows)?;
        self.census.sweeps = rows.len() as u64;
        self.census.erasing_since_ms = None;
        // They are in the order of their control records: the first erasure is the oldest.
        for (_, value) in rows.iter() {
            let Some(offset) = Sweep::read(value)?.erasure else { continue };
            let (mut key, mut row) = (Vec::new(), Vec::new());
            key::numbered(tag::ERASURE, offset, &mut key);
            if self.store.get(&key, &mut row)? {
                self.census.erasing_since_ms = Some(ErasureRow::read(&row)?.at_ms);
            }
            break;
        }
        Ok(())
    }
}

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// Counts some more, and says what is known.
    pub(super) fn holdings(&mut self, now: Now) -> Result<Holdings, StateError> {
        let mut holdings = Holdings {
            memory_bytes: self.memory.used_bytes() as u64,
            snapshot_stall: self.snapshot_stall,
            ..Holdings::default()
        };
        // One partition's books at a time: a look at all of them would be felt.
        let lives = self.desk.live().count().max(1);
        let turn = self.census_turn % lives;
        self.census_turn = turn + 1;
        let mut number = 0;
        for (&id, stage) in &mut self.desk.partitions {
            match stage {
                Stage::Live(live) => {
                    if number == turn {
                        live.count()?;
                    }
                    number += 1;
                    holdings.counted(id.class, &live.census, now);
                    holdings.holds = holdings.holds.max(live.engine.holds() as u64);
                    let (open, remaining) = live.replays_left()?;
                    let replays = holdings.replays.entry(id.class).or_default();
                    *replays = (replays.0 + open, replays.1 + remaining);
                    holdings.positions.insert(id, live.next);
                    holdings.state_bytes += live.store.bytes();
                    holdings.presses(live.store.pressure());
                    holdings.changelog_bytes += live.upkeep.changelog_bytes();
                    let age_s = age(live, now.wall_ms).map_or(0, |age| age.as_secs());
                    holdings.snapshot_age_s = holdings.snapshot_age_s.max(age_s);
                }
                Stage::Restoring(restoring) => {
                    let committed =
                        restoring.goal.as_ref().and_then(|goal| goal.committed.as_ref());
                    if let Some(committed) = committed {
                        holdings.positions.insert(id, committed.offset);
                    }
                    holdings.presses(restoring.store.pressure());
                    let end = restoring.goal.as_ref().map_or(0, |goal| goal.end);
                    *self.restored.entry(id.class).or_default() +=
                        std::mem::take(&mut restoring.records);
                    let remaining = u64::try_from(end - restoring.next).unwrap_or_default();
                    *holdings.remaining.entry(id.class).or_default() += remaining;
                    holdings.state_bytes += restoring.store.bytes();
                }
                Stage::Opening { .. } | Stage::Refused => {}
            }
        }
        holdings.restored = std::mem::take(&mut self.restored);
        Ok(holdings)
    }
}
