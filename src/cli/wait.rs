//! `--wait`: until every partition has applied what was written, which the processes say themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clap::Args;

use super::endpoints::Endpoints;
use crate::error::Failure;
use crate::http::answer::all;
use crate::http::status::{self, Status};

/// How often the processes are asked.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Whether to wait, and how long.
#[derive(Args, Clone, Debug)]
pub(super) struct Wait {
    /// Return once every partition has applied the change: it is in force everywhere then
    #[arg(long)]
    pub(super) wait: bool,

    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait_seconds: u64,
}

impl Wait {
    /// Waits until each partition of these topics has applied the control record at an offset.
    pub(super) fn applied(
        &self,
        offset: i64,
        endpoints: &Endpoints,
        partitions: &BTreeMap<String, i32>,
    ) -> Result<(), Failure> {
        self.until(|| missing(offset, endpoints, partitions).map(|missing| missing_text(&missing)))
            .map_err(|why| {
                Failure::Failed(format!(
                    "offset {offset} of the control topic is written, but not in force everywhere \
                     within {} s: {why}",
                    self.wait_seconds
                ))
            })
    }

    /// Waits until nothing is said to be missing; else what was said last.
    pub(super) fn until(
        &self,
        mut look: impl FnMut() -> Result<Option<String>, String>,
    ) -> Result<(), String> {
        let started = Instant::now();
        loop {
            let why = match look() {
                Ok(None) => return Ok(()),
                Ok(Some(missing)) => missing,
                Err(error) => error,
            };
            if started.elapsed() > Duration::from_secs(self.wait_seconds) {
                return Err(why);
            }
            std::thread::sleep(ASK_EVERY);
        }
    }
}

fn missing_text(missing: &BTreeSet<String>) -> Option<String> {
    let first = missing.first()?;
    Some(format!("{} partitions have not applied it, the first is {first}", missing.len()))
}

/// The partitions that no process says to have applied the record at an offset.
fn missing(
    offset: i64,
    endpoints: &Endpoints,
    partitions: &BTreeMap<String, i32>,
) -> Result<BTreeSet<String>, String> {
    let mut missing = all(partitions);
    let asked = endpoints.ask::<Status>(status::PATH, None).map_err(|error| error.to_string())?;
    for partition in asked.answers.into_iter().flat_map(|status| status.partitions) {
        if partition.control_offset.is_some_and(|applied| applied > offset) {
            missing.remove(&format!("{}/{}", partition.topic, partition.partition));
        }
    }
    match asked.failed {
        // Whoever does not answer does not matter where the others have it all.
        Some(why) if !missing.is_empty() => Err(why),
        Some(_) | None => Ok(missing),
    }
}
