//! Topics that are read again on real brokers, by control records alone.

use lethe_test_support::bus::Put;
use lethe_test_support::event::Message;
use lethe_test_support::wait::eventually;
use serde_json::{Value, json};

use crate::exactly_once::wait_for_progress;
use crate::load;
use crate::world::{World, content, now, tombstone};
use crate::{Version, on_both_brokers};

/// Enough for several transactions on each partition.
const MESSAGES: usize = 3_000;
const STORE: &str = "store.messages";

on_both_brokers! {
    what_was_processed_is_not_emitted_again;
    history_of_another_topic_is_brought_in_beside_live_traffic_and_a_kill;
    a_new_store_gets_what_is_out;
    a_dry_run_emits_nothing_and_says_what_it_would;
    dead_letters_are_tried_again;
    what_cannot_be_read_is_refused_with_the_reason;
    a_replay_is_paused_and_cancelled;
    what_retention_removed_is_counted;
}

/// The ends of a replay that partitions have reported.
fn reports(world: &World<'_>, id: &str) -> Vec<Value> {
    let mut records = world.read("lethe.audit");
    records.retain(|record| record.key == format!("replay/{id}"));
    let parse = |value: Vec<u8>| serde_json::from_slice(&value).ok();
    let reports = records.into_iter().filter_map(|record| parse(record.value?));
    reports.filter(|report: &Value| is_end(report)).collect()
}

/// A text of a report.
fn said<'r>(report: &'r Value, name: &str) -> &'r str {
    report.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn is_end(report: &Value) -> bool {
    said(report, "type").starts_with("replay-")
}

/// Asks for a replay of messages, waits until both partitions have ended it, and gives what they say.
pub(crate) fn replay(world: &World<'_>, id: &str, asked: &Value) -> Vec<Value> {
    world.control(&format!("replay/{id}"), asked);
    ended(world, id, 2)
}

fn ended(world: &World<'_>, id: &str, partitions: usize) -> Vec<Value> {
    eventually(&format!("replay {id} to end"), || {
        let reports = reports(world, id);
        if reports.len() == partitions { Ok(()) } else { Err(format!("{reports:?}")) }
    });
    reports(world, id)
}

pub(crate) fn done(reports: &[Value]) {
    for report in reports {
        assert_eq!(said(report, "type"), "replay-done", "{report}");
    }
}

/// A count over all partitions.
pub(crate) fn count(reports: &[Value], outcome: &str) -> u64 {
    let counted = |report: &Value| report.pointer(&format!("/counts/{outcome}"))?.as_u64();
    reports.iter().filter_map(counted).sum()
}

fn what_was_processed_is_not_emitted_again(version: Version) {
    let world = World::new(version, "replays.again");
    load::opt_in(&world);
    let messages = load::send(&world, MESSAGES);
    load::verify(&world, &messages);
    let source = world.topic("im.messages");
    let reports = replay(&world, "1", &json!({"source": source, "mode": "missing"}));
    done(&reports);
    assert_eq!(count(&reports, "emitted"), 0, "{reports:?}");
    assert_eq!(count(&reports, "ended"), 0, "{reports:?}");
    load::verify(&world, &messages);
}

fn history_of_another_topic_is_brought_in_beside_live_traffic_and_a_kill(version: Version) {
    let world = World::new(version, "replays.history");
    load::opt_in(&world);
    world.create("old.messages", 2, &[]);
    let history = load::history(&world, "old.messages", MESSAGES);
    let source = world.topic("old.messages");
    let asked = json!({"source": source, "class": "message", "mode": "missing", "rate": 2_000});
    let mut live = load::send_beside(&world, || {
        world.control("replay/old", &asked);
        for _ in 0..2 {
            wait_for_progress(&world);
            wait_for_replayed(&world);
            world.lethe().kill();
            world.start_again();
        }
        let faster = json!({"source": source, "class": "message", "mode": "missing"});
        world.control("replay/old", &faster);
        done(&ended(&world, "old", 2));
    });
    let reports = reports(&world, "old");
    assert_eq!(count(&reports, "emitted"), history.len() as u64, "{reports:?}");
    live.extend(history);
    load::verify(&world, &live);
}

