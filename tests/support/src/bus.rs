//! The topics of one test, and clients on them: events and control records in, outputs back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::broker::Broker;
use crate::record::Record;
use crate::wait::{PATIENCE, eventually};

/// A call to a broker on a busy machine.
const CALL: Duration = Duration::from_secs(30);

/// How often it is looked whether the broker has everything.
const FLUSH_LOOK: Duration = Duration::from_millis(1);

/// What lethe reads, by the names of the contract.
pub const INPUTS: [&str; 3] = ["im.messages", "im.profiles", "im.configs"];

/// What its consumers read.
pub const OUTPUTS: [&str; 5] =
    ["store.messages", "store.profiles", "store.configs", "transit.messages", "transit.profiles"];

/// The control topic.
pub const CONTROL: &str = "lethe.control";

/// What could not be processed.
pub const DEAD_LETTERS: &str = "lethe.dlq";

/// What lethe reports.
pub const AUDIT: &str = "lethe.audit";

/// What the contract wants of the control topic.
const CONTROL_CONFIG: [(&str, &str); 4] = [
    ("message.timestamp.type", "LogAppendTime"),
    ("cleanup.policy", "compact"),
    ("min.compaction.lag.ms", "2592000000"),
    ("delete.retention.ms", "2592000000"),
];

/// The topics of one test on a broker. A topic is called by its name in the contract; on the broker the
/// test's name stands before it.
pub struct Bus<'b> {
    broker: &'b Broker,
    prefix: String,
    partitions: i32,
    producer: BaseProducer<Reports>,
    /// Sees up to the last stable offset.
    committed: BaseConsumer,
    /// Sees up to the high watermark.
    uncommitted: BaseConsumer,
}

/// A record to be produced.
#[derive(Clone, Copy, Debug, Default)]
pub struct Put<'a> {
    /// The partition's number.
    pub partition: i32,
    /// The key.
    pub key: &'a str,
    /// The value; none: null.
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: &'a [(&'a str, &'a str)],
}

impl<'b> Bus<'b> {
    /// The topics of the test `name`: the inputs and the control topic are created with it, the others are lethe's.
    ///
    /// # Panics
    /// Where they cannot be created.
    #[must_use]
    pub fn new(broker: &'b Broker, name: &str, partitions: i32) -> Self {
        let bus = Self::without_topics(broker, name, partitions);
        for input in INPUTS {
            bus.create(input, partitions, &[]);
        }
        bus.create_control();
        bus
    }

    /// Creates the control topic as the contract wants it.
    pub fn create_control(&self) {
        self.create(CONTROL, 1, &CONTROL_CONFIG);
    }

    /// The same without creating a topic.
    ///
    /// # Panics
    /// Where no client can be made.
    #[must_use]
    pub fn without_topics(broker: &'b Broker, name: &str, partitions: i32) -> Self {
        let consumer = |isolation: &str| -> BaseConsumer {
            let mut config = broker.client();
            config.set("group.id", format!("{name}.observer"));
            config.set("isolation.level", isolation).create().expect("a consumer")
        };
        let mut producer = broker.client();
        producer.set("linger.ms", "0").set("enable.idempotence", "true");
        producer.set("message.max.bytes", "20000000");
        Self {
            broker,
            prefix: name.to_owned(),
            partitions,
            producer: producer.create_with_context(Reports).expect("a producer"),
            committed: consumer("read_committed"),
            uncommitted: consumer("read_uncommitted"),
        }
    }

