//! The last reports that this process has written to `lethe.audit`, for the status page.
//!
//! Invariant: at most [`REPORTS_MAX`] are kept, and of each only what names nobody's user.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Reports that are kept.
pub const REPORTS_MAX: usize = 50;

/// A report, as a person reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reported {
    /// When it was decided (Unix ms).
    pub at_ms: i64,
    /// The control record's key or the tenant, without the id of a conversation: that may name users.
    pub about: String,
    /// What was reported, in a few words.
    pub what: String,
}

/// The reports, the oldest first.
#[derive(Debug, Default)]
pub struct Reports {
    last: Mutex<VecDeque<Reported>>,
}

impl Reports {
    /// Adds what a committed batch has reported; the oldest make room for it.
    pub fn add(&self, reported: impl IntoIterator<Item = Reported>) {
        let mut last = self.lock();
        for report in reported {
            if last.len() >= REPORTS_MAX {
                last.pop_front();
            }
            last.push_back(report);
        }
    }

    /// All of them, the newest first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<Reported> {
        self.lock().iter().rev().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Reported>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_reports_are_kept_and_come_first() {
        let reports = Reports::default();
        let report = |at_ms| Reported { at_ms, about: "tenant/a".into(), what: "in force".into() };
        reports.add((0..80).map(report));
        let newest = reports.newest_first();
        assert_eq!(newest.len(), REPORTS_MAX);
        assert_eq!(newest.first().map(|report| report.at_ms), Some(79));
    }
}
