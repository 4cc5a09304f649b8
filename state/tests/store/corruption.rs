//! Damaged files are refused, not read.

use lethe_engine::{Ledger, Rows};
use lethe_state::{Remedy, StateError, Store};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

use crate::support::{END, files, home, identity, memory, open};

/// A closed store with a few thousand rows on disk.
fn full() -> (TempDir, PathBuf) {
    let (home, dir) = home();
    let mut store = open(&dir);
    for n in 0..20_000_u32 {
        let digest = n.wrapping_mul(2_654_435_761);
        store.put(format!("Etenant/{n:08}").as_bytes(), &digest.to_be_bytes());
    }
    store.commit(1).unwrap();
    store.compact().unwrap();
    drop(store);
    (home, dir)
}

/// Opens and reads everything.
fn read(dir: &Path) -> Result<usize, StateError> {
    let mut store = Store::open(dir, &identity(), &memory())?;
    let mut rows = Rows::default();
    store.scan(b"", END, usize::MAX, &mut rows)?;
    Ok(rows.len())
}

fn assert_refused(dir: &Path) {
    let error = read(dir).unwrap_err();
    assert!(matches!(&error, StateError::Corrupt { dir: named, .. } if named == dir), "{error}");
    assert_eq!(error.remedy(), Remedy::Rebuild);
}

fn table(dir: &Path) -> PathBuf {
    files(dir, "sst").into_iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap()
}

#[test]
fn undamaged_it_is_read() {
    let (_home, dir) = full();
    assert_eq!(read(&dir).unwrap(), 20_000);
}

#[test]
fn a_changed_byte_in_a_table_is_refused() {
    let (_home, dir) = full();
    let table = table(&dir);
    let mut bytes = fs::read(&table).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x10;
    fs::write(&table, bytes).unwrap();
    assert_refused(&dir);
}

#[test]
fn a_changed_byte_is_refused_by_a_point_read_too() {
    let (_home, dir) = full();
    let table = table(&dir);
    let mut bytes = fs::read(&table).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x10;
    fs::write(&table, bytes).unwrap();
    let mut store = open(&dir);
    let mut value = Vec::new();
    let mut reads =
        (0..20_000).map(|n| store.get(format!("Etenant/{n:08}").as_bytes(), &mut value));
    let error = reads.find_map(Result::err).unwrap();
    assert!(matches!(error, StateError::Corrupt { .. }), "{error}");
}

#[test]
fn a_table_that_was_cut_is_refused() {
    let (_home, dir) = full();
    let table = table(&dir);
    let bytes = fs::read(&table).unwrap();
    fs::write(&table, &bytes[..bytes.len() / 2]).unwrap();
    assert_refused(&dir);
}

#[test]
fn a_missing_table_is_refused() {
    let (_home, dir) = full();
    fs::remove_file(table(&dir)).unwrap();
    assert_refused(&dir);
}

#[test]
fn a_changed_manifest_is_refused() {
    let (_home, dir) = full();
    let current = fs::read_to_string(dir.join("CURRENT")).unwrap();
    let manifest = dir.join(current.trim());
    let mut bytes = fs::read(&manifest).unwrap();
    bytes[20] ^= 0x10;
    fs::write(&manifest, bytes).unwrap();
    assert_refused(&dir);
}

#[test]
fn a_manifest_or_pointer_that_was_cut_or_lost_is_refused() {
    let cut = |dir: &Path, name: &str, keep: usize| {
        let bytes = fs::read(dir.join(name)).unwrap();
        fs::write(dir.join(name), &bytes[..keep.min(bytes.len())]).unwrap();
    };
    let manifest = |dir: &Path| fs::read_to_string(dir.join("CURRENT")).unwrap().trim().to_owned();
    type Damage<'a> = &'a dyn Fn(&Path);
    let damages: [Damage<'_>; 5] = [
        &|dir| cut(dir, "CURRENT", 0),
        &|dir| cut(dir, "CURRENT", 4),
        &|dir| cut(dir, &manifest(dir), 0),
        &|dir| cut(dir, &manifest(dir), 30),
        &|dir| fs::remove_file(dir.join(manifest(dir))).unwrap(),
    ];
    for damage in damages {
        let (_home, dir) = full();
        damage(&dir);
        assert_refused(&dir);
        Store::destroy(&dir).unwrap();
        assert_eq!(read(&dir).unwrap(), 0);
    }
}

/// Without the pointer RocksDB would take the directory for an empty one.
#[test]
fn a_lost_pointer_is_refused_while_there_are_tables() {
    let (_home, dir) = full();
    fs::remove_file(dir.join("CURRENT")).unwrap();
    assert_refused(&dir);
}

#[test]
fn a_damaged_store_can_be_destroyed_and_made_anew() {
    let (_home, dir) = full();
    fs::write(dir.join("CURRENT"), "nonsense").unwrap();
    assert_refused(&dir);
    Store::destroy(&dir).unwrap();
    assert_eq!(read(&dir).unwrap(), 0);
}
