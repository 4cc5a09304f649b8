//! `lethe bench state`.

use clap::Args;

use super::arguments::Measuring;
use super::{Place, failed, print, tell};
use crate::bench::state::{self, State};
use crate::error::Failure;

#[derive(Args, Debug)]
pub(in crate::cli) struct StateArgs {
    #[command(flatten)]
    place: Place,

    /// Live records, one ledger after another
    #[arg(long, value_name = "N,N…", default_value = "1000000", value_delimiter = ',')]
    records: Vec<u64>,

    /// Tenants, of which large ones send most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    tenants: u32,

    /// The seed: the same one gives the same messages
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    measuring: Measuring,
}

impl StateArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let settings = self.place.load([("workers", self.measuring.workers.clone())])?.pipeline;
        let of = State {
            settings,
            sizes: self.records.clone(),
            tenants: self.tenants,
            rounds: self.measuring.rounds,
            seed: self.seed,
            scratch: self.measuring.scratch.clone(),
        };
        let measured = state::state(&of, &mut tell).map_err(failed)?;
        print(&measured, self.measuring.json, &state::rendered(&measured))
    }
}
