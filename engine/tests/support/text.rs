//! Histories as text, one step a line: `4 send a/c/m @3 to=2 ttl=5 => +store a/c/m`.
//!
//! Invariant: what is written can be read: a failing random history becomes a case by copying it.
//!
//! Times are seconds (`2.5`). Results after `=>`: `+store KEY`, `+transit KEY`, `-store KEY REASON`,
//! `-transit KEY REASON` (`KEY@5`: the version of that time, beside the others), or the outcome of an event.

use std::fmt;

use lethe_engine::{Reason, Storage};

use super::history::{Action, How, Item, Message, Pass, START_MS, Said, Seen, Sender, Step};

const REASONS: [Reason; 9] = [
    Reason::Expired,
    Reason::Delivered,
    Reason::Undelivered,
    Reason::Recalled,
    Reason::Removed,
    Reason::Erased,
    Reason::OptedOut,
    Reason::Ended,
    Reason::Burned,
];

/// Seconds as ms: `2.5` is 2500.
pub fn ms(text: &str) -> i64 {
    let seconds: f64 = text.parse().unwrap_or_else(|_| panic!("not a time: {text}"));
    (seconds * 1000.0).round() as i64
}

/// A line of a history: a step and what is said to come of it.
pub fn line(text: &str) -> (Step, Vec<String>) {
    let (step, results) = text.split_once("=>").unwrap_or((text, ""));
    let results =
        results.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty());
    (self::step(step.trim()), results.collect())
}

/// An effect as it is written after `=>`; none for an outcome.
pub fn seen(text: &str) -> Option<Seen> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let storage =
        |word: &str| if word.ends_with("store") { Storage::Stored } else { Storage::Transit };
    match words.as_slice() {
        [what @ ("+store" | "+transit"), key] => {
            Some(Seen::Content { storage: storage(what), key: keyed(key) })
        }
        [what @ ("-store" | "-transit"), key, reason] => Some(Seen::Tombstone {
            storage: storage(what),
            key: keyed(key),
            reason: *REASONS.iter().find(|r| r.name() == *reason).expect("a reason"),
        }),
        [_] => None,
        _ => panic!("not a result: {text}"),
    }
}

/// A record key; `a/c/m@5` is the version of that time beside others.
fn keyed(key: &str) -> String {
    match key.split_once('@') {
        Some((key, at)) => super::history::version_key(key, ms(at)),
        None => key.to_owned(),
    }
}

/// The opposite of [`keyed`].
fn short(key: &str) -> String {
    let version = key.rsplit_once('/').and_then(|(key, time)| {
        let time = time.parse::<i64>().ok().filter(|time| *time > START_MS / 2)?;
        Some(format!("{key}@{}", Seconds(time - START_MS)))
    });
    version.unwrap_or_else(|| key.to_owned())
}

fn step(text: &str) -> Step {
    let (now, rest) = text.split_once(' ').unwrap_or_else(|| panic!("no step: {text}"));
    let rest = rest.trim();
    let (verb, arguments) = rest.split_once(' ').unwrap_or((rest, ""));
    let now = ms(now);
    if verb == "control" {
        return Step { now, action: control(now, arguments.trim()) };
    }
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let action = match verb {
        "look" => Action::Look(words.first().map(|rows| rows.parse().unwrap())),
        "commit" => Action::Commit,
        "reopen" => Action::Reopen,
        "abort" => Action::Abort,
        "suspend" => Action::Suspend(true),
        "resume" => Action::Suspend(false),
        "filter" => Action::Filter(words[0].parse().unwrap()),
        "again" => Action::Again(match words[0] {
            "missing" => Pass::Missing,
            "refresh" => Pass::Refresh,
            _ => Pass::Rehearse,
        }),
        "set" => Action::Set(item(words[0]), at(words[1])),
        "remove" => Action::Remove(item(words[0]), at(words[1])),
        _ => Action::Message(message(words[0], at(words[1])), said(verb, &words[2..])),
    };
    Step { now, action }
}

fn control(now: i64, text: &str) -> Action {
    let (written, text) = match text.strip_prefix("written=") {
        Some(rest) => rest.split_once(' ').map(|(time, rest)| (ms(time), rest.trim())).unwrap(),
        None => (now, text),
    };
    let (key, value) = text.split_once(' ').expect("a key and a value");
    let value = (value.trim() != "null").then(|| value.trim().to_owned());
    Action::Control { written, key: key.to_owned(), value }
}

