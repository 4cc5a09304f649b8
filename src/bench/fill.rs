//! Fills a ledger without a process that consumes: changelogs as one leaves them that has worked on so many
//! messages, and the group's positions. Millions of records need no broker that takes as many inputs and
//! outputs.
//!
//! What is written is decided by the engine and encoded by the state as ever: deltas, and snapshots where
//! they are due.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use lethe_engine::{Class, ControlRecord, Effects, Engine, Origin};
use lethe_state::{Identity, Memory, Store};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::load::send;
use super::messages::{Messages, Shape};
use crate::codec::{self, TimeLimits};
use crate::demo::now_ms;
use crate::pipeline::kafka::config;
use crate::pipeline::seam::Role;
use crate::pipeline::settings::{DELTA_PART_BYTES_MAX, PipelineSettings, SNAPSHOT_SLICE_BYTES};
use crate::pipeline::transaction::{Mark, SnapshotMark};
use crate::traffic::Control;

/// Messages of one delta: what a worker does with in its commit interval.
const BATCH: u64 = 10_000;
/// The key of deltas that do not say of which topics their offsets are.
const KEY: &[u8] = b"lethe/1";
/// How long one acknowledgement may take.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);
/// Memory of the ledgers that are made on the way.
const CACHE_BYTES: usize = 32 << 20;
const WRITE_BUFFER_BYTES: usize = 128 << 20;

/// What is to be filled.
pub(super) struct Fill<'f> {
    /// Brokers, group and topics: of nobody who runs.
    pub(super) settings: &'f PipelineSettings,
    /// Of the input of messages.
    pub(super) partitions: u32,
    /// Messages that live, in all partitions; none is followed by anything.
    pub(super) shape: Shape,
    /// All that the control topic holds: by it all tenants have opted in.
    pub(super) controls: &'f [Control],
    /// How old the oldest message is, and the youngest.
    pub(super) ages: [Duration; 2],
    /// Where ledgers are made on the way.
    pub(super) scratch: &'f Path,
}

impl Fill<'_> {
    /// What the messages of a partition are like.
    pub(super) fn shape(&self, partition: u32, messages: u64) -> Shape {
        Shape { messages, seed: self.shape.seed + u64::from(partition), ..self.shape.clone() }
    }

    /// How old messages are (ms) of which so many are left to be written.
    fn age_ms(&self, left: u64, all: u64) -> i64 {
        let [oldest, youngest] = self.ages;
        let age = youngest + (oldest - youngest).mul_f64(left as f64 / all.max(1) as f64);
        i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 2)
    }
}

/// Fills all partitions, side by side.
pub(super) fn fill(fill: &Fill<'_>) -> anyhow::Result<()> {
    let workers = u32::try_from(fill.settings.workers).unwrap_or(1).max(1);
    let filled = thread::scope(|scope| {
        let spawn = |worker| scope.spawn(move || fill_some(fill, worker, workers));
        let threads: Vec<_> = (0..workers).map(spawn).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, anyhow::Result<Vec<_>>>| {
            thread.join().unwrap_or_else(|_| bail!("a thread that fills has panicked"))
        };
        threads.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()
    })?;
    let mut list = TopicPartitionList::new();
    for (partition, metadata) in filled.into_iter().flatten() {
        let partition = i32::try_from(partition)?;
        let mut position = list.add_partition(&fill.settings.topics.messages, partition);
        position.set_offset(Offset::Offset(0))?;
        position.set_metadata(&metadata);
    }
    let group: BaseConsumer = config::input(fill.settings, "filler").create()?;
    group.commit(&list, CommitMode::Sync).context("committing the group's positions")
}

/// Fills every partition whose turn it is, one after the other. Gives what the group is to be told of each.
fn fill_some(fill: &Fill<'_>, worker: u32, workers: u32) -> anyhow::Result<Vec<(u32, String)>> {
    (0..fill.partitions)
        .filter(|partition| partition % workers == worker)
        .map(|partition| Ok((partition, Partition::new(fill, partition)?.fill()?)))
        .collect()
}

/// One partition on its way.
struct Partition<'f> {
    fill: &'f Fill<'f>,
    partition: i32,
    messages: u64,
    store: Store,
    topic: String,
    producer: BaseProducer,
    /// The changelog's end.
    end: i64,
    mark: Mark,
}

