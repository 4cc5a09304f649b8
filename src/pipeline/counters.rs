//! What is counted of each input record and of what is written for it; metrics move after the commit alone.

use std::time::Duration;

use lethe_engine::ledger::{REPLAY_OUTCOMES, ReplayCounts};
use lethe_engine::{Class, Outcome, Reason, Storage};
use metrics::{Counter, Histogram};

use super::seam::Role;
use super::settings::{CLASSES, Topics};
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

/// How many kinds of output a partition has: see [`kind`].
const KINDS: usize = 5;

/// Where the output of a role is counted; none: no worker writes it.
const fn kind(role: Role) -> Option<usize> {
    match role {
        Role::Output(_, Storage::Stored) => Some(0),
        Role::Output(_, Storage::Transit) => Some(1),
        Role::Changelog(_) => Some(2),
        Role::Audit => Some(3),
        Role::DeadLetters => Some(4),
        Role::Input(_) | Role::Control => None,
    }
}

/// The roles of a class's outputs, in the order of [`kind`].
const fn roles(class: Class) -> [Role; KINDS] {
    [
        Role::Output(class, Storage::Stored),
        Role::Output(class, Storage::Transit),
        Role::Changelog(class),
        Role::Audit,
        Role::DeadLetters,
    ]
}

/// Records and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flow {
    records: u64,
    bytes: u64,
}

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
    /// Of replays, in the order of [`ReplayCounts::named`].
    replayed: [u64; REPLAY_OUTCOMES],
    input_records: u64,
    input_bytes: u64,
    outputs: [Flow; KINDS],
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

    /// What a slice of a replay has added to its counts.
    pub(super) fn replayed(&mut self, before: &ReplayCounts, after: &ReplayCounts) {
        let pairs = before.named().into_iter().zip(after.named());
        for (count, ((_, before), (_, after))) in self.replayed.iter_mut().zip(pairs) {
            *count += after.saturating_sub(before);
        }
    }

    /// An input record with a value of so many bytes was taken.
    pub(super) fn taken(&mut self, bytes: usize) {
        self.input_records += 1;
        self.input_bytes += bytes as u64;
    }

    /// Whether no input record was taken yet.
    pub(super) fn is_empty(&self) -> bool {
        self.input_records == 0
    }

    /// A record was written.
    pub(super) fn written(&mut self, role: Role, bytes: usize) {
        if let Some(flow) = kind(role).and_then(|kind| self.outputs.get_mut(kind)) {
            flow.records += 1;
            flow.bytes += bytes as u64;
        }
    }

    /// To how many partitions of Kafka its records went: each gets a marker.
    fn partitions_written(&self) -> u64 {
        self.outputs.iter().filter(|flow| flow.records > 0).count() as u64
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
    commits: Counter,
    pub(super) aborts: Counter,
    /// The producer was replaced.
    pub(super) unknown: Counter,
    markers: Counter,
    commit_time: Histogram,
}

struct Handles {
    outcomes: Vec<Counter>,
    dead_letters: Counter,
    errors: Vec<Counter>,
    tombstones: Vec<Counter>,
    unmatched: Counter,
    replayed: Vec<Counter>,
    input_bytes: Counter,
    outputs: Vec<(Counter, Counter)>,
    latency: Histogram,
}

impl Counters {
    pub(super) fn new(topics: &Topics) -> Self {
        let handles = |class: Class| {
            let topic = topics.input(class).to_owned();
            let records = |outcome: &'static str| metrics::counter!(names::RECORDS, "topic" => topic.clone(), "outcome" => outcome);
            let failed = |error: &'static str| {
                metrics::counter!(
                    names::DEAD_LETTERS, "topic" => topic.clone(), "error" => error)
            };
            let ended = |reason: Reason| {
                metrics::counter!(
                    names::TOMBSTONES, "class" => class.name(), "reason" => reason.name())
            };
            let read_again = |outcome: &'static str| {
                metrics::counter!(
                    names::REPLAY_RECORDS, "class" => class.name(), "outcome" => outcome)
            };
            let written = |role: Role| {
                let topic = topics.name(role);
                let records = metrics::counter!(names::OUTPUT_RECORDS, "topic" => topic.clone());
                (records, metrics::counter!(names::OUTPUT_BYTES, "topic" => topic))
            };
            Handles {
                input_bytes: metrics::counter!(names::INPUT_BYTES, "topic" => topic.clone()),
                outputs: roles(class).into_iter().map(written).collect(),
                latency: metrics::histogram!(names::EVENT_LATENCY, "topic" => topic.clone()),
                outcomes: OUTCOMES.iter().map(|outcome| records(outcome.name())).collect(),
                dead_letters: records(DEAD_LETTER),
                errors: ERRORS.iter().map(|error| failed(error)).collect(),
                tombstones: REASONS.iter().map(|&reason| ended(reason)).collect(),
                unmatched: metrics::counter!(names::UNMATCHED, "class" => class.name()),
                replayed: ReplayCounts::default()
                    .named()
                    .map(|(outcome, _)| read_again(outcome))
                    .into(),
            }
        };
        Self {
            classes: CLASSES.iter().map(|&class| (class, handles(class))).collect(),
            commits: metrics::counter!(names::TRANSACTIONS, "result" => "committed"),
            aborts: metrics::counter!(names::TRANSACTIONS, "result" => "aborted"),
            unknown: metrics::counter!(names::TRANSACTIONS, "result" => "unknown"),
            markers: metrics::counter!(names::MARKERS),
            commit_time: metrics::histogram!(names::COMMIT_TIME),
        }
    }

    /// A transaction has committed, which took so long; a marker for its positions comes with it.
    pub(super) fn transaction(&self, took: Duration) {
        self.commits.increment(1);
        self.markers.increment(1);
        self.commit_time.record(took);
    }

    /// What a record with this timestamp caused is committed now (both Unix ms).
    pub(super) fn latency(&self, class: Class, timestamp_ms: i64, now_ms: i64) {
        let latency_ms = u64::try_from(now_ms.saturating_sub(timestamp_ms)).unwrap_or_default();
        if let Some((_, handles)) = self.classes.iter().find(|(known, _)| *known == class) {
            handles.latency.record(Duration::from_millis(latency_ms));
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
        for (&count, counter) in counts.replayed.iter().zip(&handles.replayed) {
            counter.increment(count);
        }
        handles.input_bytes.increment(counts.input_bytes);
        for (flow, (records, bytes)) in counts.outputs.iter().zip(&handles.outputs) {
            records.increment(flow.records);
            bytes.increment(flow.bytes);
        }
        self.markers.increment(counts.partitions_written());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_is_counted_in_its_place() {
        for class in CLASSES {
            for (at, role) in roles(class).into_iter().enumerate() {
                assert_eq!(kind(role), Some(at), "{role:?}");
            }
        }
    }

    #[test]
    fn each_partition_that_was_written_to_gets_one_marker() {
        let mut counts = Counts::default();
        assert_eq!(counts.partitions_written(), 0);
        for _ in 0..3 {
            counts.written(Role::Changelog(Class::Message), 10);
        }
        counts.written(Role::Output(Class::Message, Storage::Transit), 5);
        assert_eq!(counts.partitions_written(), 2);
    }
}
