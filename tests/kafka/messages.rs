//! Messages: what is stored, what only passes, and how each ends.

use lethe_test_support::bus::Put;
use lethe_test_support::event::{Message, sent_to};
use lethe_test_support::kcat;
use serde_json::json;

use crate::world::{DAY, HOUR, SECOND, Shared, content, now, tombstone};
use crate::{Version, on_both_brokers};

static WORLDS: Shared = Shared::new("messages");

const STORE: &str = "store.messages";
const TRANSIT: &str = "transit.messages";

on_both_brokers! {
    of_an_opted_in_tenant_are_stored_byte_for_byte_with_tags_headers_and_partition;
    of_an_opted_out_tenant_pass_and_end_once_delivered;
    of_a_tenant_without_policy_pass;
    to_a_group_wait_for_every_recipient_counted_once;
    without_stated_recipients_wait_for_all_of_them;
    that_nobody_gets_end_at_the_transit_limit;
    end_with_their_retention_though_nothing_else_comes;
    recalled_are_gone_wherever_they_were;
    recalled_or_delivered_before_they_came_never_appear;
    that_are_stored_are_not_ended_by_their_delivery;
    with_a_life_of_their_own_burn;
    with_odd_ids_keep_apart;
    written_by_kcat_arrive_for_kcat;
    end_once_however_often_it_is_said;
}

fn of_an_opted_in_tenant_are_stored_byte_for_byte_with_tags_headers_and_partition(
    version: Version,
) {
    let world = WORLDS.on(version);
    let policy = world.opt_in("acme", "30d");
    let message = Message::new("acme", "c1", "m1", now());
    let value = message.sent(b"\x00\xffhello\n");
    let headers = [("trace", "t-1"), ("lethe-reason", "forged"), ("empty", "")];
    world.put(
        "im.messages",
        Put { partition: 1, key: "a producer's key", value: Some(&value), headers: &headers },
    );
    world.expect(STORE, "acme/c1/m1", &[content(&value)]);
    let record = world.records(STORE, "acme/c1/m1").remove(0);
    assert_eq!(record.partition, 1);
    let tag = |name| record.header(name);
    assert_eq!(tag("trace").as_deref(), Some("t-1"));
    assert_eq!(tag("empty").as_deref(), Some(""));
    assert_eq!(tag("lethe-reason"), None, "the input's own lethe- headers go");
    assert_eq!(tag("lethe-storage").as_deref(), Some("in"));
    assert_eq!(tag("lethe-retention"), Some((30 * DAY).to_string()));
    assert_eq!(tag("lethe-expires-at"), Some((message.sent_at_ms + 30 * DAY).to_string()));
    assert_eq!(tag("lethe-policy"), Some(policy.to_string()));
    world.expect_settled(TRANSIT, "acme/c1/m1", &[]);
}

fn of_an_opted_out_tenant_pass_and_end_once_delivered(version: Version) {
    let world = WORLDS.on(version);
    let policy = world.say("tenant/quiet", &json!({"message": {"storage": "out"}}));
    let message = Message::new("quiet", "c1", "m1", now());
    let value = message.sent(b"secret");
    world.send("im.messages", 1, &value);
    world.expect(TRANSIT, "quiet/c1/m1", &[content(&value)]);
    world.send("im.messages", 1, &message.delivered("bob"));
    world.expect(TRANSIT, "quiet/c1/m1", &[content(&value), tombstone("delivered")]);
    let records = world.records(TRANSIT, "quiet/c1/m1");
    for record in &records {
        assert_eq!(record.partition, 1, "{record:?}");
        assert_eq!(record.header("lethe-policy"), Some(policy.to_string()), "{record:?}");
    }
    world.expect_settled(STORE, "quiet/c1/m1", &[]);
}

fn of_a_tenant_without_policy_pass(version: Version) {
    let world = WORLDS.on(version);
    let message = Message::new("unknown", "c1", "m1", now());
    let value = message.sent(b"secret");
    world.tell(&value);
    world.expect(TRANSIT, "unknown/c1/m1", &[content(&value)]);
    let record = world.records(TRANSIT, "unknown/c1/m1").remove(0);
    assert_eq!(record.header("lethe-storage").as_deref(), Some("out"));
    assert_eq!(record.header("lethe-retention"), Some(DAY.to_string()));
    assert_eq!(record.header("lethe-expires-at"), Some((message.sent_at_ms + DAY).to_string()));
    assert_eq!(record.header("lethe-policy").as_deref(), Some("default"));
    assert_eq!(record.header("lethe-reason"), None);
}

