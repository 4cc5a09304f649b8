//! Topics of a benchmark's own, and this program as a child that works on them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::config::keys;
use crate::demo::now_ms;
use crate::pipeline::settings::{PipelineSettings, Topics};

/// Where a benchmark works: topics and groups named `lethe-bench-…`, which it leaves there.
pub(super) struct Site {
    /// With the inputs' names.
    settings: PipelineSettings,
    /// Of the inputs that it makes.
    partitions: u32,
    /// Begins the names of its topics and groups.
    name: String,
}

impl Site {
    /// A new one, whose inputs have so many partitions.
    pub(super) fn new(settings: &PipelineSettings, partitions: u32) -> Self {
        let name = format!("lethe-bench-{}", now_ms());
        let inputs = Topics {
            messages: format!("{name}.messages"),
            profiles: format!("{name}.profiles"),
            configs: format!("{name}.configs"),
            control: format!("{name}.control"),
            ..Topics::default()
        };
        let settings = PipelineSettings { topics: inputs, ..settings.clone() };
        Self { settings, partitions, name }
    }

    /// One whose inputs are there.
    pub(super) fn over_given_inputs(settings: &PipelineSettings) -> Self {
        let name = format!("lethe-bench-{}", now_ms());
        Self { settings: settings.clone(), partitions: 1, name }
    }

    /// The inputs are the same in every round, and everything else its own.
    pub(super) fn settings(&self, round: u32) -> PipelineSettings {
        let own = format!("{}-{round}", self.name);
        let topics = Topics {
            store_messages: format!("{own}.store.messages"),
            store_profiles: format!("{own}.store.profiles"),
            store_configs: format!("{own}.store.configs"),
            transit_messages: format!("{own}.transit.messages"),
            transit_profiles: format!("{own}.transit.profiles"),
            audit: format!("{own}.audit"),
            dead_letters: format!("{own}.dlq"),
            changelog_prefix: format!("{own}.changelog."),
            ..self.settings.topics.clone()
        };
        PipelineSettings { group: own, topics, ..self.settings.clone() }
    }

    /// This program, told the round's topics by its environment.
    pub(super) fn program(&self, round: u32) -> anyhow::Result<Command> {
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
            ("topics.partitions", &self.partitions.to_string()),
            ("group", &settings.group),
            ("brokers", &settings.brokers),
            ("workers", &settings.workers.to_string()),
        ] {
            let key = keys::find(key).with_context(|| format!("no key {key}"))?;
            command.env(key.variable(), value);
        }
        for (property, value) in &settings.kafka {
            let name = property.to_uppercase().replace('.', "_");
            command.env(format!("LETHE_KAFKA_{name}"), value);
        }
        command.env("LETHE_LOG", "warn");
        Ok(command)
    }

    /// `lethe run` in a round.
    pub(super) fn run(&self, round: u32, http: &str, data: &Path) -> anyhow::Result<Command> {
        let mut command = self.program(round)?;
        command.args(["run", "--http", http, "--instance", "bench", "--data-dir"]).arg(data);
        Ok(command)
    }

    /// Makes the topics of a round, and the inputs where they are not there yet.
    pub(super) fn make_topics(&self, round: u32) -> anyhow::Result<()> {
        let output = self.program(round)?.args(["topics", "apply", "--with-inputs"]).output()?;
        if !output.status.success() {
            bail!("topics cannot be made: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}
