//! librdkafka's settings: bounded queues, and what exactly-once needs.
//!
//! The operator's own properties (SASL, TLS …) go before the defaults here, but not before what
//! the guarantees need.

use rdkafka::ClientConfig;

use super::super::seam::Reading;
use super::super::settings::{
    FETCH_PARTITION_BYTES, FETCH_QUEUE_KBYTES, LAG_EVERY, PRODUCER_QUEUE_KBYTES,
    PRODUCER_QUEUE_RECORDS, PipelineSettings, SESSION_TIMEOUT, SOURCE_QUEUE_KBYTES,
    TRANSACTION_TIMEOUT,
};

/// Properties of one kind of client that the others would refuse or warn about.
const PRODUCER_ONLY: [&str; 9] = [
    "acks",
    "batch.",
    "compression.",
    "enable.idempotence",
    "linger.ms",
    "message.send.max.retries",
    "queue.buffering.",
    "transaction",
    "delivery.timeout.ms",
];
/// The same for consumers.
const CONSUMER_ONLY: [&str; 8] = [
    "fetch.",
    "queued.",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "auto.offset.reset",
    "check.crcs",
    "partition.assignment.strategy",
];

/// What every client has.
fn common(settings: &PipelineSettings, not_for: &[&str]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("client.id", "lethe");
    // Connections that are idle on purpose are not worth a line in the log.
    config.set("log.connection.close", "false");
    config.set("reconnect.backoff.max.ms", "2000");
    config.set("topic.metadata.refresh.interval.ms", "30000");
    for (name, value) in &settings.kafka {
        if !not_for.iter().any(|prefix| name.starts_with(prefix)) {
            config.set(name, value);
        }
    }
    config.set("bootstrap.servers", &settings.brokers);
    config
}

/// A client for metadata and for watermarks that open transactions do not hold back.
pub(super) fn whole(settings: &PipelineSettings) -> ClientConfig {
    let mut config = common(settings, &PRODUCER_ONLY);
    config.set("isolation.level", "read_uncommitted");
    config
}

/// A client that changes topics.
pub(super) fn admin(settings: &PipelineSettings) -> ClientConfig {
    let not_for: Vec<&str> = PRODUCER_ONLY.into_iter().chain(CONSUMER_ONLY).collect();
    common(settings, &not_for)
}

fn consumer(settings: &PipelineSettings) -> ClientConfig {
    let mut config = common(settings, &PRODUCER_ONLY);
    for (name, value) in [
        ("queued.max.messages.kbytes", FETCH_QUEUE_KBYTES.to_string()),
        ("queued.min.messages", "100000".to_owned()),
        // The default of a second stalls a small queue.
        ("fetch.queue.backoff.ms", "10".to_owned()),
        ("fetch.message.max.bytes", FETCH_PARTITION_BYTES.to_string()),
        ("fetch.wait.max.ms", "100".to_owned()),
    ] {
        if !settings.kafka.contains_key(name) {
            config.set(name, value);
        }
    }
    config.set("group.id", &settings.group);
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("isolation.level", "read_committed");
    // A position outside of the log is never passed over in silence.
    config.set("auto.offset.reset", "error");
    config
}

/// A worker's consumer: a static member of the group.
pub(crate) fn input(settings: &PipelineSettings, member: &str) -> ClientConfig {
    let mut config = consumer(settings);
    for (name, value) in [
        ("session.timeout.ms", SESSION_TIMEOUT.as_millis().to_string()),
        ("heartbeat.interval.ms", "2000".to_owned()),
        ("statistics.interval.ms", LAG_EVERY.as_millis().to_string()),
    ] {
        if !settings.kafka.contains_key(name) {
            config.set(name, value);
        }
    }
    config.set("group.instance.id", member);
    config.set("partition.assignment.strategy", "cooperative-sticky");
    config
}

/// A reader of one partition. librdkafka wants a group id for it too; it never joins.
pub(super) fn log(settings: &PipelineSettings, reading: Reading) -> ClientConfig {
    let mut config = consumer(settings);
    if reading == Reading::ToTheEnd {
        config.set("fetch.wait.max.ms", "5");
    }
    config.set("enable.partition.eof", "true");
    config
}

/// A reader of what is read again: no larger than it must be, and in no hurry.
pub(super) fn source(settings: &PipelineSettings) -> ClientConfig {
    let mut config = log(settings, Reading::ToTheEnd);
    if !settings.kafka.contains_key("queued.max.messages.kbytes") {
        config.set("queued.max.messages.kbytes", SOURCE_QUEUE_KBYTES.to_string());
    }
    config
}

/// A transactional producer.
pub(crate) fn output(settings: &PipelineSettings, transactional_id: &str) -> ClientConfig {
    let mut config = producer(settings);
    config.set("transactional.id", transactional_id);
    config.set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string());
    config
}

/// A producer without transactions.
pub(crate) fn producer(settings: &PipelineSettings) -> ClientConfig {
    let mut config = common(settings, &CONSUMER_ONLY);
    for (name, value) in [
        ("compression.type", "lz4".to_owned()),
        ("linger.ms", "5".to_owned()),
        ("batch.num.messages", "10000".to_owned()),
        ("batch.size", (512 << 10).to_string()),
        ("queue.buffering.max.kbytes", PRODUCER_QUEUE_KBYTES.to_string()),
        ("queue.buffering.max.messages", PRODUCER_QUEUE_RECORDS.to_string()),
        // The topic's own limit decides, before the record is sent.
        ("message.max.bytes", (16 << 20).to_string()),
        ("retry.backoff.ms", "20".to_owned()),
        ("statistics.interval.ms", LAG_EVERY.as_millis().to_string()),
    ] {
        if !settings.kafka.contains_key(name) {
            config.set(name, value);
        }
    }
    config.set("enable.idempotence", "true");
    config.set("acks", "all");
    config
}
