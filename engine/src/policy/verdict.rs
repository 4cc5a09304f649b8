//! The one place where precedence is decided: has a record ended, by what rule, and what keeps it?
//!
//! What ends a record and what keeps it are computed apart. Ends: an event that ended it, a line that a
//! change drew, its own time to live, its retention or the transit limit. Keeps: the stop of all
//! tombstones, a hold, then the legal minimum. The source of each rule is the contract's section
//! "Control records" and its table of classes.

use super::Reason;
use super::duration::Retention;
use super::erasure::{ErasureLine, TenantErasures};
use super::hold::TenantHolds;
use super::rules::Rules;
use super::scope::Covered;
use crate::ledger::{Books, Conversation};
use crate::lifecycle::PolicyOffset;
use crate::{Class, Storage};

/// What a verdict needs to know of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// What follows the tenant in its record key.
    pub id: &'a str,
    /// Who sent it, if it is a message.
    pub sender: &'a str,
    /// Where its content is.
    pub storage: Storage,
    /// Its sent time, or that of its version (Unix ms).
    pub time_ms: i64,
    /// Its own time to live; 0: none.
    pub ttl_ms: i64,
    /// An event has ended it, or it is condemned already.
    pub ended: Option<Reason>,
}

/// What the verdict stands on: one tenant's policies and books at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The rules in force.
    pub rules: &'a Rules,
    /// The tenant's books.
    pub books: &'a Books,
    /// The record's conversation, where it has a horizon of its own.
    pub conversation: Option<Conversation>,
    /// The holds on the tenant.
    pub holds: Option<&'a TenantHolds>,
    /// The erasures on the tenant.
    pub erasures: Option<&'a TenantErasures>,
    /// A hold on tenant `*`.
    pub stop: PolicyOffset,
    /// Every tombstone is stopped: by such a hold, or the control topic is not trusted.
    pub stopped: bool,
    /// The moment (Unix ms).
    pub now_ms: i64,
}

/// Why and by whom a record's life has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The rule.
    pub reason: Reason,
    /// The offset of the control record behind it.
    pub policy: PolicyOffset,
    /// Of what kind that record is.
    pub decider: Decider,
}

/// The kind of control record behind a decision: with the record's tenant and conversation, or the
/// offset of a hold or an erasure, it gives the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// None: what holds where nobody said anything.
    Default,
    /// `tenant/…`
    Tenant,
    /// `conversation/…`
    Conversation,
    /// `terms/…`
    Terms,
    /// `erasure/…`
    Erasure,
}

/// What keeps a record that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Every tombstone is stopped.
    Stop {
        /// The hold on tenant `*`; none: the control topic is not trusted.
        policy: PolicyOffset,
    },
    /// A hold, until it is released.
    Hold {
        /// Its control record.
        policy: PolicyOffset,
    },
    /// The legal minimum.
    Minimum {
        /// Until it has passed (Unix ms).
        until_ms: i64,
    },
}

/// Has a record ended, and what keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It lives, until this time under the policies of this moment (Unix ms); none: without end.
    Live {
        /// When it is to be judged again.
        until_ms: Option<i64>,
    },
    /// It has ended and must stay for now.
    Kept(End, Keep),
    /// It has ended and goes.
    Ended(End),
}

/// Decides.
#[must_use]
pub fn verdict(facts: &Facts<'_>, view: &View<'_>) -> Verdict {
    match end(facts, view) {
        None => Verdict::Live { until_ms: view.due_ms(facts) },
        Some(end) => match keep(facts, view) {
            Some(keep) => Verdict::Kept(end, keep),
            None => Verdict::Ended(end),
        },
    }
}

