//! The pages for programs, each made of what is known at the moment of the request.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::{Shown, drain, status};
use crate::telemetry::health::{Readiness, Snapshot, StandbyReport};

/// The text format's version, which Prometheus asks for.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router(shown: Shown) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(prometheus))
        .route(status::PATH, get(status::show))
        .merge(drain::routes())
        .with_state(shown)
}

async fn livez(State(shown): State<Shown>) -> (StatusCode, String) {
    match shown.health.snapshot().fatal {
        None => (StatusCode::OK, "alive\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("failed: {why}\n")),
    }
}

async fn readyz(State(shown): State<Shown>) -> (StatusCode, String) {
    let standby = standby(&shown.health.snapshot()).map(|text| format!("standby: {text}\n"));
    match shown.health.readiness() {
        Readiness::Ready => (StatusCode::OK, format!("ready\n{}", standby.unwrap_or_default())),
        Readiness::NotReady(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn prometheus(State(shown): State<Shown>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], shown.metrics())
}

/// How far others' partitions are followed, where the process is a standby.
fn standby(now: &Snapshot) -> Option<String> {
    let StandbyReport { wanted, current, behind } = now.standby?;
    Some(format!("{current} of {wanted} partitions are current, {behind} records behind"))
}
