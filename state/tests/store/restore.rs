//! Reading the changelog: interrupted deltas, gaps, what is known.

use lethe_engine::Ledger;
use lethe_state::{Remedy, Restored, StateError, Store};
use std::path::Path;

use crate::support::{PART_BYTES, all, commit_row, get, home, open, restore_all};

/// A delta of several parts that follows on `before` (each its delta's one row).
fn parts(dir: &Path, before: u64, value: &[u8]) -> Vec<Vec<u8>> {
    let mut writer = open(dir);
    for n in 0..before {
        writer.commit(i64::try_from(n).unwrap()).unwrap();
    }
    for n in 0..9_u8 {
        writer.put(&[b'E', n], value);
    }
    let parts = writer.delta(11, 22, 33, 60);
    assert!(parts.len() >= 3, "{}", parts.len());
    drop(writer);
    Store::destroy(dir).unwrap();
    parts
}

#[test]
fn a_delta_is_applied_with_its_last_part() {
    let (home, dir) = home();
    let parts = parts(&home.path().join("writer"), 0, b"v");
    let mut store = open(&dir);
    let (last, before) = parts.split_last().unwrap();
    for part in before {
        assert_eq!(store.restore(part, 50).unwrap(), Restored::Incomplete);
        assert_eq!((store.sequence(), store.changelog_offset()), (0, 0));
        assert_eq!(all(&mut store), []);
    }
    let Restored::Applied(header) = store.restore(last, 99).unwrap() else {
        panic!("the last part applies the delta");
    };
    assert_eq!((header.sequence, header.input_offset), (1, 11));
    assert_eq!((header.control_offset, header.decided_at_ms), (22, 33));
    assert_eq!((store.sequence(), store.changelog_offset()), (1, 99));
    assert_eq!(all(&mut store).len(), 9);
}

#[test]
fn an_interrupted_delta_is_dropped_when_its_sequence_begins_anew() {
    let (home, dir) = home();
    let interrupted = parts(&home.path().join("writer"), 0, b"old");
    let whole = parts(&home.path().join("writer"), 0, b"new");
    for length in 1..interrupted.len() {
        Store::destroy(&dir).unwrap();
        let mut store = open(&dir);
        for part in &interrupted[..length] {
            assert_eq!(store.restore(part, 1).unwrap(), Restored::Incomplete);
        }
        restore_all(&mut store, &whole, 2);
        assert!(all(&mut store).iter().all(|(_, value)| value == b"new"));
    }
}

#[test]
fn an_interrupted_delta_at_the_end_is_dropped_by_the_next_commit() {
    let (home, dir) = home();
    let interrupted = parts(&home.path().join("writer"), 0, b"old");
    let mut store = open(&dir);
    assert_eq!(store.restore(&interrupted[0], 1).unwrap(), Restored::Incomplete);
    store.put(b"a", b"mine");
    store.commit(5).unwrap();
    assert_eq!(all(&mut store), [(b"a".to_vec(), b"mine".to_vec())]);
    assert_eq!(store.restore(&interrupted[1], 6).unwrap(), Restored::Known);
}

#[test]
fn what_is_known_is_passed_over() {
    let (home, dir) = home();
    let first = parts(&home.path().join("writer"), 0, b"first");
    let mut store = open(&dir);
    restore_all(&mut store, &first, 10);
    store.put(&[b'E', 0], b"second");
    store.commit(20).unwrap();
    for part in &first {
        assert_eq!(store.restore(part, 15).unwrap(), Restored::Known);
    }
    assert_eq!((store.sequence(), store.changelog_offset()), (2, 20));
    assert_eq!(get(&mut store, &[b'E', 0]), Some(b"second".to_vec()));
    assert_eq!(store.restore(&first[0], 30).unwrap(), Restored::Known);
    assert_eq!(store.changelog_offset(), 30, "there is no need to read it again");
}

#[test]
fn a_gap_is_an_error_that_names_both_ends() {
    let (home, dir) = home();
    let third = parts(&home.path().join("writer"), 2, b"third");
    let mut store = open(&dir);
    commit_row(&mut store, b"Efirst", b"x");
    let error = store.restore(&third[0], 1).unwrap_err();
    assert!(matches!(error, StateError::Gap { applied: 1, found: 3, .. }), "{error}");
    assert_eq!(error.remedy(), Remedy::Rebuild);
}

#[test]
fn a_missing_part_is_an_error() {
    let (home, dir) = home();
    let parts = parts(&home.path().join("writer"), 0, b"v");
    let mut store = open(&dir);
    let error = store.restore(&parts[1], 1).unwrap_err();
    assert!(matches!(error, StateError::PartMissing { expected: 1, found: 2, .. }), "{error}");

    assert_eq!(store.restore(&parts[0], 1).unwrap(), Restored::Incomplete);
    let error = store.restore(&parts[2], 1).unwrap_err();
    assert!(matches!(error, StateError::PartMissing { expected: 2, found: 3, .. }), "{error}");
    assert_eq!(all(&mut store), []);
    restore_all(&mut store, &parts, 1);
}

#[test]
fn a_part_of_another_delta_with_the_same_sequence_is_not_taken() {
    let (home, dir) = home();
    let mine = parts(&home.path().join("writer"), 0, b"v");
    let mut writer = open(&home.path().join("writer"));
    for n in 0..9_u8 {
        writer.put(&[b'E', n], b"v");
    }
    let other = writer.delta(11, 22, 34, 60);
    let mut store = open(&dir);
    assert_eq!(store.restore(&mine[0], 1).unwrap(), Restored::Incomplete);
    let error = store.restore(&other[1], 1).unwrap_err();
    assert!(matches!(error, StateError::PartMissing { .. }), "{error}");
}

#[test]
fn a_record_that_does_not_decode_changes_nothing() {
    let (home, dir) = home();
    let parts = parts(&home.path().join("writer"), 0, b"secret-id");
    let mut store = open(&dir);
    let mut broken = parts[0].clone();
    broken[50] ^= 1;
    let error = store.restore(&broken, 1).unwrap_err();
    assert_eq!(error.remedy(), Remedy::Stop);
    assert!(error.to_string().contains("checksum"), "{error}");
    assert!(!format!("{error:?}").contains("secret-id"));
    restore_all(&mut store, &parts, 1);
}

#[test]
fn a_delta_of_no_rows_is_applied() {
    let (home, dir) = home();
    let mut writer = open(&home.path().join("writer"));
    let parts = writer.delta(1, 2, 3, PART_BYTES);
    let mut store = open(&dir);
    restore_all(&mut store, &parts, 4);
    assert_eq!((store.sequence(), store.changelog_offset()), (1, 4));
}
