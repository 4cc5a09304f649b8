//! What a downstream store holds after what it has seen.
//!
//! Invariant, whatever the policies: a null value comes for what is held alone, and a message that has had
//! one is never held again.

use std::collections::BTreeMap;

use lethe_engine::{Class, Reason, Storage};

use super::history::Seen;

/// A sink of both output topics of a class.
#[derive(Clone, Debug)]
pub struct Downstream {
    class: Class,
    held: BTreeMap<(Storage, String), Held>,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Its content is there.
    Live,
    /// A null value ended it.
    Ended(Reason),
}

impl Downstream {
    /// A sink that has seen nothing.
    pub fn new(class: Class) -> Self {
        Self { class, held: BTreeMap::new() }
    }

    /// Takes over what was emitted; an error says which invariant it breaks.
    pub fn take(&mut self, seen: &Seen) -> Result<(), String> {
        match seen {
            Seen::Content { storage, key } => self.content(*storage, key),
            Seen::Tombstone { storage, key, reason } => {
                let held = self.held.insert((*storage, key.clone()), Held::Ended(*reason));
                match held {
                    Some(Held::Live) => Ok(()),
                    Some(Held::Ended(_)) => Err(format!("a second tombstone: {seen}")),
                    None => Err(format!("a tombstone for what was never emitted: {seen}")),
                }
            }
        }
    }

    fn content(&mut self, storage: Storage, key: &str) -> Result<(), String> {
        if self.class == Class::Message {
            let other = match storage {
                Storage::Stored => Storage::Transit,
                Storage::Transit => Storage::Stored,
            };
            if self.held.contains_key(&(other, key.to_owned())) {
                return Err(format!("{key} is emitted to both topics"));
            }
            if let Some(Held::Ended(reason)) = self.held.get(&(storage, key.to_owned())) {
                return Err(format!("{key} comes back after its tombstone ({})", reason.name()));
            }
        }
        self.held.insert((storage, key.to_owned()), Held::Live);
        Ok(())
    }

    /// The keys whose content is there.
    pub fn live(&self) -> impl Iterator<Item = (Storage, &str)> {
        self.held
            .iter()
            .filter(|(_, held)| **held == Held::Live)
            .map(|((storage, key), _)| (*storage, key.as_str()))
    }
}
