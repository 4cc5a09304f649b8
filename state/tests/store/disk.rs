//! A disk that takes nothing more is noticed, also where nobody writes, and loses nothing that it had.

use lethe_engine::Ledger;
use lethe_state::{Remedy, StateError, Store};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{END, changelog_offset, commit_row, get, home, open, scan};

/// The directory of the process that has little room.
const ROOM: &str = "LETHE_STATE_TEST_ROOM";
/// Its exit code where it was refused as it should be: none of the test harness's.
const REFUSED: i32 = 40;
/// Files may have so many bytes there: enough to open a store, too little for its rows.
const FILE_BYTES_MAX: &str = "65536";

/// A file system that fails in the background: the directory is gone, so that no file can be made.
#[test]
fn a_flush_that_fails_in_the_background_is_noticed_without_a_write() {
    let (home, dir) = home();
    let mut store = open(&dir);
    commit_row(&mut store, b"Ea", b"1");
    store.flush().unwrap();
    store.check_disk().unwrap();
    commit_row(&mut store, b"Eb", b"2");
    let away = home.path().join("away");
    fs::rename(&dir, &away).unwrap();
    let noticed = (0..).find_map(|_| {
        // It is begun and fails on a thread of RocksDB's.
        drop(store.flush_soon());
        std::thread::yield_now();
        store.check_disk().err()
    });
    assert!(noticed.unwrap().to_string().contains(&dir.display().to_string()));
    drop(store);
    fs::rename(&away, &dir).unwrap();
    let mut store = open(&dir);
    assert_eq!(store.sequence(), 1, "what was on disk is there");
    assert_eq!(get(&mut store, b"Ea"), Some(b"1".to_vec()));
}

/// A limit on the size of files stands in for a full disk: it needs no rights. It holds for a whole process, so
/// that the test starts itself again, with [`ROOM`] to say so.
#[test]
fn a_full_disk_is_named_and_keeps_what_it_had() {
    if let Some(dir) = std::env::var_os(ROOM) {
        let error = fill(Path::new(&dir));
        let full =
            matches!(&error, StateError::Full { dir: named, .. } if named == Path::new(&dir));
        assert!(full && error.remedy() == Remedy::Stop, "{error}");
        std::process::exit(REFUSED);
    }
    let (_home, dir) = home();
    let status = Command::new("env")
        .args(["--ignore-signal=XFSZ", "prlimit", &format!("--fsize={FILE_BYTES_MAX}")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "disk::a_full_disk_is_named_and_keeps_what_it_had", "--nocapture"])
        .env(ROOM, &dir)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(REFUSED));
    let mut store = open(&dir);
    let sequence = store.sequence();
    assert!(sequence > 0, "some of it was on disk");
    let rows = scan(&mut store, b"", END, usize::MAX);
    assert_eq!(rows.len(), usize::try_from(sequence).unwrap(), "a prefix, and all of it");
    commit_row(&mut store, b"Ez", b"there is room again");
    store.flush().unwrap();
}

/// Commits rows until the disk has no room.
fn fill(dir: &Path) -> StateError {
    let mut store = open(dir);
    let mut noise = 1_u64;
    loop {
        let sequence = store.sequence() + 1;
        let mut value = Vec::new();
        while value.len() < 8192 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            value.extend_from_slice(&noise.to_be_bytes());
        }
        store.put(format!("E{sequence:08}").as_bytes(), &value);
        if let Err(error) = step(&mut store, sequence) {
            return error;
        }
    }
}

fn step(store: &mut Store, sequence: u64) -> Result<(), StateError> {
    store.commit(changelog_offset(sequence))?;
    // The first files are small; then one does not fit.
    if sequence == 2 || sequence.is_multiple_of(16) { store.flush() } else { store.check_disk() }
}
