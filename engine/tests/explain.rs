//! What is said of a record when somebody asks: kept until when, by which rule of which control record.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use lethe_engine::lifecycle::{Deciding, Explanation, Search};
use lethe_engine::policy::Keep;
use lethe_engine::{Budget, Class, Reason, Storage};
use support::harness::Harness;
use support::history::START_MS;
use support::text;

/// Explains `a/c/m` of 1 s at 6 s, after a history.
fn explain(table: &str) -> Explanation {
    let mut harness = Harness::new(Class::Message);
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        harness.step(&text::line(line).0).unwrap();
    }
    let (engine, ledger, _) = harness.engine();
    engine.explain(ledger, "a", START_MS + 1_000, "c/m", START_MS + 6_000).unwrap()
}

fn by(key: &str, offset: i64) -> Deciding {
    Deciding { key: Some(key.to_owned()), offset: Some(offset) }
}

fn kept(until_ms: i64, reason: Reason, by: Deciding) -> Explanation {
    let until_ms = Some(START_MS + until_ms);
    Explanation::Kept { storage: Storage::Stored, until_ms, reason, by }
}

const IN: &str = r#"0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}"#;

#[test]
fn until_when_and_by_whom() {
    let of_tenant = kept(3_601_000, Reason::Expired, by("tenant/a", 0));
    assert_eq!(explain(&format!("{IN}\n1 send a/c/m @1")), of_tenant);
    let own = r#"0 control conversation/a/c {"retention": "1m"}"#;
    let of_conversation = kept(61_000, Reason::Expired, by("conversation/a/c", 1));
    assert_eq!(explain(&format!("{IN}\n{own}\n1 send a/c/m @1")), of_conversation);
    let terms = r#"0 control terms/a {"maximum": "2m"}"#;
    let capped = kept(121_000, Reason::Expired, by("terms/a", 1));
    assert_eq!(explain(&format!("{IN}\n{terms}\n1 send a/c/m @1")), capped);
    let burned = kept(31_000, Reason::Burned, by("tenant/a", 0));
    assert_eq!(explain(&format!("{IN}\n1 send a/c/m @1 ttl=30")), burned);
    let passing = Explanation::Kept {
        storage: Storage::Transit,
        until_ms: Some(START_MS + 86_401_000),
        reason: Reason::Undelivered,
        by: Deciding { key: None, offset: None },
    };
    assert_eq!(explain("1 send a/c/m @1"), passing);
}

#[test]
fn what_keeps_what_has_ended() {
    let waits = |reason, by, keep, kept_by| Explanation::Waits {
        storage: Storage::Stored,
        reason,
        by,
        keep,
        kept_by,
    };
    let hold = r#"0 control hold/case-1 {"tenant": "a", "user": "alice"}"#;
    let erasure = r#"2 control erasure/7 {"tenant": "a"}"#;
    assert_eq!(
        explain(&format!("{IN}\n{hold}\n1 send a/c/m @1\n{erasure}")),
        waits(
            Reason::Erased,
            by("erasure/7", 2),
            Keep::Hold { policy: Some(1) },
            by("hold/case-1", 1)
        )
    );
    let minimum = r#"0 control terms/a {"minimum": "10s"}"#;
    assert_eq!(
        explain(&format!("{IN}\n{minimum}\n1 send a/c/m @1\n2 recall a/c/m @1")),
        waits(
            Reason::Recalled,
            by("tenant/a", 0),
            Keep::Minimum { until_ms: START_MS + 11_000 },
            by("terms/a", 1)
        )
    );
}

