//! The faults that strike the broker, or the node of a cluster that leads what lethe works on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lethe::traffic::Random;
use lethe_test_support::broker::Node;
use lethe_test_support::bus::Bus;

use crate::{PARTITIONS, Struck};

/// It is killed (SIGKILL) and started again.
pub(crate) const KILL: &str = "brokers killed";
/// It is told to stop and started again.
const STOP: &str = "brokers stopped";
/// It stands still, without closing a connection.
const PAUSE: &str = "brokers paused";

/// Between two faults, and how long one lasts.
const REST_MS: (u32, u32) = (6_000, 14_000);
const AWAY_MS: (u32, u32) = (300, 4_000);
/// How soon the end of the run is seen.
const LOOK: Duration = Duration::from_millis(100);

/// Strikes until it is told to stop. At the end every node runs.
pub(crate) fn strike_until(bus: &Bus<'_>, mut random: Random, over: &AtomicBool) -> Struck {
    let mut struck = Struck::new();
    // Twice as long as the last one was away: most of the work is to be done with brokers that are there.
    let mut away = Duration::ZERO;
    while rest(span(&mut random, REST_MS).max(2 * away), over) {
        let start = Instant::now();
        let node = leader(bus, &mut random);
        let fault = match random.below(10) {
            // The first one, so that every run has it.
            _ if struck.is_empty() => KILL,
            0..=3 => KILL,
            4..=6 => STOP,
            _ => PAUSE,
        };
        *struck.entry(fault).or_default() += 1;
        let pause = span(&mut random, AWAY_MS);
        match fault {
            KILL => node.kill(),
            STOP => node.shut_down(),
            _ => node.pause(),
        }
        thread::sleep(pause);
        if fault == PAUSE {
            node.go_on()
        } else {
            node.start()
        }
        away = start.elapsed();
    }
    struck
}

/// The node that leads one of the partitions that lethe reads, writes or keeps its place in.
fn leader<'b>(bus: &Bus<'b>, random: &mut Random) -> &'b Node {
    let partition = i32::try_from(random.below(u64::try_from(PARTITIONS).unwrap_or(1)));
    let partition = partition.unwrap_or(0);
    let topics = [
        bus.topic("im.messages"),
        bus.topic("store.messages"),
        bus.topic("lethe.control"),
        "__consumer_offsets".to_owned(),
        "__transaction_state".to_owned(),
    ];
    let topic = random.pick(&topics).cloned().unwrap_or_default();
    let partition = if topic.ends_with("lethe.control") { 0 } else { partition };
    bus.broker().leader(&topic, partition)
}

fn span(random: &mut Random, (min_ms, max_ms): (u32, u32)) -> Duration {
    Duration::from_millis(u64::from(random.between(min_ms, max_ms)))
}

/// Returns whether it goes on.
fn rest(time: Duration, over: &AtomicBool) -> bool {
    let until = Instant::now() + time;
    while Instant::now() < until && !over.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
    }
    !over.load(Ordering::Relaxed)
}
