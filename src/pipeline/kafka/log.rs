//! A reader of logs outside of the group: changelogs and the control topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::super::seam::{
    Bounds, Fault, HeadersOf, LogId, LogPolled, LogReader, LogRecord, Reading, Role,
};
use super::super::settings::{CALL_TIMEOUT, LOGS, OUTPUTS, PipelineSettings, Topics};
use super::context::{Quiet, Reach};
use super::native::{Fetched, FetchedRecord};
use super::{config, errors, rights};

/// Reads `read_committed`: one client and one connection to a broker for all that is open.
pub struct RdLog {
    /// What was fetched. Before the reader, which it must not outlive.
    fetched: Fetched,
    reader: BaseConsumer<Quiet>,
    whole: Arc<BaseConsumer<Quiet>>,
    topics: Topics,
    names: BTreeMap<Role, String>,
    open: BTreeSet<LogId>,
    /// The topics whose leaders the reader has been told.
    met: BTreeSet<Role>,
    /// The broker tells the ids of topics: the embedded one does not even answer.
    tells_ids: bool,
}

impl RdLog {
    pub(super) fn create(
        settings: &PipelineSettings,
        reading: Reading,
        whole: Arc<BaseConsumer<Quiet>>,
        reach: Arc<Reach>,
    ) -> Result<Self, Fault> {
        let reader: BaseConsumer<Quiet> = config::log(settings, reading)
            .create_with_context(Quiet { reach })
            .map_err(|error| errors::creation(&error))?;
        let fetched = Fetched::new(&reader)
            .ok_or_else(|| Fault::Stop("a queue for the logs cannot be made".to_owned()))?;
        let roles = LOGS.iter().chain(&OUTPUTS);
        let names = roles.map(|&role| (role, settings.topics.name(role))).collect();
        let topics = settings.topics.clone();
        let tells_ids = !settings.embedded_broker;
        Ok(Self {
            fetched,
            reader,
            whole,
            topics,
            names,
            open: BTreeSet::new(),
            met: BTreeSet::new(),
            tells_ids,
        })
    }

    fn name(&self, log: LogId) -> Result<&str, Fault> {
        let name = self.names.get(&log.role).map(String::as_str);
        name.ok_or_else(|| Fault::Stop(format!("{:?} is not a log of lethe's", log.role)))
    }

    fn list(&self, logs: &[LogId], offset: Offset) -> Result<TopicPartitionList, Fault> {
        let mut list = TopicPartitionList::with_capacity(logs.len());
        for &log in logs {
            list.add_partition_offset(self.name(log)?, log.partition, offset)
                .map_err(|error| errors::call("naming logs", &error))?;
        }
        Ok(list)
    }

    /// Asks once for the leaders of a log's topic. Without, the first question for places waits until librdkafka looks
    /// for them by itself, which a client that has just been made does with pauses of up to a second.
    fn meet(&mut self, log: LogId) -> Result<(), Fault> {
        if self.met.contains(&log.role) {
            return Ok(());
        }
        let name = self.name(log)?;
        let asked = self.reader.fetch_metadata(Some(name), CALL_TIMEOUT);
        asked.map_err(|error| errors::call(&format!("asking for topic {name}"), &error))?;
        self.met.insert(log.role);
        Ok(())
    }

    /// The bounds of each, with a request for all starts and one for all ends.
    fn bounds(&self, consumer: &BaseConsumer<Quiet>, logs: &[LogId]) -> Result<Vec<Bounds>, Fault> {
        if logs.is_empty() {
            return Ok(Vec::new());
        }
        let ask = |place: Offset| -> Result<Vec<i64>, Fault> {
            let none = |log| {
                let (what, name) = (self.asking(logs), self.name(log)?.to_owned());
                Err(Fault::Retry(format!("{what}: {name} has no answer")))
            };
            let places = self.places(consumer, logs, place)?;
            logs.iter()
                .zip(places)
                .map(|(&log, place)| place.map_or_else(|| none(log), Ok))
                .collect()
        };
        let (starts, ends) = (ask(Offset::Beginning)?, ask(Offset::End)?);
        Ok(starts.into_iter().zip(ends).map(|(start, end)| Bounds { start, end }).collect())
    }

    /// Where a place or a time (Unix ms) is in each log; none: behind its last record.
    fn places(
        &self,
        consumer: &BaseConsumer<Quiet>,
        logs: &[LogId],
        place: Offset,
    ) -> Result<Vec<Option<i64>>, Fault> {
        let what = &self.asking(logs);
        // librdkafka takes a place for a time: its numbers are the protocol's.
        let asked = consumer.offsets_for_times(self.list(logs, place)?, CALL_TIMEOUT);
        let answer = asked.map_err(|error| errors::call(what, &error))?;
        let of = |&log: &LogId| {
            let name = self.name(log)?;
            let element = answer.find_partition(name, log.partition);
            let element =
                element.ok_or_else(|| Fault::Retry(format!("{what}: {name} is missing")))?;
            element.error().map_err(|error| errors::call(what, &error))?;
            Ok(match element.offset() {
                Offset::Offset(offset) => Some(offset),
                Offset::Beginning
                | Offset::End
                | Offset::Stored
                | Offset::Invalid
                | Offset::OffsetTail(_) => None,
            })
        };
        logs.iter().map(of).collect()
    }

