//! Holds and the legal minimum: what they cover, what they keep from which end, and what comes of it after.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use lethe_engine::Class;
use support::harness::Harness;
use support::table::{configs, messages, model_refuses, profiles};
use support::text;

/// A hold covers what its scope says: the fields narrow it together.
#[test]
fn a_hold_covers_its_scope() {
    for (scope, kept, gone) in [
        (r#""tenant": "a""#, "a/c/m a/d/m a/c/n", ""),
        (r#""tenant": "a", "conversation": "c""#, "a/c/m a/c/n", "a/d/m"),
        (r#""tenant": "a", "conversation": "c", "message": "m""#, "a/c/m", "a/d/m a/c/n"),
        (r#""tenant": "a", "user": "bob""#, "a/c/n", "a/c/m a/d/m"),
        (r#""tenant": "a", "user": "alice", "conversation": "c""#, "a/c/m", "a/d/m a/c/n"),
        (r#""tenant": "a", "user": "carol""#, "", "a/c/m a/d/m a/c/n"),
        (r#""tenant": "a", "from": "@2""#, "a/c/n", "a/c/m a/d/m"),
        (r#""tenant": "a", "until": "@1""#, "a/c/m a/d/m", "a/c/n"),
        (r#""tenant": "a", "from": "@1", "until": "@2", "user": "bob""#, "a/c/n", "a/c/m a/d/m"),
        (r#""tenant": "b""#, "", "a/c/m a/d/m a/c/n"),
    ] {
        let ends = |keys: &str| {
            let ends = keys.split_whitespace().map(|key| format!("-store {key} expired"));
            ends.collect::<Vec<_>>().join(", ")
        };
        messages(&format!(
            r#"
            0 control tenant/a {{"message": {{"storage": "in", "retention": "3s"}}}}
            0 control hold/1 {{{scope}, "reason": "a court"}}
            1 send a/c/m @1 => +store a/c/m
            1 send a/d/m @1 => +store a/d/m
            2 send a/c/n @2 by=bob => +store a/c/n
            9 look => {}
            9 filter 1
            10 reopen
            10 look
            11 control hold/1 null
            11 look => {}
            12 look
            "#,
            ends(gone),
            ends(kept),
        ));
    }
}

/// Whatever ends a record, a hold keeps it, and it goes for that reason once the hold is released.
#[test]
fn a_hold_keeps_from_every_end() {
    for (end, reason) in [
        ("2 recall a/c/m @1", "recalled"),
        ("2 control tenant/a null", "opted-out"),
        (
            "2 control tenant/a {\"message\": {\"storage\": \"in\", \"retention\": \"1s\"}}",
            "expired",
        ),
        ("2 control conversation/a/c {\"retention\": \"1s\"}", "expired"),
        ("2 control erasure/1 {\"tenant\": \"a\"}", "erased"),
        ("2 control terms/a {\"maximum\": \"1s\"}", "expired"),
        ("2 control terms/a {\"ended_at\": \"@-5270400\"}", "ended"),
        ("5 look", "burned"),
    ] {
        for scope in ["", ", \"user\": \"bob\"", ", \"conversation\": \"c\", \"message\": \"m\""] {
            let ttl = if reason == "burned" { " ttl=2" } else { "" };
            messages(&format!(
                r#"
                0 control tenant/a {{"message": {{"storage": "in", "retention": "1h"}}}}
                0 control hold/1 {{"tenant": "a"{scope}}}
                1 send a/c/m @1 by=bob{ttl} => +store a/c/m
                {end}
                6 look
                7 reopen
                8 send a/c/m @1 by=bob => over
                9 control hold/1 null
                9 look => -store a/c/m {reason}
                10 send a/c/m @1 by=bob => over
                11 look
                "#
            ));
        }
    }
}

/// What had not ended when a hold is released lives on under its policy.
#[test]
fn what_had_not_ended_lives_on() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "10s"}}
        0 control hold/1 {"tenant": "a", "user": "alice"}
        1 send a/c/m @1 => +store a/c/m
        5 control hold/1 null
        5 look
        10.999 look
        11 look => -store a/c/m expired
        "#,
    );
}

/// Any number of holds may overlap: a record goes when the last that covers it is released.
#[test]
fn holds_overlap() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        0 control hold/1 {"tenant": "a", "user": "alice"}
        0 control hold/2 {"tenant": "a", "conversation": "c"}
        0 control hold/3 {"tenant": "a", "until": "@1"}
        1 send a/c/m @1 => +store a/c/m
        1 send a/d/m @1 => +store a/d/m
        2 send a/c/n @2 by=bob => +store a/c/n
        3 recall a/c/m @1
        3 recall a/d/m @1
        3 recall a/c/n @2
        4 control hold/1 null
        4 look
        5 control hold/3 null
        5 look => -store a/d/m recalled
        6 control hold/2 null
        6 look => -store a/c/m recalled, -store a/c/n recalled
        "#,
    );
}

/// The same id again replaces the hold: what it no longer covers goes.
#[test]
fn a_hold_is_narrowed() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "3s"}}
        0 control hold/1 {"tenant": "a"}
        1 send a/c/m @1 => +store a/c/m
        1 send a/c/n @1 by=bob => +store a/c/n
        1 send a/c/o @1 by=bob => +store a/c/o
        2 recall a/c/o @1
        9 look
        9 control hold/1 {"tenant": "a", "user": "bob"}
        9 look => -store a/c/m expired
        10 control hold/1 {"tenant": "b"}
        10 look => -store a/c/n expired, -store a/c/o recalled
        "#,
    );
}

