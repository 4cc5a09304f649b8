//! Reads `lethe.control` for the whole process: to its end first, then for ever.

use std::sync::Arc;
use std::time::Duration;

use lethe_engine::ControlRecord;
use metrics::{Counter, Gauge};

use super::clock::Now;
use super::control::ControlLog;
use super::provenance::differs;
use super::seam::{Fault, LogPolled, LogReader, Role};
use crate::telemetry::health::Health;
use crate::telemetry::names;

/// How often the topic's id and bounds are compared with what was read: within each commit interval, so that
/// hardly a tombstone goes out once it is another one.
const IDENTITY_EVERY: Duration = Duration::from_millis(100);
/// How often its settings are looked at.
const SETTINGS_EVERY: Duration = Duration::from_secs(60);
/// Records that one step takes.
const STEP_RECORDS_MAX: usize = 10_000;
/// How long a step waits for a record: far below the second within which a change takes effect.
const WAIT: Duration = Duration::from_millis(100);

/// Whether the control topic's settings keep every record for as long as the contract says;
/// an error says which one does not, and what to do. `None`: it could not be found out now.
pub type SettingsCheck = Box<dyn Fn() -> Option<Result<(), String>> + Send>;

/// The topic that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id as of the start, where the broker tells it.
    pub id: Option<String>,
}

/// The reader of the control topic.
///
/// What it reads is given to the log once the topic is known to be the one of the start: the records of one
/// that was made anew meanwhile are none of its.
pub struct ControlReader<L> {
    log: L,
    topic: Topic,
    control: Arc<ControlLog>,
    health: Arc<Health>,
    check: SettingsCheck,
    /// It is not the topic of the start any more.
    anew: bool,
    /// Read, and not yet given to the log.
    pending: Vec<ControlRecord>,
    /// The end was reached, which the log was not yet told.
    at_end: bool,
    /// Where the end was when reading began, until it has been reached.
    goal: Option<i64>,
    opened: bool,
    /// Everything below has been read.
    next: i64,
    refused: Counter,
    trusted: Gauge,
    identity_at: Option<Duration>,
    settings_at: Option<Duration>,
}

impl<L: LogReader> ControlReader<L> {
    /// Reads through `log` into `control`.
    pub fn new(
        log: L,
        topic: Topic,
        control: Arc<ControlLog>,
        health: Arc<Health>,
        check: SettingsCheck,
    ) -> Self {
        Self {
            log,
            topic,
            anew: false,
            pending: Vec::new(),
            at_end: false,
            control,
            health,
            check,
            goal: None,
            opened: false,
            next: 0,
            refused: metrics::counter!(names::CONTROL_REFUSED),
            trusted: metrics::gauge!(names::CONTROL_TRUSTED),
            identity_at: None,
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
        // What has come is not held up by what may come.
        let mut wait = WAIT;
        for _ in 0..STEP_RECORDS_MAX {
            if self.poll(std::mem::take(&mut wait))? != LogPolled::Record {
                break;
            }
        }
        let news = self.at_end || !self.pending.is_empty();
        if due(&mut self.identity_at, IDENTITY_EVERY, now) || news {
            self.check_identity()?;
        }
        self.pass_on();
        Ok(())
    }

    fn poll(&mut self, wait: Duration) -> Result<LogPolled, Fault> {
        let (pending, next) = (&mut self.pending, &mut self.next);
        let polled = self.log.poll(wait, &mut |record| {
            let key = record.key.unwrap_or_default();
            let (offset, at_ms) = (record.offset, record.timestamp_ms);
            pending.push(ControlRecord::parse(offset, at_ms, key, record.value));
            *next = offset + 1;
        })?;
        self.at_end |= polled == LogPolled::End;
        if polled == LogPolled::OutOfRange {
            self.broken("it no longer holds the position that was read");
        }
        Ok(polled)
    }

    /// Compares the topic, as it is now, with what was read.
    fn check_identity(&mut self) -> Result<(), Fault> {
        let id = self.log.topic_id(Role::Control)?;
        if differs(self.topic.id.as_ref(), id.as_ref()) {
            self.broken(&format!(
                "its id is {}, but at the start it was {}",
                id.unwrap_or_default(),
                self.topic.id.clone().unwrap_or_default()
            ));
            return Ok(());
        }
        let bounds = self.log.whole(Role::Control, 0)?;
        if bounds.end < self.next {
            self.broken(&format!("it ends at {}, but was read to {}", bounds.end, self.next));
        }
        Ok(())
    }

    /// Gives what was read to the log, if it is the topic's.
    fn pass_on(&mut self) {
        let at_end = std::mem::take(&mut self.at_end);
        if self.anew {
            self.pending.clear();
            return;
        }
        for record in self.pending.drain(..) {
            if let Some(why) = record.refusal() {
                tracing::warn!(
                    offset = record.offset(),
                    why,
                    "a control record is refused; the last valid one stays"
                );
                self.refused.increment(1);
            }
            self.control.append(record);
        }
        match self.goal {
            Some(goal) if at_end => {
                self.goal = None;
                // What lies between the last record and the end is gone or was aborted.
                self.next = self.next.max(goal);
                self.control.reached(self.next);
                self.health.control_read();
                tracing::info!(
                    topic = self.topic.name,
                    end = self.next,
                    "the control topic is read"
                );
            }
            None => self.control.reached(self.next),
            Some(_) => {}
        }
    }

    fn broken(&mut self, why: &str) {
        self.anew = true;
        let why =
            format!("the control topic {} was recreated or truncated: {why}", self.topic.name);
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
