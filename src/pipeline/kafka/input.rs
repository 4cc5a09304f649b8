//! A worker's consumer: a static member of the group, cooperative.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use lethe_engine::Class;
use rdkafka::consumer::{BaseConsumer, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::super::seam::{
    Bounds, Committed, Fault, Input, InputRecord, Member, Membership, PartitionId, Polled,
    VisitHeader,
};
use super::super::settings::{CALL_TIMEOUT, CLASSES, PipelineSettings, Topics};
use super::context::{Change, GroupContext, Reach};
use super::figures::Busy;
use super::native::{Closing, Fetched, FetchedRecord};
use super::{config, errors, native, positions};

/// A worker's consumer.
pub struct RdInput {
    /// The record at hand.
    at_hand: Option<FetchedRecord>,
    /// Records of the assigned partitions. Before the consumer, which it must not outlive.
    fetched: Fetched,
    consumer: Closing<GroupContext>,
    /// This member's name in the group.
    member: String,
    topics: Topics,
    group: String,
    /// The class of each topic by librdkafka's handle of it, so that names are not compared for
    /// each record. Emptied with every change of the assignment.
    classes: RefCell<Vec<(usize, Class)>>,
    /// How many partitions are assigned: without any, only the group has anything to say.
    assigned: usize,
    /// The generation that the worker was told of last.
    told: Cell<Option<i32>>,
    busy: Busy,
}

impl RdInput {
    pub(super) fn create(
        settings: &PipelineSettings,
        instance: &str,
        worker: usize,
        reach: Arc<Reach>,
    ) -> Result<Self, Fault> {
        let member = Member::name(instance, worker);
        let consumer: BaseConsumer<GroupContext> = config::input(settings, &member)
            .create_with_context(GroupContext::new(reach, worker))
            .map_err(|error| errors::creation(&error))?;
        let fetched = Fetched::new(&consumer)
            .ok_or_else(|| Fault::Stop("a queue for the input cannot be made".to_owned()))?;
        let mut input = Self {
            at_hand: None,
            fetched,
            consumer: Closing::new(consumer),
            member,
            topics: settings.topics.clone(),
            group: settings.group.clone(),
            classes: RefCell::default(),
            assigned: 0,
            told: Cell::default(),
            busy: Busy::new(worker),
        };
        input.join()?;
        Ok(input)
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<GroupContext> {
        &self.consumer
    }

    /// The generation that this member has its place in; none: it has no place now.
    fn generation(&self) -> Option<i32> {
        let (generation, named) = native::membership(&self.consumer)?;
        let valid = named && generation >= 0 && !self.consumer.assignment_lost();
        valid.then_some(generation)
    }

    /// Whether it has its place in the generation that the worker was told of.
    pub(super) fn is_as_told(&self) -> bool {
        self.told.get().is_some() && self.generation() == self.told.get()
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

    fn class(&self, record: &FetchedRecord) -> Option<Class> {
        let handle = record.topic_handle();
        let mut classes = self.classes.borrow_mut();
        let known = classes.iter().find(|(known, _)| *known == handle).map(|&(_, class)| class);
        if known.is_none() {
            let class = self.topics.class(record.topic())?;
            classes.push((handle, class));
            return Some(class);
        }
        known
    }

    /// Serves the group: what comes through the consumer's own queue. A record that does was fetched
    /// before its partition was started, and comes again.
    fn serve(&self, wait: Duration) -> Result<Option<Polled<RdRecord<'_>>>, Fault> {
        match self.consumer.poll(wait) {
            Some(Err(error)) => self.poll_error(None, &error).map(Some),
            Some(Ok(_)) | None => Ok(self.change()),
        }
    }

    /// Takes nothing of these partitions from what was fetched.
    fn forget(&mut self, ids: &[PartitionId]) {
        for id in ids {
            self.fetched.forget(self.topics.input(id.class), id.partition);
        }
    }

    /// What an error that a poll brought means to the worker.
    fn poll_error(
        &self,
        topic: Option<&str>,
        error: &KafkaError,
    ) -> Result<Polled<RdRecord<'_>>, Fault> {
        let what = match topic {
            Some(topic) => format!("reading topic {topic} as group {}", self.group),
            None => format!("reading the input as group {}", self.group),
        };
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                Ok(Polled::OutOfRange)
            }
            Some(RDKafkaErrorCode::FencedInstanceId) => Err(self.fenced()),
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed,
            ) => Err(errors::call(&what, error)),
            _ => match self.consumer.client().fatal_error() {
                Some((RDKafkaErrorCode::FencedInstanceId, _)) => Err(self.fenced()),
                Some((code, reason)) => Err(Fault::Stop(format!("{what}: {code}: {reason}"))),
                None => {
                    tracing::debug!(%error, "the consumer goes on by itself");
                    Ok(Polled::Nothing)
                }
            },
        }
    }

    fn fenced(&self) -> Fault {
        errors::fenced_instance(&format!("reading the input as {}", self.member))
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
        self.consumer.context().close(&self.consumer);
    }
}

impl Input for RdInput {
    type Record<'a> = RdRecord<'a>;

