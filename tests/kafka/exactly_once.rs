//! Each output once, and nothing back: through second passes, kills and processes that come and go.

use std::fs;

use lethe_test_support::lethe::{Lethe, Setup};
use lethe_test_support::wait::eventually;

use crate::load;
use crate::world::{PROGRAM, World};
use crate::{Version, on_both_brokers};

/// Enough for several transactions on each partition.
const MESSAGES: usize = 3_000;

/// How often a process is killed in the middle of its work.
const KILLS: usize = 4;

on_both_brokers! {
    the_same_input_again_emits_nothing;
    offsets_set_back_emit_nothing;
    a_process_killed_at_work_loses_nothing_and_repeats_nothing;
    two_processes_share_the_partitions_and_one_goes_on_alone;
    a_lost_data_directory_comes_back_from_the_changelog;
    a_process_told_to_stop_ends_well_and_goes_on_where_it_was;
}

fn the_same_input_again_emits_nothing(version: Version) {
    let world = World::new(version, "once.again");
    load::opt_in(&world);
    let messages = load::send(&world, MESSAGES);
    load::verify(&world, &messages);
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
}

fn offsets_set_back_emit_nothing(version: Version) {
    let world = World::new(version, "once.rewound");
    load::opt_in(&world);
    let messages = load::send(&world, MESSAGES);
    load::verify(&world, &messages);
    assert!(world.lethe().terminate().success());
    world.rewind(&world.setup.group, "im.messages");
    world.start_again();
    load::verify(&world, &messages);
}

fn a_process_killed_at_work_loses_nothing_and_repeats_nothing(version: Version) {
    let world = World::new(version, "once.killed");
    load::opt_in(&world);
    let messages = load::send_beside(&world, || {
        for _ in 0..KILLS {
            wait_for_progress(&world);
            world.lethe().kill();
            world.start_again();
        }
    });
    load::verify(&world, &messages);
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
}

fn two_processes_share_the_partitions_and_one_goes_on_alone(version: Version) {
    let world = World::new(version, "once.two");
    load::opt_in(&world);
    let second = Setup::new(PROGRAM, &world.bus, "second");
    let messages = load::send_beside(&world, || {
        let mut second = second.run();
        // Partitions move between them while the load goes on; both work in the end.
        wait_until_both_work(&world.lethe(), &second);
        second.kill();
        // What the killed one had goes over to the first, once its session has ended.
        world.settle();
        let mut second = Setup::new(PROGRAM, &world.bus, "third").run();
        wait_until_both_work(&world.lethe(), &second);
        assert!(second.terminate().success(), "{}", second.said());
        world.settle();
    });
    load::verify(&world, &messages);
}

fn a_lost_data_directory_comes_back_from_the_changelog(version: Version) {
    let world = World::new(version, "once.wiped");
    load::opt_in(&world);
    let messages = load::send(&world, MESSAGES);
    load::verify(&world, &messages);
    world.lethe().kill();
    fs::remove_dir_all(&world.setup.data).unwrap_or_else(|error| panic!("{error}"));
    world.start_again();
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
}

fn a_process_told_to_stop_ends_well_and_goes_on_where_it_was(version: Version) {
    let world = World::new(version, "once.stopped");
    load::opt_in(&world);
    let messages = load::send_beside(&world, || {
        for _ in 0..2 {
            wait_for_progress(&world);
            let status = world.lethe().terminate();
            assert_eq!(status.code(), Some(0), "{}", world.lethe().said());
            world.start_again();
        }
    });
    load::verify(&world, &messages);
}

fn committed(world: &World<'_>) -> Vec<i64> {
    let partitions = usize::try_from(world.partitions()).unwrap_or(0);
    let committed = world.committed(&world.setup.group, "im.messages", partitions);
    committed.into_iter().map(|offset| offset.unwrap_or(0)).collect()
}

/// Something more has been committed.
pub(crate) fn wait_for_progress(world: &World<'_>) {
    let before: i64 = committed(world).iter().sum();
    eventually("progress", || {
        let after: i64 = committed(world).iter().sum();
        if after > before { Ok(()) } else { Err(format!("{after} records committed")) }
    });
}

/// Both have processed records since now.
pub(crate) fn wait_until_both_work(first: &Lethe, second: &Lethe) {
    let count = |lethe: &Lethe| lethe.metric("lethe_records_total", &[]).unwrap_or(0.0);
    let before = [count(first), count(second)];
    eventually("both processes to work", || {
        let after = [count(first), count(second)];
        let both = after.iter().zip(&before).all(|(after, before)| after > before);
        if both { Ok(()) } else { Err(format!("{before:?} to {after:?} records")) }
    });
}
