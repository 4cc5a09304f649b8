//! What many tenants cost that are due at once: as much as one, as many times.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use lethe_engine::Class;
use support::harness::Harness;
use support::text;

/// Rows that a look at one tenant may walk over, of whatever kind.
const WALKED_MAX: usize = 40;

/// Rows walked over by a look at so many tenants, each with a message that is due: one look, in one batch.
fn walked(tenants: usize) -> usize {
    let mut harness = Harness::new(Class::Message);
    let mut step = |line: &str| {
        harness.step(&text::line(line).0).unwrap();
        harness.engine().1.walked
    };
    for tenant in 0..tenants {
        step(&format!(
            r#"0 control tenant/t{tenant} {{"message": {{"storage": "in", "retention": "1s"}}}}"#
        ));
        step(&format!("0 send t{tenant}/c/m @0"));
    }
    let before = step("0 commit");
    step("2 look 100000") - before
}

#[test]
fn a_look_walks_over_what_it_has_worked_off_once() {
    let (few, many) = (walked(10), walked(1_000));
    assert!(few <= 10 * WALKED_MAX, "10 tenants: {few} rows");
    assert!(many <= 1_000 * WALKED_MAX, "1,000 tenants: {many} rows");
}
