//! Erasures: what they cover, in stock and to come, what keeps it, and what is reported of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use lethe_engine::ledger::ErasureCounts;
use lethe_engine::lifecycle::Audit;
use lethe_engine::{Budget, Class, Effect};
use support::harness::Harness;
use support::history::START_MS;
use support::table::{configs, messages, profiles};
use support::text;

/// An erasure ends what its scope covers and was sent before it was written, stored or in transit.
#[test]
fn an_erasure_ends_what_it_covers() {
    for (scope, ended) in [
        (r#""tenant": "a""#, "-store a/c/m erased, -store a/d/n erased, -transit a/d/o erased"),
        (r#""tenant": "a", "user": "bob""#, "-store a/d/n erased, -transit a/d/o erased"),
        (r#""tenant": "a", "conversation": "c""#, "-store a/c/m erased"),
        (r#""tenant": "a", "conversation": "d", "message": "n""#, "-store a/d/n erased"),
        (r#""tenant": "a", "before": "@3""#, "-store a/c/m erased, -transit a/d/o erased"),
        (
            r#""tenant": "a", "before": "@4", "user": "bob""#,
            "-store a/d/n erased, -transit a/d/o erased",
        ),
        (r#""tenant": "b""#, ""),
    ] {
        messages(&format!(
            r#"
            2 control tenant/a {{"message": {{"storage": "in", "retention": "1h"}}}}
            2 send a/c/m @2 => +store a/c/m
            3 send a/d/n @3 by=bob => +store a/d/n
            3 send a/d/o @1 by=bob => +transit a/d/o
            5 control erasure/1 {{{scope}}}
            5 look => {ended}
            6 reopen
            6 send a/c/p @5 => +store a/c/p
            7 look
            "#
        ));
    }
}

/// What comes later with an earlier sent time meets it too, and stays over when it is withdrawn.
#[test]
fn an_erasure_meets_what_comes_late() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        5 control erasure/1 {"tenant": "a", "user": "bob"}
        5 look
        6 send a/c/m @4 by=bob => over
        6 send a/c/n @4 => +store a/c/n
        6 send a/c/o @5 by=bob => +store a/c/o
        7 control erasure/1 null
        8 look
        8 send a/c/m @4 by=bob => over
        8 send a/c/p @4 by=bob => +store a/c/p
        "#,
    );
}

/// One that stands ends what was sent before, and has what is sent later treated as opted out.
#[test]
fn one_that_stands() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        1 send a/c/m @1 by=bob => +store a/c/m
        4 send a/c/ahead @7 by=bob => +store a/c/ahead
        5 control erasure/1 {"tenant": "a", "user": "bob", "standing": true}
        5 look => -store a/c/m erased, -store a/c/ahead opted-out
        6 send a/c/n @6 by=bob to=1 => +transit a/c/n
        6 send a/c/o @6 => +store a/c/o
        7 deliver a/c/n @6 carol => -transit a/c/n delivered
        8 send a/c/p @4 by=bob => over
        9 control erasure/1 {"tenant": "a", "user": "bob", "before": "@9"}
        9 look
        10 send a/c/q @8 by=bob => over
        10 send a/c/r @9 by=bob => +store a/c/r
        "#,
    );
}

/// It is carried out to its end with the scope that it began with.
#[test]
fn a_withdrawn_erasure_is_carried_out() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        1 send a/c/m @1 => +store a/c/m
        1 send a/c/n @1 => +store a/c/n
        1 send a/c/o @1 => +store a/c/o
        2 control erasure/1 {"tenant": "a"}
        3 control erasure/1 null
        4 reopen
        4 edit a/c/m @1 at=4 => over, -store a/c/m erased
        5 look => -store a/c/n erased, -store a/c/o erased
        6 send a/c/p @1 => +store a/c/p
        "#,
    );
}

/// What had ended before goes for its own reason.
#[test]
fn what_had_ended_before_goes_for_its_own_reason() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "3s"}}
        1 send a/c/m @1 => +store a/c/m
        3 send a/c/n @3 => +store a/c/n
        5 control erasure/1 {"tenant": "a"}
        5 look => -store a/c/m expired, -store a/c/n erased
        "#,
    );
}

/// What a hold keeps goes when it is released, what the minimum keeps when that has passed.
#[test]
fn an_erasure_waits_for_hold_and_minimum() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        0 control tenant/b {"message": {"storage": "in", "retention": "1h"}}
        0 control terms/b {"minimum": "9s"}
        0 control hold/1 {"tenant": "a", "user": "bob"}
        1 send a/c/m @1 by=bob => +store a/c/m
        1 send a/c/n @1 => +store a/c/n
        1 send b/c/m @1 => +store b/c/m
        2 control erasure/1 {"tenant": "a"}
        2 control erasure/2 {"tenant": "b"}
        2 look => -store a/c/n erased
        3 send a/c/late @1 by=bob => +store a/c/late
        4 control erasure/1 null
        4 look
        10 look => -store b/c/m erased
        11 control hold/1 null
        11 look => -store a/c/m erased, -store a/c/late erased
        "#,
    );
}

