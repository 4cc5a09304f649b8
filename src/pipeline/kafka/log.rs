//! A reader of one partition outside of the group: changelogs and the control topic.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::super::seam::{Bounds, Fault, LogPolled, LogReader, LogRecord, Reading, Role};
use super::super::settings::{CALL_TIMEOUT, PipelineSettings, Topics};
use super::context::{Quiet, Reach};
use super::{config, errors, rights};

/// Reads `read_committed`. It has one partition at a time, because rdkafka's end-of-partition
/// event does not say of which topic it is.
pub struct RdLog {
    reader: BaseConsumer<Quiet>,
    whole: Arc<BaseConsumer<Quiet>>,
    topics: Topics,
    /// The topic that is open, for the errors.
    name: String,
}

impl RdLog {
    pub(super) fn create(
        settings: &PipelineSettings,
        reading: Reading,
        whole: Arc<BaseConsumer<Quiet>>,
        reach: Arc<Reach>,
    ) -> Result<Self, Fault> {
        let reader = config::log(settings, reading)
            .create_with_context(Quiet { reach })
            .map_err(|error| errors::creation(&error))?;
        Ok(Self { reader, whole, topics: settings.topics.clone(), name: String::new() })
    }

    fn bounds(
        &self,
        consumer: &BaseConsumer<Quiet>,
        role: Role,
        partition: i32,
    ) -> Result<Bounds, Fault> {
        let name = self.topics.name(role);
        consumer
            .fetch_watermarks(&name, partition, CALL_TIMEOUT)
            .map(|(start, end)| Bounds { start, end })
            .map_err(|error| {
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) {
                    // The topic has gained it: asking makes the client look again.
                    if let Err(error) = consumer.fetch_metadata(Some(&name), CALL_TIMEOUT) {
                        tracing::debug!(%error, name, "asking for a topic's partitions");
                    }
                }
                errors::call(&format!("asking for the bounds of topic {name}"), &error)
            })
    }
}

impl LogReader for RdLog {
    fn open(&mut self, role: Role, partition: i32, offset: i64) -> Result<(), Fault> {
        let name = self.topics.name(role);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&name, partition, Offset::Offset(offset))
            .and_then(|()| self.reader.assign(&list))
            .map_err(|error| errors::call(&format!("reading topic {name}"), &error))?;
        self.name = name;
        Ok(())
    }

    fn close(&mut self) {
        if let Err(error) = self.reader.unassign() {
            tracing::debug!(%error, "closing a log");
        }
    }

    fn poll(
        &mut self,
        wait: Duration,
        visit: &mut dyn FnMut(LogRecord<'_>),
    ) -> Result<LogPolled, Fault> {
        match self.reader.poll(wait) {
            Some(Ok(message)) => {
                self.reader.context().reach.seen();
                visit(LogRecord {
                    offset: message.offset(),
                    timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
                    key: message.key(),
                    value: message.payload(),
                });
                Ok(LogPolled::Record)
            }
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(LogPolled::End),
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                    Ok(LogPolled::OutOfRange)
                }
                Some(
                    RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
                ) => Ok(LogPolled::Nothing),
                _ => Err(errors::call(&format!("reading topic {}", self.name), &error)),
            },
            None => Ok(LogPolled::Nothing),
        }
    }

    fn stable(&mut self, role: Role, partition: i32) -> Result<Bounds, Fault> {
        self.bounds(&self.reader, role, partition)
    }

    fn whole(&mut self, role: Role, partition: i32) -> Result<Bounds, Fault> {
        self.bounds(&self.whole, role, partition)
    }

    fn topic_id(&mut self, role: Role) -> Result<Option<String>, Fault> {
        let told = rights::describe(&self.whole, &self.topics, &[role])?;
        let Some((_, topic)) = told.into_iter().next() else { return Ok(None) };
        topic.refused.map_or(Ok(topic.id), |code| errors::topic_id(&topic.name, code))
    }
}
