//! Every metric in one table: its name, kind, unit, labels and help. docs/metrics.md follows it.
//!
//! Invariant: label values come from closed lists or from the configuration, so that the number of
//! series is bounded. The one exception is `tenant`, whose values are bounded in number.

use metrics::Unit;

use super::process::Usage;
use super::tenants::Tally;

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
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts measurements up to each of these bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// Its name in the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
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
/// How far back the horizon lies.
pub const HORIZON_AGE: &str = "lethe_horizon_age_seconds";
/// Records that outlast their tenant's cursor.
pub const KEPT_RECORDS: &str = "lethe_kept_records";
/// Holds in force.
pub const HOLDS: &str = "lethe_holds";
/// Control records that wait for their time.
pub const CHANGES_WAITING: &str = "lethe_changes_waiting";
/// When the first of them comes into force.
pub const CHANGE_DUE: &str = "lethe_change_due_seconds";
/// Walks over what a change may have ended.
pub const SWEEPS: &str = "lethe_sweeps";
/// The oldest erasure that is not through.
pub const ERASURE_AGE: &str = "lethe_erasure_age_seconds";
/// Records that were read again.
pub const REPLAY_RECORDS: &str = "lethe_replay_records_total";
/// What replays have still to read.
pub const REPLAY_REMAINING: &str = "lethe_replay_remaining_records";
/// Replays that are not through.
pub const REPLAYS: &str = "lethe_replay_partitions";
/// Bytes of input.
pub const INPUT_BYTES: &str = "lethe_input_bytes_total";
/// Records written.
pub const OUTPUT_RECORDS: &str = "lethe_output_records_total";
/// Bytes written.
pub const OUTPUT_BYTES: &str = "lethe_output_bytes_total";
/// From a record's timestamp to the commit.
pub const EVENT_LATENCY: &str = "lethe_event_latency_seconds";
/// Input that is not processed yet.
pub const CONSUMER_LAG: &str = "lethe_consumer_lag_records";
/// How long commits take.
pub const COMMIT_TIME: &str = "lethe_commit_seconds";
/// Transaction markers.
pub const MARKERS: &str = "lethe_transaction_markers_total";
/// The time that workers do not wait for input.
pub const WORKER_BUSY: &str = "lethe_worker_busy_seconds_total";
/// How long a worker has done nothing.
pub const WORKER_SILENCE: &str = "lethe_worker_silence_seconds";
/// How long a broker takes to answer.
pub const KAFKA_ROUND_TRIP: &str = "lethe_kafka_round_trip_seconds";
/// Records in librdkafka's queues.
pub const KAFKA_QUEUE_RECORDS: &str = "lethe_kafka_queue_records";
/// Bytes in librdkafka's queues.
pub const KAFKA_QUEUE_BYTES: &str = "lethe_kafka_queue_bytes";
/// Requests that failed.
pub const KAFKA_ERRORS: &str = "lethe_kafka_request_errors_total";
/// What compactions still have to rewrite.
pub const ROCKSDB_PENDING: &str = "lethe_rocksdb_compaction_pending_bytes";
/// Partitions whose writes RocksDB slows down.
pub const ROCKSDB_STALLED: &str = "lethe_rocksdb_stalled_partitions";
/// RocksDB's memory.
pub const ROCKSDB_MEMORY: &str = "lethe_rocksdb_memory_bytes";
/// Input records of a tenant.
pub const TENANT_RECORDS: &str = "lethe_tenant_records_total";
/// Input bytes of a tenant.
pub const TENANT_BYTES: &str = "lethe_tenant_input_bytes_total";
/// Tombstones of a tenant.
pub const TENANT_TOMBSTONES: &str = "lethe_tenant_tombstones_total";