/// A profile is its user's; config items go with a whole tenant alone.
#[test]
fn profiles_and_items() {
    profiles(
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "1h"}}
        1 set a/u @1 => +store a/u
        1 set a/v @1 => +store a/v
        1 set b/u @1 => +transit b/u
        3 control erasure/1 {"tenant": "a", "user": "u"}
        3 control erasure/2 {"tenant": "b"}
        3 control erasure/3 {"tenant": "a", "conversation": "v"}
        3 look => -store a/u erased, -transit b/u erased
        4 set a/u @2
        4 set a/u @4 => +store a/u
        "#,
    );
    configs(
        r#"
        1 set a/i @1 => +store a/i
        2 control erasure/1 {"tenant": "a", "user": "i"}
        2 look
        3 control erasure/2 {"tenant": "a", "standing": true}
        3 look => -store a/i erased
        4 set a/i @2
        4 set a/i @4 => +store a/i
        "#,
    );
}

/// Versions under a hold that an erasure covers and the live one that it does not.
#[test]
fn an_erasure_of_older_versions() {
    profiles(
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "1h"}}
        0 control hold/1 {"tenant": "a", "user": "u"}
        1 set a/u @1 => +store a/u
        3 set a/u @3 => +store a/u@3
        3 control hold/1 null
        3 look
        4 control erasure/1 {"tenant": "a", "before": "@2"}
        4 look => -store a/u erased
        5 remove a/u @5 => -store a/u@3 removed
        "#,
    );
}

fn counts(class: Class, table: &str) -> ErasureCounts {
    let mut harness = Harness::new(class);
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        harness.step(&text::line(line).0).unwrap();
    }
    let (engine, ledger, effects) = harness.engine();
    let mut reports = Vec::new();
    for _ in 0..100 {
        let mut budget = Budget { rows: 2 };
        engine.look(ledger, START_MS + 10_000, &mut budget, effects).unwrap();
        for effect in effects.iter() {
            match effect {
                Effect::Audit { key, what: Audit::ErasureDone { counts, .. } } => {
                    assert_eq!(key, "erasure/1");
                    reports.push(counts);
                }
                Effect::Audit { .. }
                | Effect::Content { .. }
                | Effect::Tombstone { .. }
                | Effect::Replayed { .. }
                | Effect::Marker { .. } => {}
            }
        }
        effects.clear();
    }
    let mut kept = None;
    engine.erasures(ledger, &mut |_, row| kept = Some(row.counts)).unwrap();
    assert_eq!(reports, kept.into_iter().collect::<Vec<_>>(), "one report, and it is remembered");
    kept.unwrap()
}

/// One report a partition says what was found, however many slices it took.
#[test]
fn an_erasure_is_reported() {
    let found = counts(
        Class::Message,
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        0 control terms/a {"minimum": "20s"}
        0 control hold/1 {"tenant": "a", "conversation": "d"}
        1 send a/c/z @-30 by=bob
        1 send a/c/m @1 by=bob
        2 send a/c/n @2 by=bob
        3 send a/d/m @3 by=bob
        4 send a/c/o @4
        5 send a/d/o @5 by=bob
        6 recall a/d/o @5
        8 control erasure/1 {"tenant": "a", "user": "bob"}
        "#,
    );
    let (first_ms, last_ms) = (Some(START_MS - 30_000), Some(START_MS + 5_000));
    assert_eq!(found, ErasureCounts { ended: 1, held: 2, minimum: 2, first_ms, last_ms });
}

/// Versions beside each other count each for itself.
#[test]
fn versions_are_counted() {
    let found = counts(
        Class::Profile,
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "1h"}}
        0 control hold/1 {"tenant": "a", "until": "@1"}
        1 set a/u @1
        2 set a/u @2
        3 set a/u @3
        3 set a/v @3
        4 control erasure/1 {"tenant": "a", "user": "u"}
        "#,
    );
    let (first_ms, last_ms) = (Some(START_MS + 1_000), Some(START_MS + 3_000));
    assert_eq!(found, ErasureCounts { ended: 2, held: 1, minimum: 0, first_ms, last_ms });
}

/// It may be withdrawn when nothing that it covers could still be stored: under the longest retention.
#[test]
fn until_when_an_erasure_is_needed() {
    use lethe_engine::policy::{Erasure, InForce, Reach, Scope};
    let scope = Scope { tenant: "a".into(), conversation: None, message: None, user: None };
    let asked = |reach| Erasure { scope: scope.clone(), reach };
    let needed = |lines: &[&str], reach| {
        let mut harness = Harness::new(Class::Message);
        for line in lines {
            harness.step(&text::line(line).0).unwrap();
        }
        let (engine, ledger, _) = harness.engine();
        let in_force = InForce::new(asked(reach), START_MS, START_MS, 9);
        engine.erasure_needed_until_ms(ledger, &in_force, START_MS).unwrap()
    };
    let day_ms = 24 * 3_600_000;
    let own = r#"0 control conversation/a/c {"retention": "30d"}"#;
    let stored = r#"0 control tenant/a {"message": {"storage": "in", "retention": "7d"}}"#;
    let forever = r#"0 control conversation/a/c {"retention": "forever"}"#;
    let terms = r#"0 control terms/a {"maximum": "forever"}"#;
    let bound = Reach::Before(None);
    assert_eq!(needed(&[], bound), Some(START_MS + day_ms), "what passes through");
    assert_eq!(needed(&[stored], bound), Some(START_MS + 7 * day_ms));
    assert_eq!(needed(&[stored, own], bound), Some(START_MS + 30 * day_ms));
    assert_eq!(needed(&[stored, terms, forever], bound), None);
    assert_eq!(needed(&[stored], Reach::Standing), None, "it is bounded first");
}
