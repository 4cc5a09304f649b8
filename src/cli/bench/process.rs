//! `lethe bench pass-through`, `process` and `compare`.

use clap::Args;

use super::arguments::{LoadShape, Measuring, Messages};
use super::{Place, failed, print, tell};
use crate::bench::compare::{self, Compare};
use crate::bench::pass_through::{self, PassThrough};
use crate::bench::process::{self, Process};
use crate::error::Failure;

#[derive(Args, Debug)]
pub(in crate::cli) struct PassThroughArgs {
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

    /// Go on with what comes, until the process is killed
    #[arg(long)]
    follow: bool,

    /// Pass a partition through from an offset on, not from its start
    #[arg(long, value_name = "PARTITION:OFFSET,…", value_delimiter = ',', value_parser = place_in)]
    from: Vec<(i32, i64)>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl PassThroughArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let flags = [("group", Some(self.group.clone())), ("workers", self.workers.clone())];
        let settings = self.place.load(flags)?.pipeline;
        let from = self.from.iter().copied().collect();
        let (output, follow) = (self.output.clone(), self.follow);
        let of = PassThrough { settings, output, follow, from };
        let passed = pass_through::pass_through(&of).map_err(failed)?;
        let text = format!("passed {} records in {:.1} s\n", passed.records, passed.seconds);
        print(&passed, self.json, &text)
    }
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ProcessArgs {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    measuring: Measuring,
}

impl ProcessArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let of = of(&self.place, &self.measuring)?;
        let comparison = process::process(&of, &mut tell).map_err(failed)?;
        print(&comparison, self.measuring.json, &comparison.rendered())
    }
}

#[derive(Args, Debug)]
pub(in crate::cli) struct CompareArgs {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    messages: Messages,

    #[command(flatten)]
    shape: LoadShape,

    #[command(flatten)]
    measuring: Measuring,

    /// Partitions of the input
    #[arg(long, value_name = "N", default_value_t = 4)]
    partitions: u32,
}

impl CompareArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let process = of(&self.place, &self.measuring)?;
        let of = Compare {
            process,
            shape: self.shape.shape(self.messages.messages),
            partitions: self.partitions,
        };
        let comparison = compare::compare(&of, &mut tell).map_err(failed)?;
        print(&comparison, self.measuring.json, &comparison.rendered())
    }
}

fn place_in(text: &str) -> Result<(i32, i64), String> {
    let parsed = text
        .split_once(':')
        .and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?)));
    parsed.ok_or_else(|| "a partition and an offset, as in 0:1234".to_owned())
}

fn of(place: &Place, measuring: &Measuring) -> Result<Process, Failure> {
    let settings = place.load([("workers", measuring.workers.clone())])?.pipeline;
    Ok(Process { settings, rounds: measuring.rounds, scratch: measuring.scratch.clone() })
}
