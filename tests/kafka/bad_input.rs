//! Input that cannot be processed goes to the dead letters, and processing goes on.

use lethe_test_support::bus::{CONTROL, DEAD_LETTERS, Put};
use lethe_test_support::event::{Message, config_set, profile_updated};
use lethe_test_support::record::Record;
use lethe_test_support::wait::eventually;

use crate::world::{SECOND, Shared, World, content, now};
use crate::{Version, on_both_brokers};

static WORLDS: Shared = Shared::new("bad-input");

/// 9999-12-31T23:59:59.999Z.
const TIME_MAX_MS: i64 = 253_402_300_799_999;
const MINUTE: i64 = 60 * SECOND;

on_both_brokers! {
    goes_to_the_dead_letters_with_one_word_and_its_source;
    at_the_limits_is_still_good;
    that_is_too_large_for_its_output_is_a_dead_letter;
    on_the_control_topic_stops_nothing;
}

/// The dead letter of an input record, once it is there.
fn dead_letter(world: &World<'_>, input: &str, partition: i32, offset: i64) -> Record {
    let source = format!("{}/{partition}/{offset}", world.topic(input));
    eventually(&format!("the dead letter of {source}"), || {
        let letters = world.read(DEAD_LETTERS);
        let is = |letter: &&Record| letter.header("lethe-source").as_ref() == Some(&source);
        let mut found: Vec<Record> = letters.iter().filter(is).cloned().collect();
        assert!(found.len() < 2, "{found:?}");
        found.pop().ok_or_else(|| format!("{letters:?}"))
    })
}

fn goes_to_the_dead_letters_with_one_word_and_its_source(version: Version) {
    let world = WORLDS.on(version);
    let at = now();
    let (long, longer) = ("t".repeat(65), "i".repeat(257));
    let message = |tenant: &str, conversation: &str, id: &str, at| {
        Message::new(tenant, conversation, id, at).sent(b"planted content")
    };
    let messages: Vec<(&str, Vec<u8>)> = vec![
        ("decode", b"\xff\xff\xff not protobuf".to_vec()),
        (
            "decode",
            message("t", "c", "m", at)
                .split_last()
                .map(|(_, rest)| rest.to_vec())
                .unwrap_or_default(),
        ),
        ("no-event", Message::new("t", "c", "m", at).without_event(b"planted content")),
        ("id", message("", "c", "m", at)),
        ("id", message("*", "c", "m", at)),
        ("id", message("lethe:t", "c", "m", at)),
        ("id", message(&long, "c", "m", at)),
        ("id", message("t", "", "m", at)),
        ("id", message("t", &longer, "m", at)),
        ("id", message("t", "c", "", at)),
        ("id", message("t", "c", &longer, at)),
        ("id", Message::new("t", "c", "m", at).delivered(&longer)),
        ("time", message("t", "c", "m", -1)),
        ("time", message("t", "c", "m", TIME_MAX_MS + 1)),
        ("time", message("t", "c", "m", at + 60 * MINUTE)),
    ];
    let versions = [
        ("im.profiles", "id", profile_updated("t", "", at, b"planted content")),
        ("im.profiles", "time", profile_updated("t", "u", at + 60 * MINUTE, b"planted content")),
        ("im.configs", "id", config_set("*", "i", at, b"planted content")),
        ("im.configs", "decode", b"\x0a".to_vec()),
    ];
    let all = messages.into_iter().map(|(error, value)| ("im.messages", error, value));
    for (input, error, value) in all.chain(versions) {
        let put =
            Put { partition: 1, key: "a key", value: Some(&value), headers: &[("trace", "9")] };
        let offset = world.put(input, put);
        let letter = dead_letter(world, input, 1, offset);
        let about = format!("{input}: {:?}", String::from_utf8_lossy(&value));
        assert_eq!(letter.header("lethe-error").as_deref(), Some(error), "{about}");
        assert_eq!(letter.key, "a key", "{about}");
        assert_eq!(letter.value, None, "{about}");
        assert!(!format!("{letter:?}").contains("planted"), "{about}");
    }
    // Everything after it is processed.
    let good = Message::new("good", "c", "m", now());
    world.send("im.messages", 1, &good.sent(b"fine"));
    world.expect("transit.messages", "good/c/m", &[content(&good.sent(b"fine"))]);
}

fn at_the_limits_is_still_good(version: Version) {
    let world = WORLDS.on(version);
    let (tenant, id) = ("t".repeat(64), "i".repeat(256));
    let message = Message::new(&tenant, &id, &id, now() + 5 * MINUTE);
    world.tell(&message.sent(b"large ids"));
    world.expect("transit.messages", &message.key(), &[content(&message.sent(b"large ids"))]);
    // Its time is long over, but it is a time: nothing is emitted, and it is no dead letter.
    let letters = world.read(DEAD_LETTERS).len();
    let ancient = Message::new("ancient", "c", "m", 0);
    let offset = world.tell(&ancient.sent(b"1970"));
    world.expect_settled("transit.messages", &ancient.key(), &[]);
    let source = format!("{}/0/{offset}", world.topic("im.messages"));
    let all = world.read(DEAD_LETTERS);
    assert!(all.len() >= letters);
    assert!(all.iter().all(|letter| letter.header("lethe-source").as_ref() != Some(&source)));
}

fn that_is_too_large_for_its_output_is_a_dead_letter(version: Version) {
    let world = World::with(version, "bad-input.large", |bus, _| {
        bus.set("im.messages", &[("max.message.bytes", "4000000")]);
        for output in ["store.messages", "transit.messages"] {
            let cleanup = if output.starts_with("store") { "compact" } else { "compact,delete" };
            let settings = [("max.message.bytes", "100000"), ("cleanup.policy", cleanup)];
            bus.create(output, bus.partitions(), &settings);
        }
    });
    let large = Message::new("t", "c", "large", now());
    let noise: Vec<u8> =
        (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let offset = world.tell(&large.sent(&noise));
    let small = Message::new("t", "c", "small", now());
    world.tell(&small.sent(b"fits"));
    world.expect("transit.messages", &small.key(), &[content(&small.sent(b"fits"))]);
    let letter = dead_letter(&world, "im.messages", 0, offset);
    assert_eq!(letter.header("lethe-error").as_deref(), Some("too-large"));
    world.expect_settled("transit.messages", &large.key(), &[]);
}

fn on_the_control_topic_stops_nothing(version: Version) {
    let world = WORLDS.on(version);
    for key in ["", "nonsense", "tenant/", "tenant/%zz", "hold/", "lethe:x", "tenant/a/b/c"] {
        world.control_bytes(key, Some(b"{}"));
    }
    world.control_bytes("erasure/e1", Some(br#"{"tenant": "t"}"#));
    world.put(CONTROL, Put { key: "tenant/t", value: Some(b"\xff\x00"), ..Put::default() });
    world.opt_in("after", "30d");
    let message = Message::new("after", "c", "m", now());
    world.tell(&message.sent(b"stored"));
    world.expect("store.messages", "after/c/m", &[content(&message.sent(b"stored"))]);
}
