//! What ends records on request: `erasure/<id>`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::duration::{Retention, parse_time};
use super::record::{Common, Refused};
use super::rules::Rules;
use super::scope::{ByScope, Covered, Place, Scope, ScopeFields};
use crate::Class;

/// An erasure request as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// What it covers.
    pub scope: Scope,
    /// How far it reaches.
    pub reach: Reach,
}

/// How far an erasure reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To what was sent before a time (Unix ms); none: before it was written.
    Before(Option<i64>),
    /// To what was sent before it was written; what is sent later is treated as opted out.
    Standing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErasureBody {
    tenant: String,
    conversation: Option<String>,
    user: Option<String>,
    message: Option<String>,
    before: Option<String>,
    #[serde(default)]
    standing: bool,
}

impl Erasure {
    pub(super) fn parse(body: &[u8]) -> Result<Common<Self>, Refused> {
        let body: ErasureBody = super::record::json(body)?;
        let before_ms = body.before.as_deref().map(parse_time).transpose()?;
        let reach = match (body.standing, before_ms) {
            (true, Some(_)) => return Err("an erasure both standing and up to a time"),
            (true, None) => Reach::Standing,
            (false, before_ms) => Reach::Before(before_ms),
        };
        let ErasureBody { tenant, conversation, user, message, .. } = body;
        let scope = Scope::new(ScopeFields { tenant, conversation, user, message })?;
        Common::new(Self { scope, reach }, None)
    }
}

/// An erasure in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// What it covers.
    pub scope: Scope,
    /// It ends what was sent before (Unix ms).
    pub before_ms: i64,
    /// What is sent from then on is treated as opted out.
    pub standing: bool,
    /// Since when (Unix ms).
    pub at_ms: i64,
    /// Its control record.
    pub offset: i64,
}

impl InForce {
    /// What a request means that was written at this time (Unix ms).
    #[must_use]
    pub fn new(erasure: Erasure, written_at_ms: i64, at_ms: i64, offset: i64) -> Self {
        let (before_ms, standing) = match erasure.reach {
            Reach::Before(before_ms) => (before_ms.unwrap_or(written_at_ms), false),
            Reach::Standing => (written_at_ms, true),
        };
        Self { scope: erasure.scope, before_ms, standing, at_ms, offset }
    }

    /// Until when a late, first arrival that it covers could still be stored under a tenant's rules of
    /// now, so that it may not be withdrawn (Unix ms); none: without end. One that stands is bounded
    /// first.
    #[must_use]
    pub fn needed_until_ms(&self, rules: &Rules, own: Option<(Retention, i64)>) -> Option<i64> {
        if self.standing {
            return None;
        }
        let transit_ms = rules.transit_limit_ms();
        let stored = if rules.stores() { rules.retention(own).0 } else { Retention::Ms(0) };
        let lifetime_ms = stored.ms()?.max(transit_ms);
        Some(self.before_ms.saturating_add(lifetime_ms))
    }
}

/// The erasures on one tenant.
pub type TenantErasures = ByScope<Lines>;

/// Every erasure in force, as far as it can cover records of a class.
#[derive(Clone, Debug)]
pub struct Erasures {
    class: Class,
    /// Their control keys, by offset.
    keys: BTreeMap<i64, String>,
    tenants: BTreeMap<Box<str>, TenantErasures>,
}

impl Erasures {
    /// No erasure.
    #[must_use]
    pub const fn new(class: Class) -> Self {
        Self { class, keys: BTreeMap::new(), tenants: BTreeMap::new() }
    }

    /// The control key of the record at an offset.
    #[must_use]
    pub fn key_of(&self, offset: i64) -> Option<&str> {
        self.keys.get(&offset).map(String::as_str)
    }

    /// Puts one in force.
    pub fn insert(&mut self, control_key: &str, erasure: &InForce) {
        self.keys.insert(erasure.offset, control_key.to_owned());
        if erasure.scope.has(self.class) {
            let tenant = self.tenants.entry(erasure.scope.tenant.as_str().into()).or_default();
            tenant.change(self.class, &erasure.scope, |lines| lines.insert(erasure));
        }
    }