    /// The broker.
    #[must_use]
    pub fn broker(&self) -> &'b Broker {
        self.broker
    }

    /// How many partitions the inputs have.
    #[must_use]
    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// What stands before every name of this test: also its group's.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A topic's name on the broker.
    #[must_use]
    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// Creates a topic.
    ///
    /// # Panics
    /// Where the broker refuses.
    pub fn create(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let topic = self.topic(name);
        let mut new =
            NewTopic::new(&topic, partitions, TopicReplication::Fixed(self.broker.replicas()));
        for (key, value) in config {
            new = new.set(key, value);
        }
        eventually(&format!("{topic} to be created"), || {
            let outcome = block_on(self.admin().create_topics([&new], &admin_options()));
            let outcome = outcome.unwrap_or_else(|error| panic!("{topic}: {error}"));
            match outcome.first() {
                // Also of a topic whose deletion has not quite ended.
                Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
                other => panic!("{topic}: {other:?}"),
            }
            match outcome.first() {
                Some(Ok(_)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        eventually(&format!("{topic} to be there"), || self.partition_count(name).map(|_| ()));
    }

    /// Deletes a topic and waits until it is gone.
    ///
    /// # Panics
    /// Where the broker refuses.
    pub fn delete(&self, name: &str) {
        let topic = self.topic(name);
        let outcome = block_on(self.admin().delete_topics(&[&topic], &admin_options()));
        outcome.unwrap_or_else(|error| panic!("{topic}: {error}"));
        eventually(&format!("the end of {topic}"), || match self.partition_count(name) {
            Ok(count) => Err(format!("it has {count} partitions")),
            Err(_) => Ok(()),
        });
    }

    /// How many partitions a topic has.
    ///
    /// # Errors
    /// Where it is not there.
    pub fn partition_count(&self, name: &str) -> Result<usize, String> {
        let topic = self.topic(name);
        let metadata = self.uncommitted.fetch_metadata(Some(&topic), CALL);
        let metadata = metadata.map_err(|error| error.to_string())?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        found
            .filter(|found| found.error().is_none() && !found.partitions().is_empty())
            .map(|found| found.partitions().len())
            .ok_or_else(|| format!("{topic} is not there"))
    }

    /// A topic's settings that differ from the broker's defaults, and those that do not.
    ///
    /// # Panics
    /// Where the broker refuses.
    #[must_use]
    pub fn settings(&self, name: &str) -> BTreeMap<String, String> {
        let topic = self.topic(name);
        let resource = ResourceSpecifier::Topic(&topic);
        let admin = self.admin();
        let found = block_on(admin.describe_configs([&resource], &admin_options()));
        let mut found = found.unwrap_or_else(|error| panic!("{topic}: {error}"));
        let entries = found.remove(0).unwrap_or_else(|error| panic!("{topic}: {error}")).entries;
        entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
    }

    /// Replaces a topic's settings.
    ///
    /// # Panics
    /// Where the broker refuses.
    pub fn set(&self, name: &str, settings: &[(&str, &str)]) {
        let topic = self.topic(name);
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(&topic));
        for (key, value) in settings {
            change = change.set(key, value);
        }
        let outcome = block_on(self.admin().alter_configs([&change], &admin_options()));
        outcome.unwrap_or_else(|error| panic!("{topic}: {error}"));
    }

    /// Produces a record and gives its offset once the broker has it.
    ///
    /// # Panics
    /// Where the broker refuses it.
    pub fn put(&self, name: &str, record: Put<'_>) -> i64 {
        let offset = Slot::default();
        self.enqueue(name, record, &offset);
        self.flush();
        let got = offset.lock().expect("a report").take();
        match got {
            Some(Ok(offset)) => offset,
            other => panic!("{}: {other:?}", self.topic(name)),
        }
    }

    /// Produces records of one topic and returns once the broker has them all.
    ///
    /// # Panics
    /// Where the broker refuses one.
    pub fn put_all<'a>(&self, name: &str, records: impl IntoIterator<Item = Put<'a>>) {
        let slots: Vec<Slot> = records
            .into_iter()
            .map(|record| {
                let slot = Slot::default();
                self.enqueue(name, record, &slot);
                slot
            })
            .collect();
        self.flush();
        for slot in slots {
            let got = slot.lock().expect("a report").take();
            assert!(matches!(got, Some(Ok(_))), "{}: {got:?}", self.topic(name));
        }
    }

    /// Writes a control record and gives its offset.
    pub fn control(&self, key: &str, value: &serde_json::Value) -> i64 {
        self.control_bytes(key, Some(value.to_string().as_bytes()))
    }

    /// Withdraws a control record and gives the withdrawal's offset.
    pub fn withdraw(&self, key: &str) -> i64 {
        self.control_bytes(key, None)
    }

    /// Writes whatever it is given to the control topic.
    pub fn control_bytes(&self, key: &str, value: Option<&[u8]>) -> i64 {
        self.put(CONTROL, Put { key, value, ..Put::default() })
    }

    /// Every committed record of a topic, in order within each partition: all that was written before the call.
    ///
    /// # Panics
    /// Where an open transaction does not end, or the broker does not answer.
    #[must_use]
    pub fn read(&self, name: &str) -> Vec<Record> {
        let ends = self.high_watermarks(name);
        self.wait_until_stable(name, &ends);
        let mut config = self.broker.client();
        config.set("group.id", format!("{}.reader", self.prefix));
        config.set("isolation.level", "read_committed");
        config.set("enable.partition.eof", "true").set("enable.auto.commit", "false");
        config.set("fetch.wait.max.ms", "20").set("fetch.queue.backoff.ms", "1");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut assignment = TopicPartitionList::new();
        for partition in 0..ends.len() {
            let partition = i32::try_from(partition).expect("a partition's number");
            let added =
                assignment.add_partition_offset(&self.topic(name), partition, Offset::Beginning);
            added.expect("an offset");
        }
        consumer.assign(&assignment).expect("an assignment");
        drain(&consumer, ends.len())
    }

    /// The records of a topic whose keys begin with `tenant/`.
    #[must_use]
    pub fn read_of(&self, name: &str, tenant: &str) -> Vec<Record> {
        let start = format!("{tenant}/");
        let mut records = self.read(name);
        records.retain(|record| record.key.starts_with(&start));
        records
    }

    /// Waits until a consumer group has committed all that the inputs hold now.
    ///
    /// # Panics
    /// Where it does not.
    pub fn wait_until_processed(&self, group: &str) {
        for input in INPUTS {
            if self.partition_count(input).is_ok() {
                let ends = self.high_watermarks(input);
                self.wait_until_committed(group, input, &ends);
            }
        }
    }

    /// The offset after the last record of each partition.
    ///
    /// # Panics
    /// Where the topic is not there.
    #[must_use]
    pub fn high_watermarks(&self, name: &str) -> Vec<i64> {
        self.ends(name, &self.uncommitted)
    }

    /// The offset of the first record that each partition still holds.
    ///
    /// # Panics
    /// Where the topic is not there.
    #[must_use]
    pub fn low_watermarks(&self, name: &str) -> Vec<i64> {
        self.watermarks(name, &self.uncommitted).into_iter().map(|(low, _)| low).collect()
    }

    /// Removes the records of a partition before an offset.
    ///
    /// # Panics
    /// Where the broker refuses.
    pub fn remove_before(&self, name: &str, partition: i32, offset: i64) {
        let topic = self.topic(name);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, partition, Offset::Offset(offset)).expect("an offset");
        // A new client does not know the topic's leader at once.
        eventually(&format!("the removal of records of {topic}"), || {
            let outcome = block_on(self.admin().delete_records(&list, &admin_options()));
            outcome.map(drop).map_err(|error| error.to_string())
        });
    }

    /// Gives a topic so many partitions.
    ///
    /// # Panics
    /// Where the broker refuses.
    pub fn widen(&self, name: &str, partitions: usize) {
        let topic = self.topic(name);
        let wider = NewPartitions::new(&topic, partitions);
        let outcome = block_on(self.admin().create_partitions([&wider], &admin_options()));
        outcome.unwrap_or_else(|error| panic!("{topic}: {error}"));
    }

    /// What a group has committed of a topic, by partition; none: nothing.
    ///
    /// # Panics
    /// Where the broker does not answer.
    #[must_use]
    pub fn committed(&self, group: &str, name: &str, partitions: usize) -> Vec<Option<i64>> {
        let mut config = self.broker.client();
        config.set("group.id", group).set("isolation.level", "read_committed");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut wanted = TopicPartitionList::new();
        for partition in 0..partitions {
            wanted.add_partition(&self.topic(name), i32::try_from(partition).expect("a number"));
        }
        let found = eventually("the group's offsets", || {
            consumer.committed_offsets(wanted.clone(), CALL).map_err(|error| error.to_string())
        });
        let offset =
            |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element
                .offset()
            {
                Offset::Offset(offset) => Some(offset),
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => None,
            };
        found.elements().iter().map(offset).collect()
    }

    /// Sets a group's offsets on an input back to the beginning. The group has no members.
    ///
    /// # Panics
    /// Where the broker refuses.
    pub fn rewind(&self, group: &str, name: &str) {
        let mut config = self.broker.client();
        let consumer: BaseConsumer = config.set("group.id", group).create().expect("a consumer");
        let mut offsets = TopicPartitionList::new();
        for partition in 0..self.partitions {
            let added =
                offsets.add_partition_offset(&self.topic(name), partition, Offset::Offset(0));
            added.expect("an offset");
        }
        eventually(&format!("{group} to be rewound"), || {
            consumer
                .commit(&offsets, rdkafka::consumer::CommitMode::Sync)
                .map_err(|error| error.to_string())
        });
    }

    fn wait_until_committed(&self, group: &str, input: &str, ends: &[i64]) {
        eventually(&format!("{group} to commit all of {input} {ends:?}"), || {
            let committed = self.committed(group, input, ends.len());
            let done = |(end, committed): (&i64, &Option<i64>)| committed.unwrap_or(0) >= *end;
            if ends.iter().zip(&committed).all(done) {
                Ok(())
            } else {
                Err(format!("{committed:?}"))
            }
        });
    }

    fn wait_until_stable(&self, name: &str, ends: &[i64]) {
        eventually(&format!("the transactions on {name} to end"), || {
            let stable = self.ends(name, &self.committed);
            let open = stable.iter().zip(ends).any(|(stable, end)| stable < end);
            if open { Err(format!("stable up to {stable:?} of {ends:?}")) } else { Ok(()) }
        });
    }

    fn ends(&self, name: &str, client: &BaseConsumer) -> Vec<i64> {
        self.watermarks(name, client).into_iter().map(|(_, high)| high).collect()
    }

    fn watermarks(&self, name: &str, client: &BaseConsumer) -> Vec<(i64, i64)> {
        let topic = self.topic(name);
        let count = eventually(&topic, || self.partition_count(name));
        let end = |partition| {
            eventually(&format!("the end of {topic}/{partition}"), || {
                client.fetch_watermarks(&topic, partition, CALL).map_err(|error| {
                    // Of a partition that the topic has gained the client hears when it asks.
                    drop(client.fetch_metadata(Some(&topic), CALL));
                    error.to_string()
                })
            })
        };
        (0..i32::try_from(count).expect("a count of partitions")).map(end).collect()
    }

    fn enqueue(&self, name: &str, record: Put<'_>, slot: &Slot) {
        let topic = self.topic(name);
        let mut headers = OwnedHeaders::new();
        for (key, value) in record.headers {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        let mut message = BaseRecord::with_opaque_to(&topic, Box::new(Arc::clone(slot)))
            .partition(record.partition)
            .key(record.key)
            .headers(headers);
        message.payload = record.value;
        while let Err((error, back)) = self.producer.send(message) {
            let full = KafkaError::MessageProduction(rdkafka::types::RDKafkaErrorCode::QueueFull);
            assert!(error == full, "{topic}: {error}");
            self.producer.poll(Duration::from_millis(10));
            message = back;
        }
    }

    fn flush(&self) {
        // `BaseProducer::flush` looks only every 100 ms. Other cases may give it something again at any moment.
        let start = Instant::now();
        while self.producer.in_flight_count() > 0 {
            assert!(start.elapsed() < PATIENCE, "the broker does not take what it is given");
            self.producer.poll(FLUSH_LOOK);
        }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.broker.client().create().expect("an admin client")
    }
}

/// Reads until each partition has been read to its end once.
fn drain(consumer: &BaseConsumer, partitions: usize) -> Vec<Record> {
    let mut ended = vec![false; partitions];
    let mut records = Vec::new();
    while !ended.iter().all(|ended| *ended) {
        match consumer.poll(PATIENCE) {
            Some(Ok(message)) => records.push(Record::from(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                if let Some(ended) =
                    usize::try_from(partition).ok().and_then(|at| ended.get_mut(at))
                {
                    *ended = true;
                }
            }
            Some(Err(error)) => panic!("reading: {error}"),
            None => panic!("reading: nothing came for {} s", PATIENCE.as_secs()),
        }
    }
    records
}

/// Where a delivery report leaves the record's offset.
type Slot = Arc<std::sync::Mutex<Option<Result<i64, String>>>>;

struct Reports;

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Slot>;

    fn delivery(&self, result: &DeliveryResult<'_>, slot: Self::DeliveryOpaque) {
        let outcome = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.to_string()),
        };
        *slot.lock().expect("a report") = Some(outcome);
    }
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(CALL)).request_timeout(Some(CALL))
}

/// Waits for an admin call. Its answer arrives on a thread of the client's own.
fn block_on<T>(future: impl Future<Output = KafkaResult<T>>) -> KafkaResult<T> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
        thread::park();
    }
}
