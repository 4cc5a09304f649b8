//! How fast a topic is read again, alone and beside a live load, and what it costs that load.
//!
//! A topic of its own is loaded once. In each round lethe processes it as its live input; then a lethe that has seen
//! nothing of it reads it again (mode `missing`), alone; and once more beside an open loop.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::json;

use super::beside::{self, Live};
use super::child::{self, Running, WORK_WITHIN};
use super::figures::median;
use super::load::{self, Load};
use super::messages::Shape;
use super::open_loop::Pace;
use super::page;
use super::pass_through;
use super::site::Site;
use crate::demo::now_ms;
use crate::pipeline::settings::PipelineSettings;
use crate::telemetry::names;
use crate::traffic::Control;

/// How often it is looked how far the replay has come.
const LOOK: Duration = Duration::from_millis(25);
/// Tells the live load's messages from those that are read again.
const LIVE_SEED: u64 = 1 << 41;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Replaying {
    /// Brokers, workers, commit interval and librdkafka's properties.
    pub settings: PipelineSettings,
    /// What is read again is like this, and the live load beside it too.
    pub shape: Shape,
    /// Records a second of the live load beside it.
    pub rate: u32,
    /// For how long that goes on before it is measured.
    pub warm_up: Duration,
    /// For how long it is measured before the replay.
    pub before: Duration,
    /// Partitions of both.
    pub partitions: u32,
    /// Rounds.
    pub rounds: u32,
    /// Where data directories are made.
    pub scratch: PathBuf,
}

/// Records a second, and the live load beside a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Round {
    /// As the live input, a second.
    pub live_records_a_second: f64,
    /// As a replay with nothing beside it.
    pub alone_records_a_second: f64,
    /// As a replay beside the live load.
    pub beside_records_a_second: f64,
    /// The live load before the replay.
    pub before: Live,
    /// The live load beside it.
    pub during: Live,
}

/// All rounds, with their medians.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replays {
    /// Records that were read again.
    pub records: i64,
    /// Records a second of the live load.
    pub rate: u32,
    /// Workers.
    pub workers: usize,
    /// In their order.
    pub rounds: Vec<Round>,
    /// The median of each figure.
    pub median: Round,
    /// A replay alone, as a multiple of the live input.
    pub speed_ratio: f64,
    /// The live load's p99 beside a replay, as a multiple of that before.
    pub p99_ratio: f64,
}

/// Measures round by round; `told` hears of each step.
///
/// # Errors
/// The broker refuses something, a replay does not end, or content does not come out.
pub fn replay(of: &Replaying, told: &mut dyn FnMut(&str)) -> anyhow::Result<Replays> {
    let source = Site::new(&of.settings, of.partitions);
    source.make_topics(0)?;
    let topics = source.settings(0).topics;
    let loaded = load::load(&Load {
        brokers: of.settings.brokers.clone(),
        topic: topics.messages,
        control: Some(topics.control),
        shape: of.shape.clone(),
        rate: None,
    })?;
    told(&format!("loaded {} records in {:.1} s", loaded.records, loaded.seconds));
    let records = i64::try_from(loaded.records)?;
    let mut rounds = Vec::new();
    for number in 0..of.rounds {
        let live_records_a_second = live(of, &source, number)?;
        let alone_records_a_second = Bench::start(of, &source, records)?.alone()?;
        let round = Bench::start(of, &source, records)?.beside()?;
        let round = Round { live_records_a_second, alone_records_a_second, ..round };
        told(&format!("round {}:\n{}", number + 1, lines(&round)));
        rounds.push(round);
    }
    let figure = |figure: fn(&Round) -> f64| median(&rounds, figure);
    let median = Round {
        live_records_a_second: figure(|round| round.live_records_a_second),
        alone_records_a_second: figure(|round| round.alone_records_a_second),
        beside_records_a_second: figure(|round| round.beside_records_a_second),
        before: beside::median(&rounds, |round| round.before),
        during: beside::median(&rounds, |round| round.during),
    };
    Ok(Replays {
        records,
        rate: of.rate,
        workers: of.settings.workers,
        speed_ratio: median.alone_records_a_second / median.live_records_a_second,
        p99_ratio: median.during.p99_ms / median.before.p99_ms,
        rounds,
        median,
    })
}

impl Replays {
    /// What was measured, for a person.
    #[must_use]
    pub fn rendered(&self) -> String {
        format!(
            "median:\n{}\n\n{} records, with {} workers: alone {:.2} times as fast as the live input; beside {} \
             records/s the p99 of live contents is {:.2} times what it was before.\n",
            lines(&self.median),
            self.records,
            self.workers,
            self.speed_ratio,
            self.rate,
            self.p99_ratio
        )
    }
}

