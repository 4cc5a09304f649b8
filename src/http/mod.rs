//! HTTP for a load balancer (`/livez`, `/readyz`), for Prometheus (`/metrics`), for a person (`/`) and
//! for programs (`/v1/…`).
//!
//! Invariant: no connection can hold the server up. Their number, the time that a request may take
//! to arrive and the time that a connection may live are bounded.

pub mod answer;
mod api;
pub mod client;
pub mod drain;
mod page;
mod pages;
mod server;
pub mod status;
pub mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;

use crate::pipeline::control::ControlLog;
use crate::pipeline::{Questions, SettingsCheck, Shutdown, Surroundings};
use crate::telemetry::health::Health;
use crate::telemetry::metrics;
use crate::telemetry::reports::Reports;
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
    /// What it has reported lately.
    pub reports: Arc<Reports>,
    /// What tenants and operators said.
    pub control: Arc<ControlLog>,
    /// How its workers are told to leave the group.
    pub shutdown: Arc<Shutdown>,
}

impl Shown {
    /// Of a process that is about to start, with so many workers and so many tenants to show.
    #[must_use]
    pub fn new(workers: usize, tenants: usize, metrics: PrometheusHandle) -> Self {
        Self {
            health: Arc::new(Health::new(workers)),
            metrics,
            tenants: Arc::new(Tenants::new(tenants)),
            reports: Arc::default(),
            control: Arc::default(),
            shutdown: Arc::default(),
        }
    }

    /// What Prometheus reads.
    #[must_use]
    pub fn metrics(&self) -> String {
        metrics::render(&self.metrics, &self.health, &self.tenants)
    }

    /// What the pipeline is given, so that all of this is told what it does.
    #[must_use]
    pub fn surroundings(&self, check: SettingsCheck, questions: Arc<Questions>) -> Surroundings {
        Surroundings {
            health: Arc::clone(&self.health),
            tenants: Arc::clone(&self.tenants),
            reports: Arc::clone(&self.reports),
            control: Arc::clone(&self.control),
            settings_check: check,
            shutdown: Arc::clone(&self.shutdown),
            questions,
        }
    }
}
