//! `lethe topics`: what topics there must be, and making it so.

use std::io::Write;

use clap::{Args, Subcommand};

use super::settings::Place;
use crate::config::Settings;
use crate::error::Failure;
use crate::pipeline::seam::Role;
use crate::pipeline::settings::{CLASSES, OUTPUTS};
use crate::topics::admin::Admin;
use crate::topics::{self, Current, Plan, Rendered};

/// Show or mend the topics that lethe needs
#[derive(Debug, Subcommand)]
pub(super) enum Topics {
    /// Show what is missing or wrong, and how long bytes can outlive their tombstone; changes nothing
    #[command(after_help = "Example:\n  lethe topics plan --brokers kafka-1:9092")]
    Plan(Asked),
    /// Create what is missing and correct what is wrong; input topics are never altered
    #[command(after_help = "Examples:\n  lethe topics apply --brokers kafka-1:9092\n  \
                            lethe topics apply --with-inputs    # on an empty cluster")]
    Apply(Asked),
}

#[derive(Args, Debug)]
pub(super) struct Asked {
    #[command(flatten)]
    place: Place,

    /// Create input topics that are missing, too (with `topics.partitions` partitions)
    #[arg(long)]
    with_inputs: bool,

    /// Accept partitions that an input has gained: what is known of a record whose key has moved stays behind
    #[arg(long)]
    accept_partitions: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The topics that lethe reads and writes, by name.
pub(super) fn names(settings: &Settings) -> Vec<String> {
    let roles = CLASSES.map(Role::Input).into_iter().chain(OUTPUTS).chain([Role::Control]);
    roles.map(|role| settings.pipeline.topics.name(role)).collect()
}

/// A connection for looking at topics.
pub(super) fn admin(settings: &Settings) -> Result<Admin, Failure> {
    let pipeline = &settings.pipeline;
    Ok(Admin::new(&pipeline.brokers, &pipeline.kafka, settings.making.replication)?)
}

/// What is missing or wrong beside the topics that are there.
pub(super) fn plan(settings: &Settings, current: &Current, asked: topics::Asked) -> Plan {
    topics::plan(&settings.pipeline.topics, &settings.making, current, asked)
}

pub(super) fn run(verb: &Topics) -> Result<(), Failure> {
    let (asked, apply) = match verb {
        Topics::Plan(asked) => (asked, false),
        Topics::Apply(asked) => (asked, true),
    };
    let settings = asked.place.load([])?;
    let admin = admin(&settings)?;
    let plan = super::runtime()?.block_on(async {
        let current = admin.describe(&names(&settings)).await?;
        let wishes = topics::Asked {
            with_inputs: asked.with_inputs,
            accept_partitions: asked.accept_partitions,
        };
        let plan = plan(&settings, &current, wishes);
        if apply {
            admin.apply(&plan.changes).await?;
        }
        Ok::<_, Failure>(plan)
    })?;
    print(&plan, asked.json)?;
    if apply && !plan.problems.is_empty() {
        return Err(Failure::Failed(plan.problems.join("\n")));
    }
    Ok(())
}

fn print(plan: &Plan, json: bool) -> Result<(), Failure> {
    let text = if json {
        let failed = |error| Failure::Failed(format!("the plan cannot be written: {error}"));
        serde_json::to_string_pretty(plan).map_err(failed)? + "\n"
    } else {
        Rendered(plan).to_string()
    };
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Failure::Failed(format!("standard output: {error}")))
}
