//! The ledger alone: what it costs to remember records and to end them, and how much disk they take.
//!
//! No Kafka: messages of tenants that all opted in go through the engine into a store of one partition, in
//! batches with their delta and commit as in a worker. Their times spread evenly over six days, as what is
//! remembered does in the long run, and their ids are the bus's. Then eight days pass, and looks end all.
//!
//! To make the messages is not measured: its CPU time is taken off, and its time does not count.

use std::path::{Path, PathBuf};
use std::time::Instant;

use lethe_engine::{Budget, Class, ControlRecord, Effect, Effects, Engine, Event, Origin};
use lethe_state::{Identity, Memory, Store};
use serde::Serialize;

use super::figures::median;
use super::messages::{Messages, RETENTION_S, Shape, Size};
use super::{own_cpu, rest};
use crate::codec::{self, TimeLimits};
use crate::pipeline::settings::{
    BATCH_EFFECTS_MAX, DELTA_PART_BYTES_MAX, LOOK_ROWS, PipelineSettings,
};
use crate::telemetry::process;
use crate::traffic::Record;

/// Messages of a batch: what a partition of a worker has in a transaction of 100 ms at full speed.
const BATCH_RECORDS: usize = 8_192;
/// When the first message is sent (Unix ms), and over which time all are.
const FIRST_MS: i64 = 1_800_000_000_000;
const SPREAD_MS: i64 = 6 * 24 * 60 * 60 * 1000;
/// When all are due.
const DUE_MS: i64 = FIRST_MS + SPREAD_MS + RETENTION_S as i64 * 1000 + 1;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct State {
    /// The memory for local state.
    pub settings: PipelineSettings,
    /// How many records, one ledger after another.
    pub sizes: Vec<u64>,
    /// Tenants.
    pub tenants: u32,
    /// Rounds of each size.
    pub rounds: u32,
    /// The seed of the messages.
    pub seed: u64,
    /// Where ledgers are made.
    pub scratch: PathBuf,
}

/// What some calls cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Seconds, without what happened in the background afterwards.
    pub seconds: f64,
    /// Records a second.
    pub records_a_second: f64,
    /// CPU time of a record in µs, with flushes and compactions until nothing was left to do.
    pub cpu_us_a_record: f64,
}

/// What a ledger cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Ledger {
    /// Records in it.
    pub records: u64,
    /// To remember them.
    pub put: Cost,
    /// Bytes of changelog a record, before compression.
    pub delta_bytes_a_record: f64,
    /// Bytes on disk a live record, once what was put off is done.
    pub disk_bytes_a_record: f64,
    /// The same, once everything has been compacted.
    pub compacted_bytes_a_record: f64,
    /// To end them.
    pub expire: Cost,
    /// Bytes on disk for each that there was, once everything has been compacted.
    pub left_bytes_a_record: f64,
    /// Largest resident memory that was seen, in MiB.
    pub memory_mib: f64,
}

/// All rounds of a size, with their medians.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// In their order.
    pub rounds: Vec<Ledger>,
    /// The median of each figure.
    pub median: Ledger,
}

/// Measures size by size; `told` hears of each step.
///
/// # Errors
/// The disk fails.
pub fn state(of: &State, told: &mut dyn FnMut(&str)) -> anyhow::Result<Vec<Measured>> {
    let mut all = Vec::new();
    for &records in &of.sizes {
        let mut rounds = Vec::new();
        for _ in 0..of.rounds {
            let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(&of.scratch)?;
            let ledger = Bench::new(of, records, dir.path())?.measure()?;
            told(&line(&ledger));
            rounds.push(ledger);
        }
        all.push(Measured { median: medians(&rounds), rounds });
    }
    Ok(all)
}

/// What was measured, for a person.
#[must_use]
pub fn rendered(measured: &[Measured]) -> String {
    measured.iter().map(|size| format!("median: {}\n", line(&size.median))).collect()
}

