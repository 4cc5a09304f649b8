//! Changelogs stay short: snapshots, the removal of what lies before them, and what comes back from them.

use std::fs;
use std::path::Path;

use lethe_test_support::bus::{Bus, CONTROL, Put};
use lethe_test_support::event::Message;
use lethe_test_support::lethe::verb;
use lethe_test_support::wait::eventually;

use crate::world::{PROGRAM, World, content, now, tombstone};
use crate::{Version, load, on_both_brokers};

const TRANSIT: &str = "transit.messages";

/// Enough for several snapshots on each partition.
const MESSAGES: usize = 4_000;
/// How often a process is killed while it writes snapshots all the time.
const KILLS: usize = 4;

on_both_brokers! {
    a_lost_data_directory_comes_back_from_a_snapshot;
    a_process_killed_amid_snapshots_loses_nothing_and_repeats_nothing;
    a_process_that_was_away_for_longer_than_its_changelog_reaches_back;
    a_changelog_that_lost_its_beginning_is_not_begun_with;
    a_recreated_input_stands_still_until_its_position_is_set_by_hand;
    a_control_topic_with_another_id_is_not_trusted_however_long_it_is;
    partitions_that_an_input_gains_wait_until_they_are_accepted;
}

/// lethe, that writes a snapshot as often as it can.
fn short(version: Version, name: &str) -> World<'static> {
    World::with(version, name, |_, setup| {
        setup.settings.push_str("changelog_slack = \"200B\"\n");
    })
}

/// The changelog of the messages: its name holds the input's whole name.
fn changelog(world: &World<'_>) -> String {
    format!("lethe.changelog.{}", world.topic("im.messages"))
}

fn starts(world: &World<'_>) -> Vec<i64> {
    world.low_watermarks(&changelog(world))
}

/// The records before a snapshot are removed on every partition, once more than before.
fn wait_until_shorter(world: &World<'_>, before: &[i64]) {
    eventually("records to be removed from the changelog", || {
        let after = starts(world);
        let moved = after.iter().zip(before).all(|(after, before)| after > before);
        if moved { Ok(()) } else { Err(format!("it begins at {after:?}, before at {before:?}")) }
    });
}

fn a_lost_data_directory_comes_back_from_a_snapshot(version: Version) {
    let world = short(version, "snapshot.wiped");
    load::opt_in(&world);
    let before = starts(&world);
    let messages = load::send(&world, MESSAGES);
    load::verify(&world, &messages);
    wait_until_shorter(&world, &before);
    world.lethe().kill();
    fs::remove_dir_all(&world.setup.data).unwrap_or_else(|error| panic!("{error}"));
    world.start_again();
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
    let is = |name: &str| world.lethe().metric(name, &[]).unwrap_or(0.0);
    assert!(is("lethe_state_bytes") > 0.0, "the state has a size");
    assert!(is("lethe_changelog_bytes") > 0.0, "the changelog has a size");
    eventually("the census of live records", || {
        let stored = [("class", "message"), ("storage", "stored")];
        let live = world.lethe().metric("lethe_live_records", &stored).unwrap_or(0.0);
        // Seven of ten tenants store, and every tenth message was recalled.
        let right = (MESSAGES / 2..MESSAGES).contains(&(live as usize));
        if right { Ok(()) } else { Err(format!("{live} records live")) }
    });
}

fn a_process_killed_amid_snapshots_loses_nothing_and_repeats_nothing(version: Version) {
    let world = short(version, "snapshot.killed");
    load::opt_in(&world);
    let messages = load::send_beside(&world, || {
        for kill in 0..KILLS {
            wait_until_shorter(&world, &starts(&world));
            world.lethe().kill();
            if kill % 2 == 1 {
                fs::remove_dir_all(&world.setup.data).unwrap_or_else(|error| panic!("{error}"));
            }
            world.start_again();
        }
    });
    load::verify(&world, &messages);
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
}

