//! What the page is made from, as of one moment.

use super::requests::Requests;
use crate::telemetry::figures::Figures;
use crate::telemetry::health::{PartitionStatus, Readiness, Snapshot};
use crate::telemetry::history::Sample;
use crate::telemetry::reports::Reported;

/// Everything that the page can show.
pub(super) struct Facts {
    /// Now (Unix ms).
    pub(super) now_ms: i64,
    pub(super) readiness: Readiness,
    pub(super) health: Snapshot,
    /// How long ago the worker took its last step that has taken none for longest.
    pub(super) silence_s: f64,
    pub(super) partitions: Vec<PartitionStatus>,
    pub(super) figures: Figures,
    /// The last minutes, the oldest first.
    pub(super) samples: Vec<Sample>,
    /// A hold stops every tombstone.
    pub(super) stopped_by_hold: bool,
    /// What carries names; none: not for whoever asks.
    pub(super) named: Option<Named>,
}

/// What is shown to those alone who may use the admin API.
pub(super) struct Named {
    pub(super) requests: Requests,
    /// The newest first.
    pub(super) reports: Vec<Reported>,
}

impl Facts {
    /// A figure, or 0 where it has no series yet.
    pub(super) fn figure(&self, name: &str) -> f64 {
        self.figures.sum(name, &[]).unwrap_or_default()
    }

    /// How much a count of the samples grew within the last `seconds`, and within how many of them (as many
    /// as there are samples of).
    pub(super) fn growth(&self, seconds: i64, of: fn(&Sample) -> f64) -> (f64, f64) {
        let since_ms = self.now_ms - seconds * 1_000;
        let first = self.samples.iter().find(|sample| sample.at_ms >= since_ms);
        let (Some(first), Some(last)) = (first, self.samples.last()) else { return (0.0, 0.0) };
        ((of(last) - of(first)).max(0.0), (last.at_ms - first.at_ms) as f64 / 1_000.0)
    }

    /// How fast it grew in the last minute (a second).
    pub(super) fn rate(&self, of: fn(&Sample) -> f64) -> f64 {
        let (grown, within_s) = self.growth(60, of);
        grown / within_s.max(1.0)
    }
}
