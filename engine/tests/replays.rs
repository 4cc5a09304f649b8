//! Replays: what a control record begins, changes and ends, and what records that are read again mean.
#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use lethe_engine::ledger::{ReplayRange, ReplayRow, ReplayStatus};
use lethe_engine::lifecycle::Audit;
use lethe_engine::{Class, ControlRecord, Effect, Effects, Engine, Mark, Storage};
use support::history::{START_MS, with_times};
use support::ledger::Memory;

const MISSING: &str = r#"{"source": "im.messages", "mode": "missing"}"#;
const REFRESH: &str = r#"{"source": "im.messages", "mode": "refresh"}"#;

/// A partition, its ledger and what is said on the control topic.
struct Partition {
    engine: Engine,
    ledger: Memory,
    effects: Effects,
    offset: i64,
    now: i64,
}

impl Partition {
    fn new(class: Class) -> Self {
        let mut ledger = Memory::default();
        let engine = Engine::open(class, &mut ledger).unwrap();
        Self { engine, ledger, effects: Effects::default(), offset: 0, now: 0 }
    }

    /// Somebody writes a control record; what is said of it.
    fn say(&mut self, key: &str, value: Option<&str>) -> Vec<String> {
        let text = value.map(with_times);
        let (at_ms, body) = (START_MS + self.now, text.as_deref().map(str::as_bytes));
        let record = ControlRecord::parse(self.offset, at_ms, key.as_bytes(), body);
        self.offset += 1;
        self.effects.clear();
        self.engine.control(&mut self.ledger, &record, at_ms, &mut self.effects).unwrap();
        said(&self.effects)
    }

    fn row(&mut self, offset: i64) -> ReplayRow {
        self.engine.read_replay(&mut self.ledger, offset).unwrap().unwrap().row
    }

    fn status(&mut self, offset: i64) -> ReplayStatus {
        self.row(offset).status
    }

    fn begin(&mut self, offset: i64, from: i64, to: i64) -> Vec<String> {
        let replaying = self.engine.read_replay(&mut self.ledger, offset).unwrap().unwrap();
        let range = ReplayRange { from, to, source_id: None };
        self.effects.clear();
        let now_ms = START_MS + self.now;
        self.engine.begin_replay(&mut self.ledger, replaying, range, now_ms, &mut self.effects);
        said(&self.effects)
    }

    fn complete(&mut self, offset: i64) -> Vec<String> {
        let replaying = self.engine.read_replay(&mut self.ledger, offset).unwrap().unwrap();
        self.effects.clear();
        let now_ms = START_MS + self.now;
        self.engine
            .complete_replay(&mut self.ledger, replaying, None, now_ms, &mut self.effects)
            .unwrap();
        said(&self.effects)
    }

    fn reopen(&mut self) {
        self.engine.flush(&mut self.ledger);
        self.ledger.commit();
        self.engine = Engine::open(self.engine.class(), &mut self.ledger).unwrap();
    }
}

/// What effects say, in words.
fn said(effects: &Effects) -> Vec<String> {
    let text = |effect: Effect<'_>| match effect {
        Effect::Content { storage, key, .. } => format!("{} {key}", storage.name()),
        Effect::Tombstone { storage, key, reason, .. } => {
            format!("{} {key} {}", storage.name(), reason.name())
        }
        Effect::Audit { what: Audit::ControlRefused { .. }, .. } => "refused".to_owned(),
        Effect::Audit { .. } => "in force".to_owned(),
        Effect::Replayed { key, row, .. } => format!("{key} {}", row.status.name()),
        Effect::Marker { storage, key, mark } => {
            format!("{} {key} {}", storage.name(), mark.name())
        }
    };
    effects.iter().map(text).collect()
}

#[test]
fn a_replay_waits_until_its_range_is_known_and_survives_a_restart() {
    let mut partition = Partition::new(Class::Message);
    assert!(!partition.engine.has_replays());
    assert_eq!(partition.say("replay/1", Some(MISSING)), ["in force"]);
    partition.reopen();
    assert_eq!(partition.engine.open_replays(), [0]);
    assert_eq!(partition.status(0), ReplayStatus::Waiting);
    assert!(partition.begin(0, 3, 9).is_empty());
    partition.reopen();
    let row = partition.row(0);
    assert_eq!((row.range.from, row.range.to, row.next, row.remaining()), (3, 9, 3, 6));
    assert_eq!(partition.complete(0), ["replay/1 done"]);
    assert!(!partition.engine.has_replays());
    partition.reopen();
    assert_eq!(partition.status(0), ReplayStatus::Done);
    assert!(!partition.engine.has_replays());
}

