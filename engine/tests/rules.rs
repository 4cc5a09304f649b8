//! The ten rules of the ledger that histories have shown to be needed (ARCHITECTURE.md): each has a history
//! that goes wrong without it.

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use support::table::{messages, profiles};

/// Rule 1: what was sent at or before the horizon has ended. A policy that is lengthened while the tombstones
/// of what had ended are still being worked off does not bring it back.
#[test]
fn rule_1_a_longer_policy_does_not_revive_a_backlog() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "5s"}}
        0 control terms/a {"transit_limit": "1s"}
        1 send a/c/m @1 => +store a/c/m
        1 send a/c/n @1 => +store a/c/n
        2 send a/c/o @2 => +store a/c/o
        9 send a/c/p @9 => +store a/c/p
        9 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        10 send a/c/m @1 => over, -store a/c/m expired
        10 look => -store a/c/n expired, -store a/c/o expired
        11 send a/c/o @2 => over
        "#,
    );
}

/// Rule 2: what both cursors have passed is absent, whether a compaction has dropped it or not; what is kept
/// beyond them and then ends is remembered until both have passed it.
#[test]
fn rule_2_what_both_cursors_have_passed_is_absent() {
    for compaction in ["filter 1", "commit"] {
        messages(&format!(
            r#"
            0 control tenant/a {{"message": {{"storage": "in", "retention": "2s"}}}}
            0 control terms/a {{"transit_limit": "20s"}}
            0 control conversation/a/long {{"retention": "6s"}}
            1 send a/long/m @1 => +store a/long/m
            1 send a/c/n @1 => +store a/c/n
            2 recall a/c/p @2
            4 look => -store a/c/n expired
            4 {compaction}
            5 send a/long/m @1 => known
            7 look => -store a/long/m expired
            8 {compaction}
            9 reopen
            9 send a/long/m @1 => over
            9 send a/c/n @1 => over
            9 send a/c/p @2 => over
            30 look
            30 {compaction}
            31 control terms/a {{"transit_limit": "1h"}}
            31 control tenant/a {{"message": {{"storage": "in", "retention": "1h"}}}}
            31 send a/long/m @1 => over
            31 send a/c/n @1 => over
            31 send a/c/p @2 => over
            32 recall a/c/n @1
            33 look
            "#
        ));
    }
}

/// Rule 2: behind both cursors the range is no place to remember anything; what still matters there is kept
/// beside it.
#[test]
fn rule_2_what_is_learned_behind_both_cursors_is_kept() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "2s"}}
        0 control terms/a {"transit_limit": "2s"}
        0 control conversation/a/long {"retention": "1h"}
        1 send a/c/n @1 => +store a/c/n
        9 look => -store a/c/n expired
        9 recall a/long/m @1
        9 filter 1
        9 reopen
        10 send a/long/m @1 => over
        "#,
    );
}

/// Rule 3: opting out reaches conversations of a longer retention, and messages whose time is ahead of it.
#[test]
fn rule_3_opting_out_reaches_whatever_is_stored() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "2s"}}
        0 control conversation/a/long {"retention": "1h"}
        1 send a/long/m @1 => +store a/long/m
        5 send a/long/n @9 => +store a/long/n
        5 send a/c/o @9 => +store a/c/o
        5 look
        6 control tenant/a null
        6 look => -store a/long/m opted-out, -store a/long/n opted-out, -store a/c/o opted-out
        7 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        8 send a/long/m @1 => over
        8 send a/long/n @9 => over
        8 send a/c/o @9 => over
        20 look
        "#,
    );
}

