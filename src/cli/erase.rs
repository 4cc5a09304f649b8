//! `lethe erase`: erasure requests, and how far they are.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;

use super::control::{Common, Desk, How, Scope, Withdraw, print, print_json};
use super::endpoints::{self, Endpoints};
use crate::control::key::Kind;
use crate::control::value::{self, time};
use crate::error::Failure;
use crate::http::answer::{Erased, InPartition, Progress};

/// Erase what a request covers, show how far that is, or withdraw a request
#[derive(Debug, Subcommand)]
pub(super) enum Erase {
    /// Place a request: what it covers ends at once, or as soon as hold and minimum allow
    #[command(
        after_help = "Examples:\n  lethe erase place req-9 --tenant acme --user ada --wait\n  lethe erase \
                            place req-9 --tenant acme --user ada --standing    # consent withdrawn\n  \
                            lethe erase place req-9 --tenant acme --user ada --forecast"
    )]
    Place(Place),
    /// Bound a standing request: what is sent from then on is stored again as the tenant chose
    #[command(after_help = "Example:\n  lethe erase bound req-9")]
    Bound(Bound),
    /// Withdraw a request; refused while something that it covers could arrive late and be stored
    #[command(after_help = "Example:\n  lethe erase withdraw req-9")]
    Withdraw(Withdraw),
    /// Show how far a request is, in every partition
    #[command(after_help = "Example:\n  lethe erase status req-9 --endpoints lethe:9644 --json")]
    Status(Status),
    /// Show every request
    #[command(after_help = "Example:\n  lethe erase list --json")]
    List(Common),
}

#[derive(Args, Debug)]
pub(super) struct Place {
    /// The request's name
    id: String,

    #[command(flatten)]
    scope: Scope,

    /// What was sent before then (RFC 3339) [default: before now]
    #[arg(long, value_name = "TIME")]
    before: Option<String>,

    /// Treat what is sent later as opted out
    #[arg(long, conflicts_with = "before")]
    standing: bool,

    /// Replace a request of the same name that says something else
    #[arg(long)]
    replace: bool,

