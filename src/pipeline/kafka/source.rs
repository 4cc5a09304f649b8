//! A reader of topics that are read again: one partition at a time, outside of the group.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::super::seam::{Bounds, Fault, PartitionId, Source, SourceId, SourceTopic, Sourced};
use super::super::settings::{CALL_TIMEOUT, PipelineSettings};
use super::context::{Quiet, Reach};
use super::input::RdRecord;
use super::native::{self, Fetched, FetchedRecord};
use super::{config, errors};

/// Reads `read_committed`.
pub struct RdSource {
    /// The record at hand.
    at_hand: Option<FetchedRecord>,
    /// What was fetched. Before the reader, which it must not outlive.
    fetched: Fetched,
    reader: BaseConsumer<Quiet>,
    whole: Arc<BaseConsumer<Quiet>>,
    /// The partition that is read, and as whose its records come.
    open: Option<(SourceId, PartitionId)>,
    /// The broker describes topics.
    describes: bool,
}

impl RdSource {
    pub(super) fn create(
        settings: &PipelineSettings,
        whole: Arc<BaseConsumer<Quiet>>,
        reach: Arc<Reach>,
    ) -> Result<Self, Fault> {
        let reader: BaseConsumer<Quiet> = config::source(settings)
            .create_with_context(Quiet { reach })
            .map_err(|error| errors::creation(&error))?;
        let fetched = Fetched::new(&reader)
            .ok_or_else(|| Fault::Stop("a queue for a replay cannot be made".to_owned()))?;
        let describes = !settings.embedded_broker;
        Ok(Self { at_hand: None, fetched, reader, whole, open: None, describes })
    }

    fn close(&mut self) {
        self.at_hand = None;
        let Some((id, _)) = self.open.take() else { return };
        let mut list = TopicPartitionList::new();
        list.add_partition(&id.topic, id.partition);
        if let Err(error) = self.reader.incremental_unassign(&list) {
            tracing::debug!(%error, "closing a source");
        }
        self.fetched.forget(&id.topic, id.partition);
    }

    /// Where a time, or a place in the protocol's way of a time, is.
    fn place(&self, id: &SourceId, place: Offset) -> Result<Option<i64>, Fault> {
        let what = format!("asking for a position in {}/{}", id.topic, id.partition);
        let failed = |error| errors::call(&what, &error);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&id.topic, id.partition, place).map_err(failed)?;
        let answer = self.reader.offsets_for_times(list, CALL_TIMEOUT).map_err(failed)?;
        let found = answer.find_partition(&id.topic, id.partition);
        let found = found.ok_or_else(|| Fault::Retry(format!("{what}: no answer")))?;
        found.error().map_err(failed)?;
        Ok(match found.offset() {
            Offset::Offset(offset) => Some(offset),
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => None,
        })
    }

    fn bound(&self, id: &SourceId, place: Offset) -> Result<i64, Fault> {
        let found = self.place(id, place)?;
        found.ok_or_else(|| {
            Fault::Retry(format!("{}/{} does not tell its bounds", id.topic, id.partition))
        })
    }

    fn id_of(&self, name: &str) -> Result<Option<String>, Fault> {
        if !self.describes {
            return Ok(None);
        }
        match native::describe(&self.whole, &[native::name(name)], CALL_TIMEOUT) {
            Ok(told) => Ok(told.into_iter().find(|topic| topic.name == name).and_then(|t| t.id)),
            // Without an id a recreated topic is known by its offsets alone.
            Err(
                RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE
                | RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION,
            ) => Ok(None),
            Err(code) => errors::topic_id(name, code),
        }
    }

    /// Serves the client: what is of no partition comes through its own queue.
    fn serve(&self) -> Result<(), Fault> {
        match self.reader.poll(Duration::ZERO) {
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
                ) => Ok(()),
                _ => Err(errors::call("reading a source", &error)),
            },
            Some(Ok(_)) | None => Ok(()),
        }
    }
}

impl Source for RdSource {
    type Record<'a> = RdRecord<'a>;

    fn topic(&mut self, name: &str) -> Result<Option<SourceTopic>, Fault> {
        let what = format!("asking for topic {name}");
        let told = self.whole.fetch_metadata(Some(name), CALL_TIMEOUT);
        let told = told.map_err(|error| errors::call(&what, &error))?;
        let Some(topic) = told.topics().iter().find(|topic| topic.name() == name) else {
            return Ok(None);
        };
        match topic.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(None),
            Some(code) => {
                return Err(errors::call(&what, &KafkaError::MetadataFetch(code)));
            }
        }
        let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
        Ok(Some(SourceTopic { partitions, id: self.id_of(name)? }))
    }

    fn bounds(&mut self, id: &SourceId) -> Result<Bounds, Fault> {
        // librdkafka takes a place for a time: its numbers are the protocol's.
        let start = self.bound(id, Offset::Beginning)?;
        Ok(Bounds { start, end: self.bound(id, Offset::End)? })
    }

    fn offset_at(&mut self, id: &SourceId, time_ms: i64) -> Result<i64, Fault> {
        match self.place(id, Offset::Offset(time_ms))? {
            Some(offset) => Ok(offset),
            None => self.bound(id, Offset::End),
        }
    }

    fn open(&mut self, id: &SourceId, offset: i64, of: PartitionId) -> Result<(), Fault> {
        self.at_hand = None;
        let is_open = self.open.as_ref().is_some_and(|(open, _)| open == id);
        let opened = if is_open {
            self.fetched.forget(&id.topic, id.partition);
            self.reader.seek(&id.topic, id.partition, Offset::Offset(offset), CALL_TIMEOUT)
        } else {
            self.close();
            self.fetched.begin(&self.reader, &id.topic, id.partition, offset)
        };
        self.open = Some((id.clone(), of));
        opened.map_err(|error| {
            self.close();
            errors::call(&format!("reading {}/{}", id.topic, id.partition), &error)
        })
    }

    fn poll(&mut self, wait: Duration) -> Result<Sourced<RdRecord<'_>>, Fault> {
        self.at_hand = self.fetched.next();
        if self.at_hand.is_none() {
            self.serve()?;
            self.fetched.fill(wait);
            self.at_hand = self.fetched.next();
        }
        let (Some(record), Some((id, of))) = (&self.at_hand, &self.open) else {
            return Ok(Sourced::Nothing);
        };
        // Of one that was closed.
        if record.partition() != id.partition || record.topic() != id.topic {
            return Ok(Sourced::Nothing);
        }
        match record.error() {
            None => {}
            Some(RDKafkaErrorCode::PartitionEOF) => return Ok(Sourced::End(record.offset())),
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                return Ok(Sourced::OutOfRange);
            }
            Some(code) => {
                let error = KafkaError::MessageConsumption(code);
                return Err(errors::call(&format!("reading topic {}", id.topic), &error));
            }
        }
        self.reader.context().reach.seen();
        Ok(Sourced::Record(RdRecord::new(*of, record)))
    }
}
