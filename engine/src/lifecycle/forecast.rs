//! What a change would end: the same verdict, run dry over a tenant's records under other rules.
//!
//! Invariant: nothing is written, and a forecast reads at most its budget; it goes on where it stopped.

use super::case::{Case, Place};
use super::engine::Engine;
use super::{Budget, Effects};
use crate::ledger::key::{self, tag};
use crate::ledger::{Entry, Ledger, Rows, State};
use crate::policy::duration::DAY_MS;
use crate::policy::{
    ControlRecord, Erasures, Facts, Holds, InForce, Refused, Retention, Rules, Statement, Subject,
    Terms, Verdict, View, conversation_of, keep, verdict,
};
use crate::{Class, Storage};

/// So many rows are read at once.
const SLICE_ROWS_MAX: usize = 1_024;
/// So many days ahead are told apart; what ends later counts as later.
pub const FORECAST_DAYS_MAX: usize = 366;

/// How many records end when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// At once, or as soon as they are looked at.
    pub now: u64,
    /// Have ended, and are kept by a hold or the minimum.
    pub kept: u64,
    /// On each of the days ahead, from now on.
    pub by_day: Vec<u64>,
    /// Later than these, or never.
    pub later: u64,
}

/// What a tenant's records of one partition would come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Under the rules in force.
    pub as_is: Ends,
    /// Under the rules proposed.
    pub proposed: Ends,
    /// Where to go on; none: every record is counted.
    pub position: Option<Vec<u8>>,
}

/// Rules as they would be.
struct Proposal {
    rules: Rules,
    /// A conversation's own retention, where one is proposed (none: withdrawn).
    conversation: Option<(String, Option<(Retention, i64)>)>,
    holds: Holds,
    erasures: Erasures,
    /// The tenant would opt out, or end: everything stored would.
    ends_stored: Option<crate::Reason>,
}

impl Engine {
    /// Counts what the records of a tenant would come to if these control records were in force now. A
    /// proposal's offset is to be one that the control topic has not reached.
    #[expect(clippy::too_many_arguments, reason = "what is asked, when, how far, and from where")]
    pub fn forecast<L: Ledger>(
        &mut self,
        ledger: &mut L,
        tenant: &str,
        proposals: &[ControlRecord],
        now_ms: i64,
        days: usize,
        budget: &mut Budget,
        so_far: Forecast,
    ) -> Result<Result<Forecast, Refused>, L::Error> {
        let mut effects = Effects::default();
        let (holds, erasures) = (self.holds.clone(), self.erasures.clone());
        let mut case = self.case(ledger, tenant, now_ms, &mut effects)?;
        let mut proposal = Proposal {
            rules: case.tenant.rules.clone(),
            conversation: None,
            holds,
            erasures,
            ends_stored: None,
        };
        for record in proposals {
            if let Err(why) = proposal.take(tenant, record, now_ms) {
                return Ok(Err(why));
            }
        }
        Ok(Ok(case.count(&proposal, days.min(FORECAST_DAYS_MAX), budget, so_far)?))
    }
}

impl Proposal {
    fn take(&mut self, tenant: &str, record: &ControlRecord, now_ms: i64) -> Result<(), Refused> {
        let subject = record.subject()?;
        let offset = record.offset();
        let statement = record.body().map(|body| subject.statement(body)).transpose()?;
        let was_in = self.rules.stores();
        match (subject, statement) {
            (Subject::Tenant(of), statement) if of == tenant => match statement {
                Some(Statement::Tenant(choice)) => self.rules.choose(Some(&choice), Some(offset)),
                _ => self.rules.choose(None, Some(offset)),
            },
            (Subject::Terms(of), statement) if of == tenant => {
                self.rules.terms = match statement {
                    Some(Statement::Terms(terms)) => terms,
                    _ => Terms::default(),
                };
                self.rules.terms_policy = Some(offset);
            }
            (Subject::Conversation { tenant: of, conversation }, statement) if of == tenant => {
                let retention = match statement {
                    Some(Statement::Conversation(retention)) => Some((retention, offset)),
                    _ => None,
                };
                self.conversation = Some((conversation.clone(), retention));
            }
            (Subject::Hold, statement) => {
                let hold = match statement {
                    Some(Statement::Hold(hold)) => Some((hold, offset)),
                    _ => None,
                };
                self.holds.change(record.key(), hold);
            }
            (Subject::Erasure, Some(Statement::Erasure(erasure))) => {
                let in_force = InForce::new(erasure, now_ms, now_ms, offset);
                self.erasures.insert(record.key(), &in_force);
            }
            _ => {}
        }
        if was_in && !self.rules.stores() {
            self.ends_stored = Some(crate::Reason::OptedOut);
        }
        Ok(())
    }
}

