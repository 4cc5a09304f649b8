//! How often a caller may ask: so often a second, and some at once.
//!
//! Invariant: callers that are remembered are bounded; to forget one is to let it ask again, never to refuse it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Requests that a caller may make at once.
const BURST: u32 = 100;
/// How often another one is added: 20 a second. `erase place --wait` asks 10 times a second.
const EVERY: Duration = Duration::from_millis(50);
/// Callers that are remembered.
const CALLERS_MAX: usize = 4_096;

/// What callers have left.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    /// From when on each caller has all of its requests again.
    full_at: Mutex<HashMap<String, Instant>>,
}

impl Limiter {
    /// Takes a request from what a caller has left.
    ///
    /// # Errors
    /// Nothing is left for so long.
    pub(super) fn take(&self, caller: &str, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= CALLERS_MAX && !full_at.contains_key(caller) {
            full_at.retain(|_, at| *at > now);
            if full_at.len() >= CALLERS_MAX {
                full_at.clear();
            }
        }
        let until = full_at.get(caller).copied().unwrap_or(now).max(now) + EVERY;
        let wait = until.saturating_duration_since(now + EVERY * BURST);
        if !wait.is_zero() {
            return Err(wait);
        }
        full_at.insert(caller.to_owned(), until);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_so_many_a_second() {
        let (limiter, start) = (Limiter::default(), Instant::now());
        for _ in 0..BURST {
            assert_eq!(limiter.take("ada", start), Ok(()));
        }
        assert_eq!(limiter.take("ada", start), Err(EVERY));
        assert_eq!(limiter.take("bob", start), Ok(()), "each has its own");
        assert_eq!(limiter.take("ada", start + EVERY), Ok(()));
        assert!(limiter.take("ada", start + EVERY).is_err());
        let later = start + EVERY * (2 * BURST);
        for _ in 0..BURST {
            assert_eq!(limiter.take("ada", later), Ok(()));
        }
        assert!(limiter.take("ada", later).is_err(), "no more than that is saved up");
    }

    #[test]
    fn callers_are_bounded() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        for number in 0..2 * CALLERS_MAX {
            assert_eq!(limiter.take(&number.to_string(), now), Ok(()));
        }
        let known = limiter.full_at.lock().map(|known| known.len());
        assert!(known.is_ok_and(|known| known <= CALLERS_MAX));
    }
}