    fn asking(&self, logs: &[LogId]) -> String {
        let names: BTreeSet<&str> = logs.iter().filter_map(|&log| self.name(log).ok()).collect();
        format!("asking for the bounds of {}", names.into_iter().collect::<Vec<_>>().join(", "))
    }

    /// Which log a record is of; none: of one that was closed.
    fn log_of(&self, record: &FetchedRecord) -> Option<LogId> {
        let name = record.topic();
        let (&role, _) = self.names.iter().find(|(_, known)| *known == name)?;
        let log = LogId { role, partition: record.partition() };
        self.open.contains(&log).then_some(log)
    }

    /// Brings at most one record, of any log that is open, with its headers.
    pub(in super::super) fn poll_output(
        &mut self,
        wait: Duration,
        visit: &mut dyn FnMut(LogRecord<'_>, HeadersOf<'_>),
    ) -> Result<LogPolled, Fault> {
        let mut record = self.fetched.next();
        if record.is_none() {
            self.serve()?;
            self.fetched.fill(wait);
            record = self.fetched.next();
        }
        let Some(record) = record else { return Ok(LogPolled::Nothing) };
        let Some(log) = self.log_of(&record) else { return Ok(LogPolled::Nothing) };
        match record.error() {
            None => {}
            Some(RDKafkaErrorCode::PartitionEOF) => return Ok(LogPolled::End(log)),
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                return Ok(LogPolled::OutOfRange(log));
            }
            Some(code) => {
                let error = KafkaError::MessageConsumption(code);
                return Err(errors::call(&format!("reading topic {}", record.topic()), &error));
            }
        }
        self.reader.context().reach.seen();
        let read = LogRecord {
            log,
            offset: record.offset(),
            timestamp_ms: record.timestamp_ms().unwrap_or_default(),
            key: record.key(),
            value: record.value(),
        };
        visit(read, &|header| record.headers(header));
        Ok(LogPolled::Record)
    }

    /// Serves the client: what is of no log comes through its own queue.
    fn serve(&self) -> Result<(), Fault> {
        match self.reader.poll(Duration::ZERO) {
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
                ) => Ok(()),
                _ => Err(errors::call("reading a log", &error)),
            },
            Some(Ok(_)) | None => Ok(()),
        }
    }
}

impl LogReader for RdLog {
    fn open(&mut self, log: LogId, offset: i64) -> Result<(), Fault> {
        let name = self.name(log)?.to_owned();
        let opened = if self.open.contains(&log) {
            self.fetched.forget(&name, log.partition);
            self.reader.seek(&name, log.partition, Offset::Offset(offset), CALL_TIMEOUT)
        } else {
            self.open.insert(log);
            self.fetched.begin(&self.reader, &name, log.partition, offset)
        };
        opened.map_err(|error| errors::call(&format!("reading topic {name}"), &error))
    }

    fn close(&mut self, log: LogId) {
        if !self.open.remove(&log) {
            return;
        }
        let Ok(list) = self.list(&[log], Offset::Invalid) else { return };
        if let Err(error) = self.reader.incremental_unassign(&list) {
            tracing::debug!(%error, "closing a log");
        }
        if let Some(name) = self.names.get(&log.role) {
            self.fetched.forget(name, log.partition);
        }
    }

    fn poll(
        &mut self,
        wait: Duration,
        visit: &mut dyn FnMut(LogRecord<'_>),
    ) -> Result<LogPolled, Fault> {
        self.poll_output(wait, &mut |record, _| visit(record))
    }

    fn stable(&mut self, logs: &[LogId]) -> Result<Vec<Bounds>, Fault> {
        for &log in logs {
            self.meet(log)?;
        }
        self.bounds(&self.reader, logs)
    }

    fn whole(&mut self, logs: &[LogId]) -> Result<Vec<Bounds>, Fault> {
        self.bounds(&self.whole, logs)
    }

    fn since(&mut self, log: LogId, at_ms: i64) -> Result<Option<i64>, Fault> {
        let places = self.places(&self.reader, &[log], Offset::Offset(at_ms.max(0)))?;
        match places.first().copied().flatten() {
            Some(offset) => Ok(Some(offset)),
            None => Ok(self.stable(&[log])?.first().map(|bounds| bounds.end)),
        }
    }

    fn topic_id(&mut self, role: Role) -> Result<Option<String>, Fault> {
        if !self.tells_ids {
            return Ok(None);
        }
        let told = rights::describe(&self.whole, &self.topics, &[role])?;
        let Some((_, topic)) = told.into_iter().next() else { return Ok(None) };
        topic.refused.map_or(Ok(topic.id), |code| errors::topic_id(&topic.name, code))
    }
}
