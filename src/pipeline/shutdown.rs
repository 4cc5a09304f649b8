//! The wish to stop, or to leave the group for good, seen by every thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Set once, by a signal or by a thread that cannot go on.
#[derive(Debug, Default)]
pub struct Shutdown {
    stopping: AtomicBool,
    draining: AtomicBool,
    gate: Mutex<()>,
    bell: Condvar,
}

impl Shutdown {
    /// Everybody stops.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.bell.notify_all();
    }

    /// Whether everybody stops.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// The workers finish, and leave the group for good.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the workers are to leave the group for good.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Waits, but not beyond the wish to stop.
    pub fn wait(&self, time: Duration) {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let _woken = self.bell.wait_timeout_while(gate, time, |()| !self.is_stopping());
    }
}
