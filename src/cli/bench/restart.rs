//! `lethe bench restart` and `restore`.

use clap::Args;

use super::arguments::Measuring;
use super::{Place, failed, print, tell};
use crate::bench::restart::{self, Restart};
use crate::error::Failure;

#[derive(Args, Debug)]
pub(in crate::cli) struct RestartArgs {
    #[command(flatten)]
    place: Place,

    /// Live records
    #[arg(long, value_name = "N", default_value_t = 3_000_000)]
    records: u64,

    /// Bytes of content
    #[arg(long, value_name = "N", default_value_t = 512)]
    bytes: u32,

    /// Partitions of each input
    #[arg(long, value_name = "N", default_value_t = 4)]
    partitions: u32,

    /// Write the changelogs that so many records leave, rather than process them
    #[arg(long)]
    direct: bool,

    #[command(flatten)]
    measuring: Measuring,
}

impl RestartArgs {
    pub(super) fn run(&self, wipe: bool) -> Result<(), Failure> {
        let settings = self.place.load([("workers", self.measuring.workers.clone())])?.pipeline;
        let of = Restart {
            settings,
            records: self.records,
            bytes: self.bytes,
            partitions: self.partitions,
            rounds: self.measuring.rounds,
            scratch: self.measuring.scratch.clone(),
            wipe,
            direct: self.direct,
        };
        let restarts = restart::restart(&of, &mut tell).map_err(failed)?;
        print(&restarts, self.measuring.json, &restart::rendered(&restarts))
    }
}
