//! Whether the control topic's settings could lose its records (guarantee 7 of the contract).

use tokio::runtime::Handle;

use super::Topic;
use super::admin::Admin;
use super::plan::words;
use super::wanted::CONTROL_LAG_MS_MIN;

/// The ways in which a control topic with these settings could lose records, with what to do; none:
/// it keeps every record in order for as long as a process may have been away.
#[must_use]
pub fn check_control_settings(control: &Topic) -> Vec<String> {
    let mut dangers = Vec::new();
    let policy = control.settings.get("cleanup.policy").map_or("delete", String::as_str);
    let limited = |setting| control.number(setting).is_none_or(|limit| limit >= 0);
    if policy.contains("delete") {
        for setting in ["retention.ms", "retention.bytes"] {
            if limited(setting) {
                dangers.push(format!(
                    "cleanup.policy {policy} with a {setting} deletes old records: set \
                     cleanup.policy to compact"
                ));
            }
        }
    }
    if policy.contains("compact") {
        for setting in ["min.compaction.lag.ms", "delete.retention.ms"] {
            let kept_ms = control.number(setting).unwrap_or(0);
            if (0..CONTROL_LAG_MS_MIN).contains(&kept_ms) {
                dangers.push(format!(
                    "{setting} is {}: a process that was away for longer misses records; set it to \
                     {CONTROL_LAG_MS_MIN} ({}) or more",
                    words(kept_ms),
                    words(CONTROL_LAG_MS_MIN)
                ));
            }
        }
    }
    if control.partitions > 1 {
        dangers.push(format!(
            "it has {} partitions: its records need one order, and so one partition",
            control.partitions
        ));
    }
    dangers
}

/// Looks at the control topic's settings again, now; made for the control reader.
///
/// An error says what is wrong and what to do; none: it could not be found out. It must not be
/// called on a thread of the runtime.
pub fn checker(
    admin: Admin,
    name: String,
    runtime: Handle,
) -> impl Fn() -> Option<Result<(), String>> + Send {
    move || {
        let mut current = runtime.block_on(admin.describe(std::slice::from_ref(&name))).ok()?;
        let control = current.remove(&name).filter(|topic| !topic.hidden)?;
        let dangers = check_control_settings(&control);
        if dangers.is_empty() {
            return Some(Ok(()));
        }
        Some(Err(format!("the control topic {name} could lose records: {}", dangers.join("; "))))
    }
}
