//! Messages: everything ever said of each, and what may come of the next event.

use std::collections::{BTreeMap, BTreeSet};

use lethe_engine::{Outcome, Reason, Storage};

use super::{Is, Slot, World};
use crate::support::history::{How, Message, Said, Seen, version_key};

/// Every message.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    all: BTreeMap<String, Known>,
}

/// Everything said of a message.
#[derive(Clone, Debug, Default)]
struct Known {
    recalled: bool,
    all: bool,
    users: BTreeSet<String>,
    /// As it was sent, once that is known and was emitted.
    sent: Option<How>,
    /// The edit that wins.
    edited_at: i64,
    /// The edit under the plain key.
    plain_edit: i64,
    slot: Option<Slot>,
    /// Its versions beside it, by the time of the edit.
    beside: BTreeMap<i64, Slot>,
    /// It was over when it came: it may stay so, though an explicit `since` may bring it in.
    over: bool,
}

/// What may come of a `Sent`.
#[derive(Clone, Copy, Debug, Default)]
struct May {
    store: bool,
    transit: bool,
    nothing: bool,
}

impl Messages {
    pub fn slots(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.all.values_mut().flat_map(Known::slots)
    }

    pub fn slot(&mut self, storage: Storage, key: &str) -> Option<&mut Slot> {
        self.slots().find(|slot| slot.storage == storage && slot.key == key)
    }

    pub fn live(&mut self) -> BTreeSet<(Storage, String)> {
        let live = self.slots().filter(|slot| !slot.tombstoned);
        live.map(|slot| (slot.storage, slot.key.clone())).collect()
    }

    /// The versions of a message end together.
    pub fn end_together(&mut self) -> Result<(), String> {
        for known in self.all.values_mut() {
            let ended: BTreeSet<bool> = known.slots().map(|slot| slot.tombstoned).collect();
            if ended.len() > 1 {
                return Err(format!("versions that do not end together: {known:?}"));
            }
        }
        Ok(())
    }

    /// Judges what came of an event, and takes the content out of `seen`.
    pub fn event(
        &mut self,
        world: &World<'_>,
        message: &Message,
        said: &Said,
        outcome: Option<Outcome>,
        seen: &mut Vec<Seen>,
    ) -> Result<(), String> {
        let key = message.key();
        let known = self.all.entry(key.clone()).or_default();
        for slot in known.slots() {
            slot.note(&world.tenant.now, i64::MIN, world.now_max);
        }
        let emitted = take_content(seen, &key)?;
        if let Said::Edited { at, .. } = said
            && let Some(storage) = take_content(seen, &version_key(&key, *at))?
        {
            return known.edited_beside(world, &key, *at, storage);
        }
        match said {
            Said::Sent(how) => known.sent(world, message, *how, emitted, outcome),
            Said::Edited { at, sent } => known.edited(world, message, *at, *sent, emitted, outcome),
            Said::Recalled => {
                known.recalled = true;
                known.slots().for_each(|slot| slot.end(Reason::Recalled));
                none(emitted)
            }
            Said::Delivered(user) | Said::Read(user) => {
                known.users.insert(user.clone());
                known.check_delivered();
                none(emitted)
            }
            Said::DeliveredToAll => {
                known.all = true;
                known.check_delivered();
                none(emitted)
            }
        }
    }
}

impl Known {
    fn slots(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.slot.iter_mut().chain(self.beside.values_mut())
    }

    fn knows_edit(&self, at: i64) -> bool {
        at == self.edited_at || at == self.plain_edit || self.beside.contains_key(&at)
    }

    /// An edit that was emitted beside what is there: a hold must cover that, and the edit must be new.
    fn edited_beside(
        &mut self,
        world: &World<'_>,
        key: &str,
        at: i64,
        storage: Storage,
    ) -> Result<(), String> {
        let is_known = self.knows_edit(at);
        let Some(slot) = &mut self.slot else {
            return Err("an edit beside nothing".to_owned());
        };
        let right = slot.storage == storage
            && world.tenant.now.holds(slot)
            && slot.is_ended_at(world) != Is::Yes
            && !is_known;
        if !right {
            return Err(format!("an edit was emitted beside {slot:?}"));
        }
        slot.maybe.clear();
        let beside = Slot { key: version_key(key, at), ..slot.clone() };
        self.beside.insert(at, beside);
        self.edited_at = self.edited_at.max(at);
        Ok(())
    }

    fn delivered(&self, how: How) -> bool {
        self.all || (how.recipients > 0 && self.users.len() >= how.recipients as usize)
    }

    fn check_delivered(&mut self) {
        let delivered = self.sent.is_some_and(|how| self.delivered(how));
        for slot in self.slots().filter(|slot| delivered && slot.storage == Storage::Transit) {
            slot.end(Reason::Delivered);
        }
    }

