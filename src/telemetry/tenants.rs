//! What each of the busiest tenants does, and all others together.
//!
//! Invariant: at most [`Tenants::new`]'s number of tenants is shown at a time, however many there
//! are, and a tenant that is no longer among them leaves the page. So these series are not kept in
//! the recorder, which forgets none, but written by this module.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::names::{Metric, TENANT_METRICS};

/// The label of all tenants that have none of their own. No tenant's id begins like this.
const OTHER: &str = "lethe:other";
/// Tenants that are weighed for each one that is shown: enough that one that becomes busy is seen.
const WEIGHED_PER_SHOWN: usize = 4;
/// Of a batch's tenants that are not shown, so many of the busiest are weighed: a busy tenant is among
/// them again and again, and a batch of 10,000 tenants costs no more than one of a hundred.
const WEIGHED_OF_BATCH: usize = 16;
/// How often the shown ones are chosen anew.
const CHOOSE_EVERY: Duration = Duration::from_secs(60);
/// A newcomer takes a place if it has so many times the weight of the one that leaves it: places do
/// not change hands for a trifle.
const CHALLENGE: u64 = 2;

/// What was done for a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Input records.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Null values written.
    pub tombstones: u64,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, more: Tally) {
        self.records += more.records;
        self.bytes += more.bytes;
        self.tombstones += more.tombstones;
    }

    fn weight(&self) -> u64 {
        self.records + self.tombstones
    }
}

/// The tenants of a process.
#[derive(Debug)]
pub struct Tenants {
    shown_max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    shown: BTreeMap<String, Tally>,
    other: Tally,
    /// How much each has done lately, of those that did most; halved at each choice.
    weights: BTreeMap<String, u64>,
    chosen: Option<Instant>,
}

impl Tenants {
    /// Shows so many of them; with 0 nothing is counted.
    #[must_use]
    pub fn new(shown_max: usize) -> Self {
        let state = State {
            shown: BTreeMap::new(),
            other: Tally::default(),
            weights: BTreeMap::new(),
            chosen: None,
        };
        Self { shown_max, state: Mutex::new(state) }
    }

    /// Whether anything is to be counted.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.shown_max > 0
    }

    /// Adds what a committed batch did for each tenant.
    pub fn add<'t>(&self, tallies: impl Iterator<Item = (&'t str, Tally)>) {
        self.add_at(tallies, Instant::now());
    }

    fn add_at<'t>(&self, tallies: impl Iterator<Item = (&'t str, Tally)>, now: Instant) {
        if !self.counts() {
            return;
        }
        let mut state = self.lock();
        let mut unseen: Vec<(u64, &str)> = Vec::new();
        for (tenant, tally) in tallies {
            if !state.add(tenant, tally, self.shown_max) {
                unseen.push((tally.weight(), tenant));
            }
        }
        if unseen.len() > WEIGHED_OF_BATCH {
            unseen.select_nth_unstable_by(WEIGHED_OF_BATCH, |one, other| other.cmp(one));
        }
        for (weight, tenant) in unseen.into_iter().take(WEIGHED_OF_BATCH) {
            state.weigh(tenant, weight, self.shown_max * WEIGHED_PER_SHOWN);
        }
        if now.saturating_duration_since(*state.chosen.get_or_insert(now)) >= CHOOSE_EVERY {
            state.chosen = Some(now);
            state.choose(self.shown_max);
        }
    }

    /// Writes the series in Prometheus' text format.
    pub fn render(&self, page: &mut String) {
        if !self.counts() {
            return;
        }
        let state = self.lock();
        for (metric, value) in TENANT_METRICS {
            head(page, metric);
            for (tenant, tally) in &state.shown {
                series(page, metric.name, tenant, value(tally));
            }
            series(page, metric.name, OTHER, value(&state.other));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts what was done; whether the tenant is shown.
    fn add(&mut self, tenant: &str, tally: Tally, shown_max: usize) -> bool {
        if let Some(shown) = self.shown.get_mut(tenant) {
            shown.add(tally);
            *self.weights.entry(tenant.to_owned()).or_default() += tally.weight();
            return true;
        }
        // As long as there is room nobody waits for a choice.
        let has_room = self.shown.len() < shown_max;
        if has_room {
            self.shown.insert(tenant.to_owned(), tally);
            self.weights.insert(tenant.to_owned(), tally.weight());
        } else {
            self.other.add(tally);
        }
        has_room
    }

    /// Weighs a tenant that is not shown; it takes the place of the lightest of these where there is none.
    fn weigh(&mut self, tenant: &str, weight: u64, weighed_max: usize) {
        if let Some(known) = self.weights.get_mut(tenant) {
            *known += weight;
            return;
        }
        if self.weights.len() >= weighed_max {
            let unseen = self.weights.iter().filter(|(name, _)| !self.shown.contains_key(*name));
            let lightest = unseen.min_by_key(|(_, weight)| **weight).map(|(name, _)| name.clone());
            let Some(lightest) = lightest else { return };
            self.weights.remove(&lightest);
        }
        self.weights.insert(tenant.to_owned(), weight);
    }

    /// Gives the places to who has done most lately.
    fn choose(&mut self, shown_max: usize) {
        let mut ranked: Vec<(u64, String)> =
            self.weights.iter().map(|(name, weight)| (*weight, name.clone())).collect();
        ranked.sort_unstable_by(|one, other| other.cmp(one));
        for (weight, name) in ranked.into_iter().take(shown_max) {
            if self.shown.contains_key(&name) {
                continue;
            }
            let of = |name: &String| self.weights.get(name).copied().unwrap_or_default();
            let lightest = self.shown.keys().min_by_key(|name| of(name)).cloned();
            let Some(lightest) = lightest.filter(|name| weight > of(name) * CHALLENGE) else {
                break;
            };
            if let Some(tally) = self.shown.remove(&lightest) {
                self.other.add(tally);
            }
            self.shown.insert(name, Tally::default());
        }
        for weight in self.weights.values_mut() {
            *weight /= 2;
        }
    }
}

fn head(page: &mut String, metric: &Metric) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "# HELP {} {}", metric.name, metric.help);
    let _ = writeln!(page, "# TYPE {} {}", metric.name, metric.kind.name());
}