/// A hold reaches stored content only: what passes through ends as ever.
#[test]
fn a_hold_does_not_reach_transit() {
    messages(
        r#"
        0 control hold/1 {"tenant": "a"}
        0 control terms/a {"transit_limit": "5s"}
        1 send a/c/m @1 to=1 => +transit a/c/m
        1 send a/c/n @1 => +transit a/c/n
        2 deliver a/c/m @1 bob => -transit a/c/m delivered
        6 look => -transit a/c/n undelivered
        "#,
    );
}

/// What had ended before it came is stored, already ended, if a hold covers it.
#[test]
fn what_comes_ended_is_held() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        0 control hold/1 {"tenant": "a", "user": "bob"}
        1 recall a/c/m @1
        1 recall a/c/n @1
        2 send a/c/m @1 by=bob => +store a/c/m
        2 send a/c/n @1 => over
        3 edit a/c/m @1 at=3 => over
        4 control hold/1 null
        4 look => -store a/c/m recalled
        "#,
    );
}

/// An edit of what is held overwrites nothing; the versions end together.
#[test]
fn edits_of_a_held_message_stand_beside_each_other() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "20s"}}
        1 send a/c/m @1 => +store a/c/m
        2 edit a/c/m @1 at=2 => +store a/c/m
        3 control hold/1 {"tenant": "a", "conversation": "c"}
        4 edit a/c/m @1 at=4 => +store a/c/m@4
        4 edit a/c/m @1 at=4 => known
        5 edit a/c/m @1 at=3 => +store a/c/m@3
        5 edit a/c/m @1 at=2 => known
        6 reopen
        6 edit a/c/m @1 at=6 => +store a/c/m@6
        7 control hold/1 null
        7 look
        8 edit a/c/m @1 at=5 => known
        8 edit a/c/m @1 at=8 => +store a/c/m
        21 look => -store a/c/m expired, -store a/c/m@3 expired, -store a/c/m@4 expired, -store a/c/m@6 expired
        22 edit a/c/m @1 at=22 => over
        "#,
    );
}

/// Once the hold is released an edit overwrites what is under the plain key again: that is out from then on, also
/// for a replay, and under the next hold.
#[test]
fn an_edit_after_the_hold_takes_the_plain_key() {
    for first in ["2 look", "2 edit a/c/m @1 at=2 => +store a/c/m"] {
        messages(&format!(
            r#"
            0 control tenant/a {{"message": {{"storage": "in", "retention": "60s"}}}}
            1 send a/c/m @1 => +store a/c/m
            {first}
            3 control hold/1 {{"tenant": "a", "conversation": "c"}}
            4 edit a/c/m @1 at=4 => +store a/c/m@4
            5 again refresh
            6 control hold/1 null
            7 edit a/c/m @1 at=7 => +store a/c/m
            8 again refresh
            9 edit a/c/m @1 at=9 => +store a/c/m
            10 reopen
            10 again refresh
            11 control hold/2 {{"tenant": "a", "user": "alice"}}
            12 edit a/c/m @1 at=9 => known
            12 edit a/c/m @1 at=12 => +store a/c/m@12
            13 edit a/c/m @1 at=7 => +store a/c/m@7
            14 again refresh
            15 control hold/2 null
            16 edit a/c/m @1 at=16 => +store a/c/m
            17 again refresh
            18 again missing
            61 look => -store a/c/m expired, -store a/c/m@4 expired, -store a/c/m@7 expired, -store a/c/m@12 expired
            "#
        ));
    }
}

