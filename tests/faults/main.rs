//! Real faults on real brokers: processes of one group work under load while they and their broker are killed,
//! paused, stopped, robbed of their disks, added and removed. At the end every input is compared with every
//! output.
//!
//! One seed decides which faults strike whom; when they strike is for the machine to say. A run that struck
//! nothing, or that did no work, fails.
//!
//! | environment | default | |
//! |---|---|---|
//! | `LETHE_FAULTS_SEED` | the time | what strikes |
//! | `LETHE_FAULTS_SECONDS` | 90 | how long at least |
//! | `LETHE_FAULTS_KILLS` | 0 | how many kills of processes at least |
//! | `LETHE_FAULTS_NODES` | 1 | brokers; of several, the leaders of partitions are struck |
//! | `LETHE_FAULTS_KAFKA` | 4.1.1 | or 2.8.1 |
#![expect(clippy::panic, clippy::print_stdout, reason = "tests, which print what they found")]

mod broker_faults;
mod crew;
mod inputs;
mod load;
mod verify;
mod watch;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lethe::traffic::Random;
use lethe_test_support::broker::{Broker, Version};
use lethe_test_support::bus::{Bus, INPUTS};
use lethe_test_support::wait::{eventually, within};

use crew::Crew;
use inputs::Inputs;
use load::{Load, now_ms};
use verify::{Outputs, Verified};
use watch::Watch;

/// Partitions of each input: more than workers of one process, fewer than those of all.
const PARTITIONS: i32 = 4;
/// Processes at the start.
const PROCESSES: usize = 3;
/// Between two faults of processes.
const PAUSE_MS: (u32, u32) = (200, 1_800);
/// Work is waited for before the next fault, but not for longer: the broker may be away.
const PROGRESS: Duration = Duration::from_secs(15);
/// Below this a run has proved nothing.
const RECORDS_MIN: i64 = 5_000;
const FAULTS_MIN: usize = 10;
/// Why records end in every run.
const REASONS: [&str; 7] =
    ["burned", "delivered", "expired", "opted-out", "recalled", "removed", "undelivered"];

/// What a run is told.
struct Plan {
    seed: u64,
    length: Duration,
    kills: usize,
    nodes: usize,
    version: Version,
}

impl Plan {
    fn read() -> Self {
        let number = |name: &str, default: u64| {
            std::env::var(format!("LETHE_FAULTS_{name}")).map_or(default, |text| {
                text.parse().unwrap_or_else(|_| panic!("LETHE_FAULTS_{name}={text} is no number"))
            })
        };
        let count = |name, default| usize::try_from(number(name, default)).unwrap_or(usize::MAX);
        let version = match std::env::var("LETHE_FAULTS_KAFKA").as_deref() {
            Ok("2.8.1") => Version::V2,
            Ok("4.1.1") | Err(_) => Version::V4,
            Ok(other) => panic!("LETHE_FAULTS_KAFKA={other}: 4.1.1 or 2.8.1"),
        };
        Self {
            seed: number("SEED", now_ms().unsigned_abs()),
            length: Duration::from_secs(number("SECONDS", 90)),
            kills: count("KILLS", 0),
            nodes: count("NODES", 1),
            version,
        }
    }
}

/// How often each fault has struck.
pub(crate) type Struck = BTreeMap<&'static str, usize>;

#[test]
fn faults() {
    let plan = Plan::read();
    println!("LETHE_FAULTS_SEED={}", plan.seed);
    let broker = match plan.nodes {
        1 => Broker::own(plan.version),
        nodes => Broker::cluster(nodes),
    };
    let bus = Bus::new(&broker, "faults", PARTITIONS);
    let load = Load::new(&bus, plan.seed);
    load.begin();
    let mut crew = Crew::new(&bus, Random::new(plan.seed ^ 1), PROCESSES);
    let watch = Watch::new(&bus);
    let struck = strike(&plan, &bus, &load, &watch, &mut crew);
    settle(&bus, &load, &watch, &mut crew);
    let inputs = Inputs::read(&bus);
    let (outputs, verified) = verified(&bus, &inputs, &watch);
    println!("faults: {struck:?}");
    println!("while they struck: {}", watch.summary());
    println!("{verified}");
    println!("transactions of the survivors: {}", crew.transactions());
    check_work(&plan, &struck, &verified);
    again(&bus, &mut crew, &outputs);
}