fn a_process_that_was_away_for_longer_than_its_changelog_reaches_back(version: Version) {
    let world = short(version, "snapshot.away");
    load::opt_in(&world);
    let early = Message::new("passing", "c", "early", now());
    world.tell(&early.sent(b"before"));
    world.tell(&early.delivered("bob"));
    let settled = [content(&early.sent(b"before")), tombstone("delivered")];
    world.expect(TRANSIT, &early.key(), &settled);
    assert!(world.lethe().terminate().success());
    let kept = world.setup.data.with_extension("kept");
    copy(&world.setup.data, &kept);
    world.start_again();
    let before = starts(&world);
    let messages = load::send(&world, MESSAGES);
    load::verify(&world, &messages);
    wait_until_shorter(&world, &before);
    world.lethe().kill();
    fs::remove_dir_all(&world.setup.data).unwrap_or_else(|error| panic!("{error}"));
    fs::rename(&kept, &world.setup.data).unwrap_or_else(|error| panic!("{error}"));
    world.start_again();
    load::send_again(&world, &messages);
    world.tell(&early.sent(b"before"));
    load::verify(&world, &messages);
    world.expect_settled(TRANSIT, &early.key(), &settled);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap_or_else(|error| panic!("{error}"));
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{error}")).flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// Without a snapshot, a changelog whose first records are gone restores nothing.
fn a_changelog_that_lost_its_beginning_is_not_begun_with(version: Version) {
    let world = World::new(version, "snapshot.none");
    load::opt_in(&world);
    let messages = load::send(&world, MESSAGES / 4);
    load::verify(&world, &messages);
    world.lethe().kill();
    world.remove_before(&changelog(&world), 0, 5);
    fs::remove_dir_all(&world.setup.data).unwrap_or_else(|error| panic!("{error}"));
    let mut lethe = world.setup.start();
    assert_eq!(lethe.wait().code(), Some(1), "{}", lethe.said());
    assert!(lethe.said().contains("holds no complete snapshot"), "{}", lethe.said());
}

fn a_recreated_input_stands_still_until_its_position_is_set_by_hand(version: Version) {
    let world = World::new(version, "snapshot.input");
    let message = Message::new("passing", "c", "m", now());
    let value = message.sent(b"here");
    let settled = [content(&value), tombstone("delivered")];
    world.tell(&value);
    world.tell(&message.delivered("bob"));
    world.expect(TRANSIT, &message.key(), &settled);
    assert!(world.lethe().terminate().success());
    world.delete("im.messages");
    world.create("im.messages", 2, &[]);
    // Longer than it was, so that its end alone tells nothing.
    for _ in 0..5 {
        world.tell(&value);
    }
    *world.lethe() = world.setup.start();
    eventually("the refusal", || {
        let said = world.lethe().said();
        if said.contains("the input was recreated") { Ok(()) } else { Err(said) }
    });
    world.lethe().kill();
    world.rewind(&world.setup.group, "im.messages");
    world.start_again();
    let next = Message::new("passing", "c", "next", now());
    world.tell(&next.sent(b"goes on"));
    world.expect(TRANSIT, &next.key(), &[content(&next.sent(b"goes on"))]);
    world.expect_settled(TRANSIT, &message.key(), &settled);
}

fn a_control_topic_with_another_id_is_not_trusted_however_long_it_is(version: Version) {
    let world = World::new(version, "snapshot.control");
    let message = Message::new("passing", "c", "m", now());
    world.tell(&message.sent(b"here"));
    world.expect(TRANSIT, &message.key(), &[content(&message.sent(b"here"))]);
    assert!(world.lethe().terminate().success());
    world.delete(CONTROL);
    world.create_control();
    for number in 0..20 {
        world.control(&format!("tenant/t{number}"), &serde_json::json!({}));
    }
    *world.lethe() = world.setup.start();
    eventually("the error about the control topic", || {
        let said = world.lethe().said();
        let about = |line: &str| line.contains("recreated") && line.contains("tombstone");
        if said.lines().any(about) { Ok(()) } else { Err(said) }
    });
    world.tell(&message.delivered("bob"));
    world.expect_settled(TRANSIT, &message.key(), &[content(&message.sent(b"here"))]);
}

fn partitions_that_an_input_gains_wait_until_they_are_accepted(version: Version) {
    let world = World::new(version, "snapshot.wider");
    let before = Message::new("passing", "c", "before", now());
    world.tell(&before.sent(b"here"));
    world.expect(TRANSIT, &before.key(), &[content(&before.sent(b"here"))]);
    world.widen("im.messages", 3);
    eventually("the error about the partition", || {
        let said = world.lethe().said();
        if said.contains("--accept-partitions") { Ok(()) } else { Err(said) }
    });
    let gained = Message::new("passing", "c", "gained", now());
    let value = gained.sent(b"waits");
    // A client that knows of the partition.
    let wider = Bus::without_topics(world.bus.broker(), "snapshot.wider", 3);
    wider.put("im.messages", Put { partition: 2, key: "k", value: Some(&value), headers: &[] });
    // What it had goes on meanwhile.
    world.tell(&before.delivered("bob"));
    let settled = [content(&before.sent(b"here")), tombstone("delivered")];
    world.expect(TRANSIT, &before.key(), &settled);
    assert_eq!(world.life(TRANSIT, &gained.key()), []);

    let config = world.setup.write_config().display().to_string();
    let address = world.bus.broker().address();
    let accept = ["topics", "apply", "--accept-partitions", "--brokers", &address];
    let (code, _, errors) = verb(PROGRAM, &[&accept[..], &["--config", &config]].concat());
    assert_eq!(code, 0, "{errors}");
    world.expect(TRANSIT, &gained.key(), &[content(&value)]);
    world.lethe().kill();
    world.start_again();
    world.expect_settled(TRANSIT, &before.key(), &settled);
}