    /// Withdraws one.
    pub fn remove(&mut self, erasure: &InForce) {
        self.keys.remove(&erasure.offset);
        let Some(tenant) = self.tenants.get_mut(erasure.scope.tenant.as_str()) else { return };
        if erasure.scope.has(self.class) {
            tenant.change(self.class, &erasure.scope, |lines| lines.remove(erasure.offset));
        }
        if tenant.is_empty() {
            self.tenants.remove(erasure.scope.tenant.as_str());
        }
    }

    /// Those on a tenant.
    #[must_use]
    pub fn of(&self, tenant: &str) -> Option<&TenantErasures> {
        if self.tenants.is_empty() { None } else { self.tenants.get(tenant) }
    }
}

/// An erasure's line in time: what was sent before (or, where it stands, from then on).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErasureLine {
    /// The line (Unix ms).
    pub time_ms: i64,
    /// Since when it is in force (Unix ms).
    pub at_ms: i64,
    /// Its control record.
    pub offset: i64,
}

/// The lines of any number of erasures of the same records.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// By their times, each with the earliest in force among itself and the later ones.
    before: Vec<(ErasureLine, ErasureLine)>,
    /// Those that stand: by their times, each with the earliest in force among itself and the earlier ones.
    standing: Vec<(ErasureLine, ErasureLine)>,
}

impl Place for Lines {
    fn is_empty(&self) -> bool {
        self.before.is_empty()
    }
}

impl Lines {
    fn insert(&mut self, erasure: &InForce) {
        let InForce { before_ms: time_ms, at_ms, offset, .. } = *erasure;
        let line = ErasureLine { time_ms, at_ms, offset };
        insert(&mut self.before, line);
        if erasure.standing {
            insert(&mut self.standing, line);
        }
        self.renew();
    }

    fn remove(&mut self, offset: i64) {
        self.before.retain(|(line, _)| line.offset != offset);
        self.standing.retain(|(line, _)| line.offset != offset);
        self.renew();
    }

    fn renew(&mut self) {
        renew(self.before.iter_mut().rev());
        renew(self.standing.iter_mut());
    }
}

fn insert(lines: &mut Vec<(ErasureLine, ErasureLine)>, line: ErasureLine) {
    let at = lines.partition_point(|(known, _)| known.time_ms <= line.time_ms);
    lines.insert(at, (line, line));
}

fn renew<'l>(lines: impl Iterator<Item = &'l mut (ErasureLine, ErasureLine)>) {
    let mut first: Option<ErasureLine> = None;
    for (line, best) in lines {
        *best = first.filter(|first| first.offset < line.offset).unwrap_or(*line);
        first = Some(*best);
    }
}

impl TenantErasures {
    /// The first erasure that ends a record of this time.
    #[must_use]
    pub fn ending(&self, record: Covered<'_>, time_ms: i64) -> Option<ErasureLine> {
        let mut first: Option<ErasureLine> = None;
        // Every place is asked: the first in force is named.
        let _: Option<()> = self.find(record, |lines| {
            let at = lines.before.partition_point(|(line, _)| line.time_ms <= time_ms);
            let found = lines.before.get(at).map(|(_, best)| *best);
            first = [first, found].into_iter().flatten().min_by_key(|line| line.offset);
            None
        });
        first
    }

    /// The first that stands and treats a record of this time as opted out.
    #[must_use]
    pub fn opting_out(&self, record: Covered<'_>, time_ms: i64) -> Option<ErasureLine> {
        let mut first: Option<ErasureLine> = None;
        let _: Option<()> = self.find(record, |lines| {
            let until = lines.standing.partition_point(|(line, _)| line.time_ms <= time_ms);
            let found = until.checked_sub(1).and_then(|at| lines.standing.get(at));
            let found = found.map(|(_, best)| *best);
            first = [first, found].into_iter().flatten().min_by_key(|line| line.offset);
            None
        });
        first
    }
}
