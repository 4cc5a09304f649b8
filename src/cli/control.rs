//! What the verbs that read and change the control topic have in common.

use std::io::Write;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::by::By;
use super::endpoints::Endpoints;
use super::forecast;
use super::settings::Place;
use super::wait::Wait;
use crate::audit::Pseudonyms;
use crate::control::key::Kind;
use crate::control::safety::{Confirmed, Counted, Guarded, Limits, may_end};
use crate::control::value::time;
use crate::control::{self, Book, Change, ControlError, ControlTopic, Entry, Expected, Version};
use crate::demo::now_ms;
use crate::error::Failure;

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Refused { .. } => Self::Usage(error.to_string()),
            ControlError::Caught(caught) => {
                Self::Failed(format!("{caught} (--forecast, --confirm)"))
            }
            ControlError::Conflict { .. }
            | ControlError::Needed { .. }
            | ControlError::Used { .. }
            | ControlError::Unfit { .. }
            | ControlError::Kafka(_) => Self::Failed(error.to_string()),
        }
    }
}

/// Where the control topic is, and how to print.
#[derive(Args, Debug)]
pub(super) struct Common {
    #[command(flatten)]
    place: Place,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// How a change is made.
#[derive(Args, Debug)]
pub(super) struct How {
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Fail if the last record under the key is not at this offset of the control topic
    #[arg(long, value_name = "OFFSET")]
    if_offset: Option<i64>,

    /// Count what the change would end, ask every process for that, and change nothing
    #[arg(long, conflicts_with_all = ["dry_run", "wait"])]
    forecast: bool,

    /// Make a change that would end much, or of which nobody can tell; it waits where it can
    #[arg(long)]
    confirm: bool,

    /// Do not let it wait: an erasure, a tenant's opt-out
    #[arg(long, requires = "confirm")]
    at_once: bool,

    #[command(flatten)]
    by: By,

    #[command(flatten)]
    pub(super) endpoints: Endpoints,

    #[command(flatten)]
    pub(super) wait: Wait,
}

/// What is withdrawn by its name: a request, or a tenant's terms.
#[derive(Args, Debug)]
pub(super) struct Withdraw {
    /// Its name
    id: String,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    common: Common,
}

/// What a hold or an erasure covers.
#[derive(Args, Debug)]
pub(super) struct Scope {
    /// The tenant; in a hold, * for all of them
    #[arg(long)]
    pub(super) tenant: String,

    /// A conversation of the tenant
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,

    /// A user: as the sender of messages, and with the user's profile
    #[arg(long, value_name = "ID")]
    user: Option<String>,

    /// A message of the conversation
    #[arg(long, value_name = "ID", requires = "conversation")]
    message: Option<String>,
}

impl Scope {
    /// The fields of a record.
    pub(super) fn fields(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("tenant", Some(self.tenant.as_str())),
            ("conversation", self.conversation.as_deref()),
            ("user", self.user.as_deref()),
            ("message", self.message.as_deref()),
        ]
    }
}

impl Withdraw {
    /// Withdraws the record of this kind.
    pub(super) fn run(&self, kind: Kind) -> Result<(), Failure> {
        self.common.open()?.withdraw(kind.key(&[&self.id]), &self.how)
    }
}

/// The control topic, and what it says at the moment.
pub(super) struct Desk {
    pub(super) topic: ControlTopic,
    pub(super) book: Book,
    pub(super) now_ms: i64,
    pub(super) json: bool,
    safety: Limits,
}

/// What a change did or would do.
#[derive(Serialize)]
struct Done<'d> {
    key: &'d str,
    before: Option<&'d Value>,
    after: Option<Value>,
    /// Where its record lies; none: a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
}

impl Common {
    /// Reaches the cluster.
    pub(super) fn connect(&self) -> Result<ControlTopic, Failure> {
        self.reach().map(|(topic, _)| topic)
    }

    fn reach(&self) -> Result<(ControlTopic, Limits), Failure> {
        let settings = self.place.load([])?;
        let pseudonyms = Pseudonyms::read(settings.audit_key.as_deref()).map_err(Failure::Usage)?;
        Ok((ControlTopic::connect(settings.pipeline, pseudonyms)?, settings.safety))
    }

    /// Reads the control topic.
    pub(super) fn open(&self) -> Result<Desk, Failure> {
        let now_ms = now_ms();
        let (topic, safety) = self.reach()?;
        let book = topic.read(now_ms)?;
        Ok(Desk { topic, book, now_ms, json: self.json, safety })
    }
}

