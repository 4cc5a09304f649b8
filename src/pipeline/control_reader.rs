//! Reads `lethe.control` for the whole process: to its end first, then for ever.

use std::sync::Arc;
use std::time::Duration;

use lethe_engine::ControlRecord;
use metrics::{Counter, Gauge};

use super::clock::Now;
use super::control::ControlLog;
use super::seam::{Fault, LogPolled, LogReader, Role};
use crate::telemetry::health::Health;
use crate::telemetry::names;

/// How often the topic's bounds are compared with what was read.
const BOUNDS_EVERY: Duration = Duration::from_secs(1);
/// How often its settings are looked at.
const SETTINGS_EVERY: Duration = Duration::from_secs(60);
/// Records that one step takes.
const STEP_RECORDS_MAX: usize = 10_000;
/// How long a step waits for a record: far below the second within which a change takes effect.
const WAIT: Duration = Duration::from_millis(100);

/// Whether the control topic's settings keep every record for as long as the contract says;
/// an error says which one does not, and what to do. `None`: it could not be found out now.
pub type SettingsCheck = Box<dyn Fn() -> Option<Result<(), String>> + Send>;

/// The reader of the control topic.
pub struct ControlReader<L> {
    log: L,
    control: Arc<ControlLog>,
    health: Arc<Health>,
    check: SettingsCheck,
    /// Where the end was when reading began, until it has been reached.
    goal: Option<i64>,
    opened: bool,
    /// Everything below has been given to the log.
    next: i64,
    refused: Counter,
    trusted: Gauge,
    bounds_at: Option<Duration>,
    settings_at: Option<Duration>,
}

impl<L: LogReader> ControlReader<L> {
    /// Reads through `log` into `control`.
    pub fn new(
        log: L,
        control: Arc<ControlLog>,
        health: Arc<Health>,
        check: SettingsCheck,
    ) -> Self {
        Self {
            log,
            control,
            health,
            check,
            goal: None,
            opened: false,
            next: 0,
            refused: metrics::counter!(names::CONTROL_REFUSED),
            trusted: metrics::gauge!(names::CONTROL_TRUSTED),
            bounds_at: None,
            settings_at: None,
        }
    }

    /// Reads what there is. A fault is for the caller to wait about.
    pub fn step(&mut self, now: Now) -> Result<(), Fault> {
        if due(&mut self.settings_at, SETTINGS_EVERY, now) {
            self.check_settings();
        }
        self.trusted.set(if self.control.trusted() { 1.0 } else { 0.0 });
        if !self.opened {
            let bounds = self.log.stable(Role::Control, 0)?;
            self.control.opened(bounds.start);
            self.log.open(Role::Control, 0, bounds.start)?;
            self.next = bounds.start;
            self.goal = Some(bounds.end);
            self.opened = true;
        }
        if due(&mut self.bounds_at, BOUNDS_EVERY, now) && self.goal.is_none() {
            self.check_bounds()?;
        }
        for _ in 0..STEP_RECORDS_MAX {
            if self.poll()? != LogPolled::Record {
                break;
            }
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<LogPolled, Fault> {
        let (control, next, refused) = (&self.control, &mut self.next, &self.refused);
        let polled = self.log.poll(WAIT, &mut |record| {
            let key = record.key.unwrap_or_default();
            let (offset, at_ms) = (record.offset, record.timestamp_ms);
            let record = ControlRecord::parse(offset, at_ms, key, record.value);
            if let Some(why) = record.refusal() {
                tracing::warn!(
                    offset,
                    why,
                    "a control record is refused; the last valid one stays"
                );
                refused.increment(1);
            }
            control.append(record);
            *next = offset + 1;
        })?;
        match polled {
            LogPolled::Record if self.goal.is_none() => self.control.reached(self.next),
            LogPolled::End => {
                if let Some(goal) = self.goal.take() {
                    // What lies between the last record and the end is gone or was aborted.
                    self.next = self.next.max(goal);
                    self.control.reached(self.next);
                    self.health.control_read();
                    tracing::info!(end = self.next, "the control topic is read");
                }
            }
            LogPolled::OutOfRange => self.broken("it no longer holds the position that was read"),
            LogPolled::Record | LogPolled::Nothing => {}
        }
        Ok(polled)
    }

    fn check_bounds(&mut self) -> Result<(), Fault> {
        let bounds = self.log.whole(Role::Control, 0)?;
        if bounds.end < self.next {
            self.broken(&format!("it ends at {}, but was read to {}", bounds.end, self.next));
        }
        Ok(())
    }

    fn broken(&self, why: &str) {
        let why = format!("the control topic was recreated or truncated: {why}");
        if self.control.broken(why.clone()) {
            tracing::error!(
                "{why}; every tombstone stands still until its records are back and lethe is restarted"
            );
            self.health.caution(Some(why));
        }
    }

    fn check_settings(&self) {
        let Some(result) = (self.check)() else { return };
        let wrong = result.err();
        if let Some(why) = &wrong {
            tracing::debug!(why, "the control topic's settings");
        }
        if self.control.settings(wrong.clone()) {
            match &wrong {
                Some(why) => tracing::error!(
                    "the control topic could lose records: {why}; every tombstone stands still \
                     until that is corrected"
                ),
                None => tracing::info!("the control topic's settings are right again"),
            }
        }
        self.health.caution(self.control.distrust());
    }
}

/// Whether something that is done every so often is to be done now; notes that it is.
fn due(last: &mut Option<Duration>, every: Duration, now: Now) -> bool {
    let due = last.is_none_or(|last| now.monotonic.saturating_sub(last) >= every);
    if due {
        *last = Some(now.monotonic);
    }
    due
}
