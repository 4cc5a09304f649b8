//! What is counted of each input record and tombstone; metrics move after the commit alone.

use lethe_engine::{Class, Outcome, Reason};
use metrics::Counter;

use super::settings::CLASSES;
use crate::telemetry::names;

/// Every outcome, in the order of [`Counts::outcomes`].
const OUTCOMES: [Outcome; 6] = [
    Outcome::Stored,
    Outcome::Transit,
    Outcome::Learned,
    Outcome::Known,
    Outcome::Over,
    Outcome::Nothing,
];
/// Every reason, in the order of [`Counts::tombstones`].
const REASONS: [Reason; 9] = [
    Reason::Expired,
    Reason::Delivered,
    Reason::Undelivered,
    Reason::Recalled,
    Reason::Removed,
    Reason::Erased,
    Reason::OptedOut,
    Reason::Ended,
    Reason::Burned,
];
/// What can be wrong with an input record: the codec's codes, and its size.
const ERRORS: [&str; 5] = ["decode", "no-event", "id", "time", super::desk::TOO_LARGE];
/// The label of input that went to the dead letters.
const DEAD_LETTER: &str = "dead_letter";

/// What one batch did on one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    stored: u64,
    transit: u64,
    learned: u64,
    known: u64,
    over: u64,
    nothing: u64,
    dead_letters: [u64; ERRORS.len()],
    tombstones: [u64; REASONS.len()],
    unmatched: u64,
}

impl Counts {
    pub(super) fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Stored => self.stored += 1,
            Outcome::Transit => self.transit += 1,
            Outcome::Learned => self.learned += 1,
            Outcome::Known => self.known += 1,
            Outcome::Over => self.over += 1,
            Outcome::Nothing => self.nothing += 1,
        }
    }

    pub(super) fn dead_letter(&mut self, error: &str) {
        let at = ERRORS.iter().position(|&known| known == error);
        if let Some(count) = at.and_then(|at| self.dead_letters.get_mut(at)) {
            *count += 1;
        }
    }

    pub(super) fn tombstone(&mut self, reason: Reason) {
        let at = REASONS.iter().position(|&known| known == reason);
        if let Some(count) = at.and_then(|at| self.tombstones.get_mut(at)) {
            *count += 1;
        }
    }

    pub(super) fn unmatched(&mut self, count: u64) {
        self.unmatched += count;
    }

    fn of(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Stored => self.stored,
            Outcome::Transit => self.transit,
            Outcome::Learned => self.learned,
            Outcome::Known => self.known,
            Outcome::Over => self.over,
            Outcome::Nothing => self.nothing,
        }
    }
}

/// A worker's handles: looked up once.
pub(super) struct Counters {
    classes: Vec<(Class, Handles)>,
    pub(super) commits: Counter,
    pub(super) aborts: Counter,
    /// The producer was replaced.
    pub(super) unknown: Counter,
}

struct Handles {
    outcomes: Vec<Counter>,
    dead_letters: Counter,
    errors: Vec<Counter>,
    tombstones: Vec<Counter>,
    unmatched: Counter,
}

impl Counters {
    pub(super) fn new(topic: impl Fn(Class) -> String) -> Self {
        let handles = |class: Class| {
            let topic = topic(class);
            let records = |outcome: &'static str| metrics::counter!(names::RECORDS, "topic" => topic.clone(), "outcome" => outcome);
            let failed = |error: &'static str| {
                metrics::counter!(
                    names::DEAD_LETTERS, "topic" => topic.clone(), "error" => error)
            };
            let ended = |reason: Reason| {
                metrics::counter!(
                    names::TOMBSTONES, "class" => class.name(), "reason" => reason.name())
            };
            Handles {
                outcomes: OUTCOMES.iter().map(|outcome| records(outcome.name())).collect(),
                dead_letters: records(DEAD_LETTER),
                errors: ERRORS.iter().map(|error| failed(error)).collect(),
                tombstones: REASONS.iter().map(|&reason| ended(reason)).collect(),
                unmatched: metrics::counter!(names::UNMATCHED, "class" => class.name()),
            }
        };
        Self {
            classes: CLASSES.iter().map(|&class| (class, handles(class))).collect(),
            commits: metrics::counter!(names::TRANSACTIONS, "result" => "committed"),
            aborts: metrics::counter!(names::TRANSACTIONS, "result" => "aborted"),
            unknown: metrics::counter!(names::TRANSACTIONS, "result" => "unknown"),
        }
    }

    /// The batch that these belong to has committed.
    pub(super) fn committed(&self, class: Class, counts: &Counts) {
        let Some((_, handles)) = self.classes.iter().find(|(known, _)| *known == class) else {
            return;
        };
        for (&outcome, counter) in OUTCOMES.iter().zip(&handles.outcomes) {
            counter.increment(counts.of(outcome));
        }
        handles.dead_letters.increment(counts.dead_letters.iter().sum());
        for (&count, counter) in counts.dead_letters.iter().zip(&handles.errors) {
            counter.increment(count);
        }
        for (&count, counter) in counts.tombstones.iter().zip(&handles.tombstones) {
            counter.increment(count);
        }
        handles.unmatched.increment(counts.unmatched);
    }
}