fn lines(round: &Round) -> String {
    format!(
        "  live input    {:.0} records/s\n  replay alone  {:.0} records/s\n  beside a load {:.0} records/s\n  \
         live before   {}\n  live during   {}",
        round.live_records_a_second,
        round.alone_records_a_second,
        round.beside_records_a_second,
        round.before.line(),
        round.during.line()
    )
}

/// How fast the source is as a live input.
fn live(of: &Replaying, source: &Site, number: u32) -> anyhow::Result<f64> {
    source.make_topics(number)?;
    let settings = source.settings(number);
    let ends = pass_through::ends(&settings, &settings.topics.messages)?;
    let data = tempfile::Builder::new().prefix("bench-").tempdir_in(&of.scratch)?;
    let mut lethe = Running::start(source.run(number, "127.0.0.1:0", data.path())?)?;
    let speed = child::wait_until_committed(&lethe, &settings, &ends)?;
    lethe.stop()?;
    Ok(speed)
}

/// A process that has seen nothing of the source.
struct Bench<'b> {
    of: &'b Replaying,
    source: String,
    records: i64,
    settings: PipelineSettings,
    http: SocketAddr,
    lethe: Running,
    /// Removed at the end.
    _data: tempfile::TempDir,
}

impl<'b> Bench<'b> {
    fn start(of: &'b Replaying, source: &Site, records: i64) -> anyhow::Result<Self> {
        let site = Site::new(&of.settings, of.partitions);
        site.make_topics(0)?;
        let settings = site.settings(0);
        let producer = load::producer(&settings.brokers)?;
        load::say_all(&producer, &settings.topics.control, of.shape.controls())?;
        let data = tempfile::Builder::new().prefix("bench-").tempdir_in(&of.scratch)?;
        let http = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let lethe = Running::start(site.run(0, &http.to_string(), data.path())?)?;
        let source = source.settings(0).topics.messages;
        let bench = Self { of, source, records, settings, http, lethe, _data: data };
        bench.wait_until_ready()?;
        bench.lethe.wait_until_at_rest();
        Ok(bench)
    }

    fn wait_until_ready(&self) -> anyhow::Result<()> {
        while !page::get(self.http, "/readyz").is_ok_and(|(status, _)| status == 200) {
            if self.lethe.has_ended() || self.lethe.started.elapsed() > WORK_WITHIN {
                bail!("lethe is not ready");
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn alone(mut self) -> anyhow::Result<f64> {
        let (speed, _) = self.replay(&|| self.lethe.has_ended())?;
        self.lethe.stop()?;
        Ok(speed)
    }

    fn beside(mut self) -> anyhow::Result<Round> {
        let shape = Shape { messages: u64::MAX, seed: LIVE_SEED, ..self.of.shape.clone() };
        let Replaying { rate, warm_up, before, partitions, .. } = *self.of;
        let pace = Pace { shape: &shape, rate, warm_up, measured: WORK_WITHIN, partitions };
        let replay = |ended: &dyn Fn() -> bool| self.replay(ended);
        let (beside_records_a_second, [before, during]) =
            beside::measure(pace, before, &self.settings, &self.lethe, replay)?;
        self.lethe.stop()?;
        Ok(Round { beside_records_a_second, before, during, ..Round::default() })
    }

    /// Reads the source again. Gives how many records a second that were from the first that was seen on, and when it
    /// was (Unix ms). `ended`: nothing more comes.
    fn replay(&self, ended: &dyn Fn() -> bool) -> anyhow::Result<(f64, [i64; 2])> {
        let producer = load::producer(&self.settings.brokers)?;
        let value = json!({ "source": self.source, "class": "message", "mode": "missing" });
        let control = Control { key: "replay/bench".to_owned(), value: value.to_string() };
        let (started, from_ms) = (Instant::now(), now_ms());
        load::say_all(&producer, &self.settings.topics.control, [control])?;
        let mut first = None;
        loop {
            let (_, metrics) = page::get(self.http, "/metrics")?;
            let done = page::sum(&metrics, names::REPLAY_RECORDS) as i64;
            if done > 0 {
                first.get_or_insert((Instant::now(), done));
            }
            if done >= self.records {
                break;
            }
            if ended() || started.elapsed() > WORK_WITHIN {
                bail!("{done} of {} records were read again", self.records);
            }
            thread::sleep(LOOK);
        }
        let first = first.context("no record was seen")?;
        Ok((child::speed(started, first, self.records), [from_ms, now_ms()]))
    }
}
