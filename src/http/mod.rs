//! HTTP for a load balancer (`/livez`, `/readyz`), for Prometheus (`/metrics`), for a person (`/`) and
//! for programs (`/v1/…`).
//!
//! Invariant: no connection can hold the server up. Their number, the time that a request may take
//! to arrive and the time that a connection may live are bounded.

pub mod answer;
mod api;
pub mod client;
pub mod drain;
mod pages;
mod server;
pub mod status;
pub mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;

use crate::pipeline::Shutdown;
use crate::telemetry::health::Health;
use crate::telemetry::tenants::Tenants;

pub use api::Options;
pub use server::{HttpError, Server};

/// What the pages are made of.
#[derive(Clone)]
pub struct Shown {
    /// How the process is.
    pub health: Arc<Health>,
    /// What it has counted.
    pub metrics: PrometheusHandle,
    /// What its busiest tenants do.
    pub tenants: Arc<Tenants>,
    /// How its workers are told to leave the group.
    pub shutdown: Arc<Shutdown>,
}
