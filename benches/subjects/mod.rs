//! What is measured, the same for instructions and for time: each part of the way of a record, and a worker
//! with all of them.
//!
//! The load is that of `lethe bench compare`: sent and delivered, 100 tenants of which 70 opted in.

use std::hint::black_box;

use lethe::bench::messages::{Messages, Shape};
use lethe::bench::unplugged::Unplugged;
use lethe::codec::{self, TimeLimits};
use lethe_engine::ledger::key::{Home, push_part, tag};
use lethe_engine::{Budget, Class, ControlRecord, Effects, Engine, Event, Origin};
use lethe_state::{Identity, Memory, Store};
use tempfile::TempDir;

/// Records of one run.
pub(crate) const RECORDS: usize = 2_000;

const NOW_MS: i64 = 1_800_000_000_000;
/// When everything is due.
const DUE_MS: i64 = NOW_MS + 10 * 24 * 60 * 60 * 1000;
const LIMITS: TimeLimits = TimeLimits { latest_ms: NOW_MS };
const PART_BYTES: usize = 256 << 10;

fn shape(records: usize) -> Shape {
    Shape { messages: records as u64 / 2, ..Shape::default() }
}

/// The values of the load.
pub(crate) fn values() -> Vec<Vec<u8>> {
    let mut messages = Messages::new(&shape(RECORDS));
    let record = |number: usize| {
        messages.next_record(NOW_MS - 1_000 + number as i64 / 10).map(|record| record.value)
    };
    (0..RECORDS).map_while(record).collect()
}

/// Decodes each.
pub(crate) fn decode(values: &[Vec<u8>]) -> usize {
    let events = values.iter().map(|value| codec::decode(Class::Message, black_box(value), LIMITS));
    events.filter(|event| black_box(event).is_ok()).count()
}

/// The events of the load, which live as long as the process.
pub(crate) fn events() -> Vec<Event<'static>> {
    let values: &'static [Vec<u8>] = values().leak();
    values.iter().map(|value| codec::decode(Class::Message, value, LIMITS).unwrap()).collect()
}

/// Writes the ledger's key of each, and its record key's id.
pub(crate) fn encode_keys(events: &[Event<'_>]) -> usize {
    let (mut key, mut id, mut bytes) = (Vec::new(), String::new(), 0);
    for event in events {
        let Event::Message(event) = event else { continue };
        id.clear();
        push_part(&mut id, event.conversation);
        id.push('/');
        push_part(&mut id, event.message);
        let home = Home { tenant: event.tenant, time_ms: event.sent_at_ms, id: &id };
        home.write(tag::ENTRY, &mut key);
        bytes += black_box(&key).len();
    }
    bytes
}

/// A partition's engine over its ledger, with what the tenants chose.
pub(crate) struct Ledger {
    store: Store,
    engine: Engine,
    effects: Effects,
    events: Vec<Event<'static>>,
    _dir: TempDir,
}

impl Ledger {
    /// An empty one, and what is going to happen.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity {
            cluster: "bench".to_owned(),
            topic: "messages".to_owned(),
            changelog_id: None,
            partition: 0,
            partitions: 1,
        };
        let memory = Memory::new(8 << 20, 8 << 20);
        let mut store = Store::open(dir.path(), &identity, &memory).unwrap();
        let mut engine = Engine::open(Class::Message, &mut store).unwrap();
        let mut effects = Effects::default();
        for (offset, control) in (0..).zip(shape(RECORDS).controls()) {
            let value = Some(control.value.as_bytes());
            let record = ControlRecord::parse(offset, NOW_MS, control.key.as_bytes(), value);
            engine.control(&mut store, &record, NOW_MS, &mut effects).unwrap();
        }
        Self { store, engine, effects, events: events(), _dir: dir }
    }

    /// One in which it has happened, in the batch at hand.
    pub(crate) fn applied() -> Self {
        let mut ledger = Self::new();
        ledger.apply();
        ledger
    }

    /// Has the engine decide each event; how many contents and tombstones that makes.
    pub(crate) fn apply(&mut self) -> usize {
        let mut outputs = 0;
        for (offset, event) in (0..).zip(&self.events) {
            let origin = Origin::Input(offset);
            self.effects.clear();
            let applied =
                self.engine.apply(&mut self.store, event, origin, NOW_MS, &mut self.effects);
            applied.unwrap();
            outputs += self.effects.len();
        }
        self.engine.flush(&mut self.store);
        outputs
    }

    /// Writes the batch as a delta; how many bytes that are.
    pub(crate) fn delta(&mut self) -> usize {
        let parts = self.store.delta(7, 7, NOW_MS, PART_BYTES);
        parts.iter().map(Vec::len).sum()
    }

    /// Ends all that is stored, from the batch at hand; how many tombstones that are.
    pub(crate) fn expire(&mut self) -> usize {
        self.effects.clear();
        let mut budget = Budget { rows: 100 * RECORDS };
        let looked = self.engine.look(&mut self.store, DUE_MS, &mut budget, &mut self.effects);
        assert!(!looked.unwrap().more, "all of it");
        self.effects.len()
    }
}

/// A worker without Kafka, that has done this before.
pub(crate) struct Worker {
    unplugged: Unplugged,
    _dir: TempDir,
}

impl Worker {
    /// With records for so many runs.
    pub(crate) fn new(runs: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shape = shape(RECORDS * (runs + 1));
        let mut unplugged = Unplugged::new(dir.path(), &shape).unwrap();
        unplugged.take(RECORDS).unwrap();
        Self { unplugged, _dir: dir }
    }

    /// Takes a batch in, decides and commits it; how many output records that makes.
    pub(crate) fn take(&mut self) -> u64 {
        self.unplugged.take(RECORDS).unwrap()
    }
}
