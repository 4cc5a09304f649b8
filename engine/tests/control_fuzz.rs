//! Control records at random: none panics, and what is invalid leaves the last valid one in force.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use lethe_engine::lifecycle::{Audit, Explanation};
use lethe_engine::{
    Class, ControlRecord, Effect, Effects, Engine, Event, MessageAction, MessageEvent, Origin, Sent,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use support::history::START_MS;
use support::ledger::Memory;

const KEYS: [&str; 12] = [
    "tenant/a",
    "conversation/a/c",
    "terms/a",
    "hold/1",
    "erasure/1",
    "replay/1",
    "tenant/*",
    "tenant/",
    "conversation/a",
    "hold/a/b",
    "unknown/a",
    "tenant/%41",
];
const FIELDS: [&str; 19] = [
    "message",
    "profile",
    "storage",
    "retention",
    "since",
    "effective_at",
    "transit_limit",
    "minimum",
    "maximum",
    "ended_at",
    "tenant",
    "conversation",
    "user",
    "from",
    "until",
    "reason",
    "before",
    "standing",
    "unknown",
];
const TEXTS: [&str; 20] = [
    "in",
    "out",
    "forever",
    "0s",
    "1s",
    "7d",
    "30d",
    "3650000d",
    "99999999999999999999d",
    "-1d",
    "1.5h",
    "a",
    "*",
    "",
    "lethe:",
    "2026-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999Z",
    "-009999-01-02T01:59:59Z",
    "1969-12-31T23:59:59Z",
    "2026-13-01T00:00:00Z",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => select(&TEXTS[..]).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => ".{0,300}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            5 => btree_map(select(&FIELDS[..]).prop_map(str::to_owned), inner.clone(), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            1 => vec(inner, 0..3).prop_map(Value::from),
        ]
    })
}

/// A record's value: JSON of the right words, the same broken off or with a byte changed, or anything.
fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => value().prop_map(|value| value.to_string().into_bytes()),
        1 => (value(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(value, at, byte)| {
            let mut bytes = value.to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes.splice(at..=at, [byte]);
            bytes
        }),
        1 => (value(), any::<prop::sample::Index>()).prop_map(|(value, at)| {
            let mut bytes = value.to_string().into_bytes();
            bytes.truncate(at.index(bytes.len()));
            bytes
        }),
        1 => vec(any::<u8>(), 0..64),
    ]
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => select(&KEYS[..]).prop_map(|key| key.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..40),
    ]
}

/// A partition where tenant `a` stores messages for 30 days, and one of its messages.
fn partition() -> (Engine, Memory) {
    let mut ledger = Memory::default();
    let mut engine = Engine::open(Class::Message, &mut ledger).unwrap();
    let mut effects = Effects::default();
    let choice =
        br#"{"message": {"storage": "in", "retention": "30d", "since": "2000-01-01T00:00:00Z"}}"#;
    let record = ControlRecord::parse(0, START_MS, b"tenant/a", Some(choice));
    engine.control(&mut ledger, &record, START_MS, &mut effects).unwrap();
    let action = MessageAction::Sent(Sent { sender: "u", kind: 1, recipients: 0, ttl_ms: 0 });
    let event = Event::Message(MessageEvent {
        tenant: "a",
        conversation: "c",
        message: "m",
        sent_at_ms: START_MS,
        action,
    });
    engine.apply(&mut ledger, &event, Origin::Elsewhere, START_MS, &mut effects).unwrap();
    (engine, ledger)
}

fn explain(engine: &mut Engine, ledger: &mut Memory) -> Explanation {
    engine.explain(ledger, "a", START_MS, "c/m", START_MS + 2_000).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_invalid_changes_nothing_and_what_is_valid_survives_a_restart(
        records in vec((key(), prop::option::weighted(0.9, body())), 1..4)
    ) {
        let (mut engine, mut ledger) = partition();
        for (number, (key, body)) in (1..).zip(&records) {
            let at_ms = START_MS + 1_000;
            let record = ControlRecord::parse(number, at_ms, key, body.as_deref());
            let before = explain(&mut engine, &mut ledger);
            let mut effects = Effects::default();
            engine.control(&mut ledger, &record, at_ms, &mut effects).unwrap();
            let audits: Vec<Audit> = effects.iter().filter_map(|effect| match effect {
                Effect::Audit { what, .. } => Some(what),
                Effect::Content { .. }
                | Effect::Tombstone { .. }
                | Effect::Replayed { .. }
                | Effect::Marker { .. } => None,
            }).collect();
            prop_assert_eq!(engine.control_offset(), number + 1);
            match record.refusal() {
                Some(why) => {
                    prop_assert_eq!(record.body(), None);
                    prop_assert_eq!(record.statement(), None);
                    prop_assert_eq!(audits, [Audit::ControlRefused { offset: number, why }]);
                    prop_assert_eq!(explain(&mut engine, &mut ledger), before);
                }
                None => {
                    prop_assert!(record.in_force_at_ms() >= record.written_at_ms());
                    prop_assert!(!audits.is_empty());
                }
            }
            let decided = explain(&mut engine, &mut ledger);
            engine.flush(&mut ledger);
            ledger.commit();
            engine = Engine::open(Class::Message, &mut ledger).unwrap();
            prop_assert_eq!(explain(&mut engine, &mut ledger), decided, "after a restart");
        }
    }
}
