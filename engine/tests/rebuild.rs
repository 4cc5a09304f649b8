//! Random histories whose ledger is lost in the middle and put together from the outputs: nothing that had
//! ended comes back, nothing comes twice, and what lives ends as it would have.
//!
//! Every run tries the same ones; `LETHE_HISTORIES` sets how many of each class are drawn anew instead.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

#[expect(unreachable_pub, reason = "shared by the test binaries")]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use lethe_engine::ledger::Rebuilt;
use lethe_engine::lifecycle::{Found, FoundMessage, FoundVersions};
use lethe_engine::{
    Budget, Class, ControlRecord, Effect, Effects, Engine, Event, MessageAction, MessageEvent,
    Origin, Recipient, Sent, Storage, VersionAction, VersionEvent,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRng, TestRunner};
use support::harness::Harness;
use support::history::{Action, How, START_MS, Said, Seen, Step, with_times};
use support::ledger::Memory;
use support::random::{Seed, history};

/// Histories of each class that a test run tries, if nothing else is asked for.
const HISTORIES: u32 = 2_000;
/// The steps of a history.
const STEPS_MAX: usize = 48;
/// More looks than any history needs.
const LOOKS_MAX: usize = 2_000;

/// What the outputs hold under a key.
#[derive(Clone, Debug)]
enum Held {
    /// Content that these steps brought: the first, and the last.
    Content(Box<Action>, Box<Action>),
    /// A null value, written then.
    Null(i64),
}

/// The outputs of a partition.
#[derive(Clone, Debug, Default)]
struct Outputs {
    held: BTreeMap<(Storage, String), Held>,
    /// When the last of them was written.
    last: i64,
    /// When the first of each tenant was.
    first: BTreeMap<String, i64>,
}

impl Outputs {
    fn take(&mut self, step: &Step, seen: &[Seen]) {
        for seen in seen {
            self.last = self.last.max(step.now);
            let (Seen::Content { key, .. } | Seen::Tombstone { key, .. }) = seen;
            let tenant = key.split('/').next().unwrap();
            self.first.entry(tenant.to_owned()).or_insert(step.now);
            match seen {
                Seen::Content { storage, key } => {
                    let at = (*storage, key.clone());
                    let first = match self.held.get(&at) {
                        Some(Held::Content(first, _)) => first.clone(),
                        Some(Held::Null(_)) | None => Box::new(step.action.clone()),
                    };
                    self.held.insert(at, Held::Content(first, Box::new(step.action.clone())));
                }
                Seen::Tombstone { storage, key, .. } => {
                    self.held.insert((*storage, key.clone()), Held::Null(step.now));
                }
            }
        }
    }

    fn live(&self) -> BTreeSet<(Storage, String)> {
        let live = self.held.iter().filter(|(_, held)| matches!(held, Held::Content(..)));
        live.map(|(key, _)| key.clone()).collect()
    }
}

/// What runs on after the loss.
struct Rebuild {
    class: Class,
    engine: Engine,
    ledger: Memory,
    effects: Effects,
    outputs: Outputs,
    /// The input offset before which the lost ledger had seen everything.
    below: i64,
}

impl Rebuild {
    fn new(harness: &Harness, class: Class, outputs: Outputs, below: i64, now: i64) -> Self {
        let mut ledger = Memory::default();
        let mut engine = Engine::open(class, &mut ledger).unwrap();
        let mut last_ms = START_MS + outputs.last;
        for (offset, (written, key, value)) in (0..).zip(harness.control()) {
            let text = value.as_deref().map(with_times);
            let body = text.as_deref().map(str::as_bytes);
            let written_ms = START_MS + written;
            last_ms = last_ms.max(written_ms);
            let record = ControlRecord::parse(offset, written_ms, key.as_bytes(), body);
            let seen_ms = |tenant: &str| Some(START_MS + outputs.first.get(tenant)?);
            engine.adopt_control(&mut ledger, &record, seen_ms).unwrap();
        }
        engine.adopt_time(&mut ledger, last_ms).unwrap();
        let rebuilt = Rebuilt { below, at_ms: START_MS + now, input: None };
        engine.adopt_line(&mut ledger, rebuilt);
        let effects = Effects::default();
        let mut rebuild = Self { class, engine, ledger, effects, outputs, below };
        for (key, records) in rebuild.by_record() {
            rebuild.adopt(&key, &records, last_ms);
        }
        rebuild.engine.adopt_erasures(&mut rebuild.ledger).unwrap();
        rebuild.commit();
        rebuild
    }

