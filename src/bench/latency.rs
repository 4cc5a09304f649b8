//! How long a message is on its way: from when it was due to be written to the input until a
//! `read_committed` consumer has it from an output.
//!
//! The loop is open: each record is due at a moment that the rate decides, and its latency counts from
//! there, whether the generator, the broker or lethe held it up (no coordinated omission). Pass-through and
//! lethe take turns, each on topics of its own.

use std::path::PathBuf;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::child::Running;
use super::figures::median;
use super::load;
use super::messages::Shape;
use super::open_loop::{OpenLoop, Pace};
use super::site::Site;
use crate::pipeline::settings::PipelineSettings;

/// Digits of the histogram that are exact.
pub(super) const DIGITS: u8 = 3;

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
    load::say_all(&producer, &settings.topics.control, of.shape.controls())?;
    let mut running = Running::start(command)?;
    let Latency { rate, warm_up, measured, partitions, .. } = *of;
    let open_loop = OpenLoop::new(Pace { shape: &of.shape, rate, warm_up, measured, partitions });
    let mut histogram: Histogram<u64> = Histogram::new(DIGITS)?;
    let written = open_loop.run(&settings, &running, &mut |_, took_us| {
        // It grows with what is recorded, and has no bound that a latency reaches.
        let _recorded = histogram.record(took_us);
    })?;
    let used = running.stop()?;
    let cpu_us = (used.utime + used.stime).as_secs_f64() * 1e6;
    Ok(Delays {
        contents: histogram.len(),
        p50_ms: quantile_ms(&histogram, 0.5),
        p90_ms: quantile_ms(&histogram, 0.9),
        p99_ms: quantile_ms(&histogram, 0.99),
        p999_ms: quantile_ms(&histogram, 0.999),
        max_ms: quantile_ms(&histogram, 1.0),
        late_ms_max: written.late_ms_max,
        cpu_us_a_record: cpu_us / written.records.max(1) as f64,
        memory_mib: used.maxrss as f64 / f64::from(1 << 20),
    })
}

/// So much of the contents took at most this long (ms).
pub(super) fn quantile_ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}
