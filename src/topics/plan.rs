//! What is there beside what is wanted: the changes, and what a person should know. Pure.

use serde::Serialize;

use super::wanted::{Partitions, Wanted, input_settings, millis, outputs};
use super::{Current, Kind, Topic};
use crate::config::TopicMaking;
use crate::pipeline::settings::{CLASSES, Topics};

/// What would have to change, and what is to be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// What `apply` does, in order.
    pub changes: Vec<Change>,
    /// What `apply` cannot do: someone has to act before lethe can run.
    pub problems: Vec<String>,
    /// What is allowed, but weakens what lethe is there for.
    pub warnings: Vec<String>,
    /// For each topic, how long bytes can outlive their end (once the changes are made).
    pub topics: Vec<Outliving>,
}

/// One change of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// The topic is missing.
    Create {
        /// Its name.
        topic: String,
        /// How many partitions it gets.
        partitions: i32,
        /// The settings that it gets; the broker's defaults for the rest.
        settings: Vec<(String, String)>,
    },
    /// It has fewer partitions than its input.
    AddPartitions {
        /// Its name.
        topic: String,
        /// How many it has.
        from: i32,
        /// How many it needs.
        to: i32,
    },
    /// Some of its settings are not what the guarantees need. The others stay as they are.
    Set {
        /// Its name.
        topic: String,
        /// Which ones.
        settings: Vec<SettingChange>,
    },
}

/// One setting that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingChange {
    /// Its name.
    pub setting: String,
    /// What it is; none: the broker does not know it or does not tell.
    pub from: Option<String>,
    /// What it must be.
    pub to: String,
}

/// How long bytes stay on a topic after lethe has ended them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outliving {
    /// The topic.
    pub topic: String,
    /// Whose it is.
    pub kind: Kind,
    /// How long, in words.
    pub bytes_outlive: String,
}

/// What an operator has asked for beside what is always done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Missing inputs are to be created too.
    pub with_inputs: bool,
    /// Partitions that an input has gained are accepted: keys have moved to them.
    pub accept_partitions: bool,
}

/// Compares the topics that are there with what lethe needs.
///
#[must_use]
pub fn plan(topics: &Topics, making: &TopicMaking, current: &Current, asked: Asked) -> Plan {
    let mut plan = Plan { changes: vec![], problems: vec![], warnings: vec![], topics: vec![] };
    let mut inputs = Current::new();
    for class in CLASSES {
        let name = topics.input(class);
        if let Some(input) = current.get(name) {
            plan.check_input(name, input, making);
            inputs.insert(name.to_owned(), input.clone());
        } else if asked.with_inputs {
            let partitions = making.input_partitions;
            let (topic, settings) = (name.to_owned(), input_settings(making));
            let made = settings.iter().cloned().collect();
            let input = Topic { partitions, settings: made, own: vec![], hidden: false };
            plan.changes.push(Change::Create { topic, partitions, settings });
            plan.check_input(name, &input, making);
            inputs.insert(name.to_owned(), input);
        } else {
            plan.problems.push(format!(
                "the input topic {name} does not exist, or lethe's user may not see it: create it \
                 with the partitions that you need, or let `lethe topics apply --with-inputs` do it; \
                 if it is there, grant lethe's user Read on it"
            ));
        }
    }
    for wanted in outputs(topics, making, &inputs) {
        plan.check(&wanted, current.get(&wanted.name), asked);
        plan.outliving(&wanted.name, wanted.kind, outlive(&wanted, current.get(&wanted.name)));
    }
    plan.warn_of_hidden(current);
    plan
}

impl Plan {
    /// The part that `run` does by itself: what is missing is created, nothing is altered.
    #[must_use]
    pub fn creations(&self) -> Vec<Change> {
        let creates = |change: &&Change| matches!(change, Change::Create { .. });
        self.changes.iter().filter(creates).cloned().collect()
    }

    fn warn_of_hidden(&mut self, current: &Current) {
        let hidden = current.iter().filter(|(_, topic)| topic.hidden);
        let names: Vec<&str> = hidden.map(|(name, _)| name.as_str()).collect();
        if !names.is_empty() {
            self.warnings.push(format!(
                "lethe's user may not look at the settings of {}, so that nobody checks what the \
                 guarantees need of them: grant DescribeConfigs on these topics",
                names.join(", ")
            ));
        }
    }

    fn check(&mut self, wanted: &Wanted, current: Option<&Topic>, asked: Asked) {
        let topic = wanted.name.clone();
        let Some(current) = current else {
            let setting = |(name, rule): &(&'static str, super::wanted::Rule)| {
                ((*name).to_owned(), rule.value())
            };
            let settings = wanted.settings.iter().map(setting).collect();
            let (Partitions::Exactly(partitions) | Partitions::AtLeast(partitions)) =
                wanted.partitions;
            self.changes.push(Change::Create { topic, partitions, settings });
            return;
        };
        self.check_partitions(wanted, current.partitions, asked);
        if current.hidden {
            return;
        }
        let settings: Vec<_> = wanted
            .settings
            .iter()
            .filter_map(|(name, rule)| {
                let from = current.settings.get(*name).cloned();
                let wrong = !rule.holds(from.as_deref());
                wrong.then(|| SettingChange { setting: (*name).to_owned(), from, to: rule.value() })
            })
            .collect();
        if !settings.is_empty() {
            self.changes.push(Change::Set { topic, settings });
        }
    }