impl<L: Ledger> Case<'_, L> {
    fn count(
        &mut self,
        proposal: &Proposal,
        days: usize,
        budget: &mut Budget,
        mut forecast: Forecast,
    ) -> Result<Forecast, L::Error> {
        forecast.as_is.by_day.resize(days, 0);
        forecast.proposed.by_day.resize(days, 0);
        let mut from = forecast.position.take().unwrap_or_default();
        if from.is_empty() {
            key::prefix(tag::KEPT, self.name, &mut from);
        }
        let mut rows = Rows::default();
        loop {
            if budget.rows == 0 {
                forecast.position = Some(from);
                return Ok(forecast);
            }
            let family = from.first().copied().unwrap_or(tag::KEPT);
            let mut to = Vec::new();
            key::prefix(family, self.name, &mut to);
            key::end_of_prefix(&mut to);
            let rows_max = SLICE_ROWS_MAX.min(budget.rows);
            self.ledger.scan(&from, &to, rows_max, &mut rows)?;
            budget.rows = budget.rows.saturating_sub(rows.len().max(1));
            for (row, value) in rows.iter() {
                self.count_row(proposal, row, value, &mut forecast)?;
                from.clear();
                from.extend_from_slice(row);
                from.push(0);
            }
            match family {
                _ if rows.len() == rows_max => {}
                tag::KEPT => key::prefix(tag::ENTRY, self.name, &mut from),
                _ => return Ok(forecast),
            }
        }
    }

    fn count_row(
        &mut self,
        proposal: &Proposal,
        row: &[u8],
        value: &[u8],
        forecast: &mut Forecast,
    ) -> Result<(), L::Error> {
        let (home, entry) = (key::read_home(row)?, Entry::read(value)?);
        let (time_ms, id) = (home.time_ms, home.id);
        let in_range = row.first() == Some(&tag::ENTRY);
        let passed = in_range && self.tenant.books.line(entry.storage).has_passed(time_ms, id);
        if passed || !matches!(entry.state, State::Live | State::Condemned(_)) {
            return Ok(());
        }
        let mut found = Vec::new();
        let place = self.find(time_ms, id, &mut found)?.map(|(place, _)| place);
        if in_range && place != Some(Place::Range) {
            return Ok(());
        }
        if in_range
            && self.class != Class::Message
            && !self.is_newest(entry.storage, time_ms, id)?
        {
            return Ok(());
        }
        let conversation = self.conversation(id)?;
        let facts = Facts::of(time_ms, id, &entry);
        let as_is = self.view(conversation);
        note(&mut forecast.as_is, &as_is, &facts);
        let mut own = conversation;
        if let Some((of, retention)) = &proposal.conversation
            && self.class == Class::Message
            && conversation_of(id) == of
        {
            let horizon_ms = as_is.horizon_ms(Storage::Stored);
            own = Some(crate::ledger::Conversation { horizon_ms, retention: *retention });
        }
        let stop = proposal.holds.stop();
        let proposed = View {
            rules: &proposal.rules,
            conversation: own,
            holds: proposal.holds.of(self.name),
            erasures: proposal.erasures.of(self.name),
            stop,
            stopped: stop.is_some() || (as_is.stopped && as_is.stop.is_none()),
            ..as_is
        };
        let ended = proposal.ends_stored.filter(|_| entry.storage == Storage::Stored);
        let facts = Facts { ended: facts.ended.or(ended), ..facts };
        note(&mut forecast.proposed, &proposed, &facts);
        Ok(())
    }
}

/// Counts a record where its end falls.
fn note(ends: &mut Ends, view: &View<'_>, facts: &Facts<'_>) {
    let until_ms = match verdict(facts, view) {
        Verdict::Ended(_) => return ends.now += 1,
        Verdict::Kept(..) => return ends.kept += 1,
        Verdict::Live { until_ms } => until_ms,
    };
    let tenant_ms = view.rules.terms.end_ms().filter(|_| !view.rules.ended);
    let Some(at_ms) = [until_ms, tenant_ms].into_iter().flatten().min() else {
        return ends.later += 1;
    };
    if at_ms <= view.now_ms {
        match keep(facts, view) {
            Some(_) => ends.kept += 1,
            None => ends.now += 1,
        }
        return;
    }
    let day = usize::try_from((at_ms - view.now_ms) / DAY_MS).unwrap_or(usize::MAX);
    match ends.by_day.get_mut(day) {
        Some(count) => *count += 1,
        None => ends.later += 1,
    }
}
