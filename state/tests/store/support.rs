//! A directory with a store in it, and the few things that every scenario does.

use lethe_engine::{Ledger, Rows};
use lethe_state::{Identity, Memory, Restored, Store};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Large enough for every delta of these tests.
pub(crate) const PART_BYTES: usize = 256 * 1024;

/// A key after all that the tests use.
pub(crate) const END: &[u8] = &[0xff; 8];

pub(crate) type Row = (Vec<u8>, Vec<u8>);

pub(crate) fn identity() -> Identity {
    Identity {
        cluster: "c1".to_owned(),
        topic: "im.messages".to_owned(),
        changelog_id: Some("t1".to_owned()),
        partition: 3,
        partitions: 8,
    }
}

pub(crate) fn memory() -> Memory {
    Memory::new(8 << 20, 8 << 20)
}

pub(crate) fn open(dir: &Path) -> Store {
    Store::open(dir, &identity(), &memory()).unwrap()
}

/// A directory of its own, in which `state` does not exist yet.
pub(crate) fn home() -> (TempDir, PathBuf) {
    let home = TempDir::new().unwrap();
    let dir = home.path().join("state");
    (home, dir)
}

/// Commits one row as a batch, at a changelog offset of ten times its sequence.
pub(crate) fn commit_row(store: &mut Store, key: &[u8], value: &[u8]) {
    store.put(key, value);
    store.commit(changelog_offset(store.sequence() + 1)).unwrap();
}

pub(crate) fn changelog_offset(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap() * 10
}

pub(crate) fn get(store: &mut Store, key: &[u8]) -> Option<Vec<u8>> {
    let mut value = b"from before".to_vec();
    store.get(key, &mut value).unwrap().then_some(value)
}

pub(crate) fn scan(store: &mut Store, from: &[u8], to: &[u8], rows_max: usize) -> Vec<Row> {
    let mut rows = Rows::default();
    rows.push(b"from", b"before");
    store.scan(from, to, rows_max, &mut rows).unwrap();
    rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

pub(crate) fn all(store: &mut Store) -> Vec<Row> {
    scan(store, b"", END, usize::MAX)
}

/// What a store of which the process was killed leaves behind: its files as they are, in another place.
pub(crate) fn crash(dir: &Path, home: &TempDir) -> PathBuf {
    let copy = home.path().join(format!("crashed-{}", fs::read_dir(home.path()).unwrap().count()));
    fs::create_dir(&copy).unwrap();
    for file in fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    copy
}

/// Restores all parts of a delta, of which the last applies it.
pub(crate) fn restore_all(store: &mut Store, parts: &[Vec<u8>], next_changelog_offset: i64) {
    let (last, before) = parts.split_last().unwrap();
    for part in before {
        assert_eq!(store.restore(part, next_changelog_offset).unwrap(), Restored::Incomplete);
    }
    let restored = store.restore(last, next_changelog_offset).unwrap();
    assert!(matches!(restored, Restored::Applied(_)), "{restored:?}");
}

/// The files of a store with an extension.
pub(crate) fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|found| found == extension)).collect()
}