fn to_a_group_wait_for_every_recipient_counted_once(version: Version) {
    let world = WORLDS.on(version);
    let message = Message::new("group", "c1", "m1", now());
    let value = message.sent_as(sent_to(3), b"to three");
    for event in
        [&value, &message.delivered("bob"), &message.delivered("bob"), &message.read("bob")]
    {
        world.tell(event);
    }
    world.tell(&message.read("carol"));
    world.expect_settled(TRANSIT, "group/c1/m1", &[content(&value)]);
    world.tell(&message.delivered("dave"));
    world.expect(TRANSIT, "group/c1/m1", &[content(&value), tombstone("delivered")]);
}

fn without_stated_recipients_wait_for_all_of_them(version: Version) {
    let world = WORLDS.on(version);
    let message = Message::new("broadcast", "c1", "m1", now());
    let value = message.sent_as(sent_to(0), b"to whom it may concern");
    world.tell(&value);
    world.tell(&message.delivered("bob"));
    world.expect_settled(TRANSIT, "broadcast/c1/m1", &[content(&value)]);
    world.tell(&message.delivered_to_all());
    world.expect(TRANSIT, "broadcast/c1/m1", &[content(&value), tombstone("delivered")]);
}

fn that_nobody_gets_end_at_the_transit_limit(version: Version) {
    let world = WORLDS.on(version);
    let policy = world.terms("offline", &json!({"transit_limit": "12s"}));
    let message = Message::new("offline", "c1", "m1", now());
    let value = message.sent_as(sent_to(2), b"nobody is there");
    world.tell(&value);
    world.tell(&message.delivered("bob"));
    world.expect(TRANSIT, "offline/c1/m1", &[content(&value), tombstone("undelivered")]);
    assert!(now() >= message.sent_at_ms + 12 * SECOND, "too early");
    for record in world.records(TRANSIT, "offline/c1/m1") {
        assert_eq!(record.header("lethe-policy"), Some(policy.to_string()), "{record:?}");
    }
}

fn end_with_their_retention_though_nothing_else_comes(version: Version) {
    let world = WORLDS.on(version);
    let policy = world.opt_in("brief", "12s");
    let message = Message::new("brief", "c1", "m1", now());
    let value = message.sent(b"soon gone");
    world.tell(&value);
    world.expect(STORE, "brief/c1/m1", &[content(&value), tombstone("expired")]);
    assert!(now() >= message.sent_at_ms + 12 * SECOND, "too early");
    let record = world.records(STORE, "brief/c1/m1").remove(1);
    assert_eq!(record.header("lethe-policy"), Some(policy.to_string()));
    assert_eq!(record.header("lethe-storage"), None, "it is on content alone");
}

fn recalled_are_gone_wherever_they_were(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("regret", "30d");
    for (tenant, topic) in [("regret", STORE), ("regret-out", TRANSIT)] {
        let message = Message::new(tenant, "c1", "m1", now());
        let value = message.sent(b"oh no");
        world.tell(&value);
        world.tell(&message.recalled());
        world.expect(topic, &message.key(), &[content(&value), tombstone("recalled")]);
        // What is over stays over, whatever comes late.
        world.tell(&message.delivered("bob"));
        world.tell(&message.edited(now(), b"again"));
        world.tell(&value);
        world.expect_settled(topic, &message.key(), &[content(&value), tombstone("recalled")]);
    }
}

