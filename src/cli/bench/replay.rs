//! `lethe bench replay`.

use std::time::Duration;

use clap::Args;

use super::arguments::{LoadShape, Measuring, Messages};
use super::{Place, failed, print, tell};
use crate::bench::replay::{self, Replaying};
use crate::error::Failure;

#[derive(Args, Debug)]
pub(in crate::cli) struct ReplayArgs {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    messages: Messages,

    #[command(flatten)]
    shape: LoadShape,

    /// Records a second of the live load beside the replay
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// For how many seconds that is measured before the replay
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// For how many seconds it goes on before
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    warm_up: u64,

    /// Partitions of the input and of what is read again
    #[arg(long, value_name = "N", default_value_t = 4)]
    partitions: u32,

    #[command(flatten)]
    measuring: Measuring,
}

impl ReplayArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let settings = self.place.load([("workers", self.measuring.workers.clone())])?.pipeline;
        let of = Replaying {
            settings,
            shape: self.shape.shape(self.messages.messages),
            rate: self.rate,
            warm_up: Duration::from_secs(self.warm_up),
            before: Duration::from_secs(self.seconds),
            partitions: self.partitions,
            rounds: self.measuring.rounds,
            scratch: self.measuring.scratch.clone(),
        };
        let replays = replay::replay(&of, &mut tell).map_err(failed)?;
        print(&replays, self.measuring.json, &replays.rendered())
    }
}
