//! Every metric in one table: its name, kind, unit, labels and help. docs/metrics.md follows it.
//!
//! Invariant: label values come from closed lists or from the configuration, never from input, so
//! that the number of series is bounded and no id is ever a label.

use metrics::Unit;

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, as Prometheus sees it.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// In what it is measured, where that is a unit.
    pub unit: Option<Unit>,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// Kinds of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Kind {
    /// Its name in the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// Input records by outcome; each is counted once.
pub const RECORDS: &str = "lethe_records_total";
/// Tombstones by reason.
pub const TOMBSTONES: &str = "lethe_tombstones_total";
/// How overdue the oldest overdue record is.
pub const EXPIRY_LAG: &str = "lethe_expiry_lag_seconds";
/// Dead letters by error.
pub const DEAD_LETTERS: &str = "lethe_dead_letters_total";
/// Events that found nothing to act on.
pub const UNMATCHED: &str = "lethe_unmatched_events_total";
/// Transactions by result.
pub const TRANSACTIONS: &str = "lethe_transactions_total";
/// Control records that were refused.
pub const CONTROL_REFUSED: &str = "lethe_control_refused_total";
/// Whether the control topic is trusted.
pub const CONTROL_TRUSTED: &str = "lethe_control_trusted";
/// The host's clock less the broker's.
pub const CLOCK_DIFFERENCE: &str = "lethe_clock_difference_seconds";
/// Live records.
pub const LIVE_RECORDS: &str = "lethe_live_records";
/// Partitions of this process.
pub const PARTITIONS: &str = "lethe_partitions";
/// Changelog records that restores have read.
pub const RESTORED_RECORDS: &str = "lethe_restored_records_total";
/// Changelog records that restores still have to read.
pub const RESTORE_REMAINING: &str = "lethe_restore_remaining_records";
/// Local state on disk.
pub const STATE_BYTES: &str = "lethe_state_bytes";
/// Changelogs from their last snapshot on.
pub const CHANGELOG_BYTES: &str = "lethe_changelog_bytes";
/// The age of the oldest snapshot.
pub const SNAPSHOT_AGE: &str = "lethe_snapshot_age_seconds";
/// How long a snapshot has held a worker up.
pub const SNAPSHOT_STALL: &str = "lethe_snapshot_stall_seconds";
/// Removals of records from changelogs.
pub const CHANGELOG_REMOVALS: &str = "lethe_changelog_removals_total";
/// How many standbys each partition is to have.
pub const STANDBYS: &str = "lethe_standbys";
/// Partitions that this process follows.
pub const STANDBY_PARTITIONS: &str = "lethe_standby_partitions";
/// What it still has to apply of them.
pub const STANDBY_LAG: &str = "lethe_standby_lag_records";
/// Which version runs.
pub const BUILD_INFO: &str = "lethe_build_info";

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, unit: None, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: None, labels, help }
}

const fn measured(metric: Metric, unit: Unit) -> Metric {
    Metric { unit: Some(unit), ..metric }
}

/// All of them, in the order in which they are documented.
pub const METRICS: &[Metric] = &[
    counter(
        RECORDS,
        &["topic", "outcome"],
        "Input records, each counted once when its transaction has committed. Outcomes: stored, \
         transit, learned (an event about a known or coming record), known (a duplicate), over, \
         nothing (nothing to act on), dead_letter.",
    ),
    counter(
        TOMBSTONES,
        &["class", "reason"],
        "Null values written. Reasons: expired, delivered, undelivered, recalled, removed, erased, \
         opted-out, ended, burned.",
    ),
    measured(
        gauge(
            EXPIRY_LAG,
            &[],
            "How overdue the oldest overdue record of this process is; 0: nothing is overdue.",
        ),
        Unit::Seconds,
    ),
    counter(
        DEAD_LETTERS,
        &["topic", "error"],
        "Input records that went to the dead letters. Errors: decode, no-event, id, time, too-large.",
    ),
    counter(
        UNMATCHED,
        &["class"],
        "Events about a record that did not come within the transit limit: a producer with wrong \
         ids or times.",
    ),
    counter(
        TRANSACTIONS,
        &["result"],
        "Transactions: committed, aborted, unknown (what became of it is read from the changelog, and \
         the producer is replaced).",
    ),
    counter(
        CONTROL_REFUSED,
        &[],
        "Control records that are invalid; the last valid ones stay in force.",
    ),
    gauge(
        CONTROL_TRUSTED,
        &[],
        "1 while the control topic is trusted; 0 while every tombstone is stopped because it was \
         recreated or truncated, or could lose records.",
    ),
    measured(
        gauge(
            CLOCK_DIFFERENCE,
            &[],
            "The host's clock less the broker's: more than 60 s either way is an alert.",
        ),
        Unit::Seconds,
    ),
    gauge(LIVE_RECORDS, &["class", "storage"], "Records that live, stored or in transit."),
    gauge(PARTITIONS, &["state"], "Partitions of this process: assigned, restored."),
    counter(RESTORED_RECORDS, &["topic"], "Changelog records that restores have read."),
    gauge(
        RESTORE_REMAINING,
        &["topic"],
        "Changelog records that the restores under way still have to read.",
    ),
    measured(gauge(STATE_BYTES, &[], "Local state on disk."), Unit::Bytes),
    measured(
        gauge(
            CHANGELOG_BYTES,
            &[],
            "Changelogs of this process's partitions from their last snapshots on, before compression.",
        ),
        Unit::Bytes,
    ),
    measured(
        gauge(
            SNAPSHOT_AGE,
            &[],
            "Age of the oldest snapshot of a partition; 0: there is none yet.",
        ),
        Unit::Seconds,
    ),
    measured(
        gauge(
            SNAPSHOT_STALL,
            &[],
            "The longest that a worker has taken nothing from its input for a transaction with a part of a \
             snapshot, since the start.",
        ),
        Unit::Seconds,
    ),
    counter(
        CHANGELOG_REMOVALS,
        &["result"],
        "Removals of the records before a snapshot: done, failed, refused (the changelog then grows \
         until the broker allows it).",
    ),
    gauge(
        STANDBYS,
        &[],
        "Instances that are to follow each partition beside its owner: the setting.",
    ),
    gauge(
        STANDBY_PARTITIONS,
        &["state"],
        "Partitions of others that this process follows: wanted (it is to), current (of these, it has \
         applied all that was committed when it last looked). A partition is without a standby where \
         the sum of current over all instances is below lethe_standbys times that of the assigned.",
    ),
    gauge(
        STANDBY_LAG,
        &[],
        "Changelog records that this process lacks of the partitions that it follows.",
    ),
    gauge(BUILD_INFO, &["version"], "1; the label says which version runs."),
];
