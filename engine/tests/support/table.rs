//! Tables of cases: a history as text with what is to come of each line.
//!
//! Invariant: a line says everything that comes of it: what it does not name must not happen. Every table is
//! also judged by the model, first as it is written (which tests the model), then as the engine does it.

use lethe_engine::{Class, Looked, Outcome};

use super::harness::Harness;
use super::history::{Action, Seen, Step};
use super::model::{Did, Model};
use super::text;

const OUTCOMES: [Outcome; 6] = [
    Outcome::Stored,
    Outcome::Transit,
    Outcome::Learned,
    Outcome::Known,
    Outcome::Over,
    Outcome::Nothing,
];

/// Checks a table about messages.
#[track_caller]
pub fn messages(table: &str) {
    check(Class::Message, table);
}

/// Checks a table about profiles.
#[track_caller]
pub fn profiles(table: &str) {
    check(Class::Profile, table);
}

/// Checks a table about config items.
#[track_caller]
pub fn configs(table: &str) {
    check(Class::Config, table);
}

#[track_caller]
fn check(class: Class, table: &str) {
    let lines = lines(table);
    let mut harness = Harness::new(class);
    model_agrees(class, &lines);
    for (line, step, results) in &lines {
        let did = harness.step(step).unwrap_or_else(|wrong| panic!("{line}\n  {wrong}"));
        let (seen, outcome) = expected(results);
        let mut came: Vec<Seen> = did.seen;
        came.sort();
        let text =
            |seen: &[Seen]| seen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        assert_eq!(text(&came), text(&seen), "{line}\n  ({:?})", did.outcome);
        if let Some(outcome) = outcome {
            assert_eq!(did.outcome, Some(outcome), "{line}");
        }
    }
}

/// A table's lines, each with its step and its results.
fn lines(table: &str) -> Vec<(&str, Step, Vec<String>)> {
    let lines =
        table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let (step, results) = text::line(line);
        (line, step, results)
    });
    parsed.collect()
}

/// What a table says is what the model allows. (Aborts are the harness's business: such tables are left out.)
#[track_caller]
fn model_agrees(class: Class, lines: &[(&str, Step, Vec<String>)]) {
    if lines.iter().any(|(_, step, _)| step.action == Action::Abort) {
        return;
    }
    if let Err(wrong) = model_says(class, lines) {
        panic!("the model does not agree with the table: {wrong}");
    }
}

/// What the model says of a table that claims something wrong.
#[track_caller]
pub fn model_refuses(class: Class, table: &str, why: &str) {
    match model_says(class, &lines(table)) {
        Ok(()) => panic!("the model believes it"),
        Err(wrong) => assert!(wrong.contains(why), "{wrong}"),
    }
}

fn model_says(class: Class, lines: &[(&str, Step, Vec<String>)]) -> Result<(), String> {
    let mut model = Model::new(class);
    for (line, step, results) in lines {
        let (seen, outcome) = expected(results);
        let emitted = seen.iter().find_map(|seen| match seen {
            Seen::Content { storage: lethe_engine::Storage::Stored, .. } => Some(Outcome::Stored),
            Seen::Content { storage: lethe_engine::Storage::Transit, .. } => Some(Outcome::Transit),
            Seen::Tombstone { .. } => None,
        });
        let outcome = outcome.or(emitted);
        let looked = Looked { more: false, overdue_since_ms: None };
        let looked = (step.action == Action::Look(None)).then_some(looked);
        let did = Did { outcome, seen, looked, wake: Some(i64::MIN) };
        let judged = match &step.action {
            Action::Control { .. } if is_refused(results) => Ok(()),
            Action::Control { written, key, value } => {
                model.control(step.now, *written, key, value.as_deref(), &did)
            }
            Action::Message(..)
            | Action::Set(..)
            | Action::Remove(..)
            | Action::Look(_)
            | Action::Commit
            | Action::Reopen
            | Action::Abort
            | Action::Suspend(_)
            | Action::Filter(_)
            | Action::Again(_) => model.judge(step, &did),
        };
        judged.map_err(|wrong| format!("{line}\n  {wrong}"))?;
    }
    Ok(())
}

fn expected(results: &[String]) -> (Vec<Seen>, Option<Outcome>) {
    let mut seen: Vec<Seen> = results.iter().filter_map(|result| text::seen(result)).collect();
    seen.sort();
    let outcome =
        results.iter().find(|result| text::seen(result).is_none() && *result != "refused");
    let outcome = outcome.map(|name| {
        *OUTCOMES.iter().find(|o| o.name() == name).unwrap_or_else(|| panic!("no outcome: {name}"))
    });
    (seen, outcome)
}

/// Whether a control record is said to be invalid: then it changes nothing.
fn is_refused(results: &[String]) -> bool {
    results.iter().any(|result| result == "refused")
}
