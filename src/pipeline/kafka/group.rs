//! Who is in the group: asked of the brokers.
//!
//! By the older of librdkafka's two ways. The newer one (`DescribeConsumerGroups`) ends the process
//! by an assertion where the coordinator goes away while it is asked.

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::groups::{GroupList, GroupMemberInfo};

use super::super::seam::{Fault, Member, PartitionId, Roster};
use super::super::settings::{CALL_TIMEOUT, PipelineSettings};
use super::context::Quiet;

/// The state of a group in which no rebalance is under way.
const STABLE: &str = "Stable";
/// What a broker puts behind the name of a static member to make its id: a hyphen and a UUID.
const ID_SUFFIX_BYTES: usize = 37;

/// The group, where the broker tells it and no rebalance is under way.
pub(super) fn roster(
    settings: &PipelineSettings,
    consumer: &BaseConsumer<Quiet>,
) -> Result<Option<Roster>, Fault> {
    let Some(list) = described(&settings.group, consumer)? else { return Ok(None) };
    let group = list.groups().iter().find(|group| group.name() == settings.group);
    let Some(group) = group.filter(|group| group.state() == STABLE) else { return Ok(None) };
    let id = |(topic, partition): (&str, i32)| {
        let class = settings.topics.class(topic)?;
        Some(PartitionId { class, partition })
    };
    let mut roster = Roster::default();
    for member in group.members() {
        // What is not understood is no lethe: nothing is concluded from half a roster.
        let Some(assigned) = assigned(member.assignment().unwrap_or_default()) else {
            return Ok(None);
        };
        let partitions: Vec<PartitionId> = assigned.into_iter().filter_map(id).collect();
        match name(member).and_then(Member::of_name) {
            Some((instance, worker)) => {
                let instance = instance.to_owned();
                roster.members.push(Member { instance, worker, partitions });
            }
            None => roster.elsewhere.extend(partitions),
        }
    }
    Ok(Some(roster))
}

/// Who is in a group, whatever state it is in, where the broker tells it.
pub(super) fn members(
    group: &str,
    consumer: &BaseConsumer<Quiet>,
) -> Result<Option<Vec<String>>, Fault> {
    let list = described(group, consumer)?;
    let named = |list: GroupList| {
        let group = list.groups().iter().find(|one| one.name() == group);
        let members = group.map(|group| group.members()).unwrap_or_default();
        members.iter().map(|member| name(member).unwrap_or(member.id()).to_owned()).collect()
    };
    Ok(list.map(named))
}

/// What the broker tells of a group; none: an operator does not allow the question.
fn described(name: &str, consumer: &BaseConsumer<Quiet>) -> Result<Option<GroupList>, Fault> {
    match consumer.fetch_group_list(Some(name), CALL_TIMEOUT) {
        Ok(list) => Ok(Some(list)),
        Err(error)
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) =>
        {
            tracing::debug!(group = name, %error, "the broker does not tell the group");
            Ok(None)
        }
        Err(error) => Err(Fault::Retry(format!("asking who is in the group: {error}"))),
    }
}

/// The name of a static member; of another one, its client's.
fn name(member: &GroupMemberInfo) -> Option<&str> {
    let id = member.id();
    id.len().checked_sub(ID_SUFFIX_BYTES).and_then(|end| id.get(..end))
}

/// Reads an assignment as the consumer protocol writes it: a version, then topics with their
/// partitions. None: it is not one.
fn assigned(bytes: &[u8]) -> Option<Vec<(&str, i32)>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut left = bytes;
    take::<2>(&mut left)?;
    let mut assigned = Vec::new();
    for _ in 0..i32::from_be_bytes(take(&mut left)?) {
        let length = usize::try_from(i16::from_be_bytes(take(&mut left)?)).ok()?;
        let (topic, rest) = left.split_at_checked(length)?;
        let topic = std::str::from_utf8(topic).ok()?;
        left = rest;
        for _ in 0..i32::from_be_bytes(take(&mut left)?) {
            assigned.push((topic, i32::from_be_bytes(take(&mut left)?)));
        }
    }
    Some(assigned)
}

fn take<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = left.split_first_chunk::<N>()?;
    *left = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_and_half_of_one_is_none() {
        let bytes = [
            &[0, 1, 0, 0, 0, 2][..],
            &[0, 1, b'a', 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4],
            &[0, 1, b'b', 0, 0, 0, 0],
            &[0, 0, 0, 0],
        ]
        .concat();
        assert_eq!(assigned(&bytes), Some(vec![("a", 3), ("a", 4)]));
        assert_eq!(assigned(&[]), Some(Vec::new()));
        for end in 1..bytes.len() - 4 {
            assert_eq!(bytes.get(..end).and_then(assigned), None, "{end}");
        }
    }
}
