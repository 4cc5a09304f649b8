//! Logs: text on a terminal, JSON lines otherwise, filtered by `LETHE_LOG`.
//!
//! Invariant: no user ids above debug level, and content at none.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

use super::terminal::Lines;

/// The variable that filters the logs.
pub const LOG_VARIABLE: &str = "LETHE_LOG";
/// What is logged when nobody says otherwise. Clients without callbacks of lethe's own, as benchmarks have them, would
/// log their statistics.
const LOG_DEFAULT: &str = "info,rdkafka::client=warn";

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error("{LOG_VARIABLE}: {0}; write it like info, debug or lethe=debug,librdkafka=warn")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Someone else has set up logs in this process.
    #[error("logs are set up already: {0}")]
    Twice(#[from] TryInitError),
}

/// Sets up logs on standard error, with this filter if there is one.
///
/// # Errors
/// The filter does not parse, or logs are set up already.
pub fn install(filter: Option<&str>) -> Result<(), LogError> {
    use tracing_subscriber::util::SubscriberInitExt;

    let filter = filter.filter(|filter| !filter.is_empty()).unwrap_or(LOG_DEFAULT);
    let filter = EnvFilter::try_new(filter)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter);
    if std::io::stderr().is_terminal() {
        logs.with_target(false).with_writer(|| Lines).finish().try_init()?;
    } else {
        let logs = logs.with_writer(std::io::stderr);
        logs.json().flatten_event(true).with_current_span(false).finish().try_init()?;
    }
    Ok(())
}
