//! A naive model of the contract: it keeps everything that was ever seen and every rule that was ever in
//! force, and answers by looking at all of it.
//!
//! It watches the engine rather than running ahead of it: for each step it works out what the contract
//! allows, compares it with what came out, and takes over what the engine chose where there is a choice. There
//! is one where the clock has shown a time that no change and no look has made certain yet, and where the
//! contract lets the ledger forget.
//!
//! Invariant: no horizons, no cursors, no rows: nothing that the engine could share a mistake with.

mod messages;
mod policy;
mod versions;

use std::collections::BTreeSet;

use lethe_engine::{Class, Looked, Outcome, Reason, Storage};

use super::history::{Action, Seen, Step};
use messages::Messages;
use policy::{Change, Due, Policies, Rules, Tenant};
use versions::Versions;

/// The model of one partition.
#[derive(Clone, Debug)]
pub struct Model {
    class: Class,
    policies: Policies,
    messages: Messages,
    versions: Versions,
    /// The latest time that the engine was ever told.
    now_max: i64,
    /// Nothing goes back before this: what was put in force by the clock stays.
    in_force_at: i64,
    suspended: bool,
    /// The latest time that any event was about.
    newest: i64,
}

/// What an engine did in a step.
#[derive(Clone, Debug)]
pub struct Did {
    pub outcome: Option<Outcome>,
    pub seen: Vec<Seen>,
    /// The last look of the step.
    pub looked: Option<Looked>,
    /// When it wants to look next.
    pub wake: Option<i64>,
}

/// A place on an output topic where content is, or was.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its key on the topic.
    pub key: String,
    pub tenant: String,
    /// Of a message.
    pub conversation: Option<String>,
    /// Of a message.
    pub message: Option<String>,
    /// Who sent a message, whose a profile is.
    pub user: Option<String>,
    /// The tenant may opt out of it: it is no config item.
    pub is_optional: bool,
    pub storage: Storage,
    /// From when its life counts: a version that a newer one did not overwrite ends with that.
    pub time: i64,
    /// When it was sent or updated.
    pub own: i64,
    pub ttl: i64,
    /// It has ended, for one of these reasons.
    pub ended: Option<BTreeSet<Reason>>,
    /// It may have ended, for one of these.
    pub maybe: BTreeSet<Reason>,
    pub tombstoned: bool,
    /// So many changes have ended it: then the reason may be that of a change, or its age.
    pub endings: u32,
}

/// Whether something has ended: the clock may have shown it without making it certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Is {
    No,
    Maybe,
    Yes,
}

impl Is {
    /// Whether an end has come, if `sure` is certain and the clock has once shown `maybe`.
    pub fn at(end: i64, sure: i64, maybe: i64) -> Self {
        if end <= sure {
            Self::Yes
        } else if end <= maybe {
            Self::Maybe
        } else {
            Self::No
        }
    }
}

impl Model {
    pub fn new(class: Class) -> Self {
        Self {
            class,
            policies: Policies::new(class),
            messages: Messages::default(),
            versions: Versions::default(),
            now_max: i64::MIN / 4,
            in_force_at: i64::MIN / 4,
            suspended: false,
            newest: i64::MIN,
        }
    }

    /// The clock of the next step: what it has put in force by itself is not taken back.
    pub fn clock(&self, now: i64) -> i64 {
        now.max(self.in_force_at)
    }

    /// When the next control record can have been written: not before what the clock put in force, or is to.
    pub fn written(&self, written: i64, now: i64) -> i64 {
        let due = self
            .policies
            .next_due()
            .map_or(i64::MIN, |(at, _)| if at <= now { now } else { i64::MIN });
        written.max(self.in_force_at).max(due)
    }

