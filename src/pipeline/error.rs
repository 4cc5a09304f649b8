//! What ends the pipeline. What it can mend by itself never leaves it.

use std::path::PathBuf;

use lethe_state::StateError;

use super::seam::Fault;

/// A reason to stop: an operator has to do something, and the text says what.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The cluster refuses for good.
    #[error("{0}")]
    Kafka(String),
    /// The local state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The data directory cannot be used.
    #[error("data directory {}: {why}", path.display())]
    Directory {
        /// Which one.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// State, changelog and committed positions contradict each other.
    #[error("{topic}/{partition}: {why}")]
    Disagreement {
        /// The input topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// What contradicts what, and what to do.
        why: String,
    },
    /// A thread could not be started or has panicked.
    #[error("{0}")]
    Thread(String),
}

impl From<Fault> for PipelineError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Retry(text) | Fault::Abort(text) | Fault::Unknown(text) | Fault::Stop(text) => {
                Self::Kafka(text)
            }
        }
    }
}
