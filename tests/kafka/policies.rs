//! What tenants and operators say, and what it does to what is there already.

use lethe_test_support::bus::AUDIT;
use lethe_test_support::event::Message;
use lethe_test_support::wait::eventually;
use serde_json::json;

use crate::world::{DAY, EVER, HOUR, SECOND, Shared, content, now, stored, text, tombstone};
use crate::{Version, on_both_brokers};

static WORLDS: Shared = Shared::new("policies");

const STORE: &str = "store.messages";
const TRANSIT: &str = "transit.messages";

on_both_brokers! {
    without_a_retention_give_seven_days;
    that_opt_out_end_what_was_stored;
    that_are_withdrawn_opt_out;
    do_not_store_what_was_sent_before_the_tenant_opted_in;
    that_shorten_end_what_is_too_old_and_lengthening_does_not_bring_it_back;
    of_a_conversation_shorten_and_lengthen;
    cap_what_a_tenant_may_choose;
    demand_a_minimum;
    wait_for_their_effective_time_and_are_superseded;
    that_are_invalid_leave_the_last_valid_one;
    do_not_touch_other_tenants;
}

fn without_a_retention_give_seven_days(version: Version) {
    let world = WORLDS.on(version);
    world.say("tenant/plain", &json!({"message": {"storage": "in", "since": EVER}}));
    let message = Message::new("plain", "c1", "m1", now());
    world.tell(&message.sent(b"x"));
    world.expect(STORE, &message.key(), &[content(&message.sent(b"x"))]);
    let record = world.records(STORE, &message.key()).remove(0);
    assert_eq!(record.header("lethe-retention"), Some((7 * DAY).to_string()));
}

fn that_opt_out_end_what_was_stored(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("leaver", "30d");
    let messages = [0, 1]
        .map(|hours| Message::new("leaver", "c1", &format!("m{hours}"), now() - hours * HOUR));
    for message in &messages {
        world.tell(&message.sent(b"stored"));
        world.expect(STORE, &message.key(), &[content(&message.sent(b"stored"))]);
    }
    let policy = world.control("tenant/leaver", &json!({"message": {"storage": "out"}}));
    for message in &messages {
        let life = [content(&message.sent(b"stored")), tombstone("opted-out")];
        world.expect(STORE, &message.key(), &life);
        let record = world.records(STORE, &message.key()).remove(1);
        assert_eq!(record.header("lethe-policy"), Some(policy.to_string()));
    }
    // In again: what ended stays ended.
    world.opt_in("leaver", "30d");
    for message in &messages {
        world.tell(&message.sent(b"stored"));
        let life = [content(&message.sent(b"stored")), tombstone("opted-out")];
        world.expect_settled(STORE, &message.key(), &life);
        world.expect_settled(TRANSIT, &message.key(), &[]);
    }
}

fn that_are_withdrawn_opt_out(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("withdrawn", "30d");
    let message = Message::new("withdrawn", "c1", "m1", now());
    world.tell(&message.sent(b"stored"));
    world.expect(STORE, &message.key(), &[content(&message.sent(b"stored"))]);
    world.withdraw("tenant/withdrawn");
    let life = [content(&message.sent(b"stored")), tombstone("opted-out")];
    world.expect(STORE, &message.key(), &life);
    let next = Message::new("withdrawn", "c1", "m2", now());
    world.tell(&next.sent(b"passes"));
    world.expect(TRANSIT, &next.key(), &[content(&next.sent(b"passes"))]);
}

fn do_not_store_what_was_sent_before_the_tenant_opted_in(version: Version) {
    let world = WORLDS.on(version);
    let before = Message::new("late-in", "c1", "before", now() - SECOND);
    world.say("tenant/late-in", &json!({"message": {"storage": "in", "retention": "30d"}}));
    let after = Message::new("late-in", "c1", "after", now());
    world.tell(&before.sent(b"passes"));
    world.tell(&after.sent(b"stored"));
    world.expect(TRANSIT, &before.key(), &[content(&before.sent(b"passes"))]);
    world.expect(STORE, &after.key(), &[content(&after.sent(b"stored"))]);
    world.expect_settled(STORE, &before.key(), &[]);
}