    /// Judges a step; an error says what the contract does not allow.
    pub fn judge(&mut self, step: &Step, did: &Did) -> Result<(), String> {
        self.now_max = self.now_max.max(step.now);
        self.advance(step.now);
        let mut rest = did.seen.clone();
        match &step.action {
            Action::Message(message, said) => {
                self.newest = self.newest.max(message.sent_at);
                let tenant = self.policies.tenant(&message.tenant).clone();
                let world = World {
                    tenant: &tenant,
                    now: step.now,
                    now_max: self.now_max,
                    suspended: self.suspended,
                };
                self.messages.event(&world, message, said, did.outcome, &mut rest)?;
            }
            Action::Set(item, at) | Action::Remove(item, at) => {
                self.newest = self.newest.max(*at);
                let removed = matches!(step.action, Action::Remove(..));
                let tenant = self.policies.tenant(&item.tenant).clone();
                let world = World {
                    tenant: &tenant,
                    now: step.now,
                    now_max: self.now_max,
                    suspended: self.suspended,
                };
                self.versions.event(&world, self.class, item, *at, removed, &mut rest)?;
            }
            Action::Control { .. } => {
                return Err("a control record is judged as it is applied".to_owned());
            }
            Action::Suspend(suspended) => self.suspended = *suspended,
            Action::Look(_)
            | Action::Commit
            | Action::Reopen
            | Action::Abort
            | Action::Filter(_)
            | Action::Again(_) => {}
        }
        for seen in &rest {
            self.tombstone(step.now, seen)?;
        }
        self.messages.end_together()?;
        match did.looked {
            // A clock that has gone back may wait for its own time again.
            Some(Looked { more: false, .. }) if step.now < self.now_max => Ok(()),
            Some(Looked { more: false, overdue_since_ms }) => {
                if overdue_since_ms.is_some() {
                    return Err("nothing more to do, but something is overdue".to_owned());
                }
                self.all_done(step.now)?;
                self.wakes_in_time(did.wake)
            }
            _ => Ok(()),
        }
    }

    /// Judges a control record as it is applied.
    pub fn control(
        &mut self,
        now: i64,
        written: i64,
        key: &str,
        value: Option<&str>,
        did: &Did,
    ) -> Result<(), String> {
        self.now_max = self.now_max.max(now);
        let at = written.min(now);
        self.advance(at);
        if let Some(effective) = self.policies.take(key, value, written, now) {
            self.put(effective, &Due::Waiting(key.to_owned()));
        }
        for seen in &did.seen {
            self.tombstone(now, seen)?;
        }
        Ok(())
    }

    /// Every record is applied: what is due by now comes into force.
    pub fn caught_up(&mut self, now: i64) {
        self.now_max = self.now_max.max(now);
        self.advance(now);
    }

    /// Puts in force what is due, in the order of its times.
    fn advance(&mut self, now: i64) {
        while let Some((at, due)) = self.policies.next_due().filter(|(at, _)| *at <= now) {
            // What the clock has put in force, it does not leave behind again.
            self.in_force_at = self.in_force_at.max(at);
            self.put(at, &due);
        }
    }

    fn put(&mut self, at: i64, due: &Due) {
        let at = match due {
            Due::Waiting(key) => {
                let conversation =
                    key.strip_prefix("conversation/").and_then(|key| key.split('/').nth(1));
                for tenant in self.policies.touched(key) {
                    let closes = !key.starts_with("hold/") && !key.starts_with("erasure/");
                    self.close(&tenant, at, closes, conversation);
                }
                at
            }
            Due::End(tenant) => {
                let tenant = tenant.clone();
                self.close(&tenant, at, true, None);
                at
            }
        };
        let changes = match due {
            Due::Waiting(key) => self.policies.put_in_force(key, at, self.now_max),
            Due::End(tenant) => self.policies.end(tenant, at, self.now_max),
        };
        for change in changes {
            self.apply(&change);
        }
    }

    /// Notes what the rules in force have ended by now, before they change.
    fn close(&mut self, name: &str, at: i64, closes: bool, conversation: Option<&str>) {
        let now_max = self.now_max;
        let rules = self.policies.tenant(name).now.clone();
        let at = if closes { at } else { i64::MIN };
        for slot in self.slots().filter(|slot| slot.tenant == name) {
            let concerns = conversation.is_none() || slot.conversation.as_deref() == conversation;
            let concerns = concerns && (conversation.is_none() || slot.storage == Storage::Stored);
            slot.note(&rules, i64::MIN, now_max);
            // A message's own time to live is not the books' business.
            let ttl = std::mem::take(&mut slot.ttl);
            slot.note(&rules, if concerns { at } else { i64::MIN }, now_max);
            slot.ttl = ttl;
        }
    }

