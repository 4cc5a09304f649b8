//! lethe: the lifecycle of messages on Kafka, from the wire to the operator.
//!
//! What is decided lives in `lethe-engine`, what is remembered in `lethe-state`; this crate is the
//! shell around them, and the only one that does IO.
//!
//! - [`audit`]: what is reported to `lethe.audit`, by whomever.
//! - [`codec`]: an input record's bytes as a valid event, read in place.
//! - [`config`]: the settings, from defaults, file, environment and flags.
//! - [`control`]: the control topic as those who write to it see it.
//! - [`topics`]: which topics there must be, and what is missing or wrong.
//! - [`pipeline`]: the Kafka shell: workers, transactions, take-overs, the control log.
//! - [`telemetry`]: metrics, logs, health.
//! - [`http`]: what a load balancer, Prometheus and a person see.
//! - [`demo`]: all of it in one process, with a proof; [`mod@bench`]: how fast it is;
//!   [`traffic`]: what both are fed with.
//! - [`cli`]: the verbs; [`error`]: why one failed.

pub mod audit;
pub mod bench;
pub mod cli;
pub mod codec;
pub mod config;
pub mod control;
pub mod demo;
pub mod error;
pub mod http;
pub mod pipeline;
pub mod telemetry;
pub mod topics;
pub mod traffic;
