//! Control records: what is valid, what is refused, and what comes of each.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use lethe_engine::lifecycle::Audit;
use lethe_engine::{Class, ControlRecord, Effect, Effects, Engine, Origin, Storage};
use support::history::{START_MS, with_times};
use support::ledger::Memory;

fn parse(key: &str, value: &str) -> ControlRecord {
    let text = with_times(value);
    ControlRecord::parse(7, START_MS, key.as_bytes(), (value != "null").then_some(text.as_bytes()))
}

#[track_caller]
fn valid(key: &str, values: &[&str]) {
    for value in values {
        assert_eq!(parse(key, value).refusal(), None, "{key} {value}");
    }
}

#[track_caller]
fn refused(key: &str, values: &[&str]) {
    for value in values {
        let record = parse(key, value);
        let why = record.refusal().unwrap_or_else(|| panic!("accepted: {key} {value}"));
        assert!(!why.is_empty());
    }
}

#[test]
fn a_record_keeps_where_it_was() {
    let record = parse("tenant/a", "null");
    assert_eq!((record.offset(), record.written_at_ms(), record.key()), (7, START_MS, "tenant/a"));
}

#[test]
fn bytes_that_no_client_means_are_refused_and_not_carried_about() {
    let long = format!("hold/{}", "k".repeat(1_000_000));
    let keys: [&[u8]; 6] =
        [b"", b"tenant/\xff\xfe", b"tenant/\0/\0", b"\xff", b"tenant/%ff", long.as_bytes()];
    for key in keys {
        let record = ControlRecord::parse(7, START_MS, key, Some(b"{}"));
        assert!(record.refusal().is_some(), "{key:?}");
        assert!(record.key().len() < 10_000, "{}", record.key().len());
    }
    for body in
        ["[".repeat(100_000), "{\"message\":".repeat(5_000), "\"".to_owned(), "\0".to_owned()]
    {
        for key in ["tenant/a", "terms/a", "conversation/a/c", "hold/h", "erasure/e", "replay/r"] {
            let record = ControlRecord::parse(7, START_MS, key.as_bytes(), Some(body.as_bytes()));
            assert!(record.refusal().is_some(), "{key}");
        }
    }
}

#[test]
fn a_tenants_choice() {
    valid(
        "tenant/a",
        &[
            "null",
            "{}",
            r#"{"message": {"storage": "in"}}"#,
            r#"{"message": {"storage": "out"}}"#,
            r#"{"message": {"storage": "in", "retention": "30d", "since": "@0"}, "profile": {"storage": "in", "retention": "365d"}}"#,
            r#"{"message": {"storage": "in", "retention": "forever"}}"#,
            r#"{"message": {"storage": "in"}, "effective_at": "@5"}"#,
        ],
    );
}

#[test]
fn a_choice_that_contradicts_itself() {
    refused(
        "tenant/a",
        &[
            r#"{"message": {"storage": "out", "retention": "30d"}}"#,
            r#"{"message": {"retention": "30d"}}"#,
            r#"{"message": {"storage": "maybe"}}"#,
            r#"{"message": {"storage": true}}"#,
        ],
    );
}

