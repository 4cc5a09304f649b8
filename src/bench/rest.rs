//! When a process is at rest: what it put off (flushes, compactions) is done too.

use std::thread;
use std::time::{Duration, Instant};

/// A process is at rest when it takes less than this part of a core…
const CORES: f64 = 0.1;
/// … over this time, so often in a row.
const LOOK: Duration = Duration::from_millis(200);
/// See [`LOOK`].
const LOOKS: u32 = 3;
/// What takes longer is measured as it is.
const WITHIN: Duration = Duration::from_secs(60);

/// Waits until hardly anything is done any more, by the CPU seconds that were used so far.
pub(super) fn wait(cpu_seconds: impl Fn() -> f64) {
    let (started, mut quiet, mut before) = (Instant::now(), 0, cpu_seconds());
    while quiet < LOOKS && started.elapsed() < WITHIN {
        thread::sleep(LOOK);
        let now = cpu_seconds();
        quiet = if now - before < CORES * LOOK.as_secs_f64() { quiet + 1 } else { 0 };
        before = now;
    }
}
