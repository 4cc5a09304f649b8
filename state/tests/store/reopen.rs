//! What is there after a stop, and after a crash.

use lethe_engine::Ledger;

use crate::support::{all, changelog_offset, commit_row, crash, get, home, open};

#[test]
fn a_new_store_is_empty_and_at_the_beginning() {
    let (_home, dir) = home();
    let mut store = open(&dir);
    assert_eq!((store.sequence(), store.changelog_offset()), (0, 0));
    assert!(!store.is_dirty());
    assert_eq!(all(&mut store), []);
}

#[test]
fn a_stop_keeps_what_is_committed() {
    let (_home, dir) = home();
    let mut store = open(&dir);
    commit_row(&mut store, b"a", b"1");
    commit_row(&mut store, b"b", b"2");
    store.put(b"c", b"never committed");
    drop(store);

    let mut store = open(&dir);
    assert_eq!((store.sequence(), store.changelog_offset()), (2, 20));
    assert_eq!(all(&mut store), [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);
}

#[test]
fn a_crash_leaves_what_was_flushed_and_says_exactly_how_far_that_is() {
    let (home, dir) = home();
    let mut store = open(&dir);
    commit_row(&mut store, b"a", b"1");
    commit_row(&mut store, b"b", b"2");
    store.flush().unwrap();
    commit_row(&mut store, b"c", b"3");
    commit_row(&mut store, b"a", b"4");
    store.put(b"d", b"never committed");
    let crashed = crash(&dir, &home);

    let mut store = open(&crashed);
    assert_eq!((store.sequence(), store.changelog_offset()), (2, changelog_offset(2)));
    assert_eq!(all(&mut store), [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);
}

#[test]
fn a_crash_before_the_first_flush_leaves_a_new_store() {
    let (home, dir) = home();
    let mut store = open(&dir);
    commit_row(&mut store, b"a", b"1");
    let crashed = crash(&dir, &home);

    let mut store = open(&crashed);
    assert_eq!((store.sequence(), store.changelog_offset()), (0, 0));
    assert_eq!(all(&mut store), []);
}

#[test]
fn a_delete_lasts() {
    let (_home, dir) = home();
    let mut store = open(&dir);
    commit_row(&mut store, b"a", b"1");
    store.flush().unwrap();
    store.delete(b"a");
    store.commit(20).unwrap();
    drop(store);
    assert_eq!(get(&mut open(&dir), b"a"), None);
}

#[test]
fn an_abort_drops_the_batch_and_keeps_the_sequence() {
    let (_home, dir) = home();
    let mut store = open(&dir);
    commit_row(&mut store, b"a", b"1");
    store.put(b"a", b"2");
    store.delete(b"b");
    assert!(store.is_dirty());
    store.abort();
    assert!(!store.is_dirty());
    assert_eq!(store.sequence(), 1);
    assert_eq!(get(&mut store, b"a"), Some(b"1".to_vec()));
}

#[test]
fn a_batch_without_changes_moves_on_too() {
    let (_home, dir) = home();
    let mut store = open(&dir);
    assert_eq!(store.delta(1, 2, 3, 1024).len(), 1);
    store.commit(7).unwrap();
    drop(store);
    let store = open(&dir);
    assert_eq!((store.sequence(), store.changelog_offset()), (1, 7));
}

#[test]
fn a_destroyed_store_is_gone_and_destroying_nothing_is_no_error() {
    let (_home, dir) = home();
    let mut store = open(&dir);
    commit_row(&mut store, b"a", b"1");
    drop(store);
    lethe_state::Store::destroy(&dir).unwrap();
    assert!(!dir.exists());
    lethe_state::Store::destroy(&dir).unwrap();
    assert_eq!(open(&dir).sequence(), 0);
}
