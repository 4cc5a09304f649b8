//! The deterministic simulation: the worker's own code on real RocksDB, against a Kafka that fails by seed.
//!
//! A run is made by its seed alone. Two processes with up to three workers share four partitions; everything
//! happens in one thread, chosen by the seed: who steps next, what is produced, and what goes wrong at which
//! call ([`faults`]). Then the faults stop, time goes on until all is due, and the outputs are compared with
//! what the inputs warrant ([`expect`], [`check`]).
//!
//! - `LETHE_SIMULATION_SEED=7` runs one seed and shows what happens; `LETHE_SIMULATION_FAULTS=none` without
//!   faults.
//! - `LETHE_SIMULATION_STOPS=1` ends with the first seed that fails.
//! - `LETHE_SIMULATION_SEEDS=5000` runs as many (`make simulate SEEDS=5000`), from `LETHE_SIMULATION_FROM` on.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a simulation names what it treats apart")]

mod broker;
mod cases;
mod check;
mod clients;
mod control;
mod disk;
mod expect;
mod faults;
mod group;
mod host;
mod log;
mod node;
mod random;
mod run;
mod traffic;
mod world;

use std::panic;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use faults::{CALLS, FAULTS, Strikes, applies};
use run::{Mode, Ran, run};

/// Seeds of a run of all tests; `make simulate` runs any number.
const SEEDS_MIN: u64 = 2_000;
/// From so many seeds on, every fault has to have struck at every step [`STRIKES_MIN`] times.
const STRIKES_FROM: u64 = 2_000;
/// How often every fault has to strike at every step.
const STRIKES_MIN: u64 = 20;
/// Fewer ways to break lethe would prove little.
const MUTATIONS_MIN: usize = 12;
/// Failures that are shown.
const SHOWN_MAX: usize = 5;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs seeds on every core; gives what all of them did, and the failures.
fn seeds(from: u64, count: u64, mode: Mode) -> (Ran, Vec<(u64, String)>) {
    let home = run::home();
    let stops = number("LETHE_SIMULATION_STOPS") == Some(1);
    let next = AtomicU64::new(from);
    let total = Mutex::new((Ran::default(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    let dir = home.path().join(seed.to_string());
                    let memory = run::memory(seed);
                    let ran = panic::catch_unwind(|| run(seed, &dir, &memory, mode));
                    let _ = std::fs::remove_dir_all(&dir);
                    let mut total = total.lock().unwrap();
                    let why = match ran {
                        Ok(Ok(ran)) => {
                            total.0.add(&ran);
                            continue;
                        }
                        Ok(Err(why)) => why,
                        Err(_) => "it has panicked".to_owned(),
                    };
                    total.1.push((seed, why));
                    if stops {
                        next.fetch_max(from + count, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    total.into_inner().unwrap()
}

fn report(failures: &mut [(u64, String)]) {
    failures.sort();
    for (seed, why) in failures.iter().take(SHOWN_MAX) {
        eprintln!("\nLETHE_SIMULATION_SEED={seed}: {why}");
    }
    if let Some((seed, _)) = failures.first() {
        panic!(
            "{} seeds failed: {:?}; `LETHE_SIMULATION_SEED={seed} cargo test --release --test simulation -- \
             --nocapture faults` runs one again",
            failures.len(),
            failures.iter().map(|(seed, _)| seed).collect::<Vec<_>>()
        );
    }
}

fn table(strikes: &Strikes) -> String {
    let mut text = format!("{:<14}", "");
    for fault in FAULTS {
        text.push_str(&format!("{:>12}", format!("{fault:?}")));
    }
    for call in CALLS {
        text.push_str(&format!("\n{:<14}", format!("{call:?}")));
        for fault in FAULTS {
            let count = strikes.get(&(call, fault)).copied().unwrap_or_default();
            let shown = if applies(fault, call) { count.to_string() } else { "-".to_owned() };
            text.push_str(&format!("{shown:>12}"));
        }
    }
    text
}

const FAULTLESS: Mode = Mode { faulty: false, trace: false, loses_control: false, twin: false };
const FAULTY: Mode = Mode { faulty: true, ..FAULTLESS };

#[test]
fn without_faults_everything_comes_out_as_it_went_in() {
    let (_, mut failures) = seeds(0, 10, FAULTLESS);
    report(&mut failures);
}

#[test]
fn of_two_processes_with_one_name_the_older_ends() {
    let (ran, mut failures) = seeds(0, 10, Mode { twin: true, ..FAULTLESS });
    report(&mut failures);
    assert_eq!(ran.replaced, 10);
}

#[test]
fn without_the_control_topic_every_tombstone_stands_still_until_it_is_back() {
    let (ran, mut failures) = seeds(0, 10, Mode { loses_control: true, ..FAULTLESS });
    report(&mut failures);
    assert_eq!(ran.control_losses, 10);
}

#[test]
fn one_seed_makes_the_whole_run() {
    for seed in 0..5 {
        let digests = [(); 2].map(|()| {
            let (ran, mut failures) = seeds(seed, 1, FAULTY);
            report(&mut failures);
            ran.digest
        });
        assert_eq!(digests[0], digests[1], "seed {seed}");
    }
}

/// Seeds that found something, and what: they stay. (A change of the simulation changes what a seed does.)
/// - 77: positions sent by a worker that had lost its place meanwhile: two owners' deltas.
/// - 124: a record whose transaction could not begin was lost.
/// - 492, 826: a replay left out what it had read for a batch that failed.
const FOUND: [u64; 4] = [77, 124, 492, 826];

#[test]
fn what_was_found_once_is_not_found_again() {
    for seed in FOUND {
        report(&mut seeds(seed, 1, FAULTY).1);
    }
}

#[test]
fn whatever_faults_strike_nothing_is_lost_twice_or_back() {
    let one = number("LETHE_SIMULATION_SEED");
    let count = one.map_or(number("LETHE_SIMULATION_SEEDS").unwrap_or_else(seeds_of_ci), |_| 1);
    let from = one.or(number("LETHE_SIMULATION_FROM")).unwrap_or_default();
    if one.is_some() {
        let lines = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).without_time();
        lines.with_writer(std::io::stderr).init();
    }
    let started = Instant::now();
    let mode = Mode { trace: one.is_some(), ..FAULTY };
    let (ran, mut failures) = seeds(from, count, mode);
    eprintln!(
        "{count} seeds in {:.0} s: {} commits, {} aborts, {} evictions, {} process starts, {} inputs, {} outputs\n\
         {} snapshots in {} seeds, {} removals, {} restores from a snapshot, {} processes replaced by another of \
         their name, {} control topics lost\n{}",
        started.elapsed().as_secs_f64(),
        ran.commits,
        ran.aborts,
        ran.evictions,
        ran.starts,
        ran.inputs,
        ran.outputs,
        ran.snapshots,
        ran.with_snapshots,
        ran.removals,
        ran.restores,
        ran.replaced,
        ran.control_losses,
        table(&ran.strikes)
    );
    report(&mut failures);
    if count >= STRIKES_FROM {
        struck_everywhere(&ran, count);
    }
}

/// Whole rounds of what is looked for, so that every step has its share.
fn seeds_of_ci() -> u64 {
    SEEDS_MIN.next_multiple_of(faults::round())
}

/// So many seeds have to have done all that they can.
fn struck_everywhere(ran: &Ran, seeds: u64) {
    assert!(ran.with_snapshots * 2 > seeds, "snapshots in {} seeds alone", ran.with_snapshots);
    assert!(ran.removals > seeds && ran.restores > seeds, "hardly a restore from a snapshot");
    for call in CALLS {
        for fault in FAULTS.into_iter().filter(|&fault| applies(fault, call)) {
            let count = ran.strikes.get(&(call, fault)).copied().unwrap_or_default();
            assert!(count >= STRIKES_MIN, "{fault:?} struck only {count} times at {call:?}");
        }
    }
}

/// The ways in which `scripts/mutations` breaks lethe are of the code as it is: one that no longer applies tests
/// nothing.
#[test]
fn every_mutation_applies_to_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tree = tempfile::tempdir().unwrap();
    for part in ["engine/src", "state/src", "src/pipeline"] {
        let to = tree.path().join(part);
        std::fs::create_dir_all(&to).unwrap();
        let copied =
            Command::new("cp").arg("-r").arg(root.join(part).join(".")).arg(&to).status().unwrap();
        assert!(copied.success());
    }
    let patches = std::fs::read_dir(root.join("tests/simulation/mutations")).unwrap();
    let mut patches: Vec<_> = patches.map(|patch| patch.unwrap().path()).collect();
    patches.sort();
    assert!(patches.len() > MUTATIONS_MIN);
    for patch in patches {
        let mut git = Command::new("git");
        // Not the repository that the directory may lie in.
        git.arg("apply").arg(&patch).current_dir(tree.path()).env("GIT_DIR", tree.path());
        let applied = git.output().unwrap();
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }
}