/// What keeps a record, whether it has ended or not.
#[must_use]
pub fn keep(facts: &Facts<'_>, view: &View<'_>) -> Option<Keep> {
    if view.stopped {
        return Some(Keep::Stop { policy: view.stop });
    }
    if let Some(offset) = view.held_by(facts) {
        return Some(Keep::Hold { policy: Some(offset) });
    }
    // A record's time may be ahead of now: a minimum of zero keeps nothing all the same.
    let minimum_ms = view.rules.terms.minimum_ms;
    let until_ms = facts.time_ms.saturating_add(minimum_ms);
    let is_kept = facts.storage == Storage::Stored && minimum_ms > 0 && view.now_ms < until_ms;
    is_kept.then_some(Keep::Minimum { until_ms })
}

/// What has ended a record: the earliest of all that did.
fn end(facts: &Facts<'_>, view: &View<'_>) -> Option<End> {
    if let Some(reason) = facts.ended {
        return Some(view.end_of(reason, facts));
    }
    let by_time = line_end(facts, view).or_else(|| time_end(facts, view));
    let Some(erasure) = view.erased_by(facts) else {
        return by_time.or_else(|| standing_end(facts, view));
    };
    // What had ended before the request came ended for its own reason.
    match by_time {
        Some(end) if view.ended_before(facts, &end, erasure) => Some(end),
        Some(_) | None => Some(End {
            reason: Reason::Erased,
            policy: Some(erasure.offset),
            decider: Decider::Erasure,
        }),
    }
}

/// The line that a change drew.
fn line_end(facts: &Facts<'_>, view: &View<'_>) -> Option<End> {
    let floor = view.books.line(facts.storage).floor?;
    if facts.time_ms > floor.time_ms {
        return None;
    }
    let aged_ms = match (facts.storage, view.conversation) {
        // Its horizon is still that of the change.
        (Storage::Stored, Some(conversation)) if conversation.horizon_ms < floor.time_ms => {
            conversation.horizon_ms
        }
        (Storage::Stored, Some(_)) => floor.aged_ms,
        (Storage::Stored, None) | (Storage::Transit, _) => floor.aged_ms,
    };
    if facts.time_ms <= aged_ms {
        return Some(view.end_of(view.aged_reason(facts.storage), facts));
    }
    // It may have waited since, for a hold or its turn.
    if facts.burns_at_ms().is_some_and(|at_ms| at_ms <= floor.time_ms.min(view.now_ms)) {
        return Some(view.end_of(Reason::Burned, facts));
    }
    let decider = match floor.reason {
        Reason::Ended => Decider::Terms,
        Reason::Expired
        | Reason::Delivered
        | Reason::Undelivered
        | Reason::Recalled
        | Reason::Removed
        | Reason::Erased
        | Reason::OptedOut
        | Reason::Burned => Decider::Tenant,
    };
    Some(End { reason: floor.reason, policy: floor.policy, decider })
}

/// Its age, or its own time to live.
fn time_end(facts: &Facts<'_>, view: &View<'_>) -> Option<End> {
    let aged = facts.time_ms <= view.horizon_ms(facts.storage);
    let burned = facts.burns_at_ms().is_some_and(|at_ms| at_ms <= view.now_ms);
    let lifetime = view.lifetime(facts.storage);
    let burned_first = lifetime.ms().is_none_or(|lifetime_ms| facts.ttl_ms < lifetime_ms);
    let reason = match (aged, burned) {
        (false, false) => return None,
        (true, false) => view.aged_reason(facts.storage),
        (false, true) => Reason::Burned,
        (true, true) if burned_first => Reason::Burned,
        (true, true) => view.aged_reason(facts.storage),
    };
    Some(view.end_of(reason, facts))
}

/// An erasure that stands opts its scope out: what is stored all the same has ended.
fn standing_end(facts: &Facts<'_>, view: &View<'_>) -> Option<End> {
    if facts.storage == Storage::Transit {
        return None;
    }
    let line = view.opted_out_by(facts)?;
    let (reason, policy) = (Reason::OptedOut, Some(line.offset));
    Some(End { reason, policy, decider: Decider::Erasure })
}