/// Rule 4: while a conversation lives longer than its tenant's messages, what is known of its coming and gone
/// ones outlasts the tenant's horizon too.
#[test]
fn rule_4_a_longer_conversation_remembers_longer() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "2s"}}
        0 control terms/a {"transit_limit": "2s"}
        0 control conversation/a/long {"retention": "1h"}
        1 recall a/long/early @1
        1 send a/long/gone @1 => +store a/long/gone
        2 recall a/long/gone @1 => -store a/long/gone recalled
        9 look
        9 filter 1
        9 reopen
        10 send a/long/early @1 => over
        10 send a/long/gone @1 => over
        10 send a/long/new @1 => +store a/long/new
        "#,
    );
}

/// Rule 5: a new override does not reach back behind what had ended under the tenant's retention.
#[test]
fn rule_5_a_new_override_starts_where_its_tenant_is() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "2s"}}
        0 control terms/a {"transit_limit": "1s"}
        1 send a/c/m @1 => +store a/c/m
        4 look => -store a/c/m expired
        4 filter 1
        5 control conversation/a/c {"retention": "1h"}
        6 send a/c/m @1 => over
        6 send a/c/n @2 => over
        6 send a/c/o @4 => +store a/c/o
        "#,
    );
}

/// Rule 5: an override that is removed leaves behind what it had ended, also if it comes again.
#[test]
fn rule_5_a_removed_override_stays_until_its_tenant_has_caught_up() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "10s"}}
        0 control terms/a {"transit_limit": "1s"}
        0 control conversation/a/c {"retention": "1s"}
        1 send a/c/m @1 => +store a/c/m
        3 look => -store a/c/m expired
        4 control conversation/a/c null
        5 send a/c/n @2 => over
        5 send a/c/o @4 => +store a/c/o
        6 control conversation/a/c {"retention": "1h"}
        6 send a/c/p @3 => over
        7 send a/c/m @1 => over
        20 look
        "#,
    );
}

/// Rule 6: what is over on arrival for another reason than its age is remembered: a second `Sent` that leaves
/// the reason out does not bring it in.
#[test]
fn rule_6_what_was_over_on_arrival_stays_over() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        5 send a/c/m @1 ttl=1 => over
        5 send b/c/m @1 ttl=1 => over
        6 edit a/c/m @1 at=6 sent => over
        6 edit b/c/m @1 at=6 sent => over
        7 reopen
        7 send a/c/m @1 => over
        7 send b/c/m @1 => over
        "#,
    );
}

/// Rule 7: what is kept beyond the cursors is ended on time by itself.
#[test]
fn rule_7_what_is_kept_wakes_by_itself() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "2s"}}
        0 control terms/a {"minimum": "20s"}
        0 control conversation/a/long {"retention": "30s"}
        1 send a/c/m @1 => +store a/c/m
        1 send a/long/n @1 => +store a/long/n
        1 send a/long/o @1 => +store a/long/o
        2 recall a/long/o @1
        9 look
        10 reopen
        20.999 look
        21 look => -store a/c/m expired, -store a/long/o recalled
        30.999 look
        31 look => -store a/long/n expired
        "#,
    );
}

/// Rule 8: a partition that sees a tenant late agrees with the others: what was sent before `since` or had
/// ended is not stored.
#[test]
fn rule_8_a_tenant_seen_late_begins_where_it_is() {
    messages(
        r#"
        0 control terms/a {"transit_limit": "1s"}
        5 control tenant/a {"message": {"storage": "in", "retention": "10s"}}
        5 control terms/b {"transit_limit": "1s"}
        5 control tenant/b {"message": {"storage": "in", "retention": "1h"}}
        9 send a/c/m @4 => over
        9 send b/c/m @4 => over
        9 send a/c/n @5 => +store a/c/n
        9 send b/c/n @5 => +store b/c/n
        20 send a/c/o @6 => over
        20 send b/c/o @6 => +store b/c/o
        20 look => -store a/c/n expired
        "#,
    );
}

/// Rule 8: nor is what had ended under a policy that was changed before the tenant came.
#[test]
fn rule_8_what_had_ended_before_the_tenant_came() {
    messages(
        r#"
        0 control terms/a {"transit_limit": "1s"}
        0 control tenant/a {"message": {"storage": "in", "retention": "2s"}}
        10 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        11 send a/c/m @3 => over
        11 send a/c/n @9 => +store a/c/n
        "#,
    );
}

