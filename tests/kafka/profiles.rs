//! Profiles: the newest version counts, and retention counts from it.

use lethe_test_support::event::{profile_removed, profile_updated};
use serde_json::json;

use crate::world::{HOUR, SECOND, Shared, Step, content, now, tombstone};
use crate::{Version, on_both_brokers};

static WORLDS: Shared = Shared::new("profiles");

const IN: &str = "im.profiles";
const STORE: &str = "store.profiles";
const TRANSIT: &str = "transit.profiles";

on_both_brokers! {
    newest_wins_and_the_first_of_equals;
    removed_wins_a_tie_and_a_newer_update_comes_back;
    of_an_opted_out_tenant_pass_until_the_transit_limit;
    end_when_their_tenant_opts_out;
    move_when_their_tenant_opts_in;
    expire_counting_from_the_last_update;
}

fn newest_wins_and_the_first_of_equals(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("newest", "365d");
    let at = now();
    let first = profile_updated("newest", "u1", at, b"first");
    let second = profile_updated("newest", "u1", at + 10, b"second");
    world.send(IN, 1, &first);
    world.send(IN, 1, &second);
    world.send(IN, 1, &profile_updated("newest", "u1", at + 10, b"an equal"));
    world.send(IN, 1, &profile_updated("newest", "u1", at + 5, b"late"));
    world.send(IN, 1, &second);
    world.expect_settled(STORE, "newest/u1", &[content(&first), content(&second)]);
    assert!(world.records(STORE, "newest/u1").iter().all(|record| record.partition == 1));
    world.expect_settled(TRANSIT, "newest/u1", &[]);
}

fn removed_wins_a_tie_and_a_newer_update_comes_back(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("ties", "365d");
    let at = now();
    let first = profile_updated("ties", "u1", at, b"first");
    world.send(IN, 0, &first);
    world.send(IN, 0, &profile_removed("ties", "u1", at));
    world.send(IN, 0, &profile_updated("ties", "u1", at, b"an equal"));
    world.send(IN, 0, &profile_removed("ties", "u1", at));
    let mut life = vec![content(&first), tombstone("removed")];
    world.expect_settled(STORE, "ties/u1", &life);
    let newer = profile_updated("ties", "u1", at + 1, b"back again");
    world.send(IN, 0, &newer);
    life.push(content(&newer));
    world.expect_settled(STORE, "ties/u1", &life);
    // A removal before its time: nothing older ever appears.
    world.send(IN, 0, &profile_removed("ties", "u2", at));
    world.send(IN, 0, &profile_updated("ties", "u2", at - 1, b"older"));
    world.expect_settled(STORE, "ties/u2", &[]);
}

fn of_an_opted_out_tenant_pass_until_the_transit_limit(version: Version) {
    let world = WORLDS.on(version);
    world.terms("passing", &json!({"transit_limit": "12s"}));
    let at = now();
    let value = profile_updated("passing", "u1", at, b"avatar");
    world.send(IN, 0, &value);
    world.expect(TRANSIT, "passing/u1", &[content(&value), tombstone("undelivered")]);
    assert!(now() >= at + 12 * SECOND, "too early");
    world.expect_settled(STORE, "passing/u1", &[]);
}

fn end_when_their_tenant_opts_out(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("leaving", "365d");
    let value = profile_updated("leaving", "u1", now(), b"avatar");
    world.send(IN, 0, &value);
    world.expect(STORE, "leaving/u1", &[content(&value)]);
    let only_messages = json!({"message": {"storage": "in"}});
    let policy = world.control("tenant/leaving", &only_messages);
    world.expect(STORE, "leaving/u1", &[content(&value), tombstone("opted-out")]);
    let record = world.records(STORE, "leaving/u1").remove(1);
    assert_eq!(record.header("lethe-policy"), Some(policy.to_string()));
}

fn move_when_their_tenant_opts_in(version: Version) {
    let world = WORLDS.on(version);
    let first = profile_updated("moving", "u1", now(), b"first");
    world.send(IN, 0, &first);
    world.expect(TRANSIT, "moving/u1", &[content(&first)]);
    world.opt_in("moving", "365d");
    let second = profile_updated("moving", "u1", now(), b"second");
    world.send(IN, 0, &second);
    world.expect(STORE, "moving/u1", &[content(&second)]);
    let life = world.life(TRANSIT, "moving/u1");
    assert!(matches!(life.as_slice(), [Step::Content(_), Step::Tombstone(_)]), "{life:?}");
}

fn expire_counting_from_the_last_update(version: Version) {
    let world = WORLDS.on(version);
    world.opt_in("fading", "1h");
    let at = now();
    let old = profile_updated("fading", "u1", at - HOUR + 12 * SECOND, b"old");
    let renewed = profile_updated("fading", "u2", at - HOUR + 12 * SECOND, b"old too");
    let renewal = profile_updated("fading", "u2", at, b"renewed");
    for value in [&old, &renewed, &renewal] {
        world.send(IN, 0, value);
    }
    world.expect(STORE, "fading/u1", &[content(&old), tombstone("expired")]);
    world.expect_settled(STORE, "fading/u2", &[content(&renewed), content(&renewal)]);
}
