//! What an operator deploys: dashboards, alerts, the chart, docker compose. Checked with the tools of their own
//! kind and against a real Prometheus that scrapes a real lethe.
#![expect(clippy::panic, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod alerts;
mod api;
mod browser;
mod chart;
mod compose;
mod dashboards;
mod demo;
mod files;
mod live;
mod page;
mod tools;