fn at(word: &str) -> i64 {
    ms(word.strip_prefix('@').unwrap_or_else(|| panic!("not a time: {word}")))
}

fn item(path: &str) -> Item {
    let (tenant, id) = path.split_once('/').unwrap();
    Item { tenant: tenant.into(), id: id.into() }
}

fn message(path: &str, sent_at: i64) -> Message {
    let parts: Vec<&str> = path.split('/').collect();
    let [tenant, conversation, message] = parts[..] else { panic!("not a message: {path}") };
    Message {
        tenant: tenant.into(),
        conversation: conversation.into(),
        message: message.into(),
        sent_at,
    }
}

fn said(verb: &str, words: &[&str]) -> Said {
    match verb {
        "send" => Said::Sent(how(words)),
        "deliver" if words[0] == "all" => Said::DeliveredToAll,
        "deliver" => Said::Delivered(words[0].to_owned()),
        "read" => Said::Read(words[0].to_owned()),
        "recall" => Said::Recalled,
        "edit" => Said::Edited {
            at: ms(words[0].strip_prefix("at=").unwrap()),
            sent: (words.get(1) == Some(&"sent")).then(|| how(&words[2..])),
        },
        _ => panic!("not a step: {verb}"),
    }
}

fn how(words: &[&str]) -> How {
    let mut how = How::default();
    for word in words {
        match word.split_once('=').unwrap_or_else(|| panic!("not an argument: {word}")) {
            ("to", count) => how.recipients = count.parse().unwrap(),
            ("ttl", time) => how.ttl = ms(time),
            ("by", "bob") => how.by = Sender::Bob,
            _ => panic!("not an argument: {word}"),
        }
    }
    how
}

/// A time as it is read.
struct Seconds(i64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 as f64 / 1000.0)
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.recipients > 0 {
            write!(f, " to={}", self.recipients)?;
        }
        if self.ttl > 0 {
            write!(f, " ttl={}", Seconds(self.ttl))?;
        }
        if self.by != Sender::default() {
            write!(f, " by={}", self.by.name())?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", Seconds(self.now))?;
        match &self.action {
            Action::Message(message, said) => write_message(f, message, said),
            Action::Set(item, at) => write!(f, "set {} @{}", item.key(), Seconds(*at)),
            Action::Remove(item, at) => write!(f, "remove {} @{}", item.key(), Seconds(*at)),
            Action::Control { written, key, value } => {
                let value = value.as_deref().unwrap_or("null");
                write!(f, "control written={} {key} {value}", Seconds(*written))
            }
            Action::Look(None) => write!(f, "look"),
            Action::Look(Some(rows)) => write!(f, "look {rows}"),
            Action::Commit => write!(f, "commit"),
            Action::Reopen => write!(f, "reopen"),
            Action::Abort => write!(f, "abort"),
            Action::Suspend(true) => write!(f, "suspend"),
            Action::Suspend(false) => write!(f, "resume"),
            Action::Filter(seed) => write!(f, "filter {seed}"),
            Action::Again(Pass::Missing) => write!(f, "again missing"),
            Action::Again(Pass::Refresh) => write!(f, "again refresh"),
            Action::Again(Pass::Rehearse) => write!(f, "again rehearse"),
        }
    }
}

fn write_message(f: &mut fmt::Formatter<'_>, message: &Message, said: &Said) -> fmt::Result {
    let path = format!("{} @{}", message.key(), Seconds(message.sent_at));
    match said {
        Said::Sent(how) => write!(f, "send {path}{how}"),
        Said::Delivered(user) => write!(f, "deliver {path} {user}"),
        Said::DeliveredToAll => write!(f, "deliver {path} all"),
        Said::Read(user) => write!(f, "read {path} {user}"),
        Said::Recalled => write!(f, "recall {path}"),
        Said::Edited { at, sent: None } => write!(f, "edit {path} at={}", Seconds(*at)),
        Said::Edited { at, sent: Some(how) } => {
            write!(f, "edit {path} at={} sent{how}", Seconds(*at))
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = |storage: &Storage| match storage {
            Storage::Stored => "store",
            Storage::Transit => "transit",
        };
        match self {
            Self::Content { storage, key } => write!(f, "+{} {}", topic(storage), short(key)),
            Self::Tombstone { storage, key, reason } => {
                write!(f, "-{} {} {}", topic(storage), short(key), reason.name())
            }
        }
    }
}