impl<'f> Partition<'f> {
    fn new(fill: &'f Fill<'f>, partition: u32) -> anyhow::Result<Self> {
        let all = fill.shape.messages;
        let messages = all / u64::from(fill.partitions)
            + u64::from(u64::from(partition) < all % u64::from(fill.partitions));
        let partition = i32::try_from(partition)?;
        // Nobody else sees it.
        let identity = Identity {
            cluster: "none".to_owned(),
            topic: fill.settings.topics.messages.clone(),
            changelog_id: None,
            partition,
            partitions: i32::try_from(fill.partitions)?,
        };
        let dir = fill.scratch.join(format!("filled-{partition}"));
        let store = Store::open(&dir, &identity, &Memory::new(CACHE_BYTES, WRITE_BUFFER_BYTES))?;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &fill.settings.brokers);
        config.set("client.id", "lethe-bench-fill");
        config.set("compression.type", "lz4");
        config.set("enable.idempotence", "true");
        config.set("queue.buffering.max.kbytes", (64 << 10).to_string());
        let producer = config.create().context("a producer")?;
        let topic = fill.settings.topics.name(Role::Changelog(Class::Message));
        Ok(Self {
            fill,
            partition,
            messages,
            store,
            topic,
            producer,
            end: 0,
            mark: Mark::default(),
        })
    }

    /// Gives what the group is to be told with the partition's position.
    fn fill(mut self) -> anyhow::Result<String> {
        let shape = self.fill.shape(self.partition.unsigned_abs(), self.messages);
        let mut engine = Engine::open(Class::Message, &mut self.store)?;
        let mut effects = Effects::default();
        for (offset, control) in (0..).zip(self.fill.controls) {
            let (key, value) = (control.key.as_bytes(), Some(control.value.as_bytes()));
            let record = ControlRecord::parse(offset, now_ms(), key, value);
            effects.clear();
            engine.control(&mut self.store, &record, now_ms(), &mut effects)?;
        }
        let mut messages = Messages::new(&shape);
        let mut left = self.messages;
        while left > 0 {
            let (now_ms, age_ms) = (now_ms(), self.fill.age_ms(left, self.messages));
            let sent_at_ms = now_ms - age_ms;
            for _ in 0..BATCH.min(left) {
                let Some(record) = messages.next_record(sent_at_ms) else {
                    bail!("too few messages")
                };
                let limits = TimeLimits { latest_ms: now_ms + 1 };
                let event = codec::decode(Class::Message, &record.value, limits)?;
                effects.clear();
                engine.apply(&mut self.store, &event, Origin::Elsewhere, now_ms, &mut effects)?;
            }
            left -= BATCH.min(left);
            engine.flush(&mut self.store);
            self.commit(engine.control_offset())?;
        }
        self.producer.flush(ACKNOWLEDGED_WITHIN).context("writing the last records")?;
        let metadata = self.mark.metadata(self.store.sequence());
        let dir = self.fill.scratch.join(format!("filled-{}", self.partition));
        drop(self.store);
        Store::destroy(&dir)?;
        Ok(metadata)
    }

    /// Ends a batch: its delta, and a snapshot where one is due.
    fn commit(&mut self, control_offset: i64) -> anyhow::Result<()> {
        let snapshot = self.mark.snapshot.map_or(0, |snapshot| snapshot.bytes);
        if self.mark.since > snapshot / 2 + self.fill.settings.changelog_slack_bytes {
            self.snapshot()?;
        }
        for part in self.store.delta(0, control_offset, now_ms(), DELTA_PART_BYTES_MAX) {
            self.mark.since += part.len() as u64;
            self.write(&part)?;
        }
        Ok(self.store.commit(self.end)?)
    }

    fn snapshot(&mut self) -> anyhow::Result<()> {
        let (start, mut bytes) = (self.end, 0);
        let mut cursor = Some(self.store.begin_snapshot());
        while let Some(at) = cursor {
            let slice =
                self.store.snapshot_slice(&at, DELTA_PART_BYTES_MAX, SNAPSHOT_SLICE_BYTES)?;
            for record in &slice.records {
                bytes += record.len() as u64;
                self.write(record)?;
            }
            cursor = slice.next;
        }
        let snapshot = Some(SnapshotMark { start, at_ms: now_ms(), bytes });
        self.mark = Mark { snapshot, since: 0 };
        Ok(())
    }

    fn write(&mut self, value: &[u8]) -> anyhow::Result<()> {
        let record = BaseRecord::to(&self.topic).partition(self.partition).key(KEY).payload(value);
        send(&self.producer, record)?;
        self.producer.poll(Duration::ZERO);
        self.end += 1;
        Ok(())
    }
}
