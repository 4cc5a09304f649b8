//! What a worker's partitions hold, for the metrics: counted from the books a few rows at a time,
//! outside of the batches.

use std::collections::BTreeMap;
use std::time::Duration;

use lethe_engine::ledger::Books;
use lethe_engine::{Class, Ledger, Rows, Storage};
use lethe_state::{Pressure, StateError};

use super::clock::{HostClock, Now};
use super::partition::{Live, Stage};
use super::seam::{Kafka, PartitionId};
use super::settings::CENSUS_ROWS;
use super::upkeep::age;
use super::worker::Worker;

/// The tag of books, and the first key behind them.
const BOOKS: &[u8] = &[lethe_engine::ledger::key::tag::BOOKS];
const BEHIND: &[u8] = &[lethe_engine::ledger::key::tag::BOOKS + 1];

/// How many records of a partition live, as of the last time that all its books were read.
#[derive(Debug, Default)]
pub(super) struct Census {
    stored: u64,
    transit: u64,
    /// Where counting goes on, and what was counted so far.
    from: Vec<u8>,
    counted: (u64, u64),
}

/// What a worker's partitions hold together.
#[derive(Clone, Debug, Default)]
pub(super) struct Holdings {
    /// Live records.
    pub(super) live: BTreeMap<(Class, Storage), u64>,
    /// Changelog records that restores have read since the last report, and still have to read.
    pub(super) restored: BTreeMap<Class, u64>,
    pub(super) remaining: BTreeMap<Class, u64>,
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
}

impl Live {
    /// Counts some more rows.
    fn count(&mut self) -> Result<(), StateError> {
        let mut rows = Rows::default();
        let census = &mut self.census;
        let from = if census.from.is_empty() { BOOKS } else { &census.from };
        self.store.scan(from, BEHIND, CENSUS_ROWS, &mut rows)?;
        let mut last = None;
        for (key, value) in rows.iter() {
            let books = Books::read(value)?;
            census.counted.0 += books.stored.live;
            census.counted.1 += books.transit.live;
            last = Some(key);
        }
        match last.filter(|_| rows.len() == CENSUS_ROWS) {
            Some(last) => census.from = [last, &[0]].concat(),
            None => {
                (census.stored, census.transit) = std::mem::take(&mut census.counted);
                census.from.clear();
            }
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
                    let census = &live.census;
                    for (storage, count) in
                        [(Storage::Stored, census.stored), (Storage::Transit, census.transit)]
                    {
                        *holdings.live.entry((id.class, storage)).or_default() += count;
                    }
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
