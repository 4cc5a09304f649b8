//! The table of what is wanted: for each topic its partitions and every setting that a guarantee
//! leans on, with the reason.

use std::time::Duration;

use lethe_engine::{Class, Storage};

use super::{Current, Kind};
use crate::config::TopicMaking;
use crate::pipeline::seam::Role;
use crate::pipeline::settings::{CLASSES, OUTPUTS, Topics};

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A closed segment is what can be cleaned, so it must not stay open for long.
pub(super) const SEGMENT_MS_MAX: i64 = HOUR_MS;
/// How long the cleaner may leave a record that a tombstone has ended.
pub(super) const COMPACTION_LAG_MS_MAX: i64 = DAY_MS;
/// The cleaner starts early, so that the lag above is the exception.
const DIRTY_RATIO_MAX: f64 = 0.1;
/// Sinks that were away for less still see every tombstone.
const TOMBSTONE_MS_MIN: i64 = 7 * DAY_MS;
/// Every control record stays in order for as long as a process may have been away.
pub const CONTROL_LAG_MS_MIN: i64 = 30 * DAY_MS;
/// How much longer than the longest transit limit a transit topic keeps what lethe could not end.
const TRANSIT_MARGIN_MS: i64 = DAY_MS;
/// Dead letters are for a look, not for keeping.
const DEAD_LETTER_MS_MAX: i64 = DAY_MS;
/// What an output adds to its input: a record key of up to three percent-encoded ids, and the tags.
const TAGS_BYTES: i64 = 4096;
/// Deltas of the changelog are split below this.
const CHANGELOG_BYTES_MIN: i64 = 1 << 20;
/// Segments of changelogs: what is truncated stays on the broker's disk until its segment is whole.
const CHANGELOG_SEGMENT_BYTES_MAX: i64 = 16 << 20;
/// Kafka's own limit of a record where the broker does not tell the input's.
const RECORD_BYTES_DEFAULT: i64 = 1_048_588;

/// What a setting must be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rule {
    /// This and nothing else.
    Exactly(String),
    /// This or more; -1 (no limit) is more.
    AtLeast(i64),
    /// This or less; -1 (no limit) is more.
    AtMost(i64),
    /// This or less, as a fraction.
    RatioAtMost(f64),
    /// This when lethe makes the topic; afterwards the operator's choice.
    AtFirst(String),
}

/// How many partitions a topic must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Partitions {
    /// So many: records of one control topic have one order.
    Exactly(i32),
    /// So many or more.
    AtLeast(i32),
}

/// A topic that there must be.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) partitions: Partitions,
    pub(super) settings: Vec<(&'static str, Rule)>,
}

/// The topics of lethe that there must be beside these inputs.
pub(super) fn outputs(topics: &Topics, making: &TopicMaking, inputs: &Current) -> Vec<Wanted> {
    // Topics that every input writes to are as wide as the widest, once all are known.
    let known = CLASSES.into_iter().all(|class| inputs.contains_key(topics.input(class)));
    let widest = inputs.values().map(|input| input.partitions).max().filter(|_| known);
    let roles = OUTPUTS.into_iter().chain([Role::Control]);
    roles
        .filter_map(|role| {
            let partitions = match role {
                Role::Control => Partitions::Exactly(1),
                Role::Audit | Role::DeadLetters => Partitions::AtLeast(widest?),
                // Without its input a topic of a class has no use yet, and no known size.
                Role::Input(class) | Role::Output(class, _) | Role::Changelog(class) => {
                    Partitions::AtLeast(inputs.get(topics.input(class))?.partitions)
                }
            };
            let (kind, settings) = settings(role, making, record_bytes_max(topics, inputs, role));
            Some(Wanted { name: topics.name(role), kind, partitions, settings })
        })
        .collect()
}

/// The largest record that can come to a topic: its input's, or the largest of all.
fn record_bytes_max(topics: &Topics, inputs: &Current, role: Role) -> i64 {
    let of = |class: Class| inputs.get(topics.input(class))?.number("max.message.bytes");
    let largest = match role {
        Role::Input(class) | Role::Output(class, _) | Role::Changelog(class) => of(class),
        Role::Control | Role::Audit | Role::DeadLetters => CLASSES.into_iter().filter_map(of).max(),
    };
    largest.unwrap_or(RECORD_BYTES_DEFAULT)
}

