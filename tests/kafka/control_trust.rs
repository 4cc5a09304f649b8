//! The control topic is trusted only as long as it holds what was read from it.

use lethe_test_support::bus::CONTROL;
use lethe_test_support::event::Message;
use lethe_test_support::wait::eventually;
use serde_json::json;

use crate::world::{World, content, now, stored, tombstone};
use crate::{Version, on_both_brokers};

const STORE: &str = "store.messages";
const TRANSIT: &str = "transit.messages";

on_both_brokers! {
    a_recreated_control_topic_stops_every_tombstone;
    what_a_recreated_control_topic_says_is_not_taken_for_the_old_ones;
    the_last_valid_record_survives_a_restart;
    what_was_said_before_the_first_start_is_in_force_from_the_first_record;
}

fn a_recreated_control_topic_stops_every_tombstone(version: Version) {
    let world = World::new(version, "trust.recreated");
    world.opt_in("trusting", "30d");
    let kept = Message::new("trusting", "c", "m", now());
    let passing = Message::new("passing", "c", "m", now());
    for message in [&kept, &passing] {
        world.tell(&message.sent(b"here"));
    }
    world.expect(STORE, &kept.key(), &[content(&kept.sent(b"here"))]);
    world.expect(TRANSIT, &passing.key(), &[content(&passing.sent(b"here"))]);

    world.delete(CONTROL);
    world.create_control();
    expect_distrust(&world);
    world.tell(&kept.recalled());
    world.tell(&passing.delivered("bob"));
    expect_nothing_ended(&world, &kept, &passing);

    // Nor after a restart; what is processed goes on.
    world.lethe().kill();
    *world.lethe() = world.setup.start();
    expect_distrust(&world);
    let next = Message::new("passing", "c", "next", now());
    world.tell(&next.sent(b"still processed"));
    world.expect(TRANSIT, &next.key(), &[content(&next.sent(b"still processed"))]);
    expect_nothing_ended(&world, &kept, &passing);
}

/// Made anew while lethe runs, and longer than it was, so that its end tells nothing.
fn what_a_recreated_control_topic_says_is_not_taken_for_the_old_ones(version: Version) {
    let world = World::new(version, "trust.longer");
    world.opt_in("trusting", "30d");
    let kept = Message::new("trusting", "c", "m", now());
    world.tell(&kept.sent(b"here"));
    world.expect(STORE, &kept.key(), &[content(&kept.sent(b"here"))]);
    world.delete(CONTROL);
    world.create_control();
    for _ in 0..20 {
        world.control("tenant/trusting", &json!({}));
    }
    expect_distrust(&world);
    let next = Message::new("trusting", "c", "next", now());
    world.tell(&next.sent(b"stored as before"));
    world.expect(STORE, &next.key(), &[content(&next.sent(b"stored as before"))]);
    world.expect_settled(STORE, &kept.key(), &[content(&kept.sent(b"here"))]);
}

/// It says what happened to the control topic, and that tombstones are stopped.
fn expect_distrust(world: &World<'_>) {
    eventually("the error about the control topic", || {
        let said = world.lethe().said();
        let topic = world.topic(CONTROL);
        let about = |line: &str| {
            line.contains("recreated") && line.contains("tombstone") && line.contains(&topic)
        };
        if said.lines().any(about) { Ok(()) } else { Err(said) }
    });
}

fn expect_nothing_ended(world: &World<'_>, kept: &Message, passing: &Message) {
    world.expect_settled(STORE, &kept.key(), &[content(&kept.sent(b"here"))]);
    world.expect_settled(TRANSIT, &passing.key(), &[content(&passing.sent(b"here"))]);
}

fn the_last_valid_record_survives_a_restart(version: Version) {
    let world = World::new(version, "trust.restart");
    let valid = world.opt_in("careless", "30d");
    world.control("tenant/careless", &json!({"message": {"storage": "out", "retention": "1d"}}));
    world.wait_until_in_force();
    world.lethe().kill();
    world.start_again();
    let message = Message::new("careless", "c", "m", now());
    world.tell(&message.sent(b"stored"));
    world.expect(STORE, &message.key(), &[content(&message.sent(b"stored"))]);
    let record = world.records(STORE, &message.key()).remove(0);
    assert_eq!(record.header("lethe-policy"), Some(valid.to_string()));
}

fn what_was_said_before_the_first_start_is_in_force_from_the_first_record(version: Version) {
    let message = Message::new("first", "c", "m", now());
    let value = message.sent(b"waits for lethe");
    let world = World::with(version, "trust.first", |bus, _| {
        let put =
            lethe_test_support::bus::Put { key: "k", value: Some(&value), ..Default::default() };
        bus.put("im.messages", put);
        bus.control("tenant/first", &json!({}));
        bus.control("tenant/first", &stored("30d"));
    });
    world.expect(STORE, &message.key(), &[content(&value)]);
    world.tell(&message.recalled());
    world.expect(STORE, &message.key(), &[content(&value), tombstone("recalled")]);
    world.expect_settled(TRANSIT, &message.key(), &[]);
}
