//! Records given to librdkafka.
//!
//! rdkafka's own call looks the topic up by its name for each record, and copies the name of each header
//! once more than librdkafka does.

use std::ffi::{CString, c_int, c_void};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaRespErr;

use super::super::super::seam::{Headers, OutputRecord, Role};
use super::super::context::OutputContext;

/// A producer, and its handles of the topics that it has written to.
pub(in super::super) struct Sender {
    /// Before the producer, which they must not outlive.
    topics: Vec<Topic>,
    producer: BaseProducer<OutputContext>,
}

// SAFETY: librdkafka's topics may be used from any thread, and these have one owner.
unsafe impl Send for Sender {}

/// librdkafka's handle of a topic.
struct Topic {
    role: Role,
    handle: NonNull<rd::rd_kafka_topic_t>,
}

impl Sender {
    pub(in super::super) const fn new(producer: BaseProducer<OutputContext>) -> Self {
        Self { topics: Vec::new(), producer }
    }

    pub(in super::super) const fn producer(&self) -> &BaseProducer<OutputContext> {
        &self.producer
    }

    /// Hands a record over, to the topic of its role, which has this name. librdkafka copies what it keeps.
    pub(in super::super) fn send(
        &mut self,
        name: &str,
        record: &OutputRecord<'_>,
        opaque: usize,
    ) -> Result<(), RDKafkaErrorCode> {
        let topic = self.topic(record.role, name).ok_or(RDKafkaErrorCode::InvalidArgument)?;
        let (key, key_len) = start(record.key);
        let (value, value_len) = start(record.value);
        let headers = headers(record.headers);
        // SAFETY: producer and topic are alive, and the topic is this producer's. Each argument has the
        // type that librdkafka states for the tag before it, and the list is closed. Key and value are
        // copied. The headers are librdkafka's if it takes the record, and destroyed here if not.
        let error = unsafe {
            let error = rd::rd_kafka_producev(
                self.producer.client().native_ptr(),
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_RKT,
                topic.as_ptr(),
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_PARTITION,
                record.partition,
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_MSGFLAGS,
                rd::RD_KAFKA_MSG_F_COPY as c_int,
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_VALUE,
                value,
                value_len,
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_KEY,
                key,
                key_len,
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_OPAQUE,
                ptr::without_provenance_mut::<c_void>(opaque),
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_HEADERS,
                headers,
                rd::rd_kafka_vtype_t::RD_KAFKA_VTYPE_END,
            );
            if error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR && !headers.is_null() {
                rd::rd_kafka_headers_destroy(headers);
            }
            error
        };
        let taken = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
        if taken { Ok(()) } else { Err(error.into()) }
    }

    /// The handle of a topic. There are few: they are looked through.
    fn topic(&mut self, role: Role, name: &str) -> Option<NonNull<rd::rd_kafka_topic_t>> {
        if let Some(known) = self.topics.iter().find(|known| known.role == role) {
            return Some(known.handle);
        }
        let name = CString::new(name).ok()?;
        // SAFETY: the producer is alive; the name is copied; the handle is owned by the result.
        let handle = unsafe {
            let client = self.producer.client().native_ptr();
            rd::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut())
        };
        let handle = NonNull::new(handle)?;
        self.topics.push(Topic { role, handle });
        Some(handle)
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: the handle is owned and destroyed exactly once.
        unsafe { rd::rd_kafka_topic_destroy(self.handle.as_ptr()) };
    }
}

/// Lets nothing wait for company for as long: what is queued is sent. Reports are the caller's to take.
pub(in super::super) fn hurry<C: ProducerContext>(producer: &BaseProducer<C>, wait: Duration) {
    let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the producer is borrowed and so alive.
    unsafe { rd::rd_kafka_flush(producer.client().native_ptr(), wait_ms) };
}

/// Where bytes begin, and how many there are.
fn start(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr().cast(), bytes.len()))
}

/// Headers of librdkafka's own, which the caller has to hand over or to destroy; null without any.
fn headers(headers: &Headers) -> *mut rd::rd_kafka_headers_t {
    if headers.is_empty() {
        return ptr::null_mut();
    }
    // SAFETY: names and values are borrowed for as long as they are copied, and are as long as is said.
    unsafe {
        let list = rd::rd_kafka_headers_new(headers.len());
        for (name, value) in headers.iter() {
            let (value, value_len) = start(value);
            rd::rd_kafka_header_add(
                list,
                name.as_ptr().cast(),
                name.len().cast_signed(),
                value,
                value_len.cast_signed(),
            );
        }
        list
    }
}
