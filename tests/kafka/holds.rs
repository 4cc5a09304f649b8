//! Holds: what they cover is not tombstoned until they are withdrawn, and not overwritten.

use lethe_test_support::event::Message;
use serde_json::json;

use crate::world::{DAY, Shared, World, content, now, stored, tombstone};
use crate::{Version, on_both_brokers};

static WORLDS: Shared = Shared::new("holds");

const STORE: &str = "store.messages";
const TRANSIT: &str = "transit.messages";

on_both_brokers! {
    stop_what_ends_and_let_it_go_when_they_are_withdrawn;
    cover_their_scope_alone_and_what_they_cover_is_not_overwritten;
    of_every_tenant_are_the_emergency_stop;
}

fn stop_what_ends_and_let_it_go_when_they_are_withdrawn(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("held", "30d");
    world.opt_in("free", "30d");
    let aged = |tenant| Message::new(tenant, "c1", "aged", now() - 3 * DAY);
    let recalled = |tenant| Message::new(tenant, "c1", "recalled", now());
    let of = |tenant| [(aged(tenant), "expired"), (recalled(tenant), "recalled")];
    let (held, free) = (of("held"), of("free"));
    for (message, _) in held.iter().chain(&free) {
        world.tell(&message.sent(b"evidence"));
        world.expect(STORE, &message.key(), &[content(&message.sent(b"evidence"))]);
    }
    world.say("hold/case-1", &json!({"tenant": "held", "reason": "a case"}));
    for [_, (message, _)] in [&held, &free] {
        world.tell(&message.recalled());
    }
    world.control("tenant/held", &stored("2d"));
    world.say("tenant/free", &stored("2d"));
    for (message, reason) in &free {
        let life = [content(&message.sent(b"evidence")), tombstone(reason)];
        world.expect(STORE, &message.key(), &life);
    }
    for (message, _) in &held {
        world.expect_settled(STORE, &message.key(), &[content(&message.sent(b"evidence"))]);
    }
    world.withdraw("hold/case-1");
    for (message, reason) in &held {
        let life = [content(&message.sent(b"evidence")), tombstone(reason)];
        world.expect(STORE, &message.key(), &life);
    }
}

fn cover_their_scope_alone_and_what_they_cover_is_not_overwritten(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("scoped", "30d");
    let at = now() - DAY;
    let held = Message::new("scoped", "c1", "m1", at);
    let free = Message::new("scoped", "c2", "m1", at);
    world.say("hold/scoped", &json!({"tenant": "scoped", "conversation": "c1"}));
    for message in [&held, &free] {
        world.tell(&message.sent(b"first"));
        world.expect(STORE, &message.key(), &[content(&message.sent(b"first"))]);
    }
    let edit = held.edited(at + 10, b"second");
    world.tell(&edit);
    let version_key = format!("{}/{}", held.key(), at + 10);
    world.expect(STORE, &version_key, &[content(&edit)]);
    world.say("erasure/scoped", &json!({"tenant": "scoped"}));
    let life = |message: &Message| [content(&message.sent(b"first")), tombstone("erased")];
    world.expect(STORE, &free.key(), &life(&free));
    world.expect_settled(STORE, &held.key(), &[content(&held.sent(b"first"))]);
    world.withdraw("hold/scoped");
    world.expect(STORE, &held.key(), &life(&held));
    world.expect(STORE, &version_key, &[content(&edit), tombstone("erased")]);
}

/// It stops every tenant, so it has a lethe of its own.
fn of_every_tenant_are_the_emergency_stop(version: Version) {
    let world = World::new(version, "holds.stop");
    world.opt_in("kept", "30d");
    let kept = Message::new("kept", "c1", "m1", now());
    let passing = Message::new("passing", "c1", "m1", now());
    for message in [&kept, &passing] {
        world.tell(&message.sent(b"here"));
    }
    world.say("hold/stop", &json!({"tenant": "*", "reason": "stop"}));
    world.tell(&kept.recalled());
    world.tell(&passing.delivered("bob"));
    world.say("tenant/kept", &json!({}));
    world.settle();
    for topic in [STORE, TRANSIT] {
        let records = world.read(topic);
        assert!(records.iter().all(|record| record.value.is_some()), "{records:?}");
    }
    world.withdraw("hold/stop");
    let life = [content(&passing.sent(b"here")), tombstone("delivered")];
    world.expect(TRANSIT, &passing.key(), &life);
    world.expect(STORE, &kept.key(), &[content(&kept.sent(b"here")), tombstone("recalled")]);
}
