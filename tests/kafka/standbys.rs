//! Standbys: what follows others' partitions, and takes them over where it is.

use lethe_test_support::lethe::Lethe;
use lethe_test_support::wait::eventually;

use crate::load;
use crate::sharing::{
    PARTITIONS, another, assigned, drain, patient, wait_until_both_have_some, wait_until_it_has,
};
use crate::world::World;
use crate::{Version, on_both_brokers};

/// Enough for many deltas on each partition.
const MESSAGES: usize = 3_000;

/// Each is committed before the next, so that each partition has a delta of each, however slow the machine is.
const ROUNDS: usize = 10;
const ROUND_MESSAGES: usize = 100;

/// What an owner may commit between the last look of a standby and its own end: the delta of a look at the
/// clock, and the one that it closes with.
const DELTAS_BETWEEN: u64 = 3;

on_both_brokers! {
    a_standby_takes_over_where_it_is;
    a_standby_whose_changelog_was_cut_off_is_built_anew;
    a_standby_follows_while_snapshots_are_written_and_the_owner_is_killed;
}

fn standby(lethe: &Lethe, state: &str) -> usize {
    lethe.metric("lethe_standby_partitions", &[("state", state)]).unwrap_or(0.0) as usize
}

/// Each process follows what the other has, and lacks nothing.
fn wait_until_current(world: &World<'_>, second: &Lethe) {
    wait_until_both_have_some(world, second);
    eventually("the standbys to be current", || {
        let first = world.lethe();
        let seen = [&*first, second].map(|lethe| (assigned(lethe), standby(lethe, "current")));
        let lags = [&*first, second].map(|lethe| lethe.metric("lethe_standby_lag_records", &[]));
        let [(mine, current), (others, others_current)] = seen;
        let right = current == others && others_current == mine && lags == [Some(0.0); 2];
        if right { Ok(()) } else { Err(format!("{seen:?}, lags {lags:?}")) }
    });
}

fn a_standby_takes_over_where_it_is(version: Version) {
    let world = patient(version, "standby.over", "standbys = 1\ncommit_interval = \"10ms\"\n");
    load::opt_in(&world);
    let second = another(&world, "second").run();
    let mut messages = Vec::new();
    for round in 0..ROUNDS {
        messages.extend(load::send_from(&world, round * ROUND_MESSAGES, ROUND_MESSAGES));
        world.settle();
    }
    load::verify(&world, &messages);
    wait_until_current(&world, &second);
    let (_, ready) = world.lethe().get("/readyz").unwrap_or_default();
    assert!(ready.contains("partitions are current, 0 records behind"), "{ready}");
    let before = world.lethe().logged("restored").len();
    let moves = assigned(&second);
    drain(&second);
    wait_until_it_has(&world.lethe(), PARTITIONS);
    let mut restored = world.lethe().logged("restored").split_off(before);
    assert_eq!(restored.len(), moves);
    let number = |line: &serde_json::Value, name: &str| {
        line.get(name).and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("{line}"))
    };
    for line in &restored {
        assert!(number(line, "deltas") <= DELTAS_BETWEEN, "{line}");
    }
    restored.retain(|line| number(line, "sequence") > ROUNDS as u64);
    assert!(!restored.is_empty(), "there was something to have followed");
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
}

fn starts(world: &World<'_>) -> Vec<i64> {
    world.low_watermarks(&format!("lethe.changelog.{}", world.topic("im.messages")))
}

fn a_standby_whose_changelog_was_cut_off_is_built_anew(version: Version) {
    let world = patient(version, "standby.cut", "standbys = 1\nchangelog_slack = \"200B\"\n");
    load::opt_in(&world);
    let setup = another(&world, "second");
    let mut second = setup.run();
    wait_until_current(&world, &second);
    drain(&second);
    assert!(second.terminate().success());
    let before = starts(&world);
    let messages = load::send(&world, MESSAGES);
    load::verify(&world, &messages);
    eventually("records to be removed from the changelog", || {
        let after = starts(&world);
        let moved = after.iter().zip(&before).all(|(after, before)| after > before);
        if moved { Ok(()) } else { Err(format!("it begins at {after:?}, before at {before:?}")) }
    });
    let second = setup.run();
    wait_until_current(&world, &second);
    assert!(second.said().contains("is built anew"), "{}", second.said());
    drain(&world.lethe());
    wait_until_it_has(&second, PARTITIONS);
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
}

fn a_standby_follows_while_snapshots_are_written_and_the_owner_is_killed(version: Version) {
    // The session is short here: a killed process's partitions go to its standby.
    let world = World::with(version, "standby.killed", |_, setup| {
        setup.settings.push_str("standbys = 1\nchangelog_slack = \"200B\"\n");
    });
    load::opt_in(&world);
    let messages = load::send_beside(&world, || {
        let mut second = another(&world, "second").run();
        wait_until_current_beside(&world, &second);
        second.kill();
        wait_until_it_has(&world.lethe(), PARTITIONS);
        world.settle();
    });
    load::verify(&world, &messages);
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
}

/// The same under load, where there is always something to come: each process has been current once with
/// all that it follows, not both at the same moment.
fn wait_until_current_beside(world: &World<'_>, second: &Lethe) {
    wait_until_both_have_some(world, second);
    let mut best = [0; 2];
    eventually("the standbys to be current", || {
        let seen = [standby(&world.lethe(), "current"), standby(second, "current")];
        best = [best[0].max(seen[0]), best[1].max(seen[1])];
        if best.iter().sum::<usize>() >= PARTITIONS { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}
