//! The embedded broker, and the bus that writes to it: traffic in time, and the turns of the play.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::{Span, Timestamp, tz::TimeZone};
use lethe_engine::Class;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

use super::Stage;
use super::cast::{Actor, Change};
use super::now_ms;
use crate::pipeline::seam::Role;
use crate::pipeline::settings::{CLASSES, OUTPUTS, Topics};
use crate::traffic::{Choice, Control, Conversations, Plans, Record};

/// Partitions of each input, and of what follows from it.
pub(super) const PARTITIONS: i32 = 4;
/// How often traffic is made.
const TICK: Duration = Duration::from_millis(20);
/// Conversations of a tenant.
const CONVERSATIONS: u32 = 40;
/// Beside so many messages there is one profile …
const MESSAGES_A_PROFILE: u64 = 20;
/// … and beside so many one config item …
const MESSAGES_A_CONFIG: u64 = 60;
/// … and beside so many one record that nobody can read.
const MESSAGES_A_BROKEN: u64 = 500;
/// How long an acknowledgement may take.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);

/// Starts a broker in this process, with every topic.
pub(super) fn broker(
    topics: &Topics,
) -> anyhow::Result<MockCluster<'static, DefaultProducerContext>> {
    let broker = MockCluster::new(1).context("the embedded broker does not start")?;
    for role in CLASSES.map(Role::Input).into_iter().chain(OUTPUTS).chain([Role::Control]) {
        let partitions = match role {
            Role::Input(_) | Role::Output(..) | Role::Changelog(_) => PARTITIONS,
            Role::Control | Role::Audit | Role::DeadLetters => 1,
        };
        let name = topics.name(role);
        match broker.create_topic(&name, partitions, 1) {
            // Config items have one output for both storages.
            Ok(()) | Err(KafkaError::MockCluster(RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err(error) => bail!("the embedded broker cannot create {name}: {error}"),
        }
    }
    Ok(broker)
}

/// Writes to the bus.
pub(super) struct Writer {
    producer: BaseProducer,
    topics: Topics,
}

impl Writer {
    pub(super) fn new(brokers: &str, topics: Topics) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        config.set("client.id", "demo-bus");
        config.set("linger.ms", "5");
        Ok(Self { producer: config.create().context("a producer")?, topics })
    }

    /// Writes control records, and waits until they are there.
    pub(super) fn say(&self, controls: &[Control]) -> anyhow::Result<()> {
        for control in controls {
            let record = BaseRecord::to(&self.topics.control)
                .partition(0)
                .key(&control.key)
                .payload(&control.value);
            self.producer.send(record).map_err(|(error, _)| error)?;
        }
        self.producer.flush(ACKNOWLEDGED_WITHIN).context("writing control records")
    }

    /// Queues an event.
    fn write(&self, record: &Record) -> anyhow::Result<()> {
        let topic = self.topics.input(record.class);
        let mut message = BaseRecord::to(topic).key(&record.key).payload(&record.value);
        while let Err((error, refused)) = self.producer.send(message) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error).context("writing an event");
            }
            self.producer.poll(TICK);
            message = refused;
        }
        Ok(())
    }
}

