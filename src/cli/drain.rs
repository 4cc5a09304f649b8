//! `lethe drain`: has the process on this host leave its group for good, and waits until it has.

use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::own::Own;
use crate::error::Failure;
use crate::http::client::{self, AskError};
use crate::http::drain::{Answer, PATH};
use crate::telemetry::health::Drain as State;

/// How often it is asked how far it is.
const LOOK: Duration = Duration::from_millis(100);
/// How long all of it may take: the workers leave within 10 s each, side by side, and a transaction may
/// be under way before.
const PATIENCE: Duration = Duration::from_secs(60);

/// Have the process on this host leave its group for good, so that others take over at once
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  lethe drain\n  lethe drain --http 127.0.0.1:9644 --json\n\nFor \
                        taking a process away: a SIGTERM alone keeps its place in the group for a \
                        restart. A drained process stays up, takes no work, and waits for SIGTERM; \
                        started anew, it joins the group again."
)]
pub(super) struct Drain {
    #[command(flatten)]
    own: Own,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(verb: &Drain) -> Result<(), Failure> {
    let answer = super::runtime()?.block_on(drained(&verb.own))?;
    let text = if verb.json {
        let failed = |error| Failure::Failed(format!("the answer cannot be written: {error}"));
        serde_json::to_string(&answer).map_err(failed)? + "\n"
    } else {
        "drained: the process has left its group\n".to_owned()
    };
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Failure::Failed(format!("standard output: {error}")))
}

/// Asks for it, and waits until it is so.
async fn drained(own: &Own) -> Result<Answer, Failure> {
    let place = own.place().await?;
    let address = place.address;
    let no_answer = |why: String| {
        Failure::Failed(format!(
            "no process at {address} that drains: {why}; --http says where it is"
        ))
    };
    let failed = |error: AskError| no_answer(error.to_string());
    let started = Instant::now();
    let mut body = client::post(&place, PATH).await.map_err(failed)?;
    loop {
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| no_answer(error.to_string()))?;
        if answer.drain == State::Drained {
            return Ok(answer);
        }
        if started.elapsed() > PATIENCE {
            return Err(Failure::Failed(format!(
                "the process at {address} has not left its group within {} s; its log says why",
                PATIENCE.as_secs()
            )));
        }
        sleep(LOOK).await;
        body = client::get(&place, PATH).await.map_err(failed)?;
    }
}