impl How {
    /// At once, whatever is there.
    pub(super) fn at_once(endpoints: &Endpoints, wait: &Wait) -> Self {
        Self {
            dry_run: false,
            if_offset: None,
            forecast: false,
            confirm: false,
            at_once: false,
            by: By::default(),
            endpoints: endpoints.clone(),
            wait: wait.clone(),
        }
    }

    /// What a change to a key replaces.
    fn expected(&self, book: &Book, key: &str) -> Expected {
        let last = Expected::last(book, key);
        self.if_offset.map_or(last, Expected::Offset)
    }
}

impl Desk {
    /// Prints what is said under one key; nothing is a failure.
    pub(super) fn show(&self, key: &str) -> Result<(), Failure> {
        match self.book.get(key).filter(|entry| !entry.is_withdrawn()) {
            Some(entry) if self.json => print_json(entry),
            Some(entry) => print(&lines(entry)),
            None => Err(Failure::Failed(format!("{key}: nothing is said of it"))),
        }
    }

    /// Prints what is said under the keys that begin so.
    pub(super) fn list(&self, prefixes: &[&str]) -> Result<(), Failure> {
        let entries: Vec<&Entry> =
            prefixes.iter().flat_map(|prefix| self.book.beginning(prefix)).collect();
        if self.json {
            return print_json(&entries);
        }
        print(&entries.into_iter().map(lines).collect::<String>())
    }

    /// Prints what would change.
    pub(super) fn differences(&self, changes: &[Change]) -> Result<(), Failure> {
        self.check(changes)?;
        if self.json {
            return self.print_done(changes, &[]);
        }
        self.print_differences(changes)?;
        print(&match changes.len() {
            0 => "nothing changes\n".to_owned(),
            count => format!("{count} would change\n"),
        })
    }

    /// Says something under a key, instead of what is there.
    pub(super) fn say(
        &self,
        key: String,
        value: &Value,
        how: &How,
    ) -> Result<Option<i64>, Failure> {
        let expected = how.expected(&self.book, &key);
        self.change(&[Change { key, value: Some(value.to_string()), expected }], how)
    }

    /// Withdraws what is said under a key; that nothing ever was is a failure.
    pub(super) fn withdraw(&self, key: String, how: &How) -> Result<(), Failure> {
        let expected = how.expected(&self.book, &key);
        if expected == Expected::Nothing {
            return Err(Failure::Failed(format!("{key}: nothing is said of it")));
        }
        self.change(&[Change { key, value: None, expected }], how).map(drop)
    }

    /// Places a hold or an erasure. The same again changes nothing; something else under a name that is
    /// taken is refused, unless it is to replace it.
    pub(super) fn place(
        &self,
        key: String,
        value: &Value,
        replace: bool,
        how: &How,
    ) -> Result<Option<i64>, Failure> {
        match self.book.value(&key) {
            Some(there) if there == value => {
                self.change(&[], how)?;
                return Ok(self.book.offset(&key));
            }
            Some(there) if !replace => {
                return Err(Failure::Failed(format!(
                    "{key} is there and says something else: {there}; choose another name, or \
                     --replace it"
                )));
            }
            Some(_) | None => {}
        }
        let tenant = value.get("tenant").and_then(Value::as_str).unwrap_or_default();
        if tenant != "*" && self.book.value(&Kind::Tenant.key(&[tenant])).is_none() {
            eprintln!("lethe: nothing is known of the tenant {tenant}; {key} is placed");
        }
        self.say(key, value, how)
    }

    /// Starts a replay: what is written and shown has its range as offsets.
    pub(super) fn start(&self, key: String, value: &Value, how: &How) -> Result<(), Failure> {
        let expected = how.expected(&self.book, &key);
        let change = Change { key, value: Some(value.to_string()), expected };
        let change = self.topic.settled(&change, &self.book, self.now_ms)?;
        self.change(&[change], how).map(drop)
    }

