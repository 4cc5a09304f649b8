//! lethe: the lifecycle of messages on Kafka, from the wire to the operator.
//!
//! What is decided lives in `lethe-engine`, what is remembered in `lethe-state`; this crate is the
//! shell around them, and the only one that does IO.
//!
//! - [`codec`]: an input record's bytes as a valid event, read in place.
//! - [`telemetry`]: metrics, logs, health.

pub mod codec;
pub mod telemetry;