/// No look comes by while every tombstone is stopped, so both ends have come and neither is carried out.
#[test]
fn of_two_ends_the_earlier_one_is_named() {
    let stop = r#"0 control hold/stop {"tenant": "*", "reason": "stop"}"#;
    let own = r#"0 control tenant/a {"message": {"storage": "in", "retention": "4s"}}"#;
    let waits = |reason, by| Explanation::Waits {
        storage: Storage::Stored,
        reason,
        by,
        keep: Keep::Stop { policy: Some(0) },
        kept_by: Deciding { key: Some("hold/stop".to_owned()), offset: Some(0) },
    };
    // The tenant ends two calendar months after 2025-11-01, and some seconds.
    let ended = |s: i64| format!("0 control terms/a {{\"ended_at\": \"@{}\"}}", s - 61 * 86_400);
    let history = |s| explain(&format!("{stop}\n{own}\n{}\n1 send a/c/m @1", ended(s)));
    assert_eq!(history(3), waits(Reason::Ended, by("terms/a", 2)));
    assert_eq!(history(6), waits(Reason::Expired, by("tenant/a", 1)));
    let erasure = r#"2 control erasure/7 {"tenant": "a"}"#;
    let erased = |s| explain(&format!("{stop}\n{own}\n{}\n1 send a/c/m @1\n{erasure}", ended(s)));
    assert_eq!(erased(2), waits(Reason::Ended, by("terms/a", 2)));
    assert_eq!(erased(3), waits(Reason::Erased, by("erasure/7", 3)));
}

#[test]
fn what_is_over_or_unknown() {
    assert_eq!(explain(IN), Explanation::Unknown);
    assert_eq!(explain("1 recall a/c/m @1"), Explanation::Unknown);
    let gone = format!("{IN}\n1 send a/c/m @1\n2 recall a/c/m @1");
    assert_eq!(explain(&gone), Explanation::Over { reason: None });
    let erased = format!("{IN}\n1 send a/c/m @1\n2 control erasure/1 {{\"tenant\": \"a\"}}");
    let reason = Some((Reason::Erased, by("erasure/1", 1)));
    assert_eq!(explain(&erased), Explanation::Over { reason });
}

/// Without its sent time a message is found by reading its tenant's rows, kept ones too.
#[test]
fn a_search_finds_what_is_known_of_a_message() {
    let mut harness = Harness::new(Class::Message);
    for line in [
        IN,
        r#"0 control hold/1 {"tenant": "a"}"#,
        "1 send a/c/other @1",
        "2 send a/c/m @2",
        "3 send a/c/kept @3",
        "4 recall a/c/kept @3",
        "5 send b/c/m @4",
    ] {
        harness.step(&text::line(line).0).unwrap();
    }
    let (engine, ledger, _) = harness.engine();
    let mut times = |id: &str| {
        let mut found = Search::default();
        for _ in 0..100 {
            found = engine.search(ledger, "a", id, &mut Budget { rows: 1 }, found).unwrap();
            if found.position.is_none() {
                return found.times_ms;
            }
        }
        Vec::new()
    };
    assert_eq!(times("c/m"), [START_MS + 2_000]);
    assert_eq!(times("c/kept"), [START_MS + 3_000]);
    assert_eq!(times("c/never"), [0; 0]);
}

#[test]
fn a_version_that_a_hold_kept_from_being_overwritten_waits() {
    let mut harness = Harness::new(Class::Profile);
    for line in [
        r#"0 control tenant/a {"profile": {"storage": "in", "retention": "4s"}}"#,
        r#"0 control hold/1 {"tenant": "a", "user": "u"}"#,
        "1 set a/u @1",
        "3 set a/u @3",
        "6 look",
    ] {
        harness.step(&text::line(line).0).unwrap();
    }
    let (engine, ledger, _) = harness.engine();
    let explained = engine.explain(ledger, "a", START_MS + 1_000, "u", START_MS + 6_000).unwrap();
    let (storage, reason) = (Storage::Stored, Reason::Expired);
    let (keep, kept_by) = (Keep::Hold { policy: Some(1) }, by("hold/1", 1));
    assert_eq!(
        explained,
        Explanation::Waits { storage, reason, by: by("tenant/a", 0), keep, kept_by }
    );
}
