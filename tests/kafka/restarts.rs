//! A process that is killed comes back with all it knew; one that restores does not hold up what is whole; a
//! changelog under endless traffic stays short.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use lethe_test_support::broker::Broker;
use lethe_test_support::bus::{Bus, Put};
use lethe_test_support::event::Message;
use lethe_test_support::lethe::verb;
use lethe_test_support::process;
use lethe_test_support::wait::eventually;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;

use crate::world::{PROGRAM, World, content, now, tombstone};
use crate::{Version, load, on_both_brokers};

const MIB: u64 = 1 << 20;

/// Live records of the small variants of the benchmarks.
const RECORDS: u64 = 100_000;

/// A changelog of a few live rows: twice what brings a snapshot, and segments of the smallest size that brokers
/// allow, of which the newest never goes and the others go when the broker comes by, each second here.
const CHANGELOG_BYTES_MAX: u64 = 16 * MIB;
/// What is written to it meanwhile, before compression, at the least.
const WRITTEN_BYTES: u64 = 5 * CHANGELOG_BYTES_MAX;
/// Ids of this length make large rows.
const ID_BYTES: usize = 240;
/// Messages of a put, and the pause after it: some 4 MB of rows a second.
const BATCH: usize = 100;
const PAUSE: Duration = Duration::from_millis(10);

on_both_brokers! {
    a_killed_process_has_all_live_records_again_on_its_own_disk;
    a_killed_process_has_all_live_records_again_on_an_empty_disk;
    a_partition_that_waits_for_its_changelog_does_not_hold_up_the_others;
    a_changelog_stays_short_under_endless_traffic;
    a_changelog_that_cannot_be_truncated_is_warned_of_and_nothing_stops;
}

fn a_killed_process_has_all_live_records_again_on_its_own_disk(version: Version) {
    bench(version, "restart");
}

fn a_killed_process_has_all_live_records_again_on_an_empty_disk(version: Version) {
    bench(version, "restore");
}

/// The benchmark itself compares what lives with what was written.
fn bench(version: Version, name: &str) {
    let brokers = Broker::shared(version).address();
    let scratch = process::directory(&format!("bench-{name}")).display().to_string();
    let records = RECORDS.to_string();
    let small = ["--records", &records, "--bytes", "64", "--partitions", "2", "--rounds", "2"];
    let place = ["--brokers", &brokers, "--scratch", &scratch, "--workers", "2", "--json"];
    let (code, json, errors) = verb(PROGRAM, &[&["bench", name][..], &small, &place].concat());
    assert_eq!(code, 0, "{errors}");
    let measured: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}"));
    let (live, written) = (number(&measured, "/live"), number(&measured, "/written"));
    assert_eq!(live, written, "{json}");
    assert!(written > RECORDS, "some came beside the kills: {json}");
    let rounds = measured.pointer("/rounds").and_then(Value::as_array).map(Vec::len);
    assert_eq!(rounds, Some(2), "{json}");
    assert_eq!(measured.pointer("/wiped"), Some(&Value::Bool(name == "restore")));
}