    /// What the outputs hold, by the record's key without a version.
    fn by_record(&self) -> BTreeMap<String, Vec<(Storage, bool, Held)>> {
        let parts = if self.class == Class::Message { 3 } else { 2 };
        let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for ((storage, key), held) in &self.outputs.held {
            let record: Vec<&str> = key.split('/').collect();
            let plain = record.len() == parts;
            let found = (*storage, plain, held.clone());
            all.entry(record[..parts].join("/")).or_default().push(found);
        }
        all
    }

    fn adopt(&mut self, key: &str, records: &[(Storage, bool, Held)], now_ms: i64) {
        let (tenant, id) = key.split_once('/').unwrap();
        let contents = records.iter().filter_map(|(storage, plain, held)| match held {
            Held::Content(first, last) => Some((*storage, *plain, first.clone(), last.clone())),
            Held::Null(_) => None,
        });
        let contents: Vec<_> = contents.collect();
        let ended = records.iter().filter_map(|(_, _, held)| match held {
            Held::Null(at) => Some(START_MS + at),
            Held::Content(..) => None,
        });
        let ended = ended.max();
        let mut adopt = |found: Found<'_>| {
            let Self { engine, ledger, .. } = self;
            engine.adopt(ledger, tenant, id, &found, now_ms).unwrap();
        };
        if contents.is_empty() {
            return adopt(Found::Ended(ended.unwrap()));
        }
        if let Action::Message(message, _) = &*contents[0].2 {
            let edit = |action: &Action| match action {
                Action::Message(_, Said::Edited { at, .. }) => Some(START_MS + at),
                _ => None,
            };
            let plain = contents.iter().find(|(_, plain, ..)| *plain).unwrap();
            let versions = contents.iter().filter(|(_, plain, ..)| !plain);
            let versions: Vec<i64> = versions.filter_map(|(_, _, _, last)| edit(last)).collect();
            let how = match &*plain.2 {
                Action::Message(_, Said::Sent(how) | Said::Edited { sent: Some(how), .. }) => how,
                other => panic!("no message begins with {other:?}"),
            };
            adopt(Found::Message(FoundMessage {
                sent_at_ms: START_MS + message.sent_at,
                storage: plain.0,
                sent: sent(how),
                edited_at_ms: edit(&plain.3),
                versions: &versions,
            }));
            return;
        }
        let time = |last: &Action| match last {
            Action::Set(_, at) => START_MS + at,
            other => panic!("no version is {other:?}"),
        };
        let of = |storage: Storage| contents.iter().filter(move |(of, ..)| *of == storage);
        let mut stored: Vec<i64> = of(Storage::Stored).map(|(.., last)| time(last)).collect();
        stored.sort_unstable();
        let plain = of(Storage::Stored).find(|(_, plain, ..)| *plain);
        let transit = of(Storage::Transit).map(|(.., last)| time(last)).max();
        adopt(Found::Versions(FoundVersions {
            stored: &stored,
            plain_ms: plain.map(|(.., last)| time(last)),
            transit_ms: transit,
        }));
    }

    fn commit(&mut self) {
        self.engine.flush(&mut self.ledger);
        self.ledger.commit();
    }

    /// Takes what was emitted; what may not be is an error. What is new for the
    /// outputs may come, and what lives may be edited.
    fn drain(&mut self, why: &str, new: bool) -> Result<(), String> {
        for effect in self.effects.iter() {
            match effect {
                Effect::Content { storage, key, .. } => {
                    let parts: Vec<&str> = key.split('/').collect();
                    let plain = (storage, parts[..3.min(parts.len())].join("/"));
                    let lives = matches!(self.outputs.held.get(&plain), Some(Held::Content(..)));
                    let ended = self.outputs.held.contains_key(&plain) && !lives;
                    if !new || (ended && self.class == Class::Message) {
                        return Err(format!("{why}: {key} comes back"));
                    }
                    let edit = || Box::new(Action::Commit);
                    let held = Held::Content(edit(), edit());
                    self.outputs.held.insert((storage, key.to_owned()), held);
                }
                Effect::Tombstone { storage, key, .. } => {
                    let held = self.outputs.held.insert((storage, key.to_owned()), Held::Null(0));
                    if !matches!(held, Some(Held::Content(..))) {
                        return Err(format!("{why}: a tombstone for {key}, which was {held:?}"));
                    }
                }
                Effect::Audit { .. } | Effect::Replayed { .. } | Effect::Marker { .. } => {}
            }
        }
        self.effects.clear();
        Ok(())
    }

    fn apply(&mut self, action: &Action, origin: Origin, now: i64) -> Result<(), String> {
        with_event(self.class, action, |event| {
            let Self { engine, ledger, effects, .. } = self;
            engine.apply(ledger, event, origin, START_MS + now, effects).unwrap();
        });
        let past = matches!(origin, Origin::Input(offset) if offset < self.below);
        self.drain(&format!("{action:?} at {origin:?}"), !past)
    }

    fn look(&mut self, now: i64) -> Result<(), String> {
        for _ in 0..LOOKS_MAX {
            let Self { engine, ledger, effects, .. } = self;
            let looked = engine.look(ledger, START_MS + now, &mut Budget { rows: 7 }, effects);
            let more = looked.unwrap().more;
            self.drain(&format!("a look at {now}"), false)?;
            if !more {
                return Ok(());
            }
        }
        Err(format!("there is still more to do after {LOOKS_MAX} looks"))
    }
}

