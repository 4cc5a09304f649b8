//! Polling with a generous bound: the only way in which these tests wait.

use std::thread;
use std::time::{Duration, Instant};

/// Far above what anything here takes on a busy machine: a bound against hanging, not a measure.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Short enough not to matter beside a commit interval of 100 ms.
const PAUSE: Duration = Duration::from_millis(25);

/// Asks again until there is an answer, and panics with `what` and the last objection when there is none.
///
/// # Panics
/// After [`PATIENCE`].
pub fn eventually<T>(what: &str, attempt: impl FnMut() -> Result<T, String>) -> T {
    within(PATIENCE, attempt).unwrap_or_else(|objection| {
        panic!("waited {} s for: {what}; last seen: {objection}", PATIENCE.as_secs())
    })
}

/// Asks again until there is an answer or the time has passed; the error is the last objection.
pub fn within<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(answer) => return Ok(answer),
            Err(objection) if start.elapsed() > patience => return Err(objection),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