    fn poll(&mut self, wait: Duration) -> Result<Polled<RdRecord<'_>>, Fault> {
        self.at_hand = self.fetched.next();
        if self.at_hand.is_none() {
            // Rebalances are answered before anything more is taken.
            let group = if self.assigned == 0 { wait } else { Duration::ZERO };
            if let Some(polled) = self.busy.rest(group, |wait| self.serve(wait))? {
                return Ok(match polled {
                    Polled::Record(_) | Polled::Nothing => Polled::Nothing,
                    Polled::Assigned(ids) => Polled::Assigned(ids),
                    Polled::Revoked { partitions, lost } => Polled::Revoked { partitions, lost },
                    Polled::OutOfRange => Polled::OutOfRange,
                });
            }
            let (busy, fetched) = (&self.busy, &mut self.fetched);
            busy.rest(wait - group, |wait| fetched.fill(wait));
            self.at_hand = self.fetched.next();
        }
        let this = &*self;
        let Some(message) = &this.at_hand else { return Ok(Polled::Nothing) };
        if let Some(code) = message.error() {
            return this.poll_error(Some(message.topic()), &KafkaError::MessageConsumption(code));
        }
        this.consumer.context().reach.seen();
        Ok(match this.class(message) {
            Some(class) => {
                let id = PartitionId { class, partition: message.partition() };
                Polled::Record(RdRecord::new(id, message))
            }
            None => Polled::Nothing,
        })
    }

    fn assign(&mut self, ids: &[PartitionId]) -> Result<(), Fault> {
        match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {}
            RebalanceProtocol::Eager => {
                return Err(Fault::Stop(
                    "the group does not rebalance cooperatively: stop its other consumers, or give \
                     lethe a --group of its own"
                        .to_owned(),
                ));
            }
            RebalanceProtocol::None => {
                return Err(Fault::Retry("the place in the group is lost already".to_owned()));
            }
        }
        // A fixed position, so that librdkafka does not look for a committed one by itself.
        let list = self.list(ids, Offset::Beginning)?;
        self.consumer
            .incremental_assign(&list)
            .and_then(|()| self.consumer.pause(&list))
            .map_err(|error| errors::call("taking over partitions", &error))?;
        for id in ids {
            let topic = self.topics.input(id.class);
            if !self.fetched.forward(&self.consumer, topic, id.partition) {
                return Err(Fault::Retry(format!("taking over {topic}/{}", id.partition)));
            }
        }
        self.assigned += ids.len();
        Ok(())
    }

    fn unassign(&mut self, ids: &[PartitionId]) -> Result<(), Fault> {
        let list = self.list(ids, Offset::Invalid)?;
        self.forget(ids);
        self.assigned = self.assigned.saturating_sub(ids.len());
        self.consumer
            .incremental_unassign(&list)
            .map_err(|error| errors::call("letting partitions go", &error))
    }

    fn committed(&mut self, ids: &[PartitionId]) -> Result<Vec<Option<Committed>>, Fault> {
        positions::committed(&self.consumer, &self.topics, &self.group, ids)
    }

    fn bounds(&mut self, id: PartitionId) -> Result<Bounds, Fault> {
        let topic = self.topics.input(id.class);
        self.consumer
            .fetch_watermarks(topic, id.partition, CALL_TIMEOUT)
            .map(|(start, end)| Bounds { start, end })
            .map_err(|error| {
                errors::call(&format!("asking for the bounds of topic {topic}"), &error)
            })
    }

    fn start(&mut self, id: PartitionId, offset: i64) -> Result<(), Fault> {
        let list = self.list(&[id], Offset::Invalid)?;
        self.forget(&[id]);
        let topic = self.topics.input(id.class);
        // In this order: it is the seek that wakes librdkafka, which looks at what stood still a second later else.
        self.consumer
            .resume(&list)
            .and_then(|()| {
                self.consumer.seek(topic, id.partition, Offset::Offset(offset), CALL_TIMEOUT)
            })
            .map_err(|error| errors::call("setting the position on the input", &error))
    }

    fn pause(&mut self, id: PartitionId) -> Result<(), Fault> {
        let list = self.list(&[id], Offset::Invalid)?;
        self.forget(&[id]);
        self.consumer.pause(&list).map_err(|error| errors::call("pausing the input", &error))
    }

    fn membership(&mut self) -> Membership {
        self.told.set(self.generation());
        match self.told.get() {
            Some(generation) => Membership::Valid { generation },
            None => Membership::Invalid,
        }
    }

    /// librdkafka keeps a static member's place when its consumer is closed, but gives it up when it
    /// unsubscribes.
    fn leave(&mut self) {
        self.consumer.unsubscribe();
    }

    /// Leaving takes the member's id. Closing the consumer then waits until the broker has heard of it.
    fn has_left(&mut self) -> bool {
        native::membership(&self.consumer).is_none_or(|(_, named)| !named)
    }

    fn join(&mut self) -> Result<(), Fault> {
        let names: Vec<&str> = CLASSES.iter().map(|&class| self.topics.input(class)).collect();
        self.consumer.subscribe(&names).map_err(|error| errors::call("joining the group", &error))
    }
}

/// A record, borrowed from librdkafka.
pub struct RdRecord<'a> {
    id: PartitionId,
    message: &'a FetchedRecord,
    /// It was found to have no headers: librdkafka would look again.
    bare: Cell<bool>,
}

impl<'a> RdRecord<'a> {
    pub(super) const fn new(id: PartitionId, message: &'a FetchedRecord) -> Self {
        Self { id, message, bare: Cell::new(false) }
    }
}

impl InputRecord for RdRecord<'_> {
    fn id(&self) -> PartitionId {
        self.id
    }

    fn offset(&self) -> i64 {
        self.message.offset()
    }

    fn timestamp_ms(&self) -> Option<i64> {
        self.message.timestamp_ms()
    }

    fn key(&self) -> Option<&[u8]> {
        self.message.key()
    }

    fn value(&self) -> Option<&[u8]> {
        self.message.value()
    }

    fn headers(&self, visit: VisitHeader<'_>) {
        if self.bare.get() {
            return;
        }
        let mut bare = true;
        self.message.headers(&mut |name, value| {
            bare = false;
            visit(name, value);
        });
        self.bare.set(bare);
    }
}
