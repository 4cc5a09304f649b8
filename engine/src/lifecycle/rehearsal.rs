//! An engine on a ledger that keeps nothing: what events would do, without doing it.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::effect::{Effects, Outcome};
use super::engine::Engine;
use super::event::{Event, Origin};
use crate::Class;
use crate::ledger::{Ledger, Rows};

/// What a number of events would do, each on top of those before it.
#[derive(Debug)]
pub(super) struct Rehearsal {
    engine: Engine,
    /// What they would have changed; none: a row that would be gone.
    changes: Changes,
    effects: Effects,
}

type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl Rehearsal {
    /// On top of what the ledger holds now.
    pub(super) fn open<L: Ledger>(class: Class, ledger: &mut L) -> Result<Self, L::Error> {
        let mut changes = Changes::default();
        let engine = Engine::open(class, &mut Scratch { ledger, changes: &mut changes })?;
        Ok(Self { engine, changes, effects: Effects::default() })
    }

    /// What would come of an event, and how many tombstones with it.
    pub(super) fn apply<L: Ledger>(
        &mut self,
        ledger: &mut L,
        event: &Event<'_>,
        origin: Origin,
        now_ms: i64,
    ) -> Result<(Outcome, u64), L::Error> {
        self.effects.clear();
        let mut scratch = Scratch { ledger, changes: &mut self.changes };
        let outcome = self.engine.apply(&mut scratch, event, origin, now_ms, &mut self.effects)?;
        Ok((outcome, self.effects.tombstones_from(0)))
    }
}

/// A ledger with changes that it never gets.
struct Scratch<'s, L> {
    ledger: &'s mut L,
    changes: &'s mut Changes,
}

impl<L: Ledger> Ledger for Scratch<'_, L> {
    type Error = L::Error;

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, L::Error> {
        let Some(changed) = self.changes.get(key) else { return self.ledger.get(key, value) };
        value.clear();
        value.extend_from_slice(changed.as_deref().unwrap_or_default());
        Ok(changed.is_some())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.changes.insert(key.to_vec(), Some(value.to_vec()));
    }

    fn delete(&mut self, key: &[u8]) {
        self.changes.insert(key.to_vec(), None);
    }

    fn scan(
        &mut self,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
        rows: &mut Rows,
    ) -> Result<(), L::Error> {
        rows.clear();
        if from >= to {
            return Ok(());
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        let changed = self.changes.range::<[u8], _>(range);
        let mut below = Rows::default();
        // As many more as could have changed.
        self.ledger.scan(from, to, rows_max.saturating_add(changed.clone().count()), &mut below)?;
        let mut merged: BTreeMap<&[u8], Option<&[u8]>> =
            below.iter().map(|(key, value)| (key, Some(value))).collect();
        merged.extend(changed.map(|(key, value)| (key.as_slice(), value.as_deref())));
        let there = merged.into_iter().filter_map(|(key, value)| Some((key, value?)));
        for (key, value) in there.take(rows_max) {
            rows.push(key, value);
        }
        Ok(())
    }
}
