//! `lethe demo`: all of it in one process, with live traffic and a proof at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use tokio::signal::unix::{SignalKind, signal};

use crate::demo::{self, Options};
use crate::error::Failure;
use crate::telemetry::logs;

/// The log beside the view, unless the environment says otherwise: what goes wrong.
const LOG_FILTER: &str = "error";

/// Watch lethe work on an embedded broker: live traffic, and a proof at the end
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lethe demo\n  lethe demo --seconds 60 --rate 500 --http 127.0.0.1:9644\n  \
                        lethe demo --seconds 10 --json | jq .checks\n\nCtrl-C ends the traffic, and the \
                        proof follows. The exit code is 1 if a rule did not hold. Nothing is left on \
                        disk."
)]
pub(super) struct Demo {
    /// How long traffic flows, in seconds
    #[arg(long, value_name = "N", default_value_t = 30,
          value_parser = RangedU64ValueParser::<u64>::new().range(5..=600))]
    seconds: u64,

    /// Messages a second
    #[arg(long, value_name = "N", default_value_t = 300,
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=2_000))]
    rate: u32,

    /// The seed of the traffic: the same one gives the same messages
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Where HTTP listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    http: String,

    /// Print the summary as JSON, and nothing else
    #[arg(long)]
    json: bool,
}

pub(super) fn run(verb: &Demo) -> Result<(), Failure> {
    let filter = std::env::var(logs::LOG_VARIABLE).ok();
    logs::install(Some(filter.as_deref().unwrap_or(LOG_FILTER)))?;
    let options = Options {
        length: Duration::from_secs(verb.seconds),
        rate: verb.rate,
        seed: verb.seed,
        http: verb.http.clone(),
        json: verb.json,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = super::runtime()?;
    runtime.block_on(async { stop_on_signals(&stop) })?;
    let summary = demo::run(&options, &stop);
    runtime.shutdown_background();
    let summary = summary.map_err(|error| Failure::Failed(format!("{error:#}")))?;
    if summary.held { Ok(()) } else { Err(Failure::Failed("a rule did not hold".to_owned())) }
}

/// Ctrl-C and SIGTERM end the traffic; the proof follows, and the data directory goes.
fn stop_on_signals(stop: &Arc<AtomicBool>) -> Result<(), Failure> {
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut asked = signal(kind)
            .map_err(|error| Failure::Failed(format!("signals cannot be received: {error}")))?;
        let stop = Arc::clone(stop);
        tokio::spawn(async move {
            if asked.recv().await.is_some() {
                stop.store(true, Ordering::Relaxed);
            }
        });
    }
    Ok(())
}