/// Load and faults, beside each other.
fn strike(
    plan: &Plan,
    bus: &Bus<'_>,
    load: &Load<'_>,
    watch: &Watch<'_>,
    crew: &mut Crew,
) -> Struck {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = StopAtEnd(&over);
        let (looking, loading) = (over.0, over.0);
        scope.spawn(move || watch.look_until(looking));
        scope.spawn(move || load.run_until(loading, || watch.backlog()));
        let brokers = scope
            .spawn(move || broker_faults::strike_until(bus, Random::new(plan.seed ^ 2), looking));
        let start = Instant::now();
        // A slow machine takes longer until there was enough work.
        while start.elapsed() < plan.length
            || crew.kills() < plan.kills
            || crew.struck().values().sum::<usize>() < FAULTS_MIN
            || watch.processed() < RECORDS_MIN
        {
            crew.rest(PAUSE_MS);
            let before = watch.processed();
            // A fault amid work says more than one after another.
            let _ = within(PROGRESS, || {
                crew.resume();
                if watch.processed() > before { Ok(()) } else { Err(String::new()) }
            });
            crew.strike();
        }
        drop(over);
        let mut struck = brokers.join().unwrap_or_else(|_| panic!("the broker's faults failed"));
        struck.extend(crew.struck());
        struck
    })
}

/// No more faults: everything that was sent is processed.
fn settle(bus: &Bus<'_>, load: &Load<'_>, watch: &Watch<'_>, crew: &mut Crew) {
    crew.resume_all();
    load.end();
    bus.wait_until_processed(bus.prefix());
    watch.look();
    crew.check();
}

/// Waits until the last tombstones are out, and compares all.
fn verified(bus: &Bus<'_>, inputs: &Inputs, watch: &Watch<'_>) -> (Outputs, Verified) {
    eventually("the last records to end", || {
        let outputs = Outputs::read(bus);
        match outputs.verify(inputs, watch) {
            Ok(verified) => Ok((outputs, verified)),
            Err(wrong) if wrong.may_pass => Err(wrong.text),
            Err(wrong) => panic!("{}", wrong.text),
        }
    })
}

/// All input once more, on the same ledgers: nothing comes back.
fn again(bus: &Bus<'_>, crew: &mut Crew, before: &Outputs) {
    crew.stop_all();
    for input in INPUTS {
        bus.rewind(bus.prefix(), input);
    }
    crew.start_one();
    bus.wait_until_processed(bus.prefix());
    crew.stop_all();
    let changed = Outputs::read(bus).is_as(before);
    changed.unwrap_or_else(|what| panic!("the same input again: {what}"));
    println!("the same input again, from the beginning: nothing came back");
}

/// A run that struck nothing or did nothing proves nothing.
fn check_work(plan: &Plan, struck: &Struck, verified: &Verified) {
    let count = |name: &str| struck.get(name).copied().unwrap_or(0);
    let total: usize = struck.values().sum();
    assert!(total >= FAULTS_MIN, "{struck:?}");
    assert!(crew::kills(struck) >= plan.kills.max(1), "{struck:?}");
    assert!(count(crew::PAUSE_LONG) > 0, "no process was away past its session: {struck:?}");
    assert!(count(broker_faults::KILL) > 0, "no broker was killed: {struck:?}");
    let records = i64::try_from(verified.records).unwrap_or(i64::MAX);
    assert!(records >= RECORDS_MIN, "{verified}");
    for reason in REASONS {
        assert!(verified.tombstones.contains_key(reason), "nothing was {reason}: {verified}");
    }
    // What was over before it came proves little.
    assert!(verified.late * 4 < verified.subjects, "too much came too late: {verified}");
}

/// Ends the other threads also where the faults' own fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
