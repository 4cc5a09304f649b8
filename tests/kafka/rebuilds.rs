//! A changelog that is lost altogether: the ledger is put together from the outputs, and nothing comes back.

use std::fs;

use lethe_test_support::bus::INPUTS;
use lethe_test_support::event::{self, Message};
use lethe_test_support::lethe::verb;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::world::{PROGRAM, World, content, now, stored, tombstone};
use crate::{Version, load, on_both_brokers};

const STORE: &str = "store.messages";
const TRANSIT: &str = "transit.messages";
const PROFILES: &str = "store.profiles";
const CONFIGS: &str = "store.configs";

const MESSAGES: usize = 2_000;

on_both_brokers! {
    nothing_comes_back_and_what_lives_lives_on;
    the_input_tells_again_what_the_outputs_do_not;
    a_rebuild_is_refused_while_lethe_runs_and_where_nothing_is_lost;
    a_rebuild_that_was_interrupted_is_started_again;
}

/// The process is killed, and everything but the outputs is gone.
fn lose(world: &World<'_>) {
    world.lethe().kill();
    for input in INPUTS {
        world.delete(&format!("lethe.changelog.{}", world.topic(input)));
    }
    fs::remove_dir_all(&world.setup.data).unwrap_or_else(|error| panic!("{error}"));
}

fn rebuild(world: &World<'_>, args: &[&str]) -> (i32, String, String) {
    let config = world.setup.write_config().display().to_string();
    let work = world.setup.data.with_extension("work").display().to_string();
    let (brokers, group) = (&world.setup.brokers, &world.setup.group);
    let place = ["--brokers", brokers, "--group", group, "--config", &config, "--data-dir", &work];
    verb(PROGRAM, &[&["rebuild"], &place[..], args].concat())
}

/// Rebuilds, and gives what the report says at a pointer, summed over the partitions.
fn rebuilt(world: &World<'_>, args: &[&str]) -> impl Fn(&str) -> u64 + use<> {
    let (code, said, errors) = rebuild(world, &[args, &["--json"]].concat());
    assert_eq!(code, 0, "{errors}");
    let report: Value =
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{said}: {error}"));
    move |what| {
        let partitions = report.get("partitions").and_then(Value::as_array);
        let count = |partition: &Value| partition.get(what)?.as_u64();
        partitions.into_iter().flatten().filter_map(count).sum()
    }
}

/// All input is read again.
fn read_again(world: &World<'_>) {
    world.lethe().kill();
    for input in INPUTS {
        world.rewind(&world.setup.group, input);
    }
    world.start_again();
    world.settle();
}

fn nothing_comes_back_and_what_lives_lives_on(version: Version) {
    let world = World::new(version, "rebuild.all");
    load::opt_in(&world);
    world.say("tenant/brief", &stored("30d"));
    world.say("tenant/held", &stored("30d"));
    world.say("hold/case", &json!({"tenant": "held"}));
    let messages = load::send(&world, MESSAGES);
    let brief = Message::new("brief", "c", "m", now());
    let held = Message::new("held", "c/d", "m", now());
    let edit = held.edited(now() + 1, b"edited");
    for value in [brief.sent(b"brief"), held.sent(b"held"), edit.clone()] {
        world.tell(&value);
    }
    let profile = event::profile_updated("held", "ann", now(), b"p");
    let gone = event::profile_updated("brief", "bob", now(), b"p");
    let removed = event::profile_removed("brief", "bob", now() + 1);
    for value in [&profile, &gone, &removed] {
        world.send("im.profiles", 1, value);
    }
    let item = event::config_set("brief", "item", now(), b"i");
    world.send("im.configs", 0, &item);
    load::verify(&world, &messages);
    lose(&world);
    // It goes nowhere without its memory, and a trial changes nothing.
    let mut lethe = world.setup.start();
    assert_eq!(lethe.wait().code(), Some(1), "{}", lethe.said());
    fs::remove_dir_all(&world.setup.data).unwrap_or_else(|error| panic!("{error}"));
    let unread = Message::new("brief", "c", "unread", now());
    world.tell(&unread.sent(b"unread"));

    let trial = rebuilt(&world, &["--dry-run"]);
    let found = rebuilt(&world, &[]);
    assert_eq!(trial("stored"), found("stored"));
    assert!(found("stored") > MESSAGES as u64 / 2 && found("ended") > MESSAGES as u64 / 4);
    assert_eq!(found("versions"), 1);
    world.start_again();
    world.expect(STORE, &unread.key(), &[content(&unread.sent(b"unread"))]);
    load::verify(&world, &messages);
    // What had ended is known by its null value, also where it comes by another way.
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
    read_again(&world);
    load::verify(&world, &messages);
    let user = |tenant, user| event::record_key(&[tenant, user]);
    world.expect_settled(PROFILES, &user("held", "ann"), &[content(&profile)]);
    world.expect_settled(PROFILES, &user("brief", "bob"), &[content(&gone), tombstone("removed")]);
    world.expect_settled(CONFIGS, &user("brief", "item"), &[content(&item)]);

    world.say("tenant/brief", &stored("1s"));
    world.say("tenant/held", &stored("1s"));
    world.expect(STORE, &brief.key(), &[content(&brief.sent(b"brief")), tombstone("expired")]);
    let version_key = format!("{}/{}", held.key(), edited_at(&edit));
    world.expect_settled(STORE, &held.key(), &[content(&held.sent(b"held"))]);
    world.expect_settled(STORE, &version_key, &[content(&edit)]);
    world.withdraw("hold/case");
    world.expect(STORE, &held.key(), &[content(&held.sent(b"held")), tombstone("expired")]);
    world.expect(STORE, &version_key, &[content(&edit), tombstone("expired")]);
    world.expect(PROFILES, &user("held", "ann"), &[content(&profile), tombstone("expired")]);
}