    #[command(flatten)]
    how: How,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(super) struct Bound {
    /// The request's name
    id: String,

    /// What was sent before then stays erased (RFC 3339) [default: before now]
    #[arg(long, value_name = "TIME")]
    before: Option<String>,

    #[command(flatten)]
    how: How,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(super) struct Status {
    /// The request's name
    id: String,
    #[command(flatten)]
    endpoints: Endpoints,
    #[command(flatten)]
    common: Common,
}

/// How far a request is, for programs.
#[derive(Serialize)]
struct Shown<'p> {
    done: bool,
    by_class: BTreeMap<&'p str, Erased>,
    #[serde(flatten)]
    progress: &'p Progress,
}

pub(super) fn run(verb: &Erase) -> Result<(), Failure> {
    match verb {
        Erase::Place(asked) => place(asked),
        Erase::Bound(asked) => bound(asked),
        Erase::Withdraw(asked) => asked.run(Kind::Erasure),
        Erase::Status(asked) => status(asked),
        Erase::List(common) => common.open()?.list(&[Kind::Erasure.prefix()]),
    }
}

fn place(asked: &Place) -> Result<(), Failure> {
    let desk = asked.common.open()?;
    let reach = [("before", asked.before.as_deref())];
    let mut value = value::with(None, &[&asked.scope.fields()[..], &reach].concat());
    if asked.standing
        && let Value::Object(fields) = &mut value
    {
        fields.insert("standing".to_owned(), Value::Bool(true));
    }
    let key = Kind::Erasure.key(&[&asked.id]);
    let offset = desk.place(key, &value, asked.replace, &asked.how)?;
    done(&desk, &asked.id, offset, &asked.how)
}

fn bound(asked: &Bound) -> Result<(), Failure> {
    let desk = asked.common.open()?;
    let key = Kind::Erasure.key(&[&asked.id]);
    let there = desk.book.value(&key);
    if there.and_then(|there| there.get("standing")) != Some(&Value::Bool(true)) {
        return Err(Failure::Failed(format!("there is no erasure {} that stands", asked.id)));
    }
    let mut value = value::with(there, &[("before", asked.before.as_deref())]);
    if let Value::Object(fields) = &mut value {
        fields.remove("standing");
    }
    let offset = desk.say(key, &value, &asked.how)?;
    done(&desk, &asked.id, offset, &asked.how)
}

/// Where that is asked for, waits until every partition is through, and says what was found.
fn done(desk: &Desk, id: &str, offset: Option<i64>, how: &How) -> Result<(), Failure> {
    let Some(offset) = offset.filter(|_| how.wait.wait) else { return Ok(()) };
    let mut last = None;
    let waited = how.wait.until(|| {
        let progress = ask(desk, id, &how.endpoints).map_err(|error| error.to_string())?;
        let left = left(&progress, Some(offset));
        last = Some(progress);
        Ok((left > 0).then(|| format!("{left} partitions are not through")))
    });
    waited.map_err(|why| Failure::Failed(format!("the erasure {id} goes on: {why}")))?;
    // Standard output has one JSON document, which the change has written.
    match last.filter(|_| !desk.json) {
        Some(progress) => print(&text(&progress, Some(offset))),
        None => Ok(()),
    }
}

fn status(asked: &Status) -> Result<(), Failure> {
    let desk = asked.common.open()?;
    let key = Kind::Erasure.key(&[&asked.id]);
    let offset = desk.book.get(&key).and_then(|entry| entry.in_force.as_ref());
    let offset = offset.map(|version| version.offset);
    let progress = ask(&desk, &asked.id, &asked.endpoints)?;
    if offset.is_none() && progress.partitions.iter().all(|one| one.offset.is_none()) {
        return Err(Failure::Failed(format!("{key}: nothing is said of it")));
    }
    if desk.json {
        let done = left(&progress, offset) == 0;
        return print_json(&Shown { done, by_class: progress.by_class(), progress: &progress });
    }
    print(&text(&progress, offset))
}

/// Asks every process.
fn ask(desk: &Desk, id: &str, endpoints: &Endpoints) -> Result<Progress, Failure> {
    let id = utf8_percent_encode(id, NON_ALPHANUMERIC);
    let path = format!("/v1/erasures/{id}/progress");
    let mut all = Progress::default();
    for answer in endpoints.answers::<Progress>(&path, None)? {
        all.partitions.extend(answer.partitions);
    }
    let partitions = all.partitions.iter().map(|one| &one.partition);
    endpoints::all_answered(&desk.topic.inputs()?, partitions)?;
    Ok(all)
}

/// How many partitions are not through with the request as it is in force; withdrawn, as they know it.
fn left(progress: &Progress, offset: Option<i64>) -> usize {
    let through = |one: &&InPartition| {
        one.done_at_ms.is_some() && offset.is_none_or(|offset| one.offset == Some(offset))
    };
    let known = progress.partitions.iter().filter(|one| offset.is_some() || one.offset.is_some());
    known.filter(|one| !through(one)).count()
}

fn text(progress: &Progress, offset: Option<i64>) -> String {
    let left = left(progress, offset);
    let mut text = match left {
        0 => "done in every partition\n".to_owned(),
        _ => format!(
            "under way: {left} of {} partitions are not through\n",
            progress.partitions.len()
        ),
    };
    for (class, found) in progress.by_class() {
        let Erased { ended, held, minimum, first_ms, last_ms } = found;
        text.push_str(&format!(
            "  {class}: {ended} ended, {held} kept by a hold, {minimum} kept by the minimum"
        ));
        if let Some((first_ms, last_ms)) = first_ms.zip(last_ms) {
            text.push_str(&format!(", sent {} to {}", time(first_ms), time(last_ms)));
        }
        text.push('\n');
    }
    text
}