/// Rule 9: a partition that was away applies every change in turn: out and in again is not nothing.
#[test]
fn rule_9_every_change_is_seen() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        1 send a/c/m @1 => +store a/c/m
        1 reopen
        10 control written=3 tenant/a null
        10 control written=5 tenant/a {"message": {"storage": "in", "retention": "1h"}}
        10 look => -store a/c/m opted-out
        11 send a/c/n @4 => +transit a/c/n
        11 send a/c/o @6 => +store a/c/o
        "#,
    );
}

/// Rule 9: what is in force is in the state: the last valid record of a key, what waits, and the place.
#[test]
fn rule_9_what_is_in_force_outlasts_a_restart() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "5s"}}
        0 control terms/a {"transit_limit": "3s"}
        0 control conversation/a/long {"retention": "20s"}
        0 control tenant/b {"message": {"storage": "in", "retention": "5s"}, "effective_at": "@10"}
        0 control tenant/c {"message": {"storage": "in"}}
        0 control hold/1 {"tenant": "c", "reason": "a court"}
        0 reopen
        1 send a/c/m @1 => +store a/c/m
        1 send a/long/m @1 => +store a/long/m
        1 send b/c/m @1 => +transit b/c/m
        1 send c/c/m @1 => +store c/c/m
        2 recall c/c/m @1
        2 reopen
        6 look => -store a/c/m expired
        7 reopen
        11 send b/c/n @10 => +store b/c/n
        12 look
        21 look => -store a/long/m expired, -store b/c/n expired
        "#,
    );
}

/// Rule 9: a record that is invalid leaves the last valid one in force, across restarts too.
#[test]
fn rule_9_an_invalid_record_changes_nothing() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "5s"}}
        1 control tenant/a {"message": {"storage": "out", "retention": "5s"}} => refused
        1 control tenant/a nonsense => refused
        2 reopen
        2 send a/c/m @2 => +store a/c/m
        7 look => -store a/c/m expired
        "#,
    );
}

/// Rule 10: a change has the earlier of the record's time and now.
#[test]
fn rule_10_a_change_has_the_earlier_time() {
    messages(
        r#"
        10 control written=3 tenant/a {"message": {"storage": "in", "retention": "1h"}}
        11 send a/c/m @4 => +store a/c/m
        11 send a/c/n @2 => +transit a/c/n
        12 control written=100 tenant/b {"message": {"storage": "in", "retention": "1h"}}
        13 send b/c/m @12 => +store b/c/m
        13 send b/c/n @11 => +transit b/c/n
        "#,
    );
}

/// Rule 10: what a change has ended stays ended while it is worked off in slices, even if the change is
/// taken back meanwhile.
#[test]
fn rule_10_a_sweep_finishes_what_it_began() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        0 control conversation/a/long {"retention": "2h"}
        1 send a/long/m @1 => +store a/long/m
        2 send a/c/n @2 => +store a/c/n
        3 send a/c/o @3 => +store a/c/o
        4 control tenant/a null
        5 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        6 send a/c/p @6 => +store a/c/p
        6 look => -store a/c/n opted-out, -store a/c/o opted-out, -store a/long/m opted-out
        7 look
        "#,
    );
}

/// The same for profiles: out and in again ends what was stored, and what comes then stays.
#[test]
fn rule_10_for_profiles() {
    profiles(
        r#"
        0 control tenant/a {"profile": {"storage": "in", "retention": "1h"}}
        1 set a/u @1 => +store a/u
        1 set a/v @1 => +store a/v
        4 control tenant/a null
        5 control tenant/a {"profile": {"storage": "in", "retention": "1h"}}
        6 set a/v @6 => +store a/v
        6 look => -store a/u opted-out
        7 look
        "#,
    );
}
