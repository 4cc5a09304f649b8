//! A disk that is full, damaged or not to be written to: lethe says what to do, and loses nothing.

use std::fs;
use std::path::{Path, PathBuf};

use lethe_test_support::broker::Broker;
use lethe_test_support::bus::Bus;
use lethe_test_support::lethe::Setup;
use lethe_test_support::search::files_with;

use crate::world::{PROGRAM, World};
use crate::{Version, load, on_both_brokers};

/// Enough for files of some size on each partition.
const MESSAGES: usize = 2_000;
/// Less than these files have, and more than lethe's log.
const FILE_BYTES_MAX: u32 = 6_000;

on_both_brokers! {
    that_is_full_stops_lethe_and_nothing_is_lost;
    whose_files_are_damaged_is_restored_from_the_changelog;
}

/// lethe, that writes to disk as often as it can.
fn busy(version: Version, name: &str) -> World<'static> {
    World::with(version, name, |_, setup| {
        setup.settings.push_str("changelog_slack = \"200B\"\n");
        setup.environment.insert("LETHE_LOG".to_owned(), "warn".to_owned());
        setup.through = ["env", "--ignore-signal=XFSZ"].map(str::to_owned).into();
    })
}

fn that_is_full_stops_lethe_and_nothing_is_lost(version: Version) {
    let world = busy(version, "disk.full");
    load::opt_in(&world);
    let messages = load::send_beside(&world, || {
        world.lethe().limit_file_bytes(FILE_BYTES_MAX);
        assert_eq!(world.lethe().wait().code(), Some(1));
        let said = world.lethe().said();
        assert!(said.contains("there is no room for the state in"), "{said}");
        assert!(said.contains("start lethe again"), "{said}");
        world.start_again();
    });
    load::verify(&world, &messages);
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
}

fn whose_files_are_damaged_is_restored_from_the_changelog(version: Version) {
    let world = busy(version, "disk.damaged");
    load::opt_in(&world);
    let messages = load::send(&world, MESSAGES);
    load::verify(&world, &messages);
    type Damage<'a> = &'a dyn Fn(&Path);
    let damages: [Damage<'_>; 4] = [
        // Seen when the rows are read.
        &|dir| tables(dir).iter().for_each(|table| flip(table)),
        &|dir| {
            tables(dir)
                .iter()
                .for_each(|table| fs::remove_file(table).unwrap_or_else(|e| panic!("{e}")))
        },
        &|dir| fs::write(dir.join("CURRENT"), "").unwrap_or_else(|error| panic!("{error}")),
        &|dir| {
            let manifest = fs::read_to_string(dir.join("CURRENT")).unwrap_or_default();
            fs::remove_file(dir.join(manifest.trim())).unwrap_or_else(|error| panic!("{error}"));
        },
    ];
    for damage in damages {
        assert!(world.lethe().terminate().success());
        for partition in 0..world.partitions() {
            let topic = world.topic("im.messages");
            damage(&world.setup.data.join(format!("{topic}-{partition}")));
        }
        // It stops where the damage shows while it works; then the start after that one restores.
        for _ in 0..=world.partitions() {
            *world.lethe() = world.setup.start();
            if comes_through(&world) {
                break;
            }
        }
        let said = world.lethe().said();
        assert!(world.lethe().is_running(), "{said}");
        load::send_again(&world, &messages);
        load::verify(&world, &messages);
    }
}

/// Whether it is ready and stays so over some work; where not, it has ended and said why.
fn comes_through(world: &World<'_>) -> bool {
    let ready = lethe_test_support::wait::eventually("lethe to be ready, or its end", || {
        let mut lethe = world.lethe();
        if !lethe.is_running() {
            return Ok(false);
        }
        match lethe.get("/readyz")? {
            (200, _) => Ok(true),
            (status, body) => Err(format!("{status}: {body}")),
        }
    });
    if !ready {
        let said = world.lethe().said();
        assert!(said.contains("is damaged") && said.contains("restored"), "{said}");
    }
    ready
}

fn tables(dir: &Path) -> Vec<PathBuf> {
    let is_table = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "sst");
    let tables: Vec<PathBuf> = files_with(dir, b"").into_iter().filter(is_table).collect();
    assert!(!tables.is_empty(), "there is nothing to damage in {}", dir.display());
    tables
}

/// Changes bytes all over a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap_or_else(|error| panic!("{error}"));
    for byte in bytes.iter_mut().step_by(97) {
        *byte ^= 0x10;
    }
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{error}"));
}

/// A place that not even root can write to.
#[test]
fn that_takes_no_writes_is_refused_at_the_start() {
    let bus = Bus::new(Broker::shared(Version::V4), "disk.read-only", 1);
    let mut setup = Setup::new(PROGRAM, &bus, "first");
    setup.data = PathBuf::from("/proc/lethe");
    let mut lethe = setup.start();
    assert_eq!(lethe.wait().code(), Some(1), "{}", lethe.said());
    let said = lethe.said();
    assert!(said.contains("/proc/lethe") && said.contains("another --data-dir"), "{said}");
}
