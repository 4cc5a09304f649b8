//! The store's own rows: their bytes, which are forever, and that nobody else sees them.

use lethe_engine::Ledger;
use rocksdb::DB;

use crate::support::{all, commit_row, get, home, open, scan};

#[test]
fn the_rows_have_these_bytes() {
    let (_home, dir) = home();
    let mut store = open(&dir);
    commit_row(&mut store, b"a", b"1");
    commit_row(&mut store, b"a", b"1");
    drop(store);
    let raw = DB::open_default(&dir).unwrap();
    let row = |tag: u8| raw.get([0, tag]).unwrap().unwrap();
    assert_eq!(row(b'F'), b"lethe-state\0\0\0\x01");
    assert_eq!(row(b'I'), b"\x01\0\0\0\x03\0\0\0\x08\0\0\0\x02c1\0\0\0\x0bim.messages\0\0\0\x02t1");
    assert_eq!(row(b'P'), b"\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x14");
    assert_eq!(raw.iterator(rocksdb::IteratorMode::Start).count(), 4);
}

#[test]
fn reads_never_show_them() {
    let (_home, dir) = home();
    let mut store = open(&dir);
    commit_row(&mut store, b"\x01a", b"1");
    let mine = [(b"\x01a".to_vec(), b"1".to_vec())];
    assert_eq!(all(&mut store), mine);
    assert_eq!(scan(&mut store, &[0], &[0xff], 10), mine);
    assert_eq!(scan(&mut store, &[0, b'F'], &[1], 10), []);
    for key in [b"".as_slice(), &[0], &[0, b'F'], &[0, b'I'], &[0, b'P']] {
        assert_eq!(get(&mut store, key), None);
    }
}

#[test]
#[should_panic(expected = "reserved")]
fn writing_one_is_a_fault() {
    let (_home, dir) = home();
    open(&dir).put(&[0, b'P'], b"");
}

#[test]
#[should_panic(expected = "reserved")]
fn deleting_one_is_a_fault() {
    let (_home, dir) = home();
    open(&dir).delete(&[0, b'P']);
}