fn sent(how: &How) -> Sent<'static> {
    Sent { sender: how.by.name(), kind: 1, recipients: how.recipients, ttl_ms: how.ttl }
}

fn with_event(class: Class, action: &Action, apply: impl FnOnce(&Event<'_>)) {
    let (item, at, done) = match action {
        Action::Message(message, said) => {
            let action = match said {
                Said::Sent(how) => MessageAction::Sent(sent(how)),
                Said::Delivered(user) => MessageAction::Delivered(Recipient::User(user)),
                Said::DeliveredToAll => MessageAction::Delivered(Recipient::Everyone),
                Said::Read(user) => MessageAction::Read(user),
                Said::Recalled => MessageAction::Recalled,
                Said::Edited { at, sent: how } => MessageAction::Edited {
                    edited_at_ms: START_MS + at,
                    sent: how.as_ref().map(sent),
                },
            };
            return apply(&Event::Message(MessageEvent {
                tenant: &message.tenant,
                conversation: &message.conversation,
                message: &message.message,
                sent_at_ms: START_MS + message.sent_at,
                action,
            }));
        }
        Action::Set(item, at) => (item, at, VersionAction::Set),
        Action::Remove(item, at) => (item, at, VersionAction::Removed),
        other => panic!("{other:?} is no event"),
    };
    let updated_at_ms = START_MS + at;
    let event = VersionEvent { tenant: &item.tenant, id: &item.id, updated_at_ms, action: done };
    apply(&match class {
        Class::Profile => Event::Profile(event),
        Class::Config | Class::Message => Event::Config(event),
    });
}

fn is_event(action: &Action) -> bool {
    matches!(action, Action::Message(..) | Action::Set(..) | Action::Remove(..))
}

/// Of what was sent ahead of the clock nobody knows any more which lines were drawn behind it.
fn is_ahead(step: &Step) -> bool {
    match &step.action {
        Action::Message(message, _) => message.sent_at > step.now,
        Action::Set(_, at) | Action::Remove(_, at) => *at > step.now,
        Action::Control { .. }
        | Action::Look(_)
        | Action::Commit
        | Action::Reopen
        | Action::Abort
        | Action::Suspend(_)
        | Action::Filter(_)
        | Action::Again(_) => false,
    }
}

/// Leaves out what no output tells of: an end that is taken back just as it comes, of a tenant of which nothing
/// had been seen; an erasure that is withdrawn while every tombstone is stopped; and what was applied later than
/// it was written, events between.
fn tellable(steps: Vec<Step>) -> Vec<Step> {
    let mut told = Vec::new();
    let mut ended = BTreeSet::new();
    let told_of = |step: &Step| !is_ahead(step) && !matches!(step.action, Action::Again(_));
    for step in steps.into_iter().filter(told_of) {
        let now = step.now;
        let Action::Control { key, value, .. } = &step.action else {
            let aborts = matches!(step.action, Action::Abort);
            told.push(if aborts { Step { now, action: Action::Reopen } } else { step });
            continue;
        };
        if key.starts_with("erasure/") && value.is_none() {
            continue;
        }
        let ends = value.as_ref().is_some_and(|value| value.contains("ended_at"));
        if key.starts_with("terms/") && ended.contains(key) {
            continue;
        }
        if ends {
            ended.insert(key.clone());
        }
        let (key, value) = (key.clone(), value.clone());
        told.push(Step { now, action: Action::Control { written: now, key, value } });
        // A worker looks at once.
        told.push(Step { now, action: Action::Look(None) });
    }
    told
}

/// Runs a history, loses its ledger, and lets both go on to their end.
fn run(class: Class, steps: &[Step]) -> Result<(), String> {
    let mut harness = Harness::new(class);
    let (mut outputs, mut events) = (Outputs::default(), Vec::new());
    let mut end = 0;
    for step in steps.iter().filter(|step| !matches!(step.action, Action::Suspend(_))) {
        let did = harness.step(step)?;
        outputs.take(step, &did.seen);
        if is_event(&step.action) {
            events.push(step.action.clone());
        }
        end = end.max(step.now);
    }
    harness.step(&Step { now: end, action: Action::Commit })?;
    let below = i64::try_from(events.len()).unwrap();
    let mut rebuild = Rebuild::new(&harness, class, outputs.clone(), below, end);
    let mut other = Rebuild::new(&harness, class, outputs.clone(), below, end);
    // Everything again: in its order, and the other way round, again, and by way of another topic.
    for (offset, action) in (0..).zip(&events) {
        rebuild.apply(action, Origin::Input(offset), end)?;
    }
    for (offset, action) in (0..below).rev().zip(events.iter().rev()) {
        other.apply(action, Origin::Input(offset), end)?;
        other.apply(action, Origin::Input(below + offset), end)?;
        other.apply(action, Origin::Elsewhere, end)?;
    }
    rebuild.commit();
    for after in [0, 1_000, 3_000, 20_000, 30 * 24 * 3_600_000] {
        rebuild.look(end + after)?;
        let step = Step { now: end + after, action: Action::Look(None) };
        let did = harness.step(&step)?;
        outputs.take(&step, &did.seen);
    }
    let (lived, lives) = (outputs.live(), rebuild.outputs.live());
    let parts = if class == Class::Message { 3 } else { 2 };
    let records = |live: &BTreeSet<(Storage, String)>| -> BTreeSet<(Storage, String)> {
        let plain = |key: &str| key.split('/').take(parts).collect::<Vec<_>>().join("/");
        live.iter().map(|(storage, key)| (*storage, plain(key))).collect()
    };
    // An older version may have ended already when the newer one came, which nobody knows any more.
    if lives.is_subset(&lived) && records(&lives) == records(&lived) {
        return Ok(());
    }
    Err(format!("live: {lived:?}, rebuilt: {lives:?}"))
}

fn histories(class: Class) {
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
    let ran = runner.run(&seeds, |seeds| {
        let steps = tellable(history(class, false, &seeds));
        run(class, &steps).map_err(|wrong| {
            let text: String = steps.iter().map(|step| format!("    {step}\n")).collect();
            TestCaseError::fail(format!("\n{text}{wrong}"))
        })
    });
    match ran {
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("{}", why.message()),
        Err(TestError::Abort(why)) => panic!("{}", why.message()),
    }
}

#[test]
fn messages() {
    histories(Class::Message);
}

#[test]
fn profiles() {
    histories(Class::Profile);
}

#[test]
fn configs() {
    histories(Class::Config);
}
