//! `lethe bench latency`.

use std::time::Duration;

use clap::Args;

use super::arguments::{LoadShape, Measuring};
use super::{Place, failed, print, tell};
use crate::bench::latency::{self, Latency};
use crate::error::Failure;

#[derive(Args, Debug)]
pub(in crate::cli) struct LatencyArgs {
    #[command(flatten)]
    place: Place,

    /// Records a second
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// For how many seconds it is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,

    /// For how many seconds the load goes on before
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    warm_up: u64,

    #[command(flatten)]
    shape: LoadShape,

    /// Partitions of the input
    #[arg(long, value_name = "N", default_value_t = 4)]
    partitions: u32,

    #[command(flatten)]
    measuring: Measuring,
}

impl LatencyArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let settings = self.place.load([("workers", self.measuring.workers.clone())])?.pipeline;
        let of = Latency {
            settings,
            // As many as there is time for.
            shape: self.shape.shape(u64::MAX),
            rate: self.rate,
            measured: Duration::from_secs(self.seconds),
            warm_up: Duration::from_secs(self.warm_up),
            partitions: self.partitions,
            rounds: self.measuring.rounds,
            scratch: self.measuring.scratch.clone(),
        };
        let latencies = latency::latency(&of, &mut tell).map_err(failed)?;
        print(&latencies, self.measuring.json, &latencies.rendered())
    }
}
