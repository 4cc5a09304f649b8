//! What must come out, worked out from what the generator knows and from the contract alone: no
//! rule here is shared with lethe's engine.

use std::collections::HashMap;

use lethe_engine::{Class, Reason, Storage};

use super::cast::{Change, SILENCE_AFTER_MS};
use crate::traffic::{Choice, Life, Tenant};

const SECOND_MS: i64 = 1_000;
/// The transit limit of terms that name none.
const TRANSIT_LIMIT_DEFAULT_S: u32 = 24 * 60 * 60;

/// What must become of one message, profile or config item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) tenant: String,
    pub(super) class: Class,
    /// On which of the class's topics it must be; none: on no topic at all.
    pub(super) storage: Option<Storage>,
    /// Hashes of its contents, in order.
    pub(super) contents: Vec<u64>,
    /// How it must end; none: it lives on.
    pub(super) end: Option<End>,
}

impl Expected {
    /// How it must have ended by a time (Unix ms); none: it must live.
    pub(super) fn end_by(&self, now_ms: i64) -> Option<End> {
        self.end.filter(|end| end.due_ms <= now_ms)
    }
}

/// How something must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) reason: Reason,
    /// Not before this time (Unix ms).
    pub(super) due_ms: i64,
    /// What else is right, where two ends are so close that either may come first.
    pub(super) or: Option<Reason>,
}

/// Everything that must come out, by record key.
#[derive(Default)]
pub(super) struct Books {
    pub(super) expected: HashMap<(Class, String), Expected>,
    /// Input records written, of every kind.
    pub(super) records: u64,
    /// Of these, ones that do not decode.
    pub(super) broken: u64,
}

impl Books {
    /// A life begins, under what its tenant has chosen now.
    pub(super) fn begin(&mut self, tenant: &Tenant, life: &Life) {
        let expected = expected(tenant, life);
        self.expected.insert((life.class, life.key.clone()), expected);
    }

    /// A tenant changes its mind or leaves.
    pub(super) fn turn(&mut self, tenant: &str, change: Change, at_ms: i64) {
        let reason = match change {
            // What is in transit stays in transit.
            Change::OptIn { .. } => return,
            Change::OptOut => Reason::OptedOut,
            Change::End => Reason::Ended,
        };
        for one in self.expected.values_mut().filter(|one| one.tenant == tenant) {
            let config_stays = one.class == Class::Config && reason == Reason::OptedOut;
            if one.storage != Some(Storage::Stored) || config_stays {
                continue;
            }
            match &mut one.end {
                Some(end) if end.due_ms <= at_ms - SILENCE_AFTER_MS => {}
                Some(end) if end.due_ms <= at_ms + SILENCE_AFTER_MS => {
                    end.or = Some(reason);
                    end.due_ms = end.due_ms.min(at_ms);
                }
                end => *end = Some(End { reason, due_ms: at_ms, or: None }),
            }
        }
    }

    /// How many must have ended by a time.
    pub(super) fn due(&self, now_ms: i64) -> usize {
        self.ends().filter(|end| end.due_ms <= now_ms).count()
    }

    /// When the last one ends that ends before a time (Unix ms).
    pub(super) fn last_due_ms(&self, before_ms: i64) -> Option<i64> {
        self.ends().map(|end| end.due_ms).filter(|&due_ms| due_ms < before_ms).max()
    }

    fn ends(&self) -> impl Iterator<Item = End> {
        self.expected.values().filter(|one| one.storage.is_some()).filter_map(|one| one.end)
    }
}

fn expected(tenant: &Tenant, life: &Life) -> Expected {
    let choice = match (life.class, tenant.choice) {
        // Configuration is kept for every tenant, as long as it is in use.
        (Class::Config, _) => None,
        (Class::Message, Some((message, _))) => Some(message),
        (Class::Profile, Some((_, profile))) => Some(profile),
        (Class::Message | Class::Profile, None) => Some(Choice::Out),
    };
    let (storage, end) = match choice {
        None => (Some(Storage::Stored), earliest(&[recall(life)])),
        Some(Choice::In { retention_s }) => stored(tenant, life, retention_s),
        Some(Choice::Out) => transit(tenant, life),
    };
    Expected {
        tenant: tenant.name.clone(),
        class: life.class,
        storage,
        contents: life.contents.clone(),
        end,
    }
}

