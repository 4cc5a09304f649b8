//! How long a message is on its way: from when it was due to be written to the input until a
//! `read_committed` consumer has it from an output.
//!
//! The loop is open: each record is due at a moment that the rate decides, and its latency counts from
//! there, whether the generator, the broker or lethe held it up (no coordinated omission). Pass-through and
//! lethe take turns, each on topics of its own.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use hdrhistogram::Histogram;
use lethe_engine::{Class, Event, MessageAction};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::BaseProducer;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use serde::Serialize;

use super::child::Running;
use super::figures::median;
use super::load::{self, due, finish, say, wait_until, write};
use super::messages::{Messages, Shape};
use super::site::Site;
use crate::codec::{self, TIME_MS_MAX, TimeLimits};
use crate::pipeline::kafka::config;
use crate::pipeline::settings::{IDLE_WAIT, PipelineSettings};

/// What comes later has failed.
const WITHIN: Duration = Duration::from_secs(60);
/// Digits of the histogram that are exact.
const DIGITS: u8 = 3;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Latency {
    /// Brokers, workers, commit interval and librdkafka's properties.
    pub settings: PipelineSettings,
    /// What the load is like; `messages` is what the rate and the time make of it.
    pub shape: Shape,
    /// Records a second.
    pub rate: u32,
    /// For how long it is measured.
    pub measured: Duration,
    /// For how long it goes on before.
    pub warm_up: Duration,
    /// Partitions of the input.
    pub partitions: u32,
    /// Rounds.
    pub rounds: u32,
    /// Where data directories are made.
    pub scratch: PathBuf,
}

/// One run of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Delays {
    /// Contents that were measured.
    pub contents: u64,
    /// Half of them took at most so many ms.
    pub p50_ms: f64,
    /// 90 %.
    pub p90_ms: f64,
    /// 99 %.
    pub p99_ms: f64,
    /// 99.9 %.
    pub p999_ms: f64,
    /// All.
    pub max_ms: f64,
    /// How late the generator itself was, at most (ms): it is in all of these.
    pub late_ms_max: f64,
    /// CPU time of one record in µs, of the whole run.
    pub cpu_us_a_record: f64,
    /// Largest resident memory in MiB.
    pub memory_mib: f64,
}

/// Both programs under the same load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Round {
    /// The floor: the pass-through.
    pub floor: Delays,
    /// lethe.
    pub lethe: Delays,
}

/// All rounds, with their medians.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latencies {
    /// Records a second.
    pub rate: u32,
    /// Workers of either program.
    pub workers: usize,
    /// How long a transaction collects, in ms.
    pub commit_interval_ms: f64,
    /// In their order.
    pub rounds: Vec<Round>,
    /// The median of each figure.
    pub median: Round,
    /// lethe's p99, as a multiple of the floor's.
    pub p99_ratio: f64,
}

/// Measures round by round; `told` hears of each step.
///
/// # Errors
/// The broker refuses something, or content does not come out.
pub fn latency(of: &Latency, told: &mut dyn FnMut(&str)) -> anyhow::Result<Latencies> {
    let mut rounds = Vec::new();
    for number in 1..=of.rounds {
        let round =
            Round { floor: run(of, Program::PassThrough)?, lethe: run(of, Program::Lethe)? };
        told(&format!(
            "round {number}: pass-through {}\n         lethe        {}",
            line(&round.floor),
            line(&round.lethe)
        ));
        rounds.push(round);
    }
    let median = Round {
        floor: medians(&rounds, |round| round.floor),
        lethe: medians(&rounds, |round| round.lethe),
    };
    Ok(Latencies {
        rate: of.rate,
        workers: of.settings.workers,
        commit_interval_ms: of.settings.commit_interval.as_secs_f64() * 1e3,
        p99_ratio: median.lethe.p99_ms / median.floor.p99_ms,
        rounds,
        median,
    })
}

impl Latencies {
    /// What was measured, for a person.
    #[must_use]
    pub fn rendered(&self) -> String {
        format!(
            "median:  pass-through {}\n         lethe        {}\n\nat {} records/s, with {} workers each and a \
             commit every {} ms.\n",
            line(&self.median.floor),
            line(&self.median.lethe),
            self.rate,
            self.workers,
            self.commit_interval_ms
        )
    }
}

fn line(delays: &Delays) -> String {
    format!(
        "p50 {:5.0} ms, p90 {:5.0}, p99 {:5.0}, p99.9 {:5.0}, max {:5.0} ({} contents; generator late by {:.0} ms \
         at most), {:5.2} µs a record",
        delays.p50_ms,
        delays.p90_ms,
        delays.p99_ms,
        delays.p999_ms,
        delays.max_ms,
        delays.contents,
        delays.late_ms_max,
        delays.cpu_us_a_record
    )
}

