//! A worker's consumer: a static member of the group, cooperative.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use lethe_engine::Class;
use rdkafka::consumer::{BaseConsumer, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::super::seam::{
    Bounds, Committed, Fault, Input, InputRecord, Membership, PartitionId, Polled,
};
use super::super::settings::{CALL_TIMEOUT, CLASSES, PipelineSettings, Topics};
use super::context::{Change, GroupContext, Reach};
use super::{config, errors, native};

/// A worker's consumer.
pub struct RdInput {
    consumer: BaseConsumer<GroupContext>,
    topics: Topics,
    /// The class of each topic by librdkafka's handle of it, so that names are not compared for
    /// each record. Emptied with every change of the assignment.
    classes: RefCell<Vec<(usize, Class)>>,
}

impl RdInput {
    pub(super) fn join(
        settings: &PipelineSettings,
        instance: &str,
        worker: usize,
        reach: Arc<Reach>,
    ) -> Result<Self, Fault> {
        let member = format!("{instance}-{worker}");
        let consumer: BaseConsumer<GroupContext> = config::input(settings, &member)
            .create_with_context(GroupContext::new(reach))
            .map_err(|error| errors::creation(&error))?;
        let names: Vec<&str> = CLASSES.iter().map(|&class| settings.topics.input(class)).collect();
        consumer.subscribe(&names).map_err(|error| errors::call("joining the group", &error))?;
        Ok(Self { consumer, topics: settings.topics.clone(), classes: RefCell::default() })
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<GroupContext> {
        &self.consumer
    }

    /// The generation that this member has its place in; none: it has no place now.
    pub(super) fn generation(&self) -> Option<i32> {
        let (generation, named) = native::membership(&self.consumer)?;
        let valid = named && generation >= 0 && !self.consumer.assignment_lost();
        valid.then_some(generation)
    }

    fn change(&self) -> Option<Polled<RdRecord<'_>>> {
        let change = self.consumer.context().next()?;
        self.classes.borrow_mut().clear();
        Some(match change {
            Change::Assigned(list) => Polled::Assigned(self.ids(&list)),
            Change::Revoked { partitions, lost } => {
                Polled::Revoked { partitions: self.ids(&partitions), lost }
            }
        })
    }

    fn ids(&self, list: &[(String, i32)]) -> Vec<PartitionId> {
        list.iter()
            .filter_map(|(topic, partition)| {
                let class = self.topics.class(topic)?;
                Some(PartitionId { class, partition: *partition })
            })
            .collect()
    }

    fn record<'a>(&self, message: BorrowedMessage<'a>) -> Option<RdRecord<'a>> {
        let handle = message.topic_ptr() as usize;
        let mut classes = self.classes.borrow_mut();
        let known = classes.iter().find(|(known, _)| *known == handle).map(|&(_, class)| class);
        let class = match known {
            Some(class) => class,
            None => {
                let class = self.topics.class(message.topic())?;
                classes.push((handle, class));
                class
            }
        };
        let id = PartitionId { class, partition: message.partition() };
        Some(RdRecord { id, message })
    }

    /// What an error that a poll brought means to the worker.
    fn poll_error(&self, error: &KafkaError) -> Result<Polled<RdRecord<'_>>, Fault> {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                Ok(Polled::OutOfRange)
            }
            Some(RDKafkaErrorCode::FencedInstanceId) => {
                Err(errors::fenced_instance("reading the input"))
            }
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::SaslAuthenticationFailed,
            ) => Err(errors::call("reading the input", error)),
            _ => match self.consumer.client().fatal_error() {
                Some((RDKafkaErrorCode::FencedInstanceId, _)) => {
                    Err(errors::fenced_instance("reading the input"))
                }
                Some((code, reason)) => {
                    Err(Fault::Stop(format!("reading the input: {code}: {reason}")))
                }
                None => {
                    tracing::debug!(%error, "the consumer goes on by itself");
                    Ok(Polled::Nothing)
                }
            },
        }
    }

    fn list(&self, ids: &[PartitionId], offset: Offset) -> Result<TopicPartitionList, Fault> {
        let mut list = TopicPartitionList::with_capacity(ids.len());
        for id in ids {
            list.add_partition_offset(self.topics.input(id.class), id.partition, offset)
                .map_err(|error| errors::call("naming partitions", &error))?;
        }
        Ok(list)
    }
}