fn that_shorten_end_what_is_too_old_and_lengthening_does_not_bring_it_back(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("flexible", "30d");
    let old = Message::new("flexible", "c1", "old", now() - 3 * DAY);
    let young = Message::new("flexible", "c1", "young", now() - DAY);
    for message in [&old, &young] {
        world.tell(&message.sent(b"stored"));
        world.expect(STORE, &message.key(), &[content(&message.sent(b"stored"))]);
    }
    world.opt_in("flexible", "2d");
    let ended = [content(&old.sent(b"stored")), tombstone("expired")];
    world.expect(STORE, &old.key(), &ended);
    world.opt_in("flexible", "30d");
    for message in [&old, &young] {
        world.tell(&message.sent(b"stored"));
    }
    world.expect_settled(STORE, &old.key(), &ended);
    world.expect_settled(STORE, &young.key(), &[content(&young.sent(b"stored"))]);
    world.expect_settled(TRANSIT, &old.key(), &[]);
}

fn of_a_conversation_shorten_and_lengthen(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("rooms", "30d");
    world.control("conversation/rooms/long%2Flived", &json!({"retention": "300d"}));
    world.say("conversation/rooms/brief", &json!({"retention": "2d"}));
    let at = now() - DAY;
    let kept = Message::new("rooms", "brief", "kept", at);
    let [long, plain, brief] = ["long/lived", "plain", "brief"]
        .map(|conversation| Message::new("rooms", conversation, "m1", at));
    for message in [&long, &plain, &brief, &kept] {
        world.tell(&message.sent(b"stored"));
        world.expect(STORE, &message.key(), &[content(&message.sent(b"stored"))]);
    }
    let record = world.records(STORE, &long.key()).remove(0);
    assert_eq!(record.header("lethe-retention"), Some((300 * DAY).to_string()));
    // Shorter still: what is older ends in this conversation alone.
    world.control("conversation/rooms/brief", &json!({"retention": "12h"}));
    let ended = |message: &Message| [content(&message.sent(b"stored")), tombstone("expired")];
    world.expect(STORE, &brief.key(), &ended(&brief));
    world.expect(STORE, &kept.key(), &ended(&kept));
    world.expect_settled(STORE, &plain.key(), &[content(&plain.sent(b"stored"))]);
    // The tenant's own retention ends what has no longer one.
    world.opt_in("rooms", "6h");
    world.expect(STORE, &plain.key(), &ended(&plain));
    world.expect_settled(STORE, &long.key(), &[content(&long.sent(b"stored"))]);
    // Without the longer one it ends as the rest did; nothing comes back.
    world.withdraw("conversation/rooms/long%2Flived");
    world.expect(STORE, &long.key(), &ended(&long));
}

fn cap_what_a_tenant_may_choose(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("greedy", "300d");
    let old = Message::new("greedy", "c1", "old", now() - 20 * DAY);
    world.tell(&old.sent(b"stored"));
    world.expect(STORE, &old.key(), &[content(&old.sent(b"stored"))]);
    world.terms("greedy", &json!({"maximum": "10d"}));
    world.expect(STORE, &old.key(), &[content(&old.sent(b"stored")), tombstone("expired")]);
    let new = Message::new("greedy", "c1", "new", now());
    world.tell(&new.sent(b"stored"));
    world.expect(STORE, &new.key(), &[content(&new.sent(b"stored"))]);
    let record = world.records(STORE, &new.key()).remove(0);
    assert_eq!(record.header("lethe-retention"), Some((10 * DAY).to_string()));
    // For ever is only where the maximum says so.
    world.terms("greedy", &json!({"maximum": "forever"}));
    world.opt_in("greedy", "forever");
    let for_ever = Message::new("greedy", "c1", "for-ever", now());
    world.tell(&for_ever.sent(b"stored"));
    world.expect(STORE, &for_ever.key(), &[content(&for_ever.sent(b"stored"))]);
    let record = world.records(STORE, &for_ever.key()).remove(0);
    assert_eq!(record.header("lethe-retention").as_deref(), Some("forever"));
    assert_eq!(record.header("lethe-expires-at"), None);
}

fn demand_a_minimum(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("lawful", "30d");
    world.terms("lawful", &json!({"minimum": "10d"}));
    let message = Message::new("lawful", "c1", "m1", now() - 5 * DAY);
    let value = message.sent(b"the law wants it");
    world.tell(&value);
    world.tell(&message.recalled());
    let never = Message::new("lawful", "c1", "recalled-before", now() - 5 * DAY);
    world.tell(&never.recalled());
    world.tell(&never.sent(b"stored, already ended"));
    world.expect_settled(STORE, &message.key(), &[content(&value)]);
    world.expect_settled(STORE, &never.key(), &[content(&never.sent(b"stored, already ended"))]);
    // Opted-out content is never kept.
    let transit = Message::new("lawful-out", "c1", "m1", now());
    world.terms("lawful-out", &json!({"minimum": "10d"}));
    world.tell(&transit.sent(b"passes"));
    world.tell(&transit.delivered("bob"));
    let life = [content(&transit.sent(b"passes")), tombstone("delivered")];
    world.expect(TRANSIT, &transit.key(), &life);
    // Lowered, it lets go of what waits.
    world.terms("lawful", &json!({"minimum": "1d"}));
    world.expect(STORE, &message.key(), &[content(&value), tombstone("recalled")]);
    let life = [content(&never.sent(b"stored, already ended")), tombstone("recalled")];
    world.expect(STORE, &never.key(), &life);
}