fn number(of: &Value, pointer: &str) -> u64 {
    of.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

fn changelog(bus: &Bus<'_>) -> String {
    format!("lethe.changelog.{}", bus.topic("im.messages"))
}

/// An open transaction on a changelog, as of another owner that has just been killed: its partition waits, because
/// what is behind could be the other's last delta.
fn a_partition_that_waits_for_its_changelog_does_not_hold_up_the_others(version: Version) {
    let world = World::new(version, "restarts.wait");
    let before = Message::new("passing", "c", "before", now());
    world.tell(&before.sent(b"here"));
    world.expect("transit.messages", &before.key(), &[content(&before.sent(b"here"))]);
    world.lethe().kill();

    let mut client = world.bus.broker().client();
    let other: BaseProducer = client
        .set("transactional.id", world.topic("another-owner"))
        .set("transaction.timeout.ms", "600000")
        .create()
        .unwrap_or_else(|error| panic!("{error}"));
    let done =
        |result: rdkafka::error::KafkaResult<()>| result.unwrap_or_else(|why| panic!("{why}"));
    done(other.init_transactions(Duration::from_secs(30)));
    done(other.begin_transaction());
    let topic = world.topic(&changelog(&world.bus));
    let record = BaseRecord::to(&topic).partition(0).key("k").payload("never committed");
    other.send(record).unwrap_or_else(|(error, _)| panic!("{error}"));
    done(other.flush(Duration::from_secs(30)));

    let value = before.delivered("bob");
    world.tell(&value);
    let beside = Message::new("passing", "c", "beside", now());
    let beside_value = beside.sent(b"goes on");
    world.send("im.messages", 1, &beside_value);
    *world.lethe() = world.setup.start();
    world.expect("transit.messages", &beside.key(), &[content(&beside_value)]);
    let (status, body) = world.lethe().get("/readyz").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((status, body.starts_with("restoring: ")), (503, true), "{body}");
    assert_eq!(world.life("transit.messages", &before.key()), [content(&before.sent(b"here"))]);

    done(other.abort_transaction(Duration::from_secs(30)));
    let settled = [content(&before.sent(b"here")), tombstone("delivered")];
    world.expect("transit.messages", &before.key(), &settled);
    world.lethe().wait_until_ready();
}

/// The tenant is opted out, so that a message is over as soon as it is delivered, and forgotten a second later.
fn a_changelog_stays_short_under_endless_traffic(version: Version) {
    let world = World::with(version, "restarts.endless", |bus, setup| {
        setup.settings.push_str("changelog_slack = \"1MiB\"\n");
        let name = changelog(bus);
        let small = ("segment.bytes", "1048576");
        let time = ("message.timestamp.type", "LogAppendTime");
        bus.create(&name, 2, &[("cleanup.policy", "delete"), ("retention.ms", "-1"), small, time]);
    });
    world.terms("passing", &serde_json::json!({"transit_limit": "1s"}));
    let (mut written, mut largest) = (0, 0);
    let before = world.low_watermarks(&changelog(&world.bus));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let watched = scope.spawn(|| {
            let mut largest = 0;
            while !stop.load(Ordering::Relaxed) {
                largest = largest.max(disk_bytes(&world));
                thread::sleep(PAUSE);
            }
            largest
        });
        for number in 0.. {
            if written >= WRITTEN_BYTES {
                break;
            }
            written += send_large(&world, number);
            thread::sleep(PAUSE);
        }
        stop.store(true, Ordering::Relaxed);
        largest = watched.join().unwrap_or_else(|_| panic!("watching failed"));
    });
    assert!(largest > 0, "the changelog is on the broker's disk");
    assert!(
        largest <= CHANGELOG_BYTES_MAX,
        "of {written} bytes the changelog held {largest} at a time"
    );
    world.settle();
    let after = world.low_watermarks(&changelog(&world.bus));
    assert!(after.iter().zip(before).all(|(after, before)| *after > before), "{after:?}");
    let stall = world.lethe().metric("lethe_snapshot_stall_seconds", &[]);
    assert!(stall.is_some_and(|seconds| seconds > 0.0), "snapshots were written: {stall:?}");
}

/// Sends some messages with large ids to both partitions, each delivered at once; about how many bytes of rows they
/// make.
fn send_large(world: &World<'_>, number: usize) -> u64 {
    let ids = |kind: &str, of: usize| {
        // Hardly to be compressed, and another one each time.
        let mut state = (number * BATCH + of) as u64 + if kind == "c" { 1 << 40 } else { 1 };
        let mut id = format!("{kind}{number}-{of}-");
        while id.len() < ID_BYTES {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            id.push_str(&format!("{:08x}", state >> 32));
        }
        id.truncate(ID_BYTES);
        id
    };
    let mut events = Vec::new();
    for of in 0..BATCH {
        let message = Message::new("passing", &ids("c", of), &ids("m", of), now());
        let partition = i32::from(of % 2 == 1);
        events.push((partition, message.sent(b"")));
        events.push((partition, message.delivered("bob")));
    }
    let put = |(partition, value)| Put { partition, key: "load", value: Some(value), headers: &[] };
    world.put_all("im.messages", events.iter().map(|(partition, value)| put((*partition, value))));
    (BATCH * 2 * ID_BYTES) as u64
}

/// What the larger of the changelog's partitions takes on the broker's disk.
fn disk_bytes(world: &World<'_>) -> u64 {
    let topic = world.topic(&changelog(&world.bus));
    let partition = |number| {
        let node = world.bus.broker().nodes().first();
        let data = node.unwrap_or_else(|| panic!("a broker without a process")).data();
        let dir = data.join(format!("{topic}-{number}"));
        let files = fs::read_dir(dir).into_iter().flatten().flatten();
        // A segment on its way out is renamed first.
        let logs = files.filter(|file| file.path().extension().is_some_and(|end| end == "log"));
        logs.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum::<u64>()
    };
    partition(0).max(partition(1))
}

/// A topic that is compacted alone refuses to have records removed.
fn a_changelog_that_cannot_be_truncated_is_warned_of_and_nothing_stops(version: Version) {
    let world = World::with(version, "restarts.refused", |bus, setup| {
        setup.settings.push_str("changelog_slack = \"200B\"\n");
        let (policy, lag) = (("cleanup.policy", "compact"), ("min.compaction.lag.ms", "604800000"));
        let time = ("message.timestamp.type", "LogAppendTime");
        bus.create(&changelog(bus), 2, &[policy, lag, time]);
    });
    load::opt_in(&world);
    let messages = load::send(&world, 2_000);
    load::verify(&world, &messages);
    eventually("the refusal to be counted", || {
        let refused = [("result", "refused")];
        let count = world.lethe().metric("lethe_changelog_removals_total", &refused);
        if count.unwrap_or(0.0) > 0.0 { Ok(()) } else { Err(format!("{count:?}")) }
    });
    let said = world.lethe().said();
    assert!(said.contains("refuses to remove records before a snapshot"), "{said}");
    load::send_again(&world, &messages);
    load::verify(&world, &messages);
}