    fn sent(
        &mut self,
        world: &World<'_>,
        message: &Message,
        how: How,
        emitted: Option<Storage>,
        outcome: Option<Outcome>,
    ) -> Result<(), String> {
        if let Some(slot) = &self.slot {
            let right = match slot.is_ended_at(world) {
                Is::No => outcome == Some(Outcome::Known),
                Is::Maybe => matches!(outcome, Some(Outcome::Known | Outcome::Over)),
                Is::Yes => outcome == Some(Outcome::Over),
            };
            return none(emitted).and(if right {
                Ok(())
            } else {
                Err(format!("a duplicate is {outcome:?}"))
            });
        }
        self.first(world, message, how, emitted)?;
        let right = match emitted {
            Some(Storage::Stored) => Outcome::Stored,
            Some(Storage::Transit) => Outcome::Transit,
            None => Outcome::Over,
        };
        if outcome == Some(right) {
            Ok(())
        } else {
            Err(format!("{outcome:?} instead of {right:?}"))
        }
    }

    /// A `Sent` of what was not emitted before.
    fn first(
        &mut self,
        world: &World<'_>,
        message: &Message,
        how: How,
        emitted: Option<Storage>,
    ) -> Result<(), String> {
        let mut slot = Slot {
            key: message.key(),
            tenant: message.tenant.clone(),
            conversation: Some(message.conversation.clone()),
            message: Some(message.message.clone()),
            user: Some(how.by.name().to_owned()),
            is_optional: true,
            storage: Storage::Stored,
            time: message.sent_at,
            own: message.sent_at,
            ttl: how.ttl,
            ended: None,
            maybe: BTreeSet::new(),
            tombstoned: false,
            endings: 0,
        };
        let mut may = self.may(world, &mut slot, how);
        may.nothing |= self.over;
        let right = match emitted {
            Some(Storage::Stored) => may.store,
            Some(Storage::Transit) => may.transit,
            None => may.nothing,
        };
        if !right {
            return Err(format!("{emitted:?} came of it, but {may:?}"));
        }
        let Some(storage) = emitted else {
            self.over = true;
            return Ok(());
        };
        if storage == Storage::Transit {
            slot.storage = storage;
            slot.ended = None;
            slot.maybe.clear();
            if world.tenant.now.erases(&slot) == Is::Maybe {
                slot.maybe.insert(Reason::Erased);
            }
            slot.note(&world.tenant.now, i64::MIN, world.now_max);
        }
        self.sent = Some(how);
        self.slot = Some(slot);
        Ok(())
    }

    /// What may come of a `Sent`; notes in the slot how it has ended if it is stored.
    fn may(&self, world: &World<'_>, slot: &mut Slot, how: How) -> May {
        let rules = &world.tenant.now;
        let burned = if how.ttl > 0 {
            Is::at(slot.time + how.ttl, world.now, world.now_max)
        } else {
            Is::No
        };
        let mut may = May::default();
        if self.recalled {
            slot.maybe.insert(Reason::Recalled);
        }
        if burned != Is::No {
            slot.maybe.insert(Reason::Burned);
        }
        let erased = rules.erases(slot);
        if erased != Is::No {
            slot.maybe.insert(Reason::Erased);
        }
        let ended = ended_as_stored(world, slot);
        let ended = if self.recalled {
            slot.end(Reason::Recalled);
            Is::Yes
        } else {
            ended.max(burned).max(erased)
        };
        if erased == Is::Yes {
            slot.end(Reason::Erased);
        }
        let kept = rules.keeps(slot) || slot.kept_until(rules) > world.now;
        let kept_surely = (rules.keeps(slot) || slot.kept_until(rules) > world.now_max)
            && slot.time > world.tenant.floor
            && !forgettable(world, slot);
        let opts_out = rules.opts_out(slot);
        let (store, pass) = match (rules.covers(slot.time) && opts_out != Is::Yes, ended) {
            (false, _) => (false, true),
            (true, Is::No) => (true, opts_out == Is::Maybe),
            (true, Is::Maybe) => (true, true),
            (true, Is::Yes) => (kept || world.suspended, !kept_surely || opts_out == Is::Maybe),
        };
        may.store = store;
        if pass {
            let over = match self.recalled || self.delivered(how) {
                true => Is::Yes,
                false => burned.max(erased).max(ended_as_transit(world, slot)),
            };
            may.nothing = over != Is::No;
            may.transit = over != Is::Yes;
        }
        may
    }