impl Drop for RdInput {
    fn drop(&mut self) {
        self.consumer.context().close();
    }
}

impl Input for RdInput {
    type Record<'a> = RdRecord<'a>;

    fn poll(&mut self, wait: Duration) -> Result<Polled<RdRecord<'_>>, Fault> {
        let this = &*self;
        if let Some(change) = this.change() {
            return Ok(change);
        }
        match this.consumer.poll(wait) {
            Some(Ok(message)) => {
                this.consumer.context().reach.seen();
                Ok(this.record(message).map_or(Polled::Nothing, Polled::Record))
            }
            Some(Err(error)) => this.poll_error(&error),
            None => Ok(this.change().unwrap_or(Polled::Nothing)),
        }
    }

    fn assign(&mut self, ids: &[PartitionId]) -> Result<(), Fault> {
        if !matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative) {
            return Err(Fault::Stop(
                "the group does not rebalance cooperatively: stop its other consumers, or give \
                 lethe a --group of its own"
                    .to_owned(),
            ));
        }
        // A fixed position, so that librdkafka does not look for a committed one by itself.
        let list = self.list(ids, Offset::Beginning)?;
        self.consumer
            .incremental_assign(&list)
            .and_then(|()| self.consumer.pause(&list))
            .map_err(|error| errors::call("taking over partitions", &error))
    }

    fn unassign(&mut self, ids: &[PartitionId]) -> Result<(), Fault> {
        let list = self.list(ids, Offset::Invalid)?;
        self.consumer
            .incremental_unassign(&list)
            .map_err(|error| errors::call("letting partitions go", &error))
    }

    fn committed(&mut self, id: PartitionId) -> Result<Option<Committed>, Fault> {
        let what = "asking for the committed position";
        let list = self.list(&[id], Offset::Invalid)?;
        let list = self
            .consumer
            .committed_offsets(list, CALL_TIMEOUT)
            .map_err(|error| errors::call(what, &error))?;
        let elements = list.elements();
        let Some(element) = elements.first() else {
            return Ok(None);
        };
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
    }

    fn bounds(&mut self, id: PartitionId) -> Result<Bounds, Fault> {
        self.consumer
            .fetch_watermarks(self.topics.input(id.class), id.partition, CALL_TIMEOUT)
            .map(|(start, end)| Bounds { start, end })
            .map_err(|error| errors::call("asking for the bounds of the input", &error))
    }

    fn start(&mut self, id: PartitionId, offset: i64) -> Result<(), Fault> {
        let list = self.list(&[id], Offset::Invalid)?;
        let topic = self.topics.input(id.class);
        self.consumer
            .seek(topic, id.partition, Offset::Offset(offset), CALL_TIMEOUT)
            .and_then(|()| self.consumer.resume(&list))
            .map_err(|error| errors::call("setting the position on the input", &error))
    }

    fn pause(&mut self, id: PartitionId) -> Result<(), Fault> {
        let list = self.list(&[id], Offset::Invalid)?;
        self.consumer.pause(&list).map_err(|error| errors::call("pausing the input", &error))
    }

    fn membership(&mut self) -> Membership {
        match self.generation() {
            Some(_) => Membership::Valid,
            None => Membership::Invalid,
        }
    }
}

/// A record, borrowed from librdkafka.
pub struct RdRecord<'a> {
    id: PartitionId,
    message: BorrowedMessage<'a>,
}

impl InputRecord for RdRecord<'_> {
    fn id(&self) -> PartitionId {
        self.id
    }

    fn offset(&self) -> i64 {
        self.message.offset()
    }

    fn key(&self) -> Option<&[u8]> {
        self.message.key()
    }

    fn value(&self) -> Option<&[u8]> {
        self.message.payload()
    }

    fn headers(&self, visit: &mut dyn FnMut(&[u8], Option<&[u8]>)) {
        native::headers(&self.message, visit);
    }
}
