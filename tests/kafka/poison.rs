//! Records made to break a reader: each is a dead letter or is refused, none stops lethe, and none is shown.

use std::collections::BTreeMap;

use lethe_test_support::bus::{CONTROL, DEAD_LETTERS, OUTPUTS, Put};
use lethe_test_support::event::{Message, config_set, profile_updated};
use lethe_test_support::wait::eventually;

use crate::world::{World, content, now};
use crate::{Version, on_both_brokers};

const MARKER: &[u8] = b"POISON-7d3e";
/// What a broker takes at most here.
const RECORD_BYTES_MAX: usize = 10 << 20;
const WORDS: [&str; 5] = ["decode", "no-event", "id", "time", "too-large"];

on_both_brokers! {
    of_every_input_is_a_dead_letter_and_stops_nothing;
    of_the_control_topic_is_refused_and_stops_nothing;
}

/// A field of length-delimited bytes, of which it may say another length.
fn field(number: u8, said: u64, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![(number & 15) << 3 | 2];
    let mut rest = said;
    while rest >= 0x80 {
        field.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    field.push(rest as u8);
    field.extend_from_slice(bytes);
    field
}

/// A group in a group, and so on.
fn nested(depth: usize) -> Vec<u8> {
    [[0xa3, 0x01].repeat(depth), [0xa4, 0x01].repeat(depth)].concat()
}

/// What no class can be told by.
fn poison(valid: &[u8]) -> Vec<Vec<u8>> {
    let mut values = vec![
        MARKER.to_vec(),
        field(1, u64::MAX, MARKER),
        field(1, u64::from(u32::MAX), MARKER),
        field(1, 1 << 62, MARKER),
        field(1, 3, b"\xff\xfe\xfd"),
        field(1, 0, b""),
        field(0, 4, b"zero"),
        [valid, &nested(10_000)].concat(),
        [valid, &[0xa3, 0x01].repeat(1_000)].concat(),
        [valid, &field(5, u64::MAX, MARKER)].concat(),
        vec![0x80; 64],
        vec![0; 64],
        b"{\"tenant\": \"POISON-7d3e\"}".to_vec(),
    ];
    // Cut off at every byte, inside lethe's fields and inside the producer's; but between them it is whole.
    let whole = valid.len() - field(16, MARKER.len() as u64, MARKER).len() - 1;
    let cuts = (0..valid.len()).filter(|&end| end != whole);
    values.extend(cuts.map(|end| valid.get(..end).unwrap_or_default().to_vec()));
    values
}

fn of_every_input_is_a_dead_letter_and_stops_nothing(version: Version) {
    let world = World::with(version, "poison.inputs", |bus, setup| {
        for input in ["im.messages", "im.profiles", "im.configs"] {
            bus.set(input, &[("max.message.bytes", "12000000")]);
        }
        // By itself lethe makes outputs that take whatever their input does.
        for output in OUTPUTS {
            let cleanup = if output.starts_with("store") { "compact" } else { "compact,delete" };
            let settings = [("max.message.bytes", "1000000"), ("cleanup.policy", cleanup)];
            bus.create(output, bus.partitions(), &settings);
        }
        setup.environment.insert("LETHE_LOG".to_owned(), "trace".to_owned());
    });
    let (at, id) = (now(), "POISON-7d3e");
    let large = noise();
    let message = Message::new(id, "c", "m", at);
    let mut sent = 0;
    for (input, valid, large) in [
        ("im.messages", message.sent(MARKER), message.sent(&large)),
        ("im.profiles", profile_updated(id, "u", at, MARKER), profile_updated(id, "u", at, &large)),
        ("im.configs", config_set(id, "i", at, MARKER), config_set(id, "i", at, &large)),
    ] {
        let mut values: Vec<Option<Vec<u8>>> = poison(&valid).into_iter().map(Some).collect();
        values.push(Some(large));
        values.push(None);
        sent += values.len();
        let put = |value: &Option<Vec<u8>>| {
            world.put(input, Put { key: id, value: value.as_deref(), ..Put::default() });
        };
        values.iter().for_each(put);
        // Headers without end make a record too large for its output as a value does.
        let header = "h".repeat(1_000);
        let headers = vec![("trace", header.as_str()); 2_000];
        world.put(input, Put { key: id, value: Some(&valid), headers: &headers, ..Put::default() });
        sent += 1;
    }
    world.settle();
    let good = Message::new("good", "c", "m", now());
    world.tell(&good.sent(b"fine"));
    world.expect("transit.messages", &good.key(), &[content(&good.sent(b"fine"))]);
    expect_letters(&world, sent);
    assert_eq!(world.lethe().places_with(MARKER), Vec::<String>::new());
}

/// Noise of the largest size that a record has here, which does not compress below a topic's limit.
fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let word = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_le_bytes()
    };
    [MARKER.to_vec(), (0..RECORD_BYTES_MAX / 8).flat_map(word).collect()].concat()
}

