//! `lethe bench growth`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::arguments::Measuring;
use super::{Place, failed, print, tell};
use crate::bench::growth::{self, Growth, Over};
use crate::bench::plot;
use crate::error::Failure;

#[derive(Args, Debug)]
pub(in crate::cli) struct GrowthArgs {
    #[command(flatten)]
    place: Place,

    /// What grows
    #[arg(long, value_name = "WHAT", value_parser = PossibleValuesParser::new(Over::ALL.map(Over::name)))]
    over: String,

    /// Where it is measured [default: what docs/benchmarks.md shows]
    #[arg(long, value_name = "N,N…", value_delimiter = ',')]
    points: Vec<u64>,

    /// Messages of a load, each sent and delivered
    #[arg(long, value_name = "N", default_value_t = 500_000)]
    messages: u64,

    /// Write a drawing there
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    #[command(flatten)]
    measuring: Measuring,
}

impl GrowthArgs {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let settings = self.place.load([("workers", self.measuring.workers.clone())])?.pipeline;
        let over = Over::ALL.into_iter().find(|over| over.name() == self.over);
        // The command line lets no other name pass.
        let over =
            over.ok_or_else(|| Failure::Failed(format!("nothing is called {}", self.over)))?;
        let points =
            if self.points.is_empty() { over.points().to_vec() } else { self.points.clone() };
        let of = Growth {
            settings,
            over,
            points,
            messages: self.messages,
            rounds: self.measuring.rounds,
            scratch: self.measuring.scratch.clone(),
        };
        let grown = growth::growth(&of, &mut tell).map_err(failed)?;
        if let Some(path) = &self.svg {
            let svg = plot::svg(&grown).map_err(failed)?;
            let written = std::fs::write(path, svg);
            written.map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
        }
        print(&grown, self.measuring.json, &grown.rendered())
    }
}
