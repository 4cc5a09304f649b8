//! What a change would end, counted before it is made; and many holds at once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use lethe_engine::lifecycle::{Ends, Forecast};
use lethe_engine::{
    Budget, Class, ControlRecord, Event, MessageAction, MessageEvent, Origin, Sent,
};
use support::harness::Harness;
use support::history::{START_MS, with_times};
use support::text;

const DAY_S: i64 = 86_400;

/// Ten messages of tenant `a`, one a day, kept for 30 days; it is the tenth day.
fn ten_days() -> Harness {
    let mut harness = Harness::new(Class::Message);
    let mut say = |line: &str| drop(harness.step(&text::line(line).0).unwrap());
    say(r#"0 control tenant/a {"message": {"storage": "in", "retention": "30d"}}"#);
    for day in 0..10 {
        let at = day * DAY_S + 1;
        let by = if day % 2 == 0 { "" } else { " by=bob" };
        say(&format!("{at} send a/c/m{day} @{at}{by}"));
    }
    say(&format!("{} look", 9 * DAY_S + 2));
    harness
}

fn forecast(harness: &mut Harness, key: &str, value: &str) -> Forecast {
    let now_ms = START_MS + 9 * DAY_S * 1_000 + 2_000;
    let text = with_times(value);
    let record = ControlRecord::parse(100, now_ms, key.as_bytes(), Some(text.as_bytes()));
    let (engine, ledger, _) = harness.engine();
    let mut found = Forecast::default();
    for _ in 0..100 {
        let mut budget = Budget { rows: 3 };
        let record = std::slice::from_ref(&record);
        found =
            engine.forecast(ledger, "a", record, now_ms, 40, &mut budget, found).unwrap().unwrap();
        if found.position.is_none() {
            return found;
        }
    }
    found
}

fn ends(now: u64, kept: u64, days: std::ops::Range<usize>) -> Ends {
    let by_day = (0..40).map(|day| u64::from(days.contains(&day))).collect();
    Ends { now, kept, by_day, later: 0 }
}

#[test]
fn a_change_is_counted_before_it_is_made() {
    let mut harness = ten_days();
    let as_is = ends(0, 0, 20..30);
    for (key, value, proposed) in [
        ("tenant/b", r#"{}"#, as_is.clone()),
        ("tenant/a", r#"{}"#, ends(10, 0, 0..0)),
        ("tenant/a", r#"{"message": {"storage": "in", "retention": "5d"}}"#, ends(5, 0, 0..5)),
        ("conversation/a/c", r#"{"retention": "8d"}"#, ends(2, 0, 0..8)),
        ("terms/a", r#"{"maximum": "9d"}"#, ends(1, 0, 0..9)),
        ("hold/1", r#"{"tenant": "a"}"#, as_is.clone()),
    ] {
        let found = forecast(&mut harness, key, value);
        assert_eq!((found.as_is, found.proposed), (as_is.clone(), proposed), "{key} {value}");
    }
    let erased = forecast(&mut harness, "erasure/1", r#"{"tenant": "a", "user": "bob"}"#);
    assert_eq!((erased.proposed.now, erased.proposed.by_day.iter().sum::<u64>()), (5, 5));
    // Trying it out has changed nothing.
    harness.step(&text::line(&format!("{} look", 9 * DAY_S + 3)).0).unwrap();
    harness.check_live().unwrap();
}

/// Ten thousand holds at once: each covers its own, and each may be released.
#[test]
fn ten_thousand_holds() {
    let mut harness = Harness::new(Class::Message);
    let (engine, ledger, effects) = harness.engine();
    let now_ms = START_MS + 1_000;
    let mut offset = 0;
    let mut say = |key: String, value: Option<String>| {
        let body = value.as_deref().map(str::as_bytes);
        let record = ControlRecord::parse(offset, START_MS, key.as_bytes(), body);
        assert_eq!(record.refusal(), None);
        engine.control(ledger, &record, now_ms, effects).unwrap();
        effects.clear();
        offset += 1;
    };
    say("tenant/a".into(), Some(r#"{"message": {"storage": "in"}}"#.into()));
    let scope = |number: i64| match number % 3 {
        0 => format!(r#""user": "u{number}""#),
        1 => format!(r#""conversation": "c{number}""#),
        _ => r#""from": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z""#.to_owned(),
    };
    for number in 0..10_000 {
        say(format!("hold/{number}"), Some(format!(r#"{{"tenant": "a", {}}}"#, scope(number))));
    }
    // All but the last, which is on a user.
    for number in 0..9_999 {
        say(format!("hold/{number}"), None);
    }
    for (sender, tombstones) in [("u9999", 0), ("u9996", 1)] {
        let sent = Sent { sender, kind: 1, recipients: 0, ttl_ms: 0 };
        for action in [MessageAction::Sent(sent), MessageAction::Recalled] {
            let event = Event::Message(MessageEvent {
                tenant: "a",
                conversation: "c",
                message: sender,
                sent_at_ms: START_MS + 500,
                action,
            });
            effects.clear();
            engine.apply(ledger, &event, Origin::Elsewhere, now_ms, effects).unwrap();
        }
        assert_eq!(effects.len(), tombstones, "{sender}");
    }
}
