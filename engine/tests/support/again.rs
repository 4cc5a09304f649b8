//! Replays inside of a history: everything that was said so far is read again.
//!
//! Invariants: mode `missing` is judged by the model as if the events came now, and emits nothing that came out
//! before; mode `refresh` emits exactly what is out, each version once, and it and a dry run change nothing.

use std::collections::{BTreeMap, BTreeSet};

use lethe_engine::ledger::{ReplayCounts, ReplayRange, key::tag};
use lethe_engine::lifecycle::Explanation;
use lethe_engine::{Class, Ledger, Origin, Outcome, Rows, Storage};

use super::harness::{Harness, drain};
use super::history::{Action, Pass, START_MS, Seen, Step};
use super::ledger::Memory;
use super::model::Did;

/// What was said and what came of it, as far as it was not aborted.
#[derive(Clone, Default)]
pub struct Told {
    /// The events, in order.
    events: Vec<Action>,
    /// Those whose content came out.
    emitted: BTreeSet<usize>,
    /// The event whose content is under each key downstream.
    out: BTreeMap<(Storage, String), usize>,
}

impl Told {
    /// An event came, and this of it.
    pub fn take(&mut self, action: &Action, seen: &[Seen]) {
        if matches!(action, Action::Message(..) | Action::Set(..) | Action::Remove(..)) {
            self.events.push(action.clone());
        }
        self.took(self.events.len().saturating_sub(1), seen);
    }

    /// Something else came to pass, and this of it.
    pub fn tombstones(&mut self, seen: &[Seen]) {
        self.took(usize::MAX, seen);
    }

    fn took(&mut self, event: usize, seen: &[Seen]) {
        for one in seen {
            match one {
                Seen::Content { storage, key } => {
                    self.emitted.insert(event);
                    self.out.insert((*storage, key.clone()), event);
                }
                Seen::Tombstone { storage, key, .. } => {
                    self.out.remove(&(*storage, key.clone()));
                }
            }
        }
    }
}

impl Harness {
    /// Reads everything again that was said so far. An error says what is wrong with what came of it.
    pub fn again(&mut self, now: i64, pass: Pass) -> Result<(), String> {
        let (mode, dry) = match pass {
            Pass::Missing => ("missing", false),
            Pass::Refresh => ("refresh", false),
            Pass::Rehearse => ("missing", true),
        };
        if pass == Pass::Refresh {
            // What is due by now is over, and has its tombstone.
            self.step(&Step { now, action: Action::Look(None) })?;
        }
        let offset = self.ask_for_replay(now, mode, dry)?;
        let (engine, ledger, _) = self.engine();
        engine.flush(ledger);
        let (before, events) = (rows(self.engine().1)?, self.watchers.told.events.clone());
        let mut replayed = Vec::new();
        for (number, action) in events.iter().enumerate() {
            let (counts, seen) = self.read_again(now, offset, action)?;
            match pass {
                Pass::Missing => self.judge_again(now, number, action, counts, &seen)?,
                Pass::Refresh => replayed.extend(seen.into_iter().map(|seen| (number, seen))),
                Pass::Rehearse if seen.is_empty() => {}
                Pass::Rehearse => return Err(format!("a dry run has emitted {seen:?}")),
            }
        }
        if pass == Pass::Refresh {
            self.judge_refresh(now, &events, replayed)?;
        }
        if pass != Pass::Missing && rows(self.engine().1)? != before {
            return Err(format!("{pass:?} has changed the ledger"));
        }
        self.complete_replay(now, offset)
    }

    fn ask_for_replay(&mut self, now: i64, mode: &str, dry: bool) -> Result<i64, String> {
        let topic = match self.class() {
            Class::Message => "im.messages",
            Class::Profile => "im.profiles",
            Class::Config => "im.configs",
        };
        let body = format!("{{\"source\": \"{topic}\", \"mode\": \"{mode}\", \"dry_run\": {dry}}}");
        let offset = self.say(now, "replay", body)?;
        let to = i64::try_from(self.watchers.told.events.len()).unwrap();
        let range = ReplayRange { from: 0, to, source_id: None };
        let (engine, ledger, effects) = self.engine();
        let replaying = engine.read_replay(ledger, offset).unwrap().ok_or("there is no replay")?;
        engine.begin_replay(ledger, replaying, range, START_MS + now, effects);
        effects.clear();
        Ok(offset)
    }

    fn read_again(
        &mut self,
        now: i64,
        offset: i64,
        action: &Action,
    ) -> Result<(ReplayCounts, Vec<Seen>), String> {
        let class = self.class();
        let (engine, ledger, effects) = self.engine();
        let mut replaying = engine.read_replay(ledger, offset).unwrap().ok_or("it is gone")?;
        replaying.row.counts = ReplayCounts::default();
        super::harness::with_event(class, action, |event| {
            engine.replay(ledger, &mut replaying, event, Origin::Elsewhere, START_MS + now, effects)
        })?
        .map_err(|error| error.to_string())?;
        engine.keep_replay(ledger, &replaying);
        let seen = drain(effects);
        effects.clear();
        Ok((replaying.row.counts, seen))
    }

