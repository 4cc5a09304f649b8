//! The proof at the end: what must have come out against what came out, rule by rule.

use std::collections::{BTreeMap, HashSet};

use lethe_engine::{Class, Reason, Storage};
use serde::Serialize;

use super::Stage;
use super::downstream::Seen;
use super::expect::{End, Expected};

/// So many examples of a broken rule are shown.
const EXAMPLES_MAX: usize = 3;

/// A rule, and whether it held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The rule.
    pub rule: &'static str,
    /// Whether it held.
    pub held: bool,
    /// How many things were checked.
    pub checked: usize,
    /// How many broke it.
    pub broken: usize,
    /// Some of these.
    pub examples: Vec<String>,
}

impl Check {
    pub(super) fn new(rule: &'static str) -> Self {
        Self { rule, held: true, checked: 0, broken: 0, examples: Vec::new() }
    }

    /// One more was checked.
    pub(super) fn see(&mut self, holds: bool, example: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.held = false;
            self.broken += 1;
            if self.examples.len() < EXAMPLES_MAX {
                self.examples.push(example());
            }
        }
    }
}

/// A number that must be and the one that is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// What follows from what was sent.
    pub expected: u64,
    /// What came.
    pub found: u64,
}

/// A tenant's numbers for one class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TenantTally {
    /// The tenant.
    pub tenant: String,
    /// The class of data.
    pub class: &'static str,
    /// Things sent.
    pub sent: u64,
    /// Contents on `store.*`.
    pub stored: Tally,
    /// Contents on `transit.*`.
    pub transit: Tally,
    /// Things that ended.
    pub ended: Tally,
    /// Things that live on.
    pub live: Tally,
}

/// How late what came by time was, in ms, as the store downstream saw it (commit included).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lateness {
    /// The middle.
    pub p50_ms: i64,
    /// All but one of a hundred.
    pub p99_ms: i64,
    /// The latest.
    pub max_ms: i64,
}

/// The outcome of a demo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// All rules held.
    pub held: bool,
    /// The seed of its traffic.
    pub seed: u64,
    /// How long traffic flowed.
    pub seconds: u64,
    /// Input records.
    pub records_in: u64,
    /// Output records: contents and tombstones.
    pub records_out: u64,
    /// By tenant and class.
    pub tenants: Vec<TenantTally>,
    /// Tombstones by reason.
    pub tombstones: BTreeMap<String, Tally>,
    /// How late they were.
    pub lateness: Lateness,
    /// The rules.
    pub checks: Vec<Check>,
}

/// The rules of which the outputs alone are the proof.
struct Rules {
    place: Check,
    bytes: Check,
    ends: Check,
    early: Check,
    live: Check,
    returned: Check,
    unknown: Check,
    dead_letters: Check,
}

/// What the proof collects.
pub(super) struct Proof {
    pub(super) tenants: Vec<TenantTally>,
    pub(super) tombstones: BTreeMap<String, Tally>,
    pub(super) lateness: Lateness,
    pub(super) checks: Vec<Check>,
}

/// Compares.
pub(super) fn prove(stage: &Stage, now_ms: i64) -> Proof {
    let mut rules = Rules::new();
    let mut tenants = BTreeMap::new();
    let mut tombstones: BTreeMap<String, Tally> = BTreeMap::new();
    let mut late_ms = Vec::new();
    let nothing = Seen::default();
    for ((class, key), expected) in &stage.books.expected {
        let seen = |storage| {
            stage.downstream.seen.get(&(*class, storage, key.clone())).unwrap_or(&nothing)
        };
        let both =
            [(Storage::Stored, seen(Storage::Stored)), (Storage::Transit, seen(Storage::Transit))];
        rules.compare(key, expected, both, now_ms);
        let tally = tenants.entry((expected.tenant.clone(), *class)).or_insert_with(|| {
            let (tenant, class) = (expected.tenant.clone(), class.name());
            TenantTally { tenant, class, ..TenantTally::default() }
        });
        let end = expected.end_by(now_ms);
        count(tally, expected, end, both);
        let Some(seen) = expected.storage.map(seen) else { continue };
        if let (Some(end), Some((reason, at_ms))) = (end, seen.tombstones.first())
            && matches!(reason.as_str(), "expired" | "undelivered" | "burned")
        {
            late_ms.push(at_ms - end.due_ms);
        }
        if let Some(end) = end {
            // Where either of two ends is right, the one that came is the expected one.
            let found = seen.tombstones.first().map(|(reason, _)| reason.as_str());
            let either = end.or.map(Reason::name).filter(|&or| Some(or) == found);
            let reason = either.unwrap_or(end.reason.name());
            tombstones.entry(reason.to_owned()).or_default().expected += 1;
        }
    }
    for (reason, found) in &stage.downstream.reasons {
        tombstones.entry(reason.clone()).or_default().found = *found;
    }
    rules.others(stage);
    Proof {
        tenants: tenants.into_values().collect(),
        tombstones,
        lateness: lateness(late_ms),
        checks: rules.into_checks(),
    }
}

