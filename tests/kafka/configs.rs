//! Config items: kept while their tenant is in use, and gone two calendar months after that.

use lethe_test_support::event::{Message, config_removed, config_set, profile_updated};
use serde_json::json;

use crate::world::{DAY, Shared, content, now, stored, text, tombstone};
use crate::{Version, on_both_brokers};

static WORLDS: Shared = Shared::new("configs");

const IN: &str = "im.configs";
const STORE: &str = "store.configs";

on_both_brokers! {
    stay_while_their_tenant_is_in_use;
    newest_wins_and_removed_wins_a_tie;
    go_two_months_after_the_end_and_everything_else_with_them;
    do_not_go_before_two_months_have_passed;
}

fn stay_while_their_tenant_is_in_use(version: Version) {
    let world = WORLDS.on(version);
    let value = config_set("used", "callback/url", now() - 400 * DAY, b"https://example.org/hook");
    world.send(IN, 1, &value);
    world.expect(STORE, "used/callback%2Furl", &[content(&value)]);
    let record = world.records(STORE, "used/callback%2Furl").remove(0);
    assert_eq!(record.partition, 1);
    assert_eq!(record.header("lethe-storage").as_deref(), Some("in"));
    assert_eq!(record.header("lethe-retention").as_deref(), Some("forever"));
    assert_eq!(record.header("lethe-expires-at"), None);
    assert_eq!(record.header("lethe-policy").as_deref(), Some("default"));
}

fn newest_wins_and_removed_wins_a_tie(version: Version) {
    let world = WORLDS.on(version);
    let at = now();
    let first = config_set("items", "i1", at, b"first");
    let second = config_set("items", "i1", at + 1, b"second");
    for value in [&first, &second, &config_set("items", "i1", at, b"late")] {
        world.send(IN, 0, value);
    }
    world.send(IN, 0, &config_removed("items", "i1", at + 1));
    world.send(IN, 0, &config_set("items", "i1", at + 1, b"an equal"));
    let life = [content(&first), content(&second), tombstone("removed")];
    world.expect_settled(STORE, "items/i1", &life);
}

fn go_two_months_after_the_end_and_everything_else_with_them(version: Version) {
    let world = WORLDS.on(version);
    world.say("tenant/ended", &stored("3650d"));
    let item = config_set("ended", "i1", now() - 200 * DAY, b"item");
    world.send(IN, 0, &item);
    world.expect(STORE, "ended/i1", &[content(&item)]);
    let message = Message::new("ended", "c1", "m1", now() - 100 * DAY);
    let sent = message.sent(b"message");
    world.tell(&sent);
    world.expect("store.messages", &message.key(), &[content(&sent)]);
    let profile = profile_updated("ended", "u1", now() - 100 * DAY, b"profile");
    world.send("im.profiles", 0, &profile);
    world.expect("store.profiles", "ended/u1", &[content(&profile)]);

    let ended_at = text(now() - 70 * DAY);
    let policy = world.control("terms/ended", &json!({"ended_at": ended_at}));
    world.expect(STORE, "ended/i1", &[content(&item), tombstone("ended")]);
    world.expect("store.messages", &message.key(), &[content(&sent), tombstone("ended")]);
    world.expect("store.profiles", "ended/u1", &[content(&profile), tombstone("ended")]);
    let record = world.records(STORE, "ended/i1").remove(1);
    assert_eq!(record.header("lethe-policy"), Some(policy.to_string()));

    // Late events revive nothing.
    world.send(IN, 0, &item);
    world.send(IN, 0, &config_set("ended", "i1", now() - 60 * DAY, b"late"));
    world.expect_settled(STORE, "ended/i1", &[content(&item), tombstone("ended")]);
}

fn do_not_go_before_two_months_have_passed(version: Version) {
    let world = WORLDS.on(version);
    let item = config_set("ending", "i1", now() - 200 * DAY, b"item");
    world.send(IN, 0, &item);
    world.expect(STORE, "ending/i1", &[content(&item)]);
    world.control("terms/ending", &json!({"ended_at": text(now() - 57 * DAY)}));
    // Another tenant's end, said later, shows that the former has been applied.
    let witness = config_set("ended-before", "i1", now() - 200 * DAY, b"witness");
    world.send(IN, 0, &witness);
    world.control("terms/ended-before", &json!({"ended_at": text(now() - 63 * DAY)}));
    world.expect(STORE, "ended-before/i1", &[content(&witness), tombstone("ended")]);
    world.expect_settled(STORE, "ending/i1", &[content(&item)]);
}