/// The process has read something for a replay.
fn wait_for_replayed(world: &World<'_>) {
    eventually("a replay to come on", || {
        let read = world.lethe().metric("lethe_replay_records_total", &[]).unwrap_or(0.0);
        if read > 0.0 { Ok(()) } else { Err("nothing is read".to_owned()) }
    });
}

fn a_new_store_gets_what_is_out(version: Version) {
    let world = World::new(version, "replays.refresh");
    world.opt_in("fresh", "30d");
    let kept = Message::new("fresh", "c", "kept", now() - 1_000);
    let edited = Message::new("fresh", "c", "edited", now() - 1_000);
    let gone = Message::new("fresh", "c", "gone", now() - 1_000);
    let edit = edited.edited(now(), b"newer");
    for value in [kept.sent(b"x"), edited.sent(b"older"), edit.clone(), gone.sent(b"x")] {
        world.tell(&value);
    }
    world.tell(&gone.recalled());
    // The same once more: it is out once.
    world.tell(&kept.sent(b"x"));
    world.expect(STORE, &gone.key(), &[content(&gone.sent(b"x")), tombstone("recalled")]);
    world.settle();
    let source = world.topic("im.messages");
    let asked = json!({"source": source, "mode": "refresh", "tenants": ["fresh"]});
    let reports = replay(&world, "new", &asked);
    done(&reports);
    assert_eq!(count(&reports, "emitted"), 2, "{reports:?}");
    let mut records = world.read(STORE);
    let marks: Vec<_> = records
        .iter()
        .filter(|record| record.key == "lethe:replay/new")
        .filter_map(|record| Some((record.partition, record.header("lethe-replay-marker")?)))
        .collect();
    for partition in 0..2 {
        let of = marks.iter().filter(|(of, _)| *of == partition).map(|(_, mark)| mark.as_str());
        assert_eq!(of.collect::<Vec<_>>(), ["begin", "end"], "partition {partition}");
    }
    records.retain(|record| {
        record.header("lethe-replay").is_some() && record.key != "lethe:replay/new"
    });
    let emitted: Vec<_> =
        records.iter().map(|record| (record.key.clone(), record.value.clone())).collect();
    assert_eq!(emitted, [(kept.key(), Some(kept.sent(b"x"))), (edited.key(), Some(edit))]);
    for record in &records {
        assert_eq!(record.header("lethe-replay").as_deref(), Some("new"), "{}", record.key);
        assert_eq!(record.header("lethe-storage").as_deref(), Some("in"));
    }
}

fn a_dry_run_emits_nothing_and_says_what_it_would(version: Version) {
    let world = World::new(version, "replays.dry");
    world.opt_in("dry", "30d");
    let live = Message::new("dry", "c", "live", now() - 1_000);
    world.tell(&live.sent(b"x"));
    world.expect(STORE, &live.key(), &[content(&live.sent(b"x"))]);
    world.create("old.messages", 2, &[]);
    let missing = Message::new("dry", "c", "missing", now() - 1_000);
    for value in [missing.sent(b"y"), missing.sent(b"y"), live.sent(b"x")] {
        let put = Put { partition: 0, key: "key", value: Some(&value), headers: &[] };
        world.put("old.messages", put);
    }
    world.settle();
    let before = world.read(STORE).len();
    let asked = |source: String, mode: &str| json!({"source": source, "class": "message", "mode": mode, "dry_run": true});
    let reports = replay(&world, "would", &asked(world.topic("old.messages"), "missing"));
    done(&reports);
    assert_eq!(count(&reports, "emitted"), 1, "{reports:?}");
    assert_eq!(count(&reports, "known"), 2, "{reports:?}");
    // Topic and state, side by side: everything that is live is there, and what is not processed is told.
    let reports = replay(&world, "compare", &asked(world.topic("old.messages"), "refresh"));
    done(&reports);
    assert_eq!(count(&reports, "emitted"), 1, "{reports:?}");
    assert_eq!(count(&reports, "unprocessed"), 2, "{reports:?}");
    let reports = replay(&world, "self", &asked(world.topic(STORE), "refresh"));
    done(&reports);
    let live: u64 = reports.iter().filter_map(|report| report.get("live")?.as_u64()).sum();
    assert_eq!(count(&reports, "emitted"), live, "{reports:?}");
    world.settle();
    assert_eq!(world.read(STORE).len(), before, "a dry run has emitted something");
}