    /// Prints what changes and makes it so, unless it is a dry run; where the last record lies then.
    pub(super) fn change(&self, changes: &[Change], how: &How) -> Result<Option<i64>, Failure> {
        if how.forecast {
            self.check(changes)?;
            let forecasts = forecast::of(changes, forecast::DAYS, &how.endpoints, &self.topic)?;
            return forecast::print_all(&forecasts, self.json).map(|()| None);
        }
        if how.dry_run || changes.is_empty() {
            return self.differences(changes).map(|()| None);
        }
        let author = how.by.author();
        let refused = |error: ControlError| {
            self.topic.refused(changes, &author, &error, self.now_ms);
            Failure::from(error)
        };
        let guarded = self.guard(changes, how).map_err(refused)?;
        if !self.json {
            self.print_differences(&guarded.changes)?;
        }
        let offsets = self.topic.write(&guarded, &author, self.now_ms).map_err(refused)?;
        let changes = guarded.changes.as_slice();
        let last = offsets.last().copied().unwrap_or_default();
        if how.wait.wait {
            how.wait.applied(last, &how.endpoints, &self.topic.inputs()?)?;
        }
        if self.json {
            return self.print_done(changes, &offsets).map(|()| Some(last));
        }
        let count = changes.len();
        let force = match (guarded.effective_at_ms, how.wait.wait) {
            (Some(at_ms), _) => {
                format!("; what ends much waits until {}: say it anew to take it back", time(at_ms))
            }
            (None, true) => ", in force on every partition".to_owned(),
            (None, false) => String::new(),
        };
        print(&format!("{count} changed; the last record is at offset {last}{force}\n"))
            .map(|()| Some(last))
    }

    /// Has the processes count what the changes would end, where they could end anything, and holds up what
    /// ends much.
    fn guard(&self, changes: &[Change], how: &How) -> Result<Guarded, ControlError> {
        for change in changes {
            control::check(change, self.now_ms)?;
            control::allowed(change, &self.book, self.now_ms)?;
        }
        let may_end = |change: &&Change| may_end(change, &self.book, self.now_ms);
        let risky: Vec<Change> = changes.iter().filter(may_end).cloned().collect();
        let counted = (!risky.is_empty()).then(|| {
            match forecast::tolls(&risky, &how.endpoints, &self.topic) {
                Ok(tolls) => Counted::Tolls(tolls),
                Err(failure) => Counted::Unknown(failure.to_string()),
            }
        });
        let confirmed = match (how.confirm, how.at_once) {
            (false, _) => Confirmed::No,
            (true, false) => Confirmed::AfterGrace,
            (true, true) => Confirmed::AtOnce,
        };
        let (changes, now_ms) = (changes.to_vec(), self.now_ms);
        Ok(self.safety.decide(changes, counted, confirmed, &self.book, now_ms)?)
    }

    /// Refuses what the processor would refuse, before anything is said of it.
    fn check(&self, changes: &[Change]) -> Result<(), Failure> {
        changes.iter().try_for_each(|change| Ok(control::check(change, self.now_ms)?))
    }

    fn print_differences(&self, changes: &[Change]) -> Result<(), Failure> {
        print(&changes.iter().map(|change| self.difference(change)).collect::<String>())
    }

    fn print_done(&self, changes: &[Change], offsets: &[i64]) -> Result<(), Failure> {
        let done = changes.iter().enumerate().map(|(number, change)| {
            let after = change.value.as_deref().map(serde_json::from_str).transpose();
            let after = after.map_err(|error| Failure::Failed(error.to_string()))?;
            let before = self.book.value(&change.key);
            Ok(Done { key: &change.key, before, after, offset: offsets.get(number).copied() })
        });
        print_json(&done.collect::<Result<Vec<_>, Failure>>()?)
    }

    fn difference(&self, change: &Change) -> String {
        let mut text = format!("{}\n", change.key);
        if let Some(before) = self.book.value(&change.key) {
            text.push_str(&format!("  - {before}\n"));
        }
        if let Some(waiting) = self.book.get(&change.key).and_then(|entry| entry.waiting.as_ref()) {
            text.push_str(&format!("  - {} (waiting)\n", waiting.value));
        }
        if let Some(after) = &change.value {
            text.push_str(&format!("  + {after}\n"));
        }
        text
    }
}

/// What is said under a key, for a person.
fn lines(entry: &Entry) -> String {
    let mut text = format!("{}\n", entry.key);
    let said = |version: &Version| {
        let Version { offset, written_at_ms, value, .. } = version;
        format!("{value} (offset {offset}, written {})", time(*written_at_ms))
    };
    if let Some(version) = &entry.in_force {
        text.push_str(&format!("  in force: {}\n", said(version)));
    }
    if let Some(version) = &entry.waiting {
        let until = time(version.in_force_at_ms);
        text.push_str(&format!("  waiting until {until}: {}\n", said(version)));
    }
    if let Some(why) = entry.refused {
        text.push_str(&format!("  refused: offset {}: {why}\n", entry.offset));
    }
    text
}

/// Prints JSON.
pub(super) fn print_json(what: &impl Serialize) -> Result<(), Failure> {
    let failed = |error| Failure::Failed(format!("the answer cannot be written: {error}"));
    print(&(serde_json::to_string_pretty(what).map_err(failed)? + "\n"))
}

/// Prints text.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| Failure::Failed(format!("standard output: {error}")))
}