/// An event that is still to come; earlier ones first, in the order in which they were planned.
#[derive(PartialEq, Eq)]
struct Due {
    at_ms: i64,
    number: u64,
    record: Record,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.number).cmp(&(other.at_ms, other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The traffic of the play.
pub(super) struct Traffic {
    pub(super) writer: Writer,
    pub(super) plans: Plans,
    pub(super) cast: Vec<Actor>,
    pub(super) stage: Arc<Mutex<Stage>>,
    /// Messages a second.
    pub(super) rate: u32,
    pub(super) length: Duration,
}

struct Play {
    start_ms: i64,
    length_ms: i64,
    conversations: Vec<Conversations>,
    waiting: BinaryHeap<Reverse<Due>>,
    planned: u64,
    messages: u64,
    /// Which turns each actor has taken.
    taken: Vec<usize>,
}

impl Traffic {
    /// Plays until the time is over or `stop`, and then what was begun to its end.
    pub(super) fn run(mut self, stop: &AtomicBool) -> anyhow::Result<()> {
        let mut play = self.begin();
        let mut owed = 0;
        let mut last_ms = play.start_ms;
        loop {
            let now_ms = now_ms();
            let over = now_ms >= play.start_ms + play.length_ms || stop.load(Ordering::Relaxed);
            if !over {
                self.turns(&mut play, now_ms)?;
                // In thousandths of a message.
                owed += (now_ms - last_ms).max(0) * i64::from(self.rate);
                for _ in 0..owed / 1_000 {
                    self.sends(&mut play, now_ms)?;
                }
                owed %= 1_000;
            }
            last_ms = now_ms;
            self.write_due(&mut play, now_ms)?;
            if over && play.waiting.is_empty() {
                break;
            }
            self.writer.producer.poll(Duration::ZERO);
            thread::sleep(TICK);
        }
        self.writer.producer.flush(ACKNOWLEDGED_WITHIN).context("writing the last events")
    }

    fn begin(&mut self) -> Play {
        let random = &mut self.plans.random;
        let conversations = self
            .cast
            .iter()
            .map(|actor| Conversations::new(random, &actor.tenant, CONVERSATIONS))
            .collect();
        Play {
            start_ms: now_ms(),
            length_ms: i64::try_from(self.length.as_millis()).unwrap_or(i64::MAX / 200),
            conversations,
            waiting: BinaryHeap::new(),
            planned: 0,
            messages: 0,
            taken: vec![0; self.cast.len()],
        }
    }

    /// Takes the turns that are due.
    fn turns(&mut self, play: &mut Play, now: i64) -> anyhow::Result<()> {
        for (actor, taken) in self.cast.iter_mut().zip(&mut play.taken) {
            let Some(turn) = actor.turns.get(*taken) else { continue };
            if turn.at_ms(play.start_ms, play.length_ms) > now {
                continue;
            }
            *taken += 1;
            let control = match turn.change {
                Change::OptIn { retention_s } => {
                    actor.tenant.choice = Some((Choice::In { retention_s }, Choice::Out));
                    actor.tenant.chooses(Choice::In { retention_s }, Choice::Out)
                }
                Change::OptOut => {
                    actor.tenant.choice = Some((Choice::Out, Choice::Out));
                    actor.tenant.chooses(Choice::Out, Choice::Out)
                }
                Change::End => actor.tenant.terms(Some(three_months_ago()?)),
            };
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            stage.books.turn(&actor.tenant.name, turn.change, now_ms());
            stage.news(turn.says);
            drop(stage);
            self.writer.say(&[control])?;
        }
        Ok(())
    }

    /// One message, and now and then something beside it.
    fn sends(&mut self, play: &mut Play, now_ms: i64) -> anyhow::Result<()> {
        play.messages += 1;
        self.begins(play, Class::Message, now_ms);
        if play.messages.is_multiple_of(MESSAGES_A_PROFILE) {
            self.begins(play, Class::Profile, now_ms);
        }
        if play.messages.is_multiple_of(MESSAGES_A_CONFIG) {
            self.begins(play, Class::Config, now_ms);
        }
        if play.messages.is_multiple_of(MESSAGES_A_BROKEN) {
            let mut value = vec![0xFF; 8];
            value.extend_from_slice(self.plans.content.marker().as_bytes());
            self.writer.write(&Record { class: Class::Message, key: "?".to_owned(), value })?;
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            stage.books.records += 1;
            stage.books.broken += 1;
        }
        Ok(())
    }

    /// A life of some tenant begins.
    fn begins(&mut self, play: &mut Play, class: Class, now_ms: i64) {
        let silent = |actor: &Actor| {
            actor.is_silent(play.start_ms, play.length_ms, now_ms)
                || (class == Class::Profile && actor.messages_only)
        };
        let weights =
            |actor: &Actor| if silent(actor) { 0 } else { u64::from(actor.tenant.weight) };
        let mut roll = self.plans.random.below(self.cast.iter().map(weights).sum());
        for (actor, conversations) in self.cast.iter().zip(&play.conversations) {
            let weight = weights(actor);
            if roll >= weight {
                roll -= weight;
                continue;
            }
            let tenant = &actor.tenant;
            let life = match class {
                Class::Message => {
                    let Some(conversation) = conversations.pick(&mut self.plans.random) else {
                        return;
                    };
                    self.plans.message(&tenant.name, conversation, now_ms, actor.calm)
                }
                Class::Profile => self.plans.profile(&tenant.name, now_ms, actor.calm),
                Class::Config => self.plans.config(&tenant.name, now_ms, actor.calm),
            };
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            stage.books.begin(tenant, &life);
            drop(stage);
            for event in life.events {
                play.planned += 1;
                let (at_ms, number, record) = (event.at_ms, play.planned, event.record);
                play.waiting.push(Reverse(Due { at_ms, number, record }));
            }
            return;
        }
    }

    fn write_due(&mut self, play: &mut Play, now_ms: i64) -> anyhow::Result<()> {
        let mut written = 0;
        while play.waiting.peek().is_some_and(|Reverse(due)| due.at_ms <= now_ms) {
            let Some(Reverse(due)) = play.waiting.pop() else { break };
            self.writer.write(&due.record)?;
            written += 1;
        }
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).books.records += written;
        Ok(())
    }
}

fn three_months_ago() -> anyhow::Result<Timestamp> {
    let now = Timestamp::now().to_zoned_datetime(TimeZone::UTC);
    Ok(now.checked_sub(Span::new().months(3))?.timestamp())
}
