//! A worker's transactional producer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

use super::super::seam::{Appended, Fault, Output, OutputRecord, PartitionId, Position, Role};
use super::super::settings::{CALL_TIMEOUT, OUTPUTS, PipelineSettings, Topics};
use super::context::{OutputContext, Reach, mark};
use super::native::Sender;
use super::positions::Positions;
use super::{RdInput, config, errors, native, positions};

/// How long a send waits for room in the queue before it looks again.
const ROOM_WAIT: Duration = Duration::from_millis(10);

/// How long records do not wait for company while the positions are sent: for less than that takes.
const HURRY: Duration = Duration::from_millis(2);

/// How often a flush looks whether everything is acknowledged.
const FLUSH_LOOK: Duration = Duration::from_millis(1);

/// How long an initialisation is waited for before it is looked at; it doubles.
const INIT_LOOK: Duration = Duration::from_millis(50);

/// The longest wait between two looks at an initialisation.
const INIT_LOOK_MAX: Duration = Duration::from_millis(800);

/// A worker's transactional producer.
pub struct RdOutput {
    sender: Sender,
    /// What the producer is made of, to make another one.
    config: ClientConfig,
    reach: Arc<Reach>,
    worker: usize,
    transactional_id: String,
    topics: Topics,
    group: String,
    names: BTreeMap<Role, String>,
    /// It was initialised ahead of the first call.
    initialised: bool,
}

impl RdOutput {
    pub(super) fn create(
        settings: &PipelineSettings,
        instance: &str,
        worker: usize,
        reach: Arc<Reach>,
    ) -> Result<Self, Fault> {
        let transactional_id = format!("{}-{instance}-{worker}", settings.group);
        let config = config::output(settings, &transactional_id);
        let sender = Sender::new(producer(&config, &reach, worker)?);
        let names = OUTPUTS.iter().map(|&role| (role, settings.topics.name(role))).collect();
        let (topics, group) = (settings.topics.clone(), settings.group.clone());
        Ok(Self {
            sender,
            config,
            reach,
            worker,
            transactional_id,
            topics,
            group,
            names,
            initialised: false,
        })
    }

    fn producer(&self) -> &BaseProducer<OutputContext> {
        self.sender.producer()
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} as {}", self.transactional_id)
    }

    /// Initialises it, ahead of the worker that will be given it: [`Output::init`] then has nothing
    /// left to do.
    pub(super) fn initialise(&mut self) -> Result<(), Fault> {
        self.try_init()?;
        self.initialised = true;
        Ok(())
    }

    /// Waits until what an earlier producer left open is aborted. librdkafka asks again half a second
    /// after the broker has said that it is at it, which takes some milliseconds: another producer
    /// asks at once.
    fn try_init(&mut self) -> Result<(), Fault> {
        let what = format!("initialising the transactional id {}", self.transactional_id);
        let started = Instant::now();
        let mut look = INIT_LOOK;
        loop {
            let Err(error) = self.producer().init_transactions(look) else { return Ok(()) };
            let fault = match errors::transaction(&what, &error) {
                // Nothing was begun: to be tried again with this producer.
                Fault::Abort(text) | Fault::Retry(text) => Fault::Retry(text),
                fault @ (Fault::Unknown(_) | Fault::Stop(_)) => return Err(fault),
            };
            if started.elapsed() >= CALL_TIMEOUT {
                return Err(fault);
            }
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::ConcurrentTransactions) {
                self.sender = Sender::new(producer(&self.config, &self.reach, self.worker)?);
            }
            look = (look * 2).min(INIT_LOOK_MAX);
        }
    }

    /// Adds the positions of a group that nobody is in. The caller has made sure of that.
    pub(in super::super) fn send_positions_of_nobody(
        &mut self,
        group: &Positions,
        positions: &[Position],
    ) -> Result<(), Fault> {
        self.add_positions(positions, group.nobody())
    }

    fn add_positions(
        &mut self,
        positions: &[Position],
        member: Option<ConsumerGroupMetadata>,
    ) -> Result<(), Fault> {
        let what = &format!("adding the positions of group {} to the transaction", self.group);
        let list =
            positions::list(&self.topics, positions).map_err(|error| errors::call(what, &error))?;
        let Some(member) = member else {
            return Err(Fault::Abort(format!(
                "{what}: the consumer has lost its place in the group"
            )));
        };
        // What is still to be sent goes out beside the two calls that this makes.
        let producer = self.producer();
        let sent = thread::scope(|scope| {
            let hurry = || native::hurry(producer, HURRY);
            // Without a thread they wait for as long as they may.
            drop(thread::Builder::new().spawn_scoped(scope, hurry));
            producer.send_offsets_to_transaction(&list, &member, CALL_TIMEOUT)
        });
        sent.map_err(|error| match errors::transaction(what, &error) {
            // The whole batch is tried again, after a wait.
            Fault::Retry(text) | Fault::Abort(text) => Fault::Abort(text),
            fault @ (Fault::Unknown(_) | Fault::Stop(_)) => fault,
        })
        .map_err(|fault| self.cause(fault))
    }

    /// The cause of a failed transaction is the record that failed, where there is one.
    fn cause(&self, fault: Fault) -> Fault {
        match (self.producer().context().take().failed, fault) {
            (Some((topic, code)), Fault::Abort(_)) => errors::delivery(&topic, code),
            (_, fault) => fault,
        }
    }
}

