//! The control log as the process has read it: shared by its workers, appended by its reader.
//!
//! Invariants: it only grows, in the order of the topic; nobody sees it before it was read to its
//! end once; while it is not trusted every tombstone stands still (guarantee 7).

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use lethe_engine::ControlRecord;

/// No offset: the log was not read to its end yet.
const UNREAD: i64 = -1;

/// What the process knows of `lethe.control`.
#[derive(Debug)]
pub struct ControlLog {
    state: RwLock<State>,
    /// Everything below has been read; [`UNREAD`] before the first time at the end.
    end: AtomicI64,
    trusted: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    records: Vec<Arc<ControlRecord>>,
    /// The first offset that the topic still held when it was opened.
    start: i64,
    /// Why the topic itself is not what it was; holds until the process starts again.
    broken: Option<String>,
    /// Why its settings could lose records; holds until they are right.
    unsafe_settings: Option<String>,
}

impl Default for ControlLog {
    fn default() -> Self {
        Self {
            state: RwLock::default(),
            end: AtomicI64::new(UNREAD),
            trusted: AtomicBool::new(true),
        }
    }
}

impl ControlLog {
    /// Everything below this offset has been read; none: it was not read to its end yet.
    #[must_use]
    pub fn end(&self) -> Option<i64> {
        let end = self.end.load(Ordering::Acquire);
        (end != UNREAD).then_some(end)
    }

    /// The first offset that the topic still held when it was opened.
    #[must_use]
    pub fn start(&self) -> i64 {
        self.read().start
    }

    /// At most `records_max` records from an offset on, in order.
    #[must_use]
    pub fn from(&self, offset: i64, records_max: usize) -> Vec<Arc<ControlRecord>> {
        let state = self.read();
        let first = state.records.partition_point(|record| record.offset() < offset);
        state.records.iter().skip(first).take(records_max).cloned().collect()
    }

    /// Whether tombstones may flow.
    #[must_use]
    pub fn trusted(&self) -> bool {
        self.trusted.load(Ordering::Acquire)
    }

    /// Why they may not.
    #[must_use]
    pub fn distrust(&self) -> Option<String> {
        let state = self.read();
        state.broken.clone().or_else(|| state.unsafe_settings.clone())
    }

    /// The topic was opened at this offset, its first.
    pub fn opened(&self, start: i64) {
        self.write().start = start;
    }

    /// Appends a record, which lies behind all that are there.
    pub fn append(&self, record: ControlRecord) {
        let mut state = self.write();
        if state.records.last().is_none_or(|last| last.offset() < record.offset()) {
            state.records.push(Arc::new(record));
        }
    }

    /// Everything below `end` has been read.
    pub fn reached(&self, end: i64) {
        self.end.fetch_max(end, Ordering::AcqRel);
    }

    /// The topic was recreated or truncated. Returns whether that is news.
    pub fn broken(&self, why: String) -> bool {
        let mut state = self.write();
        let news = state.broken.is_none();
        state.broken.get_or_insert(why);
        self.trusted.store(false, Ordering::Release);
        news
    }

    /// The topic's settings could lose records, or are right again. Returns whether that is news.
    pub fn settings(&self, wrong: Option<String>) -> bool {
        let mut state = self.write();
        let news = state.unsafe_settings.is_some() != wrong.is_some();
        state.unsafe_settings = wrong;
        let trusted = state.broken.is_none() && state.unsafe_settings.is_none();
        self.trusted.store(trusted, Ordering::Release);
        news
    }

    /// A panic elsewhere leaves the state whole: each change is one assignment.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64) -> ControlRecord {
        ControlRecord::parse(offset, 0, b"tenant/a", None)
    }

    #[test]
    fn nothing_is_known_before_the_end_was_reached() {
        let log = ControlLog::default();
        log.append(record(3));
        assert_eq!(log.end(), None);
        log.reached(5);
        assert_eq!(log.end(), Some(5));
    }

    #[test]
    fn records_come_in_order_from_an_offset_in_a_log_with_gaps() {
        let log = ControlLog::default();
        for offset in [2, 5, 9] {
            log.append(record(offset));
        }
        let offsets = |from, max| -> Vec<i64> {
            log.from(from, max).iter().map(|record| record.offset()).collect()
        };
        assert_eq!(offsets(0, 10), [2, 5, 9]);
        assert_eq!(offsets(3, 1), [5]);
        assert!(offsets(10, 1).is_empty());
    }

    #[test]
    fn settings_are_trusted_again_once_right_but_a_recreated_topic_is_not() {
        let log = ControlLog::default();
        assert!(log.settings(Some("cleanup.policy is delete".into())));
        assert!(!log.trusted());
        assert!(log.settings(None));
        assert!(log.trusted());
        assert!(log.broken("recreated".into()));
        log.settings(None);
        assert!(!log.trusted());
    }
}
