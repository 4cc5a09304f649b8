//! Processes of one group: what moves between them, what stays, and who goes for good.

use std::collections::BTreeMap;
use std::fs;

use lethe_test_support::bus::{Bus, Put};
use lethe_test_support::event::Message;
use lethe_test_support::lethe::{Lethe, Setup, verb};
use lethe_test_support::wait::eventually;

use crate::exactly_once::{wait_for_progress, wait_until_both_work};
use crate::load;
use crate::world::{PROGRAM, World, content, now};
use crate::{Version, on_both_brokers};

/// Far beyond what a case waits for anything: whoever waited for the end of a session would fail it.
const SESSION_MS: &str = "280000";

/// Partitions of the three inputs together.
pub(crate) const PARTITIONS: usize = 6;

on_both_brokers! {
    partitions_that_stay_go_on_while_another_process_comes_stands_still_and_goes;
    a_drained_process_hands_over_without_the_end_of_its_session;
    a_process_that_was_told_to_stop_keeps_its_place_and_a_drained_one_comes_back_as_new;
    partitions_that_an_input_gained_while_nobody_ran_are_found;
    state_of_partitions_that_have_moved_away_is_removed_in_time;
    another_group_waits_until_the_one_that_writes_the_changelog_is_gone;
}

/// lethe, whose sessions outlast every case.
pub(crate) fn patient(version: Version, name: &str, settings: &str) -> World<'static> {
    World::with(version, name, |_, setup| {
        setup.kafka.insert("session.timeout.ms".to_owned(), SESSION_MS.to_owned());
        setup.settings.push_str(settings);
    })
}

/// Another process of the same kind.
pub(crate) fn another(world: &World<'_>, instance: &str) -> Setup {
    let mut setup = Setup::new(PROGRAM, &world.bus, instance);
    setup.kafka.clone_from(&world.setup.kafka);
    setup.settings.clone_from(&world.setup.settings);
    setup
}

/// How many partitions a process has.
pub(crate) fn assigned(lethe: &Lethe) -> usize {
    lethe.metric("lethe_partitions", &[("state", "assigned")]).unwrap_or(0.0) as usize
}

/// Waits until a process has so many partitions, and works on all of them.
pub(crate) fn wait_until_it_has(lethe: &Lethe, partitions: usize) {
    eventually(&format!("{partitions} partitions"), || {
        let count = |state| lethe.metric("lethe_partitions", &[("state", state)]);
        let has = [count("assigned"), count("restored")];
        if has == [Some(partitions as f64); 2] { Ok(()) } else { Err(format!("{has:?}")) }
    });
}

/// Has a process leave its group for good.
pub(crate) fn drain(lethe: &Lethe) {
    let (code, said, errors) = verb(PROGRAM, &["drain", "--http", &lethe.address()]);
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("drained"), "{said}");
}

/// How often a process has taken over each partition.
fn take_overs(lethe: &Lethe) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in lethe.logged("restored") {
        let id = format!("{:?}/{:?}", line.get("topic"), line.get("partition"));
        *counts.entry(id).or_default() += 1;
    }
    counts
}

fn partitions_that_stay_go_on_while_another_process_comes_stands_still_and_goes(version: Version) {
    let world = patient(version, "share.stay", "");
    load::opt_in(&world);
    assert_eq!(assigned(&world.lethe()), PARTITIONS);
    let mut moved = 0;
    let messages = load::send_beside(&world, || {
        let mut second = another(&world, "second").start();
        eventually("partitions to move", || match assigned(&world.lethe()) {
            PARTITIONS => Err("none has".to_owned()),
            _ => Ok(()),
        });
        // What has moved stands still with its owner, be it in the middle of its restore.
        second.pause();
        for _ in 0..3 {
            wait_for_progress(&world);
        }
        second.go_on();
        second.wait_until_ready();
        wait_until_both_work(&world.lethe(), &second);
        moved = assigned(&second);
        drain(&second);
        wait_until_it_has(&world.lethe(), PARTITIONS);
        wait_for_progress(&world);
    });
    load::verify(&world, &messages);
    let counts = take_overs(&world.lethe());
    let stayed = counts.values().filter(|count| **count == 1).count();
    let came_back = counts.values().filter(|count| **count == 2).count();
    assert_eq!((stayed, came_back), (PARTITIONS - moved, moved), "{counts:?}");
}

fn a_drained_process_hands_over_without_the_end_of_its_session(version: Version) {
    let world = patient(version, "share.drain", "");
    load::opt_in(&world);
    let messages = load::send_beside(&world, || {
        let mut second = another(&world, "second").run();
        wait_until_both_work(&world.lethe(), &second);
        drain(&second);
        // Nobody else is asked: all that was sent so far is committed by the one that is left.
        world.settle();
        assert_eq!(assigned(&world.lethe()), PARTITIONS);
        let (status, body) = second.get("/readyz").unwrap_or_default();
        assert!(status == 503 && body.contains("drained"), "{status}: {body}");
        assert!(second.is_running(), "it waits for SIGTERM");
        assert_eq!(second.terminate().code(), Some(0), "{}", second.said());
    });
    load::verify(&world, &messages);
}

