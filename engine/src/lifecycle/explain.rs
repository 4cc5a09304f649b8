//! What holds for one record at this moment, and by which rule of which control record.
//!
//! Invariant: nothing is written, and the answer is the one that [`verdict()`] would act on.

use super::case::Place;
use super::engine::Engine;
use super::{Budget, Case, Effects, PolicyOffset};
use crate::ledger::key::{self, tag};
use crate::ledger::{Entry, Ledger, Rows, State};
use crate::policy::{
    Decider, End, Facts, Keep, Reason, Verdict, View, conversation_of, keep, verdict,
};
use crate::{Class, Storage};

/// So many rows are read at once.
const SLICE_ROWS_MAX: usize = 1_024;

/// A control record that decides, or none: the defaults do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deciding {
    /// Its key.
    pub key: Option<String>,
    /// Its offset.
    pub offset: PolicyOffset,
}

/// What holds for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// Its content has not come, as far as is known, and could still.
    Unknown,
    /// Its content is out.
    Kept {
        /// On which of the class's topics.
        storage: Storage,
        /// When its life ends under the policies of this moment (Unix ms); none: without end.
        until_ms: Option<i64>,
        /// By which rule.
        reason: Reason,
        /// Whose rule that is.
        by: Deciding,
    },
    /// It has ended, but something keeps it.
    Waits {
        /// On which of the class's topics.
        storage: Storage,
        /// Why it ended.
        reason: Reason,
        /// Whose rule that was.
        by: Deciding,
        /// What keeps it.
        keep: Keep,
        /// Whose hold or minimum that is.
        kept_by: Deciding,
    },
    /// It is over. Why, where that is still known: its tombstone said so.
    Over {
        /// The rule, if its tombstone is not out yet.
        reason: Option<(Reason, Deciding)>,
    },
}

impl Engine {
    /// Explains a record: `id` is what follows the tenant in its record key.
    pub fn explain<L: Ledger>(
        &mut self,
        ledger: &mut L,
        tenant: &str,
        time_ms: i64,
        id: &str,
        now_ms: i64,
    ) -> Result<Explanation, L::Error> {
        let mut effects = Effects::default();
        let mut value = Vec::new();
        let mut case = self.case(ledger, tenant, now_ms, &mut effects)?;
        let answer = case.decided(time_ms, id, &mut value)?;
        Ok(match answer {
            Answer::Unknown => Explanation::Unknown,
            Answer::Over(end) => Explanation::Over {
                reason: end.map(|end| (end.reason, self.deciding(&end, tenant, id))),
            },
            Answer::Kept(storage, until_ms, end) => Explanation::Kept {
                storage,
                until_ms,
                reason: end.reason,
                by: self.deciding(&end, tenant, id),
            },
            Answer::Waits(storage, end, keep, minimum) => Explanation::Waits {
                storage,
                reason: end.reason,
                by: self.deciding(&end, tenant, id),
                keep,
                kept_by: match keep {
                    Keep::Hold { policy } | Keep::Stop { policy } => {
                        let key = policy.and_then(|offset| self.holds.key_of(offset));
                        Deciding { key: key.map(str::to_owned), offset: policy }
                    }
                    Keep::Minimum { .. } => {
                        let key = minimum.map(|_| of_tenant("terms", tenant));
                        Deciding { key, offset: minimum }
                    }
                },
            },
        })
    }

    /// The control record behind an end.
    fn deciding(&self, end: &End, tenant: &str, id: &str) -> Deciding {
        let offset = end.policy;
        let key = match end.decider {
            Decider::Default => None,
            Decider::Tenant => Some(of_tenant("tenant", tenant)),
            Decider::Terms => Some(of_tenant("terms", tenant)),
            Decider::Conversation => {
                let conversation = conversation_of(id);
                Some(format!("{}/{conversation}", of_tenant("conversation", tenant)))
            }
            Decider::Erasure => {
                offset.and_then(|offset| self.erasures.key_of(offset)).map(str::to_owned)
            }
        };
        Deciding { key, offset }
    }
}

fn of_tenant(kind: &str, tenant: &str) -> String {
    let mut key = format!("{kind}/");
    crate::ledger::key::push_part(&mut key, tenant);
    key
}

/// What was found, without the names of control records.
enum Answer {
    Unknown,
    Over(Option<End>),
    Kept(Storage, Option<i64>, End),
    Waits(Storage, End, Keep, PolicyOffset),
}

