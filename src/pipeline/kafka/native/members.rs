//! The members of a consumer group and what each has: rdkafka has no interface for the admin call.

use std::ffi::CStr;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaRespErr;

const NONE: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;

/// A group as its coordinator sees it.
#[derive(Debug, Default)]
pub(in super::super) struct Described {
    /// No rebalance is under way.
    pub(in super::super) stable: bool,
    /// The members.
    pub(in super::super) members: Vec<Member>,
}

/// A member: its name, if it is a static one, and its partitions (topic and number).
type Member = (Option<String>, Vec<(String, i32)>);

/// Asks for the members of a group, and waits for the answer for at most `timeout`. An error is the
/// code that librdkafka or the broker gave.
pub(in super::super) fn members<C>(
    consumer: &BaseConsumer<C>,
    group: &CStr,
    timeout: Duration,
) -> Result<Described, RDKafkaRespErr>
where
    C: ClientContext + ConsumerContext,
{
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client's pointer is valid for as long as the consumer is borrowed. Queue and options
    // are made here and destroyed exactly once, after the request that they belong to was handed over
    // (which copies what it needs) and its event was taken. The name outlives the call, which does not
    // write to it. What the event holds is read and copied before the event is destroyed.
    unsafe {
        let client = consumer.client().native_ptr();
        let queue = rd::rd_kafka_queue_new(client);
        let options = rd::rd_kafka_AdminOptions_new(
            client,
            rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
        );
        rd::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        let mut groups = [group.as_ptr()];
        rd::rd_kafka_DescribeConsumerGroups(
            client,
            groups.as_mut_ptr(),
            groups.len(),
            options,
            queue,
        );
        let event = rd::rd_kafka_queue_poll(queue, timeout_ms);
        let answer = described(event);
        if !event.is_null() {
            rd::rd_kafka_event_destroy(event);
        }
        rd::rd_kafka_AdminOptions_destroy(options);
        rd::rd_kafka_queue_destroy(queue);
        answer
    }
}

/// Reads the one group that an event describes.
///
/// # Safety
/// The event is null or a live one.
unsafe fn described(event: *mut rd::rd_kafka_event_t) -> Result<Described, RDKafkaRespErr> {
    if event.is_null() {
        return Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR__TIMED_OUT);
    }
    // SAFETY: the event lives; the result, its array and the descriptions belong to it. Each pointer
    // is checked before it is followed, and the counts say how long the arrays are.
    unsafe {
        let failed = rd::rd_kafka_event_error(event);
        if failed != NONE {
            return Err(failed);
        }
        let result = rd::rd_kafka_event_DescribeConsumerGroups_result(event);
        if result.is_null() {
            return Ok(Described::default());
        }
        let mut count = 0;
        let groups = rd::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if groups.is_null() || count == 0 {
            return Ok(Described::default());
        }
        let group = *groups;
        let failed = rd::rd_kafka_ConsumerGroupDescription_error(group);
        if !failed.is_null() && rd::rd_kafka_error_code(failed) != NONE {
            return Err(rd::rd_kafka_error_code(failed));
        }
        let state = rd::rd_kafka_ConsumerGroupDescription_state(group);
        let stable =
            state == rd::rd_kafka_consumer_group_state_t::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE;
        let count = rd::rd_kafka_ConsumerGroupDescription_member_count(group);
        let members = (0..count)
            .filter_map(|at| member(rd::rd_kafka_ConsumerGroupDescription_member(group, at)))
            .collect();
        Ok(Described { stable, members })
    }
}

/// Reads a member; none: it tells nothing of its assignment.
///
/// # Safety
/// The description is null or a live one.
unsafe fn member(member: *const rd::rd_kafka_MemberDescription_t) -> Option<Member> {
    // SAFETY: the description lives, and with it what belongs to it: its name is NUL-terminated or
    // null, and the list of its partitions holds as many elements as it says.
    unsafe {
        if member.is_null() {
            return None;
        }
        let name = rd::rd_kafka_MemberDescription_group_instance_id(member);
        let assignment = rd::rd_kafka_MemberDescription_assignment(member);
        if assignment.is_null() {
            return None;
        }
        let list = rd::rd_kafka_MemberAssignment_partitions(assignment);
        let mut partitions = Vec::new();
        if !list.is_null() && !(*list).elems.is_null() {
            let count = usize::try_from((*list).cnt).unwrap_or_default();
            for element in std::slice::from_raw_parts((*list).elems, count) {
                let topic = CStr::from_ptr(element.topic).to_string_lossy().into_owned();
                partitions.push((topic, element.partition));
            }
        }
        let name = (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned());
        Some((name, partitions))
    }
}
