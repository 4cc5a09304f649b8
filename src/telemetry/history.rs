//! The last minutes: samples of some figures, for the graphs of the status page.
//!
//! Invariant: at most [`SAMPLES_MAX`] samples are kept, however long the process runs.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::figures::Figures;
use super::names;

/// How often the figures are sampled.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// Samples that are kept: ten minutes.
pub const SAMPLES_MAX: usize = 300;

/// The figures of one moment; counts are since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// When (Unix ms).
    pub at_ms: i64,
    /// Input records.
    pub records: f64,
    /// Contents written.
    pub contents: f64,
    /// Null values written.
    pub tombstones: f64,
    /// Input records that went to the dead letters.
    pub dead_letters: f64,
    /// How overdue the oldest overdue record is (seconds).
    pub expiry_lag_s: f64,
    /// Input records that are not processed yet.
    pub consumer_lag: f64,
}

impl Sample {
    /// What the figures say.
    #[must_use]
    pub fn of(figures: &Figures, at_ms: i64) -> Self {
        let sum = |name, labels: &[(&str, &str)]| figures.sum(name, labels).unwrap_or_default();
        let outcome = |outcome| sum(names::RECORDS, &[("outcome", outcome)]);
        Self {
            at_ms,
            records: sum(names::RECORDS, &[]),
            contents: outcome("stored") + outcome("transit"),
            tombstones: sum(names::TOMBSTONES, &[]),
            dead_letters: sum(names::DEAD_LETTERS, &[]),
            expiry_lag_s: sum(names::EXPIRY_LAG, &[]),
            consumer_lag: sum(names::CONSUMER_LAG, &[]),
        }
    }
}

/// The samples, the oldest first.
#[derive(Debug, Default)]
pub struct History {
    samples: Mutex<VecDeque<Sample>>,
}

impl History {
    /// Adds the newest; the oldest makes room for it.
    pub fn add(&self, sample: Sample) {
        let mut samples = self.lock();
        if samples.len() >= SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// All of them.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.lock().iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_sample_makes_room_for_the_newest() {
        let history = History::default();
        for at_ms in 0..1_000 {
            history.add(Sample { at_ms, ..Sample::default() });
        }
        let samples = history.samples();
        assert_eq!(samples.len(), SAMPLES_MAX);
        assert_eq!(samples.first().map(|sample| sample.at_ms), Some(700));
        assert_eq!(samples.last().map(|sample| sample.at_ms), Some(999));
    }

    #[test]
    fn a_sample_is_what_the_figures_say() {
        let page = "lethe_records_total{topic=\"a\",outcome=\"stored\"} 2\n\
                    lethe_records_total{topic=\"b\",outcome=\"transit\"} 3\n\
                    lethe_records_total{topic=\"b\",outcome=\"learned\"} 4\n\
                    lethe_tombstones_total{class=\"message\",reason=\"expired\"} 5\n\
                    lethe_expiry_lag_seconds 0.5\n";
        let sample = Sample::of(&Figures::read(page), 7);
        let expected = Sample {
            at_ms: 7,
            records: 9.0,
            contents: 5.0,
            tombstones: 5.0,
            expiry_lag_s: 0.5,
            ..Sample::default()
        };
        assert_eq!(sample, expected);
    }
}
