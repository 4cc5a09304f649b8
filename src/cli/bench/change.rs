//! `lethe bench cut` and `erase`.

use std::time::Duration;

use clap::Args;

use super::arguments::Measuring;
use super::{Place, failed, print, tell};
use crate::bench::change::{self, Change, Changing};
use crate::error::Failure;

#[derive(Args, Debug)]
pub(in crate::cli) struct ChangeArgs {
    #[command(flatten)]
    place: Place,

    /// Stored messages of the tenant that is changed
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    records: u64,

    /// Its conversations in each partition, each with a sender of its own
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    conversations: u32,

    /// Records a second of the live load beside the change
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// For how many seconds that is measured before the change
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// For how many seconds it goes on before
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    warm_up: u64,

    /// Partitions of the input
    #[arg(long, value_name = "N", default_value_t = 4)]
    partitions: u32,

    #[command(flatten)]
    measuring: Measuring,
}

impl ChangeArgs {
    pub(super) fn run(&self, change: Change) -> Result<(), Failure> {
        let settings = self.place.load([("workers", self.measuring.workers.clone())])?.pipeline;
        let of = Changing {
            settings,
            change,
            records: self.records,
            conversations: self.conversations,
            rate: self.rate,
            warm_up: Duration::from_secs(self.warm_up),
            before: Duration::from_secs(self.seconds),
            partitions: self.partitions,
            rounds: self.measuring.rounds,
            scratch: self.measuring.scratch.clone(),
        };
        let changes = change::change(&of, &mut tell).map_err(failed)?;
        print(&changes, self.measuring.json, &changes.rendered())
    }
}
