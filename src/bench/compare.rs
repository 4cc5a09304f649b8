//! Pass-through and lethe in turn over the same input, each a child process with a fresh group,
//! fresh topics and a fresh data directory.
//!
//! The same work is measured: each is stopped when its group has committed the whole input, and a
//! child that stops before is an error.

use std::path::PathBuf;

use super::child;
use super::figures::{Comparison, Figures, Round};
use super::load::{Load, load};
use super::pass_through::{self, Ends};
use super::site::Site;
use crate::pipeline::settings::PipelineSettings;

/// What is to be compared.
#[derive(Clone, Debug)]
pub struct Compare {
    /// Brokers, workers, commit interval and librdkafka's properties.
    pub settings: PipelineSettings,
    /// Messages; each is one record sent and one delivered.
    pub messages: u64,
    /// Bytes of content.
    pub bytes: u32,
    /// Tenants.
    pub tenants: u32,
    /// How many of them opted in.
    pub opted_in: u32,
    /// Partitions of the input.
    pub partitions: u32,
    /// Rounds.
    pub rounds: u32,
    /// The seed of the load.
    pub seed: u64,
    /// Where data directories are made.
    pub scratch: PathBuf,
}

/// Loads, then measures round by round; `told` hears of each step.
///
/// # Errors
/// The broker refuses something, or a child has not done its work.
pub fn compare(of: &Compare, told: &mut dyn FnMut(&str)) -> anyhow::Result<Comparison> {
    let site = Site::new(&of.settings, of.partitions);
    let bench = Bench { of, site: &site };
    site.make_topics(0)?;
    let settings = site.settings(0);
    let written = load(&Load {
        brokers: settings.brokers.clone(),
        topic: settings.topics.messages.clone(),
        control: Some(settings.topics.control.clone()),
        messages: of.messages,
        tenants: of.tenants,
        opted_in: of.opted_in,
        bytes: of.bytes,
        delivered: true,
        rate: None,
        seed: of.seed,
    })?;
    told(&format!("loaded {} records in {:.1} s", written.records, written.seconds));
    let ends = pass_through::ends(&settings, &settings.topics.messages)?;
    let mut rounds = Vec::new();
    for number in 1..=of.rounds {
        site.make_topics(number)?;
        let round = Round {
            pass_through: bench.pass_through(number, &ends)?,
            lethe: bench.lethe(number, &ends)?,
        };
        told(&format!(
            "round {number}: pass-through {}\n         lethe        {}",
            line(&round.pass_through),
            line(&round.lethe)
        ));
        rounds.push(round);
    }
    Ok(Comparison::new(of.settings.workers, rounds))
}

/// Figures in a line.
#[must_use]
pub fn line(figures: &Figures) -> String {
    format!(
        "{:6.2} µs a record, {:8.0} records/s, {:6.1} s of CPU in {:6.1} s, {:5.0} MiB",
        figures.cpu_us_a_record,
        figures.records_a_second,
        figures.cpu_seconds,
        figures.seconds,
        figures.memory_mib
    )
}

struct Bench<'b> {
    of: &'b Compare,
    site: &'b Site,
}

impl Bench<'_> {
    /// The floor writes to the round's topic of stored messages, under a group of its own.
    fn pass_through(&self, round: u32, ends: &Ends) -> anyhow::Result<Figures> {
        let mut settings = self.site.settings(round);
        settings.group = format!("{}-pass-through", settings.group);
        let mut command = self.site.program(round)?;
        command.args(["bench", "pass-through", "--group", &settings.group]);
        command.args(["--output", &settings.topics.store_messages]);
        child::measure(command, &settings, ends)
    }

    /// lethe writes to topics that nobody has written to: its own round follows the floor's.
    fn lethe(&self, round: u32, ends: &Ends) -> anyhow::Result<Figures> {
        // Beyond the rounds: another set of topics, as fresh as the floor's.
        let round = round + self.of.rounds;
        self.site.make_topics(round)?;
        let data_dir = tempfile::Builder::new().prefix("bench-").tempdir_in(&self.of.scratch)?;
        let mut command = self.site.program(round)?;
        command.args(["run", "--http", "127.0.0.1:0", "--instance", "bench", "--data-dir"]);
        command.arg(data_dir.path());
        child::measure(command, &self.site.settings(round), ends)
    }
}
