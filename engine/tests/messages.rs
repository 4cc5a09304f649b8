//! Messages: what is stored, what passes through, and when each ends.

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use support::table::messages;

/// Nobody said anything about tenant `a`: its messages pass through, and go once their recipient has them.
#[test]
fn unknown_means_transit_until_delivered() {
    messages(
        "
        1 send a/c/m @1 to=1 => +transit a/c/m
        2 look
        3 deliver a/c/m @1 bob => -transit a/c/m delivered
        4 look
        5 send a/c/m @1 to=1 => over
        ",
    );
}

/// What nobody took delivery of goes at the transit limit: a day, where the operator said nothing else.
#[test]
fn undelivered_goes_at_the_transit_limit() {
    messages(
        "
        1 send a/c/m @1 to=1 => +transit a/c/m
        86400 look
        86401 look => -transit a/c/m undelivered
        86402 deliver a/c/m @1 bob
        86402 send a/c/m @1 to=1 => over
        ",
    );
}

/// The limit is the operator's, for what passes through now and for what passes already.
#[test]
fn the_transit_limit_applies_to_what_is_in_transit() {
    messages(
        r#"
        1 send a/c/m @1 to=1 => +transit a/c/m
        2 control terms/a {"transit_limit": "5s"}
        5 look
        6 look => -transit a/c/m undelivered
        7 send a/c/n @1 => over
        7 control terms/a null
        8 send a/c/n @1 => over
        8 send a/c/o @3 => +transit a/c/o
        "#,
    );
}

/// A message to a group waits for each of its recipients once; reading it is having it.
#[test]
fn a_group_message_waits_for_each_recipient_once() {
    messages(
        "
        1 send a/c/m @1 to=3 => +transit a/c/m
        2 deliver a/c/m @1 bob
        2 deliver a/c/m @1 bob
        3 read a/c/m @1 bob
        3 read a/c/m @1 carol
        4 commit
        4 look
        5 deliver a/c/m @1 dave => -transit a/c/m delivered
        5 deliver a/c/m @1 erin
        ",
    );
}

/// Where the sender did not say how many recipients there are, only `all` ends the wait before the limit does.
#[test]
fn without_a_count_only_all_is_delivered() {
    messages(
        "
        1 send a/c/m @1 => +transit a/c/m
        2 deliver a/c/m @1 bob
        2 deliver a/c/m @1 carol
        3 look
        4 deliver a/c/m @1 all => -transit a/c/m delivered
        ",
    );
}

/// Deliveries that come before their message count: whole or in part.
#[test]
fn deliveries_may_come_first() {
    messages(
        "
        1 deliver a/c/m @1 bob
        2 send a/c/m @1 to=1 => over
        2 deliver a/c/n @1 bob
        3 send a/c/n @1 to=2 => +transit a/c/n
        4 deliver a/c/n @1 carol => -transit a/c/n delivered
        5 deliver a/c/o @1 all
        6 reopen
        6 send a/c/o @1 to=9 => over
        7 look
        ",
    );
}

/// An opted-in tenant's message stays for its retention, delivered or not.
#[test]
fn opted_in_stays_for_its_retention() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "5s"}}
        1 send a/c/m @1 to=1 => +store a/c/m
        2 deliver a/c/m @1 bob
        2 deliver a/c/n @2 all
        2 send a/c/n @2 to=1 => +store a/c/n
        5.999 look
        6 look => -store a/c/m expired
        6 send a/c/m @1 to=1 => over
        7 look => -store a/c/n expired
        "#,
    );
}

/// Retention defaults to 7 days.
#[test]
fn retention_defaults_to_a_week() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in"}}
        1 send a/c/m @1 => +store a/c/m
        604800 look
        604801 look => -store a/c/m expired
        "#,
    );
}

/// `forever` holds only where the operator's maximum says so; else it is capped, ten years by default.
#[test]
fn the_maximum_caps_what_a_tenant_chose() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "forever"}}
        0 control tenant/b {"message": {"storage": "in", "retention": "forever"}}
        0 control terms/b {"maximum": "forever"}
        1 send a/c/m @1 => +store a/c/m
        1 send b/c/m @1 => +store b/c/m
        315360000 look
        315360001 look => -store a/c/m expired
        400000000 control terms/b {"maximum": "10s"}
        400000000 look => -store b/c/m expired
        "#,
    );
}

/// What was sent before the tenant opted in is treated as opted out, unless its policy says since when.
#[test]
fn what_was_sent_before_opting_in_passes_through() {
    messages(
        r#"
        5 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        5 control tenant/b {"message": {"storage": "in", "retention": "1h", "since": "@3"}}
        6 send a/c/m @4 => +transit a/c/m
        6 send a/c/n @5 => +store a/c/n
        6 send b/c/m @2 => +transit b/c/m
        6 send b/c/n @3 => +store b/c/n
        "#,
    );
}