/// A recall under the hold ends all of them, once it is released.
#[test]
fn versions_of_a_recalled_message_wait_together() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "20s"}}
        0 control hold/1 {"tenant": "a", "user": "alice"}
        1 send a/c/m @1 => +store a/c/m
        2 edit a/c/m @1 at=2 => +store a/c/m@2
        3 recall a/c/m @1
        4 edit a/c/m @1 at=4 => over
        5 look
        6 control hold/1 null
        6 look => -store a/c/m recalled, -store a/c/m@2 recalled
        30 look
        "#,
    );
}

/// An update of a held profile overwrites nothing; what it left ends with it.
#[test]
fn updates_of_a_held_profile_stand_beside_each_other() {
    profiles(
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "20s"}}
        1 set a/u @1 => +store a/u
        2 control hold/1 {"tenant": "a", "user": "u"}
        3 set a/u @3 => +store a/u@3
        3 set a/v @3 => +store a/v
        4 set a/u @4 => +store a/u@4
        4 set a/v @4 => +store a/v
        5 control hold/1 null
        5 look
        6 reopen
        21 look
        23 look
        24 look => -store a/u expired, -store a/u@3 expired, -store a/u@4 expired, -store a/v expired
        30 look
        "#,
    );
}

/// A removed profile waits for the hold; one that comes after is another life beside it.
#[test]
fn a_removed_profile_waits_beside_a_new_one() {
    profiles(
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "1h"}}
        1 set a/u @1 => +store a/u
        2 control hold/1 {"tenant": "a", "until": "@3"}
        3 set a/u @3 => +store a/u@3
        4 remove a/u @4
        5 set a/u @5 => +store a/u@5
        6 set a/u @6 => +store a/u@6
        7 filter 1
        7 control hold/1 null
        7 look => -store a/u removed, -store a/u@3 removed
        8 set a/u @8 => +store a/u
        9 remove a/u @9 => -store a/u removed, -store a/u@5 removed, -store a/u@6 removed
        10 look
        "#,
    );
}

/// What expired under a hold is not overwritten, also when everything else of it is forgotten.
#[test]
fn what_waits_outlasts_the_filter() {
    profiles(
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "2s"}}
        0 control terms/a {"transit_limit": "2s"}
        0 control hold/1 {"tenant": "a", "user": "u"}
        1 set a/u @1 => +store a/u
        20 look
        20 filter 1
        21 reopen
        21 set a/u @21 => +store a/u@21
        22 control hold/1 null
        22 look => -store a/u expired
        23 look => -store a/u@21 expired
        "#,
    );
}

/// A config item under a hold: a tenant-wide one covers it, a user's does not.
#[test]
fn updates_of_a_held_item_stand_beside_each_other() {
    configs(
        r#"
        1 set a/i @1 => +store a/i
        2 control hold/1 {"tenant": "a", "user": "i"}
        3 set a/i @3 => +store a/i
        4 control hold/2 {"tenant": "a"}
        5 set a/i @5 => +store a/i@5
        6 remove a/i @6
        7 control hold/2 null
        7 look => -store a/i removed, -store a/i@5 removed
        "#,
    );
}

/// Versions end together, and each goes when its own minimum has passed, not the newest one's.
#[test]
fn versions_wait_for_their_own_minimum() {
    configs(
        r#"
        0 control terms/a {"ended_at": "@-5270392", "minimum": "3s"}
        0 control hold/1 {"tenant": "a", "until": "@1"}
        1 set a/i @1 => +store a/i
        5 set a/i @5 => +store a/i@5
        7 set a/i @7 => +store a/i@7
        7.999 look
        8 look => -store a/i@5 ended
        9.999 look
        10 look => -store a/i@7 ended
        11 control hold/1 null
        11 look => -store a/i ended
        "#,
    );
    profiles(
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "1h"}}
        0 control terms/a {"minimum": "3s"}
        0 control hold/1 {"tenant": "a", "until": "@1"}
        1 set a/u @1 => +store a/u
        2 set a/u @2 => +store a/u@2
        6 set a/u @6 => +store a/u@6
        7 control tenant/a null
        7 look => -store a/u@2 opted-out
        9 look => -store a/u@6 opted-out
        "#,
    );
}

/// What stands beside a version has ended with it, also if a newer one overwrites that before it is looked at.
#[test]
fn older_versions_do_not_go_over_to_a_later_life() {
    profiles(
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "4s"}}
        0 control hold/1 {"tenant": "a"}
        1 set a/u @1 => +store a/u
        2 set a/u @2 => +store a/u@2
        3 control hold/1 null
        3 set a/u @3 => +store a/u
        7 set a/u @7 => +store a/u, -store a/u@2 expired
        7 look
        "#,
    );
}

