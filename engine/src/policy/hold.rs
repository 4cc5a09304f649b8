//! What keeps records whatever ends them: `hold/<id>`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::duration::parse_time;
use super::record::{Common, Refused};
use super::scope::{ByScope, Covered, Place, Scope, ScopeFields};
use crate::Class;

/// A hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// On tenant `*`: the emergency stop, no tombstone at all.
    Stop,
    /// On stored content.
    Of {
        /// Whose.
        scope: Scope,
        /// What was sent at this time or later (Unix ms).
        from_ms: i64,
        /// What was sent at this time or earlier (Unix ms).
        until_ms: i64,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldBody {
    tenant: String,
    conversation: Option<String>,
    user: Option<String>,
    message: Option<String>,
    from: Option<String>,
    until: Option<String>,
    #[serde(rename = "reason")]
    _reason: Option<String>,
}

impl Hold {
    pub(super) fn parse(body: &[u8]) -> Result<Common<Self>, Refused> {
        let body: HoldBody = super::record::json(body)?;
        let from_ms = body.from.as_deref().map(parse_time).transpose()?;
        let until_ms = body.until.as_deref().map(parse_time).transpose()?;
        if from_ms.zip(until_ms).is_some_and(|(from_ms, until_ms)| from_ms > until_ms) {
            return Err("from is later than until");
        }
        let HoldBody { tenant, conversation, user, message, .. } = body;
        if tenant == "*" {
            let is_narrowed = conversation.is_some() || user.is_some() || message.is_some();
            if is_narrowed || from_ms.is_some() || until_ms.is_some() {
                return Err("a hold on the tenant * stops everything: nothing narrows it");
            }
            return Common::new(Self::Stop, None);
        }
        let scope = Scope::new(ScopeFields { tenant, conversation, user, message })?;
        let (from_ms, until_ms) = (from_ms.unwrap_or(i64::MIN), until_ms.unwrap_or(i64::MAX));
        Common::new(Self::Of { scope, from_ms, until_ms }, None)
    }

    /// The tenant that it names; none: every one.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        match self {
            Self::Stop => None,
            Self::Of { scope, .. } => Some(&scope.tenant),
        }
    }
}

/// Every hold in force, as far as it can cover records of a class.
#[derive(Clone, Debug)]
pub struct Holds {
    class: Class,
    /// By control key: the hold and its record's offset.
    by_key: BTreeMap<String, (Hold, i64)>,
    tenants: BTreeMap<Box<str>, TenantHolds>,
    /// The offsets of those on tenant `*`.
    stops: Vec<i64>,
}

/// The holds on one tenant.
pub type TenantHolds = ByScope<Bounds>;

impl Holds {
    /// No hold.
    #[must_use]
    pub const fn new(class: Class) -> Self {
        Self { class, by_key: BTreeMap::new(), tenants: BTreeMap::new(), stops: Vec::new() }
    }

    /// Places a hold, replaces it or (none) releases it. Returns the one that was there.
    pub fn change(&mut self, control_key: &str, hold: Option<(Hold, i64)>) -> Option<Hold> {
        let before = self.by_key.remove(control_key);
        if let Some((hold, offset)) = &before {
            self.take_out(hold, *offset);
        }
        if let Some((hold, offset)) = hold {
            self.put_in(&hold, offset);
            self.by_key.insert(control_key.to_owned(), (hold, offset));
        }
        before.map(|(hold, _)| hold)
    }

    fn put_in(&mut self, hold: &Hold, offset: i64) {
        match hold {
            Hold::Stop => self.stops.push(offset),
            Hold::Of { scope, from_ms, until_ms } if scope.has(self.class) => {
                let bound = Bound { from_ms: *from_ms, until_ms: *until_ms, offset };
                let tenant = self.tenants.entry(scope.tenant.as_str().into()).or_default();
                tenant.change(self.class, scope, |bounds| bounds.insert(bound));
            }
            Hold::Of { .. } => {}
        }
    }

