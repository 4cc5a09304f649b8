//! `/`: how the promises stand, for a person.
//!
//! The server writes all of it, so that it can be read without a script; the script fetches it again and puts
//! what has changed into its place.
//!
//! Invariants: the page loads nothing from elsewhere, and the browser is told so; what carries names is shown
//! to those alone who may read it through the admin API.

mod facts;
mod graph;
mod promises;
mod requests;
mod text;
mod view;

#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use tokio::time::{MissedTickBehavior, interval};

use super::Shown;
use super::api::auth::{Doors, Wish};
use crate::control::key::Kind;
use crate::demo::now_ms;
use crate::telemetry::figures::Figures;
use crate::telemetry::history::{History, SAMPLE_EVERY, Sample};
use facts::{Facts, Named};
use requests::Followed;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// What the browser may do with the page: show it with its own style and script, and fetch it again.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// What the page is made from.
pub(super) struct Page {
    shown: Shown,
    doors: Arc<Doors>,
    history: History,
    followed: Followed,
}

impl Page {
    /// Of what is shown; the doors say who may see names.
    pub(super) fn new(shown: Shown, doors: Arc<Doors>) -> Self {
        Self { shown, doors, history: History::default(), followed: Followed::default() }
    }

    /// Keeps the last minutes; never ends by itself.
    pub(super) async fn watch(&self) {
        let mut turns = interval(SAMPLE_EVERY);
        turns.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            turns.tick().await;
            let now_ms = now_ms();
            self.history.add(Sample::of(&Figures::read(&self.shown.metrics()), now_ms));
            self.followed.follow(&self.shown.control, now_ms);
        }
    }

    fn facts(&self, may_read_names: bool) -> Facts {
        let health = &self.shown.health;
        Facts {
            now_ms: now_ms(),
            readiness: health.readiness(),
            health: health.snapshot(),
            silence_s: health.silence().as_secs_f64(),
            partitions: health.partitions(),
            figures: Figures::read(&self.shown.metrics()),
            samples: self.history.samples(),
            stopped_by_hold: self.followed.stops_everything(),
            named: may_read_names.then(|| Named {
                requests: self.followed.requests(),
                reports: self.shown.reports.newest_first(),
            }),
        }
    }
}

pub(super) fn routes(page: Arc<Page>) -> Router {
    Router::new().route("/", get(show)).with_state(page)
}

async fn show(State(page): State<Arc<Page>>, headers: HeaderMap) -> Response {
    let may = |kind| page.doors.admit(&headers, Wish::Read(kind), None).is_ok();
    let may_read_names = [Kind::Tenant, Kind::Hold, Kind::Erasure].into_iter().all(may);
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    match view::page(page.facts(may_read_names)) {
        Ok(text) => (headers, Html(text)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