impl Facts<'_> {
    /// When its own time to live ends it (Unix ms).
    #[must_use]
    pub fn burns_at_ms(&self) -> Option<i64> {
        (self.ttl_ms > 0).then(|| self.time_ms.saturating_add(self.ttl_ms))
    }
}

impl View<'_> {
    /// How long content of a storage lives under the policies of this moment.
    #[must_use]
    pub fn lifetime(&self, storage: Storage) -> Retention {
        match storage {
            Storage::Stored => self.retention().0,
            Storage::Transit => Retention::Ms(self.rules.transit_limit_ms()),
        }
    }

    /// The retention of stored content, and who decided it.
    #[must_use]
    pub fn retention(&self) -> (Retention, PolicyOffset) {
        self.rules.retention(self.conversation.and_then(|conversation| conversation.retention))
    }

    /// Everything of a storage that was sent at or before has ended (Unix ms). Never goes back while the
    /// clock does not: what a policy ended is closed into the books before the next one holds.
    #[must_use]
    pub fn horizon_ms(&self, storage: Storage) -> i64 {
        match (storage, self.conversation) {
            (Storage::Transit, _) => self.transit_horizon_ms(),
            (Storage::Stored, None) => self.aged_ms(self.books.stored.horizon_ms),
            (Storage::Stored, Some(conversation)) => {
                self.aged_ms(conversation.horizon_ms.max(self.books.stored.floor_ms()))
            }
        }
    }

    /// The offset of a hold that covers a record. Holds reach stored content only; the emergency stop is
    /// one that covers all of it.
    #[must_use]
    pub fn held_by(&self, facts: &Facts<'_>) -> Option<i64> {
        if facts.storage == Storage::Transit {
            return None;
        }
        let of_tenant =
            self.holds.and_then(|holds| holds.covering(self.covered(facts), facts.time_ms));
        of_tenant.or(self.stop)
    }

    /// The erasure that ends a record.
    #[must_use]
    pub fn erased_by(&self, facts: &Facts<'_>) -> Option<ErasureLine> {
        self.erasures?.ending(self.covered(facts), facts.time_ms)
    }

    /// The erasure that stands and has a record treated as opted out.
    #[must_use]
    pub fn opted_out_by(&self, facts: &Facts<'_>) -> Option<ErasureLine> {
        match self.rules.class() {
            Class::Message | Class::Profile => {
                self.erasures?.opting_out(self.covered(facts), facts.time_ms)
            }
            // There is nothing to opt out of.
            Class::Config => None,
        }
    }

    const fn covered<'f>(&self, facts: &Facts<'f>) -> Covered<'f> {
        Covered { class: self.rules.class(), id: facts.id, sender: facts.sender }
    }

    /// From when on everything stored is held without an end (Unix ms).
    #[must_use]
    pub fn frozen_from_ms(&self) -> Option<i64> {
        self.holds.and_then(TenantHolds::frozen_from_ms)
    }

    /// Whether an end that time or a change brought came before an erasure.
    fn ended_before(&self, facts: &Facts<'_>, end: &End, erasure: ErasureLine) -> bool {
        let age_ms = match end.reason {
            Reason::Expired | Reason::Undelivered => self.lifetime(facts.storage).ms(),
            Reason::Burned => Some(facts.ttl_ms),
            Reason::Ended => return self.books.ended_at_ms.is_none_or(|ms| ms <= erasure.at_ms),
            Reason::OptedOut => return end.policy < Some(erasure.offset),
            Reason::Delivered | Reason::Recalled | Reason::Removed | Reason::Erased => {
                return true;
            }
        };
        age_ms.is_none_or(|age_ms| facts.time_ms.saturating_add(age_ms) <= erasure.at_ms)
    }

    /// How far the cursor of a storage may go (Unix ms): a hold freezes it, the minimum slows it down.
    #[must_use]
    pub fn cursor_limit_ms(&self, storage: Storage) -> i64 {
        let line = self.books.line(storage);
        if self.stopped {
            return line.cursor_ms;
        }
        let horizon_ms = self.horizon_ms(storage);
        match storage {
            Storage::Transit => horizon_ms,
            Storage::Stored => {
                let frozen_ms = self.frozen_from_ms().map_or(i64::MAX, |ms| ms.saturating_sub(1));
                let minimum_ms = self.rules.terms.minimum_ms;
                let kept_ms = self.now_ms.saturating_sub(minimum_ms);
                let kept_ms = if minimum_ms == 0 { i64::MAX } else { kept_ms };
                horizon_ms.min(frozen_ms).min(kept_ms)
            }
        }
        .max(line.cursor_ms)
    }

    /// What was sent before this is treated as opted out (Unix ms).
    #[must_use]
    pub fn since_ms(&self) -> i64 {
        self.rules.since_ms().or(self.books.opted_in_at_ms).unwrap_or(i64::MIN)
    }

    /// While a tenant stores nothing, what is older than its transit limit is over for good: the ledger
    /// need not remember it.
    fn aged_ms(&self, horizon_ms: i64) -> i64 {
        if !self.rules.stores() {
            return horizon_ms.max(self.transit_horizon_ms());
        }
        match self.retention().0 {
            Retention::Forever => horizon_ms,
            Retention::Ms(ms) => horizon_ms.max(self.now_ms.saturating_sub(ms)),
        }
    }

    fn transit_horizon_ms(&self) -> i64 {
        let limit_ms = self.rules.transit_limit_ms();
        self.books.transit.horizon_ms.max(self.now_ms.saturating_sub(limit_ms))
    }

    /// When a live record is to be judged again (Unix ms).
    #[must_use]
    pub fn due_ms(&self, facts: &Facts<'_>) -> Option<i64> {
        let lifetime_ms = self.lifetime(facts.storage).ms();
        let aged_at_ms = lifetime_ms.map(|ms| facts.time_ms.saturating_add(ms));
        match (aged_at_ms, facts.burns_at_ms()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    const fn aged_reason(&self, storage: Storage) -> Reason {
        match storage {
            Storage::Stored => Reason::Expired,
            Storage::Transit => Reason::Undelivered,
        }
    }

    /// The end for a reason, with the control record behind it: for an event's, the one by which the
    /// content was treated.
    #[must_use]
    pub fn end_of(&self, reason: Reason, facts: &Facts<'_>) -> End {
        let rules = self.rules;
        let choice = (rules.choice_policy, Decider::Tenant);
        let terms = (rules.terms_policy, Decider::Terms);
        let (policy, decider) = match reason {
            Reason::Expired => self.retention_decider(),
            Reason::Undelivered if rules.terms_policy.is_some() => terms,
            Reason::Ended => terms,
            Reason::Erased => match self.erased_by(facts) {
                Some(line) => (Some(line.offset), Decider::Erasure),
                None => (None, Decider::Default),
            },
            Reason::Delivered
            | Reason::Undelivered
            | Reason::Recalled
            | Reason::Removed
            | Reason::OptedOut
            | Reason::Burned
                if rules.choice_policy.is_some() =>
            {
                choice
            }
            Reason::Delivered
            | Reason::Undelivered
            | Reason::Recalled
            | Reason::Removed
            | Reason::OptedOut
            | Reason::Burned => terms,
        };
        let decider = if policy.is_some() { decider } else { Decider::Default };
        End { reason, policy, decider }
    }

    /// Who decided the retention, and by what kind of record.
    fn retention_decider(&self) -> (PolicyOffset, Decider) {
        let policy = self.retention().1;
        let own = self.conversation.and_then(|conversation| conversation.retention);
        let decider = match own {
            Some((_, offset)) if policy == Some(offset) => Decider::Conversation,
            Some(_) | None if policy == self.rules.terms_policy => Decider::Terms,
            Some(_) | None => Decider::Tenant,
        };
        (policy, decider)
    }
}