fn a_process_that_was_told_to_stop_keeps_its_place_and_a_drained_one_comes_back_as_new(
    version: Version,
) {
    let world = patient(version, "share.places", "");
    load::opt_in(&world);
    let setup = another(&world, "second");
    let mut second = setup.run();
    let messages = load::send_beside(&world, || {
        wait_until_both_work(&world.lethe(), &second);
        let mine = assigned(&second);
        assert!(second.terminate().success());
        second = setup.run();
        wait_until_both_work(&world.lethe(), &second);
        assert_eq!(assigned(&second), mine);
        let taken = take_overs(&world.lethe()).into_values().sum::<usize>();
        assert_eq!(taken, PARTITIONS, "nothing has moved while it was away");
        drain(&second);
        wait_until_it_has(&world.lethe(), PARTITIONS);
        second.kill();
        second = setup.run();
        wait_until_both_work(&world.lethe(), &second);
        assert!(assigned(&second) > 0);
    });
    load::verify(&world, &messages);
}

fn partitions_that_an_input_gained_while_nobody_ran_are_found(version: Version) {
    let world = patient(version, "share.wider", "");
    let before = Message::new("passing", "c", "before", now());
    let value = before.sent(b"here");
    world.tell(&value);
    world.expect("transit.messages", &before.key(), &[content(&value)]);
    assert!(world.lethe().terminate().success());
    world.widen("im.messages", 3);
    let config = world.setup.write_config().display().to_string();
    let address = world.bus.broker().address();
    let accept = ["topics", "apply", "--accept-partitions", "--brokers", &address];
    let (code, _, errors) = verb(PROGRAM, &[&accept[..], &["--config", &config]].concat());
    assert_eq!(code, 0, "{errors}");
    world.start_again();
    let gained = Message::new("passing", "c", "gained", now());
    let value = gained.sent(b"there");
    // A client that knows of the partition.
    let wider = Bus::without_topics(world.bus.broker(), "share.wider", 3);
    wider.put("im.messages", Put { partition: 2, key: "k", value: Some(&value), headers: &[] });
    world.expect("transit.messages", &gained.key(), &[content(&value)]);
    wait_until_it_has(&world.lethe(), PARTITIONS + 1);
    // Its place was kept, with what it had: without this the partition had stayed nobody's.
    assert!(world.lethe().said().contains("joins the group anew"), "{}", world.lethe().said());
}

fn state_of_partitions_that_have_moved_away_is_removed_in_time(version: Version) {
    let world = patient(version, "share.left", "state_kept = \"1s\"\n");
    load::opt_in(&world);
    let messages = load::send(&world, 1_000);
    load::verify(&world, &messages);
    assert_eq!(directories(&world), PARTITIONS);
    let second = another(&world, "second").run();
    wait_until_both_have_some(&world, &second);
    eventually("the state of what has moved to be removed", || {
        let (there, mine) = (directories(&world), assigned(&world.lethe()));
        if there == mine { Ok(()) } else { Err(format!("{there} directories for {mine}")) }
    });
    drain(&second);
    wait_until_it_has(&world.lethe(), PARTITIONS);
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
}

pub(crate) fn wait_until_both_have_some(world: &World<'_>, second: &Lethe) {
    eventually("both to have partitions", || {
        let have = [assigned(&world.lethe()), assigned(second)];
        let shared = have.iter().sum::<usize>() == PARTITIONS && !have.contains(&0);
        if shared { Ok(()) } else { Err(format!("{have:?}")) }
    });
}

/// Partitions whose state lies in the first process's directory.
fn directories(world: &World<'_>) -> usize {
    let entries = fs::read_dir(&world.setup.data).unwrap_or_else(|error| panic!("{error}"));
    entries.flatten().filter(|entry| entry.path().join("CURRENT").exists()).count()
}

fn another_group_waits_until_the_one_that_writes_the_changelog_is_gone(version: Version) {
    let world = patient(version, "share.groups", "");
    load::opt_in(&world);
    let mut messages = load::send(&world, 100);
    load::verify(&world, &messages);
    let mut setup = another(&world, "other");
    setup.group.push_str("-other");
    let mut other = setup.start();
    eventually("the other group to say what it waits for", || {
        let said = other.said();
        if said.contains("that of the group") { Ok(()) } else { Err(said) }
    });
    messages.extend(load::send_from(&world, 100, 100));
    load::verify(&world, &messages);
    drain(&world.lethe());
    assert!(world.lethe().terminate().success());
    other.wait_until_ready();
    let records = || (world.read("store.messages").len(), world.read("transit.messages").len());
    let before = records();
    load::send_again(&world, &messages);
    world.bus.wait_until_processed(&setup.group);
    assert_eq!(records(), before, "what the first group has processed comes out no second time");
}
