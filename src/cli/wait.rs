//! `--wait`: until every partition has applied what was written, which the processes say themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clap::Args;

use crate::error::Failure;
use crate::http::client::{self, AskError};
use crate::http::status::{self, Status};

/// How often the processes are asked.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Whether to wait, and for whom.
#[derive(Args, Debug)]
pub(super) struct Wait {
    /// Return once every partition has applied the change: it is in force everywhere then
    #[arg(long)]
    pub(super) wait: bool,

    /// The processes' HTTP addresses, separated by commas; a name stands for all of its addresses
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9644", value_delimiter = ',')]
    endpoints: Vec<String>,

    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait_seconds: u64,
}

impl Wait {
    /// Waits until each partition of these topics has applied the control record at an offset.
    pub(super) fn applied(
        &self,
        offset: i64,
        partitions: &BTreeMap<String, i32>,
    ) -> Result<(), Failure> {
        let runtime = super::runtime()?;
        let started = Instant::now();
        loop {
            let missing = runtime.block_on(self.missing(offset, partitions));
            let why = match missing {
                Ok(missing) if missing.is_empty() => return Ok(()),
                Ok(missing) => format!(
                    "{} partitions have not applied it, the first is {}",
                    missing.len(),
                    missing.first().map_or("", String::as_str)
                ),
                Err(error) => error,
            };
            if started.elapsed() > Duration::from_secs(self.wait_seconds) {
                return Err(Failure::Failed(format!(
                    "offset {offset} of the control topic is written, but not in force everywhere \
                     within {} s: {why}",
                    self.wait_seconds
                )));
            }
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// The partitions that no process says to have applied it.
    async fn missing(
        &self,
        offset: i64,
        partitions: &BTreeMap<String, i32>,
    ) -> Result<BTreeSet<String>, String> {
        let all = partitions.iter().flat_map(|(topic, &count)| {
            (0..count).map(move |partition| format!("{topic}/{partition}"))
        });
        let mut missing: BTreeSet<String> = all.collect();
        let mut failed = None;
        for endpoint in &self.endpoints {
            match ask(endpoint).await {
                Ok(statuses) => {
                    for partition in statuses.into_iter().flat_map(|status| status.partitions) {
                        if partition.control_offset.is_some_and(|applied| applied > offset) {
                            missing.remove(&format!("{}/{}", partition.topic, partition.partition));
                        }
                    }
                }
                Err(error) => failed = Some(format!("{endpoint}: {error}")),
            }
        }
        match failed {
            // Whoever does not answer does not matter where the others have it all.
            Some(why) if !missing.is_empty() => Err(why),
            Some(_) | None => Ok(missing),
        }
    }
}

async fn ask(endpoint: &str) -> Result<Vec<Status>, AskError> {
    let mut statuses = Vec::new();
    for address in client::resolve(endpoint).await? {
        let body = client::get(address, status::PATH).await?;
        statuses.push(serde_json::from_slice(&body).map_err(|error| AskError::Body(error.into()))?);
    }
    Ok(statuses)
}
