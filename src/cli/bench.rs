//! `lethe bench`: what lethe costs, on any broker.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::settings::Place;
use crate::bench::Comparison;
use crate::bench::compare::{self, Compare};
use crate::bench::load::{self, Load};
use crate::bench::pass_through::{self, PassThrough};
use crate::bench::restart::{self, Restart};
use crate::error::Failure;
use crate::telemetry::logs;

/// Measure what lethe costs, beside the least that its work can cost
#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// Write messages that were sent and delivered, and what their tenants chose
    #[command(after_help = "Example:\n  lethe bench load --messages 1000000")]
    Load(LoadArgs),
    /// Consume the messages and produce the same bytes with two headers, in transactions: the floor
    #[command(
        after_help = "Example:\n  lethe bench pass-through --group floor --output copy.messages"
    )]
    PassThrough(PassThroughArgs),
    /// Load once, then measure the floor and lethe in turn over the same input
    #[command(after_help = "Example:\n  lethe bench compare --brokers kafka-1:9092 --rounds 5\n\n\
                            It makes topics of its own, named lethe-bench-…, and leaves them there.")]
    Compare(CompareArgs),
    /// Kill a process that holds many live records, under load, and measure until it works again
    #[command(
        after_help = "Example:\n  lethe bench restart --brokers kafka-1:9092 --records 3000000\n\n\
                            It makes topics of its own, named lethe-bench-…, and leaves them there."
    )]
    Restart(RestartArgs),
    /// Take its data directory away too, and measure until all of it is back from the changelog
    #[command(
        after_help = "Example:\n  lethe bench restore --brokers kafka-1:9092 --records 3000000"
    )]
    Restore(RestartArgs),
}

#[derive(Args, Debug)]
pub(super) struct LoadShape {
    /// Messages; each is one record sent and one delivered
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    messages: u64,

    /// Bytes of content
    #[arg(long, value_name = "N", default_value_t = 512)]
    bytes: u32,

    /// Tenants, of which large ones send most
    #[arg(long, value_name = "N", default_value_t = 100)]
    tenants: u32,

    /// How many of the tenants opted in
    #[arg(long, value_name = "N", default_value_t = 70)]
    opted_in: u32,

    /// The seed: the same one gives the same messages
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Args, Debug)]
pub(super) struct LoadArgs {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    shape: LoadShape,

    /// Records a second [default: as many as the broker takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct PassThroughArgs {
    #[command(flatten)]
    place: Place,

    /// Consumer group
    #[arg(long, value_name = "NAME")]
    group: String,

    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    workers: Option<String>,

    /// The topic to write to
    #[arg(long, value_name = "TOPIC")]
    output: String,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct CompareArgs {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    shape: LoadShape,

    /// Workers of either program [default: one a core]
    #[arg(long, value_name = "N")]
    workers: Option<String>,

    /// Partitions of the input
    #[arg(long, value_name = "N", default_value_t = 4)]
    partitions: u32,

    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Where data directories are made, for as long as a round lasts
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct RestartArgs {
    #[command(flatten)]
    place: Place,

    /// Live records
    #[arg(long, value_name = "N", default_value_t = 3_000_000)]
    records: u64,

    /// Bytes of content
    #[arg(long, value_name = "N", default_value_t = 512)]
    bytes: u32,

    /// Workers [default: one a core]
    #[arg(long, value_name = "N")]
    workers: Option<String>,

    /// Partitions of each input
    #[arg(long, value_name = "N", default_value_t = 4)]
    partitions: u32,

    /// Write the changelogs that so many records leave, rather than process them
    #[arg(long)]
    direct: bool,

    /// How often it is killed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Where the data directory is made, for as long as it lasts
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl RestartArgs {
    fn run(&self, wipe: bool) -> Result<(), Failure> {
        let settings = self.place.load([("workers", self.workers.clone())])?.pipeline;
        let of = Restart {
            settings,
            records: self.records,
            bytes: self.bytes,
            partitions: self.partitions,
            rounds: self.rounds,
            scratch: self.scratch.clone(),
            wipe,
            direct: self.direct,
        };
        let restarts = restart::restart(&of, &mut tell)
            .map_err(|error| Failure::Failed(format!("{error:#}")))?;
        print(&restarts, self.json, &restart::rendered(&restarts))
    }
}

/// Progress goes beside the result, so that JSON stays JSON.
fn tell(text: &str) {
    let _closed = writeln!(std::io::stderr().lock(), "{text}");
}

pub(super) fn run(verb: &Bench) -> Result<(), Failure> {
    logs::install(std::env::var(logs::LOG_VARIABLE).ok().as_deref())?;
    let failed = |error: anyhow::Error| Failure::Failed(format!("{error:#}"));
    match verb {
        Bench::Load(args) => {
            let settings = args.place.load([])?.pipeline;
            let LoadShape { messages, bytes, tenants, opted_in, seed } = args.shape;
            let loaded = load::load(&Load {
                brokers: settings.brokers,
                topic: settings.topics.messages,
                control: Some(settings.topics.control),
                messages,
                delivered: true,
                tenants,
                opted_in,
                bytes,
                rate: args.rate,
                seed,
            });
            let loaded = loaded.map_err(failed)?;
            let text = format!("wrote {} records in {:.1} s\n", loaded.records, loaded.seconds);
            print(&loaded, args.json, &text)
        }
        Bench::PassThrough(args) => {
            let flags = [("group", Some(args.group.clone())), ("workers", args.workers.clone())];
            let settings = args.place.load(flags)?.pipeline;
            let of = PassThrough { settings, output: args.output.clone() };
            let passed = pass_through::pass_through(&of).map_err(failed)?;
            let text = format!("passed {} records in {:.1} s\n", passed.records, passed.seconds);
            print(&passed, args.json, &text)
        }
        Bench::Compare(args) => {
            let settings = args.place.load([("workers", args.workers.clone())])?.pipeline;
            let LoadShape { messages, bytes, tenants, opted_in, seed } = args.shape;
            let of = Compare {
                settings,
                messages,
                bytes,
                tenants,
                opted_in,
                partitions: args.partitions,
                rounds: args.rounds,
                seed,
                scratch: args.scratch.clone(),
            };
            let comparison = compare::compare(&of, &mut tell).map_err(failed)?;
            print(&comparison, args.json, &rendered(&comparison))
        }
        Bench::Restart(args) => args.run(false),
        Bench::Restore(args) => args.run(true),
    }
}

fn rendered(comparison: &Comparison) -> String {
    format!(
        "median:  pass-through {}\n         lethe        {}\n\nlethe takes {:.2} × the CPU of the \
         pass-through, at {:.2} × its speed, with {} workers each.\n",
        compare::line(&comparison.median.pass_through),
        compare::line(&comparison.median.lethe),
        comparison.cpu_ratio,
        comparison.speed_ratio,
        comparison.workers
    )
}

fn print(value: &impl Serialize, json: bool, text: &str) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::Failed(format!("standard output: {error}"));
    let json = json.then(|| serde_json::to_string_pretty(value)).transpose();
    let json = json.map_err(|error| failed(&error))?.map(|json| json + "\n");
    let text = json.as_deref().unwrap_or(text);
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(|error| failed(&error))
}
