//! Config items: kept while the tenant is in use, and two calendar months (UTC) beyond.

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use support::table::configs;

/// Whatever the tenant chose, its items are stored for as long as it is in use.
#[test]
fn items_stay_while_the_tenant_is_in_use() {
    configs(
        r#"
        1 set a/callback @1 => +store a/callback
        2 set a/callback @2 => +store a/callback
        2 set a/callback @1
        400000000 look
        400000001 remove a/callback @400000001 => -store a/callback removed
        400000002 set a/callback @2
        "#,
    );
}

/// 2026-01-01 and two months is 2026-03-01: 59 days.
#[test]
fn items_go_two_calendar_months_after_the_end() {
    configs(
        r#"
        0 set a/callback @0 => +store a/callback
        0 set b/callback @0 => +store b/callback
        1 control terms/a {"ended_at": "@0"}
        5097599.999 look
        5097600 look => -store a/callback ended
        5097601 set a/callback @5097601
        5097602 control terms/a null
        5097603 set a/callback @5097603 => +store a/callback
        "#,
    );
}

/// 2025-12-31 and two months is 2026-02-28, at the same time of the day.
#[test]
fn a_day_that_the_month_lacks_becomes_its_last() {
    configs(
        r#"
        0 control terms/a {"ended_at": "@-43200"}
        0 set a/callback @0 => +store a/callback
        5054399 look
        5054400 look => -store a/callback ended
        "#,
    );
}

/// An end that is taken back in time does not come.
#[test]
fn an_end_may_be_taken_back() {
    configs(
        r#"
        0 set a/callback @0 => +store a/callback
        1 control terms/a {"ended_at": "@0"}
        5097599 control terms/a {"transit_limit": "1h"}
        5097600 look
        5097601 set a/callback @5097601 => +store a/callback
        5097602 control terms/a {"ended_at": "@1"}
        5097602 look => -store a/callback ended
        "#,
    );
}

/// A hold keeps them.
#[test]
fn a_hold_keeps_items() {
    configs(
        r#"
        0 set a/callback @0 => +store a/callback
        1 control hold/1 {"tenant": "a", "reason": "a court"}
        2 remove a/callback @2
        3 look
        4 control hold/1 null
        4 look => -store a/callback removed
        "#,
    );
}

/// Nor does it come where a partition was away for so long that it hears of both too late.
#[test]
fn an_end_taken_back_in_time_is_taken_back_for_whoever_was_away() {
    configs(
        r#"
        0 set a/callback @0 => +store a/callback
        0 commit
        1 control terms/a {"ended_at": "@0"}
        2 control terms/a null
        5097700 abort
        5097700 look
        5097701 set a/callback @5097701 => +store a/callback
        "#,
    );
}
