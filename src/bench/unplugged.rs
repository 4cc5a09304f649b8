//! A worker that is not plugged in: its input is in memory, and what it produces is counted and dropped.
//!
//! What is left is lethe's own work for a record: decoding, decisions, headers, the ledger with its deltas
//! and commits. One partition, one thread, and a clock that stands still between the calls of [`Unplugged::take`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::bail;
use lethe_engine::{Class, ControlRecord};
use lethe_state::Memory;

use super::messages::{Messages, Shape};
use crate::config::Settings;
use crate::pipeline::clock::{HostClock, Now};
use crate::pipeline::control::ControlLog;
use crate::pipeline::progress::Progress;
use crate::pipeline::questions::Questions;
use crate::pipeline::seam::{
    Appended, Bounds, Capabilities, Committed, Fault, Input, InputRecord, Kafka, LogId, LogPolled,
    LogReader, LogRecord, Membership, Output, OutputRecord, PartitionId, Polled, Position, Reading,
    Role, Source, SourceId, SourceTopic, Sourced, VisitHeader,
};
use crate::pipeline::worker::{Shared, Worker};
use crate::telemetry::health::Health;
use crate::telemetry::tenants::Tenants;
use crate::traffic::Record;

/// When the first record is written (Unix ms).
const FIRST_MS: i64 = 1_800_000_000_000;
/// Records of a millisecond.
const RECORDS_A_MS: usize = 100;
/// A step that has nothing to do is not repeated more often than this.
const STEPS_MAX: usize = 10_000;
/// The one partition.
const PARTITION: PartitionId = PartitionId { class: Class::Message, partition: 0 };

/// A worker with its input.
pub struct Unplugged {
    worker: Worker<Nowhere, StillClock>,
    bus: Arc<Bus>,
}

/// What its clients share with whoever drives it.
#[derive(Default)]
struct Bus {
    records: Vec<Record>,
    /// So many may be read.
    open: AtomicUsize,
    /// Since the first record, in ms.
    elapsed_ms: AtomicI64,
    /// The committed position.
    committed: AtomicI64,
    /// Output records, deltas included.
    produced: AtomicU64,
}

impl Bus {
    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn now_ms(&self) -> i64 {
        FIRST_MS + self.elapsed_ms.load(Ordering::Relaxed)
    }
}

/// When a record is written (ms after the first).
fn written_ms(record: usize) -> i64 {
    i64::try_from(record / RECORDS_A_MS).unwrap_or(i64::MAX / 2)
}

impl Unplugged {
    /// A worker over a ledger in this directory, before a load of this shape.
    ///
    /// # Errors
    /// The worker cannot be made.
    pub fn new(dir: &Path, shape: &Shape) -> anyhow::Result<Self> {
        let data_dir = dir.display().to_string();
        let settings = Settings::load(None, [], [("data_dir", data_dir)])?.pipeline;
        let (mut messages, mut records) = (Messages::new(shape), Vec::new());
        while let Some(record) = messages.next_record(FIRST_MS + written_ms(records.len())) {
            records.push(record);
        }
        let control = ControlLog::default();
        let mut end = 0;
        for said in shape.controls() {
            let value = Some(said.value.as_bytes());
            control.append(ControlRecord::parse(end, FIRST_MS, said.key.as_bytes(), value));
            end += 1;
        }
        control.reached(end);
        let bus = Arc::new(Bus { records, ..Bus::default() });
        let memory = Memory::new(settings.cache_bytes, settings.write_buffer_bytes);
        let shared = Shared {
            control: Arc::new(control),
            health: Arc::new(Health::new(1)),
            progress: Arc::new(Progress::new(1, &settings.topics)),
            memory: Arc::new(memory),
            tenants: Arc::new(Tenants::new(0)),
            reports: Arc::default(),
            completions: Arc::default(),
            shelf: Arc::default(),
            rejoin: Arc::default(),
            questions: Arc::new(Questions::new(1)),
            settings: Arc::new(settings),
        };
        let clock = StillClock(Arc::clone(&bus));
        let worker = Worker::new(0, Arc::new(Nowhere(Arc::clone(&bus))), clock, shared)?;
        Ok(Self { worker, bus })
    }

