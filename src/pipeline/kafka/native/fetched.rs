//! Records taken from librdkafka by the batch.
//!
//! The queues of the assigned partitions are forwarded to one of our own, and read from it in batches:
//! one call, one lock and one look at the clock for many records. The consumer's own queue must not be
//! read like this, because rebalances come through it; it is polled as ever.
//!
//! Invariant: a record that was taken before a partition was sent back is dropped with
//! [`Fetched::forget`], as librdkafka drops those that still lie in its queues.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::ptr::{self, NonNull};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::bindings as rd;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::super::super::seam::VisitHeader;
use super::super::super::settings::CALL_TIMEOUT;

/// So many records are taken at once: few enough that a batch's end is not held up.
const RECORDS_MAX: usize = 1_000;

/// How long a partition may take until it is begun.
const BEGIN_WITHIN: Duration = Duration::from_secs(5);
/// How often it is tried.
const BEGIN_LOOK: Duration = Duration::from_millis(1);

/// The queue of a consumer's partitions, and what was taken from it.
pub(in super::super) struct Fetched {
    queue: NonNull<rd::rd_kafka_queue_t>,
    taken: VecDeque<FetchedRecord>,
}

// SAFETY: librdkafka's queues may be used from any thread, and this one has one owner.
unsafe impl Send for Fetched {}

impl Fetched {
    /// Makes the queue. It must not outlive the consumer.
    pub(in super::super) fn new<C>(consumer: &BaseConsumer<C>) -> Option<Self>
    where
        C: ClientContext + ConsumerContext,
    {
        // SAFETY: the client is borrowed and so alive; the queue is owned by the result.
        let queue = unsafe { rd::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Some(Self { queue: NonNull::new(queue)?, taken: VecDeque::with_capacity(RECORDS_MAX) })
    }

    /// Reads an assigned partition through this queue from now on.
    pub(in super::super) fn forward<C>(
        &self,
        consumer: &BaseConsumer<C>,
        topic: &str,
        partition: i32,
    ) -> bool
    where
        C: ClientContext + ConsumerContext,
    {
        let Ok(topic) = CString::new(topic) else { return false };
        // SAFETY: client, name and queue are alive; the reference to the partition's queue is owned
        // here and given back exactly once.
        unsafe {
            let client = consumer.client().native_ptr();
            let source = rd::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
            if source.is_null() {
                return false;
            }
            rd::rd_kafka_queue_forward(source, self.queue.as_ptr());
            rd::rd_kafka_queue_destroy(source);
        }
        true
    }

    /// Begins to read a partition through this queue. What was fetched before the queue was its is passed over by
    /// the seek. (A partition that stands still meanwhile would be looked at again a second later.)
    pub(in super::super) fn begin<C>(
        &self,
        consumer: &BaseConsumer<C>,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> KafkaResult<()>
    where
        C: ClientContext + ConsumerContext,
    {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        consumer.incremental_assign(&list)?;
        if !self.forward(consumer, topic, partition) {
            return Err(KafkaError::Canceled);
        }
        // One that was let go a moment ago is not begun before that is through; until then it cannot be sent anywhere.
        let started = Instant::now();
        loop {
            match consumer.seek(topic, partition, Offset::Offset(offset), CALL_TIMEOUT) {
                Err(KafkaError::Seek(_)) if started.elapsed() < BEGIN_WITHIN => {
                    thread::sleep(BEGIN_LOOK);
                }
                sent => return sent,
            }
        }
    }

    /// Takes what there is, after waiting for the first record.
    pub(in super::super) fn fill(&mut self, wait: Duration) {
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // A batch is waited for until it is full, a single record only until it is there.
        if self.take(wait_ms, 1) > 0 {
            self.take(0, RECORDS_MAX - 1);
        }
    }

    fn take(&mut self, wait_ms: i32, records_max: usize) -> usize {
        let mut records = [ptr::null_mut(); RECORDS_MAX];
        // SAFETY: the queue is alive and the array has room for `records_max` pointers, of which the
        // first `count` are set; each is a message that is owned here from now on.
        let count = unsafe {
            rd::rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                wait_ms,
                records.as_mut_ptr(),
                records_max.min(RECORDS_MAX),
            )
        };
        let count = usize::try_from(count).unwrap_or_default();
        self.taken.extend(
            records
                .iter()
                .take(count)
                .filter_map(|&record| NonNull::new(record))
                .map(FetchedRecord),
        );
        count
    }

    /// The next record that was taken.
    pub(in super::super) fn next(&mut self) -> Option<FetchedRecord> {
        self.taken.pop_front()
    }

    /// Drops what was taken of a partition: it is sent back, stands still, or is let go.
    pub(in super::super) fn forget(&mut self, topic: &str, partition: i32) {
        self.taken.retain(|record| record.partition() != partition || record.topic() != topic);
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        self.taken.clear();
        // SAFETY: the queue is owned and destroyed exactly once.
        unsafe { rd::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// A record, or an error of a partition.
pub(in super::super) struct FetchedRecord(NonNull<rd::rd_kafka_message_t>);

// SAFETY: a message has one owner and may be read and destroyed on any thread.
unsafe impl Send for FetchedRecord {}

impl FetchedRecord {
    fn message(&self) -> &rd::rd_kafka_message_t {
        // SAFETY: the message is owned by this value and not changed while it is borrowed.
        unsafe { self.0.as_ref() }
    }

    /// The error that it stands for, if it is not a record.
    pub(in super::super) fn error(&self) -> Option<RDKafkaErrorCode> {
        let error = self.message().err;
        (error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
    }

    /// librdkafka's handle of its topic: the same as long as the assignment is.
    pub(in super::super) fn topic_handle(&self) -> usize {
        self.message().rkt as usize
    }

    pub(in super::super) fn topic(&self) -> &str {
        let topic = self.message().rkt;
        if topic.is_null() {
            return "";
        }
        // SAFETY: a message holds a reference to its topic, whose name is a NUL-terminated string.
        let name = unsafe { CStr::from_ptr(rd::rd_kafka_topic_name(topic)) };
        name.to_str().unwrap_or_default()
    }

    pub(in super::super) fn partition(&self) -> i32 {
        self.message().partition
    }

    pub(in super::super) fn offset(&self) -> i64 {
        self.message().offset
    }

    /// When the broker, or else its producer, wrote it (Unix ms); none: nobody says.
    pub(in super::super) fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is borrowed, and the kind may be written.
        let at_ms = unsafe { rd::rd_kafka_message_timestamp(self.message(), &raw mut kind) };
        let said = kind != rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        said.then_some(at_ms).filter(|&at_ms| at_ms >= 0)
    }

    pub(in super::super) fn key(&self) -> Option<&[u8]> {
        let message = self.message();
        // SAFETY: the key belongs to the message, which is borrowed for as long.
        unsafe { bytes(message.key, message.key_len) }
    }

    pub(in super::super) fn value(&self) -> Option<&[u8]> {
        let message = self.message();
        // SAFETY: the payload belongs to the message, which is borrowed for as long.
        unsafe { bytes(message.payload, message.len) }
    }

    pub(in super::super) fn headers(&self, visit: VisitHeader<'_>) {
        super::headers(self.message(), visit);
    }
}

impl Drop for FetchedRecord {
    fn drop(&mut self) {
        // SAFETY: the message is owned and destroyed exactly once.
        unsafe { rd::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// # Safety
/// `start` is null, or points to `len` bytes that live for as long as the result is used.
unsafe fn bytes<'a>(start: *const std::ffi::c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
}
