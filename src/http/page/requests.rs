//! Holds and erasures in force, from the control log: followed a portion at a time.
//!
//! Invariant: what is shown names tenants and requests, and neither users nor conversations.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value;

use crate::control::key::Kind;
use crate::control::{Book, Entry};
use crate::pipeline::control::ControlLog;

/// Control records that are looked at in one go: most are tenants' and passed over.
const PORTION: usize = 65_536;
/// Requests that are shown.
const SHOWN_MAX: usize = 50;

/// What the log says of holds and erasures.
#[derive(Debug, Default)]
pub(super) struct Followed {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    book: Book,
    /// Every record below has been looked at.
    next: i64,
}

/// The requests in force.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// The newest ones first.
    pub(super) shown: Vec<Request>,
    /// How many there are beside them.
    pub(super) more: usize,
}

/// A hold or an erasure.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Request {
    /// Its control record's key.
    pub(super) key: String,
    /// What it covers, without an id of a user, a conversation or a message.
    pub(super) covers: String,
    /// Since when it is in force (Unix ms).
    pub(super) since_ms: i64,
}

impl Followed {
    /// Looks at what the log has that is new, within a portion.
    pub(super) fn follow(&self, log: &ControlLog, now_ms: i64) {
        let mut state = self.lock();
        for record in log.from(state.next, PORTION) {
            state.next = record.offset() + 1;
            if is_request(record.key()) {
                state.book.add(&record);
            }
        }
        state.book.settle(now_ms);
    }

    /// The requests in force.
    pub(super) fn requests(&self) -> Requests {
        let state = self.lock();
        let mut all: Vec<Request> = state.all().collect();
        all.sort_by(|one, other| other.since_ms.cmp(&one.since_ms).then(one.key.cmp(&other.key)));
        let more = all.len().saturating_sub(SHOWN_MAX);
        all.truncate(SHOWN_MAX);
        Requests { shown: all, more }
    }

    /// Whether a hold stops every tombstone.
    pub(super) fn stops_everything(&self) -> bool {
        let state = self.lock();
        let mut holds = state.book.beginning(Kind::Hold.prefix());
        holds.any(|entry| in_force(entry).is_some_and(|value| text(value, "tenant") == Some("*")))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn all(&self) -> impl Iterator<Item = Request> {
        let entries = [Kind::Hold, Kind::Erasure].map(|kind| self.book.beginning(kind.prefix()));
        entries.into_iter().flatten().filter_map(|entry| {
            let version = entry.in_force.as_ref()?;
            Some(Request {
                key: entry.key.clone(),
                covers: covers(&version.value),
                since_ms: version.in_force_at_ms,
            })
        })
    }
}

fn is_request(key: &str) -> bool {
    matches!(Kind::of(key), Some(Kind::Hold | Kind::Erasure))
}

fn in_force(entry: &Entry) -> Option<&Value> {
    entry.in_force.as_ref().map(|version| &version.value)
}

fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field)?.as_str()
}

fn covers(value: &Value) -> String {
    let mut covers = match text(value, "tenant") {
        Some("*") => "everything: no tombstone goes out".to_owned(),
        Some(tenant) => format!("tenant {tenant}"),
        None => "nothing".to_owned(),
    };
    for narrower in ["conversation", "user", "message"] {
        if text(value, narrower).is_some() {
            covers.push_str(", one ");
            covers.push_str(narrower);
        }
    }
    for (bound, says) in
        [("from", "sent from "), ("until", "sent until "), ("before", "sent before ")]
    {
        if let Some(time) = text(value, bound) {
            covers.push_str(", ");
            covers.push_str(says);
            covers.push_str(time);
        }
    }
    if value.get("standing").and_then(Value::as_bool) == Some(true) {
        covers.push_str(", and what comes");
    }
    covers
}

#[cfg(test)]
mod tests {
    use lethe_engine::ControlRecord;

    use super::*;

    fn followed(records: &[(&str, &str)]) -> Followed {
        let log = ControlLog::default();
        for (offset, (key, value)) in (0..).zip(records) {
            let body = (!value.is_empty()).then_some(value.as_bytes());
            log.append(ControlRecord::parse(offset, offset * 1_000, key.as_bytes(), body));
        }
        let followed = Followed::default();
        followed.follow(&log, 1_000_000);
        followed
    }

    fn shown(records: &[(&str, &str)]) -> Vec<String> {
        let all = followed(records).requests().shown.into_iter();
        all.map(|request| format!("{} {}: {}", request.since_ms, request.key, request.covers))
            .collect()
    }

    #[test]
    fn the_newest_request_comes_first_and_nobody_is_named() {
        let all = shown(&[
            ("tenant/acme", "{}"),
            ("hold/case-7", r#"{"tenant": "acme", "user": "ada", "reason": "court order"}"#),
            ("erasure/req-9", r#"{"tenant": "acme", "conversation": "ann-bob", "standing": true}"#),
        ]);
        assert_eq!(
            all,
            [
                "2000 erasure/req-9: tenant acme, one conversation, and what comes",
                "1000 hold/case-7: tenant acme, one user"
            ]
        );
    }

    #[test]
    fn what_is_released_or_refused_is_not_in_force() {
        assert!(shown(&[("hold/a", r#"{"tenant": "t"}"#), ("hold/a", "")]).is_empty());
        assert!(shown(&[("hold/a", r#"{"tenant": ""}"#)]).is_empty());
    }

    #[test]
    fn a_hold_on_everything_is_noticed() {
        assert!(!followed(&[("hold/a", r#"{"tenant": "t"}"#)]).stops_everything());
        assert!(followed(&[("hold/a", r#"{"tenant": "*"}"#)]).stops_everything());
    }

    #[test]
    fn so_many_are_shown_and_the_others_counted() {
        let keys: Vec<String> = (0..60).map(|number| format!("hold/{number}")).collect();
        let records: Vec<_> = keys.iter().map(|key| (key.as_str(), r#"{"tenant": "t"}"#)).collect();
        let requests = followed(&records).requests();
        assert_eq!((requests.shown.len(), requests.more), (50, 10));
    }
}
