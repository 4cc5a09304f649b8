//! Forgetting: rows that their tenant's books have passed are dropped when a compaction meets them, and no
//! delete is ever written for them.
//!
//! Which rows are books, and what they forget, is the engine's knowledge and comes in as a [`Rule`]. Compactions
//! run on threads of their own, several at once: they see the lines of *committed* books alone, which are set
//! after the write that carries them. A line that is not known forgets nothing.

use hashbrown::HashMap;
use rocksdb::CompactionDecision;
use rocksdb::compaction_filter::CompactionFilterFn;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::reserved::is_reserved;

/// Reads the tenant of a row of books (key, value), and its line: the time up to which its rows are forgotten
/// (Unix ms).
pub type LineOfBooks = for<'a> fn(&'a [u8], &'a [u8]) -> Option<(&'a [u8], i64)>;

/// A tenant's committed line (Unix ms); before all times if it has none.
pub type LineOf<'a> = &'a dyn Fn(&[u8]) -> i64;

/// How to tell what is forgotten. The default is the engine's.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What the keys of all books begin with, and no other key.
    pub books_prefix: &'static [u8],
    /// Reads the line of a row of books (key, value).
    pub line: LineOfBooks,
    /// Whether a row (key, value) may be dropped, given each tenant's line. Runs inside of a compaction: it
    /// must not panic.
    pub forget: fn(&[u8], &[u8], LineOf<'_>) -> bool,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            books_prefix: b"T",
            line: lethe_engine::ledger::forgotten_line,
            forget: lethe_engine::ledger::forget,
        }
    }
}

/// A rule, and the lines that are committed.
#[derive(Clone)]
pub(crate) struct Forgetting {
    rule: Rule,
    lines: Arc<Lines>,
}

impl Forgetting {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, lines: Arc::default() }
    }

    pub(crate) const fn books_prefix(&self) -> &'static [u8] {
        self.rule.books_prefix
    }

    pub(crate) fn is_books(&self, key: &[u8]) -> bool {
        key.starts_with(self.rule.books_prefix)
    }

    /// Takes over the line of books that are written.
    pub(crate) fn learn(&self, key: &[u8], value: &[u8]) {
        if let Some((tenant, line_ms)) = (self.rule.line)(key, value) {
            self.lines.set(tenant, line_ms);
        }
    }

    /// Gives up the line of books that are about to be deleted.
    pub(crate) fn unlearn(&self, key: &[u8], value: &[u8]) {
        if let Some((tenant, _)) = (self.rule.line)(key, value) {
            self.lines.remove(tenant);
        }
    }

    /// The compaction filter.
    pub(crate) fn filter(&self) -> impl CompactionFilterFn + Send + 'static {
        let this = self.clone();
        move |_level, key: &[u8], value: &[u8]| {
            if this.is_forgotten(key, value) {
                CompactionDecision::Remove
            } else {
                CompactionDecision::Keep
            }
        }
    }

    /// Whether a row may be dropped.
    pub(crate) fn is_forgotten(&self, key: &[u8], value: &[u8]) -> bool {
        !is_reserved(key) && (self.rule.forget)(key, value, &|tenant| self.lines.get(tenant))
    }
}

/// Tenants' lines (Unix ms).
#[derive(Default)]
struct Lines(RwLock<HashMap<Box<[u8]>, AtomicI64>>);

impl Lines {
    /// The line of a tenant; without one, a time before all others.
    fn get(&self, tenant: &[u8]) -> i64 {
        let lines = self.0.read().unwrap_or_else(PoisonError::into_inner);
        lines.get(tenant).map_or(i64::MIN, |line| line.load(Ordering::Acquire))
    }

    fn set(&self, tenant: &[u8], line_ms: i64) {
        if let Some(line) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(tenant) {
            line.store(line_ms, Ordering::Release);
            return;
        }
        let mut lines = self.0.write().unwrap_or_else(PoisonError::into_inner);
        lines.insert(tenant.into(), AtomicI64::new(line_ms));
    }

    fn remove(&self, tenant: &[u8]) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }
}
