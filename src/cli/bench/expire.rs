//! `lethe bench expire`, and `nulls`, its floor.

use clap::Args;

use super::arguments::Measuring;
use super::{Place, failed, print, tell};
use crate::bench::expire::{self, Expire};
use crate::bench::nulls::{self, Nulls};
use crate::error::Failure;

/// What is due.
#[derive(Args, Debug)]
pub(in crate::cli) struct Due {
    /// Records that are due at once
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    records: u64,

    /// Tenants, of which large ones send most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    tenants: u32,

    /// Partitions of input and output
    #[arg(long, value_name = "N", default_value_t = 4)]
    partitions: u32,

    /// The seed: the same one gives the same messages
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct NullsArgs {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    due: Due,

    /// The topic to write to
    #[arg(long, value_name = "TOPIC")]
    output: String,

    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    workers: Option<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl NullsArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let settings = self.place.load([("workers", self.workers.clone())])?.pipeline;
        let Due { records, tenants, partitions, seed } = self.due;
        let shape = expire::shape(records, tenants, 0, seed);
        let of = Nulls { settings, output: self.output.clone(), partitions, shape };
        let produced = nulls::nulls(&of).map_err(failed)?;
        let text = format!(
            "produced {} tombstones in {:.1} s, with {:.1} s of CPU\n",
            produced.records, produced.seconds, produced.cpu_seconds
        );
        print(&produced, self.json, &text)
    }
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ExpireArgs {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    due: Due,

    /// Bytes of content
    #[arg(long, value_name = "N", default_value_t = 512)]
    bytes: u32,

    #[command(flatten)]
    measuring: Measuring,
}

impl ExpireArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let settings = self.place.load([("workers", self.measuring.workers.clone())])?.pipeline;
        let Due { records, tenants, partitions, seed } = self.due;
        let of = Expire {
            settings,
            records,
            tenants,
            bytes: self.bytes,
            partitions,
            rounds: self.measuring.rounds,
            seed,
            scratch: self.measuring.scratch.clone(),
        };
        let comparison = expire::expire(&of, &mut tell).map_err(failed)?;
        print(&comparison, self.measuring.json, &comparison.rendered())
    }
}
