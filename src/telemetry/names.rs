//! The names of all metrics, in one table.

/// Input records by topic and outcome, each counted once, after its commit.
pub const RECORDS: &str = "lethe_records_total";
/// Tombstones by class and reason.
pub const TOMBSTONES: &str = "lethe_tombstones_total";
/// Early events that found nothing to act on within the transit limit, by class.
pub const UNMATCHED: &str = "lethe_unmatched_events_total";
/// Transactions by result (`committed`, `aborted`).
pub const TRANSACTIONS: &str = "lethe_transactions_total";
/// How overdue the oldest overdue record is.
pub const EXPIRY_LAG_SECONDS: &str = "lethe_expiry_lag_seconds";
/// How far the host's clock is ahead of the broker's; negative: behind.
pub const CLOCK_DIFFERENCE_SECONDS: &str = "lethe_clock_difference_seconds";