/// A message that comes when its retention has passed is not stored, but may still pass through; when the
/// transit limit has passed too, it is over.
#[test]
fn a_late_message_passes_through_or_is_over() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "5s", "since": "@0"}}
        0 control terms/a {"transit_limit": "10s"}
        8 send a/c/m @3 => +transit a/c/m
        8 send a/c/n @4 => +store a/c/n
        8 look
        9 look => -store a/c/n expired
        13 look => -transit a/c/m undelivered
        13 send a/c/o @3 => over
        "#,
    );
}

/// A policy applies to what is stored already; what had ended under an earlier one stays ended.
#[test]
fn a_policy_applies_to_what_is_stored() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "10s"}}
        0 control terms/a {"transit_limit": "1s"}
        1 send a/c/m @1 => +store a/c/m
        4 send a/c/n @4 => +store a/c/n
        5 control tenant/a {"message": {"storage": "in", "retention": "3s"}}
        5 look => -store a/c/m expired
        6 control tenant/a {"message": {"storage": "in", "retention": "100s"}}
        7 send a/c/m @1 => over
        7 send a/c/o @2 => over
        103 look
        104 look => -store a/c/n expired
        "#,
    );
}

/// Opting out ends what was stored, and nothing in transit; opting in again does not bring it back.
#[test]
fn opting_out_ends_what_was_stored() {
    messages(
        r#"
        1 send a/c/t @1 to=1 => +transit a/c/t
        2 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        3 send a/c/m @3 => +store a/c/m
        4 control tenant/a null
        4 look => -store a/c/m opted-out
        5 send a/c/n @5 to=1 => +transit a/c/n
        6 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        7 send a/c/m @3 => over
        7 send a/c/n @5 to=1 => known
        8 deliver a/c/n @5 bob => -transit a/c/n delivered
        8 deliver a/c/t @1 bob => -transit a/c/t delivered
        "#,
    );
}

/// A class that the tenant's record leaves out is opted out.
#[test]
fn a_class_left_out_is_opted_out() {
    messages(
        r#"
        0 control tenant/a {"profile": {"storage": "in"}}
        1 send a/c/m @1 => +transit a/c/m
        2 control tenant/a {"message": {"storage": "in"}}
        3 send a/c/n @3 => +store a/c/n
        4 control tenant/a {"profile": {"storage": "in"}}
        4 look => -store a/c/n opted-out
        "#,
    );
}

/// A message's own time to live can only shorten, stored or in transit.
#[test]
fn a_message_burns_at_its_own_time() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "10s"}}
        1 send a/c/m @1 ttl=3 => +store a/c/m
        1 send a/c/n @1 ttl=60 => +store a/c/n
        1 send b/c/m @1 ttl=3 => +transit b/c/m
        3.999 look
        4 look => -store a/c/m burned, -transit b/c/m burned
        4 send a/c/m @1 ttl=3 => over
        5 send a/c/o @1 ttl=3 => over
        11 look => -store a/c/n expired
        "#,
    );
}

/// A recall ends a message wherever it is; before the message came, it keeps it from coming.
#[test]
fn a_recall_ends_a_message() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        1 send a/c/m @1 => +store a/c/m
        1 send b/c/m @1 => +transit b/c/m
        2 recall a/c/m @1 => -store a/c/m recalled
        2 recall b/c/m @1 => -transit b/c/m recalled
        3 recall a/c/m @1
        3 recall a/c/n @2
        3 recall b/c/n @2
        4 send a/c/m @1 => over
        4 send a/c/n @2 => over
        4 send b/c/n @2 => over
        5 look
        "#,
    );
}

/// Duplicates are known while the message lives.
#[test]
fn a_duplicate_is_known() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "10s"}}
        1 send a/c/m @1 => +store a/c/m
        1 send a/c/m @1 => known
        2 reopen
        3 send a/c/m @1 => known
        11 send a/c/m @1 => over, -store a/c/m expired
        11 look
        "#,
    );
}

/// The highest edit wins, of equals the first; an edit is not a tombstone, and does not lengthen a life.
#[test]
fn the_highest_edit_wins() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "10s"}}
        1 send a/c/m @1 => +store a/c/m
        2 edit a/c/m @1 at=4 => +store a/c/m
        3 edit a/c/m @1 at=4
        3 edit a/c/m @1 at=3
        4 send a/c/m @1 => known
        5 edit a/c/m @1 at=5 => +store a/c/m
        6 send b/c/m @6 => +transit b/c/m
        7 edit b/c/m @6 at=7 => +transit b/c/m
        11 edit a/c/m @1 at=11 => over, -store a/c/m expired
        11 look
        12 edit a/c/m @1 at=12
        "#,
    );
}

