//! Single cases, where chance would come by too seldom.

use std::rc::Rc;

use lethe::pipeline::seam::Role;
use lethe_engine::Class;

use crate::control::Loss;
use crate::host::Disk;
use crate::run::{home, memory};
use crate::world::World;

/// Turns until every partition has some deltas.
const TURNS: u32 = 400;

/// A world without faults whose changelogs are too short for a snapshot, after some turns and a stop.
fn stopped(home: &std::path::Path) -> Rc<World> {
    let memory = memory(0);
    let world = |seed| World::new(seed, home, &memory, Loss::Never, false);
    let world = (0..).map(world).find(|world| world.sizes.slack_bytes > 1 << 20).unwrap();
    world.traffic.borrow_mut().begin(&mut world.broker.borrow_mut());
    for _ in 0..TURNS {
        world.turn();
    }
    for host in 0..2 {
        world.restart(host);
    }
    assert!(world.errors.borrow().is_empty());
    world.broker.borrow_mut().write_all_markers();
    world
}

/// Removes all that the first partition's changelog holds, and lets everybody go on. Gives what ended.
fn cut_short(world: &Rc<World>) -> String {
    {
        let mut broker = world.broker.borrow_mut();
        let log = broker.log(Role::Changelog(Class::Message), 0);
        assert!(log.end() > 2);
        log.start = log.end();
    }
    for _ in 0..TURNS {
        world.round();
        if let Some(why) = world.errors.borrow().first() {
            return why.clone();
        }
    }
    String::new()
}

#[test]
fn records_removed_that_a_state_lacks_stop_its_owner() {
    let home = home();
    let world = stopped(home.path());
    let committed = world.broker.borrow().group.committed.clone();
    let why = cut_short(&world);
    assert!(why.contains("im.messages/0: its changelog"), "{why}");
    let id = world.traffic.borrow().inputs[0];
    assert_eq!(world.broker.borrow().group.committed[&id], committed[&id]);
    world.clear();
}

#[test]
fn records_removed_that_a_lost_disk_needs_stop_its_owner() {
    let home = home();
    let world = stopped(home.path());
    for host in 0..2 {
        world.crash(host, Disk::Lost, Some(0));
    }
    let why = cut_short(&world);
    assert!(why.contains("im.messages/0: its changelog ends at delta 0"), "{why}");
    world.clear();
}
