//! The floor: plain rdkafka with lethe's own settings, as many workers, no state and no decoding.
//!
//! It ends when it has committed everything that was there at its start, if it is not to follow. Each worker takes its share of
//! the partitions without asking the group, whose rebalances would only blur the floor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;

use crate::pipeline::kafka::{config, flush};
use crate::pipeline::settings::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, CALL_TIMEOUT, CLOCK_RECORDS, IDLE_WAIT, PipelineSettings,
};

/// The first offset of each partition, and the one after the last.
pub(super) type Ends = BTreeMap<i32, (i64, i64)>;

/// How long to wait for room in the queue.
const ROOM_WAIT: Duration = Duration::from_millis(10);

/// What is to be passed through.
#[derive(Clone, Debug)]
pub struct PassThrough {
    /// Brokers, group, workers, commit interval and librdkafka's properties.
    pub settings: PipelineSettings,
    /// Where to; it has as many partitions as the input of messages.
    pub output: String,
    /// Go on with what comes, until the process is killed.
    pub follow: bool,
    /// Partitions that are passed through from an offset on, not from their start.
    pub from: BTreeMap<i32, i64>,
}

/// What was passed through.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Passed {
    /// Records.
    pub records: i64,
    /// How long it took.
    pub seconds: f64,
}

/// Passes through what is there.
///
/// # Errors
/// The broker refuses something.
pub fn pass_through(of: &PassThrough) -> anyhow::Result<Passed> {
    let started = Instant::now();
    let mut ends = ends(&of.settings, &of.settings.topics.messages)?;
    for (partition, &offset) in &of.from {
        if let Some((start, _)) = ends.get_mut(partition) {
            *start = offset;
        }
    }
    let records = ends.values().map(|(start, end)| end - start).sum();
    let left = Arc::new(AtomicI64::new(if of.follow { i64::MAX } else { records }));
    let workers: Vec<_> = (0..of.settings.workers)
        .map(|number| {
            let (of, left, ends) = (of.clone(), Arc::clone(&left), ends.clone());
            thread::spawn(move || Worker::new(&of, number, &ends)?.run(&left))
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| anyhow!("a worker has panicked"))??;
    }
    Ok(Passed { records, seconds: started.elapsed().as_secs_f64() })
}

/// What is there.
pub(super) fn ends(settings: &PipelineSettings, topic: &str) -> anyhow::Result<Ends> {
    let asker: BaseConsumer = config::input(settings, "asker").create()?;
    let metadata = asker.fetch_metadata(Some(topic), CALL_TIMEOUT)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let partitions = found.map(|found| found.partitions()).unwrap_or_default();
    if partitions.is_empty() {
        bail!("there is no topic {topic}: `lethe bench load` writes one");
    }
    let ends = partitions.iter().map(|partition| {
        let bounds = asker.fetch_watermarks(topic, partition.id(), CALL_TIMEOUT)?;
        Ok((partition.id(), bounds))
    });
    ends.collect()
}

struct Worker {
    consumer: BaseConsumer,
    producer: BaseProducer,
    input: String,
    output: String,
    interval: Duration,
    /// The next offset of each partition of the batch.
    positions: BTreeMap<i32, i64>,
    records: i64,
    bytes: usize,
    since: Option<Instant>,
}

impl Worker {
    fn new(of: &PassThrough, number: usize, ends: &Ends) -> anyhow::Result<Self> {
        let settings = &of.settings;
        let member = format!("pass-through-{number}");
        let consumer: BaseConsumer =
            config::input(settings, &member).create().context("a consumer")?;
        let mut share = TopicPartitionList::new();
        for (&partition, &(start, _)) in ends.iter().skip(number).step_by(settings.workers) {
            let topic = &settings.topics.messages;
            share.add_partition_offset(topic, partition, Offset::Offset(start))?;
        }
        consumer.assign(&share)?;
        let transactional_id = format!("{}-{member}", settings.group);
        let producer: BaseProducer =
            config::output(settings, &transactional_id).create().context("a producer")?;
        producer.init_transactions(CALL_TIMEOUT)?;
        Ok(Self {
            consumer,
            producer,
            input: settings.topics.messages.clone(),
            output: of.output.clone(),
            interval: settings.commit_interval,
            positions: BTreeMap::new(),
            records: 0,
            bytes: 0,
            since: None,
        })
    }

    fn run(&mut self, left: &AtomicI64) -> anyhow::Result<()> {
        while left.load(Ordering::Acquire) > 0 {
            // Batches end by time also while records keep coming; the clock is read as lethe does.
            for _ in 0..CLOCK_RECORDS {
                let wait = self.since.map_or(IDLE_WAIT, |since| {
                    self.interval.saturating_sub(since.elapsed()).min(IDLE_WAIT)
                });
                let Some(message) = self.consumer.poll(wait) else { break };
                let message = message?;
                if self.since.is_none() {
                    self.producer.begin_transaction()?;
                    self.since = Some(Instant::now());
                }
                self.records += 1;
                self.bytes += message.payload_len();
                self.positions.insert(message.partition(), message.offset() + 1);
                pass(&self.producer, &self.output, &message)?;
            }
            let is_full = usize::try_from(self.records).is_ok_and(|all| all >= BATCH_RECORDS_MAX)
                || self.bytes >= BATCH_BYTES_MAX;
            if is_full || self.since.is_some_and(|since| since.elapsed() >= self.interval) {
                left.fetch_sub(self.commit()?, Ordering::AcqRel);
            }
        }
        Ok(())
    }

    /// Commits the batch; how many records it had.
    fn commit(&mut self) -> anyhow::Result<i64> {
        let mut list = TopicPartitionList::new();
        for (&partition, &offset) in &self.positions {
            list.add_partition_offset(&self.input, partition, Offset::Offset(offset))?;
        }
        let member = self.consumer.group_metadata().context("no group to commit for")?;
        self.producer.send_offsets_to_transaction(&list, &member, CALL_TIMEOUT)?;
        flush(&self.producer, CALL_TIMEOUT)?;
        self.producer.commit_transaction(CALL_TIMEOUT)?;
        self.positions.clear();
        (self.bytes, self.since) = (0, None);
        Ok(std::mem::take(&mut self.records))
    }
}

/// Produces the same bytes with two headers.
fn pass(
    producer: &BaseProducer,
    output: &str,
    message: &BorrowedMessage<'_>,
) -> anyhow::Result<()> {
    let headers = OwnedHeaders::new_with_capacity(2)
        .insert(Header { key: "lethe-storage", value: Some("in") })
        .insert(Header { key: "lethe-policy", value: Some("default") });
    let mut record: BaseRecord<'_, [u8], [u8]> =
        BaseRecord::to(output).partition(message.partition()).headers(headers);
    record.key = message.key();
    record.payload = message.payload();
    while let Err((error, refused)) = producer.send(record) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
            return Err(error).context("writing a record");
        }
        producer.poll(ROOM_WAIT);
        record = refused;
    }
    Ok(())
}