impl Output for RdOutput {
    type Input = RdInput;

    fn init(&mut self) -> Result<(), Fault> {
        if std::mem::take(&mut self.initialised) {
            return Ok(());
        }
        self.try_init()
    }

    fn begin(&mut self) -> Result<(), Fault> {
        self.producer().context().take();
        self.producer()
            .begin_transaction()
            .map_err(|error| errors::transaction(&self.doing("beginning a transaction"), &error))
    }

    fn send(&mut self, output: &OutputRecord<'_>) -> Result<(), Fault> {
        let Some(name) = self.names.get(&output.role) else {
            return Err(Fault::Stop(format!(
                "{:?} is not a topic that workers write",
                output.role
            )));
        };
        let opaque = match output.role {
            Role::Changelog(class) => mark(PartitionId { class, partition: output.partition }),
            Role::Input(_) | Role::Output(..) | Role::Control | Role::Audit | Role::DeadLetters => {
                0
            }
        };
        let mut since = None;
        loop {
            let Err(code) = self.sender.send(name, output, opaque) else { return Ok(()) };
            let waited = since.get_or_insert_with(Instant::now).elapsed();
            if code != RDKafkaErrorCode::QueueFull || waited > CALL_TIMEOUT {
                return Err(send_fault(name, code));
            }
            self.producer().poll(ROOM_WAIT);
        }
    }

    fn send_positions(&mut self, input: &RdInput, positions: &[Position]) -> Result<(), Fault> {
        // librdkafka's own thread can lose the place at any moment, or win it anew, and brokers do not
        // fence what comes without a generation: what is sent was read while the place was held.
        let before = input.is_as_told();
        let member = input.consumer().group_metadata();
        let held = before && input.is_as_told();
        self.add_positions(positions, member.filter(|_| held))
    }

    fn commit(&mut self, appended: &mut Vec<Appended>) -> Result<(), Fault> {
        let started = Instant::now();
        loop {
            let committed = flush(self.producer(), CALL_TIMEOUT)
                .and_then(|()| self.producer().commit_transaction(CALL_TIMEOUT));
            let error = match committed {
                Ok(()) => {
                    let context = self.producer().context();
                    context.reach.seen();
                    appended.append(&mut context.take().appended);
                    return Ok(());
                }
                Err(error) => error,
            };
            // Before librdkafka has asked for the commit, nothing can have been committed.
            let fault = if matches!(error, KafkaError::Flush(_)) {
                Fault::Abort(format!("waiting for acknowledgements: {error}"))
            } else {
                errors::transaction(&self.doing("committing"), &error)
            };
            match fault {
                Fault::Retry(_) if started.elapsed() < 2 * CALL_TIMEOUT => {}
                Fault::Retry(text) => return Err(Fault::Unknown(text)),
                fault @ (Fault::Abort(_) | Fault::Unknown(_) | Fault::Stop(_)) => {
                    return Err(self.cause(fault));
                }
            }
        }
    }

    fn abort(&mut self) -> Result<(), Fault> {
        let aborted = abort(self.producer());
        self.producer().context().take();
        aborted.map_err(|error| Fault::Unknown(format!("aborting: {error}")))
    }

    fn serve(&mut self) {
        self.producer().poll(Duration::ZERO);
    }
}

fn producer(
    config: &ClientConfig,
    reach: &Arc<Reach>,
    worker: usize,
) -> Result<BaseProducer<OutputContext>, Fault> {
    config
        .create_with_context(OutputContext::new(Arc::clone(reach), worker))
        .map_err(|error| errors::creation(&error))
}

/// Sends what still waits for company, and waits until everything is acknowledged.
///
/// `BaseProducer::flush` (and `commit_transaction`, which calls it) looks at what is left only after
/// each of its polls, and a poll lasts as long as it may, 100 ms there, whatever comes meanwhile: every
/// commit would take that long.
pub(crate) fn flush<C: ProducerContext + 'static>(
    producer: &BaseProducer<C>,
    within: Duration,
) -> KafkaResult<()> {
    let started = Instant::now();
    let mut left = producer.in_flight_count();
    while left > 0 && started.elapsed() < within {
        native::hurry(producer, FLUSH_LOOK);
        loop {
            // One event: the reports of one answer.
            producer.poll(Duration::ZERO);
            let before = std::mem::replace(&mut left, producer.in_flight_count());
            if left == before {
                break;
            }
        }
    }
    producer.flush(Duration::ZERO)
}

/// Aborts the transaction. librdkafka waits until the reports of all that was sent have been taken from
/// the producer's queue, and does not take them itself.
fn abort(producer: &BaseProducer<OutputContext>) -> KafkaResult<()> {
    thread::scope(|scope| {
        let aborting = scope.spawn(|| producer.abort_transaction(CALL_TIMEOUT));
        while !aborting.is_finished() {
            producer.poll(FLUSH_LOOK);
        }
        aborting.join().unwrap_or(Err(KafkaError::Canceled))
    })
}

fn send_fault(topic: &str, code: RDKafkaErrorCode) -> Fault {
    use RDKafkaErrorCode as Code;
    if matches!(code, Code::MessageSizeTooLarge | Code::InvalidArgument) {
        return errors::delivery(topic, code);
    }
    let what = format!("writing to topic {topic}: {code}");
    let is_over = matches!(code, Code::Fatal | Code::Fenced | Code::State);
    if is_over { Fault::Unknown(what) } else { Fault::Abort(what) }
}
