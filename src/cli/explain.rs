//! `lethe explain`: what holds for a record, and by which rule of which control record.

use std::fmt::Write as _;

use clap::{ArgGroup, Args};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::control::{Common, print, print_json};
use super::endpoints::{self, Endpoints};
use crate::control::value::time;
use crate::error::Failure;
use crate::http::answer::{By, Explained, Found, Standing};

/// Say whether a message, a profile or a config item is kept, until when, and why
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lethe explain acme room-7 m-1 --at 2026-03-01T10:00:00Z\n  lethe explain \
                        acme --user ada\n  lethe explain acme --item callbacks --json\n\nWithout its sent \
                        time a message is searched for among all of its tenant's.",
    group = ArgGroup::new("record").args(["conversation", "user", "item"]).required(true)
)]
pub(super) struct Explain {
    /// The tenant
    tenant: String,

    /// The message's conversation
    #[arg(requires = "message")]
    conversation: Option<String>,

    /// The message
    message: Option<String>,

    /// A user's profile
    #[arg(long, value_name = "ID")]
    user: Option<String>,

    /// A config item
    #[arg(long, value_name = "ID")]
    item: Option<String>,

    /// When it was sent or updated (RFC 3339, or Unix ms)
    #[arg(long, visible_alias = "sent-at", value_name = "TIME")]
    at: Option<String>,

    #[command(flatten)]
    endpoints: Endpoints,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(verb: &Explain) -> Result<(), Failure> {
    let mut explained = Explained::default();
    for answer in verb.endpoints.answers(&verb.path(), None)? {
        explained.add(answer);
    }
    let mut inputs = verb.common.connect()?.inputs()?;
    let topic = explained.partitions.first().map(|partition| partition.topic.clone());
    inputs.retain(|input, _| topic.as_ref().is_none_or(|topic| topic == input));
    endpoints::all_answered(&inputs, explained.partitions.iter())?;
    if verb.common.json {
        return print_json(&explained.found);
    }
    let text: String = explained.found.iter().map(text).collect();
    print(if text.is_empty() { "nothing is known of it\n" } else { &text })
}

impl Explain {
    fn path(&self) -> String {
        let fields = [
            ("conversation", &self.conversation),
            ("message", &self.message),
            ("user", &self.user),
            ("item", &self.item),
            ("at", &self.at),
        ];
        let mut path = format!("/v1/explain?tenant={}", encoded(&self.tenant));
        for (name, value) in fields {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = write!(path, "&{name}={}", encoded(value));
            }
        }
        path
    }
}

fn encoded(part: &str) -> String {
    utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()
}

fn text(found: &Found) -> String {
    let at = found.at_ms.map_or_else(String::new, |at_ms| format!("of {}, ", time(at_ms)));
    let place = format!("{at}on {}/{}", found.partition.topic, found.partition.partition);
    let until = |until_ms: Option<i64>| {
        until_ms.map_or("without end".to_owned(), |until_ms| format!("until {}", time(until_ms)))
    };
    match &found.standing {
        Standing::Kept { storage, until_ms, reason, by } => format!(
            "{} {}, then {reason} by {} ({place})\n",
            if storage == "in" { "stored" } else { "in transit" },
            until(*until_ms),
            record(by)
        ),
        Standing::Waits { reason, by, keep, keep_until_ms, kept_by, .. } => {
            let until = keep_until_ms.map_or_else(String::new, |ms| format!(" until {}", time(ms)));
            format!(
                "ended ({reason} by {}), kept{until}: {keep} of {} ({place})\n",
                record(by),
                record(kept_by)
            )
        }
        Standing::Over { reason: Some(reason), by } => {
            let by = by.as_ref().map_or_else(String::new, |by| format!(" by {}", record(by)));
            format!("over: {reason}{by}; its tombstone is about to go out ({place})\n")
        }
        Standing::Over { reason: None, .. } => {
            format!(
                "over; its tombstone, if there was content, says why ({at}on every partition)\n"
            )
        }
        Standing::Unknown => "nothing is known of it\n".to_owned(),
    }
}

fn record(by: &By) -> String {
    match (&by.key, by.offset) {
        (Some(key), Some(offset)) => format!("{key} (offset {offset})"),
        (Some(key), None) => key.clone(),
        (None, _) => "the defaults".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::answer::Partition;

    #[test]
    fn what_is_said_names_the_rule_and_its_record() {
        let by = |key: &str| By { key: Some(key.to_owned()), offset: Some(7) };
        let say = |standing| {
            let partition = Partition { topic: "im.messages".to_owned(), partition: 1 };
            text(&Found { partition, at_ms: Some(1_000), standing })
        };
        let (storage, reason) = ("in".to_owned(), "expired".to_owned());
        let kept = Standing::Kept { storage, until_ms: Some(2_000), reason, by: by("tenant/a") };
        assert_eq!(
            say(kept),
            "stored until 1970-01-01T00:00:02Z, then expired by tenant/a (offset 7) \
             (of 1970-01-01T00:00:01Z, on im.messages/1)\n"
        );
        let waits = Standing::Waits {
            storage: "in".to_owned(),
            reason: "erased".to_owned(),
            by: by("erasure/1"),
            keep: "hold".to_owned(),
            keep_until_ms: None,
            kept_by: by("hold/1"),
        };
        assert!(say(waits).starts_with(
            "ended (erased by erasure/1 (offset 7)), kept: hold of hold/1 (offset 7)"
        ));
    }
}