/// Kept for the retention; the minimum keeps also what ended before.
fn stored(tenant: &Tenant, life: &Life, retention_s: u32) -> (Option<Storage>, Option<End>) {
    let minimum_ms = life.time_ms + i64::from(tenant.minimum_s) * SECOND_MS;
    if life.recalled_early {
        // Only what a minimum covers is stored although it has ended.
        let kept = (tenant.minimum_s > 0).then_some(Storage::Stored);
        return (kept, earliest(&[Some((Reason::Recalled, minimum_ms))]));
    }
    let retention_s = match &tenant.conversation {
        Some((own, own_s)) if life.conversation.as_ref() == Some(own) => *own_s,
        Some(_) | None => retention_s,
    };
    let expires_ms = life.time_ms + i64::from(retention_s) * SECOND_MS;
    let end = earliest(&[recall(life), burn(life), Some((Reason::Expired, expires_ms))]);
    let end = end.map(|end| End { due_ms: end.due_ms.max(minimum_ms), ..end });
    (Some(Storage::Stored), end)
}

/// Passing through until everyone has it, at most for the transit limit.
fn transit(tenant: &Tenant, life: &Life) -> (Option<Storage>, Option<End>) {
    if life.recalled_early || life.delivered_early {
        return (None, None);
    }
    let limit_s = tenant.transit_limit_s.unwrap_or(TRANSIT_LIMIT_DEFAULT_S);
    let limit_ms = life.time_ms + i64::from(limit_s) * SECOND_MS;
    let delivered = life.delivered_ms.map(|at_ms| (Reason::Delivered, at_ms));
    let limit = Some((Reason::Undelivered, limit_ms));
    (Some(Storage::Transit), earliest(&[delivered, recall(life), burn(life), limit]))
}

fn recall(life: &Life) -> Option<(Reason, i64)> {
    let reason = match life.class {
        Class::Message => Reason::Recalled,
        Class::Profile | Class::Config => Reason::Removed,
    };
    life.recalled_ms.map(|at_ms| (reason, at_ms))
}

fn burn(life: &Life) -> Option<(Reason, i64)> {
    (life.ttl_ms > 0).then(|| (Reason::Burned, life.time_ms + life.ttl_ms))
}

fn earliest(ends: &[Option<(Reason, i64)>]) -> Option<End> {
    let first = ends.iter().flatten().min_by_key(|(_, due_ms)| *due_ms);
    first.map(|&(reason, due_ms)| End { reason, due_ms, or: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{Content, Conversation, Plans, Random};

    fn life() -> Life {
        let content = Content::new("marker".to_owned());
        let mut plans = Plans { random: Random::new(1), content };
        let talk = Conversation { id: "c".to_owned(), members: 2 };
        let life = plans.message("t", &talk, 10_000, true);
        Life {
            ttl_ms: 0,
            recalled_early: false,
            delivered_early: false,
            recalled_ms: None,
            delivered_ms: Some(11_000),
            ..life
        }
    }

    fn end(tenant: &Tenant, life: &Life) -> (Option<Storage>, Option<(Reason, i64)>) {
        let expected = expected(tenant, life);
        (expected.storage, expected.end.map(|end| (end.reason, end.due_ms)))
    }

    #[test]
    fn delivery_ends_what_is_in_transit_and_nothing_else() {
        let out = Tenant::new("t", 1, Choice::Out, Choice::Out);
        let ends = (Some(Storage::Transit), Some((Reason::Delivered, 11_000)));
        assert_eq!(end(&out, &life()), ends);
        let early = Life { delivered_early: true, ..life() };
        assert_eq!(end(&out, &early).0, None);

        let inside = Tenant::new("t", 1, Choice::In { retention_s: 8 }, Choice::Out);
        let ends = (Some(Storage::Stored), Some((Reason::Expired, 18_000)));
        assert_eq!(end(&inside, &life()), ends);
        assert_eq!(end(&inside, &early), ends);
    }

    #[test]
    fn the_minimum_keeps_what_a_recall_ended() {
        let mut tenant = Tenant::new("t", 1, Choice::In { retention_s: 5 }, Choice::Out);
        tenant.minimum_s = 9;
        let recalled = Life { recalled_ms: Some(11_500), ..life() };
        let ends = (Some(Storage::Stored), Some((Reason::Recalled, 19_000)));
        assert_eq!(end(&tenant, &recalled), ends);
        let early = Life { recalled_early: true, ..life() };
        assert_eq!(end(&tenant, &early), ends);
    }

    #[test]
    fn opting_out_ends_what_is_stored_and_not_what_had_ended() {
        let inside = Tenant::new("t", 1, Choice::In { retention_s: 8 }, Choice::Out);
        let end_after = |at_ms| {
            let (mut books, life) = (Books::default(), life());
            books.begin(&inside, &life);
            books.turn("t", Change::OptOut, at_ms);
            let end = books.expected.values().next().and_then(|one| one.end);
            end.map(|end| (end.reason, end.due_ms, end.or))
        };
        assert_eq!(end_after(12_000), Some((Reason::OptedOut, 12_000, None)));
        assert_eq!(end_after(18_500), Some((Reason::Expired, 18_000, Some(Reason::OptedOut))));
        assert_eq!(end_after(30_000), Some((Reason::Expired, 18_000, None)));
    }
}
