//! The topics that lethe needs: it creates what is missing, and names what is wrong.

use std::collections::BTreeMap;

use lethe_test_support::broker::Broker;
use lethe_test_support::bus::{AUDIT, Bus, CONTROL, DEAD_LETTERS, OUTPUTS};
use lethe_test_support::lethe::{Setup, verb};

use crate::world::{DAY, PROGRAM, World};
use crate::{Version, on_both_brokers};

on_both_brokers! {
    that_are_missing_are_created_with_what_the_guarantees_need;
    are_planned_and_applied;
    with_too_few_partitions_are_refused_by_name;
    that_are_missing_are_named_where_lethe_must_not_create_them;
}

fn that_are_missing_are_created_with_what_the_guarantees_need(version: Version) {
    let world = World::new(version, "topics.created");
    expect_made(&world.bus);
    // A control topic that was there already is left as it is by `run`.
    assert_eq!(setting(&world.settings(CONTROL), "cleanup.policy"), "compact");
}

fn expect_made(bus: &Bus<'_>) {
    for output in OUTPUTS {
        let count = bus.partition_count(output).unwrap_or(0);
        assert!(count >= usize::try_from(bus.partitions()).unwrap_or(0), "{output}: {count}");
        let settings = bus.settings(output);
        let mut cleanup: Vec<&str> = setting(&settings, "cleanup.policy").split(',').collect();
        cleanup.sort_unstable();
        let transit = output.starts_with("transit");
        let wanted: &[&str] = if transit { &["compact", "delete"] } else { &["compact"] };
        assert_eq!(cleanup, wanted, "{output}");
        assert_eq!(number(&settings, "delete.retention.ms"), 7 * DAY, "{output}");
        assert_eq!(setting(&settings, "message.timestamp.type"), "LogAppendTime", "{output}");
    }
    assert_eq!(setting(&bus.settings(DEAD_LETTERS), "cleanup.policy"), "delete");
    assert_eq!(number(&bus.settings(DEAD_LETTERS), "retention.ms"), DAY);
    assert_eq!(number(&bus.settings(AUDIT), "retention.ms"), -1);
    let changelog = format!("lethe.changelog.{}", bus.topic("im.messages"));
    assert_eq!(setting(&bus.settings(&changelog), "cleanup.policy"), "delete");
    assert_eq!(number(&bus.settings(&changelog), "retention.ms"), -1);
}

fn setting<'a>(settings: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    settings.get(name).map_or("", String::as_str)
}

fn number(settings: &BTreeMap<String, String>, name: &str) -> i64 {
    setting(settings, name).parse().unwrap_or(i64::MIN)
}

fn are_planned_and_applied(version: Version) {
    let broker = Broker::shared(version);
    let bus = Bus::without_topics(broker, "topics.applied", 2);
    for input in lethe_test_support::bus::INPUTS {
        bus.create(input, 2, &[]);
    }
    let config = Setup::new(PROGRAM, &bus, "first").write_config();
    let (config, address) = (config.display().to_string(), broker.address());
    let topics = |verb_name: &str| {
        verb(PROGRAM, &["topics", verb_name, "--brokers", &address, "--config", &config])
    };
    let (code, plan, errors) = topics("plan");
    assert_eq!(code, 0, "{errors}");
    for topic in OUTPUTS.iter().chain(&[CONTROL, AUDIT, DEAD_LETTERS]) {
        assert!(plan.contains(&bus.topic(topic)), "{topic} is not in the plan:\n{plan}");
    }
    assert!(bus.partition_count(CONTROL).is_err(), "a plan creates nothing");

    let (code, _, errors) = topics("apply");
    assert_eq!(code, 0, "{errors}");
    expect_made(&bus);
    let control = bus.settings(CONTROL);
    assert_eq!(setting(&control, "cleanup.policy"), "compact");
    assert_eq!(number(&control, "min.compaction.lag.ms"), 30 * DAY);
    assert_eq!(number(&control, "delete.retention.ms"), 30 * DAY);
    assert_eq!(bus.partition_count(CONTROL), Ok(1));

    // What was changed since is corrected.
    bus.set("store.messages", &[("cleanup.policy", "delete")]);
    let (code, _, errors) = topics("apply");
    assert_eq!(code, 0, "{errors}");
    expect_made(&bus);
}

fn with_too_few_partitions_are_refused_by_name(version: Version) {
    let bus = Bus::new(Broker::shared(version), "topics.few", 2);
    bus.create("store.messages", 1, &[("cleanup.policy", "compact")]);
    let mut lethe = Setup::new(PROGRAM, &bus, "first").start();
    assert_eq!(lethe.wait().code(), Some(1), "{}", lethe.said());
    assert!(lethe.said().contains(&bus.topic("store.messages")), "{}", lethe.said());
}

fn that_are_missing_are_named_where_lethe_must_not_create_them(version: Version) {
    let bus = Bus::new(Broker::shared(version), "topics.missing", 2);
    let mut setup = Setup::new(PROGRAM, &bus, "first");
    setup.flags.push("--no-create-topics".to_owned());
    let mut lethe = setup.start();
    assert_eq!(lethe.wait().code(), Some(1), "{}", lethe.said());
    assert!(lethe.said().contains(&bus.topic("store.messages")), "{}", lethe.said());
    assert!(bus.partition_count("store.messages").is_err());
}
