//! When the group had committed what: the bound by which a record had been processed.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use lethe_test_support::bus::Bus;

use crate::PARTITIONS;
use crate::load::now_ms;

const MESSAGES: &str = "im.messages";
const PAUSE: Duration = Duration::from_millis(200);

/// Positions on the messages, by partition, and a time by which they were committed.
struct Sample {
    at_ms: i64,
    committed: Vec<i64>,
    ends: Vec<i64>,
}

/// Looks at the group's positions from the outside.
pub(crate) struct Watch<'b> {
    bus: &'b Bus<'b>,
    samples: Mutex<Vec<Sample>>,
}

impl<'b> Watch<'b> {
    pub(crate) fn new(bus: &'b Bus<'b>) -> Self {
        Self { bus, samples: Mutex::default() }
    }

    /// Looks again and again until it is told to stop.
    pub(crate) fn look_until(&self, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            self.look();
            thread::sleep(PAUSE);
        }
    }

    /// Looks once.
    pub(crate) fn look(&self) {
        let partitions = usize::try_from(PARTITIONS).unwrap_or(0);
        let committed = self.bus.committed(self.bus.prefix(), MESSAGES, partitions);
        let committed = committed.into_iter().map(|offset| offset.unwrap_or(0)).collect();
        let at_ms = now_ms();
        let ends = self.bus.high_watermarks(MESSAGES);
        self.lock().push(Sample { at_ms, committed, ends });
    }

    /// How many messages' records had been processed at the last look.
    pub(crate) fn processed(&self) -> i64 {
        self.lock().last().map_or(0, |sample| sample.committed.iter().sum())
    }

    /// How many had not.
    pub(crate) fn backlog(&self) -> i64 {
        let of = |sample: &Sample| -> i64 {
            sample.ends.iter().sum::<i64>() - sample.committed.iter().sum::<i64>()
        };
        self.lock().last().map_or(0, of)
    }

    /// A time (Unix ms) before which a record was processed; none: it is not known.
    pub(crate) fn processed_by(&self, partition: i32, offset: i64) -> Option<i64> {
        let partition = usize::try_from(partition).ok()?;
        let samples = self.lock();
        let before =
            |sample: &Sample| sample.committed.get(partition).is_none_or(|&next| next <= offset);
        // Positions never go back while the faults strike.
        samples.get(samples.partition_point(before)).map(|sample| sample.at_ms)
    }

    /// What the looks saw, in a line.
    pub(crate) fn summary(&self) -> String {
        let samples = self.lock();
        let mut text = format!("{} looks", samples.len());
        if let (Some(first), Some(last)) = (samples.first(), samples.last()) {
            let seconds = (last.at_ms - first.at_ms) / 1_000;
            let processed: i64 = last.committed.iter().sum();
            let _ = write!(text, " in {seconds} s, {processed} records of messages processed");
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