fn wait_for_their_effective_time_and_are_superseded(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("waiting", "30d");
    world.opt_in("superseded", "30d");
    let message = Message::new("waiting", "c1", "m1", now());
    let spared = Message::new("superseded", "c1", "m1", now());
    for message in [&message, &spared] {
        world.tell(&message.sent(b"stored"));
        world.expect(STORE, &message.key(), &[content(&message.sent(b"stored"))]);
    }
    let effective_at = now() + 15 * SECOND;
    let opt_out = json!({"message": {"storage": "out"}, "effective_at": text(effective_at)});
    world.control("tenant/superseded", &opt_out);
    world.control("tenant/waiting", &opt_out);
    world.say("tenant/superseded", &stored("20d"));
    let life = [content(&message.sent(b"stored")), tombstone("opted-out")];
    world.expect(STORE, &message.key(), &life);
    assert!(now() >= effective_at, "too early");
    world.expect_settled(STORE, &spared.key(), &[content(&spared.sent(b"stored"))]);
}

fn that_are_invalid_leave_the_last_valid_one(version: Version) {
    let world = WORLDS.on(version);
    let valid = world.opt_in("careless", "30d");
    let invalid: [&[u8]; 6] = [
        b"{",
        br#"{"message": {"storage": "out", "retention": "7d"}}"#,
        br#"{"message": {"storage": "in", "retention": "soon"}}"#,
        br#"{"message": {"storage": "in"}, "colour": "red"}"#,
        br#"{"message": {"storage": "perhaps"}}"#,
        br#"{"message": {"storage": "in"}, "effective_at": "2001-01-01T00:00:00"}"#,
    ];
    let offsets = invalid.map(|value| world.control_bytes("tenant/careless", Some(value)));
    world.wait_until_in_force();
    let message = Message::new("careless", "c1", "m1", now());
    world.tell(&message.sent(b"stored"));
    world.expect(STORE, &message.key(), &[content(&message.sent(b"stored"))]);
    let record = world.records(STORE, &message.key()).remove(0);
    assert_eq!(record.header("lethe-policy"), Some(valid.to_string()));
    assert_eq!(record.header("lethe-retention"), Some((30 * DAY).to_string()));
    eventually("the refusals on the audit topic", || {
        let audit = world.read(AUDIT);
        let said = |offset: &i64| {
            let about = |value: &[u8]| mentions(value, *offset);
            audit.iter().any(|record| record.value.as_deref().is_some_and(about))
        };
        if offsets.iter().all(said) { Ok(()) } else { Err(format!("{audit:?}")) }
    });
}

/// Whether an audit record names a control record's offset.
fn mentions(value: &[u8], offset: i64) -> bool {
    fn holds(value: &serde_json::Value, offset: i64) -> bool {
        match value {
            serde_json::Value::Number(number) => number.as_i64() == Some(offset),
            serde_json::Value::String(text) => *text == offset.to_string(),
            serde_json::Value::Array(list) => list.iter().any(|value| holds(value, offset)),
            serde_json::Value::Object(map) => map.values().any(|value| holds(value, offset)),
            serde_json::Value::Null | serde_json::Value::Bool(_) => false,
        }
    }
    serde_json::from_slice(value).is_ok_and(|value| holds(&value, offset))
}

fn do_not_touch_other_tenants(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("neighbour", "30d");
    world.opt_in("neighbour2", "30d");
    let [one, two] =
        ["neighbour", "neighbour2"].map(|tenant| Message::new(tenant, "c", "m", now()));
    for message in [&one, &two] {
        world.tell(&message.sent(b"stored"));
    }
    world.expect(STORE, &two.key(), &[content(&two.sent(b"stored"))]);
    world.control("tenant/neighbour", &json!({}));
    let life = [content(&one.sent(b"stored")), tombstone("opted-out")];
    world.expect(STORE, &one.key(), &life);
    world.expect_settled(STORE, &two.key(), &[content(&two.sent(b"stored"))]);
}
