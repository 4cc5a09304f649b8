//! `lethe bench`: what lethe costs, on any broker.

mod arguments;
mod change;
mod expire;
mod growth;
mod latency;
mod process;
mod replay;
mod restart;
mod state;

use std::fmt::Display;
use std::io::Write as _;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::settings::Place;
use crate::bench::change::Change;
use crate::bench::load::{self, Load};
use crate::error::Failure;
use crate::telemetry::logs;
use arguments::{LoadShape, Messages};

/// Measure what lethe costs, beside the least that its work can cost
#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// Write messages, whom they reach and what else becomes of them, and what their tenants chose
    #[command(after_help = "Examples:\n  lethe bench load --messages 1000000\n  \
                            lethe bench load --rate 20000 --groups --edited 5 --recalled 5 --bytes kind")]
    Load(LoadArgs),
    /// Consume the messages and produce the same bytes with two headers, in transactions: the floor
    #[command(
        after_help = "Example:\n  lethe bench pass-through --group floor --output copy.messages"
    )]
    PassThrough(process::PassThroughArgs),
    /// Measure the floor and lethe in turn over the input that is there
    #[command(after_help = "Example:\n  lethe bench load && lethe bench process --rounds 5\n\n\
                            It makes outputs of its own, named lethe-bench-…, and leaves them there.")]
    Process(process::ProcessArgs),
    /// Load once, then measure the floor and lethe in turn over the same input
    #[command(after_help = "Example:\n  lethe bench compare --brokers kafka-1:9092 --rounds 5\n\n\
                            It makes topics of its own, named lethe-bench-…, and leaves them there.")]
    Compare(process::CompareArgs),
    /// Produce tombstones alone, in transactions: the floor of `expire`
    #[command(after_help = "Example:\n  lethe bench nulls --output copy.messages --partitions 4")]
    Nulls(expire::NullsArgs),
    /// Measure what it costs to end records that are due all at once, beside the same nulls alone
    #[command(
        after_help = "Example:\n  lethe bench expire --brokers kafka-1:9092 --records 1000000\n\n\
                            It makes topics of its own, named lethe-bench-…, and leaves them there."
    )]
    Expire(expire::ExpireArgs),
    /// Measure at a fixed rate how long a content is on its way, beside the floor
    #[command(
        after_help = "Example:\n  lethe bench latency --brokers kafka-1:9092 --rate 50000\n\n\
                            It makes topics of its own, named lethe-bench-…, and leaves them there."
    )]
    Latency(latency::LatencyArgs),
    /// Cut a tenant's retention from 30 days to one: all that it has is due at once, alone and beside a live load
    #[command(
        after_help = "Example:\n  lethe bench cut --brokers kafka-1:9092 --records 1000000 --rate 50000\n\n\
                            It makes topics of its own, named lethe-bench-…, and leaves them there."
    )]
    Cut(change::ChangeArgs),
    /// Erase what one of a tenant's users has sent, alone and beside a live load
    #[command(
        after_help = "Example:\n  lethe bench erase --brokers kafka-1:9092 --records 10000000 --workers 1\n\n\
                            It makes topics of its own, named lethe-bench-…, and leaves them there."
    )]
    Erase(change::ChangeArgs),
    /// Read a topic again: as fast as the live input? And what does it cost the live load beside it?
    #[command(
        after_help = "Example:\n  lethe bench replay --brokers kafka-1:9092 --messages 1000000 --rate 20000\n\n\
                            It makes topics of its own, named lethe-bench-…, and leaves them there."
    )]
    Replay(replay::ReplayArgs),
    /// Measure the ledger alone, without Kafka: to remember records, to end them, their bytes on disk
    #[command(after_help = "Example:\n  lethe bench state --records 1000000,10000000,50000000")]
    State(state::StateArgs),
    /// Measure how the cost of a record grows with one thing, beside the floor
    #[command(after_help = "Example:\n  lethe bench growth --over tenants --svg tenants.svg\n\n\
                            It makes topics of its own, named lethe-bench-…, and leaves them there.")]
    Growth(growth::GrowthArgs),
    /// Kill a process that holds many live records, under load, and measure until it works again
    #[command(
        after_help = "Example:\n  lethe bench restart --brokers kafka-1:9092 --records 3000000\n\n\
                            It makes topics of its own, named lethe-bench-…, and leaves them there."
    )]
    Restart(restart::RestartArgs),
    /// Take its data directory away too, and measure until all of it is back from the changelog
    #[command(
        after_help = "Example:\n  lethe bench restore --brokers kafka-1:9092 --records 3000000"
    )]
    Restore(restart::RestartArgs),
}

#[derive(Args, Debug)]
pub(super) struct LoadArgs {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    messages: Messages,

    #[command(flatten)]
    shape: LoadShape,

    /// Records a second [default: as many as the broker takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl LoadArgs {
    fn run(&self) -> Result<(), Failure> {
        let settings = self.place.load([])?.pipeline;
        let loaded = load::load(&Load {
            brokers: settings.brokers,
            topic: settings.topics.messages,
            control: Some(settings.topics.control),
            shape: self.shape.shape(self.messages.messages),
            rate: self.rate,
        });
        let loaded = loaded.map_err(failed)?;
        let text = format!(
            "wrote {} records in {:.1} s: {:.0} records/s\n",
            loaded.records, loaded.seconds, loaded.records_a_second
        );
        print(&loaded, self.json, &text)
    }
}

pub(super) fn run(verb: &Bench) -> Result<(), Failure> {
    logs::install(std::env::var(logs::LOG_VARIABLE).ok().as_deref())?;
    match verb {
        Bench::Load(args) => args.run(),
        Bench::PassThrough(args) => args.run(),
        Bench::Process(args) => args.run(),
        Bench::Compare(args) => args.run(),
        Bench::Nulls(args) => args.run(),
        Bench::Expire(args) => args.run(),
        Bench::Latency(args) => args.run(),
        Bench::Cut(args) => args.run(Change::Cut),
        Bench::Erase(args) => args.run(Change::Erase),
        Bench::Replay(args) => args.run(),
        Bench::State(args) => args.run(),
        Bench::Growth(args) => args.run(),
        Bench::Restart(args) => args.run(false),
        Bench::Restore(args) => args.run(true),
    }
}

fn failed(error: anyhow::Error) -> Failure {
    Failure::Failed(format!("{error:#}"))
}

/// Progress goes beside the result, so that JSON stays JSON.
fn tell(text: &str) {
    let _closed = writeln!(std::io::stderr().lock(), "{text}");
}

fn print(value: &impl Serialize, json: bool, text: &str) -> Result<(), Failure> {
    let failed = |error: &dyn Display| Failure::Failed(format!("standard output: {error}"));
    let json = json.then(|| serde_json::to_string_pretty(value)).transpose();
    let json = json.map_err(|error| failed(&error))?.map(|json| json + "\n");
    let text = json.as_deref().unwrap_or(text);
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(|error| failed(&error))
}