fn series(page: &mut String, name: &str, tenant: &str, value: u64) {
    let _ = write!(page, "{name}{{tenant=\"");
    for sign in tenant.chars() {
        match sign {
            '\\' | '"' => page.extend(['\\', sign]),
            '\n' => page.push_str("\\n"),
            _ => page.push(sign),
        }
    }
    let _ = writeln!(page, "\"}} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(records: u64) -> Tally {
        Tally { records, ..Tally::default() }
    }

    fn page(tenants: &Tenants) -> String {
        let mut page = String::new();
        tenants.render(&mut page);
        page
    }

    #[test]
    fn only_so_many_are_shown_and_nothing_is_lost() {
        let tenants = Tenants::new(2);
        let names: Vec<String> = (0..10_000).map(|number| format!("t{number}")).collect();
        let now = Instant::now();
        for _ in 0..3 {
            tenants.add_at(names.iter().map(|name| (name.as_str(), records(1))), now);
        }
        let page = page(&tenants);
        assert_eq!(page.lines().filter(|line| !line.starts_with('#')).count(), 9, "{page}");
        assert!(page.contains("lethe_tenant_records_total{tenant=\"t0\"} 3\n"), "{page}");
        assert!(page.contains("{tenant=\"lethe:other\"} 29994\n"), "{page}");
        assert!(tenants.lock().weights.len() <= 2 * WEIGHED_PER_SHOWN);
    }

    #[test]
    fn who_becomes_busy_takes_the_place_of_the_quietest() {
        let tenants = Tenants::new(2);
        let now = Instant::now();
        tenants
            .add_at([("a", records(100)), ("b", records(1)), ("c", records(2))].into_iter(), now);
        tenants.add_at([("c", records(50))].into_iter(), now + CHOOSE_EVERY);
        assert!(page(&tenants).contains("tenant=\"c\"} 0\n"), "{}", page(&tenants));
        tenants.add_at([("c", records(7))].into_iter(), now + CHOOSE_EVERY);
        let page = page(&tenants);
        assert!(
            page.contains("tenant=\"a\"} 100\n") && page.contains("tenant=\"c\"} 7\n"),
            "{page}"
        );
        assert!(!page.contains("tenant=\"b\""), "{page}");
        assert!(page.contains("tenant=\"lethe:other\"} 53\n"), "{page}");
    }

    #[test]
    fn with_none_to_show_nothing_is_written() {
        let tenants = Tenants::new(0);
        tenants.add_at([("a", records(1))].into_iter(), Instant::now());
        assert_eq!(page(&tenants), "");
    }

    #[test]
    fn ids_are_escaped() {
        let tenants = Tenants::new(1);
        tenants.add_at([("a\"b\\c\n", records(1))].into_iter(), Instant::now());
        assert!(page(&tenants).contains(r#"{tenant="a\"b\\c\n"} 1"#), "{}", page(&tenants));
    }
}