fn settings(
    role: Role,
    making: &TopicMaking,
    record_bytes_max: i64,
) -> (Kind, Vec<(&'static str, Rule)>) {
    let exactly = |value: &str| Rule::Exactly(value.to_owned());
    let with_tags = Rule::AtLeast(record_bytes_max.saturating_add(TAGS_BYTES));
    // lethe's clock is the broker's (guarantee 6), and old event times would break time limits.
    let time = ("message.timestamp.type", exactly("LogAppendTime"));
    let cleaned = vec![
        ("segment.ms", Rule::AtMost(SEGMENT_MS_MAX)),
        ("min.compaction.lag.ms", Rule::AtMost(0)),
        ("max.compaction.lag.ms", Rule::AtMost(COMPACTION_LAG_MS_MAX)),
        ("min.cleanable.dirty.ratio", Rule::RatioAtMost(DIRTY_RATIO_MAX)),
        ("delete.retention.ms", Rule::AtLeast(TOMBSTONE_MS_MIN)),
        ("max.message.bytes", with_tags.clone()),
        time.clone(),
    ];
    match role {
        Role::Output(_, Storage::Stored) => {
            (Kind::Store, [vec![("cleanup.policy", exactly("compact"))], cleaned].concat())
        }
        Role::Output(_, Storage::Transit) => {
            let keep_ms = millis(making.transit_limit).saturating_add(TRANSIT_MARGIN_MS);
            let policy = vec![
                ("cleanup.policy", exactly("compact,delete")),
                ("retention.ms", exactly(&keep_ms.to_string())),
                // A limit by size would end content that nobody has received yet.
                ("retention.bytes", exactly("-1")),
            ];
            (Kind::Transit, [policy, cleaned].concat())
        }
        Role::Control => (
            Kind::Control,
            vec![
                ("cleanup.policy", exactly("compact")),
                ("min.compaction.lag.ms", Rule::AtLeast(CONTROL_LAG_MS_MIN)),
                ("delete.retention.ms", Rule::AtLeast(CONTROL_LAG_MS_MIN)),
                time,
            ],
        ),
        Role::Audit => (
            Kind::Audit,
            vec![
                ("cleanup.policy", exactly("delete")),
                ("retention.ms", Rule::AtFirst("-1".to_owned())),
                ("retention.bytes", Rule::AtFirst("-1".to_owned())),
                time,
            ],
        ),
        Role::DeadLetters => (
            Kind::DeadLetters,
            vec![
                ("cleanup.policy", exactly("delete")),
                ("retention.ms", Rule::AtMost(DEAD_LETTER_MS_MAX)),
                ("segment.ms", Rule::AtMost(SEGMENT_MS_MAX)),
                ("max.message.bytes", with_tags),
                time,
            ],
        ),
        Role::Changelog(_) | Role::Input(_) => (
            Kind::Changelog,
            vec![
                // `delete` so that lethe may truncate it; nothing else may.
                ("cleanup.policy", exactly("delete")),
                ("retention.ms", exactly("-1")),
                ("retention.bytes", exactly("-1")),
                // Only whole segments leave the broker's disk, and the newest never does.
                ("segment.bytes", Rule::AtMost(CHANGELOG_SEGMENT_BYTES_MAX)),
                ("max.message.bytes", Rule::AtLeast(CHANGELOG_BYTES_MIN)),
                time,
            ],
        ),
    }
}

/// What an input that lethe makes is given: no more time than the transit limit.
pub(super) fn input_settings(making: &TopicMaking) -> Vec<(String, String)> {
    let keep_ms = millis(making.transit_limit).to_string();
    [("cleanup.policy", "delete"), ("retention.ms", keep_ms.as_str())]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// A duration as a setting's number.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Rule {
    /// Whether a value will do. A value that is absent or not understood will not.
    pub(super) fn holds(&self, value: Option<&str>) -> bool {
        let number =
            || value?.parse::<i64>().ok().map(|number| if number < 0 { i64::MAX } else { number });
        match self {
            Self::Exactly(wanted) => value.is_some_and(|value| same_list(wanted, value)),
            Self::AtLeast(min) => number().is_some_and(|number| number >= *min),
            Self::AtMost(max) => number().is_some_and(|number| number <= *max),
            Self::RatioAtMost(max) => {
                value.and_then(|value| value.parse().ok()).is_some_and(|ratio: f64| ratio <= *max)
            }
            Self::AtFirst(_) => true,
        }
    }

    /// The value that lethe sets.
    pub(super) fn value(&self) -> String {
        match self {
            Self::Exactly(value) | Self::AtFirst(value) => value.clone(),
            Self::AtLeast(number) | Self::AtMost(number) => number.to_string(),
            Self::RatioAtMost(ratio) => ratio.to_string(),
        }
    }
}

/// Whether two values are the same, as lists in any order (`delete,compact`).
fn same_list(a: &str, b: &str) -> bool {
    let sorted = |text: &str| {
        let mut parts: Vec<_> = text.split(',').map(|part| part.trim().to_owned()).collect();
        parts.sort();
        parts
    };
    sorted(a) == sorted(b)
}
