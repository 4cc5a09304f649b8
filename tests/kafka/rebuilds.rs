//! A changelog that is lost altogether: the ledger is put together from the outputs, and nothing comes back.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use lethe_test_support::bus::INPUTS;
use lethe_test_support::event::{self, Message};
use lethe_test_support::lethe::verb;
use lethe_test_support::process::{Process, command};
use lethe_test_support::search::files_with;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::world::{PROGRAM, World, content, now, stored, tombstone};
use crate::{Version, load, on_both_brokers, replays};

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
    a_rebuild_is_killed_at_any_moment_and_keeps_no_content;
    a_replay_of_all_after_all_has_ended_emits_nothing_nor_does_one_after_a_rebuild;
}

/// The process is killed, and everything but the outputs is gone.
fn lose(world: &World<'_>) {
    world.lethe().kill();
    for input in INPUTS {
        world.delete(&format!("lethe.changelog.{}", world.topic(input)));
    }
    fs::remove_dir_all(&world.setup.data).unwrap_or_else(|error| panic!("{error}"));
}

/// Where a rebuild works.
fn work(world: &World<'_>) -> PathBuf {
    world.setup.data.with_extension("work")
}

fn words(world: &World<'_>, args: &[&str]) -> Vec<String> {
    let config = world.setup.write_config().display().to_string();
    let work = work(world).display().to_string();
    let (brokers, group) = (&world.setup.brokers, &world.setup.group);
    let place = ["--brokers", brokers, "--group", group, "--config", &config, "--data-dir", &work];
    [&["rebuild"], &place[..], args].concat().into_iter().map(str::to_owned).collect()
}

fn rebuild(world: &World<'_>, args: &[&str]) -> (i32, String, String) {
    let words = words(world, args);
    verb(PROGRAM, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What rebuilds have reported: one for each partition.
fn reports(world: &World<'_>) -> Vec<Value> {
    let mut records = world.read("lethe.audit");
    records.retain(|record| record.key == "rebuild");
    let parse = |value: Vec<u8>| serde_json::from_slice(&value).ok();
    records.into_iter().filter_map(|record| parse(record.value?)).collect()
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
    let found = rebuilt(&world, &["--by", "ada"]);
    let of = |name: &str| -> u64 {
        reports(&world).iter().filter_map(|report| report.get(name)?.as_u64()).sum()
    };
    assert_eq!(["stored", "ended"].map(of), ["stored", "ended"].map(&found));
    assert!(reports(&world).iter().all(|report| report.get("by") == Some(&json!("ada"))));
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

/// From before it has read anything to past its end.
const KILLED_AFTER_MS: [u64; 8] = [50, 100, 150, 200, 300, 400, 600, 1_200];
const PLANTED: &[u8] = b"planted content, which must not be found";

fn a_rebuild_is_killed_at_any_moment_and_keeps_no_content(version: Version) {
    let world = World::new(version, "rebuild.killed");
    load::opt_in(&world);
    let messages = load::send(&world, MESSAGES);
    world.opt_in("kept", "30d");
    let planted = Message::new("kept", "c", "m", now());
    world.tell(&planted.sent(PLANTED));
    load::verify(&world, &messages);
    lose(&world);
    let trial = rebuilt(&world, &["--dry-run"])("stored");
    for input in INPUTS {
        let changelog = format!("lethe.changelog.{}", world.topic(input));
        assert!(world.partition_count(&changelog).is_err(), "a trial has made {changelog}");
    }
    assert_eq!(reports(&world), Vec::<Value>::new());
    // The group is empty from here on: nothing is waited for.
    assert_eq!(rebuilt(&world, &[])("stored"), trial);
    let of_one = reports(&world).len();
    let (mut ended, mut killed) = (1, 0);
    for after_ms in KILLED_AFTER_MS {
        let mut words = command(PROGRAM);
        words.args(self::words(&world, &["--all"])).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Process::start("a rebuild", words);
        thread::sleep(Duration::from_millis(after_ms));
        match running.exit() {
            Some(status) => {
                assert!(status.success(), "{status}");
                ended += 1;
            }
            None => {
                running.kill();
                killed += 1;
            }
        }
        assert_eq!(files_with(&work(&world), PLANTED), Vec::<PathBuf>::new());
    }
    assert!(killed > 0, "every one had ended");
    assert!(rebuilt(&world, &["--all"])("stored") > 0);
    // One of those that were killed may have been past its last transaction.
    let reported = reports(&world).len() / of_one;
    assert!((ended + 1..=ended + 1 + killed).contains(&reported), "{reported}");
    world.start_again();
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
    world.expect_settled(STORE, &planted.key(), &[content(&planted.sent(PLANTED))]);
}

fn a_replay_of_all_after_all_has_ended_emits_nothing_nor_does_one_after_a_rebuild(
    version: Version,
) {
    let world = World::new(version, "rebuild.replayed");
    load::opt_in(&world);
    let messages = load::send(&world, MESSAGES);
    load::end(&world, &messages);
    let source = world.topic("im.messages");
    let replay_all = |id: &str| {
        let asked = json!({"source": source, "mode": "missing"});
        let reports = replays::replay(&world, id, &asked);
        replays::done(&reports);
        assert_eq!(replays::count(&reports, "emitted"), 0, "{reports:?}");
        assert_eq!(replays::count(&reports, "ended"), 0, "{reports:?}");
        assert!(replays::count(&reports, "over") >= MESSAGES as u64, "{reports:?}");
        load::verify_ended(&world, &messages);
    };
    replay_all("before");
    lose(&world);
    assert!(rebuilt(&world, &[])("ended") >= MESSAGES as u64 / 2);
    world.start_again();
    replay_all("after");
    read_again(&world);
    load::verify_ended(&world, &messages);
}