/// Latencies: the commit interval lies in the middle of the fine ones, an hour is a backlog.
const LATENCY_BOUNDS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0];
/// Commits: the last bound is what a call to the broker may take.
const COMMIT_BOUNDS: &[f64] =
    &[0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

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

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    bounds: &'static [f64],
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram(bounds), unit: Some(Unit::Seconds), labels, help }
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
    measured(
        gauge(
            HORIZON_AGE,
            &["class", "storage"],
            "How long ago the horizon lies that is furthest back, of the tenants with live records: what was \
             sent before has its tombstone, but for what is kept. A tenant's horizon moves when something of \
             it is due; 0: none has moved yet.",
        ),
        Unit::Seconds,
    ),
    gauge(
        KEPT_RECORDS,
        &["class"],
        "Records that outlast the horizon of their tenant: by a hold, a legal minimum, or a longer retention \
         of their conversation.",
    ),
    gauge(HOLDS, &[], "Holds in force."),
    gauge(
        CHANGES_WAITING,
        &[],
        "Control records that wait for their `effective_at`: changes that had to be confirmed (docs/api.md), and \
         those that named a time themselves.",
    ),
    measured(
        gauge(
            CHANGE_DUE,
            &[],
            "How long it takes until the first of them comes into force; 0: none waits.",
        ),
        Unit::Seconds,
    ),
    gauge(
        SWEEPS,
        &[],
        "Walks through the ledger that are not through: over what an erasure, the release of a hold or another \
         change may have ended.",
    ),
    measured(
        gauge(
            ERASURE_AGE,
            &[],
            "How long the oldest erasure is in force that is not carried out yet in every partition of this \
             process; 0: there is none.",
        ),
        Unit::Seconds,
    ),
    counter(
        REPLAY_RECORDS,
        &["class", "outcome"],
        "Records that replays have read, by what became of them (docs/replay.md), those of dry runs included; \
         its rate is the replays' speed. `ended` counts tombstones and `lost` offsets: neither is a record.",
    ),
    gauge(
        REPLAY_REMAINING,
        &["class"],
        "Offsets that the replays of this process's partitions have still to read.",
    ),
    gauge(
        REPLAYS,
        &["class"],
        "Replays that are not through, paused ones included, each counted once for each partition of this \
         process.",
    ),
    counter(
        INPUT_BYTES,
        &["topic"],
        "Bytes of the values of the records of `lethe_records_total`.",
    ),
    counter(OUTPUT_RECORDS, &["topic"], "Records written in committed transactions."),
    counter(OUTPUT_BYTES, &["topic"], "Bytes of their keys and values, before compression."),
    histogram(
        EVENT_LATENCY,
        &["topic"],
        LATENCY_BOUNDS,
        "From an input record's timestamp to the commit of what it caused: the first record of each \
         partition in each batch, the one that waited longest, and some of the others.",
    ),
    gauge(
        CONSUMER_LAG,
        &["topic"],
        "Input records of this process's partitions that are not processed yet, transaction markers \
         included; asked of the broker every 10 s.",
    ),
    histogram(
        COMMIT_TIME,
        &[],
        COMMIT_BOUNDS,
        "How long committing a transaction takes: what the workers' input waits for.",
    ),
    counter(
        MARKERS,
        &[],
        "Transaction markers that brokers write for lethe: one for each partition that a committed \
         transaction wrote to, its positions included.",
    ),
    counter(
        WORKER_BUSY,
        &["worker"],
        "Time in which a worker did not wait for input; its rate is the worker's busy share.",
    ),
    measured(
        gauge(
            WORKER_SILENCE,
            &[],
            "How long ago the worker that has said nothing for longest took its last step: some \
             seconds while a broker is away, more is a stalled worker.",
        ),
        Unit::Seconds,
    ),
    measured(
        gauge(
            KAFKA_ROUND_TRIP,
            &["client", "worker"],
            "How long the slowest broker takes to answer (99th percentile of the last 10 s). Clients: \
             consumer, producer.",
        ),
        Unit::Seconds,
    ),
    gauge(
        KAFKA_QUEUE_RECORDS,
        &["client", "worker"],
        "Records in a client's queue: fetched and not yet taken, or not yet acknowledged.",
    ),
    measured(
        gauge(KAFKA_QUEUE_BYTES, &["client", "worker"], "Bytes in a client's queue."),
        Unit::Bytes,
    ),
    counter(
        KAFKA_ERRORS,
        &["client", "worker"],
        "Requests to brokers that could not be sent, had no answer in time or a broken one.",
    ),
    measured(
        gauge(
            ROCKSDB_PENDING,
            &[],
            "What RocksDB's compactions still have to rewrite; writes slow down at 64 GiB a partition.",
        ),
        Unit::Bytes,
    ),
    gauge(ROCKSDB_STALLED, &[], "Partitions whose writes RocksDB slows down or has stopped."),
    measured(
        gauge(ROCKSDB_MEMORY, &[], "RocksDB's block cache and write buffers, bounded by `memory`."),
        Unit::Bytes,
    ),
    TENANT_RECORDS_METRIC,
    TENANT_BYTES_METRIC,
    TENANT_TOMBSTONES_METRIC,
    CPU_METRIC,
    RESIDENT_METRIC,
    OPEN_FILES_METRIC,
    STARTED_METRIC,
];

const TENANT_RECORDS_METRIC: Metric = counter(
    TENANT_RECORDS,
    &["tenant"],
    "Input records of each of the busiest tenants (`metrics.tenants` of them), and of all others as \
     `lethe:other`.",
);
const TENANT_BYTES_METRIC: Metric =
    counter(TENANT_BYTES, &["tenant"], "Bytes of the values of these records.");
const TENANT_TOMBSTONES_METRIC: Metric =
    counter(TENANT_TOMBSTONES, &["tenant"], "Null values written for the same tenants.");

/// Reads a tenant's number.
type OfTenant = fn(&Tally) -> u64;

/// Those with tenants, which the recorder does not hold, and what each of them shows.
pub(super) const TENANT_METRICS: &[(Metric, OfTenant)] = &[
    (TENANT_RECORDS_METRIC, |tally| tally.records),
    (TENANT_BYTES_METRIC, |tally| tally.bytes),
    (TENANT_TOMBSTONES_METRIC, |tally| tally.tombstones),
];

const CPU_METRIC: Metric =
    counter("process_cpu_seconds_total", &[], "CPU time of the process, in seconds.");
const RESIDENT_METRIC: Metric =
    gauge("process_resident_memory_bytes", &[], "Memory of the process that is in RAM.");
const OPEN_FILES_METRIC: Metric =
    gauge("process_open_fds", &[], "Files and connections that the process has open.");
const STARTED_METRIC: Metric =
    gauge("process_start_time_seconds", &[], "When the process started (Unix time).");

/// Reads one of the system's numbers.
type OfProcess = fn(&Usage) -> f64;

/// What the system tells of the process, and where it stands.
pub(super) const PROCESS_METRICS: &[(Metric, OfProcess)] = &[
    (CPU_METRIC, |usage| usage.cpu_s),
    (RESIDENT_METRIC, |usage| usage.resident_bytes),
    (OPEN_FILES_METRIC, |usage| usage.open_files),
    (STARTED_METRIC, |usage| usage.started_s),
];
