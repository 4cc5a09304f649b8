//! Profiles and config items: the newest version counts, and each topic holds at most one.

use std::collections::{BTreeMap, BTreeSet};

use lethe_engine::{Class, Reason, Storage};

use super::{Is, Slot, World};
use crate::support::history::{Item, Seen};

/// Every profile or config item.
#[derive(Clone, Debug, Default)]
pub struct Versions {
    all: BTreeMap<String, Known>,
}

/// Everything known of one.
#[derive(Clone, Debug)]
struct Known {
    /// The newest version ever seen, and whether it is a removal.
    newest: i64,
    removed: bool,
    /// The newest version that was over when it came: older ones may be taken for superseded, or not.
    over: i64,
    slots: Vec<Slot>,
}

impl Versions {
    pub fn slots(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.all.values_mut().flat_map(|known| known.slots.iter_mut())
    }

    pub fn slot(&mut self, storage: Storage, key: &str) -> Option<&mut Slot> {
        self.all.get_mut(key)?.slots.iter_mut().find(|slot| slot.storage == storage)
    }

    pub fn live(&self) -> BTreeSet<(Storage, String)> {
        let slots = self
            .all
            .iter()
            .flat_map(|(key, known)| known.slots.iter().map(move |slot| (key, slot)));
        let live = slots.filter(|(_, slot)| !slot.tombstoned);
        live.map(|(key, slot)| (slot.storage, key.clone())).collect()
    }

    /// Judges what came of an event, and takes the content out of `seen`.
    pub fn event(
        &mut self,
        world: &World<'_>,
        class: Class,
        item: &Item,
        at: i64,
        removed: bool,
        seen: &mut Vec<Seen>,
    ) -> Result<(), String> {
        let key = item.key();
        let known = self.all.entry(key.clone()).or_insert_with(|| Known {
            newest: i64::MIN,
            removed: false,
            over: i64::MIN,
            slots: Vec::new(),
        });
        for slot in &mut known.slots {
            slot.note(&world.tenant.now, i64::MIN, world.now_max);
        }
        let emitted: Vec<Storage> = contents(seen, &key);
        let is_newer = at > known.newest || (at == known.newest && removed && !known.removed);
        if !is_newer || removed {
            if !emitted.is_empty() {
                return Err(format!("{key} was emitted, but nothing may come of it"));
            }
            if is_newer && known.slots.is_empty() && world.tenant.now.ended {
                known.over = known.over.max(at);
            } else if is_newer {
                known.replace(at, true, None);
            }
            return Ok(());
        }
        if emitted.len() > 1 {
            return Err(format!("{key} was emitted twice at once"));
        }
        known.set(world, class, item, at, emitted.first().copied())
    }
}

impl Known {
    fn set(
        &mut self,
        world: &World<'_>,
        class: Class,
        item: &Item,
        at: i64,
        emitted: Option<Storage>,
    ) -> Result<(), String> {
        let mut slot = Slot {
            tenant: item.tenant.clone(),
            conversation: None,
            storage: emitted.unwrap_or(Storage::Stored),
            time: at,
            ttl: 0,
            ended: None,
            maybe: BTreeSet::new(),
            tombstoned: false,
            endings: 0,
        };
        let (store, transit, nothing) = may(world, class, &slot);
        let nothing = nothing || at <= self.over;
        let right = match emitted {
            Some(Storage::Stored) => store,
            Some(Storage::Transit) => transit,
            None => nothing,
        };
        if !right {
            return Err(format!(
                "{emitted:?} came of it; may be stored {store}, transit {transit}, nothing {nothing}"
            ));
        }
        match emitted {
            Some(_) => {
                slot.note(&world.tenant.now, i64::MIN, world.now_max);
                if slot.storage == Storage::Stored && (nothing || transit) {
                    // It may have come as ended, to be kept for a while.
                    slot.maybe.extend([Reason::Expired, Reason::Ended, Reason::OptedOut]);
                }
                self.replace(at, false, Some(slot));
            }
            None => {
                self.over = self.over.max(at);
                for old in &mut self.slots {
                    old.maybe.insert(Reason::Removed);
                }
            }
        }
        Ok(())
    }

    /// A newer version: it takes its topic's place, and ends what is in the other.
    fn replace(&mut self, at: i64, removed: bool, slot: Option<Slot>) {
        self.newest = at;
        self.removed = removed;
        if let Some(slot) = &slot {
            self.slots.retain(|old| old.storage != slot.storage);
        }
        for old in &mut self.slots {
            old.end(Reason::Removed);
        }
        self.slots.extend(slot);
    }
}

/// What may come of a version: stored, transit, nothing.
fn may(world: &World<'_>, class: Class, slot: &Slot) -> (bool, bool, bool) {
    let tenant = world.tenant;
    let rules = &tenant.now;
    if class == Class::Config {
        let unsure = slot.time <= tenant.floor.max(tenant.ended_until);
        return (rules.opted_in, false, !rules.opted_in || unsure);
    }
    let mut ended = if slot.time <= tenant.floor { Is::Maybe } else { Is::No };
    // Opting out ends nothing in transit; the tenant's end does.
    let with_the_tenant =
        slot.time <= tenant.floor && (rules.ended || slot.time <= tenant.ended_until);
    let mut over = if with_the_tenant { Is::Maybe } else { Is::No };
    for past in &tenant.past {
        let aged = slot.time + past.rules.retention("");
        let limit = slot.time + past.rules.transit_limit;
        ended = ended.max(match (past.rules.opted_in, past.rules.covers(slot.time)) {
            (true, true) => Is::at(aged, past.transit_until().min(world.now), past.until_maybe),
            (true, false) => Is::at(aged, i64::MIN, past.until_maybe),
            (false, _) => Is::at(limit, i64::MIN, past.until_maybe),
        });
        over = over.max(Is::at(limit, past.transit_until().min(world.now), past.until_maybe));
    }
    ended = ended.max(Is::at(slot.time + rules.retention(""), world.now, world.now_max));
    over = over.max(Is::at(slot.time + rules.transit_limit, world.now, world.now_max));
    let kept = rules.held || slot.kept_until(rules) > world.now || world.suspended;
    if rules.opted_in && slot.time <= tenant.ended_until {
        // What was sent while its use had ended, and comes when it goes on, may be either.
        return (true, over != Is::Yes, over != Is::No || ended != Is::No);
    }
    if !rules.covers(slot.time) {
        return (false, over != Is::Yes, over != Is::No);
    }
    match ended {
        Is::No => (true, false, false),
        Is::Maybe => (true, over != Is::Yes, over != Is::No),
        Is::Yes => (kept, over != Is::Yes, over != Is::No),
    }
}

/// The topics to which this key was emitted; takes them out of what was seen.
fn contents(seen: &mut Vec<Seen>, key: &str) -> Vec<Storage> {
    let mut emitted = Vec::new();
    seen.retain(|one| match one {
        Seen::Content { storage, key: of } if of == key => {
            emitted.push(*storage);
            false
        }
        Seen::Content { .. } | Seen::Tombstone { .. } => true,
    });
    emitted
}