impl<L: Ledger> Case<'_, L> {
    fn decided(&mut self, time_ms: i64, id: &str, value: &mut Vec<u8>) -> Result<Answer, L::Error> {
        let conversation = self.conversation(id)?;
        let found = self.find(time_ms, id, value)?;
        let older =
            found.is_none() && self.class != Class::Message && self.beside(time_ms, id)?.is_some();
        // A version that a hold kept from being overwritten has no entry of its own.
        let older = older.then(|| (Place::Kept, Entry::bare(State::Live, Storage::Stored)));
        let Some((place, entry)) = found.or(older) else {
            let view = self.view(conversation);
            let over = [Storage::Stored, Storage::Transit]
                .iter()
                .all(|storage| time_ms <= view.horizon_ms(*storage));
            return Ok(if over { Answer::Over(None) } else { Answer::Unknown });
        };
        let passed =
            place == Place::Range && self.tenant.books.line(entry.storage).has_passed(time_ms, id);
        match entry.state {
            State::Early => return Ok(Answer::Unknown),
            State::Gone => return Ok(Answer::Over(None)),
            State::Live | State::Condemned(_) if passed => return Ok(Answer::Over(None)),
            State::Live | State::Condemned(_) => {}
        }
        let facts = Facts::of(time_ms, id, &entry);
        let view = self.view(conversation);
        let decided = verdict(&facts, &view);
        let tenant_ms = view.rules.terms.end_ms().filter(|_| !view.rules.ended);
        if let Some(at_ms) = tenant_ms
            && at_ms <= view.now_ms
            && has_lived_until(at_ms, &decided, &facts, &view)
        {
            // It is over, and a look has not come by: every tombstone may be stopped.
            let end = view.end_of(Reason::Ended, &facts);
            return Ok(match keep(&facts, &view) {
                Some(keep) => Answer::Waits(entry.storage, end, keep, view.rules.terms_policy),
                None => Answer::Over(Some(end)),
            });
        }
        Ok(match decided {
            Verdict::Ended(end) => Answer::Over(Some(end)),
            Verdict::Kept(end, keep) => {
                Answer::Waits(entry.storage, end, keep, view.rules.terms_policy)
            }
            Verdict::Live { until_ms } => {
                let reason = first_end(&entry, &facts, until_ms, tenant_ms);
                let until_ms = [until_ms, tenant_ms].into_iter().flatten().min();
                Answer::Kept(entry.storage, until_ms, view.end_of(reason, &facts))
            }
        })
    }
}

/// Whether a record lived until its tenant's end, which has come: of two ends the earlier one counts.
fn has_lived_until(at_ms: i64, decided: &Verdict, facts: &Facts<'_>, view: &View<'_>) -> bool {
    let end = match decided {
        Verdict::Live { .. } => return true,
        Verdict::Kept(end, _) | Verdict::Ended(end) => end,
    };
    // An event, or a change that is carried out, came before.
    if facts.ended.is_some() || facts.time_ms <= view.books.line(facts.storage).floor_ms() {
        return false;
    }
    match end.reason {
        Reason::Expired | Reason::Undelivered | Reason::Burned => {
            view.due_ms(facts).is_some_and(|due_ms| at_ms < due_ms)
        }
        Reason::Erased => view.erased_by(facts).is_some_and(|erasure| at_ms <= erasure.at_ms),
        Reason::Ended
        | Reason::Delivered
        | Reason::Recalled
        | Reason::Removed
        | Reason::OptedOut => false,
    }
}

/// Which rule will end a live record first.
fn first_end(
    entry: &Entry<'_>,
    facts: &Facts<'_>,
    until_ms: Option<i64>,
    tenant_ms: Option<i64>,
) -> Reason {
    if tenant_ms.is_some_and(|at_ms| until_ms.is_none_or(|until_ms| at_ms < until_ms)) {
        return Reason::Ended;
    }
    if until_ms.is_some() && facts.burns_at_ms() == until_ms {
        return Reason::Burned;
    }
    match entry.storage {
        Storage::Stored => Reason::Expired,
        Storage::Transit => Reason::Undelivered,
    }
}

/// Where a search for a message without its sent time has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// The sent times under which something is known of it (Unix ms).
    pub times_ms: Vec<i64>,
    /// Where to go on; none: all of the tenant's rows were read.
    pub position: Option<Vec<u8>>,
}

impl Engine {
    /// Looks a message up whose sent time is not known: reads on through its tenant's rows.
    pub fn search<L: Ledger>(
        &self,
        ledger: &mut L,
        tenant: &str,
        id: &str,
        budget: &mut Budget,
        mut so_far: Search,
    ) -> Result<Search, L::Error> {
        let mut from = so_far.position.take().unwrap_or_default();
        if from.is_empty() {
            key::prefix(tag::KEPT, tenant, &mut from);
        }
        let mut rows = Rows::default();
        loop {
            if budget.rows == 0 {
                so_far.position = Some(from);
                return Ok(so_far);
            }
            let family = from.first().copied().unwrap_or(tag::KEPT);
            let mut to = Vec::new();
            key::prefix(family, tenant, &mut to);
            key::end_of_prefix(&mut to);
            let rows_max = SLICE_ROWS_MAX.min(budget.rows);
            ledger.scan(&from, &to, rows_max, &mut rows)?;
            budget.rows = budget.rows.saturating_sub(rows.len().max(1));
            for (row, _) in rows.iter() {
                let home = key::read_home(row)?;
                if home.id == id && !so_far.times_ms.contains(&home.time_ms) {
                    so_far.times_ms.push(home.time_ms);
                }
                from.clear();
                from.extend_from_slice(row);
                from.push(0);
            }
            match family {
                _ if rows.len() == rows_max => {}
                tag::KEPT => key::prefix(tag::ENTRY, tenant, &mut from),
                _ => return Ok(so_far),
            }
        }
    }
}

/// A record of which versions come is asked about by the time of its live one.
impl Engine {
    /// The time of the live version of a profile or config item, and its storage (Unix ms).
    pub fn live_version<L: Ledger>(
        &mut self,
        ledger: &mut L,
        tenant: &str,
        id: &str,
        now_ms: i64,
    ) -> Result<Option<(Storage, i64)>, L::Error> {
        if self.class == Class::Message {
            return Ok(None);
        }
        let mut effects = Effects::default();
        let mut case = self.case(ledger, tenant, now_ms, &mut effects)?;
        let latest = case.latest(id)?;
        let live = |storage| {
            let live_ms = latest.and_then(|latest| latest.live_ms(storage));
            live_ms.map(|live_ms| (storage, live_ms))
        };
        Ok(live(Storage::Stored).or_else(|| live(Storage::Transit)))
    }
}
