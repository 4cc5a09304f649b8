//! What librdkafka tells its clients: logs, errors, rebalances, acknowledgements.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message, Timestamp};
use rdkafka::producer::ProducerContext;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use super::super::seam::{Appended, PartitionId};
use super::figures::Figures;
use lethe_engine::Class;

/// Whether a broker answers: said once when it stops and once when it is back.
#[derive(Debug, Default)]
pub(super) struct Reach {
    away: AtomicBool,
    refused: AtomicBool,
}

impl Reach {
    /// No broker answers.
    fn lost(&self, reason: &str) {
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(reason, "no broker answers; lethe keeps trying and goes on by itself");
        }
    }

    /// A broker refuses the log-in. librdkafka goes on trying: a password may be on its way.
    fn refused(&self, reason: &str) {
        if !self.refused.swap(true, Ordering::Relaxed) {
            tracing::error!(
                reason,
                "the broker refuses lethe's log-in; check the [kafka] sasl.* and ssl.* properties"
            );
        }
    }

    /// A broker answered.
    pub(super) fn seen(&self) {
        if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) {
            self.refused.store(false, Ordering::Relaxed);
            tracing::info!("the broker answers again");
        }
    }
}

/// librdkafka's own lines: what an operator must act on comes back as an error of a call.
fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, line, "librdkafka");
        }
        RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning
        | RDKafkaLogLevel::Notice
        | RDKafkaLogLevel::Info
        | RDKafkaLogLevel::Debug => tracing::debug!(facility, line, "librdkafka"),
    }
}

fn client_error(reach: &Reach, error: &KafkaError, reason: &str) {
    let code = error.rdkafka_error_code();
    if code == Some(RDKafkaErrorCode::AllBrokersDown) {
        reach.lost(reason);
    } else if code == Some(RDKafkaErrorCode::Authentication) {
        reach.refused(reason);
    } else {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

/// The context of clients without callbacks of interest.
#[derive(Debug)]
pub(super) struct Quiet {
    pub(super) reach: Arc<Reach>,
}

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client_error(&self.reach, &error, reason);
    }
}

impl ConsumerContext for Quiet {}

/// A change of the assignment that waits for the worker's answer.
#[derive(Debug)]
pub(super) enum Change {
    Assigned(Vec<(String, i32)>),
    Revoked { partitions: Vec<(String, i32)>, lost: bool },
}

/// The context of a worker's consumer: rebalances are queued, and answered by the worker itself,
/// which first has to finish or abort its batch.
#[derive(Debug)]
pub(super) struct GroupContext {
    pub(super) reach: Arc<Reach>,
    changes: Mutex<VecDeque<Change>>,
    closing: AtomicBool,
    figures: Figures,
}

impl GroupContext {
    pub(super) fn new(reach: Arc<Reach>, worker: usize) -> Self {
        let figures = Figures::new("consumer", worker);
        Self { reach, changes: Mutex::default(), closing: AtomicBool::new(false), figures }
    }

    /// The oldest change that has not been answered.
    pub(super) fn next(&self) -> Option<Change> {
        self.lock().pop_front()
    }

    /// From now on nobody answers but the context, be it what has come already.
    pub(super) fn close(&self, consumer: &BaseConsumer<Self>) {
        self.closing.store(true, Ordering::Relaxed);
        while let Some(change) = self.next() {
            let (assigned, list) = match change {
                Change::Assigned(list) => (true, list),
                Change::Revoked { partitions, .. } => (false, partitions),
            };
            let mut partitions = TopicPartitionList::with_capacity(list.len());
            for (topic, partition) in &list {
                partitions.add_partition(topic, *partition);
            }
            answer(consumer, assigned, &mut partitions);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client_error(&self.reach, &error, reason);
    }

    fn stats(&self, said: Statistics) {
        self.figures.show(&said);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let assigned = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            answer(consumer, assigned, partitions);
            return;
        }
        let list = partitions
            .elements()
            .iter()
            .map(|element| (element.topic().to_owned(), element.partition()))
            .collect();
        self.lock().push_back(if assigned {
            Change::Assigned(list)
        } else {
            Change::Revoked { partitions: list, lost: consumer.assignment_lost() }
        });
    }
}

/// Answers the group for a consumer that closes, which waits for the answer. Without a position librdkafka would ask for
/// the committed one, and closing would wait for that too.
fn answer(
    consumer: &BaseConsumer<GroupContext>,
    assigned: bool,
    partitions: &mut TopicPartitionList,
) {
    let answered = if assigned {
        let placed = partitions.set_all_offsets(Offset::Beginning);
        placed.and_then(|()| consumer.incremental_assign(partitions))
    } else {
        consumer.incremental_unassign(partitions)
    };
    if let Err(error) = answered {
        tracing::debug!(%error, "letting partitions go while closing");
    }
}

/// What the acknowledgements of the transaction at hand have said.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    /// The changelog records.
    pub(super) appended: Vec<Appended>,
    /// The first record that failed for good: its topic and why.
    pub(super) failed: Option<(String, RDKafkaErrorCode)>,
}

/// The context of a worker's producer.
#[derive(Debug)]
pub(super) struct OutputContext {
    pub(super) reach: Arc<Reach>,
    acknowledged: Mutex<Acknowledged>,
    figures: Figures,
}

impl OutputContext {
    pub(super) fn new(reach: Arc<Reach>, worker: usize) -> Self {
        let figures = Figures::new("producer", worker);
        Self { reach, acknowledged: Mutex::default(), figures }
    }

    /// Takes what has been said so far.
    pub(super) fn take(&self) -> Acknowledged {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Acknowledged> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for OutputContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client_error(&self.reach, &error, reason);
    }

    fn stats(&self, said: Statistics) {
        self.figures.show(&said);
    }
}

impl ProducerContext for OutputContext {
    /// A mark of [`mark`] for changelog records, else 0.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        match result {
            Ok(record) => {
                if let Some(id) = marked(opaque) {
                    let broker_ms = match record.timestamp() {
                        Timestamp::LogAppendTime(ms) => Some(ms),
                        Timestamp::NotAvailable | Timestamp::CreateTime(_) => None,
                    };
                    let offset = record.offset();
                    self.lock().appended.push(Appended { id, offset, broker_ms });
                }
            }
            Err((error, record)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                // The consequences of an abort are not its cause.
                if code != RDKafkaErrorCode::PurgeQueue && code != RDKafkaErrorCode::PurgeInflight {
                    let topic = record.topic().to_owned();
                    self.lock().failed.get_or_insert((topic, code));
                }
            }
        }
    }
}

/// Marks a changelog record with the partition that it belongs to.
pub(super) fn mark(id: PartitionId) -> usize {
    let class = match id.class {
        Class::Message => 1,
        Class::Profile => 2,
        Class::Config => 3,
    };
    (usize::try_from(id.partition).unwrap_or_default() << 2) | class
}

fn marked(opaque: usize) -> Option<PartitionId> {
    let class = match opaque & 3 {
        1 => Class::Message,
        2 => Class::Profile,
        3 => Class::Config,
        _ => return None,
    };
    let partition = i32::try_from(opaque >> 2).ok()?;
    Some(PartitionId { class, partition })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_its_partition() {
        for class in [Class::Message, Class::Profile, Class::Config] {
            let id = PartitionId { class, partition: 9_999 };
            assert_eq!(marked(mark(id)), Some(id));
        }
        assert_eq!(marked(0), None);
    }
}
