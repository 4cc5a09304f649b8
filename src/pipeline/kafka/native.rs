//! The few calls for which rdkafka has no safe interface. The only module with unsafe code.
//!
//! Every function borrows the owner of the pointers that it reads, so none of them can be freed
//! meanwhile.
#![expect(unsafe_code, reason = "the audited module: see each block's safety comment")]

use std::ffi::CStr;
use std::ptr;

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
