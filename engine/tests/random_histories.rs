//! Random histories of each class: whatever happens in whatever order, the engine does what the contract
//! allows, and what is live at the end is what the model says.
//!
//! Every run tries the same ones; `LETHE_HISTORIES` sets how many of each class are drawn anew instead.
#![expect(clippy::panic, reason = "a test fails by panicking")]

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use lethe_engine::Class;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRng, TestRunner};
use support::harness::Harness;
use support::history::{Action, Step};
use support::random::{Seed, history};

/// Histories of each class that a test run tries, if nothing else is asked for.
const HISTORIES: u32 = 2_000;
/// The steps of a history.
const STEPS_MAX: usize = 48;

fn run(class: Class, steps: &[Step]) -> Result<(), String> {
    let mut harness = Harness::new(class);
    let mut text = String::new();
    for step in steps {
        text.push_str(&format!("    {step}\n"));
        harness.step(step).map_err(|wrong| format!("{text}{wrong}"))?;
    }
    harness.check_live().map_err(|wrong| format!("{text}{wrong}"))
}

/// The history, then looks: at once, and when most of what is bounded has ended.
fn whole(class: Class, back: bool, seeds: &[Seed]) -> Vec<Step> {
    let mut steps = history(class, back, seeds);
    let end = steps.iter().map(|step| step.now).max().unwrap_or_default();
    steps.push(Step { now: end, action: Action::Suspend(false) });
    for after in [0, 1_000, 3_000, 20_000, 30 * 24 * 3_600_000] {
        steps.push(Step { now: end + after, action: Action::Look(None) });
    }
    steps
}

fn histories(class: Class, back: bool) {
    let asked: Option<u32> = std::env::var("LETHE_HISTORIES").ok().map(|count| {
        count.parse().unwrap_or_else(|_| panic!("LETHE_HISTORIES is not a number: {count}"))
    });
    let cases = asked.unwrap_or(HISTORIES);
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner = if asked.is_some() {
        TestRunner::new(config)
    } else {
        let always_the_same = TestRng::deterministic_rng(config.rng_algorithm);
        TestRunner::new_with_rng(config, always_the_same)
    };
    let seeds = prop::collection::vec(any::<Seed>(), 1..STEPS_MAX);
    let ran = runner
        .run(&seeds, |seeds| run(class, &whole(class, back, &seeds)).map_err(TestCaseError::fail));
    match ran {
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("{}", why.message()),
        Err(TestError::Abort(why)) => panic!("{}", why.message()),
    }
}

#[test]
fn messages() {
    histories(Class::Message, false);
}

#[test]
fn messages_when_the_clock_steps_back() {
    histories(Class::Message, true);
}

#[test]
fn profiles() {
    histories(Class::Profile, false);
}

#[test]
fn profiles_when_the_clock_steps_back() {
    histories(Class::Profile, true);
}

#[test]
fn configs() {
    histories(Class::Config, false);
}

#[test]
fn configs_when_the_clock_steps_back() {
    histories(Class::Config, true);
}
