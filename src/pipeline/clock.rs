//! The time that ends things: never ahead of the host's clock nor of the broker's.
//!
//! Invariant: before a broker's time is known nothing ends (where the broker can tell it).

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The host's two clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock (Unix ms); it can be wrong and it can jump.
    pub wall_ms: i64,
    /// Time since an arbitrary moment; it only goes forward.
    pub monotonic: Duration,
}

/// Where the host's time comes from: the system, or a simulation.
pub trait HostClock {
    /// Both clocks, now.
    fn now(&self) -> Now;
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl HostClock for SystemClock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
            monotonic: self.started.elapsed(),
        }
    }
}

/// Notices that the wall clock was set back, by its difference from the monotonic one.
#[derive(Clone, Copy, Debug)]
pub struct StepBack {
    /// The largest difference so far (ms).
    ahead_ms: i64,
}

impl StepBack {
    /// Compares with this moment.
    #[must_use]
    pub fn since(now: Now) -> Self {
        Self { ahead_ms: ahead_ms(now) }
    }

    /// By how much it was set back (ms); 0: it was not.
    pub fn look(&mut self, now: Now) -> i64 {
        let ahead_ms = ahead_ms(now);
        self.ahead_ms = self.ahead_ms.max(ahead_ms);
        self.ahead_ms - ahead_ms
    }
}

fn ahead_ms(now: Now) -> i64 {
    now.wall_ms.saturating_sub(i64::try_from(now.monotonic.as_millis()).unwrap_or(i64::MAX))
}

/// A step back of the clock by at most so much is waited out: the broker's time is learned anew with
/// every commit, each time late by another way back. What is more is an operator's correction, and followed.
const STEP_BACK_HELD_MS: i64 = 60_000;

/// What a worker knows of the broker's clock.
#[derive(Clone, Debug)]
pub struct Time {
    /// The broker can tell its time: nothing ends before it has.
    broker_tells: bool,
    /// The broker's time (Unix ms) at a moment of the monotonic clock.
    broker: Option<(i64, Duration)>,
    /// The latest time that ended things (Unix ms).
    held_ms: Cell<i64>,
}

impl Time {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(broker_tells: bool) -> Self {
        Self { broker_tells, broker: None, held_ms: Cell::new(i64::MIN) }
    }

    /// The broker's time, as a record carries it whose acknowledgement is there by now: what is
    /// counted on from here is late by the way back, and never ahead.
    /// A broker that cannot tell its time is not believed: the embedded one acknowledges with 0.
    pub fn learn(&mut self, broker_ms: i64, acknowledged: Duration) {
        if self.broker_tells {
            self.broker = Some((broker_ms, acknowledged));
        }
    }

    /// The broker's time, as far as known.
    #[must_use]
    pub fn broker_ms(&self, now: Now) -> Option<i64> {
        let (broker_ms, at) = self.broker?;
        let since = i64::try_from(now.monotonic.saturating_sub(at).as_millis()).ok()?;
        Some(broker_ms.saturating_add(since))
    }

    /// The time that ends things: the earlier of the two, which small steps do not turn back; none:
    /// nothing may end yet.
    #[must_use]
    pub fn ending_ms(&self, now: Now) -> Option<i64> {
        let earlier_ms = match self.broker_ms(now) {
            Some(broker_ms) => broker_ms.min(now.wall_ms),
            None if self.broker_tells => return None,
            None => now.wall_ms,
        };
        let held_ms = self.held_ms.get();
        let is_held =
            earlier_ms < held_ms && held_ms.saturating_sub(earlier_ms) <= STEP_BACK_HELD_MS;
        let ending_ms = if is_held { held_ms } else { earlier_ms };
        self.held_ms.set(ending_ms);
        Some(ending_ms)
    }

    /// The time against which "too far ahead" is measured: the later of the two.
    #[must_use]
    pub fn latest_ms(&self, now: Now) -> i64 {
        self.broker_ms(now).map_or(now.wall_ms, |broker_ms| broker_ms.max(now.wall_ms))
    }

    /// How far the host's clock is ahead of the broker's.
    #[must_use]
    pub fn difference_ms(&self, now: Now) -> Option<i64> {
        self.broker_ms(now).map(|broker_ms| now.wall_ms.saturating_sub(broker_ms))
    }

    /// How long ago the broker's time was learned.
    #[must_use]
    pub fn age(&self, now: Now) -> Option<Duration> {
        self.broker.map(|(_, at)| now.monotonic.saturating_sub(at))
    }

    /// Whether the broker tells its time at all.
    #[must_use]
    pub fn broker_tells(&self) -> bool {
        self.broker_tells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_ms: i64, monotonic_ms: u64) -> Now {
        Now { wall_ms, monotonic: Duration::from_millis(monotonic_ms) }
    }

    #[test]
    fn nothing_ends_before_the_broker_has_told_its_time() {
        let mut time = Time::new(true);
        assert_eq!(time.ending_ms(at(5_000, 0)), None);
        time.learn(4_000, Duration::ZERO);
        assert_eq!(time.ending_ms(at(5_000, 0)), Some(4_000));
    }

    #[test]
    fn a_fast_host_ends_nothing_early_and_a_slow_one_refuses_nothing() {
        let mut time = Time::new(true);
        time.learn(1_000, Duration::ZERO);
        assert_eq!(time.ending_ms(at(90_000, 500)), Some(1_500));
        let mut slow = Time::new(true);
        slow.learn(1_000, Duration::ZERO);
        assert_eq!(slow.latest_ms(at(200, 500)), 1_500);
        assert_eq!(slow.ending_ms(at(200, 500)), Some(200));
        assert_eq!(slow.difference_ms(at(200, 500)), Some(-1_300));
    }

    #[test]
    fn a_small_step_back_is_waited_out_and_a_large_one_followed() {
        let mut time = Time::new(true);
        time.learn(100_000, Duration::ZERO);
        assert_eq!(time.ending_ms(at(i64::MAX, 50)), Some(100_050));
        time.learn(100_030, Duration::from_millis(50));
        assert_eq!(time.ending_ms(at(i64::MAX, 60)), Some(100_050), "late by the way back");
        assert_eq!(time.ending_ms(at(i64::MAX, 80)), Some(100_060));
        assert_eq!(time.ending_ms(at(30_000, 90)), Some(30_000), "an operator's correction");
    }

    #[test]
    fn a_clock_that_was_set_back_is_noticed_and_one_that_was_put_forward_is_none() {
        let mut step = StepBack::since(at(100_000, 50));
        assert_eq!(step.look(at(101_000, 1_050)), 0);
        assert_eq!(step.look(at(900_000, 2_050)), 0, "put forward");
        assert_eq!(step.look(at(700_000, 3_050)), 201_000, "set back");
    }

    #[test]
    fn a_broker_without_a_clock_leaves_the_hosts() {
        let mut time = Time::new(false);
        time.learn(0, Duration::ZERO);
        assert_eq!(time.ending_ms(at(7, 0)), Some(7));
    }
}
