//! Why a verb failed, sorted by what the caller sees: the exit code.

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::http::HttpError;
use crate::telemetry::logs::LogError;
use crate::topics::admin::TopicsError;

/// Exit code of what was asked wrongly, as clap's.
const USAGE: u8 = 2;

/// Why a verb failed. The text says what, where and what to do; never content.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was asked for cannot be: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// It was tried and failed: exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// The process's exit code.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(USAGE),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<TopicsError> for Failure {
    fn from(error: TopicsError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self::Failed(error.to_string())
    }
}
