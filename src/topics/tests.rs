//! What `topics plan` says, in the operator's words.
#![expect(clippy::unwrap_used, reason = "a failing test is the point")]

use std::collections::BTreeMap;
use std::time::Duration;

use super::control::check_control_settings;
use super::wanted::Rule;
use super::{Asked, Change, Current, Plan, Rendered, Topic, plan};
use crate::config::TopicMaking;
use crate::pipeline::settings::Topics;

const MAKING: TopicMaking = TopicMaking {
    input_partitions: 4,
    replication: None,
    transit_limit: Duration::from_secs(24 * 3600),
};

fn topic(partitions: i32, settings: &[(&str, &str)]) -> Topic {
    let pair = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    Topic { partitions, settings: settings.iter().map(pair).collect(), own: vec![], hidden: false }
}

/// Inputs that keep content no longer than the transit limit.
fn inputs(partitions: i32) -> Current {
    let input = topic(
        partitions,
        &[
            ("cleanup.policy", "delete"),
            ("retention.ms", "3600000"),
            ("max.message.bytes", "2000000"),
        ],
    );
    ["im.messages", "im.profiles", "im.configs"].map(|name| (name.to_owned(), input.clone())).into()
}

/// What a broker looks like after the changes.
fn applied(mut current: Current, changes: &[Change]) -> Current {
    for change in changes {
        match change.clone() {
            Change::Create { topic, partitions, settings } => {
                let settings: BTreeMap<_, _> = settings.into_iter().collect();
                let made = Topic { partitions, settings, own: vec![], hidden: false };
                assert!(current.insert(topic, made).is_none(), "created twice");
            }
            Change::AddPartitions { topic, to, .. } => {
                current.get_mut(&topic).unwrap().partitions = to;
            }
            Change::Set { topic, settings } => {
                let topic = current.get_mut(&topic).unwrap();
                for change in settings {
                    topic.settings.insert(change.setting, change.to);
                }
            }
        }
    }
    current
}

fn plan_of(current: &Current) -> Plan {
    plan(&Topics::default(), &MAKING, current, Asked::default())
}

/// Everything as it must be, over inputs of so many partitions.
fn complete(partitions: i32) -> Current {
    let current = inputs(partitions);
    let changes = plan_of(&current).changes;
    applied(current, &changes)
}

/// The changes, after one thing in the complete state is spoilt.
fn changes_after(topic: &str, setting: &str, value: &str) -> Vec<String> {
    let mut current = complete(4);
    let settings = &mut current.get_mut(topic).unwrap().settings;
    settings.insert(setting.to_owned(), value.to_owned());
    plan_of(&current).changes.iter().map(ToString::to_string).collect()
}

#[test]
fn on_a_new_cluster_everything_of_lethe_is_created_as_wide_as_its_input() {
    let mut current = inputs(6);
    current.get_mut("im.profiles").unwrap().partitions = 2;
    let plan = plan_of(&current);
    let made: Vec<_> = plan
        .changes
        .iter()
        .map(|change| match change {
            Change::Create { topic, partitions, .. } => format!("{topic}:{partitions}"),
            Change::AddPartitions { .. } | Change::Set { .. } => "another change".to_owned(),
        })
        .collect();
    assert_eq!(
        made.join(" "),
        "store.messages:6 transit.messages:6 store.profiles:2 transit.profiles:2 store.configs:6 \
         lethe.changelog.im.messages:6 lethe.changelog.im.profiles:2 lethe.changelog.im.configs:6 \
         lethe.audit:6 lethe.dlq:6 lethe.control:1"
    );
    assert_eq!((plan.problems, plan.warnings), (vec![], vec![]));
}

#[test]
fn after_apply_there_is_nothing_left_to_do() {
    let plan = plan_of(&complete(4));
    assert_eq!(plan.changes, vec![]);
    assert!(Rendered(&plan).to_string().starts_with("Every topic is as it must be."));
}

#[test]
fn outputs_take_records_as_large_as_the_input_with_their_tags() {
    let changes = plan_of(&inputs(1)).changes;
    let text: String = changes.iter().take(1).map(ToString::to_string).collect();
    assert_eq!(
        text,
        "+ create store.messages with 1 partitions
    cleanup.policy = compact
    segment.ms = 3600000
    min.compaction.lag.ms = 0
    max.compaction.lag.ms = 86400000
    min.cleanable.dirty.ratio = 0.1
    delete.retention.ms = 604800000
    max.message.bytes = 2004096
    message.timestamp.type = LogAppendTime
"
    );
}

