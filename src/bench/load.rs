//! Writes a load, as fast as the broker takes it or at an exact rate.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde::Serialize;

use super::messages::{Messages, Shape};
use crate::demo::now_ms;
use crate::traffic::{Control, Record};

/// How long one acknowledgement may take.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);
/// How long to wait for room in the queue.
const ROOM_WAIT: Duration = Duration::from_millis(10);

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Load {
    /// `HOST:PORT` of some brokers.
    pub brokers: String,
    /// The input topic of messages.
    pub topic: String,
    /// The control topic, for what the tenants chose; none: they have said it.
    pub control: Option<String>,
    /// What it is like.
    pub shape: Shape,
    /// Records a second; none: as fast as the broker takes them.
    pub rate: Option<u32>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Loaded {
    /// Control records.
    pub controls: u64,
    /// Records.
    pub records: u64,
    /// How long these took.
    pub seconds: f64,
    /// Records a second.
    pub records_a_second: f64,
}

/// Writes it.
///
/// # Errors
/// The broker does not take it.
pub fn load(load: &Load) -> anyhow::Result<Loaded> {
    let producer = producer(&load.brokers)?;
    let controls = match &load.control {
        Some(topic) => say_all(&producer, topic, load.shape.controls())?,
        None => 0,
    };
    let started = Instant::now();
    let mut messages = Messages::new(&load.shape);
    let mut records: u64 = 0;
    loop {
        if let Some(rate) = load.rate {
            wait_until(&producer, started + due(records, rate));
        }
        let Some(record) = messages.next_record(now_ms()) else { break };
        write(&producer, &load.topic, &record)?;
        records += 1;
    }
    finish(&producer)?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Loaded { controls, records, seconds, records_a_second: records as f64 / seconds })
}

/// A producer that is faster than what reads from the broker.
pub(super) fn producer(brokers: &str) -> anyhow::Result<BaseProducer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config.set("client.id", "lethe-bench-load");
    config.set("compression.type", "lz4");
    config.set("linger.ms", "20");
    config.set("batch.size", (512 << 10).to_string());
    config.set("queue.buffering.max.kbytes", (64 << 10).to_string());
    config.set("enable.idempotence", "true");
    config.create().context("a producer")
}

/// When a record is due, from the start.
pub(super) fn due(record: u64, rate: u32) -> Duration {
    Duration::from_secs_f64(record as f64 / f64::from(rate.max(1)))
}

/// Serves the producer until a moment, if that is still to come.
pub(super) fn wait_until(producer: &BaseProducer, at: Instant) {
    loop {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        // It comes back earlier where something was acknowledged.
        producer.poll(left);
    }
}

/// Writes control records, and waits until they are there; how many they are.
pub(super) fn say_all(
    producer: &BaseProducer,
    topic: &str,
    controls: impl IntoIterator<Item = Control>,
) -> anyhow::Result<u64> {
    let mut count = 0;
    for control in controls {
        say(producer, topic, &control)?;
        count += 1;
    }
    finish(producer)?;
    Ok(count)
}

/// Writes a control record.
fn say(producer: &BaseProducer, topic: &str, control: &Control) -> anyhow::Result<()> {
    send(producer, BaseRecord::to(topic).partition(0).key(&control.key).payload(&control.value))
}

/// Writes a record of the input.
pub(super) fn write(producer: &BaseProducer, topic: &str, record: &Record) -> anyhow::Result<()> {
    send(producer, BaseRecord::to(topic).key(&record.key).payload(&record.value))
}

/// Waits until all of it is acknowledged.
pub(super) fn finish(producer: &BaseProducer) -> anyhow::Result<()> {
    producer.flush(ACKNOWLEDGED_WITHIN).context("writing the last records")
}

/// Sends a record, once there is room for it.
pub(super) fn send<K: rdkafka::message::ToBytes + ?Sized, P: rdkafka::message::ToBytes + ?Sized>(
    producer: &BaseProducer,
    mut record: BaseRecord<'_, K, P>,
) -> anyhow::Result<()> {
    while let Err((error, refused)) = producer.send(record) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
            return Err(error).context("writing a record");
        }
        producer.poll(ROOM_WAIT);
        record = refused;
    }
    Ok(())
}