/// An edit of what is unknown is dropped, unless it carries how the message was sent.
#[test]
fn an_edit_can_stand_for_its_message() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        1 edit a/c/m @1 at=1
        1 edit a/c/n @1 at=2 sent => +store a/c/n
        2 send a/c/m @1 => +store a/c/m
        2 send a/c/n @1 => known
        2 edit a/c/n @1 at=2
        3 recall a/c/o @1
        3 edit a/c/o @1 at=2 sent => over
        4 edit b/c/m @1 at=2 sent to=1 => +transit b/c/m
        5 deliver b/c/m @1 bob => -transit b/c/m delivered
        "#,
    );
}

/// A conversation's retention counts instead of its tenant's, longer or shorter.
#[test]
fn a_conversation_has_its_own_retention() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "5s"}}
        0 control conversation/a/long {"retention": "20s"}
        0 control conversation/a/short {"retention": "2s"}
        0 control conversation/b/c {"retention": "20s"}
        1 send a/c/m @1 => +store a/c/m
        1 send a/long/m @1 => +store a/long/m
        1 send a/short/m @1 => +store a/short/m
        1 send b/c/m @1 => +transit b/c/m
        3 look => -store a/short/m expired
        6 look => -store a/c/m expired
        8 send a/long/n @2 => +store a/long/n
        20.999 look
        21 look => -store a/long/m expired
        21 control conversation/a/long null
        21 look => -store a/long/n expired
        "#,
    );
}

/// A longer conversation is capped by the maximum, as its tenant's choice is.
#[test]
fn a_conversation_is_capped_too() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "5s"}}
        0 control conversation/a/c {"retention": "forever"}
        0 control terms/a {"maximum": "10s"}
        1 send a/c/m @1 => +store a/c/m
        10.999 look
        11 look => -store a/c/m expired
        "#,
    );
}

/// The legal minimum keeps what is stored, whatever ends it, and nothing in transit.
#[test]
fn a_legal_minimum_keeps_what_is_stored() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "5s"}}
        0 control terms/a {"minimum": "10s"}
        0 control terms/b {"minimum": "10s", "transit_limit": "2s"}
        1 send a/c/m @1 => +store a/c/m
        2 send a/c/n @2 => +store a/c/n
        2 send b/c/m @2 => +transit b/c/m
        3 recall a/c/n @2
        4 look => -transit b/c/m undelivered
        5 control tenant/a null
        10.999 look
        11 look => -store a/c/m opted-out
        12 look => -store a/c/n recalled
        "#,
    );
}

/// What a minimum still covers is stored even if it comes late or recalled: it has ended already.
#[test]
fn a_late_message_under_the_minimum_is_stored_as_ended() {
    messages(
        r#"
        0 control terms/a {"minimum": "10s", "transit_limit": "2s"}
        0 control tenant/a {"message": {"storage": "in", "retention": "3s"}}
        1 recall a/c/m @1
        2 send a/c/m @1 => +store a/c/m
        7 send a/c/n @2 => +store a/c/n
        7 edit a/c/n @2 at=5
        7 look
        11 look => -store a/c/m recalled
        12 look => -store a/c/n expired
        "#,
    );
}

/// Until holds are complete, one stops every tombstone of the tenant that it names.
#[test]
fn a_hold_stops_every_tombstone_of_its_tenant() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "3s"}}
        1 send a/c/m @1 => +store a/c/m
        1 send a/c/n @1 => +store a/c/n
        1 send b/c/m @1 to=1 => +transit b/c/m
        2 control hold/1 {"tenant": "a", "reason": "a court"}
        3 recall a/c/n @1
        3 deliver b/c/m @1 bob => -transit b/c/m delivered
        5 look
        6 reopen
        6 look
        9 control hold/1 null
        9 look => -store a/c/m expired, -store a/c/n recalled
        "#,
    );
}

/// A hold on `*` is the emergency stop.
#[test]
fn a_hold_on_every_tenant_stops_everything() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "3s"}}
        0 control hold/stop {"tenant": "*", "reason": "something is wrong"}
        1 send a/c/m @1 => +store a/c/m
        1 send b/c/m @1 to=1 => +transit b/c/m
        3 deliver b/c/m @1 bob
        9 look
        90000 look
        90001 control hold/stop null
        90001 look => -store a/c/m expired, -transit b/c/m delivered
        "#,
    );
}

/// While the control topic is not trusted, nothing is tombstoned.
#[test]
fn suspended_means_no_tombstones() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "3s"}}
        1 send a/c/m @1 => +store a/c/m
        1 send b/c/m @1 to=1 => +transit b/c/m
        2 suspend
        3 deliver b/c/m @1 bob
        9 look
        10 resume
        10 look => -store a/c/m expired, -transit b/c/m delivered
        "#,
    );
}