#[test]
fn settings_that_guarantees_lean_on_are_corrected() {
    let cases = [
        ("store.messages", "cleanup.policy", "delete", "compact"),
        ("store.messages", "segment.ms", "604800000", "3600000"),
        ("store.messages", "max.compaction.lag.ms", "9223372036854775807", "86400000"),
        ("store.messages", "min.cleanable.dirty.ratio", "0.5", "0.1"),
        ("store.profiles", "delete.retention.ms", "86400000", "604800000"),
        ("store.configs", "message.timestamp.type", "CreateTime", "LogAppendTime"),
        ("store.configs", "max.message.bytes", "1048588", "2004096"),
        ("transit.messages", "cleanup.policy", "compact", "compact,delete"),
        ("transit.messages", "retention.ms", "604800000", "172800000"),
        ("lethe.control", "delete.retention.ms", "86400000", "2592000000"),
        ("lethe.control", "min.compaction.lag.ms", "0", "2592000000"),
        ("lethe.dlq", "retention.ms", "-1", "86400000"),
        ("lethe.changelog.im.messages", "retention.ms", "604800000", "-1"),
        ("lethe.changelog.im.messages", "cleanup.policy", "compact", "delete"),
    ];
    for (topic, setting, from, to) in cases {
        let expected = format!("~ {topic}\n    {setting}: {from} becomes {to}\n");
        assert_eq!(changes_after(topic, setting, from), vec![expected]);
    }
}

#[test]
fn what_is_stricter_or_the_operators_choice_is_left_alone() {
    let cases = [
        ("store.messages", "segment.ms", "600000"),
        ("store.messages", "min.cleanable.dirty.ratio", "0.01"),
        ("store.messages", "delete.retention.ms", "2592000000"),
        ("store.messages", "compression.type", "zstd"),
        ("transit.messages", "cleanup.policy", "delete,compact"),
        ("lethe.dlq", "retention.ms", "3600000"),
        ("lethe.audit", "retention.ms", "31536000000"),
    ];
    for (topic, setting, value) in cases {
        assert_eq!(changes_after(topic, setting, value), Vec::<String>::new(), "{topic} {setting}");
    }
}

#[test]
fn outputs_grow_with_their_input_and_run_leaves_that_to_the_operator() {
    let mut current = complete(4);
    current.get_mut("im.messages").unwrap().partitions = 6;
    let plan = plan_of(&current);
    let changes: Vec<_> = plan.changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        changes.concat(),
        "~ store.messages: 4 partitions become 6\n\
         ~ transit.messages: 4 partitions become 6\n\
         ~ lethe.audit: 4 partitions become 6\n\
         ~ lethe.dlq: 4 partitions become 6\n"
    );
    assert_eq!(plan.creations(), vec![]);
    current.remove("lethe.dlq");
    assert_eq!(plan_of(&current).creations().len(), 1);
}

#[test]
fn an_input_that_is_missing_is_a_problem_unless_lethe_is_told_to_make_it() {
    let mut current = inputs(4);
    current.remove("im.profiles");
    let plan_without = plan_of(&current);
    assert_eq!(plan_without.problems.len(), 1);
    assert!(plan_without.problems.concat().contains("im.profiles does not exist"));
    let text = Rendered(&plan_without).to_string();
    assert!(!text.contains("store.profiles") && text.contains("store.messages"), "{text}");
    assert!(!text.contains("lethe.dlq"), "how wide it must be is not known yet: {text}");

    let asked = Asked { with_inputs: true, ..Asked::default() };
    let told = plan(&Topics::default(), &MAKING, &current, asked);
    assert_eq!(told.problems, Vec::<String>::new());
    let text = Rendered(&told).to_string();
    assert!(text.starts_with("+ create im.profiles with 4 partitions\n"), "{text}");
    assert!(text.contains("+ create store.profiles with 4 partitions\n"), "{text}");
    assert_eq!(told.warnings, Vec::<String>::new(), "what lethe makes keeps content no longer");
}

#[test]
fn an_input_that_keeps_content_longer_than_the_transit_limit_is_warned_of() {
    let cases = [
        ("delete", "172800000", Some("keeps content 2 d, longer than the transit limit (1 d)")),
        ("delete", "-1", Some("keeps content without limit")),
        ("compact", "3600000", Some("keeps content without limit")),
        ("compact,delete", "86400000", None),
    ];
    for (policy, retention, expected) in cases {
        let mut current = complete(4);
        let settings = &mut current.get_mut("im.messages").unwrap().settings;
        settings.insert("cleanup.policy".to_owned(), policy.to_owned());
        settings.insert("retention.ms".to_owned(), retention.to_owned());
        let plan = plan_of(&current);
        assert_eq!(plan.changes, vec![], "the input is never altered");
        match expected {
            Some(words) => assert!(plan.warnings.concat().contains(words), "{:?}", plan.warnings),
            None => assert_eq!(plan.warnings, Vec::<String>::new()),
        }
    }
}

