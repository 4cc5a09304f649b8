//! Profiles: the newest version counts, and each topic holds at most one.

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use support::table::profiles;

/// Nobody said anything: a profile passes through until the transit limit.
#[test]
fn an_opted_out_profile_goes_at_the_transit_limit() {
    profiles(
        r#"
        0 control terms/a {"transit_limit": "10s"}
        1 set a/u @1 => +transit a/u
        5 set a/u @5 => +transit a/u
        11 look
        14.999 look
        15 look => -transit a/u undelivered
        16 set a/u @5
        17 set a/u @16 => +transit a/u
        "#,
    );
}

/// Retention counts from the last update.
#[test]
fn retention_counts_from_the_last_update() {
    profiles(
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "10s"}}
        1 set a/u @1 => +store a/u
        8 set a/u @8 => +store a/u
        11 look
        18 look => -store a/u expired
        18 set a/u @8
        19 set a/u @19 => +store a/u
        "#,
    );
}

/// The highest time wins, of equals `Removed`, then the first.
#[test]
fn the_newest_version_wins() {
    profiles(
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "1h"}}
        5 set a/u @5 => +store a/u
        5 set a/u @4
        5 set a/u @5
        6 remove a/u @4
        6 remove a/u @5 => -store a/u removed
        6 set a/u @5
        7 set a/u @6 => +store a/u
        8 remove a/v @8
        8 set a/v @8
        8 set a/v @7
        9 set a/v @9 => +store a/v
        "#,
    );
}

/// A newer version in the other storage ends the older one in its own topic, at once.
#[test]
fn a_version_on_the_other_topic_ends_the_older_one() {
    profiles(
        r#"
        1 set a/u @1 => +transit a/u
        2 control tenant/a {"profile": {"storage": "in", "retention": "1h"}}
        3 set a/u @3 => +store a/u, -transit a/u removed
        4 control tenant/a null
        4 look => -store a/u opted-out
        5 set a/u @5 => +transit a/u
        6 remove a/u @6 => -transit a/u removed
        "#,
    );
}

/// Opting out and a newer version at once: one tombstone.
#[test]
fn opting_out_is_one_tombstone() {
    profiles(
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "1h"}}
        1 set a/u @1 => +store a/u
        2 control tenant/a null
        2 look => -store a/u opted-out
        3 set a/u @3 => +transit a/u
        3 look
        "#,
    );
}

/// A newer version on the same topic takes the place of one that had ended under a hold: nothing ends it then.
#[test]
fn a_new_version_takes_the_place_of_one_that_is_kept() {
    profiles(
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "1h"}}
        1 set a/u @1 => +store a/u
        2 control hold/1 {"tenant": "a", "reason": "a court"}
        3 remove a/u @3
        4 set a/u @4 => +store a/u@4
        5 control hold/1 null
        5 look => -store a/u removed
        6 remove a/u @6 => -store a/u@4 removed
        "#,
    );
}

/// What was updated before the tenant opted in passes through.
#[test]
fn since_holds_for_profiles_too() {
    profiles(
        r#"
        5 control tenant/a {"profile": {"storage": "in", "retention": "1h"}}
        6 set a/u @4 => +transit a/u
        7 set a/u @5 => +store a/u, -transit a/u removed
        "#,
    );
}

/// Policies of messages are not policies of profiles.
#[test]
fn the_class_of_a_policy_counts() {
    profiles(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        1 set a/u @1 => +transit a/u
        "#,
    );
}