/// Each record has its letter, once, without its content.
fn expect_letters(world: &World<'_>, sent: usize) {
    let letters = eventually("the dead letters", || {
        let letters = world.read(DEAD_LETTERS);
        if letters.len() < sent { Err(format!("{} of {sent}", letters.len())) } else { Ok(letters) }
    });
    let mut of: BTreeMap<String, usize> = BTreeMap::new();
    for letter in letters {
        let error = letter.header("lethe-error").unwrap_or_default();
        assert!(WORDS.contains(&error.as_str()), "{error}");
        assert_eq!(letter.value, None, "{error}");
        *of.entry(letter.header("lethe-source").unwrap_or_default()).or_default() += 1;
    }
    assert_eq!((of.len(), of.values().max()), (sent, Some(&1)), "{of:?}");
}

fn of_the_control_topic_is_refused_and_stops_nothing(version: Version) {
    let world = World::with(version, "poison.control", |bus, setup| {
        let keep = "2592000000";
        bus.set(
            CONTROL,
            &[
                ("cleanup.policy", "compact"),
                ("message.timestamp.type", "LogAppendTime"),
                ("min.compaction.lag.ms", keep),
                ("delete.retention.ms", keep),
                ("max.message.bytes", "12000000"),
            ],
        );
        setup.environment.insert("LETHE_LOG".to_owned(), "trace".to_owned());
    });
    let valid = world.opt_in("tenant", "30d").to_string();
    let deep = |open: &str, close: &str| [open.repeat(50_000), close.repeat(50_000)].concat();
    let large = [b"{\"message\": \"".as_slice(), &noise()].concat();
    let bodies: [&[u8]; 8] = [
        b"POISON-7d3e",
        b"\xff\xfePOISON-7d3e",
        b"",
        b"{\"message\": {\"storage\": \"in\", \"retention\": \"POISON-7d3e\"}}",
        b"{\"POISON-7d3e\": 1}",
        &large,
        &deep("[", "]").into_bytes(),
        &deep("{\"message\":", "}").into_bytes(),
    ];
    let refused = world.lethe().metric("lethe_control_refused_total", &[]).unwrap_or(0.0);
    let mut sent = 0.0;
    for key in ["tenant/tenant", "terms/tenant", "conversation/tenant/c", "hold/h"] {
        for body in bodies {
            world.put(CONTROL, Put { key, value: Some(body), ..Put::default() });
            sent += 1.0;
        }
    }
    let long = "k".repeat(2_000_000);
    for key in
        ["", "//", "tenant/%", "tenant/%2", "tenant/%ff", "hold/\0\0/", &format!("hold/{long}")]
    {
        world.put(CONTROL, Put { key, value: Some(b"{}"), ..Put::default() });
        sent += 1.0;
    }
    world.wait_until_in_force();
    let counted = world.lethe().metric("lethe_control_refused_total", &[]).unwrap_or(0.0);
    assert!((counted - refused - sent).abs() < 0.5, "{counted} refused, {sent} sent");
    let message = Message::new("tenant", "c", "m", now());
    world.tell(&message.sent(b"stored"));
    world.expect("store.messages", &message.key(), &[content(&message.sent(b"stored"))]);
    let record = world.records("store.messages", &message.key()).remove(0);
    assert_eq!(record.header("lethe-policy"), Some(valid), "the last valid record stays");
    let said = world.lethe().said();
    assert!(!said.contains("POISON-7d3e"), "{said}");
}
