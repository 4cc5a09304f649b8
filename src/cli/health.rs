//! `lethe health`: whether the process on this host lives, or is ready. For probes where there is no curl.

use std::io::Write as _;

use clap::Args;

use super::own::Own;
use crate::error::Failure;
use crate::http::client;

/// Ask the process on this host whether it lives, or is ready: the exit code says it
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  lethe health\n  lethe health --ready --http 127.0.0.1:9644\n\nExit \
                        code 0: yes; 1: no, or no process answers. Without --ready it asks /livez, which \
                        says no where the process cannot go on; with it /readyz, which also says no \
                        while partitions are restored, and what is waited for."
)]
pub(super) struct Health {
    #[command(flatten)]
    own: Own,

    /// Ask whether it is ready (/readyz), not whether it lives (/livez)
    #[arg(long)]
    ready: bool,
}

pub(super) fn run(verb: &Health) -> Result<(), Failure> {
    let path = if verb.ready { "/readyz" } else { "/livez" };
    let asked = async {
        let place = verb.own.place().await?;
        let answer = client::get(&place, path).await;
        answer.map_err(|error| Failure::Failed(format!("{path} of {}: {error}", place.address)))
    };
    let said = super::runtime()?.block_on(asked)?;
    let written = std::io::stdout().lock().write_all(&said);
    written.map_err(|error| Failure::Failed(format!("standard output: {error}")))
}
