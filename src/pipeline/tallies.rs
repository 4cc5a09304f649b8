//! What the batch at hand does for each tenant, for the metrics.

use std::borrow::Cow;

use hashbrown::HashMap;
use percent_encoding::percent_decode_str;

use crate::telemetry::tenants::{Tally, Tenants};

/// Names that are kept for the next batch, so that they need not be made again.
const KEPT_MAX: usize = 4_096;

/// What was done for each tenant since the last commit.
#[derive(Debug)]
pub(super) struct Tallies {
    counts: bool,
    tenants: HashMap<String, Tally>,
}

impl Tallies {
    /// Counts only where something is shown of it.
    pub(super) fn new(counts: bool) -> Self {
        Self { counts, tenants: HashMap::new() }
    }

    /// An input record of a tenant, with a value of so many bytes.
    pub(super) fn record(&mut self, tenant: &str, bytes: usize) {
        self.add(tenant, Tally { records: 1, bytes: bytes as u64, tombstones: 0 });
    }

    /// A tombstone with this record key, which begins with the tenant.
    pub(super) fn tombstone(&mut self, key: &str) {
        let encoded = key.split('/').next().unwrap_or_default();
        let tenant = match encoded.contains('%') {
            true => percent_decode_str(encoded).decode_utf8_lossy(),
            false => Cow::Borrowed(encoded),
        };
        self.add(&tenant, Tally { tombstones: 1, ..Tally::default() });
    }

    fn add(&mut self, tenant: &str, more: Tally) {
        if !self.counts {
            return;
        }
        match self.tenants.get_mut(tenant) {
            Some(tally) => tally.add(more),
            None => drop(self.tenants.insert(tenant.to_owned(), more)),
        }
    }

    /// The batch has committed.
    pub(super) fn commit(&mut self, shown: &Tenants) {
        let done = self.tenants.iter().filter(|(_, tally)| **tally != Tally::default());
        shown.add(done.map(|(tenant, tally)| (tenant.as_str(), *tally)));
        self.forget();
    }

    /// Nothing of the batch is left.
    pub(super) fn forget(&mut self) {
        if self.tenants.len() > KEPT_MAX {
            self.tenants.clear();
        }
        for tally in self.tenants.values_mut() {
            *tally = Tally::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(tenants: &Tenants) -> String {
        let mut page = String::new();
        tenants.render(&mut page);
        page
    }

    #[test]
    fn a_tombstone_counts_for_the_tenant_that_its_key_encodes() {
        let shown = Tenants::new(2);
        let mut tallies = Tallies::new(true);
        tallies.record("a/b", 7);
        tallies.tombstone("a%2Fb/c/m");
        tallies.tombstone("plain/user");
        tallies.commit(&shown);
        tallies.commit(&shown);
        let page = page(&shown);
        assert!(page.contains("lethe_tenant_input_bytes_total{tenant=\"a/b\"} 7\n"), "{page}");
        assert!(page.contains("lethe_tenant_tombstones_total{tenant=\"a/b\"} 1\n"), "{page}");
        assert!(page.contains("lethe_tenant_tombstones_total{tenant=\"plain\"} 1\n"), "{page}");
    }

    #[test]
    fn what_was_aborted_is_not_counted() {
        let shown = Tenants::new(1);
        let mut tallies = Tallies::new(true);
        tallies.record("a", 7);
        tallies.forget();
        tallies.commit(&shown);
        assert!(!page(&shown).contains("tenant=\"a\""), "{}", page(&shown));
    }
}
