//! The group's positions, also as one sees and sets them who is not in the group.

use std::sync::Arc;

use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer, ConsumerContext, ConsumerGroupMetadata,
};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::super::seam::{Committed, Fault, PartitionId, Position, Reading};
use super::super::settings::{COMMITTED_TIMEOUT, PipelineSettings, Topics};
use super::context::{Quiet, Reach};
use super::{config, errors};

/// The positions of a group that nobody is in.
pub struct Positions {
    consumer: BaseConsumer<Quiet>,
    topics: Topics,
    group: String,
}

impl Positions {
    pub(super) fn create(settings: &PipelineSettings, reach: Arc<Reach>) -> Result<Self, Fault> {
        let consumer = config::log(settings, Reading::ToTheEnd)
            .create_with_context(Quiet { reach })
            .map_err(|error| errors::creation(&error))?;
        Ok(Self { consumer, topics: settings.topics.clone(), group: settings.group.clone() })
    }

    /// The stable committed positions, in order.
    pub fn committed(&self, ids: &[PartitionId]) -> Result<Vec<Option<Committed>>, Fault> {
        committed(&self.consumer, &self.topics, &self.group, ids)
    }

    /// Sets positions, which a broker refuses while anybody is in the group.
    pub fn set(&self, positions: &[Position]) -> Result<(), Fault> {
        let what = &format!("setting the positions of group {}", self.group);
        let list = list(&self.topics, positions).map_err(|error| errors::call(what, &error))?;
        let set = self.consumer.commit(&list, CommitMode::Sync);
        set.map_err(|error| errors::call(what, &error))
    }

    /// Who commits positions with a transaction without being in the group.
    pub(super) fn nobody(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.group_metadata()
    }
}

/// Asks for the stable committed positions, in order.
pub(super) fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topics: &Topics,
    group: &str,
    ids: &[PartitionId],
) -> Result<Vec<Option<Committed>>, Fault> {
    let what = &format!("asking for the positions of group {group}");
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = TopicPartitionList::with_capacity(ids.len());
    for id in ids {
        list.add_partition(topics.input(id.class), id.partition);
    }
    let list = consumer
        .committed_offsets(list, COMMITTED_TIMEOUT)
        .map_err(|error| errors::call(what, &error))?;
    let of = |id: &PartitionId| {
        let element = list.find_partition(topics.input(id.class), id.partition);
        let Some(element) = element else { return Ok(None) };
        element.error().map_err(|error| errors::call(what, &error))?;
        Ok(match element.offset() {
            Offset::Offset(offset) => {
                Some(Committed { offset, metadata: element.metadata().to_owned() })
            }
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => None,
        })
    };
    ids.iter().map(of).collect()
}

/// Positions as librdkafka wants them.
pub(super) fn list(topics: &Topics, positions: &[Position]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for position in positions {
        let topic = topics.input(position.id.class);
        let mut element = list.add_partition(topic, position.id.partition);
        element.set_offset(Offset::Offset(position.offset))?;
        element.set_metadata(&position.metadata);
    }
    Ok(list)
}
