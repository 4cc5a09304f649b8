//! The wish to stop, seen by every thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How soon a waiting thread notices.
const NOTICE: Duration = Duration::from_millis(20);

/// Comes from the process around the pipeline, or from a thread of it that cannot go on.
#[derive(Debug)]
pub struct Shutdown {
    asked: Arc<AtomicBool>,
    failed: AtomicBool,
}

impl Shutdown {
    /// Follows the process's wish.
    #[must_use]
    pub fn new(asked: Arc<AtomicBool>) -> Self {
        Self { asked, failed: AtomicBool::new(false) }
    }

    /// A thread cannot go on: the others stop too.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Whether everybody stops.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.asked.load(Ordering::Acquire) || self.failed.load(Ordering::Acquire)
    }

    /// Waits, but not beyond the wish to stop.
    pub fn wait(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.is_stopping() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(NOTICE));
        }
    }
}