fn recalled_or_delivered_before_they_came_never_appear(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("early", "30d");
    let stored = Message::new("early", "c1", "recalled", now());
    world.tell(&stored.recalled());
    world.tell(&stored.sent(b"too late"));
    let recalled = Message::new("early-out", "c1", "recalled", now());
    world.tell(&recalled.recalled());
    world.tell(&recalled.sent(b"too late"));
    let delivered = Message::new("early-out", "c1", "delivered", now());
    world.tell(&delivered.delivered("bob"));
    world.tell(&delivered.read("carol"));
    world.tell(&delivered.sent_as(sent_to(2), b"they have it"));
    for message in [&stored, &recalled, &delivered] {
        for topic in [STORE, TRANSIT] {
            world.expect_settled(topic, &message.key(), &[]);
        }
    }
    // One of two is not all.
    let half = Message::new("early-out", "c1", "half", now());
    world.tell(&half.delivered("bob"));
    let value = half.sent_as(sent_to(2), b"one waits");
    world.tell(&value);
    world.expect(TRANSIT, &half.key(), &[content(&value)]);
    world.tell(&half.delivered("carol"));
    world.expect(TRANSIT, &half.key(), &[content(&value), tombstone("delivered")]);
}

fn that_are_stored_are_not_ended_by_their_delivery(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("archive", "365d");
    let message = Message::new("archive", "c1", "m1", now());
    let value = message.sent(b"kept");
    for event in
        [&value, &message.delivered("bob"), &message.delivered_to_all(), &message.read("bob")]
    {
        world.tell(event);
    }
    world.expect_settled(STORE, &message.key(), &[content(&value)]);
}

fn with_a_life_of_their_own_burn(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("spy", "30d");
    let burning = |ttl_ms| lethe_proto::v1::Sent { ttl_ms, ..sent_to(1) };
    let stored = Message::new("spy", "c1", "m1", now());
    let transit = Message::new("spy-out", "c1", "m1", now());
    let over = Message::new("spy", "c1", "over", now() - HOUR);
    world.tell(&over.sent_as(burning(60 * SECOND), b"burned before it came"));
    let values =
        [&stored, &transit].map(|message| message.sent_as(burning(12 * SECOND), b"burn me"));
    for value in &values {
        world.tell(value);
    }
    world.expect(STORE, &stored.key(), &[content(&values[0]), tombstone("burned")]);
    world.expect(TRANSIT, &transit.key(), &[content(&values[1]), tombstone("burned")]);
    assert!(now() >= stored.sent_at_ms + 12 * SECOND, "too early");
    world.expect_settled(STORE, &over.key(), &[]);
    world.expect_settled(TRANSIT, &over.key(), &[]);
}

fn with_odd_ids_keep_apart(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("o/d%d", "30d");
    let ids = [("a/b", "c"), ("a", "b/c"), ("a%2Fb", "c"), ("日本", "💬 m")];
    let keys =
        ["o%2Fd%25d/a%2Fb/c", "o%2Fd%25d/a/b%2Fc", "o%2Fd%25d/a%252Fb/c", "o%2Fd%25d/日本/💬 m"];
    for ((conversation, id), key) in ids.into_iter().zip(keys) {
        let message = Message::new("o/d%d", conversation, id, now());
        let value = message.sent(key.as_bytes());
        world.tell(&value);
        world.expect(STORE, key, &[content(&value)]);
    }
}

fn written_by_kcat_arrive_for_kcat(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("kcat", "30d");
    let message = Message::new("kcat", "c1", "m1", now());
    let value = message.sent(b"by another client\x00\n");
    kcat::produce(world.broker(), &world.topic("im.messages"), 0, "k", &value, &[("trace", "7")]);
    world.expect(STORE, "kcat/c1/m1", &[content(&value)]);
    kcat::produce(world.broker(), &world.topic("im.messages"), 0, "k", &message.recalled(), &[]);
    world.expect(STORE, "kcat/c1/m1", &[content(&value), tombstone("recalled")]);
    let mut seen = kcat::consume(world.broker(), &world.topic(STORE));
    seen.retain(|(key, _)| key == "kcat/c1/m1");
    assert_eq!(seen, [("kcat/c1/m1".to_owned(), value), ("kcat/c1/m1".to_owned(), Vec::new())]);
}

fn end_once_however_often_it_is_said(version: Version) {
    let world = WORLDS.on(version);
    let message = Message::new("twice", "c1", "m1", now());
    let value = message.sent(b"once");
    for _ in 0..3 {
        world.tell(&value);
    }
    for _ in 0..3 {
        world.tell(&message.delivered("bob"));
        world.tell(&message.recalled());
    }
    world.tell(&value);
    let life = [content(&value), tombstone("delivered")];
    world.expect_settled(TRANSIT, &message.key(), &life);
}