fn line(ledger: &Ledger) -> String {
    format!(
        "{:9} records: put {:8.0}/s, {:5.2} µs; {:5.1} bytes each on disk, {:5.1} compacted; \
         expire {:8.0}/s, {:5.2} µs; {:4.0} MiB",
        ledger.records,
        ledger.put.records_a_second,
        ledger.put.cpu_us_a_record,
        ledger.disk_bytes_a_record,
        ledger.compacted_bytes_a_record,
        ledger.expire.records_a_second,
        ledger.expire.cpu_us_a_record,
        ledger.memory_mib
    )
}

fn medians(rounds: &[Ledger]) -> Ledger {
    let cost = |of: fn(&Ledger) -> Cost| Cost {
        seconds: median(rounds, |ledger| of(ledger).seconds),
        records_a_second: median(rounds, |ledger| of(ledger).records_a_second),
        cpu_us_a_record: median(rounds, |ledger| of(ledger).cpu_us_a_record),
    };
    Ledger {
        records: rounds.first().map_or(0, |ledger| ledger.records),
        put: cost(|ledger| ledger.put),
        delta_bytes_a_record: median(rounds, |ledger| ledger.delta_bytes_a_record),
        disk_bytes_a_record: median(rounds, |ledger| ledger.disk_bytes_a_record),
        compacted_bytes_a_record: median(rounds, |ledger| ledger.compacted_bytes_a_record),
        expire: cost(|ledger| ledger.expire),
        left_bytes_a_record: median(rounds, |ledger| ledger.left_bytes_a_record),
        memory_mib: median(rounds, |ledger| ledger.memory_mib),
    }
}

struct Bench<'b> {
    dir: &'b Path,
    store: Store,
    engine: Engine,
    effects: Effects,
    shape: Shape,
    memory_bytes: f64,
    delta_bytes: u64,
}

impl<'b> Bench<'b> {
    fn new(of: &State, records: u64, dir: &'b Path) -> anyhow::Result<Self> {
        let identity = Identity {
            cluster: "bench".to_owned(),
            topic: "messages".to_owned(),
            changelog_id: None,
            partition: 0,
            partitions: 1,
        };
        let memory = Memory::new(of.settings.cache_bytes, of.settings.write_buffer_bytes);
        let mut store = Store::open(dir, &identity, &memory)?;
        let engine = Engine::open(Class::Message, &mut store)?;
        let shape = Shape {
            messages: records,
            delivered: false,
            size: Size::Bytes(0),
            tenants: of.tenants,
            opted_in: of.tenants,
            seed: of.seed,
            ..Shape::default()
        };
        let effects = Effects::default();
        Ok(Self { dir, store, engine, effects, shape, memory_bytes: 0.0, delta_bytes: 0 })
    }

    fn measure(mut self) -> anyhow::Result<Ledger> {
        let records = self.shape.messages;
        let put = self.put()?;
        self.store.flush()?;
        let disk = self.disk_bytes()?;
        self.store.compact()?;
        let compacted = self.disk_bytes()?;
        let expire = self.expire()?;
        self.store.compact()?;
        let a_record = |bytes: u64| bytes as f64 / records.max(1) as f64;
        Ok(Ledger {
            records,
            put,
            delta_bytes_a_record: a_record(self.delta_bytes),
            disk_bytes_a_record: a_record(disk),
            compacted_bytes_a_record: a_record(compacted),
            expire,
            left_bytes_a_record: a_record(self.disk_bytes()?),
            memory_mib: self.memory_bytes / f64::from(1 << 20),
        })
    }