#[test]
fn partitions_that_an_input_gains_are_added_to_its_changelog_once_they_are_accepted() {
    let mut current = complete(4);
    current.get_mut("im.messages").unwrap().partitions = 6;
    let widened = |plan: &Plan| -> Vec<String> {
        let name = |change: &Change| match change {
            Change::AddPartitions { topic, from: 4, to: 6 } => Some(topic.clone()),
            Change::AddPartitions { .. } | Change::Create { .. } | Change::Set { .. } => None,
        };
        plan.changes.iter().filter_map(name).collect()
    };
    let plan_without = plan_of(&current);
    assert!(!widened(&plan_without).contains(&"lethe.changelog.im.messages".to_owned()));
    assert!(widened(&plan_without).contains(&"store.messages".to_owned()));
    assert!(plan_without.warnings.concat().contains("--accept-partitions"));
    let asked = Asked { accept_partitions: true, ..Asked::default() };
    let accepted = plan(&Topics::default(), &MAKING, &current, asked);
    assert!(widened(&accepted).contains(&"lethe.changelog.im.messages".to_owned()));
    assert_eq!(accepted.warnings, Vec::<String>::new());
}

#[test]
fn a_control_topic_with_several_partitions_is_a_problem() {
    let mut current = complete(4);
    current.get_mut("lethe.control").unwrap().partitions = 3;
    let plan = plan_of(&current);
    assert!(plan.problems.concat().contains("lethe.control has 3 partitions and must have 1"));
}

#[test]
fn for_each_topic_it_says_how_long_bytes_outlive_their_end() {
    let text = Rendered(&plan_of(&complete(4))).to_string();
    for line in [
        "im.messages                  the producer's: content stays 1 h, whatever lethe does",
        "store.messages               up to 25 h after their tombstone (segment.ms 1 h + max.compaction.lag.ms 1 d)",
        "lethe.dlq                    up to 25 h (with dead_letters.values; else no content)",
        "lethe.changelog.im.messages  no content",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn a_stricter_setting_shortens_what_is_said() {
    let mut current = complete(4);
    let settings = &mut current.get_mut("store.messages").unwrap().settings;
    settings.insert("max.compaction.lag.ms".to_owned(), "3600000".to_owned());
    assert!(Rendered(&plan_of(&current)).to_string().contains("up to 2 h after their tombstone"));
}

#[test]
fn as_json_a_plan_keeps_its_names() {
    let json = serde_json::to_value(plan_of(&inputs(1))).unwrap();
    assert_eq!(json.pointer("/changes/0/change").unwrap(), "create");
    assert_eq!(json.pointer("/changes/0/topic").unwrap(), "store.messages");
    assert_eq!(json.pointer("/topics/0/kind").unwrap(), "input");
}

#[test]
fn control_settings_that_could_lose_records() {
    let good = [
        ("cleanup.policy", "compact"),
        ("min.compaction.lag.ms", "2592000000"),
        ("delete.retention.ms", "2592000000"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "-1"),
    ];
    let dangers = |change: (&'static str, &'static str)| {
        let mut control = topic(1, &good);
        control.settings.insert(change.0.to_owned(), change.1.to_owned());
        check_control_settings(&control).join("; ")
    };
    assert_eq!(dangers(("cleanup.policy", "compact")), "");
    assert!(dangers(("cleanup.policy", "delete")).contains("with a retention.ms deletes"));
    assert!(dangers(("cleanup.policy", "compact,delete")).contains("retention.ms"));
    assert!(dangers(("min.compaction.lag.ms", "0")).contains("min.compaction.lag.ms is 0 ms"));
    assert!(dangers(("delete.retention.ms", "86400000")).contains("delete.retention.ms is 1 d"));
    assert!(check_control_settings(&topic(2, &good)).concat().contains("2 partitions"));
    let kept_whole = topic(
        1,
        &[("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")],
    );
    assert_eq!(check_control_settings(&kept_whole), Vec::<String>::new());
}

#[test]
fn a_value_that_the_broker_does_not_tell_is_not_taken_for_right() {
    assert!(!Rule::AtLeast(1).holds(None));
    assert!(!Rule::AtMost(1).holds(Some("many")));
    assert!(!Rule::Exactly("compact".to_owned()).holds(None));
    assert!(Rule::AtLeast(1).holds(Some("-1")) && !Rule::AtMost(1).holds(Some("-1")));
}