    /// What a change itself ends.
    fn apply(&mut self, change: &Change) {
        let now_max = self.now_max;
        let rules = self.policies.tenant(&change.tenant).now.clone();
        let mut newest = i64::MIN;
        for slot in self.slots().filter(|slot| slot.tenant == change.tenant) {
            if slot.storage == Storage::Stored {
                newest = newest.max(slot.time);
            }
            let opted_out = change.opted_out || slot.time < change.since;
            if change.ended || opted_out {
                slot.endings += 1;
            }
            if let Some(reason) = change.erasure.as_ref().and_then(|erasure| erasure.ends(slot)) {
                slot.endings += 1;
                slot.end(reason);
            }
            if change.ended {
                slot.end(Reason::Ended);
            }
            if opted_out && slot.storage == Storage::Stored {
                slot.end(Reason::OptedOut);
            }
            slot.note(&rules, i64::MIN, now_max);
        }
        if change.since > i64::MIN {
            let tenant = self.policies.tenant(&change.tenant);
            tenant.floor = tenant.floor.max(change.since - 1);
        }
        if change.ended {
            let newest = self.newest;
            let tenant = self.policies.tenant(&change.tenant);
            tenant.floor = tenant.floor.max(newest);
            tenant.ended_until = tenant.ended_until.max(newest).max(change.at);
        }
        if change.opted_out || change.ended {
            let tenant = self.policies.tenant(&change.tenant);
            tenant.floor = tenant.floor.max(newest).max(now_max);
        }
    }

    /// A tombstone: of something that was emitted, has ended, and is not kept by anything.
    fn tombstone(&mut self, now: i64, seen: &Seen) -> Result<(), String> {
        let Seen::Tombstone { storage, key, reason } = seen else {
            return Err(format!("not warranted: {seen}"));
        };
        let (suspended, now_max) = (self.suspended, self.now_max);
        let mut policies = self.policies.clone();
        let slot = self.slot(*storage, key).ok_or_else(|| format!("never emitted: {seen}"))?;
        let rules = policies.tenant(&slot.tenant).now.clone();
        slot.note(&rules, now, now_max);
        if slot.tombstoned {
            return Err(format!("a second tombstone: {seen}"));
        }
        if suspended || rules.keeps(slot) {
            return Err(format!("nothing may be tombstoned: {seen}"));
        }
        if slot.kept_until(&rules) > now_max {
            return Err(format!("the minimum keeps it: {seen}"));
        }
        let may = slot.ended.as_ref().unwrap_or(&slot.maybe);
        let either = [
            Reason::OptedOut,
            Reason::Ended,
            Reason::Expired,
            Reason::Undelivered,
            Reason::Erased,
            Reason::Burned,
        ];
        // Under the rules of this moment another end may be the earliest.
        let also = slot.ends(&rules).iter().any(|end| end.0 == *reason && end.1 <= now_max);
        let has_ended = slot.ended.is_some() || !may.is_empty();
        let by_a_change = has_ended && slot.endings > 0 && either.contains(reason);
        let is_right = may.contains(reason) || (has_ended && also) || by_a_change;
        if !is_right {
            return Err(format!("it has not ended so: {seen}; could be {:?}", may));
        }
        slot.tombstoned = true;
        slot.end(*reason);
        Ok(())
    }

    /// After a look that left nothing to do: whatever has ended and is not kept has its tombstone.
    fn all_done(&mut self, now: i64) -> Result<(), String> {
        let mut policies = self.policies.clone();
        let (suspended, now_max) = (self.suspended, self.now_max);
        for slot in self.slots().filter(|slot| !slot.tombstoned) {
            let rules = policies.tenant(&slot.tenant).now.clone();
            if suspended || rules.keeps(slot) || slot.kept_until(&rules) > now {
                slot.note(&rules, i64::MIN, now_max);
                continue;
            }
            slot.note(&rules, now, now_max);
            if let Some(reasons) = &slot.ended {
                return Err(format!("no tombstone after a look: {slot:?}, ended {reasons:?}"));
            }
            slot.maybe.clear();
        }
        Ok(())
    }