fn medians(rounds: &[Round], of: fn(&Round) -> Delays) -> Delays {
    let figure = |figure: fn(&Delays) -> f64| median(rounds, |round| figure(&of(round)));
    Delays {
        contents: rounds.first().map_or(0, |round| of(round).contents),
        p50_ms: figure(|delays| delays.p50_ms),
        p90_ms: figure(|delays| delays.p90_ms),
        p99_ms: figure(|delays| delays.p99_ms),
        p999_ms: figure(|delays| delays.p999_ms),
        max_ms: figure(|delays| delays.max_ms),
        late_ms_max: figure(|delays| delays.late_ms_max),
        cpu_us_a_record: figure(|delays| delays.cpu_us_a_record),
        memory_mib: figure(|delays| delays.memory_mib),
    }
}

#[derive(Clone, Copy)]
enum Program {
    PassThrough,
    Lethe,
}

/// Runs a program under the load, on topics of its own.
fn run(of: &Latency, program: Program) -> anyhow::Result<Delays> {
    let site = Site::new(&of.settings, of.partitions);
    site.make_topics(0)?;
    let settings = site.settings(0);
    let data = tempfile::Builder::new().prefix("bench-").tempdir_in(&of.scratch)?;
    let command = match program {
        Program::Lethe => site.run(0, "127.0.0.1:0", data.path())?,
        Program::PassThrough => {
            let mut command = site.program(0)?;
            command.args(["bench", "pass-through", "--follow", "--group", &settings.group]);
            command.args(["--output", &settings.topics.store_messages]);
            command
        }
    };
    let producer = load::producer(&settings.brokers)?;
    for control in of.shape.controls() {
        say(&producer, &settings.topics.control, &control)?;
    }
    finish(&producer)?;
    let mut running = Running::start(command)?;
    let run = Run::new(of);
    let (histogram, written) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let seen = run.read(&settings, &running);
            run.stop.store(true, Ordering::Relaxed);
            seen
        });
        let written = run.generate(&producer, &settings.topics.messages);
        if written.is_err() {
            run.stop.store(true, Ordering::Relaxed);
        }
        let seen = reader.join().map_err(|_| anyhow!("the reader has panicked"))?;
        anyhow::Ok((seen?, written?))
    })?;
    let used = running.stop()?;
    let cpu_us = (used.utime + used.stime).as_secs_f64() * 1e6;
    let ms = |us: u64| us as f64 / 1e3;
    Ok(Delays {
        contents: histogram.len(),
        p50_ms: ms(histogram.value_at_quantile(0.5)),
        p90_ms: ms(histogram.value_at_quantile(0.9)),
        p99_ms: ms(histogram.value_at_quantile(0.99)),
        p999_ms: ms(histogram.value_at_quantile(0.999)),
        max_ms: ms(histogram.max()),
        late_ms_max: written.late_ms_max,
        cpu_us_a_record: cpu_us / written.records.max(1) as f64,
        memory_mib: used.maxrss as f64 / f64::from(1 << 20),
    })
}

/// What was written.
struct Written {
    records: u64,
    late_ms_max: f64,
}

/// What the generator and the reader know of each other.
struct Run<'l> {
    of: &'l Latency,
    /// When the first record is due (Unix µs), and the same on the other clock.
    first_us: i64,
    first: Instant,
    /// Contents that are to come, once all are written.
    contents: OnceLock<u64>,
    stop: AtomicBool,
}

impl<'l> Run<'l> {
    fn new(of: &'l Latency) -> Self {
        let (contents, stop) = (OnceLock::new(), AtomicBool::new(false));
        Self { of, first_us: now_us(), first: Instant::now(), contents, stop }
    }

    /// When something is due (Unix ms).
    fn at_ms(&self, after: Duration) -> i64 {
        self.first_us / 1_000 + i64::try_from(after.as_millis()).unwrap_or(i64::MAX / 2)
    }

    /// Writes each record when it is due; that moment is its sent time.
    fn generate(&self, producer: &BaseProducer, topic: &str) -> anyhow::Result<Written> {
        let mut messages = Messages::new(&self.of.shape);
        let mut written = Written { records: 0, late_ms_max: 0.0 };
        let mut contents = 0;
        loop {
            let after = due(written.records, self.of.rate);
            if after >= self.of.warm_up + self.of.measured || self.stop.load(Ordering::Relaxed) {
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

    /// Reads the outputs until all contents have come; how long each took in µs.
    fn read(
        &self,
        settings: &PipelineSettings,
        running: &Running,
    ) -> anyhow::Result<Histogram<u64>> {
        let consumer = reader(settings, self.of.partitions)?;
        let mut histogram = Histogram::new(DIGITS)?;
        let mut since = Instant::now();
        loop {
            if self.contents.get().is_some_and(|&all| histogram.len() >= all) {
                return Ok(histogram);
            }
            if let Some(message) = consumer.poll(IDLE_WAIT) {
                let message = message?;
                let sent_at_ms = message.payload().and_then(|value| self.is_measured(value));
                if let Some(sent_at_ms) = sent_at_ms {
                    let took_us = now_us() - sent_at_ms * 1_000;
                    histogram.record(u64::try_from(took_us).unwrap_or(0))?;
                }
                since = Instant::now();
            } else if since.elapsed() > WITHIN || running.has_ended() {
                let all = self.contents.get().copied().unwrap_or_default();
                bail!("{} of {all} contents came out", histogram.len());
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
        (is_content && event.sent_at_ms >= self.at_ms(self.of.warm_up)).then_some(event.sent_at_ms)
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
