//! Compactions forget what committed books have passed, and nothing else.

use lethe_engine::Ledger;
use lethe_state::{Rule, Store};
use std::path::Path;

use crate::support::{all, crash, get, home, identity, memory, restore_all};

/// Books are `T<tenant>` with a time; entries are `E<tenant>` with a time of eight bytes at the end.
const RULE: Rule = Rule {
    books_prefix: b"T",
    line: |key, value| Some((key.get(1..)?, i64::from_be_bytes(value.try_into().ok()?))),
    forget: |key, _value, line_of| {
        let Some((tenant, time)) =
            key.strip_prefix(b"E").and_then(|key| key.split_last_chunk::<8>())
        else {
            return false;
        };
        i64::from_be_bytes(*time) <= line_of(tenant)
    },
};

fn open(dir: &Path) -> Store {
    Store::open_with(dir, &identity(), &memory(), RULE).unwrap()
}

fn entry(tenant: &str, time: i64) -> Vec<u8> {
    [b"E", tenant.as_bytes(), &time.to_be_bytes()].concat()
}

fn books(tenant: &str) -> Vec<u8> {
    [b"T", tenant.as_bytes()].concat()
}

fn commit(store: &mut Store) {
    store.commit(1).unwrap();
}

/// Entries of tenants a and b at the times 1 to 4.
fn filled(dir: &Path) -> Store {
    let mut store = open(dir);
    for tenant in ["a", "b"] {
        for time in 1..=4 {
            store.put(&entry(tenant, time), b"live");
        }
    }
    store.put(b"Kkept", b"no entry");
    commit(&mut store);
    store
}

/// The times of a tenant's entries that are left.
fn left(store: &mut Store, tenant: &str) -> Vec<i64> {
    (1..=4).filter(|&time| get(store, &entry(tenant, time)).is_some()).collect()
}

#[test]
fn without_books_nothing_is_forgotten() {
    let (_home, dir) = home();
    let mut store = filled(&dir);
    store.compact().unwrap();
    assert_eq!(left(&mut store, "a"), [1, 2, 3, 4]);
}

#[test]
fn a_tenants_rows_go_up_to_its_line_and_no_others() {
    let (_home, dir) = home();
    let mut store = filled(&dir);
    store.put(&books("a"), &2_i64.to_be_bytes());
    commit(&mut store);
    store.compact().unwrap();
    assert_eq!(left(&mut store, "a"), [3, 4]);
    assert_eq!(left(&mut store, "b"), [1, 2, 3, 4]);
    assert_eq!(get(&mut store, b"Kkept"), Some(b"no entry".to_vec()));
    assert_eq!(get(&mut store, &books("a")), Some(2_i64.to_be_bytes().to_vec()));
}

#[test]
fn a_line_that_is_not_committed_forgets_nothing() {
    let (_home, dir) = home();
    let mut store = filled(&dir);
    store.put(&books("a"), &2_i64.to_be_bytes());
    store.compact().unwrap();
    assert_eq!(left(&mut store, "a"), [1, 2, 3, 4]);
    let _ = store.delta(1, 1, 1, 1000);
    store.compact().unwrap();
    assert_eq!(left(&mut store, "a"), [1, 2, 3, 4]);
    store.abort();
    store.compact().unwrap();
    assert_eq!(left(&mut store, "a"), [1, 2, 3, 4]);
}

#[test]
fn a_line_holds_after_a_restart() {
    let (_home, dir) = home();
    let mut store = filled(&dir);
    store.put(&books("a"), &3_i64.to_be_bytes());
    commit(&mut store);
    drop(store);
    let mut store = open(&dir);
    store.compact().unwrap();
    assert_eq!(left(&mut store, "a"), [4]);
}

#[test]
fn after_a_crash_only_the_lines_that_are_on_disk_hold() {
    let (home, dir) = home();
    let mut store = filled(&dir);
    store.put(&books("a"), &1_i64.to_be_bytes());
    commit(&mut store);
    store.flush().unwrap();
    store.put(&books("a"), &3_i64.to_be_bytes());
    commit(&mut store);
    let mut store = open(&crash(&dir, &home));
    store.compact().unwrap();
    assert_eq!(left(&mut store, "a"), [2, 3, 4]);
}

#[test]
fn a_restored_line_holds() {
    let (home, dir) = home();
    let mut store = filled(&dir);
    let mut writer = filled(&home.path().join("writer"));
    writer.put(&books("b"), &2_i64.to_be_bytes());
    let parts = writer.delta(1, 1, 1, 1000);
    restore_all(&mut store, &parts, 2);
    store.compact().unwrap();
    assert_eq!(left(&mut store, "b"), [3, 4]);
    assert_eq!(left(&mut store, "a"), [1, 2, 3, 4]);
}

#[test]
fn deleted_books_take_their_line_with_them() {
    let (_home, dir) = home();
    let mut store = filled(&dir);
    store.put(&books("a"), &3_i64.to_be_bytes());
    commit(&mut store);
    store.delete(&books("a"));
    commit(&mut store);
    store.compact().unwrap();
    assert_eq!(left(&mut store, "a"), [1, 2, 3, 4]);
}

#[test]
fn a_rule_that_forgets_everything_leaves_the_stores_own_rows() {
    let (_home, dir) = home();
    let greedy = Rule { forget: |_, _, _| true, ..RULE };
    let mut store = Store::open_with(&dir, &identity(), &memory(), greedy).unwrap();
    store.put(b"a", b"1");
    commit(&mut store);
    store.compact().unwrap();
    assert_eq!(all(&mut store), []);
    drop(store);
    assert_eq!(open(&dir).sequence(), 1);
}

#[test]
fn what_is_forgotten_hides_what_was_there_before() {
    let (_home, dir) = home();
    let mut store = filled(&dir);
    store.flush().unwrap();
    store.put(&entry("a", 1), b"newer");
    store.put(&books("a"), &1_i64.to_be_bytes());
    commit(&mut store);
    store.flush().unwrap();
    store.compact().unwrap();
    assert_eq!(left(&mut store, "a"), [2, 3, 4]);
}
