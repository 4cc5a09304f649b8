//! The Kafka shell: consumes, has the engine decide, and commits everything in transactions.
//!
//! - [`seam`]: what the workers need of Kafka; [`kafka`] is the real one.
//! - [`worker`]: a thread's state machine; its steps are in `assignment` (what the group gives and
//!   takes), `opening`, `restore` and `takeover` (taking over a ledger), `desk` (making a batch), `outputs` (its
//!   records) and [`transaction`] (its end).
//! - `replay`: topics that are read again, beside the live input.
//! - [`standby`]: what a process does beside its own partitions.
//! - [`control`] and [`control_reader`]: `lethe.control`, read once per process.
//! - [`clock`]: the time that ends things.
//! - [`completion`]: when every partition has carried out an erasure.
//! - [`questions`]: what the workers are asked beside their work.
//! - [`rebuild`]: putting ledgers together whose changelog is lost.
//! - [`run`]: all of it, in threads.
//!
//! Invariant: content goes from the consumer to the producer and nowhere else.

mod answers;
mod assignment;
mod census;
pub mod clock;
pub mod completion;
pub mod control;
pub mod control_reader;
mod counters;
mod desk;
pub mod directory;
pub mod error;
pub mod kafka;
mod opening;
mod outputs;
mod partition;
pub mod progress;
mod provenance;
pub mod questions;
pub mod rebuild;
pub(crate) mod replay;
mod restore;
mod room;
mod run;
pub mod seam;
pub mod settings;
mod shutdown;
pub mod standby;
mod startup;
mod takeover;
mod tallies;
pub mod transaction;
mod trust;
mod upkeep;
pub mod worker;

pub use control_reader::SettingsCheck;
pub use error::PipelineError;
pub use questions::Questions;
pub use run::{Surroundings, go_on, run};
pub use settings::{Beginning, PipelineSettings, Topics};
pub use shutdown::Shutdown;
pub use startup::Started;
