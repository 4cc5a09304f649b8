//! Profiles and config items: the newest version counts, and each topic holds at most one.

use std::collections::{BTreeMap, BTreeSet};

use lethe_engine::{Class, Reason, Storage};

use super::{Is, Slot, World};
use crate::support::history::{Item, Seen, version_key};

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
    slots: Vec<Slot>,
}

impl Versions {
    pub fn slots(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.all.values_mut().flat_map(|known| known.slots.iter_mut())
    }

    pub fn slot(&mut self, storage: Storage, key: &str) -> Option<&mut Slot> {
        self.slots().find(|slot| slot.storage == storage && slot.key == key)
    }

    pub fn live(&mut self) -> BTreeSet<(Storage, String)> {
        let live = self.slots().filter(|slot| !slot.tombstoned);
        live.map(|slot| (slot.storage, slot.key.clone())).collect()
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
            slots: Vec::new(),
        });
        for slot in &mut known.slots {
            slot.note(&world.tenant.now, i64::MIN, world.now_max);
        }
        let emitted: Vec<(Storage, String)> = contents(seen, &key, at);
        let is_newer = at > known.newest || (at == known.newest && removed && !known.removed);
        if !is_newer || removed {
            if !emitted.is_empty() {
                return Err(format!("{key} was emitted, but nothing may come of it"));
            }
            if is_newer {
                known.replace(at, true, None);
            }
            return Ok(());
        }
        if emitted.len() > 1 {
            return Err(format!("{key} was emitted twice at once"));
        }
        known.set(world, class, item, at, emitted.first().cloned())
    }
}

impl Known {
    fn set(
        &mut self,
        world: &World<'_>,
        class: Class,
        item: &Item,
        at: i64,
        emitted: Option<(Storage, String)>,
    ) -> Result<(), String> {
        let (emitted, key) = emitted.unzip();
        let mut slot = Slot {
            key: key.unwrap_or_default(),
            tenant: item.tenant.clone(),
            conversation: None,
            message: None,
            user: (class == Class::Profile).then(|| item.id.clone()),
            is_optional: class == Class::Profile,
            storage: emitted.unwrap_or(Storage::Stored),
            time: at,
            own: at,
            ttl: 0,
            ended: None,
            maybe: BTreeSet::new(),
            tombstoned: false,
            endings: 0,
        };
        let (store, transit, nothing) = may(world, class, &slot);
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
        // Where nothing comes of it, there is nothing older either that has not ended.
        if emitted.is_some() {
            self.check_key(world, item, &slot)?;
            slot.note(&world.tenant.now, i64::MIN, world.now_max);
            if slot.storage == Storage::Stored && (nothing || transit) {
                // It may have come as ended, to be kept for a while.
                slot.maybe.extend([Reason::Expired, Reason::Ended, Reason::OptedOut]);
                if world.tenant.now.erases(&slot) != Is::No {
                    slot.maybe.insert(Reason::Erased);
                }
            }
            self.replace(at, false, Some(slot));
        }
        Ok(())
    }

    /// What a hold covers is not overwritten: what is newer goes beside it.
    fn check_key(&self, world: &World<'_>, item: &Item, slot: &Slot) -> Result<(), String> {
        let there = self
            .slots
            .iter()
            .find(|old| !old.tombstoned && old.storage == slot.storage && old.key == item.key());
        let held = there.is_some_and(|there| world.tenant.now.holds(there));
        let right = if held { version_key(&item.key(), slot.own) } else { item.key() };
        if slot.key == right {
            Ok(())
        } else {
            Err(format!("emitted under {}, but a hold covers what is there: {held}", slot.key))
        }
    }

    /// A newer version: it takes the place of what has its key, what it leaves on its topic ends with it, and
    /// what is on the other topic ends.
    fn replace(&mut self, at: i64, removed: bool, slot: Option<Slot>) {
        self.newest = at;
        self.removed = removed;
        let storage = slot.as_ref().map(|slot| slot.storage);
        if let Some(slot) = &slot {
            self.slots.retain(|old| old.storage != slot.storage || old.key != slot.key);
        }
        for old in self.slots.iter_mut().filter(|old| !old.tombstoned && old.ended.is_none()) {
            if storage == Some(old.storage) {
                // Whether it had ended is then the clock's to say.
                old.time = at;
            } else {
                old.end(Reason::Removed);
            }
        }
        self.slots.extend(slot);
    }
}

/// What may come of a version: stored, transit, nothing.
fn may(world: &World<'_>, class: Class, slot: &Slot) -> (bool, bool, bool) {
    let tenant = world.tenant;
    let rules = &tenant.now;
    let erased = rules.erases(slot);
    let kept = rules.keeps(slot) || slot.kept_until(rules) > world.now || world.suspended;
    if class == Class::Config {
        let unsure = slot.time <= tenant.floor.max(tenant.ended_until);
        let store = rules.opted_in && (erased != Is::Yes || kept);
        return (store, false, !rules.opted_in || unsure || erased != Is::No);
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
    ended = ended.max(erased);
    over = over.max(erased);
    let opts_out = rules.opts_out(slot);
    if opts_out == Is::Maybe {
        return (
            rules.covers(slot.time) && (kept || ended != Is::Yes),
            over != Is::Yes,
            over != Is::No,
        );
    }
    if !rules.covers(slot.time) || opts_out == Is::Yes {
        return (false, over != Is::Yes, over != Is::No);
    }
    match ended {
        Is::No => (true, false, false),
        Is::Maybe => (true, over != Is::Yes, over != Is::No),
        Is::Yes => (kept, over != Is::Yes, over != Is::No),
    }
}

/// The topics to which a version was emitted, and under which key; takes them out of what was seen.
fn contents(seen: &mut Vec<Seen>, key: &str, at: i64) -> Vec<(Storage, String)> {
    let beside = version_key(key, at);
    let mut emitted = Vec::new();
    seen.retain(|one| match one {
        Seen::Content { storage, key: of } if of == key || *of == beside => {
            emitted.push((*storage, of.clone()));
            false
        }
        Seen::Content { .. } | Seen::Tombstone { .. } => true,
    });
    emitted
}
