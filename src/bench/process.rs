//! Pass-through and lethe in turn over the same input, each a child process with a fresh group,
//! fresh topics and a fresh data directory.
//!
//! The same work is measured: each is stopped when its group has committed the whole input, and a
//! child that stops before is an error.

use std::path::PathBuf;

use super::child;
use super::figures::{Comparison, Figures, Floor, Round, line};
use super::pass_through::{self, Ends};
use super::site::Site;
use crate::pipeline::settings::PipelineSettings;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Process {
    /// Brokers, workers, commit interval and librdkafka's properties; the topics of the input.
    pub settings: PipelineSettings,
    /// Rounds.
    pub rounds: u32,
    /// Where data directories are made.
    pub scratch: PathBuf,
}

/// Measures round by round over the input that is there; `told` hears of each step.
///
/// # Errors
/// The broker refuses something, or a child has not done its work.
pub fn process(of: &Process, told: &mut dyn FnMut(&str)) -> anyhow::Result<Comparison> {
    let site = Site::over_given_inputs(&of.settings);
    over(of, &site, told)
}

/// The same over a site's input.
pub(super) fn over(
    of: &Process,
    site: &Site,
    told: &mut dyn FnMut(&str),
) -> anyhow::Result<Comparison> {
    let settings = site.settings(0);
    let bench = Bench { of, site };
    let ends = pass_through::ends(&settings, &settings.topics.messages)?;
    let mut rounds = Vec::new();
    for number in 1..=of.rounds {
        let round =
            Round { floor: bench.pass_through(number, &ends)?, lethe: bench.lethe(number, &ends)? };
        told(&format!(
            "round {number}: pass-through {}\n         lethe        {}",
            line(&round.floor),
            line(&round.lethe)
        ));
        rounds.push(round);
    }
    Ok(Comparison::new(Floor::PassThrough, settings.workers, rounds))
}

struct Bench<'b> {
    of: &'b Process,
    site: &'b Site,
}

impl Bench<'_> {
    /// The floor writes to the round's topic of stored messages, under a group of its own.
    fn pass_through(&self, round: u32, ends: &Ends) -> anyhow::Result<Figures> {
        self.site.make_topics(round)?;
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
        let command = self.site.run(round, "127.0.0.1:0", data_dir.path())?;
        child::measure(command, &self.site.settings(round), ends)
    }
}
