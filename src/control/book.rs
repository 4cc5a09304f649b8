//! What the control topic says under each key: in force, waiting, refused.

use std::collections::BTreeMap;

use lethe_engine::ControlRecord;
use serde::Serialize;
use serde_json::Value;

/// What the topic says, by key.
#[derive(Clone, Debug, Default)]
pub struct Book {
    entries: BTreeMap<String, Entry>,
}

/// What the topic says under one key.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// The control record's key.
    pub key: String,
    /// The offset of the last record under the key, whatever it says: changes name it, so that they
    /// do not overwrite one that they have not seen.
    pub offset: i64,
    /// What is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_force: Option<Version>,
    /// What will be, unless a newer record comes before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Version>,
    /// Why the last record is refused, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<&'static str>,
}

/// A valid record.
#[derive(Clone, Debug, Serialize)]
pub struct Version {
    /// Its offset on the control topic: what `lethe-policy` names.
    pub offset: i64,
    /// When it was written (Unix ms).
    pub written_at_ms: i64,
    /// From when on it is in force (Unix ms).
    pub in_force_at_ms: i64,
    /// What it says.
    pub value: Value,
}

impl Book {
    /// Adds the next record of the topic.
    pub fn add(&mut self, record: &ControlRecord) {
        let entry = self.entries.entry(record.key().to_owned()).or_insert_with(|| Entry {
            key: record.key().to_owned(),
            offset: record.offset(),
            in_force: None,
            waiting: None,
            refused: None,
        });
        entry.settle(record.written_at_ms());
        entry.offset = record.offset();
        entry.refused = record.refusal();
        if entry.refused.is_some() {
            return;
        }
        // A newer record supersedes a waiting one.
        entry.waiting = None;
        let value = record.body().and_then(|body| serde_json::from_slice(body).ok());
        let Some(value) = value else {
            entry.in_force = None;
            return;
        };
        entry.waiting = Some(Version {
            offset: record.offset(),
            written_at_ms: record.written_at_ms(),
            in_force_at_ms: record.in_force_at_ms(),
            value,
        });
        entry.settle(record.written_at_ms());
    }

    /// Lets what has waited until now come into force.
    pub fn settle(&mut self, now_ms: i64) {
        for entry in self.entries.values_mut() {
            entry.settle(now_ms);
        }
    }

    /// What is said under a key; none: nothing was ever said.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// What is said under the keys that begin so, by key; what was withdrawn is left out.
    pub fn beginning<'b>(&'b self, prefix: &'b str) -> impl Iterator<Item = &'b Entry> {
        let from = self.entries.range(prefix.to_owned()..);
        let those = from.take_while(move |(key, _)| key.starts_with(prefix));
        those.map(|(_, entry)| entry).filter(|entry| !entry.is_withdrawn())
    }

    /// The offset of the last record under a key.
    #[must_use]
    pub fn offset(&self, key: &str) -> Option<i64> {
        self.get(key).map(|entry| entry.offset)
    }

    /// What is in force under a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.get(key)?.in_force.as_ref().map(|version| &version.value)
    }
}

impl Version {
    /// The record that says it, under its key.
    #[must_use]
    pub fn record(&self, key: &str) -> ControlRecord {
        let body = self.value.to_string();
        let body = Some(body.as_bytes());
        ControlRecord::parse(self.offset, self.written_at_ms, key.as_bytes(), body)
    }

    /// What it says, without when: the safety catch may have let it wait.
    #[must_use]
    pub fn without_time(&self) -> Value {
        let mut value = self.value.clone();
        if let Value::Object(body) = &mut value {
            body.remove("effective_at");
        }
        value
    }
}

impl Entry {
    /// Whether nothing is in force, waits or is refused.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.in_force.is_none() && self.waiting.is_none() && self.refused.is_none()
    }

    fn settle(&mut self, now_ms: i64) {
        if self.waiting.as_ref().is_some_and(|waiting| waiting.in_force_at_ms <= now_ms) {
            self.in_force = self.waiting.take();
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed step fails the test")]
mod tests {
    use super::*;

    const OUT: &[u8] = b"{}";
    const LATER: &[u8] = br#"{"message":{"storage":"in"},"effective_at":"1970-01-01T00:01:00Z"}"#;

    fn book(records: &[(i64, Option<&[u8]>)]) -> Book {
        let mut book = Book::default();
        for (offset, &(written_at_ms, value)) in (0..).zip(records) {
            book.add(&ControlRecord::parse(offset, written_at_ms, b"tenant/a", value));
        }
        book
    }

    #[test]
    fn a_record_waits_for_its_time_and_a_newer_one_supersedes_it() {
        let mut waiting = book(&[(0, Some(OUT)), (1, Some(LATER))]);
        assert_eq!(waiting.get("tenant/a").unwrap().in_force.as_ref().unwrap().offset, 0);
        assert_eq!(waiting.get("tenant/a").unwrap().waiting.as_ref().unwrap().offset, 1);
        waiting.settle(60_000);
        assert_eq!(waiting.get("tenant/a").unwrap().in_force.as_ref().unwrap().offset, 1);

        let superseded = book(&[(0, Some(OUT)), (1, Some(LATER)), (2, Some(OUT))]);
        assert!(superseded.get("tenant/a").unwrap().waiting.is_none());
        let matured = book(&[(0, Some(OUT)), (1, Some(LATER)), (60_001, Some(b"no"))]);
        let entry = matured.get("tenant/a").unwrap();
        assert_eq!(entry.in_force.as_ref().unwrap().offset, 1);
        assert_eq!(entry.refused, Some("the value is not JSON"));
    }

    #[test]
    fn a_null_withdraws_and_leaves_the_offset() {
        let book = book(&[(0, Some(OUT)), (1, None)]);
        assert_eq!(book.beginning("tenant/").count(), 0);
        assert_eq!(book.offset("tenant/a"), Some(1));
        assert_eq!(book.value("tenant/a"), None);
    }
}