    fn take_out(&mut self, hold: &Hold, offset: i64) {
        match hold {
            Hold::Stop => self.stops.retain(|stop| *stop != offset),
            Hold::Of { scope, .. } => {
                let Some(tenant) = self.tenants.get_mut(scope.tenant.as_str()) else { return };
                if scope.has(self.class) {
                    tenant.change(self.class, scope, |bounds| bounds.remove(offset));
                }
                if tenant.is_empty() {
                    self.tenants.remove(scope.tenant.as_str());
                }
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The first hold on every tenant, if there is one.
    #[must_use]
    pub fn stop(&self) -> Option<i64> {
        self.stops.iter().copied().min()
    }

    /// The holds on a tenant.
    #[must_use]
    pub fn of(&self, tenant: &str) -> Option<&TenantHolds> {
        if self.tenants.is_empty() { None } else { self.tenants.get(tenant) }
    }

    /// The control key of the record at an offset.
    #[must_use]
    pub fn key_of(&self, offset: i64) -> Option<&str> {
        self.by_key.iter().find(|(_, (_, of))| *of == offset).map(|(key, _)| key.as_str())
    }
}

/// What one hold says of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bound {
    from_ms: i64,
    until_ms: i64,
    offset: i64,
}

/// The times of any number of holds on the same records.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// By their beginnings, each with the one so far that reaches furthest.
    sorted: Vec<(Bound, Bound)>,
    /// The earliest beginning of those without an end (Unix ms).
    open_from_ms: Option<i64>,
}

impl Place for Bounds {
    fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

impl Bounds {
    fn insert(&mut self, bound: Bound) {
        let order = |bound: &Bound| (bound.from_ms, bound.offset);
        let at = self.sorted.partition_point(|(known, _)| order(known) <= order(&bound));
        self.sorted.insert(at, (bound, bound));
        self.renew();
    }

    fn remove(&mut self, offset: i64) {
        self.sorted.retain(|(bound, _)| bound.offset != offset);
        self.renew();
    }

    fn renew(&mut self) {
        let mut furthest: Option<Bound> = None;
        for (bound, reach) in &mut self.sorted {
            let further = furthest.filter(|known| known.until_ms >= bound.until_ms);
            *reach = further.unwrap_or(*bound);
            furthest = Some(*reach);
        }
        let open = self.sorted.iter().find(|(bound, _)| bound.until_ms == i64::MAX);
        self.open_from_ms = open.map(|(bound, _)| bound.from_ms);
    }

    /// The offset of a hold that covers a time.
    #[must_use]
    pub fn covering(&self, time_ms: i64) -> Option<i64> {
        let begun = self.sorted.partition_point(|(bound, _)| bound.from_ms <= time_ms);
        let (_, reach) = self.sorted.get(begun.checked_sub(1)?)?;
        (reach.until_ms >= time_ms).then_some(reach.offset)
    }
}

impl TenantHolds {
    /// The offset of a hold that covers a stored record of this time.
    #[must_use]
    pub fn covering(&self, record: Covered<'_>, time_ms: i64) -> Option<i64> {
        self.find(record, |bounds| bounds.covering(time_ms))
    }

    /// From when on everything of the tenant is held without an end (Unix ms): no cursor goes there.
    #[must_use]
    pub fn frozen_from_ms(&self) -> Option<i64> {
        self.of_all().open_from_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(all: &[(i64, i64)]) -> Bounds {
        let mut bounds = Bounds::default();
        for (offset, &(from_ms, until_ms)) in (0..).zip(all) {
            bounds.insert(Bound { from_ms, until_ms, offset });
        }
        bounds
    }

    /// Of many that overlap, one that covers a time is found wherever there is one, and none where not.
    #[test]
    fn a_covering_hold_is_found() {
        let all = [(5, 9), (0, 3), (2, 20), (30, 30), (7, 8)];
        let bounds = bounds(&all);
        for time_ms in -2..40 {
            let any =
                all.iter().any(|(from_ms, until_ms)| (from_ms..=until_ms).contains(&&time_ms));
            let found = bounds.covering(time_ms);
            assert_eq!(found.is_some(), any, "{time_ms}");
            if let Some(&(from_ms, until_ms)) =
                found.and_then(|o| all.get(usize::try_from(o).ok()?))
            {
                assert!((from_ms..=until_ms).contains(&time_ms), "{time_ms}");
            }
        }
    }

    #[test]
    fn what_is_released_covers_nothing() {
        let mut bounds = bounds(&[(i64::MIN, i64::MAX), (5, 9)]);
        assert_eq!((bounds.covering(1), bounds.open_from_ms), (Some(0), Some(i64::MIN)));
        bounds.remove(0);
        assert_eq!((bounds.covering(1), bounds.open_from_ms), (None, None));
        assert_eq!(bounds.covering(9), Some(1));
        bounds.remove(1);
        assert!(bounds.is_empty());
    }
}
