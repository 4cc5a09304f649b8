//! Any interleaving of changes, reads, commits, aborts and reopening does what a sorted map does.

use lethe_engine::Ledger;
use lethe_state::Store;
use proptest::prelude::*;
use std::collections::BTreeMap;

use crate::support::{END, all, changelog_offset, get, home, open, scan};

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// More keys at once than are inserted into the overlay's order one by one.
    PutMany(u8, Vec<u8>),
    Get(Vec<u8>),
    Scan(Vec<u8>, Vec<u8>, usize),
    Commit,
    Abort,
    Flush,
    Compact,
    Reopen,
}

/// Few keys, so that steps meet; lengths differ, so that one is the beginning of another.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1_u8..5, 1..5)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..20)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (key(), value()).prop_map(|(key, value)| Step::Put(key, value)),
        4 => key().prop_map(Step::Delete),
        1 => (1_u8..5, value()).prop_map(|(first, value)| Step::PutMany(first, value)),
        4 => key().prop_map(Step::Get),
        6 => (prop::collection::vec(0_u8..5, 0..4), key(), 0_usize..40)
            .prop_map(|(from, to, rows_max)| Step::Scan(from, to, rows_max)),
        2 => Just(Step::Commit),
        1 => Just(Step::Abort),
        1 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
struct Model {
    committed: Map,
    seen: Map,
    sequence: u64,
}

impl Model {
    fn take(&mut self, step: Step, store: &mut Store) {
        match step {
            Step::Put(key, value) => self.put(store, key, value),
            Step::PutMany(first, value) => {
                for n in 0..50_u8 {
                    self.put(store, vec![first, n.wrapping_mul(37), n], value.clone());
                }
            }
            Step::Delete(key) => {
                store.delete(&key);
                self.seen.remove(&key);
            }
            Step::Get(key) => assert_eq!(get(store, &key), self.seen.get(&key).cloned()),
            Step::Scan(from, to, rows_max) => {
                let rows = self.seen.iter().filter(|(key, _)| **key >= from && **key < to);
                let rows: Vec<_> =
                    rows.take(rows_max).map(|(k, v)| (k.clone(), v.clone())).collect();
                assert_eq!(scan(store, &from, &to, rows_max), rows);
            }
            Step::Commit => {
                self.sequence += 1;
                store.commit(changelog_offset(self.sequence)).unwrap();
                self.committed.clone_from(&self.seen);
            }
            Step::Abort => {
                store.abort();
                self.seen.clone_from(&self.committed);
            }
            Step::Flush => store.flush().unwrap(),
            Step::Compact => store.compact().unwrap(),
            Step::Reopen => self.seen.clone_from(&self.committed),
        }
    }

    fn put(&mut self, store: &mut Store, key: Vec<u8>, value: Vec<u8>) {
        store.put(&key, &value);
        self.seen.insert(key, value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_store_is_a_sorted_map(steps in prop::collection::vec(step(), 1..120)) {
        let (_home, dir) = home();
        let mut store = open(&dir);
        let mut model = Model::default();
        for step in steps {
            if matches!(step, Step::Reopen) {
                drop(store);
                store = open(&dir);
            }
            model.take(step, &mut store);
            assert_eq!(store.sequence(), model.sequence);
            assert_eq!(store.changelog_offset(), changelog_offset(model.sequence));
        }
        let rows: Vec<_> = model.seen.into_iter().collect();
        assert_eq!(all(&mut store), rows);
        assert_eq!(scan(&mut store, &[], END, 5000), rows);
    }
}