    fn judge_again(
        &mut self,
        now: i64,
        number: usize,
        action: &Action,
        counts: ReplayCounts,
        seen: &[Seen],
    ) -> Result<(), String> {
        let step = Step { now, action: action.clone() };
        let wrong = |why: String| format!("read again: {step}: {why}");
        for one in seen {
            self.watchers.downstream.take(one).map_err(wrong)?;
            let comes_back = matches!(one, Seen::Content { .. });
            if comes_back && self.watchers.told.emitted.contains(&number) {
                return Err(wrong(format!("{one} came out before")));
            }
        }
        let outcome = Some(outcome(&counts, seen).map_err(wrong)?);
        let did = Did { outcome, seen: seen.to_vec(), looked: None, wake: Some(i64::MIN) };
        self.watchers.model.judge(&step, &did).map_err(wrong)?;
        self.watchers.told.took(number, seen);
        Ok(())
    }

    /// What a refresh emitted is what is out: by equal events, each key once. What is not emitted is over: where
    /// the clock steps back, its tombstone may yet have to come.
    fn judge_refresh(
        &mut self,
        now: i64,
        events: &[Action],
        replayed: Vec<(usize, Seen)>,
    ) -> Result<(), String> {
        let mut left = self.watchers.told.out.clone();
        for (number, seen) in replayed {
            let Seen::Content { storage, key } = &seen else {
                return Err(format!("a refresh has emitted {seen}"));
            };
            let Some(out) = left.remove(&(*storage, key.clone())) else {
                return Err(format!(
                    "a refresh has emitted {seen}, which is not out, or was emitted"
                ));
            };
            if events[out] != events[number] {
                return Err(format!(
                    "a refresh has emitted {:?} for {:?}",
                    events[number], events[out]
                ));
            }
        }
        for (out, number) in left {
            let explained = self.explain(now, &events[number])?;
            if !matches!(explained, Explanation::Over { .. }) {
                return Err(format!("a refresh has not emitted {out:?}: {explained:?}"));
            }
        }
        Ok(())
    }

    fn explain(&mut self, now: i64, action: &Action) -> Result<Explanation, String> {
        let (tenant, at, id) = match action {
            Action::Message(message, _) => {
                let id = format!("{}/{}", message.conversation, message.message);
                (&message.tenant, message.sent_at, id)
            }
            Action::Set(item, at) | Action::Remove(item, at) => {
                (&item.tenant, *at, item.id.clone())
            }
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
        let (engine, ledger, _) = self.engine();
        let explained = engine.explain(ledger, tenant, START_MS + at, &id, START_MS + now);
        explained.map_err(|error| error.to_string())
    }

    fn complete_replay(&mut self, now: i64, offset: i64) -> Result<(), String> {
        let (engine, ledger, effects) = self.engine();
        let replaying = engine.read_replay(ledger, offset).unwrap().ok_or("it is gone")?;
        engine.complete_replay(ledger, replaying, None, START_MS + now, effects).unwrap();
        let mut more = true;
        while more {
            match engine.read_replay(ledger, offset).unwrap().filter(|r| r.row.remembers) {
                Some(replaying) => {
                    let budget = lethe_engine::Budget { rows: 3 };
                    more = engine.forget_replayed(ledger, replaying, budget).unwrap();
                }
                None => more = false,
            }
        }
        effects.clear();
        // One that an abort took back waits again, and is left alone.
        let open = engine.open_replays().contains(&offset);
        if open { Err("there is something left to do".to_owned()) } else { Ok(()) }
    }
}

fn outcome(counts: &ReplayCounts, seen: &[Seen]) -> Result<Outcome, String> {
    let emitted = seen.iter().find_map(|seen| match seen {
        Seen::Content { storage: Storage::Stored, .. } => Some(Outcome::Stored),
        Seen::Content { storage: Storage::Transit, .. } => Some(Outcome::Transit),
        Seen::Tombstone { .. } => None,
    });
    let ended = seen.iter().filter(|seen| matches!(seen, Seen::Tombstone { .. })).count();
    if counts.ended != ended as u64 || counts.emitted != u64::from(emitted.is_some()) {
        return Err(format!("{counts:?} for {seen:?}"));
    }
    let over = counts.over + counts.erased + counts.unknown_tenant;
    match (emitted, [counts.learned, counts.known, over, counts.nothing]) {
        (Some(outcome), [0, 0, 0, 0]) => Ok(outcome),
        (None, [1, 0, 0, 0]) => Ok(Outcome::Learned),
        (None, [0, 1, 0, 0]) => Ok(Outcome::Known),
        (None, [0, 0, 1, 0]) => Ok(Outcome::Over),
        (None, [0, 0, 0, 1]) => Ok(Outcome::Nothing),
        _ => Err(format!("not counted once: {counts:?}")),
    }
}

/// A row: its key and its value.
type Row = (Vec<u8>, Vec<u8>);

/// All rows but those of replays, and of what was said about them.
fn rows(ledger: &mut Memory) -> Result<Vec<Row>, String> {
    let mut rows = Rows::default();
    ledger.scan(&[0], &[u8::MAX], usize::MAX, &mut rows).map_err(|error| error.to_string())?;
    let kept = rows.iter().filter(|(key, _)| {
        !matches!(key.first(), Some(&(tag::REPLAY | tag::REPLAYED | tag::CONTROL | tag::PARTITION)))
    });
    Ok(kept.map(|(key, value)| (key.to_vec(), value.to_vec())).collect())
}
