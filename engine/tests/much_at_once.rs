//! What a look costs that finds much to do at once: as much as one that finds one thing, as many times.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use lethe_engine::Class;
use support::harness::Harness;
use support::text;

/// Rows that a look may walk over for each thing that it does, of whatever kind.
const WALKED_MAX: usize = 40;

/// Rows walked over by one look, in one batch, after so many of something were prepared.
fn walked(count: usize, prepare: fn(usize) -> Vec<String>) -> usize {
    let mut harness = Harness::new(Class::Message);
    let mut step = |line: &str| {
        harness.step(&text::line(line).0).unwrap();
        harness.engine().1.walked
    };
    for number in 0..count {
        for line in prepare(number) {
            step(&line);
        }
    }
    let before = step("0 commit");
    step("2 look 100000") - before
}

fn check(what: &str, prepare: fn(usize) -> Vec<String>) {
    for count in [10, 1_000] {
        let rows = walked(count, prepare);
        assert!(rows <= count * WALKED_MAX, "{count} {what}: {rows} rows");
    }
}

#[test]
fn tenants_that_are_due_are_walked_over_once() {
    check("tenants", |tenant| {
        vec![
            format!(
                r#"0 control tenant/t{tenant} {{"message": {{"storage": "in", "retention": "1s"}}}}"#
            ),
            format!("0 send t{tenant}/c/m @0"),
        ]
    });
}

#[test]
fn changes_that_are_carried_out_are_walked_over_once() {
    check("conversations", |conversation| {
        vec![format!(r#"0 control conversation/t/c{conversation} {{"retention": "1s"}}"#)]
    });
}
