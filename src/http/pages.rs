//! The pages, each made of what is known at the moment of the request.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;

use super::{Shown, drain, status};
use crate::telemetry::health::{Readiness, Snapshot, StandbyReport};
use crate::telemetry::metrics;

/// The text format's version, which Prometheus asks for.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn router(shown: Shown) -> Router {
    Router::new()
        .route("/", get(front))
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
    let text = metrics::render(&shown.metrics, &shown.health, &shown.tenants);
    ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], text)
}

async fn front(State(shown): State<Shown>) -> Html<String> {
    Html(page(&shown.health.snapshot(), &shown.health.readiness()))
}

fn page(now: &Snapshot, readiness: &Readiness) -> String {
    let state = match readiness {
        Readiness::Ready => "ready".to_owned(),
        Readiness::NotReady(why) => escape(why),
    };
    let tombstones = match &now.caution {
        None => "flowing".to_owned(),
        Some(why) => format!("<strong>stopped</strong>: {}", escape(why)),
    };
    let rows = [
        ("State", state),
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Workers", format!("{} of {} in the group", now.workers_joined, now.workers)),
        (
            "Partitions",
            format!("{} assigned, {} restored", now.partitions_assigned, now.partitions_restored),
        ),
        ("Standby", standby(now).unwrap_or_else(|| "none".to_owned())),
        ("Tombstones", tombstones),
    ];
    let row = |(name, value): &(&str, String)| format!("<tr><th>{name}</th><td>{value}</td></tr>");
    let rows: String = rows.iter().map(row).collect();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>lethe</title>\
         <style>body{{font:16px sans-serif;margin:2em}}th{{text-align:left;padding-right:2em}}\
         </style><h1>lethe</h1><table>{rows}</table>\
         <p><a href=\"/metrics\">metrics</a> <a href=\"/readyz\">readyz</a></p></html>\n"
    )
}

/// How far others' partitions are followed, where the process is a standby.
fn standby(now: &Snapshot) -> Option<String> {
    let StandbyReport { wanted, current, behind } = now.standby?;
    Some(format!("{current} of {wanted} partitions are current, {behind} records behind"))
}

/// Error texts may name topics and files: nothing in them becomes markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
