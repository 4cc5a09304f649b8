//! Pass-through and lethe in turn over the same input, each a child process with a fresh group,
//! fresh topics and a fresh data directory.
//!
//! The same work is measured: each is stopped when its group has committed the whole input, and a
//! child that stops before is an error.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use super::child;
use super::figures::{Comparison, Figures, Round};
use super::load::{Load, load};
use super::pass_through::{self, Ends};
use crate::config::keys;
use crate::demo::now_ms;
use crate::pipeline::settings::{PipelineSettings, Topics};

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
    let bench = Bench { of, name: format!("lethe-bench-{}", now_ms()) };
    bench.make_topics(0)?;
    let settings = bench.settings(0);
    let written = load(&Load {
        brokers: settings.brokers.clone(),
        topic: settings.topics.messages.clone(),
        control: settings.topics.control.clone(),
        messages: of.messages,
        tenants: of.tenants,
        opted_in: of.opted_in,
        bytes: of.bytes,
        rate: None,
        seed: of.seed,
    })?;
    told(&format!("loaded {} records in {:.1} s", written.records, written.seconds));
    let ends = pass_through::ends(&settings, &settings.topics.messages)?;
    let mut rounds = Vec::new();
    for number in 1..=of.rounds {
        bench.make_topics(number)?;
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
    /// Begins the names of its topics and groups.
    name: String,
}

impl Bench<'_> {
    /// The input is the same in every round, and everything else its own.
    fn settings(&self, round: u32) -> PipelineSettings {
        let (all, own) = (&self.name, format!("{}-{round}", self.name));
        let topics = Topics {
            messages: format!("{all}.messages"),
            profiles: format!("{all}.profiles"),
            configs: format!("{all}.configs"),
            control: format!("{all}.control"),
            store_messages: format!("{own}.store.messages"),
            store_profiles: format!("{own}.store.profiles"),
            store_configs: format!("{own}.store.configs"),
            transit_messages: format!("{own}.transit.messages"),
            transit_profiles: format!("{own}.transit.profiles"),
            audit: format!("{own}.audit"),
            dead_letters: format!("{own}.dlq"),
            changelog_prefix: format!("{own}.changelog."),
        };
        PipelineSettings { group: own, topics, ..self.of.settings.clone() }
    }

    /// This program, told the round's topics by its environment.
    fn program(&self, round: u32) -> anyhow::Result<Command> {
        let settings = self.settings(round);
        let topics = &settings.topics;
        let mut command = Command::new(std::env::current_exe()?);
        for (key, value) in [
            ("topics.messages", &topics.messages),
            ("topics.profiles", &topics.profiles),
            ("topics.configs", &topics.configs),
            ("topics.control", &topics.control),
            ("topics.store_messages", &topics.store_messages),
            ("topics.store_profiles", &topics.store_profiles),
            ("topics.store_configs", &topics.store_configs),
            ("topics.transit_messages", &topics.transit_messages),
            ("topics.transit_profiles", &topics.transit_profiles),
            ("topics.audit", &topics.audit),
            ("topics.dead_letters", &topics.dead_letters),
            ("topics.changelog_prefix", &topics.changelog_prefix),
            ("topics.partitions", &self.of.partitions.to_string()),
            ("group", &settings.group),
            ("brokers", &settings.brokers),
            ("workers", &settings.workers.to_string()),
        ] {
            let key = keys::find(key).with_context(|| format!("no key {key}"))?;
            command.env(key.variable(), value);
        }
        command.env("LETHE_LOG", "warn");
        Ok(command)
    }

    /// Makes the topics of a round, and the input where it is not there yet.
    fn make_topics(&self, round: u32) -> anyhow::Result<()> {
        let output = self.program(round)?.args(["topics", "apply", "--with-inputs"]).output()?;
        if !output.status.success() {
            bail!("topics cannot be made: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// The floor writes to the round's topic of stored messages, under a group of its own.
    fn pass_through(&self, round: u32, ends: &Ends) -> anyhow::Result<Figures> {
        let mut settings = self.settings(round);
        settings.group = format!("{}-pass-through", settings.group);
        let mut command = self.program(round)?;
        command.args(["bench", "pass-through", "--group", &settings.group]);
        command.args(["--output", &settings.topics.store_messages]);
        child::measure(command, &settings, ends)
    }

    /// lethe writes to topics that nobody has written to: its own round follows the floor's.
    fn lethe(&self, round: u32, ends: &Ends) -> anyhow::Result<Figures> {
        // Beyond the rounds: another set of topics, as fresh as the floor's.
        let round = round + self.of.rounds;
        self.make_topics(round)?;
        let data_dir = tempfile::Builder::new().prefix("bench-").tempdir_in(&self.of.scratch)?;
        let mut command = self.program(round)?;
        command.args(["run", "--http", "127.0.0.1:0", "--instance", "bench", "--data-dir"]);
        command.arg(data_dir.path());
        child::measure(command, &self.settings(round), ends)
    }
}