#[test]
fn only_its_rate_may_change_and_whether_it_stands_still() {
    let mut partition = Partition::new(Class::Message);
    partition.say("replay/1", Some(MISSING));
    let paused = r#"{"source": "im.messages", "mode": "missing", "rate": 9, "paused": true}"#;
    assert_eq!(partition.say("replay/1", Some(paused)), ["in force"]);
    let replaying = partition.engine.read_replay(&mut partition.ledger, 0).unwrap().unwrap();
    assert!(replaying.replay.paused && replaying.replay.rate == Some(9));
    for other in [
        REFRESH,
        r#"{"source": "im.other", "mode": "missing"}"#,
        r#"{"source": "im.messages", "mode": "missing", "from": 1}"#,
        r#"{"source": "im.messages", "mode": "missing", "to": 1}"#,
        r#"{"source": "im.messages", "mode": "missing", "tenants": ["a"]}"#,
        r#"{"source": "im.messages", "mode": "missing", "dry_run": true}"#,
        r#"{"source": "im.messages", "mode": "missing", "class": "message"}"#,
    ] {
        assert_eq!(partition.say("replay/1", Some(other)), ["refused"], "{other}");
    }
    // The last valid one stays in force.
    let replaying = partition.engine.read_replay(&mut partition.ledger, 0).unwrap().unwrap();
    assert!(replaying.replay.paused);
    assert_eq!(partition.say("replay/1", Some(MISSING)), ["in force"]);
}

#[test]
fn a_cancelled_replay_is_over_and_its_id_used_up() {
    let mut partition = Partition::new(Class::Message);
    partition.say("replay/1", Some(MISSING));
    assert_eq!(partition.say("replay/1", None), ["replay/1 cancelled", "in force"]);
    assert_eq!(partition.say("replay/1", None), ["in force"]);
    assert_eq!(partition.say("replay/1", Some(MISSING)), ["refused"]);
    assert_eq!(partition.status(0), ReplayStatus::Cancelled);
    assert!(!partition.engine.has_replays());
}

#[test]
fn cancelling_what_is_done_changes_nothing() {
    let mut partition = Partition::new(Class::Message);
    partition.say("replay/1", Some(MISSING));
    partition.begin(0, 0, 1);
    partition.complete(0);
    assert_eq!(partition.say("replay/1", None), ["in force"]);
    assert_eq!(partition.status(0), ReplayStatus::Done);
}

#[test]
fn a_time_that_has_not_come_is_refused() {
    let mut partition = Partition::new(Class::Message);
    let later = r#"{"source": "im.messages", "mode": "missing", "to": "@3600"}"#;
    assert_eq!(partition.say("replay/1", Some(later)), ["replay/1 failed", "in force"]);
    assert!(matches!(partition.status(0), ReplayStatus::Failed(_)));
}

#[test]
fn a_replay_of_another_class_is_none_of_this_partitions() {
    let mut partition = Partition::new(Class::Profile);
    partition.say("replay/1", Some(r#"{"source": "a", "class": "message", "mode": "missing"}"#));
    assert!(!partition.engine.has_replays());
}

#[test]
fn a_refresh_begins_and_ends_with_a_marker_in_each_output() {
    let mut partition = Partition::new(Class::Message);
    partition.say("replay/1", Some(REFRESH));
    let marker = |id: u32, mark: Mark| {
        [Storage::Stored, Storage::Transit]
            .map(|storage| format!("{} lethe:replay/{id} {}", storage.name(), mark.name()))
    };
    assert_eq!(partition.begin(0, 0, 1), marker(1, Mark::Begin));
    let mut ended = marker(1, Mark::End).to_vec();
    ended.push("replay/1 done".to_owned());
    assert_eq!(partition.complete(0), ended);
    partition.say("replay/2", Some(REFRESH));
    partition.begin(1, 0, 1);
    let mut cancelled = marker(2, Mark::Cancelled).to_vec();
    cancelled.extend(["replay/2 cancelled".to_owned(), "in force".to_owned()]);
    assert_eq!(partition.say("replay/2", None), cancelled);
}

#[test]
fn config_items_have_markers_where_they_are() {
    let mut partition = Partition::new(Class::Config);
    partition.say("replay/1", Some(r#"{"source": "im.configs", "mode": "refresh"}"#));
    assert_eq!(partition.begin(0, 0, 1), ["stored lethe:replay/1 begin"]);
}

#[test]
fn the_oldest_that_are_over_are_forgotten() {
    let mut partition = Partition::new(Class::Message);
    let kept = lethe_engine::lifecycle::REPLAYS_KEPT_MAX;
    for number in 0..kept + 5 {
        let key = format!("replay/{number}");
        partition.say(&key, Some(MISSING));
        partition.say(&key, None);
    }
    let mut rows = 0;
    partition.engine.replays(&mut partition.ledger, &mut |_, _| rows += 1).unwrap();
    assert_eq!(rows, kept);
    // Their ids are used up all the same.
    assert_eq!(partition.say("replay/0", Some(MISSING)), ["refused"]);
}