fn dead_letters_are_tried_again(version: Version) {
    let world = World::new(version, "replays.letters");
    world.opt_in("letters", "30d");
    // Too far ahead when it came: the time passes.
    let ahead = 10 * 60 * 1_000 + 4_000;
    let early = Message::new("letters", "c", "early", now() + ahead);
    world.tell(&early.sent(b"x"));
    world.tell(b"\xff\xff");
    eventually("two dead letters", || {
        let letters = world.read("lethe.dlq").len();
        if letters == 2 { Ok(()) } else { Err(format!("{letters}")) }
    });
    let mut number = 0;
    eventually("its time to come", || {
        number += 1;
        let asked = json!({"source": world.topic("lethe.dlq"), "mode": "missing"});
        let id = format!("letters-{number}");
        world.control(&format!("replay/{id}"), &asked);
        let reports = ended(&world, &id, 6);
        done(&reports);
        match (count(&reports, "emitted"), count(&reports, "bad")) {
            (1, 1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    world.expect(STORE, &early.key(), &[content(&early.sent(b"x"))]);
    assert_eq!(world.read("lethe.dlq").len(), 2, "no letter is written again");
}

fn what_cannot_be_read_is_refused_with_the_reason(version: Version) {
    let world = World::new(version, "replays.refused");
    world.create("old.messages", 3, &[]);
    let store = world.topic(STORE);
    for (id, asked, partitions, why) in [
        (
            "count",
            json!({"source": world.topic("old.messages"), "class": "message", "mode": "missing"}),
            2,
            "one message must stay on one partition",
        ),
        (
            "absent",
            json!({"source": world.topic("nowhere"), "class": "message", "mode": "missing"}),
            2,
            "is not there",
        ),
        (
            "future",
            json!({"source": world.topic("im.messages"), "mode": "missing", "to": "9999-01-01T00:00:00Z"}),
            6,
            "a time that has not come",
        ),
        ("itself", json!({"source": store, "mode": "missing"}), 6, "a dry run alone"),
        ("class", json!({"source": "old", "mode": "missing"}), 6, "class of events"),
    ] {
        world.control(&format!("replay/{id}"), &asked);
        for report in ended(&world, id, partitions) {
            assert_eq!(said(&report, "type"), "replay-refused", "{report}");
            assert!(said(&report, "why").contains(why), "{report}");
        }
    }
}

fn a_replay_is_paused_and_cancelled(version: Version) {
    let world = World::new(version, "replays.paused");
    load::opt_in(&world);
    let messages = load::send(&world, MESSAGES);
    load::verify(&world, &messages);
    let source = world.topic("im.messages");
    let paused = json!({"source": source, "mode": "missing", "paused": true});
    world.control("replay/1", &paused);
    world.wait_until_in_force();
    assert!(reports(&world, "1").is_empty(), "it stands still");
    // Another one passes it.
    done(&replay(&world, "2", &json!({"source": source, "mode": "missing"})));
    assert!(reports(&world, "1").is_empty(), "it stands still");
    done(&replay(&world, "1", &json!({"source": source, "mode": "missing"})));
    world.control("replay/3", &paused);
    world.withdraw("replay/3");
    eventually("it to be cancelled", || {
        let reports = reports(&world, "3");
        let all = reports.iter().all(|report| said(report, "type") == "replay-cancelled");
        if reports.len() >= 2 && all { Ok(()) } else { Err(format!("{reports:?}")) }
    });
    load::verify(&world, &messages);
}

fn what_retention_removed_is_counted(version: Version) {
    let world = World::new(version, "replays.removed");
    world.opt_in("removed", "30d");
    world.create("old.messages", 2, &[("cleanup.policy", "delete")]);
    let messages: Vec<_> = (0..10)
        .map(|number| Message::new("removed", "c", &format!("m{number}"), now() - 1_000))
        .collect();
    for message in &messages {
        let value = message.sent(b"x");
        let put = Put { partition: 0, key: "key", value: Some(&value), headers: &[] };
        world.put("old.messages", put);
    }
    world.remove_before("old.messages", 0, 4);
    let source = world.topic("old.messages");
    let asked = json!({"source": source, "class": "message", "mode": "missing", "from": 0});
    let reports = replay(&world, "1", &asked);
    done(&reports);
    assert_eq!((count(&reports, "lost"), count(&reports, "emitted")), (4, 6), "{reports:?}");
}
