//! Whose turn it is with a partition's local state: a worker's of this process, or the standby's.
//!
//! The standby's stores stand here, open. A worker that is given a partition takes its store as it
//! is, and reads on from there; that is what makes a take-over short.
//!
//! Invariant: the standby borrows no store of a partition that a worker of this process has.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lethe_state::Store;

use super::super::seam::PartitionId;

/// The stores of a process that no worker has.
#[derive(Debug, Default)]
pub struct Shelf {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// The worker that has a partition. A new one may say so before the former has let go.
    owners: BTreeMap<PartitionId, usize>,
    places: BTreeMap<PartitionId, Place>,
}

#[derive(Debug)]
enum Place {
    Here(Box<Store>),
    /// The standby has it in its hands, or works on its directory.
    Out,
}

/// What a worker finds of a partition that it was given.
pub(in super::super) enum Found {
    /// Its store, open.
    Store(Box<Store>),
    /// The standby gives it back within moments.
    Busy,
    /// Nothing: the directory can be opened.
    Nothing,
}

/// What the standby may have of a partition.
pub(super) enum Lent {
    /// Its store.
    Store(Box<Store>),
    /// Its directory, which is not open.
    Directory,
    /// Nothing: a worker has it.
    Owned,
}

impl Shelf {
    /// A partition was given to a worker.
    pub(in super::super) fn own(&self, id: PartitionId, worker: usize) {
        self.lock().owners.insert(id, worker);
    }

    /// A worker has let a partition go, and closed its store.
    pub(in super::super) fn disown(&self, id: PartitionId, worker: usize) {
        let held = &mut *self.lock();
        if held.owners.get(&id) == Some(&worker) {
            held.owners.remove(&id);
        }
    }

    /// For the worker that has the partition.
    pub(in super::super) fn take(&self, id: PartitionId) -> Found {
        let held = &mut *self.lock();
        match held.places.remove(&id) {
            Some(Place::Here(store)) => Found::Store(store),
            Some(Place::Out) => {
                held.places.insert(id, Place::Out);
                Found::Busy
            }
            None => Found::Nothing,
        }
    }

    /// Whether a worker has the partition.
    pub(super) fn is_owned(&self, id: PartitionId) -> bool {
        self.lock().owners.contains_key(&id)
    }

    /// For the standby: to be followed by [`Shelf::give_back`], unless a worker has it.
    pub(super) fn lend(&self, id: PartitionId) -> Lent {
        let held = &mut *self.lock();
        if held.owners.contains_key(&id) {
            return Lent::Owned;
        }
        match held.places.insert(id, Place::Out) {
            Some(Place::Here(store)) => Lent::Store(store),
            // The standby is one thread: it has nothing out when it asks.
            Some(Place::Out) | None => Lent::Directory,
        }
    }

    /// The store, or none where it was closed.
    pub(super) fn give_back(&self, id: PartitionId, store: Option<Box<Store>>) {
        let held = &mut *self.lock();
        match store {
            Some(store) => drop(held.places.insert(id, Place::Here(store))),
            None => drop(held.places.remove(&id)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
