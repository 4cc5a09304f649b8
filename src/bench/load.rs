//! Writes messages that were sent and delivered, as fast as the broker takes them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use lethe_proto::v1::message_event::Event;
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde::Serialize;

use crate::demo::now_ms;
use crate::traffic::{Content, Conversation, Conversations, MessageId, Random, Record, Tenant};

/// Conversations of each tenant.
const CONVERSATIONS: u32 = 100;
/// A message is delivered when so many others have been sent after it.
const DELIVERED_AFTER: usize = 1_000;
/// How long one acknowledgement may take.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(60);
/// How long to wait for room in the queue.
const ROOM_WAIT: Duration = Duration::from_millis(10);
/// What nothing of the load outlives: it is measured while all of it lives.
pub(super) const RETENTION_S: u32 = 7 * 24 * 60 * 60;

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Load {
    /// `HOST:PORT` of some brokers.
    pub brokers: String,
    /// The input topic of messages.
    pub topic: String,
    /// The control topic, for what the tenants chose; none: they have said it.
    pub control: Option<String>,
    /// Messages; each is one record sent.
    pub messages: u64,
    /// And one delivered.
    pub delivered: bool,
    /// Tenants.
    pub tenants: u32,
    /// How many of them opted in.
    pub opted_in: u32,
    /// Bytes of content.
    pub bytes: u32,
    /// Records a second; none: as fast as the broker takes them.
    pub rate: Option<u32>,
    /// The seed.
    pub seed: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Loaded {
    /// Records.
    pub records: u64,
    /// How long it took.
    pub seconds: f64,
}

/// Writes it.
///
/// # Errors
/// The broker does not take it.
pub fn load(load: &Load) -> anyhow::Result<Loaded> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &load.brokers);
    config.set("client.id", "lethe-bench-load");
    config.set("compression.type", "lz4");
    config.set("linger.ms", "20");
    config.set("batch.size", (512 << 10).to_string());
    config.set("queue.buffering.max.kbytes", (64 << 10).to_string());
    config.set("enable.idempotence", "true");
    let producer: BaseProducer = config.create().context("a producer")?;
    let started = Instant::now();
    let tenants = Tenant::crowd(load.tenants, load.opted_in, RETENTION_S);
    if let Some(topic) = &load.control {
        for control in tenants.iter().flat_map(Tenant::controls) {
            let record =
                BaseRecord::to(topic).partition(0).key(&control.key).payload(&control.value);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(ACKNOWLEDGED_WITHIN).context("writing the tenants' choices")?;
    }

    let mut messages = Messages::new(load, &tenants);
    let mut records: u64 = 0;
    while let Some(record) = messages.next_record() {
        write(&producer, &load.topic, &record)?;
        records += 1;
        if let Some(rate) = load.rate {
            let due = Duration::from_secs_f64(records as f64 / f64::from(rate.max(1)));
            producer.poll(due.saturating_sub(started.elapsed()));
        }
    }
    producer.flush(ACKNOWLEDGED_WITHIN).context("writing the last records")?;
    Ok(Loaded { records, seconds: started.elapsed().as_secs_f64() })
}

/// The load, record by record.
pub(super) struct Messages<'l> {
    load: &'l Load,
    random: Random,
    content: Content,
    /// Tenants with their conversations, and the sum of weights up to each.
    tenants: Vec<(&'l Tenant, Conversations, u64)>,
    sent: u64,
    /// Sent and not yet delivered.
    waiting: VecDeque<(MessageId, String)>,
    /// The next record is a delivery.
    delivers: bool,
}

impl<'l> Messages<'l> {
    pub(super) fn new(load: &'l Load, tenants: &'l [Tenant]) -> Self {
        let mut random = Random::new(load.seed);
        let mut weights = 0;
        let with_weights = |tenant: &'l Tenant| {
            weights += u64::from(tenant.weight);
            (tenant, Conversations::new(&mut random, tenant, CONVERSATIONS), weights)
        };
        let tenants = tenants.iter().map(with_weights).collect();
        let content = Content::new(String::new());
        let waiting = VecDeque::with_capacity(DELIVERED_AFTER + 1);
        Self { load, random, content, tenants, sent: 0, waiting, delivers: false }
    }

    pub(super) fn next_record(&mut self) -> Option<Record> {
        let over = self.sent == self.load.messages;
        if over || (self.delivers && self.waiting.len() > DELIVERED_AFTER) {
            self.delivers = false;
            return self.waiting.pop_front().map(|(id, recipient)| id.delivered(recipient));
        }
        self.delivers = self.load.delivered;
        self.send()
    }

    fn send(&mut self) -> Option<Record> {
        let weights = self.tenants.last().map_or(0, |(_, _, weights)| *weights);
        let roll = self.random.below(weights);
        let at = self.tenants.partition_point(|(_, _, upto)| *upto <= roll);
        let (tenant, conversations, _) = self.tenants.get(at)?;
        // One to one: the second member is the recipient.
        let group = conversations.pick(&mut self.random)?;
        let talk = Conversation { id: group.id.clone(), members: 2 };
        let id = MessageId {
            tenant: tenant.name.clone(),
            conversation: talk.id.clone(),
            message: (10_000_000 + self.random.below(999_990_000_000)).to_string(),
            sent_at_ms: now_ms(),
        };
        let sent = talk.sent(&mut self.random, 0);
        let content = self.content.of_size(&mut self.random, self.load.bytes);
        let record = id.event(Event::Sent(sent), &content);
        if self.load.delivered {
            self.waiting.push_back((id, talk.member(1)));
        }
        self.sent += 1;
        Some(record)
    }
}

fn write(producer: &BaseProducer, topic: &str, record: &Record) -> anyhow::Result<()> {
    let mut message = BaseRecord::to(topic).key(&record.key).payload(&record.value);
    while let Err((error, refused)) = producer.send(message) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
            return Err(error).context("writing a record");
        }
        producer.poll(ROOM_WAIT);
        message = refused;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_sent_and_then_delivered() {
        let load = Load {
            brokers: String::new(),
            topic: String::new(),
            control: None,
            messages: 3_000,
            delivered: true,
            tenants: 10,
            opted_in: 7,
            bytes: 64,
            rate: None,
            seed: 1,
        };
        let tenants = Tenant::crowd(load.tenants, load.opted_in, RETENTION_S);
        let mut messages = Messages::new(&load, &tenants);
        let mut records = 0;
        while messages.next_record().is_some() {
            records += 1;
        }
        assert_eq!((records, messages.sent, messages.waiting.len()), (6_000, 3_000, 0));
    }
}