    /// The engine wakes before the next tombstone is due, and before the next change.
    fn wakes_in_time(&mut self, wake: Option<i64>) -> Result<(), String> {
        let mut policies = self.policies.clone();
        if self.suspended {
            return Ok(());
        }
        let next_end = self.slots().filter(|slot| !slot.tombstoned).filter_map(|slot| {
            let rules = &policies.tenant(&slot.tenant).now;
            let end = if slot.ended.is_some() {
                i64::MIN
            } else {
                slot.ends(rules).iter().map(|end| end.1).min()?
            };
            (!rules.keeps(slot)).then_some(end.max(slot.kept_until(rules)))
        });
        let next_end = next_end.min().filter(|end| *end < policy::FOREVER / 2);
        match (next_end, wake) {
            (Some(end), None) => Err(format!("something is due at {end}, but it does not wake")),
            (Some(end), Some(wake)) if wake > end => {
                Err(format!("something is due at {end}, but it wakes at {wake}"))
            }
            _ => Ok(()),
        }
    }

    fn slots(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.messages.slots().chain(self.versions.slots())
    }

    fn slot(&mut self, storage: Storage, key: &str) -> Option<&mut Slot> {
        match self.class {
            Class::Message => self.messages.slot(storage, key),
            Class::Profile | Class::Config => self.versions.slot(storage, key),
        }
    }

    /// What has not ended: what a downstream must hold once every tombstone is out.
    pub fn live(&mut self) -> BTreeSet<(Storage, String)> {
        let mut live = self.messages.live();
        live.extend(self.versions.live());
        live
    }
}

/// What an event meets.
pub struct World<'a> {
    pub tenant: &'a Tenant,
    pub now: i64,
    pub now_max: i64,
    pub suspended: bool,
}

impl Slot {
    /// Ends it, unless it has ended before.
    pub fn end(&mut self, reason: Reason) {
        if self.ended.is_none() {
            let mut reasons = std::mem::take(&mut self.maybe);
            reasons.insert(reason);
            self.ended = Some(reasons);
        }
    }

    /// Every end that rules give it, with its time.
    pub fn ends(&self, rules: &Rules) -> Vec<(Reason, i64)> {
        let mut ends = Vec::new();
        if self.ttl > 0 {
            ends.push((Reason::Burned, self.time + self.ttl));
        }
        match (self.storage, &self.conversation) {
            (Storage::Transit, _) => {
                ends.push((Reason::Undelivered, self.time + rules.transit_limit))
            }
            (Storage::Stored, _) if !rules.opted_in => {}
            (Storage::Stored, conversation) => {
                let conversation = conversation.as_deref().unwrap_or_default();
                ends.push((Reason::Expired, self.time + rules.retention(conversation)));
            }
        }
        // What comes after the end is not ended by it.
        if !rules.ended {
            ends.push((Reason::Ended, rules.ends_at));
        }
        ends
    }

    /// Notes which ends have come: certainly by `sure`, and perhaps by `maybe`.
    pub fn note(&mut self, rules: &Rules, sure: i64, maybe: i64) {
        if self.ended.is_some() || self.tombstoned {
            return;
        }
        // The earliest is the reason.
        let mut ends = self.ends(rules);
        let first = ends.iter().map(|end| end.1).min();
        ends.retain(|end| Some(end.1) == first);
        self.maybe.extend(ends.iter().filter(|end| end.1 <= maybe).map(|end| end.0));
        if let Some(end) = ends.iter().find(|end| end.1 <= sure) {
            self.end(end.0);
        }
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> Is {
        match (&self.ended, self.maybe.is_empty()) {
            (Some(_), _) => Is::Yes,
            (None, false) => Is::Maybe,
            (None, true) => Is::No,
        }
    }

    /// Until when the minimum keeps it. (A message's time may be ahead: no minimum keeps nothing.)
    /// Whether it has ended for an event at this time, whatever later ones are told.
    pub fn is_ended_at(&self, world: &World<'_>) -> Is {
        let mut then = self.clone();
        then.note(&world.tenant.now, world.now, world.now_max);
        then.is_ended()
    }

    fn kept_until(&self, rules: &Rules) -> i64 {
        match self.storage {
            Storage::Stored if rules.minimum > 0 => self.own + rules.minimum,
            Storage::Stored | Storage::Transit => i64::MIN,
        }
    }
}
