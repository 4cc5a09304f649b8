//! `lethe replay`: topics that are read again, and how far they are.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::control::{Common, Desk, How, print, print_json};
use super::endpoints::{self, Endpoints};
use super::wait::Wait;
use crate::control::key::Kind;
use crate::control::value;
use crate::error::Failure;
use crate::http::answer::ReplayProgress;

/// How often the processes are asked how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// Read a topic again beside the live stream: start, show, pause, resume, cancel
#[derive(Debug, Subcommand)]
pub(super) enum Replay {
    /// Start a replay; nothing that has ended comes back
    #[command(
        after_help = "Examples:\n  lethe replay start try-1 --source im.messages --dry-run --wait    # what it would do\n  \
                            lethe replay start history-1 --source im.messages --to 2026-03-01T00:00:00Z --rate 20000\n  \
                            lethe replay start letters-1 --source lethe.dlq --from 0=120,1=80\n  lethe replay start \
                            new-store --source im.messages --mode refresh --tenant acme --wait"
    )]
    Start(Start),
    /// Show how far a replay is: a bar on a terminal, JSON otherwise
    #[command(after_help = "Example:\n  lethe replay status history-1 --endpoints lethe:9644")]
    Status(Status),
    /// Have a replay stand still
    #[command(after_help = "Example:\n  lethe replay pause history-1")]
    Pause(Change),
    /// Have it go on, at another rate if one is given
    #[command(
        after_help = "Examples:\n  lethe replay resume history-1\n  lethe replay resume history-1 --rate 5000"
    )]
    Resume(Resume),
    /// End a replay where it is; its id is used up
    #[command(after_help = "Example:\n  lethe replay cancel history-1")]
    Cancel(Change),
    /// Show every replay that was not cancelled
    #[command(after_help = "Example:\n  lethe replay list --json")]
    List(Common),
}

/// What is done with what is read.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Process what lethe never did
    Missing,
    /// Emit again what is still live
    Refresh,
}

/// What a topic carries.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Class {
    Message,
    Profile,
    Config,
}

#[derive(Args, Debug)]
pub(super) struct Start {
    /// The replay's name
    id: String,

    /// The topic to read: an input, another one with its events and as many partitions, or the dead letters
    #[arg(long, value_name = "TOPIC")]
    source: String,

    /// What the topic carries, where it is none of lethe's
    #[arg(long)]
    class: Option<Class>,

    /// From where on: a time (RFC 3339), an offset, or 0=120,1=80 [default: what is there]
    #[arg(long, value_name = "PLACE")]
    from: Option<String>,

    /// Up to where, that left out [default: what is there now]
    #[arg(long, value_name = "PLACE")]
    to: Option<String>,

    /// Of this tenant alone; may be given several times
    #[arg(long, value_name = "ID")]
    tenant: Vec<String>,

    /// What is done with what is read
    #[arg(long, default_value = "missing")]
    mode: Mode,

    /// Records a second at most
    #[arg(long, value_name = "N")]
    rate: Option<u32>,

    /// Count what it would do, and emit nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    making: Making,
}

/// How a replay's record is written.
#[derive(Args, Debug)]
struct Making {
    #[command(flatten)]
    endpoints: Endpoints,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(super) struct Change {
    /// The replay's name
    id: String,
    #[command(flatten)]
    making: Making,
}

#[derive(Args, Debug)]
pub(super) struct Resume {
    #[command(flatten)]
    change: Change,

    /// Records a second at most from now on
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
}

#[derive(Args, Debug)]
pub(super) struct Status {
    /// The replay's name
    id: String,
    #[command(flatten)]
    endpoints: Endpoints,
    #[command(flatten)]
    common: Common,
}

/// How far a replay is, for programs.
#[derive(Serialize)]
struct Shown<'p> {
    done: bool,
    status: &'static str,
    read: u64,
    of: u64,
    counts: BTreeMap<&'p str, u64>,
    #[serde(flatten)]
    progress: &'p ReplayProgress,
}

pub(super) fn run(verb: &Replay) -> Result<(), Failure> {
    match verb {
        Replay::Start(asked) => start(asked),
        Replay::Status(asked) => status(asked),
        Replay::Pause(asked) => change(asked, &[("paused", json!(true))]),
        Replay::Resume(asked) => {
            let rate = asked.rate.map(|rate| ("rate", json!(rate)));
            let fields: Vec<_> = [("paused", Value::Null)].into_iter().chain(rate).collect();
            change(&asked.change, &fields)
        }
        Replay::Cancel(asked) => cancel(asked),
        Replay::List(common) => common.open()?.list(&[Kind::Replay.prefix()]),
    }
}

impl Start {
    fn value(&self) -> Result<Value, Failure> {
        let mut fields = Map::new();
        fields.insert("source".to_owned(), json!(self.source));
        let mode = match self.mode {
            Mode::Missing => "missing",
            Mode::Refresh => "refresh",
        };
        fields.insert("mode".to_owned(), json!(mode));
        if let Some(class) = self.class {
            let class = match class {
                Class::Message => "message",
                Class::Profile => "profile",
                Class::Config => "config",
            };
            fields.insert("class".to_owned(), json!(class));
        }
        for (name, given) in [("from", &self.from), ("to", &self.to)] {
            if let Some(given) = given {
                fields.insert(name.to_owned(), place(given)?);
            }
        }
        if !self.tenant.is_empty() {
            fields.insert("tenants".to_owned(), json!(self.tenant));
        }
        if let Some(rate) = self.rate {
            fields.insert("rate".to_owned(), json!(rate));
        }
        if self.dry_run {
            fields.insert("dry_run".to_owned(), json!(true));
        }
        Ok(Value::Object(fields))
    }
}

