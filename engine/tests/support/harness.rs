//! Drives an engine through a history, with a downstream and the model watching.
//!
//! Invariant: the engine gets what the program's shell would give it: control records in order from where it
//! says that it stands, effects drained after each call, a flush before each commit, a new engine after an abort.

use lethe_engine::{
    Budget, Class, ControlRecord, Effect, Effects, Engine, Event, Looked, MessageAction,
    MessageEvent, Origin, Outcome, Recipient, Sent, VersionAction, VersionEvent,
};

use super::again::Told;
use super::downstream::Downstream;
use super::history::{Action, How, Item, START_MS, Said, Seen, Step, with_times};
use super::ledger::Memory;
use super::model::{Did, Model};

/// How many rows a look reads at a time when it is to find everything.
const LOOK_ROWS: usize = 7;
/// More looks than any history needs: an engine that always has more to do is wrong.
const LOOKS_MAX: usize = 2_000;

/// A record of the control topic: written when, key and value.
pub type Record = (i64, String, Option<String>);

/// One partition of a topic, its engine and its watchers.
pub struct Harness {
    class: Class,
    engine: Engine,
    ledger: Memory,
    pub(super) watchers: Watchers,
    /// The watchers as of the last commit.
    committed: Watchers,
    control: Vec<Record>,
    effects: Effects,
}

/// What is rolled back with an aborted batch.
#[derive(Clone)]
pub(super) struct Watchers {
    pub(super) downstream: Downstream,
    pub(super) model: Model,
    pub(super) told: Told,
    suspended: bool,
}

impl Harness {
    pub fn new(class: Class) -> Self {
        let mut ledger = Memory::default();
        let engine = Engine::open(class, &mut ledger).unwrap();
        let watchers = Watchers {
            downstream: Downstream::new(class),
            model: Model::new(class),
            told: Told::default(),
            suspended: false,
        };
        let effects = Effects::default();
        Self {
            class,
            engine,
            ledger,
            committed: watchers.clone(),
            watchers,
            control: Vec::new(),
            effects,
        }
    }

    /// What came of a step; an error says what is wrong with it.
    pub fn step(&mut self, step: &Step) -> Result<Did, String> {
        let now = self.watchers.model.clock(step.now);
        let step = Step { now, action: step.action.clone() };
        if let Action::Again(pass) = step.action {
            self.again(now, pass)?;
        }
        let did = self.act(&step)?;
        let judged = !matches!(step.action, Action::Control { .. });
        for seen in did.seen.iter().filter(|_| judged) {
            self.watchers.downstream.take(seen)?;
        }
        if judged {
            self.watchers.model.judge(&step, &did)?;
            self.watchers.told.take(&step.action, &did.seen);
        }
        self.close_batch(&step)?;
        Ok(did)
    }

    /// Once nothing is left to do: downstream holds what the model says is live.
    pub fn check_live(&mut self) -> Result<(), String> {
        let live = self.watchers.model.live();
        let held = self
            .watchers
            .downstream
            .live()
            .map(|(storage, key)| (storage, key.to_owned()))
            .collect();
        if live == held {
            Ok(())
        } else {
            Err(format!("live: {live:?}, but downstream holds {held:?}"))
        }
    }

    /// The engine, its ledger and what it emits into, for what a history cannot say.
    pub fn engine(&mut self) -> (&mut Engine, &mut Memory, &mut Effects) {
        (&mut self.engine, &mut self.ledger, &mut self.effects)
    }

    /// The control topic: when each record was written, its key and its value.
    pub fn control(&self) -> &[Record] {
        &self.control
    }

    /// The class of the partition's records.
    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// Writes a control record of a new id that the model does not know, and applies it. Gives its offset.
    pub(super) fn say(&mut self, now: i64, kind: &str, value: String) -> Result<i64, String> {
        let number = self.control.len();
        let written =
            self.control.last().map_or(now, |last| last.0.min(now).max(0).max(now.min(last.0)));
        self.control.push((written, format!("{kind}/{number}"), Some(value)));
        self.catch_up(now)?;
        Ok(i64::try_from(number).unwrap())
    }