    fn check_partitions(&mut self, wanted: &Wanted, from: i32, asked: Asked) {
        match wanted.partitions {
            // The changelog's partitions are those that are processed (see the pipeline's `room`).
            Partitions::AtLeast(to)
                if from < to && wanted.kind == Kind::Changelog && !asked.accept_partitions =>
            {
                self.warnings.push(format!(
                    "the input of {} has {to} partitions, of which {from} were accepted: the others \
                     wait. Keys have moved to them, and what is known of their records has not: \
                     let no record be under way (wait for the transit limit), then accept them \
                     with `lethe topics apply --accept-partitions`",
                    wanted.name
                ));
            }
            Partitions::AtLeast(to) if from < to => {
                self.changes.push(Change::AddPartitions { topic: wanted.name.clone(), from, to });
            }
            Partitions::Exactly(count) if from != count => self.problems.push(format!(
                "{} has {from} partitions and must have {count}: its records need one order. \
                 Partitions cannot be taken away: name a new topic in [topics] and write the \
                 records to it again",
                wanted.name
            )),
            Partitions::AtLeast(_) | Partitions::Exactly(_) => {}
        }
    }

    fn check_input(&mut self, name: &str, input: &Topic, making: &TopicMaking) {
        if input.hidden {
            let text = "the producer's: how long content stays is not to be seen".to_owned();
            self.outliving(name, Kind::Input, text);
            return;
        }
        let limit_ms = millis(making.transit_limit);
        let kept = kept_ms(input);
        let keeps = kept.map_or_else(|| "without limit".to_owned(), words);
        if kept.is_none_or(|kept_ms| kept_ms > limit_ms) {
            let limit = words(limit_ms);
            self.warnings.push(format!(
                "the input topic {name} keeps content {keeps}, longer than the transit limit \
                 ({limit}): opted-out content is still there after lethe has ended it. Set its \
                 cleanup.policy to delete and its retention.ms to {limit_ms} or less"
            ));
        }
        let text = format!("the producer's: content stays {keeps}, whatever lethe does");
        self.outliving(name, Kind::Input, text);
    }

    fn outliving(&mut self, topic: &str, kind: Kind, bytes_outlive: String) {
        self.topics.push(Outliving { topic: topic.to_owned(), kind, bytes_outlive });
    }
}

/// How long an input keeps its records: its retention and the segment that must close first.
fn kept_ms(input: &Topic) -> Option<i64> {
    let deletes =
        input.settings.get("cleanup.policy").is_some_and(|policy| policy.contains("delete"));
    let retention_ms = input.number("retention.ms").filter(|&retention_ms| retention_ms >= 0);
    retention_ms.filter(|_| deletes)
}

/// How long bytes outlive their end on a topic of lethe's, with the settings that it will have.
fn outlive(wanted: &Wanted, current: Option<&Topic>) -> String {
    let number = |setting: &str| -> i64 {
        let rule = wanted.settings.iter().find(|(name, _)| *name == setting).map(|(_, rule)| rule);
        let there = current.and_then(|topic| topic.settings.get(setting));
        let value = match (rule, there) {
            (Some(rule), Some(there)) if rule.holds(Some(there)) => there.clone(),
            (Some(rule), _) => rule.value(),
            (None, there) => there.cloned().unwrap_or_default(),
        };
        value.parse().unwrap_or_default()
    };
    let hidden = current.is_some_and(|topic| topic.hidden);
    match wanted.kind {
        Kind::Store | Kind::Transit | Kind::DeadLetters if hidden => {
            "its settings are not to be seen".to_owned()
        }
        Kind::Store | Kind::Transit => {
            let (segment, lag) = (number("segment.ms"), number("max.compaction.lag.ms"));
            format!(
                "up to {} after their tombstone (segment.ms {} + max.compaction.lag.ms {}), and the \
                 cleaner's run, while the partition is written to: the open segment closes only then",
                words(segment.saturating_add(lag)),
                words(segment),
                words(lag)
            )
        }
        Kind::DeadLetters => {
            let (keep, segment) = (number("retention.ms"), number("segment.ms"));
            format!(
                "up to {} (with dead_letters.values; else no content)",
                words(keep.saturating_add(segment))
            )
        }
        Kind::Control | Kind::Changelog | Kind::Audit | Kind::Input => "no content".to_owned(),
    }
}

/// A duration in the largest unit that is whole.
pub(super) fn words(ms: i64) -> String {
    const UNITS: [(i64, &str); 4] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")];
    let whole = UNITS.into_iter().find(|(unit_ms, _)| ms >= *unit_ms && ms % unit_ms == 0);
    match whole {
        Some((unit_ms, unit)) => format!("{} {unit}", ms / unit_ms),
        None => format!("{ms} ms"),
    }
}
