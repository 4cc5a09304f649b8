//! Who is in the group: asked of its coordinator.

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::RDKafkaErrorCode;

use super::super::seam::{Fault, Member, PartitionId, Roster};
use super::super::settings::{CALL_TIMEOUT, PipelineSettings};
use super::context::Quiet;
use super::native;

/// The group, where the broker tells it and no rebalance is under way.
pub(super) fn roster(
    settings: &PipelineSettings,
    consumer: &BaseConsumer<Quiet>,
) -> Result<Option<Roster>, Fault> {
    let asked = native::members(consumer, &native::name(&settings.group), CALL_TIMEOUT);
    let described = match asked.map_err(RDKafkaErrorCode::from) {
        Ok(described) => described,
        // An operator does not allow the question, or the broker does not know it.
        Err(
            code @ (RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::UnsupportedFeature
            | RDKafkaErrorCode::UnsupportedVersion),
        ) => {
            tracing::debug!(group = settings.group, %code, "the broker does not tell the group");
            return Ok(None);
        }
        Err(code) => {
            return Err(Fault::Retry(format!("asking who is in the group: {code}")));
        }
    };
    if !described.stable {
        return Ok(None);
    }
    let id = |(topic, partition): (String, i32)| {
        let class = settings.topics.class(&topic)?;
        Some(PartitionId { class, partition })
    };
    let mut roster = Roster::default();
    for (name, partitions) in described.members {
        let partitions: Vec<PartitionId> = partitions.into_iter().filter_map(id).collect();
        match name.as_deref().and_then(Member::of_name) {
            Some((instance, worker)) => {
                let instance = instance.to_owned();
                roster.members.push(Member { instance, worker, partitions });
            }
            None => roster.elsewhere.extend(partitions),
        }
    }
    Ok(Some(roster))
}
