//! The records of a tenant's latest time: a busy tenant has many in a millisecond, and each further one would
//! be looked for in vain.
//!
//! Invariant: what is not told apart here is looked for. What is, is not in the ledger.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;

/// So many ids are told apart; a millisecond with more of them is looked up.
const IDS_MAX: usize = 32;

/// All ids that have a row at one time, as hashes: the latest time of a tenant, once it was seen to begin.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// None: not all of them are here.
    time_ms: Option<i64>,
    ids: Vec<u64>,
}

impl Newest {
    /// The tenant has no row of this time yet, nor of a later one.
    pub(super) fn begin(&mut self, time_ms: i64) {
        self.time_ms = Some(time_ms);
        self.ids.clear();
    }

    /// A row is written.
    pub(super) fn add(&mut self, time_ms: i64, id: &str) {
        if self.time_ms != Some(time_ms) {
            return;
        }
        let id = hash(id);
        if self.ids.contains(&id) {
            return;
        }
        if self.ids.len() == IDS_MAX {
            self.time_ms = None;
            return;
        }
        self.ids.push(id);
    }

    /// Whether there is certainly no row.
    pub(super) fn lacks(&self, time_ms: i64, id: &str) -> bool {
        self.time_ms == Some(time_ms) && !self.ids.contains(&hash(id))
    }
}

fn hash(id: &str) -> u64 {
    FixedState::default().hash_one(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_seen_from_the_beginning_is_known_to_lack() {
        let mut newest = Newest::default();
        assert!(!newest.lacks(7, "a"));
        newest.begin(7);
        assert!(newest.lacks(7, "a") && !newest.lacks(6, "a"));
        newest.add(7, "a");
        newest.add(6, "b");
        assert!(!newest.lacks(7, "a") && newest.lacks(7, "b"));
    }

    #[test]
    fn more_than_are_told_apart_are_all_looked_for() {
        let mut newest = Newest::default();
        newest.begin(7);
        for number in 0..=IDS_MAX {
            newest.add(7, &number.to_string());
        }
        assert!(!newest.lacks(7, "another"));
    }
}