impl Rules {
    fn new() -> Self {
        Self {
            place: Check::new(
                "what was opted in to is on store.*, the rest passes through transit.* alone",
            ),
            bytes: Check::new("each content comes byte for byte, and once"),
            ends: Check::new("each end is one tombstone, with the right reason"),
            early: Check::new("nothing ends before its time"),
            live: Check::new(
                "nothing lives that should have ended, nothing is gone that should live",
            ),
            returned: Check::new("nothing comes back after its end"),
            unknown: Check::new("nothing comes out that nobody sent"),
            dead_letters: Check::new("what cannot be read is a dead letter without its content"),
        }
    }

    fn compare(
        &mut self,
        key: &str,
        expected: &Expected,
        both: [(Storage, &Seen); 2],
        now_ms: i64,
    ) {
        for (storage, seen) in both {
            let belongs = expected.storage == Some(storage);
            let empty = seen.contents.is_empty() && seen.tombstones.is_empty();
            self.place.see(if belongs { !seen.contents.is_empty() } else { empty }, || {
                format!("{key}: {} on {}", seen.contents.len(), storage.name())
            });
            self.returned.see(seen.returned == 0, || format!("{key}: {} times", seen.returned));
            if !belongs {
                continue;
            }
            self.bytes.see(seen.contents == expected.contents, || {
                format!("{key}: {} of {}", seen.contents.len(), expected.contents.len())
            });
            self.end(key, expected.end_by(now_ms), seen);
        }
    }

    fn end(&mut self, key: &str, end: Option<End>, seen: &Seen) {
        let is_live = seen.tombstones.is_empty();
        self.live.see(is_live == end.is_none(), || {
            let due = end.map_or("nothing", |end| end.reason.name());
            format!("{key}: {} tombstones, due: {due}", seen.tombstones.len())
        });
        let Some(end) = end else { return };
        let mut reasons = seen.tombstones.iter().map(|(reason, _)| reason.as_str());
        let allowed = [Some(end.reason.name()), end.or.map(Reason::name)];
        let right =
            seen.tombstones.len() == 1 && reasons.all(|reason| allowed.contains(&Some(reason)));
        self.ends.see(right, || {
            let found: Vec<_> = seen.tombstones.iter().map(|(reason, _)| reason.as_str()).collect();
            format!("{key}: {found:?} instead of {:?}", end.reason.name())
        });
        let first_ms = seen.tombstones.iter().map(|(_, at_ms)| *at_ms).min();
        self.early.see(first_ms.is_none_or(|at_ms| at_ms >= end.due_ms), || {
            format!("{key}: {} ms early", end.due_ms - first_ms.unwrap_or(0))
        });
    }

    fn others(&mut self, stage: &Stage) {
        let known: HashSet<(Class, &str)> =
            stage.books.expected.keys().map(|(class, key)| (*class, key.as_str())).collect();
        for (class, _, key) in stage.downstream.seen.keys() {
            self.unknown.see(known.contains(&(*class, key.as_str())), || key.clone());
        }
        let (broken, letters) = (stage.books.broken, stage.downstream.dead_letters);
        for number in 0..broken.max(letters) {
            self.dead_letters.see(number < broken.min(letters), || {
                format!("{letters} dead letters of {broken} records")
            });
        }
        let values = stage.downstream.dead_letter_values;
        self.dead_letters.see(values == 0, || format!("{values} of them carry a value"));
    }

    fn into_checks(self) -> Vec<Check> {
        let Self { place, bytes, ends, early, live, returned, unknown, dead_letters } = self;
        vec![place, bytes, ends, early, live, returned, unknown, dead_letters]
    }
}

fn count(
    tally: &mut TenantTally,
    expected: &Expected,
    end: Option<End>,
    both: [(Storage, &Seen); 2],
) {
    tally.sent += 1;
    for (storage, seen) in both {
        let contents = match storage {
            Storage::Stored => &mut tally.stored,
            Storage::Transit => &mut tally.transit,
        };
        contents.found += seen.contents.len() as u64;
        if expected.storage == Some(storage) {
            contents.expected += expected.contents.len() as u64;
        }
        if !seen.contents.is_empty() {
            let ended = !seen.tombstones.is_empty();
            tally.ended.found += u64::from(ended);
            tally.live.found += u64::from(!ended);
        }
    }
    if expected.storage.is_some() {
        tally.ended.expected += u64::from(end.is_some());
        tally.live.expected += u64::from(end.is_none());
    }
}

fn lateness(mut late_ms: Vec<i64>) -> Lateness {
    late_ms.sort_unstable();
    let at = |percent: usize| {
        let last = late_ms.len().saturating_sub(1);
        late_ms.get(last * percent / 100).copied().unwrap_or(0)
    };
    Lateness { p50_ms: at(50), p99_ms: at(99), max_ms: at(100) }
}