/// When an edit was made.
fn edited_at(edit: &[u8]) -> i64 {
    use prost::Message as _;
    let event = lethe_proto::v1::MessageEvent::decode(edit);
    match event.ok().and_then(|event| event.event) {
        Some(lethe_proto::v1::message_event::Event::Edited(edited)) => edited.edited_at_ms,
        other => panic!("no edit: {other:?}"),
    }
}

fn the_input_tells_again_what_the_outputs_do_not(version: Version) {
    let world = World::new(version, "rebuild.learn");
    let group = Message::new("passing", "c", "m", now());
    let value = group.sent_as(event::sent_to(2), b"to two");
    world.tell(&value);
    world.tell(&group.delivered("bob"));
    let early = Message::new("passing", "c", "early", now());
    world.tell(&early.recalled());
    world.settle();
    lose(&world);
    let found = rebuilt(&world, &[]);
    assert_eq!(found("waiting"), 1);
    world.start_again();
    world.tell(&group.delivered("ann"));
    world.expect_settled(TRANSIT, &group.key(), &[content(&value)]);
    read_again(&world);
    world.expect(TRANSIT, &group.key(), &[content(&value), tombstone("delivered")]);
    world.tell(&early.sent(b"recalled before"));
    world.expect_settled(TRANSIT, &early.key(), &[]);
}

fn a_rebuild_is_refused_while_lethe_runs_and_where_nothing_is_lost(version: Version) {
    let world = World::new(version, "rebuild.refused");
    let message = Message::new("passing", "c", "m", now());
    world.tell(&message.sent(b"here"));
    world.settle();
    let (code, _, errors) = rebuild(&world, &[]);
    assert_eq!(code, 1);
    assert!(errors.contains("has members (first-0)"), "{errors}");
    world.lethe().kill();
    let (code, _, errors) = rebuild(&world, &[]);
    assert_eq!(code, 1);
    assert!(errors.contains("nothing is lost"), "{errors}");
    // What is there may be put together anew; what is left of the one before makes way for it.
    assert_eq!(rebuilt(&world, &["--all"])("transit"), 1);
    world.start_again();
    world.tell(&message.delivered("bob"));
    let settled = [content(&message.sent(b"here")), tombstone("delivered")];
    world.expect(TRANSIT, &message.key(), &settled);
}

fn a_rebuild_that_was_interrupted_is_started_again(version: Version) {
    let world = World::new(version, "rebuild.half");
    let message = Message::new("passing", "c", "m", now());
    world.tell(&message.sent(b"here"));
    world.settle();
    lose(&world);
    // As one leaves it that dies before its last transaction.
    let mut config = world.bus.broker().client();
    config.set("group.id", &world.setup.group);
    let consumer: BaseConsumer = config.create().unwrap_or_else(|error| panic!("{error}"));
    let committed = world.committed(&world.setup.group, "im.messages", 2);
    let mut marks = TopicPartitionList::new();
    for (partition, offset) in (0..).zip(committed) {
        let Some(offset) = offset else { continue };
        let mut mark = marks.add_partition(&world.topic("im.messages"), partition);
        mark.set_offset(Offset::Offset(offset)).unwrap_or_else(|error| panic!("{error}"));
        mark.set_metadata("lethe/1 18446744073709551615 rebuilding");
    }
    lethe_test_support::wait::eventually("the group to be empty", || {
        consumer.commit(&marks, CommitMode::Sync).map_err(|error| error.to_string())
    });
    let mut lethe = world.setup.start();
    assert_eq!(lethe.wait().code(), Some(1), "{}", lethe.said());
    assert!(lethe.said().contains("`lethe rebuild` has begun"), "{}", lethe.said());
    fs::remove_dir_all(&world.setup.data).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rebuilt(&world, &[])("transit"), 1);
    world.start_again();
    world.tell(&message.delivered("bob"));
    let settled = [content(&message.sent(b"here")), tombstone("delivered")];
    world.expect(TRANSIT, &message.key(), &settled);
}
