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

mod fetched;

pub(super) use fetched::{Fetched, FetchedRecord};

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

/// A topic's id, where the broker tells it (2.8 and later). It waits for the answer for at most
/// `timeout`; an error is the code that librdkafka or the broker gave.
pub(super) fn topic_id<C>(
    consumer: &BaseConsumer<C>,
    topic: &CStr,
    timeout: Duration,
) -> Result<Option<String>, RDKafkaRespErr>
where
    C: ClientContext + ConsumerContext,
{
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client's pointer is valid for as long as the consumer is borrowed. Queue, options
    // and collection are made here and destroyed exactly once, after the request that they belong
    // to was handed over (which copies what it needs) and its event was taken. The name outlives
    // the call. What the event holds is read and copied before the event is destroyed.
    unsafe {
        let client = consumer.client().native_ptr();
        let queue = rd::rd_kafka_queue_new(client);
        let options = rd::rd_kafka_AdminOptions_new(
            client,
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        rd::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        let mut names = [topic.as_ptr()];
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

/// Reads the id of the one topic that an event describes.
///
/// # Safety
/// The event is null or a live one.
unsafe fn described(event: *mut rd::rd_kafka_event_t) -> Result<Option<String>, RDKafkaRespErr> {
    const NONE: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    if event.is_null() {
        return Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    // SAFETY: the event lives; the result, its array and the descriptions belong to it. Each pointer
    // is checked before it is followed, and the count says how long the array is.
    unsafe {
        let failed = rd::rd_kafka_event_error(event);
        if failed != NONE {
            return Err(failed);
        }
        let result = rd::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return Ok(None);
        }
        let mut count = 0;
        let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count == 0 {
            return Ok(None);
        }
        let failed = rd::rd_kafka_TopicDescription_error(*topics);
        if !failed.is_null() && rd::rd_kafka_error_code(failed) != NONE {
            return Err(rd::rd_kafka_error_code(failed));
        }
        let id = rd::rd_kafka_TopicDescription_topic_id(*topics);
        if id.is_null() {
            return Ok(None);
        }
        // Without ids a broker says zero.
        if rd::rd_kafka_Uuid_most_significant_bits(id) == 0
            && rd::rd_kafka_Uuid_least_significant_bits(id) == 0
        {
            return Ok(None);
        }
        let text = rd::rd_kafka_Uuid_base64str(id);
        Ok((!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned()))
    }
}

/// A topic's name for [`topic_id`]. Kafka's names hold no NUL.
pub(super) fn name(topic: &str) -> CString {
    CString::new(topic).unwrap_or_default()
}
