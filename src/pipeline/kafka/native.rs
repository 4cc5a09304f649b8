//! The few calls for which rdkafka has no safe interface. The only module with unsafe code.
//!
//! Every function borrows the owner of the pointers that it reads, so none of them can be freed
//! meanwhile.
#![expect(unsafe_code, reason = "the audited module: see each block's safety comment")]

use std::ffi::{CStr, CString};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaRespErr;

use super::super::seam::VisitHeader;

mod closing;
mod fetched;
mod sending;

pub(super) use closing::Closing;
pub(super) use fetched::{Fetched, FetchedRecord};
pub(super) use sending::{Sender, hurry};

/// The consumer's generation and whether it has a member id; none without a group.
pub(super) fn membership<C>(consumer: &BaseConsumer<C>) -> Option<(i32, bool)>
where
    C: ClientContext + ConsumerContext,
{
    // SAFETY: the client's pointer is valid for as long as the consumer is borrowed. The metadata
    // is owned by this function, read before it is destroyed, and destroyed exactly once; its
    // member id is a NUL-terminated string inside of it, or null.
    unsafe {
        let metadata = rd::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return None;
        }
        let generation = rd::rd_kafka_consumer_group_metadata_generation_id(metadata);
        let member = rd::rd_kafka_consumer_group_metadata_member_id(metadata);
        let named = !member.is_null() && !CStr::from_ptr(member).is_empty();
        rd::rd_kafka_consumer_group_metadata_destroy(metadata);
        Some((generation, named))
    }
}

/// Visits a record's headers as bytes. rdkafka's own accessor panics on a name that is not UTF-8,
/// which is for a producer to choose.
fn headers(message: &rd::rd_kafka_message_t, visit: VisitHeader<'_>) {
    // SAFETY: the message is borrowed, and with it the headers that it owns; names are
    // NUL-terminated, values have the size that librdkafka states; both live as long as the message.
    unsafe {
        let mut list = ptr::null_mut();
        let found = rd::rd_kafka_message_headers(message, &raw mut list);
        if found != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR || list.is_null() {
            return;
        }
        for index in 0.. {
            let mut name = ptr::null();
            let mut value = ptr::null();
            let mut size = 0;
            let got = rd::rd_kafka_header_get_all(
                list,
                index,
                &raw mut name,
                &raw mut value,
                &raw mut size,
            );
            if got != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
                return;
            }
            let name = CStr::from_ptr(name).to_bytes();
            let value =
                (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size));
            visit(name, value);
        }
    }
}

/// What a broker tells of a topic.
#[derive(Clone, Debug)]
pub(super) struct Description {
    /// Its name.
    pub(super) name: String,
    /// Its id (2.8 and later).
    pub(super) id: Option<String>,
    /// What this client's user may do with it, where the broker tells.
    pub(super) operations: Option<Vec<rd::rd_kafka_AclOperation_t>>,
    /// Why the broker tells nothing.
    pub(super) refused: Option<RDKafkaRespErr>,
}

/// Describes topics. It waits for the answer for at most `timeout`; an error is the code that
/// librdkafka or the broker gave for all of them.
pub(super) fn describe<C>(
    consumer: &BaseConsumer<C>,
    topics: &[CString],
    timeout: Duration,
) -> Result<Vec<Description>, RDKafkaRespErr>
where
    C: ClientContext + ConsumerContext,
{
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let mut names: Vec<_> = topics.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the client's pointer is valid for as long as the consumer is borrowed. Queue, options
    // and collection are made here and destroyed exactly once, after the request that they belong
    // to was handed over (which copies what it needs) and its event was taken. The names outlive
    // the call. What the event holds is read and copied before the event is destroyed.
    unsafe {
        let client = consumer.client().native_ptr();
        let queue = rd::rd_kafka_queue_new(client);
        let options = rd::rd_kafka_AdminOptions_new(
            client,
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        rd::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        let refused = rd::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
        if !refused.is_null() {
            rd::rd_kafka_error_destroy(refused);
        }
        let topics = rd::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        rd::rd_kafka_DescribeTopics(client, topics, options, queue);
        let event = rd::rd_kafka_queue_poll(queue, timeout_ms);
        let answer = described(event);
        if !event.is_null() {
            rd::rd_kafka_event_destroy(event);
        }
        rd::rd_kafka_TopicCollection_destroy(topics);
        rd::rd_kafka_AdminOptions_destroy(options);
        rd::rd_kafka_queue_destroy(queue);
        answer
    }
}

/// Reads what an event describes.
///
/// # Safety
/// The event is null or a live one.
unsafe fn described(event: *mut rd::rd_kafka_event_t) -> Result<Vec<Description>, RDKafkaRespErr> {
    if event.is_null() {
        return Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    // SAFETY: the event lives; the result, its array and the descriptions belong to it. Each pointer
    // is checked before it is followed, and the count says how long the array is.
    unsafe {
        let failed = rd::rd_kafka_event_error(event);
        if failed != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(failed);
        }
        let result = rd::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Ok(Vec::new());
        }
        let mut count = 0;
        let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() {
            return Ok(Vec::new());
        }
        let topics = std::slice::from_raw_parts(topics, count);
        Ok(topics
            .iter()
            .filter(|topic| !topic.is_null())
            .map(|&topic| description(topic))
            .collect())
    }
}

/// Copies a topic's description.
///
/// # Safety
/// The description is not null and lives.
unsafe fn description(topic: *const rd::rd_kafka_TopicDescription_t) -> Description {
    // SAFETY: name, error, id and operations belong to the description; each pointer is checked
    // before it is followed, and the count says how many operations there are.
    unsafe {
        let name = rd::rd_kafka_TopicDescription_name(topic);
        let name = if name.is_null() { c"" } else { CStr::from_ptr(name) };
        let error = rd::rd_kafka_TopicDescription_error(topic);
        let code = (!error.is_null()).then(|| rd::rd_kafka_error_code(error));
        let mut count = 0;
        let operations = rd::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
        let told = !operations.is_null();
        Description {
            name: name.to_string_lossy().into_owned(),
            id: topic_id(rd::rd_kafka_TopicDescription_topic_id(topic)),
            operations: told.then(|| std::slice::from_raw_parts(operations, count).to_vec()),
            refused: code.filter(|&code| code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR),
        }
    }
}

/// Copies an id. Without ids a broker says zero.
///
/// # Safety
/// The id is null or lives.
unsafe fn topic_id(id: *const rd::rd_kafka_Uuid_t) -> Option<String> {
    // SAFETY: the pointer is checked; the text is NUL-terminated and belongs to the id.
    unsafe {
        let zero = id.is_null()
            || rd::rd_kafka_Uuid_most_significant_bits(id) == 0
                && rd::rd_kafka_Uuid_least_significant_bits(id) == 0;
        if zero {
            return None;
        }
        let text = rd::rd_kafka_Uuid_base64str(id);
        (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}

/// A name for a call. Kafka's names hold no NUL.
pub(super) fn name(topic: &str) -> CString {
    CString::new(topic).unwrap_or_default()
}