    fn edited(
        &mut self,
        world: &World<'_>,
        message: &Message,
        at: i64,
        sent: Option<How>,
        emitted: Option<Storage>,
        outcome: Option<Outcome>,
    ) -> Result<(), String> {
        let knows_edit = self.knows_edit(at);
        let Some(slot) = &mut self.slot else {
            let Some(how) = sent else { return none(emitted) };
            (self.edited_at, self.plain_edit) = (at, at);
            return self.first(world, message, how, emitted);
        };
        if emitted.is_some_and(|storage| storage != slot.storage) {
            return Err("an edit changed topics".to_owned());
        }
        if emitted.is_some() && world.tenant.now.holds(slot) {
            return Err("an edit overwrote what a hold covers".to_owned());
        }
        if world.tenant.now.holds(slot) && slot.is_ended_at(world) == Is::No && !knows_edit {
            return Err("a version was lost that a hold covers".to_owned());
        }
        let is_newer = at > self.edited_at && !world.tenant.now.holds(slot);
        let right = match slot.is_ended_at(world) {
            Is::Yes => emitted.is_none(),
            Is::Maybe => is_newer || emitted.is_none(),
            Is::No => is_newer == emitted.is_some(),
        };
        if !right {
            return Err(format!(
                "an edit ({outcome:?}) emitted {emitted:?}, newer: {is_newer}, ended: {:?}",
                slot.is_ended_at(world)
            ));
        }
        if emitted.is_some() {
            (self.edited_at, self.plain_edit) = (at, at);
            slot.maybe.clear();
        } else if is_newer && slot.is_ended_at(world) == Is::Maybe {
            slot.ended = Some(slot.maybe.clone());
        }
        Ok(())
    }
}

/// Whether stored content of that time has ended before it came.
fn ended_as_stored(world: &World<'_>, slot: &mut Slot) -> Is {
    let tenant = world.tenant;
    let mut is = Is::No;
    for past in &tenant.past {
        let aged =
            slot.time + past.rules.retention(slot.conversation.as_deref().unwrap_or_default());
        let end = match (past.rules.opted_in, past.rules.covers(slot.time)) {
            (true, true) => Is::at(
                aged,
                past.until(slot.conversation.as_deref()).min(world.now),
                past.until_maybe,
            ),
            (true, false) => Is::at(aged, i64::MIN, past.until_maybe),
            (false, _) => Is::at(slot.time + past.rules.transit_limit, i64::MIN, past.until_maybe),
        };
        if end > is {
            is = end;
        }
        if end != Is::No {
            slot.maybe.insert(Reason::Expired);
        }
    }
    if slot.time <= tenant.floor {
        slot.maybe.extend([Reason::OptedOut, Reason::Ended, Reason::Expired]);
        is = is.max(Is::Maybe);
    }
    if is == Is::Yes {
        slot.end(Reason::Expired);
    }
    slot.note(&tenant.now, world.now, world.now_max);
    let now =
        slot.ends(&tenant.now).iter().map(|end| Is::at(end.1, world.now, world.now_max)).max();
    is.max(now.unwrap_or(Is::No))
}

/// Whether transit content of that time has ended before it came.
fn ended_as_transit(world: &World<'_>, slot: &Slot) -> Is {
    let tenant = world.tenant;
    let past = tenant.past.iter().map(|past| {
        let ended = slot.time + past.rules.transit_limit;
        Is::at(ended, past.transit_until().min(world.now), past.until_maybe)
    });
    let now = Is::at(slot.time + tenant.now.transit_limit, world.now, world.now_max);
    let with_the_tenant =
        if slot.time <= tenant.floor && (tenant.now.ended || slot.time <= tenant.ended_until) {
            Is::Maybe
        } else {
            Is::No
        };
    past.chain([now, with_the_tenant]).max().unwrap_or(Is::No)
}

/// Whether the ledger may have forgotten that time: once, it had ended and nothing kept it.
fn forgettable(world: &World<'_>, slot: &Slot) -> bool {
    let past = world.tenant.past.iter().map(|past| (&past.rules, past.until_maybe));
    past.chain([(&world.tenant.now, world.now_max)]).any(|(rules, until)| {
        let aged = slot.time + rules.retention(slot.conversation.as_deref().unwrap_or_default());
        let aged = if rules.covers(slot.time) { aged } else { i64::MIN };
        !rules.freezes(slot.time) && aged.max(slot.kept_until(rules)) <= until
    })
}

/// Takes the content of this key out of what was seen.
fn take_content(seen: &mut Vec<Seen>, key: &str) -> Result<Option<Storage>, String> {
    let mut emitted = None;
    let mut rest = Vec::new();
    for one in seen.drain(..) {
        match one {
            Seen::Content { storage, key: of } if of == key => {
                if emitted.replace(storage).is_some() {
                    return Err(format!("{key} is emitted twice at once"));
                }
            }
            other @ (Seen::Content { .. } | Seen::Tombstone { .. }) => rest.push(other),
        }
    }
    *seen = rest;
    Ok(emitted)
}

fn none(emitted: Option<Storage>) -> Result<(), String> {
    match emitted {
        None => Ok(()),
        Some(storage) => Err(format!("emitted as {storage:?}, but nothing may come of it")),
    }
}