    /// Remembers all of them.
    fn put(&mut self) -> anyhow::Result<Cost> {
        let (records, shape) = (self.shape.messages, self.shape.clone());
        for (offset, control) in (0..).zip(shape.controls()) {
            let value = Some(control.value.as_bytes());
            let record = ControlRecord::parse(offset, FIRST_MS, control.key.as_bytes(), value);
            self.engine.control(&mut self.store, &record, FIRST_MS, &mut self.effects)?;
        }
        let mut messages = Messages::new(&shape);
        let (mut seconds, mut made_s, cpu_before) = (0.0, 0.0, own_cpu::of_process());
        let (mut done, mut offset) = (0, 0);
        while done < records {
            let before = own_cpu::of_thread();
            let batch = batch(&mut messages, done, records);
            let events = decoded(&batch)?;
            made_s += own_cpu::of_thread() - before;
            done += batch.len() as u64;

            let started = Instant::now();
            for event in &events {
                let (origin, at_ms) = (Origin::Input(offset), event_ms(event));
                self.effects.clear();
                self.engine.apply(&mut self.store, event, origin, at_ms, &mut self.effects)?;
                offset += 1;
            }
            self.delta_bytes += self.commit()?;
            seconds += started.elapsed().as_secs_f64();
        }
        self.store.flush_soon()?;
        rest::wait(own_cpu::of_process);
        Ok(cost(records, seconds, own_cpu::of_process() - cpu_before - made_s))
    }

    /// Ends all of them.
    fn expire(&mut self) -> anyhow::Result<Cost> {
        let (mut ended, mut in_batch) = (0, 0);
        let (started, cpu_before) = (Instant::now(), own_cpu::of_process());
        loop {
            self.effects.clear();
            let mut budget = Budget { rows: LOOK_ROWS };
            let looked =
                self.engine.look(&mut self.store, DUE_MS, &mut budget, &mut self.effects)?;
            let tombstones = self.effects.iter();
            in_batch +=
                tombstones.filter(|effect| matches!(effect, Effect::Tombstone { .. })).count();
            if in_batch >= BATCH_EFFECTS_MAX || !looked.more {
                self.commit()?;
                ended += std::mem::take(&mut in_batch) as u64;
            }
            if !looked.more {
                break;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let records = self.shape.messages;
        anyhow::ensure!(ended == records, "{ended} of {records} records have ended");
        self.store.flush_soon()?;
        rest::wait(own_cpu::of_process);
        Ok(cost(records, seconds, own_cpu::of_process() - cpu_before))
    }

    /// As a worker does; how many bytes of changelog it was.
    fn commit(&mut self) -> anyhow::Result<u64> {
        self.engine.flush(&mut self.store);
        let parts = self.store.delta(0, 0, 0, DELTA_PART_BYTES_MAX);
        let bytes = parts.iter().map(|part| part.len() as u64).sum();
        self.store.commit(self.store.changelog_offset() + parts.len() as i64)?;
        let resident = process::used("self").map_or(0.0, |(_, resident)| resident);
        self.memory_bytes = self.memory_bytes.max(resident);
        Ok(bytes)
    }

    fn disk_bytes(&self) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for file in std::fs::read_dir(self.dir)? {
            bytes += file?.metadata()?.len();
        }
        Ok(bytes)
    }
}

/// The next messages, of which so many were made.
fn batch(messages: &mut Messages, done: u64, records: u64) -> Vec<Record> {
    let at_ms = |number: u64| {
        let part = i128::from(number) * i128::from(SPREAD_MS) / i128::from(records.max(1));
        FIRST_MS + i64::try_from(part).unwrap_or(SPREAD_MS)
    };
    let numbers = done..done + BATCH_RECORDS as u64;
    numbers.map_while(|number| messages.next_record(at_ms(number))).collect()
}

fn decoded(batch: &[Record]) -> anyhow::Result<Vec<Event<'_>>> {
    let limits = TimeLimits { latest_ms: DUE_MS };
    let events = batch.iter().map(|record| Ok(codec::decode(record.class, &record.value, limits)?));
    events.collect()
}

fn event_ms(event: &Event<'_>) -> i64 {
    match event {
        Event::Message(event) => event.sent_at_ms,
        Event::Profile(event) | Event::Config(event) => event.updated_at_ms,
    }
}

fn cost(records: u64, seconds: f64, cpu_seconds: f64) -> Cost {
    let count = records.max(1) as f64;
    Cost { seconds, records_a_second: count / seconds, cpu_us_a_record: cpu_seconds * 1e6 / count }
}