    /// How many records there are in all.
    #[must_use]
    pub fn records(&self) -> usize {
        self.bus.records.len()
    }

    /// Takes so many more records in, and commits them; how many output records that made.
    ///
    /// # Errors
    /// The worker fails, or does not come to an end.
    pub fn take(&mut self, records: usize) -> anyhow::Result<u64> {
        let until = (self.bus.open() + records).min(self.bus.records.len());
        let before = self.bus.produced.load(Ordering::Relaxed);
        self.bus.elapsed_ms.fetch_max(written_ms(until), Ordering::Relaxed);
        self.bus.open.store(until, Ordering::Relaxed);
        for _ in 0..STEPS_MAX {
            self.worker.step()?;
            if self.bus.committed.load(Ordering::Relaxed) == i64::try_from(until)? {
                return Ok(self.bus.produced.load(Ordering::Relaxed) - before);
            }
            // Time for the batch to end.
            self.bus.elapsed_ms.fetch_add(1, Ordering::Relaxed);
        }
        bail!("the worker does not come to an end")
    }
}

/// A cluster that is nowhere.
struct Nowhere(Arc<Bus>);

impl Kafka for Nowhere {
    type Input = Feed;
    type Output = Sink;
    type Log = Empty;
    type Source = NoSource;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            broker_time: true,
            group_fencing: true,
            isolation: true,
            delete_records: false,
        }
    }

    fn cluster_id(&self) -> &str {
        "nowhere"
    }

    fn partitions(&self, _role: Role) -> Result<i32, Fault> {
        Ok(1)
    }

    fn topic_id(&self, _role: Role) -> Option<String> {
        None
    }

    fn input(&self, _worker: usize) -> Result<Feed, Fault> {
        Ok(Feed { bus: Arc::clone(&self.0), next: 0, assigned: false, started: false })
    }

    fn output(&self, _worker: usize) -> Result<Sink, Fault> {
        Ok(Sink { bus: Arc::clone(&self.0), next: 0, appended: Vec::new() })
    }

    fn log(&self, _reading: Reading) -> Result<Empty, Fault> {
        Ok(Empty(Vec::new()))
    }

    fn source(&self) -> Result<NoSource, Fault> {
        Ok(NoSource)
    }
}

struct StillClock(Arc<Bus>);

impl HostClock for StillClock {
    fn now(&self) -> Now {
        let elapsed_ms = self.0.elapsed_ms.load(Ordering::Relaxed);
        let monotonic = Duration::from_millis(elapsed_ms.unsigned_abs());
        Now { wall_ms: FIRST_MS + elapsed_ms, monotonic }
    }
}

/// The input.
struct Feed {
    bus: Arc<Bus>,
    next: usize,
    assigned: bool,
    started: bool,
}

/// A record of it.
struct Taken<'a> {
    record: &'a Record,
    offset: usize,
}

impl InputRecord for Taken<'_> {
    fn id(&self) -> PartitionId {
        PARTITION
    }

    fn offset(&self) -> i64 {
        i64::try_from(self.offset).unwrap_or(i64::MAX)
    }

    fn timestamp_ms(&self) -> Option<i64> {
        Some(FIRST_MS + written_ms(self.offset))
    }

    fn key(&self) -> Option<&[u8]> {
        Some(self.record.key.as_bytes())
    }

    fn value(&self) -> Option<&[u8]> {
        Some(&self.record.value)
    }

    fn headers(&self, _visit: VisitHeader<'_>) {}
}

impl Input for Feed {
    type Record<'a> = Taken<'a>;