#[test]
fn what_is_read_again() {
    valid(
        "replay/1",
        &[
            r#"{"source": "im.messages", "mode": "missing"}"#,
            r#"{"source": "old-bus_1", "class": "message", "mode": "refresh"}"#,
            r#"{"source": "a", "from": "@0", "to": "@5", "mode": "missing"}"#,
            r#"{"source": "a", "from": 3, "to": 3, "mode": "missing"}"#,
            r#"{"source": "a", "from": {"0": 123, "1": 0}, "to": {"0": 124}, "mode": "missing"}"#,
            r#"{"source": "a", "from": "@0", "to": 5, "mode": "missing"}"#,
            r#"{"source": "a", "tenants": ["a", "b"], "rate": 1, "dry_run": true, "paused": true, "mode": "missing"}"#,
        ],
    );
    refused(
        "replay/1",
        &[
            r#"{"mode": "missing"}"#,
            r#"{"source": "a"}"#,
            r#"{"source": "", "mode": "missing"}"#,
            r#"{"source": "a b", "mode": "missing"}"#,
            r#"{"source": "..", "mode": "missing"}"#,
            r#"{"source": "a", "mode": "all"}"#,
            r#"{"source": "a", "mode": "missing", "class": "log"}"#,
            r#"{"source": "a", "mode": "missing", "from": "yesterday"}"#,
            r#"{"source": "a", "mode": "missing", "from": -1}"#,
            r#"{"source": "a", "mode": "missing", "from": {"00": 1}}"#,
            r#"{"source": "a", "mode": "missing", "from": {"-1": 1}}"#,
            r#"{"source": "a", "mode": "missing", "from": {"0": -1}}"#,
            r#"{"source": "a", "mode": "missing", "from": 5, "to": 4}"#,
            r#"{"source": "a", "mode": "missing", "from": "@5", "to": "@4"}"#,
            r#"{"source": "a", "mode": "missing", "from": {"1": 5}, "to": {"1": 4}}"#,
            r#"{"source": "a", "mode": "missing", "tenants": []}"#,
            r#"{"source": "a", "mode": "missing", "tenants": ["*"]}"#,
            r#"{"source": "a", "mode": "missing", "rate": 0}"#,
            r#"{"source": "a", "mode": "missing", "rate": -1}"#,
            r#"{"source": "a", "mode": "missing", "until": 5}"#,
        ],
    );
}

