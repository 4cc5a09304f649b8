//! The one place where precedence is decided: has a record ended, by what rule, and what keeps it?
//!
//! What ends a record and what keeps it are computed apart. Ends: an event that ended it, a line that a
//! change drew, its own time to live, its retention or the transit limit. Keeps: the stop of all
//! tombstones, a hold, then the legal minimum. The source of each rule is the contract's section
//! "Control records" and its table of classes.

use super::Reason;
use super::duration::Retention;
use super::rules::Rules;
use crate::Storage;
use crate::ledger::{Books, Conversation};
use crate::lifecycle::PolicyOffset;

/// What a verdict needs to know of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
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
    /// Every tombstone is stopped: a hold on `*`, or a control topic that is not trusted.
    pub stopped: bool,
    /// The moment (Unix ms).
    pub now_ms: i64,
}

/// Why and by whom a record's life has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The rule.
    pub reason: Reason,
    /// The control record behind it.
    pub policy: PolicyOffset,
}

/// What keeps a record that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Every tombstone is stopped.
    Stop,
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
pub fn verdict(facts: &Facts, view: &View<'_>) -> Verdict {
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
pub fn keep(facts: &Facts, view: &View<'_>) -> Option<Keep> {
    if view.stopped {
        return Some(Keep::Stop);
    }
    if let Some(offset) = view.rules.hold {
        return Some(Keep::Hold { policy: Some(offset) });
    }
    let until_ms = facts.time_ms.saturating_add(view.rules.terms.minimum_ms);
    let is_kept = facts.storage == Storage::Stored && view.now_ms < until_ms;
    is_kept.then_some(Keep::Minimum { until_ms })
}

fn end(facts: &Facts, view: &View<'_>) -> Option<End> {
    if let Some(reason) = facts.ended {
        return Some(End { reason, policy: view.policy_of(reason) });
    }
    if let Some(floor) = view.books.line(facts.storage).floor
        && facts.time_ms <= floor.time_ms
    {
        let aged = facts.time_ms <= floor.aged_ms;
        let reason = if aged { view.aged_reason(facts.storage) } else { floor.reason };
        let policy = if aged { view.policy_of(reason) } else { floor.policy };
        return Some(End { reason, policy });
    }
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
    Some(End { reason, policy: view.policy_of(reason) })
}

impl Facts {
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

    /// How far the cursor of a storage may go (Unix ms): a hold freezes it, the minimum slows it down.
    #[must_use]
    pub fn cursor_limit_ms(&self, storage: Storage) -> i64 {
        let line = self.books.line(storage);
        if self.stopped || self.rules.hold.is_some() {
            return line.cursor_ms;
        }
        let horizon_ms = self.horizon_ms(storage);
        match storage {
            Storage::Transit => horizon_ms,
            Storage::Stored => {
                horizon_ms.min(self.now_ms.saturating_sub(self.rules.terms.minimum_ms))
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
    pub fn due_ms(&self, facts: &Facts) -> Option<i64> {
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

    /// The control record behind a reason: for an event's, the one by which the content was treated.
    #[must_use]
    pub fn policy_of(&self, reason: Reason) -> PolicyOffset {
        match reason {
            Reason::Expired => self.retention().1,
            Reason::Undelivered => self.rules.terms_policy.or(self.rules.choice_policy),
            Reason::Ended => self.rules.terms_policy,
            Reason::Delivered
            | Reason::Recalled
            | Reason::Removed
            | Reason::Erased
            | Reason::OptedOut
            | Reason::Burned => self.rules.choice_policy.or(self.rules.terms_policy),
        }
    }
}