/// A record may say when it takes effect; until then the one before stays in force, and a newer one
/// supersedes it.
#[test]
fn a_record_may_take_effect_later() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}, "effective_at": "@5"}
        1 send a/c/m @1 => +transit a/c/m
        6 send a/c/n @5 => +store a/c/n
        6 send a/c/o @4 => +transit a/c/o
        7 control tenant/a {"message": {"storage": "out"}, "effective_at": "@10"}
        8 reopen
        9 look
        10 look => -store a/c/n opted-out
        11 control tenant/a {"message": {"storage": "in", "retention": "1h"}, "effective_at": "@20"}
        12 control tenant/a {"message": {"storage": "in", "retention": "2s"}}
        13 send a/c/p @13 => +store a/c/p
        15 look => -store a/c/p expired
        21 send a/c/q @18 => +transit a/c/q
        "#,
    );
}

/// Two calendar months after a tenant's use has ended, everything of it goes; afterwards it is opted out.
#[test]
fn everything_goes_two_months_after_the_end_of_use() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "365d"}}
        0 control terms/a {"ended_at": "@0", "transit_limit": "365d"}
        1 send a/c/m @1 => +store a/c/m
        5097599 send a/c/n @5097599 => +store a/c/n
        5097599 look
        5097600 look => -store a/c/m ended, -store a/c/n ended
        5097601 send a/c/o @5097601 => +transit a/c/o
        5097602 send a/c/m @1 => over
        "#,
    );
}

/// A batch that aborts has not happened.
#[test]
fn an_aborted_batch_has_not_happened() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "5s"}}
        1 send a/c/m @1 => +store a/c/m
        1 commit
        2 recall a/c/m @1 => -store a/c/m recalled
        2 send a/c/n @2 => +store a/c/n
        2 abort
        3 send a/c/m @1 => known
        3 send a/c/n @2 => +store a/c/n
        6 look => -store a/c/m expired
        "#,
    );
}

/// A message that burns, or whose conversation is shorter, does so on time also when what would have ended it
/// before is lengthened.
#[test]
fn a_longer_policy_leaves_shorter_lives_alone() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "2s"}}
        0 control terms/b {"transit_limit": "2s"}
        0 control conversation/a/short {"retention": "3s"}
        1 send a/c/m @1 ttl=3 => +store a/c/m
        1 send a/short/m @1 => +store a/short/m
        1 send b/c/m @1 ttl=3 => +transit b/c/m
        2 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        2 control terms/b null
        2 look
        4 look => -store a/c/m burned, -store a/short/m expired, -transit b/c/m burned
        "#,
    );
}

/// A minimum of nothing keeps nothing, also where a message's time is ahead of the clock.
#[test]
fn no_minimum_keeps_nothing_ahead_of_its_time() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        1 send a/c/m @60 => +store a/c/m
        2 recall a/c/m @60 => -store a/c/m recalled
        3 send a/c/n @60 => +store a/c/n
        4 control tenant/a null
        4 look => -store a/c/n opted-out
        "#,
    );
}

/// What changes after a restart is a change all the same: the tenant is read as it was before.
#[test]
fn a_change_right_after_a_restart_is_seen() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "3s"}}
        0 control hold/1 {"tenant": "a", "reason": "a court"}
        1 send a/c/m @1 => +store a/c/m
        5 look
        5 reopen
        6 control hold/1 null
        6 look => -store a/c/m expired
        7 send a/c/n @7 => +store a/c/n
        7 reopen
        8 control tenant/a null
        8 look => -store a/c/n opted-out
        8 reopen
        9 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        9 send a/c/o @8 => +transit a/c/o
        "#,
    );
}

/// A late message of a longer conversation is known, although its tenant's own time has passed it and nothing
/// else of the tenant was ever seen.
#[test]
fn a_late_message_of_a_longer_conversation_is_known() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "2s"}}
        0 control conversation/a/long {"retention": "1h"}
        9 look
        9 send a/long/m @1 => +store a/long/m
        10 send a/long/m @1 => known
        11 recall a/long/m @1 => -store a/long/m recalled
        12 send a/long/m @1 => over
        "#,
    );
}

/// What had ended when an override was withdrawn stays ended, also if the clock steps back.
#[test]
fn what_ended_with_an_override_stays_ended() {
    messages(
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "4s"}}
        1 control conversation/a/c {"retention": "4s"}
        1 send a/c/m @1 => +store a/c/m
        5 control conversation/a/c null
        4 send a/c/m @1 => over, -store a/c/m expired
        5 look
        "#,
    );
}