    fn act(&mut self, step: &Step) -> Result<Did, String> {
        let mut did = Did { outcome: None, seen: Vec::new(), looked: None, wake: None };
        match &step.action {
            event @ (Action::Message(..) | Action::Set(..) | Action::Remove(..)) => {
                did.outcome = Some(self.event(step.now, event)?);
            }
            Action::Control { written, key, value } => {
                let written = self.watchers.model.written(*written, step.now);
                let written =
                    written.max(self.control.last().map_or(written, |last| last.0.min(step.now)));
                self.control.push((written, key.clone(), value.clone()));
                did.seen = self.catch_up(step.now)?;
            }
            Action::Look(rows) => did.looked = Some(self.look(step.now, *rows, &mut did.seen)?),
            Action::Suspend(suspended) => {
                self.watchers.suspended = *suspended;
                let now = START_MS + step.now;
                self.engine
                    .suspend(&mut self.ledger, *suspended, now)
                    .map_err(|error| error.to_string())?;
            }
            Action::Commit
            | Action::Reopen
            | Action::Abort
            | Action::Filter(_)
            | Action::Again(_) => {}
        }
        did.seen.extend(drain(&mut self.effects));
        did.wake = self.engine.wake_ms().map(|wake| wake.saturating_sub(START_MS));
        Ok(did)
    }

    /// Applies the control records that the engine has not applied yet.
    fn catch_up(&mut self, now: i64) -> Result<Vec<Seen>, String> {
        let mut seen = Vec::new();
        let from = usize::try_from(self.engine.control_offset()).unwrap();
        for offset in from..self.control.len() {
            let (written, key, value) = self.control[offset].clone();
            let text = value.as_deref().map(with_times);
            let record = ControlRecord::parse(
                i64::try_from(offset).unwrap(),
                START_MS + written,
                key.as_bytes(),
                text.as_deref().map(str::as_bytes),
            );
            self.engine
                .control(&mut self.ledger, &record, START_MS + now, &mut self.effects)
                .map_err(|error| error.to_string())?;
            let did =
                Did { outcome: None, seen: drain(&mut self.effects), looked: None, wake: None };
            for one in &did.seen {
                self.watchers.downstream.take(one)?;
            }
            self.watchers.told.tombstones(&did.seen);
            // The model knows no replays.
            if record.refusal().is_none() && !key.starts_with("replay/") {
                self.watchers.model.control(now, written, &key, value.as_deref(), &did)?;
            }
            seen.extend(did.seen);
        }
        self.watchers.model.caught_up(now);
        let applied = self.engine.control_offset();
        if usize::try_from(applied) != Ok(self.control.len()) {
            return Err(format!(
                "{} control records are there, but it stands at {applied}",
                self.control.len()
            ));
        }
        Ok(seen)
    }

    fn look(
        &mut self,
        now: i64,
        rows: Option<usize>,
        seen: &mut Vec<Seen>,
    ) -> Result<Looked, String> {
        for _ in 0..LOOKS_MAX {
            let mut budget = Budget { rows: rows.unwrap_or(LOOK_ROWS) };
            let looked =
                self.engine.look(&mut self.ledger, START_MS + now, &mut budget, &mut self.effects);
            let looked = looked.map_err(|error| error.to_string())?;
            seen.extend(drain(&mut self.effects));
            if !looked.more || rows.is_some() {
                return Ok(looked);
            }
        }
        Err(format!("there is still more to do after {LOOKS_MAX} looks"))
    }

    fn event(&mut self, now: i64, action: &Action) -> Result<Outcome, String> {
        let Self { class, engine, ledger, effects, .. } = self;
        let applied = with_event(*class, action, |event| {
            engine.apply(ledger, event, Origin::Elsewhere, START_MS + now, effects)
        })?;
        applied.map_err(|error| error.to_string())
    }