#[test]
fn unknown_fields_are_errors() {
    refused(
        "tenant/a",
        &[
            r#"{"messages": {"storage": "in"}}"#,
            r#"{"message": {"storage": "in", "retain": "30d"}}"#,
            r#"{"config": {"storage": "in"}}"#,
        ],
    );
    refused("conversation/a/c", &[r#"{"retention": "1d", "storage": "in"}"#]);
    refused("terms/a", &[r#"{"transit_limits": "1d"}"#]);
    refused("hold/1", &[r#"{"tenant": "a", "to": "@5"}"#]);
}

#[test]
fn what_is_no_json_object() {
    for key in ["tenant/a", "conversation/a/c", "terms/a", "hold/1", "erasure/1"] {
        refused(key, &["", "nonsense", "[]", "7", "\"in\"", "{", r#"{} {}"#]);
    }
}

#[test]
fn durations_are_text() {
    let with = |duration: &str| format!("{{\"retention\": {duration}}}");
    for duration in ["\"90s\"", "\"15m\"", "\"36h\"", "\"7d\"", "\"forever\""] {
        valid("conversation/a/c", &[&with(duration)]);
    }
    for duration in [
        "\"\"",
        "\"7\"",
        "\"d\"",
        "\"-1d\"",
        "\"+1d\"",
        "\"1.5h\"",
        "\"1w\"",
        "\"7 d\"",
        "\" 7d\"",
        "\"7D\"",
        "7",
        "null",
        "\"1d12h\"",
        "\"99999999999999999999d\"",
        "\"9223372036854775807d\"",
        "\"Forever\"",
    ] {
        refused("conversation/a/c", &[&with(duration)]);
    }
}

#[test]
fn a_conversations_retention() {
    valid(
        "conversation/a/c",
        &["null", r#"{"retention": "1d"}"#, r#"{"retention": "1d", "effective_at": "@5"}"#],
    );
    refused("conversation/a/c", &["{}", r#"{"effective_at": "@5"}"#]);
}

#[test]
fn an_operators_terms() {
    valid(
        "terms/a",
        &[
            "null",
            "{}",
            r#"{"transit_limit": "24h", "minimum": "0s", "maximum": "3650d", "ended_at": "@0"}"#,
            r#"{"maximum": "forever"}"#,
            r#"{"transit_limit": "1h", "effective_at": "@5"}"#,
        ],
    );
    refused("terms/a", &[r#"{"ended_at": "yesterday"}"#, r#"{"minimum": 0}"#]);
}

#[test]
fn times_are_rfc_3339() {
    let with = |time: &str| format!("{{\"ended_at\": \"{time}\"}}");
    for time in ["2026-01-01T00:00:00Z", "2026-01-01T08:00:00+08:00", "2026-01-01T00:00:00.5Z"] {
        valid("terms/a", &[&with(time)]);
    }
    for time in
        ["2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", "1767225600", "tomorrow", ""]
    {
        refused("terms/a", &[&with(time)]);
    }
}

#[test]
fn a_hold_and_its_scope() {
    valid(
        "hold/case-1",
        &[
            "null",
            r#"{"tenant": "a"}"#,
            r#"{"tenant": "*", "reason": "stop"}"#,
            r#"{"tenant": "a", "conversation": "c", "message": "m", "reason": "a court"}"#,
            r#"{"tenant": "a", "user": "bob", "from": "@0", "until": "@9", "reason": "a court"}"#,
        ],
    );
    refused(
        "hold/case-1",
        &[
            "{}",
            r#"{"reason": "a court"}"#,
            r#"{"tenant": "a", "message": "m"}"#,
            r#"{"tenant": ""}"#,
            r#"{"tenant": "a", "from": "now"}"#,
            r#"{"tenant": "a", "from": "@5", "until": "@4"}"#,
            r#"{"tenant": "a", "user": ""}"#,
            r#"{"tenant": "a", "effective_at": "@9"}"#,
            r#"{"tenant": "*", "conversation": "c"}"#,
            r#"{"tenant": "*", "from": "@0"}"#,
        ],
    );
}

#[test]
fn an_erasure_and_its_scope() {
    valid(
        "erasure/request-1",
        &[
            "null",
            r#"{"tenant": "a"}"#,
            r#"{"tenant": "a", "user": "bob", "before": "@5"}"#,
            r#"{"tenant": "a", "user": "bob", "standing": true}"#,
            r#"{"tenant": "a", "conversation": "c", "message": "m", "standing": false}"#,
        ],
    );
    refused(
        "erasure/request-1",
        &[
            "{}",
            r#"{"tenant": "*"}"#,
            r#"{"tenant": "a", "message": "m"}"#,
            r#"{"tenant": "a", "before": "@5", "standing": true}"#,
            r#"{"tenant": "a", "before": "soon"}"#,
            r#"{"tenant": "a", "standing": "yes"}"#,
            r#"{"tenant": "a", "reason": "asked"}"#,
        ],
    );
}

#[test]
fn keys_have_their_shape() {
    refused("", &["null"]);
    for key in [
        "tenant",
        "tenant/",
        "tenant/a/b",
        "tenants/a",
        "conversation/a",
        "conversation/a/",
        "conversation//c",
        "terms/",
        "hold/",
        "hold",
        "policy/a",
        "tenant/*",
        "tenant/lethe:a",
        "/a",
    ] {
        refused(key, &["null"]);
    }
}

#[test]
fn parts_of_keys_are_encoded_in_one_way_alone() {
    valid("tenant/a%2Fb", &["null"]);
    valid("tenant/a%25b", &["null"]);
    valid("tenant/über", &["null"]);
    valid("conversation/a%2Fb/c%25", &["null"]);
    // Another encoding of the same id would be another key of the topic, and compaction would keep both.
    for key in [
        "tenant/a%2fb",
        "tenant/%61",
        "tenant/a%",
        "tenant/a%2",
        "tenant/a%zz",
        "tenant/a%FF",
        "tenant/%C3%BCber",
    ] {
        refused(key, &["null"]);
    }
    let record = ControlRecord::parse(1, START_MS, b"tenant/\xff", None);
    assert!(record.refusal().is_some());
}

#[test]
fn ids_have_limits() {
    valid(&format!("tenant/{}", "t".repeat(64)), &["null"]);
    refused(&format!("tenant/{}", "t".repeat(65)), &["null"]);
    valid(&format!("conversation/a/{}", "c".repeat(256)), &[r#"{"retention": "1d"}"#]);
    refused(&format!("conversation/a/{}", "c".repeat(257)), &[r#"{"retention": "1d"}"#]);
    // Encoded, an id is longer than itself.
    valid(&format!("tenant/{}", "%2F".repeat(64)), &["null"]);
}

/// What is wrong is said without saying what was there.
#[test]
fn a_refusal_has_no_content() {
    let record = parse("tenant/a", r#"{"message": {"storage": "in"}, "planted": "secret"}"#);
    let why = record.refusal().unwrap();
    assert!(!why.contains("planted") && !why.contains("secret"), "{why}");
}

/// Applies records in turn, and collects what is reported of them.
fn audits(records: &[ControlRecord]) -> Vec<(String, Audit)> {
    let mut ledger = Memory::default();
    let mut engine = Engine::open(Class::Message, &mut ledger).unwrap();
    let mut effects = Effects::default();
    for record in records {
        engine.control(&mut ledger, record, START_MS + 1_000, &mut effects).unwrap();
    }
    let audits = effects.iter().filter_map(|effect| match effect {
        Effect::Audit { key, what } => Some((key.to_owned(), what)),
        Effect::Content { .. }
        | Effect::Tombstone { .. }
        | Effect::Replayed { .. }
        | Effect::Marker { .. } => None,
    });
    audits.collect()
}

#[track_caller]
fn audited(key: &str, value: &str, what: Audit) {
    let audits = audits(&[parse(key, value)]);
    assert!(audits.iter().any(|audit| audit.1 == what), "{key} {value}: {audits:?}");
}

#[test]
fn every_record_is_reported() {
    audited("tenant/a", r#"{"message": {"storage": "in"}}"#, Audit::ControlInForce { offset: 7 });
    audited("hold/1", r#"{"tenant": "a"}"#, Audit::HoldInForce { offset: 7 });
    let released = ControlRecord::parse(8, START_MS, b"hold/1", None);
    let reports = audits(&[parse("hold/1", r#"{"tenant": "a"}"#), released]);
    assert_eq!(reports.last().map(|report| report.1), Some(Audit::HoldReleased { offset: 8 }));
    let effective_at_ms = START_MS + 5_000;
    audited(
        "tenant/a",
        r#"{"effective_at": "@5"}"#,
        Audit::ControlWaiting { offset: 7, effective_at_ms },
    );
    audited("erasure/1", r#"{"tenant": "a"}"#, Audit::ControlInForce { offset: 7 });
    audited(
        "replay/1",
        r#"{"source": "a", "mode": "missing"}"#,
        Audit::ControlInForce { offset: 7 },
    );
    let record = parse("tenant/a", "nonsense");
    audited(
        "tenant/a",
        "nonsense",
        Audit::ControlRefused { offset: 7, why: record.refusal().unwrap() },
    );
}

#[test]
fn a_record_is_applied_once() {
    let record = parse("tenant/a", r#"{"message": {"storage": "in"}}"#);
    assert_eq!(audits(&[record.clone(), record.clone()]), audits(&[record]));
}

/// The tags say what the policy of the moment gives a record, and which record of the control topic said so.
#[test]
fn content_carries_its_policy() {
    use lethe_engine::{Event, MessageAction, MessageEvent, Sent, Tags};
    let mut ledger = Memory::default();
    let mut engine = Engine::open(Class::Message, &mut ledger).unwrap();
    let mut tags = |record: Option<ControlRecord>, tenant: &str| {
        let mut effects = Effects::default();
        if let Some(record) = record {
            engine.control(&mut ledger, &record, START_MS, &mut effects).unwrap();
            effects.clear();
        }
        let sent = Sent { sender: "alice", kind: 1, recipients: 1, ttl_ms: 0 };
        let event = Event::Message(MessageEvent {
            tenant,
            conversation: "c/1",
            message: "100%",
            sent_at_ms: START_MS,
            action: MessageAction::Sent(sent),
        });
        engine.apply(&mut ledger, &event, Origin::Elsewhere, START_MS, &mut effects).unwrap();
        let content = effects.iter().find_map(|effect| match effect {
            Effect::Content { storage, key, tags } => Some((storage, key.to_owned(), tags)),
            Effect::Tombstone { .. }
            | Effect::Audit { .. }
            | Effect::Replayed { .. }
            | Effect::Marker { .. } => None,
        });
        content.unwrap()
    };
    let day = 24 * 3_600_000;
    let expected = |days: i64, policy| Tags {
        retention_ms: Some(days * day),
        expires_at_ms: Some(START_MS + days * day),
        policy,
    };
    assert_eq!(tags(None, "b"), (Storage::Transit, "b/c%2F1/100%25".to_owned(), expected(1, None)));
    let stored = parse("tenant/a", r#"{"message": {"storage": "in", "retention": "30d"}}"#);
    assert_eq!(
        tags(Some(stored), "a"),
        (Storage::Stored, "a/c%2F1/100%25".to_owned(), expected(30, Some(7)))
    );
}