    fn poll(&mut self, _wait: Duration) -> Result<Polled<Taken<'_>>, Fault> {
        if !std::mem::replace(&mut self.assigned, true) {
            return Ok(Polled::Assigned(vec![PARTITION]));
        }
        let offset = self.next;
        let is_open = self.started && offset < self.bus.open();
        match self.bus.records.get(offset).filter(|_| is_open) {
            Some(record) => {
                self.next += 1;
                Ok(Polled::Record(Taken { record, offset }))
            }
            None => Ok(Polled::Nothing),
        }
    }

    fn assign(&mut self, _partitions: &[PartitionId]) -> Result<(), Fault> {
        Ok(())
    }

    fn unassign(&mut self, _partitions: &[PartitionId]) -> Result<(), Fault> {
        Ok(())
    }

    fn committed(&mut self, ids: &[PartitionId]) -> Result<Vec<Option<Committed>>, Fault> {
        Ok(vec![None; ids.len()])
    }

    fn bounds(&mut self, _id: PartitionId) -> Result<Bounds, Fault> {
        Ok(Bounds { start: 0, end: i64::MAX })
    }

    fn start(&mut self, _id: PartitionId, offset: i64) -> Result<(), Fault> {
        self.next = usize::try_from(offset).unwrap_or(usize::MAX);
        self.started = true;
        Ok(())
    }

    fn pause(&mut self, _id: PartitionId) -> Result<(), Fault> {
        self.started = false;
        Ok(())
    }

    fn membership(&mut self) -> Membership {
        Membership::Valid { generation: 1 }
    }

    fn leave(&mut self) {}

    fn has_left(&mut self) -> bool {
        true
    }

    fn join(&mut self) -> Result<(), Fault> {
        Ok(())
    }
}

/// The output.
struct Sink {
    bus: Arc<Bus>,
    /// The next offset of the changelog.
    next: i64,
    appended: Vec<Appended>,
}

impl Output for Sink {
    type Input = Feed;

    fn init(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn send(&mut self, record: &OutputRecord<'_>) -> Result<(), Fault> {
        self.bus.produced.fetch_add(1, Ordering::Relaxed);
        if let Role::Changelog(_) = record.role {
            let broker_ms = Some(self.bus.now_ms());
            self.appended.push(Appended { id: PARTITION, offset: self.next, broker_ms });
            self.next += 1;
        }
        Ok(())
    }

    fn send_positions(&mut self, _input: &Feed, positions: &[Position]) -> Result<(), Fault> {
        for position in positions {
            self.bus.committed.store(position.offset, Ordering::Relaxed);
        }
        Ok(())
    }

    fn commit(&mut self, appended: &mut Vec<Appended>) -> Result<(), Fault> {
        appended.append(&mut self.appended);
        Ok(())
    }

    fn abort(&mut self) -> Result<(), Fault> {
        Err(Fault::Stop("nothing fails here".to_owned()))
    }

    fn serve(&mut self) {}
}

/// Logs without a record, with those of which the end is still to be said.
struct Empty(Vec<LogId>);

impl LogReader for Empty {
    fn open(&mut self, log: LogId, _offset: i64) -> Result<(), Fault> {
        self.0.push(log);
        Ok(())
    }

    fn close(&mut self, log: LogId) {
        self.0.retain(|open| *open != log);
    }

    fn poll(
        &mut self,
        _wait: Duration,
        _visit: &mut dyn FnMut(LogRecord<'_>),
    ) -> Result<LogPolled, Fault> {
        Ok(self.0.pop().map_or(LogPolled::Nothing, LogPolled::End))
    }

    fn stable(&mut self, logs: &[LogId]) -> Result<Vec<Bounds>, Fault> {
        Ok(vec![Bounds { start: 0, end: 0 }; logs.len()])
    }

    fn whole(&mut self, logs: &[LogId]) -> Result<Vec<Bounds>, Fault> {
        self.stable(logs)
    }
}

/// There is nothing to replay.
struct NoSource;

impl Source for NoSource {
    type Record<'a> = Taken<'a>;

    fn topic(&mut self, _name: &str) -> Result<Option<SourceTopic>, Fault> {
        Ok(None)
    }

    fn bounds(&mut self, _id: &SourceId) -> Result<Bounds, Fault> {
        Ok(Bounds { start: 0, end: 0 })
    }

    fn offset_at(&mut self, _id: &SourceId, _time_ms: i64) -> Result<i64, Fault> {
        Ok(0)
    }

    fn open(&mut self, _id: &SourceId, _offset: i64, _of: PartitionId) -> Result<(), Fault> {
        Ok(())
    }

    fn poll(&mut self, _wait: Duration) -> Result<Sourced<Taken<'_>>, Fault> {
        Ok(Sourced::Nothing)
    }
}
