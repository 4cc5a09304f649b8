//! `/v1/status`: what this process is doing, for programs.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::Shown;
use crate::telemetry::health::{Drain, PartitionStatus, Readiness, StandbyReport};

/// Where it is answered.
pub const PATH: &str = "/v1/status";

/// The state of a process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// lethe's version.
    pub version: String,
    /// Whether `/readyz` says yes.
    pub ready: bool,
    /// Why it does not.
    pub why: Option<String>,
    /// Why no tombstone goes out (guarantee 7), if so.
    pub tombstones_stopped: Option<String>,
    /// The partitions that are this process's.
    pub partitions: Vec<PartitionStatus>,
    /// How far others' partitions are followed, where it is a standby.
    #[serde(default)]
    pub standby: Option<StandbyReport>,
    /// Whether it leaves its group for good.
    #[serde(default)]
    pub drain: Drain,
}

pub(super) async fn show(State(shown): State<Shown>) -> Json<Status> {
    let why = match shown.health.readiness() {
        Readiness::Ready => None,
        Readiness::NotReady(why) => Some(why),
    };
    let now = shown.health.snapshot();
    Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: why.is_none(),
        why,
        tombstones_stopped: now.caution,
        partitions: shown.health.partitions(),
        standby: now.standby,
        drain: now.drain,
    })
}
