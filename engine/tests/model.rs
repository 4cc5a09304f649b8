//! The model itself: it must refuse what the contract does not allow. (That it allows what the contract says
//! is tested by every table of the other files.)

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use lethe_engine::Class;
use support::table::model_refuses;

#[track_caller]
fn refused(why: &str, table: &str) {
    model_refuses(Class::Message, table, why);
}

#[test]
fn a_tombstone_before_its_time() {
    refused(
        "it has not ended so",
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "5s"}}
        1 send a/c/m @1 => +store a/c/m
        5.999 look => -store a/c/m expired
        "#,
    );
}

#[test]
fn no_tombstone_when_it_is_due() {
    refused(
        "no tombstone after a look",
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "5s"}}
        1 send a/c/m @1 => +store a/c/m
        6 look
        "#,
    );
}

#[test]
fn a_second_tombstone() {
    refused(
        "a second tombstone",
        "
        1 send a/c/m @1 => +transit a/c/m
        2 recall a/c/m @1 => -transit a/c/m recalled
        3 look => -transit a/c/m recalled
        ",
    );
}

#[test]
fn a_tombstone_of_what_was_never_emitted() {
    refused(
        "never emitted",
        "
        1 recall a/c/m @1
        2 look => -transit a/c/m recalled
        ",
    );
}

#[test]
fn a_message_that_comes_back() {
    refused(
        "nothing may come of it",
        "
        1 send a/c/m @1 to=1 => +transit a/c/m
        2 deliver a/c/m @1 bob => -transit a/c/m delivered
        3 send a/c/m @1 to=1 => +transit a/c/m
        ",
    );
}

#[test]
fn a_tombstone_under_a_hold() {
    refused(
        "nothing may be tombstoned",
        r#"
        0 control tenant/a {"message": {"storage": "in"}}
        0 control hold/1 {"tenant": "a"}
        1 send a/c/m @1 => +store a/c/m
        2 recall a/c/m @1 => -store a/c/m recalled
        "#,
    );
}

#[test]
fn a_tombstone_under_the_minimum() {
    refused(
        "the minimum keeps it",
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "5s"}}
        0 control terms/a {"minimum": "10s"}
        1 send a/c/m @1 => +store a/c/m
        6 look => -store a/c/m expired
        "#,
    );
}

#[test]
fn storing_what_the_tenant_opted_out_of() {
    refused("Stored", "1 send a/c/m @1 => +store a/c/m");
}

#[test]
fn storing_what_had_ended_under_an_earlier_policy() {
    refused(
        "Stored",
        r#"
        0 control tenant/a {"message": {"storage": "in", "retention": "2s"}}
        5 control tenant/a {"message": {"storage": "in", "retention": "1h"}}
        5 send a/c/m @1 => +store a/c/m
        "#,
    );
}
