//! CPU time of this process, as exact as the system has it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU seconds of all threads.
pub(super) fn of_process() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

/// CPU seconds of this thread.
pub(super) fn of_thread() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(time.tv_sec.unsigned_abs(), nanoseconds).as_secs_f64()
}
