//! Content goes from input to output and nowhere else.

use lethe_test_support::event::{Message, config_set, profile_updated};
use lethe_test_support::lethe::Lethe;
use lethe_test_support::search;

use crate::world::{World, content, now, stored};
use crate::{Version, on_both_brokers};

const MARKER: &[u8] = b"PLANTED-CONTENT-5f3a";
const RECIPIENT: &str = "recipient-9c41";

on_both_brokers! {
    content_is_found_in_no_file_log_or_page;
    users_are_not_named_above_the_debug_level;
}

fn content_is_found_in_no_file_log_or_page(version: Version) {
    let world = World::with(version, "privacy.content", |bus, setup| {
        bus.control("tenant/in", &stored("30d"));
        bus.set("im.messages", &[("max.message.bytes", "4000000")]);
        setup.environment.insert("LETHE_LOG".to_owned(), "trace".to_owned());
    });
    plant(&world);
    // The search would find it: it is where it belongs, and there are files to search.
    let seen = world.read("store.messages");
    let holds = |value: &Vec<u8>| search::contains(value, MARKER);
    assert!(seen.iter().any(|record| record.value.as_ref().is_some_and(holds)), "{seen:?}");
    expect_nowhere(&world.lethe());
    // What a crash leaves behind, and what the next process writes when it stops.
    world.lethe().kill();
    expect_nowhere(&world.lethe());
    world.start_again();
    plant(&world);
    assert!(world.lethe().terminate().success());
    expect_nowhere(&world.lethe());
    let (files, bytes) = search::extent(&world.setup.data);
    assert!(files > 0 && bytes > 0, "there was nothing to search");
}

/// Content by every way in, good and bad.
fn plant(world: &World<'_>) {
    let (at, id) = (now(), now().to_string());
    for tenant in ["in", "out"] {
        let message = Message::new(tenant, "c", &id, at);
        let value = message.sent(MARKER);
        let topic = if tenant == "in" { "store.messages" } else { "transit.messages" };
        world.tell(&value);
        world.tell(&message.edited(at + 1, &[MARKER, b" edited"].concat()));
        let edited = message.edited(at + 1, &[MARKER, b" edited"].concat());
        world.expect(topic, &message.key(), &[content(&value), content(&edited)]);
        world.send("im.profiles", 0, &profile_updated(tenant, &id, at, MARKER));
        world.send("im.configs", 0, &config_set(tenant, &id, at, MARKER));
        world.tell(&message.recalled());
    }
    world.tell(&[b"\xff\xff".as_slice(), MARKER].concat());
    world.tell(&Message::new("", "c", "m", at).sent(MARKER));
    world.tell(&Message::new("t", "c", "large", at).sent(&MARKER.repeat(100_000)));
    world.settle();
}

fn expect_nowhere(lethe: &Lethe) {
    assert_eq!(lethe.places_with(MARKER), Vec::<String>::new());
}

fn users_are_not_named_above_the_debug_level(version: Version) {
    let world = World::new(version, "privacy.users");
    let message = Message::new("t", "c", "m", now());
    world.tell(&message.sent(b"x"));
    world.tell(&message.delivered(RECIPIENT));
    world.tell(&message.read(RECIPIENT));
    world.tell(&Message::new("", "c", "m", now()).delivered(RECIPIENT));
    world.settle();
    assert!(world.lethe().terminate().success());
    let said = world.lethe().said();
    assert!(!said.is_empty(), "it says that it starts and stops");
    for user in [RECIPIENT, "alice"] {
        assert!(!said.contains(user), "{user} in\n{said}");
    }
}
