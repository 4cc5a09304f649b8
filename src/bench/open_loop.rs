//! An open loop: each record is due at a moment that the rate decides, and is written then, whatever becomes of
//! the ones before; each content is waited for on the outputs.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use lethe_engine::{Class, Event, MessageAction};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::BaseProducer;
use rdkafka::{Message as _, Offset, TopicPartitionList};

use super::child::Running;
use super::load::{self, due, finish, wait_until, write};
use super::messages::{Messages, Shape};
use crate::codec::{self, TIME_MS_MAX, TimeLimits};
use crate::pipeline::kafka::config;
use crate::pipeline::settings::{IDLE_WAIT, PipelineSettings};

/// What comes later has failed.
const WITHIN: Duration = Duration::from_secs(60);

/// What a load is like, and for how long it goes on.
pub(super) struct Pace<'p> {
    /// What the records are.
    pub(super) shape: &'p Shape,
    /// Records a second.
    pub(super) rate: u32,
    /// For how long it goes on before anything counts.
    pub(super) warm_up: Duration,
    /// For how long it goes on then, at most.
    pub(super) measured: Duration,
    /// Partitions of the input.
    pub(super) partitions: u32,
}

/// What was written.
pub(super) struct Written {
    pub(super) records: u64,
    /// How late the generator was, at most (ms).
    pub(super) late_ms_max: f64,
}

/// What the generator and the reader know of each other.
pub(super) struct OpenLoop<'p> {
    pace: Pace<'p>,
    /// When the first record is due (Unix µs), and the same on the other clock.
    first_us: i64,
    first: Instant,
    /// Contents that are to come, once all are written.
    contents: OnceLock<u64>,
    /// Nothing more is to be written.
    enough: AtomicBool,
    /// One side has failed.
    stop: AtomicBool,
}

impl<'p> OpenLoop<'p> {
    /// One that begins now.
    pub(super) fn new(pace: Pace<'p>) -> Self {
        Self {
            pace,
            first_us: now_us(),
            first: Instant::now(),
            contents: OnceLock::new(),
            enough: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    /// Writes and reads; `seen` hears of each content when it was due (Unix ms) and how long it took (µs).
    pub(super) fn run(
        &self,
        settings: &PipelineSettings,
        running: &Running,
        seen: &mut (dyn FnMut(i64, u64) + Send),
    ) -> anyhow::Result<Written> {
        let producer = load::producer(&settings.brokers)?;
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let read = self.read(settings, running, seen);
                self.stop.store(true, Ordering::Relaxed);
                read
            });
            let written = self.generate(&producer, &settings.topics.messages);
            if written.is_err() {
                self.stop.store(true, Ordering::Relaxed);
            }
            let read = reader.join().map_err(|_| anyhow!("the reader has panicked"))?;
            // The generator's trouble is the reader's too.
            let written = written?;
            read.map(|()| written)
        })
    }

    /// Writes nothing more.
    pub(super) fn end(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    /// Whether one side has ended: nothing more comes out.
    pub(super) fn has_ended(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// When something is due (Unix ms).
    fn at_ms(&self, after: Duration) -> i64 {
        self.first_us / 1_000 + i64::try_from(after.as_millis()).unwrap_or(i64::MAX / 2)
    }

    /// Writes each record when it is due; that moment is its sent time.
    fn generate(&self, producer: &BaseProducer, topic: &str) -> anyhow::Result<Written> {
        let mut messages = Messages::new(self.pace.shape);
        let mut written = Written { records: 0, late_ms_max: 0.0 };
        let (mut contents, lasts) = (0, self.pace.warm_up + self.pace.measured);
        let over = || self.stop.load(Ordering::Relaxed) || self.enough.load(Ordering::Relaxed);
        loop {
            let after = due(written.records, self.pace.rate);
            if after >= lasts || over() {
                break;
            }
            wait_until(producer, self.first + after);
            let Some(record) = messages.next_record(self.at_ms(after)) else { break };
            if self.is_measured(&record.value).is_some() {
                contents += 1;
                let late = self.first.elapsed().saturating_sub(after).as_secs_f64() * 1e3;
                written.late_ms_max = written.late_ms_max.max(late);
            }
            write(producer, topic, &record)?;
            written.records += 1;
        }
        finish(producer)?;
        // The only one who sets it.
        let _first = self.contents.set(contents);
        Ok(written)
    }

    /// Reads the outputs until all contents have come.
    fn read(
        &self,
        settings: &PipelineSettings,
        running: &Running,
        seen: &mut (dyn FnMut(i64, u64) + Send),
    ) -> anyhow::Result<()> {
        let consumer = reader(settings, self.pace.partitions)?;
        let (mut since, mut count) = (Instant::now(), 0);
        loop {
            if self.contents.get().is_some_and(|&all| count >= all) {
                return Ok(());
            }
            if let Some(message) = consumer.poll(IDLE_WAIT) {
                let message = message?;
                let sent_at_ms = message.payload().and_then(|value| self.is_measured(value));
                if let Some(sent_at_ms) = sent_at_ms {
                    let took_us = now_us() - sent_at_ms * 1_000;
                    seen(sent_at_ms, u64::try_from(took_us).unwrap_or(0));
                    count += 1;
                }
                since = Instant::now();
            } else if since.elapsed() > WITHIN || running.has_ended() {
                let all = self.contents.get().copied().unwrap_or_default();
                bail!("{count} of {all} contents came out");
            }
            if self.stop.load(Ordering::Relaxed) {
                bail!("the load has failed");
            }
        }
    }

    /// The sent time (Unix ms) of a content that is measured.
    fn is_measured(&self, value: &[u8]) -> Option<i64> {
        let limits = TimeLimits { latest_ms: TIME_MS_MAX };
        let Ok(Event::Message(event)) = codec::decode(Class::Message, value, limits) else {
            return None;
        };
        let is_content = matches!(event.action, MessageAction::Sent(_));
        (is_content && event.sent_at_ms >= self.at_ms(self.pace.warm_up))
            .then_some(event.sent_at_ms)
    }
}

/// A downstream consumer of both outputs.
fn reader(settings: &PipelineSettings, partitions: u32) -> anyhow::Result<BaseConsumer> {
    let consumer: BaseConsumer = config::input(settings, "reader").create().context("a reader")?;
    let mut list = TopicPartitionList::new();
    for topic in [&settings.topics.store_messages, &settings.topics.transit_messages] {
        for partition in 0..i32::try_from(partitions)? {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