    /// Commits, aborts, reopens or filters, if the step says so.
    fn close_batch(&mut self, step: &Step) -> Result<(), String> {
        match step.action {
            Action::Commit | Action::Reopen | Action::Filter(_) => {
                self.engine.flush(&mut self.ledger);
                self.ledger.commit();
                self.committed = self.watchers.clone();
            }
            Action::Abort => {
                self.ledger.abort();
                self.watchers = self.committed.clone();
            }
            Action::Message(..)
            | Action::Set(..)
            | Action::Remove(..)
            | Action::Control { .. }
            | Action::Look(_)
            | Action::Suspend(_)
            | Action::Again(_) => return Ok(()),
        }
        if let Action::Filter(seed) = step.action {
            super::random::filter(&mut self.ledger, seed);
        }
        if matches!(step.action, Action::Reopen | Action::Abort) {
            self.engine =
                Engine::open(self.class, &mut self.ledger).map_err(|error| error.to_string())?;
            let (suspended, now) = (self.watchers.suspended, START_MS + step.now);
            if suspended {
                self.engine
                    .suspend(&mut self.ledger, true, now)
                    .map_err(|error| error.to_string())?;
            }
            let now = self.watchers.model.clock(step.now);
            self.catch_up(now)?;
        }
        Ok(())
    }
}

/// Calls with the event that an action is.
pub(super) fn with_event<R>(
    class: Class,
    action: &Action,
    call: impl FnOnce(&Event<'_>) -> R,
) -> Result<R, String> {
    let version = |item: &Item, at: i64, action: VersionAction| {
        let (tenant, id, updated_at_ms) = (item.tenant.clone(), item.id.clone(), START_MS + at);
        (tenant, id, updated_at_ms, action)
    };
    let (tenant, id, updated_at_ms, action) = match action {
        Action::Message(message, said) => {
            let event = MessageEvent {
                tenant: &message.tenant,
                conversation: &message.conversation,
                message: &message.message,
                sent_at_ms: START_MS + message.sent_at,
                action: message_action(said),
            };
            return Ok(call(&Event::Message(event)));
        }
        Action::Set(item, at) => version(item, *at, VersionAction::Set),
        Action::Remove(item, at) => version(item, *at, VersionAction::Removed),
        other @ (Action::Control { .. }
        | Action::Look(_)
        | Action::Commit
        | Action::Reopen
        | Action::Abort
        | Action::Suspend(_)
        | Action::Filter(_)
        | Action::Again(_)) => {
            return Err(format!("no event: {other:?}"));
        }
    };
    let event = VersionEvent { tenant: &tenant, id: &id, updated_at_ms, action };
    match class {
        Class::Profile => Ok(call(&Event::Profile(event))),
        Class::Config => Ok(call(&Event::Config(event))),
        Class::Message => Err("a message topic has no versions".to_owned()),
    }
}

fn message_action(said: &Said) -> MessageAction<'_> {
    match said {
        Said::Sent(how) => MessageAction::Sent(sent(how)),
        Said::Delivered(user) => MessageAction::Delivered(Recipient::User(user)),
        Said::DeliveredToAll => MessageAction::Delivered(Recipient::Everyone),
        Said::Read(user) => MessageAction::Read(user),
        Said::Recalled => MessageAction::Recalled,
        Said::Edited { at, sent: how } => {
            MessageAction::Edited { edited_at_ms: START_MS + at, sent: how.as_ref().map(sent) }
        }
    }
}

fn sent(how: &How) -> Sent<'static> {
    Sent { sender: how.by.name(), kind: 1, recipients: how.recipients, ttl_ms: how.ttl }
}

/// The effects since the last call, audits left out.
pub(super) fn drain(effects: &mut Effects) -> Vec<Seen> {
    let seen = effects.iter().filter_map(|effect| match effect {
        Effect::Content { storage, key, .. } => {
            Some(Seen::Content { storage, key: key.to_owned() })
        }
        Effect::Tombstone { storage, key, reason, .. } => {
            Some(Seen::Tombstone { storage, key: key.to_owned(), reason })
        }
        Effect::Audit { .. } | Effect::Replayed { .. } | Effect::Marker { .. } => None,
    });
    let seen = seen.collect();
    effects.clear();
    seen
}