/// A place as the record says it.
fn place(given: &str) -> Result<Value, Failure> {
    let wrong = || {
        Failure::Usage(format!("{given}: a time (RFC 3339), an offset, or 0=120,1=80 by partition"))
    };
    if let Ok(offset) = given.parse::<i64>() {
        return Ok(json!(offset));
    }
    if !given.contains('=') {
        return Ok(json!(given));
    }
    let mut offsets = Map::new();
    for part in given.split(',') {
        let (partition, offset) = part.split_once('=').ok_or_else(wrong)?;
        let offset: i64 = offset.parse().map_err(|_| wrong())?;
        if offsets.insert(partition.to_owned(), json!(offset)).is_some() {
            return Err(wrong());
        }
    }
    Ok(Value::Object(offsets))
}

fn start(asked: &Start) -> Result<(), Failure> {
    let Making { endpoints, wait, common } = &asked.making;
    let desk = common.open()?;
    let key = Kind::Replay.key(&[&asked.id]);
    let how = How::at_once(endpoints, wait);
    desk.start(key, &asked.value()?, &how)?;
    if !wait.wait {
        return Ok(());
    }
    let last = follow(&desk, &asked.id, endpoints)?;
    // Standard output has one JSON document, which the change has written.
    if desk.json { Ok(()) } else { print(&text(&last)) }
}

fn change(asked: &Change, fields: &[(&str, Value)]) -> Result<(), Failure> {
    let Making { endpoints, wait, common } = &asked.making;
    let desk = common.open()?;
    let key = Kind::Replay.key(&[&asked.id]);
    let Some(there) = desk.book.value(&key) else {
        return Err(Failure::Failed(format!("there is no replay {}", asked.id)));
    };
    refuse_ended(&desk, &asked.id, endpoints)?;
    let mut value = value::with(Some(there), &[]);
    if let Value::Object(all) = &mut value {
        for (name, field) in fields {
            if field.is_null() {
                all.remove(*name);
            } else {
                all.insert((*name).to_owned(), field.clone());
            }
        }
    }
    if value == *there {
        return print("nothing changes\n");
    }
    desk.say(key, &value, &How::at_once(endpoints, wait)).map(drop)
}

fn cancel(asked: &Change) -> Result<(), Failure> {
    let Making { endpoints, wait, common } = &asked.making;
    let desk = common.open()?;
    refuse_ended(&desk, &asked.id, endpoints)?;
    desk.withdraw(Kind::Replay.key(&[&asked.id]), &How::at_once(endpoints, wait))
}

/// What has come to its end stands still by itself, and cannot be cancelled. Where nobody can be asked, that is
/// said, and it is not known.
fn refuse_ended(desk: &Desk, id: &str, endpoints: &Endpoints) -> Result<(), Failure> {
    match ask(desk, id, endpoints) {
        Ok(progress) if progress.is_ended() => {
            let status = progress.status();
            Err(Failure::Failed(format!("the replay {id} has come to its end: {status}")))
        }
        Ok(_) => Ok(()),
        Err(failure) => {
            eprintln!("lethe: whether the replay {id} is done is not known: {failure}");
            Ok(())
        }
    }
}

fn status(asked: &Status) -> Result<(), Failure> {
    let desk = asked.common.open()?;
    let key = Kind::Replay.key(&[&asked.id]);
    let progress = ask(&desk, &asked.id, &asked.endpoints)?;
    if desk.book.get(&key).is_none() && progress.replays().next().is_none() {
        return Err(Failure::Failed(format!("{key}: nothing is said of it")));
    }
    if desk.json || !std::io::stdout().is_terminal() {
        return print_json(&Shown {
            done: progress.is_ended(),
            status: progress.status(),
            read: progress.read(),
            of: progress.of(),
            counts: progress.counts(),
            progress: &progress,
        });
    }
    print(&text(&follow(&desk, &asked.id, &asked.endpoints)?))
}

/// Shows how far it is until it has come to its end.
fn follow(desk: &Desk, id: &str, endpoints: &Endpoints) -> Result<ReplayProgress, Failure> {
    let mut bar: Option<ProgressBar> = None;
    loop {
        let progress = ask(desk, id, endpoints)?;
        if std::io::stderr().is_terminal() {
            let bar = bar.get_or_insert_with(|| ProgressBar::new(0).with_style(style()));
            bar.set_length(progress.of());
            bar.set_position(progress.read());
            bar.set_message(progress.status());
        }
        if progress.is_ended() {
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
            return Ok(progress);
        }
        std::thread::sleep(LOOK);
    }
}

fn style() -> ProgressStyle {
    let template = "{msg} {bar:30} {pos}/{len} records, {per_sec}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Asks every process.
fn ask(desk: &Desk, id: &str, endpoints: &Endpoints) -> Result<ReplayProgress, Failure> {
    let id = utf8_percent_encode(id, NON_ALPHANUMERIC);
    let path = format!("/v1/replays/{id}/progress");
    let mut all = ReplayProgress::default();
    for answer in endpoints.answers::<ReplayProgress>(&path, None)? {
        all.partitions.extend(answer.partitions);
    }
    let partitions = all.partitions.iter().map(|one| &one.partition);
    endpoints::all_answered(&desk.topic.inputs()?, partitions)?;
    Ok(all)
}

fn text(progress: &ReplayProgress) -> String {
    let mut text =
        format!("{}: {} of {} offsets read\n", progress.status(), progress.read(), progress.of());
    for (outcome, count) in progress.counts().into_iter().filter(|(_, count)| *count > 0) {
        text.push_str(&format!("  {outcome}: {count}\n"));
    }
    for (partition, replay) in progress.replays() {
        if let Some(why) = &replay.why {
            text.push_str(&format!("  {}/{}: {why}\n", partition.topic, partition.partition));
        }
    }
    text
}
