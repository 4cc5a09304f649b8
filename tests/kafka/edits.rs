//! Edits: the newest version is the message's content.

use lethe_test_support::event::{Message, sent_to};

use crate::world::{Shared, content, now, tombstone};
use crate::{Version, on_both_brokers};

static WORLDS: Shared = Shared::new("edits");

const STORE: &str = "store.messages";
const TRANSIT: &str = "transit.messages";

on_both_brokers! {
    replace_the_content_and_the_highest_time_wins;
    of_messages_in_transit_replace_them_there;
    that_carry_the_original_stand_for_a_message_not_known_yet;
    of_what_is_unknown_are_dropped;
}

fn replace_the_content_and_the_highest_time_wins(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("editor", "30d");
    let message = Message::new("editor", "c1", "m1", now());
    let at = message.sent_at_ms;
    let (original, second) = (message.sent(b"first"), message.edited(at + 20, b"second"));
    let third = message.edited(at + 30, b"third");
    world.tell(&original);
    world.tell(&second);
    world.tell(&message.edited(at + 10, b"older than the second"));
    world.tell(&message.edited(at + 20, b"as old as the second, but later"));
    world.tell(&third);
    world.tell(&third);
    let life = [content(&original), content(&second), content(&third)];
    world.expect_settled(STORE, &message.key(), &life);
    let tags = world.records(STORE, &message.key()).remove(1);
    assert_eq!(tags.header("lethe-storage").as_deref(), Some("in"));
    world.tell(&message.recalled());
    let life = [life.as_slice(), &[tombstone("recalled")]].concat();
    world.expect(STORE, &message.key(), &life);
}

fn of_messages_in_transit_replace_them_there(version: Version) {
    let world = WORLDS.on(version);
    let message = Message::new("editor-out", "c1", "m1", now());
    let (original, edit) = (message.sent(b"frist"), message.edited(now(), b"first"));
    world.tell(&original);
    world.tell(&edit);
    world.tell(&message.delivered("bob"));
    let life = [content(&original), content(&edit), tombstone("delivered")];
    world.expect(TRANSIT, &message.key(), &life);
    world.expect_settled(STORE, &message.key(), &[]);
}

fn that_carry_the_original_stand_for_a_message_not_known_yet(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("standing", "30d");
    for (tenant, topic) in [("standing", STORE), ("standing-out", TRANSIT)] {
        let message = Message::new(tenant, "c1", "m1", now());
        let edit = message.edited_carrying(now(), sent_to(1), b"the better words");
        world.tell(&edit);
        world.expect(topic, &message.key(), &[content(&edit)]);
        world.tell(&message.sent(b"the former words"));
        world.expect_settled(topic, &message.key(), &[content(&edit)]);
    }
}

fn of_what_is_unknown_are_dropped(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("hasty", "30d");
    let message = Message::new("hasty", "c1", "m1", now());
    world.tell(&message.edited(now(), b"of what?"));
    world.expect_settled(STORE, &message.key(), &[]);
    let value = message.sent(b"of this");
    world.tell(&value);
    world.expect_settled(STORE, &message.key(), &[content(&value)]);
}