/// The minimum binds every removal of stored content; raised or lowered later it acts on what waits.
#[test]
fn the_minimum_acts_on_what_waits() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        0 control terms/a {"minimum": "10s", "transit_limit": "5s"}
        1 send a/c/m @1 => +store a/c/m
        1 send a/c/n @1 => +store a/c/n
        2 send a/c/o @2 ttl=1 => +store a/c/o
        2 send b/c/m @2 => +transit b/c/m
        3 recall a/c/m @1
        3 control erasure/1 {"tenant": "a", "conversation": "c", "message": "n"}
        4 look
        5 control terms/a {"minimum": "20s", "transit_limit": "5s"}
        11 look
        12 control terms/a {"minimum": "11s", "transit_limit": "5s"}
        12 look => -store a/c/m recalled, -store a/c/n erased
        12.999 look
        13 look => -store a/c/o burned
        "#,
    );
}

/// A hold outranks the minimum and the other way round: nothing goes before both let it.
#[test]
fn hold_and_minimum_together() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "2s"}}
        0 control terms/a {"minimum": "10s"}
        0 control hold/1 {"tenant": "a", "user": "alice"}
        1 send a/c/m @1 => +store a/c/m
        1 send a/c/n @1 by=bob => +store a/c/n
        5 control hold/1 null
        5 look
        6 control hold/1 {"tenant": "a", "user": "alice"}
        11 look => -store a/c/n expired
        12 control hold/1 null
        12 look => -store a/c/m expired
        "#,
    );
}

/// Hold and minimum outrank the tenant's end; the end outranks a policy without one.
#[test]
fn hold_and_minimum_outrank_the_tenants_end() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "forever"}}
        0 control terms/a {"ended_at": "@-5270395", "maximum": "forever", "minimum": "10s"}
        0 control hold/1 {"tenant": "a", "user": "bob"}
        1 send a/c/m @1 => +store a/c/m
        2 send a/c/n @2 by=bob => +store a/c/n
        3 send a/c/o @3 => +store a/c/o
        4 look
        11 look => -store a/c/m ended
        13 look => -store a/c/o ended
        14 control hold/1 null
        14 look => -store a/c/n ended
        "#,
    );
    configs(
        r#"
        0 control terms/a {"ended_at": "@-5270395"}
        0 control hold/1 {"tenant": "a"}
        1 set a/i @1 => +store a/i
        9 look
        9 set a/i @9
        10 control hold/1 null
        10 look => -store a/i ended
        11 set a/i @11
        "#,
    );
}

/// A hold on a whole tenant without an end writes nothing for what ends under it, however much that is.
#[test]
fn what_ends_under_a_hold_on_its_whole_tenant_takes_no_rows() {
    for (class, record) in [(Class::Message, "send a/c/m"), (Class::Profile, "set a/u")] {
        let mut harness = Harness::new(class);
        let mut say = |line: &str| drop(harness.step(&text::line(line).0).unwrap());
        let name = class.name();
        say(&format!(r#"0 control tenant/a {{"{name}": {{"storage": "in", "retention": "2s"}}}}"#));
        say(r#"0 control hold/1 {"tenant": "a"}"#);
        for number in 0..20 {
            say(&format!("1 {record}{number} @1"));
        }
        say("1 commit");
        let before = harness.engine().1.len();
        for line in ["9 look", "9 commit"] {
            harness.step(&text::line(line).0).unwrap();
        }
        let after = harness.engine().1.len();
        assert!(after <= before, "{name}: {before} rows became {after}");
    }
}

/// The model refuses an edit that overwrites what is held.
#[test]
fn the_model_knows_what_is_held() {
    model_refuses(
        Class::Message,
        r#"
        0 control tenant/a {"message": {"storage": "in"}}
        0 control hold/1 {"tenant": "a", "user": "alice"}
        1 send a/c/m @1 => +store a/c/m
        2 edit a/c/m @1 at=2 => +store a/c/m
        "#,
        "overwrote",
    );
    model_refuses(
        Class::Profile,
        r#"
        0 control tenant/a {"profile": {"storage": "in"}}
        0 control hold/1 {"tenant": "a", "user": "u"}
        1 set a/u @1 => +store a/u
        2 set a/u @2 => +store a/u
        "#,
        "a hold covers what is there",
    );
}

/// A version that was not overwritten is out until the live one ends, also once its own time is over.
#[test]
fn an_older_version_is_out_also_when_its_time_is_over() {
    profiles(
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "4s"}}
        0 control hold/1 {"tenant": "a", "user": "u"}
        1 set a/u @1 => +store a/u
        3 set a/u @3 => +store a/u@3
        6 look
        6 again refresh
        8 look
        9 again refresh
        10 control hold/1 null
        10 look => -store a/u expired, -store a/u@3 expired
        "#,
    );
}
