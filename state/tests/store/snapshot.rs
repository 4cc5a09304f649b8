//! Snapshots on the changelog: written in slices while deltas go on, and taken into an empty store.

use lethe_engine::Ledger;
use lethe_state::{LineOf, Memory, Remedy, Restored, Rule, StateError, Store};
use std::fs;
use std::path::Path;

use crate::support::{PART_BYTES, all, crash, get, home, identity, open};

/// Small enough for several parts and slices.
const SMALL_PART_BYTES: usize = 100;
const SMALL_SLICE_BYTES: usize = 150;

/// A changelog as a broker would keep it: offset by offset.
#[derive(Default)]
struct Log(Vec<Vec<u8>>);

impl Log {
    fn next(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap()
    }

    /// Commits what the store has changed, behind these records of a snapshot.
    fn commit(&mut self, store: &mut Store, snapshot: Vec<Vec<u8>>) {
        self.0.extend(snapshot);
        self.0.extend(store.delta(self.next(), 0, 0, SMALL_PART_BYTES));
        store.commit(self.next()).unwrap();
    }

    /// Restores a store from an offset on, as a reader does. Returns how many snapshots were taken in.
    fn restore(&self, store: &mut Store, from: i64) -> Result<usize, StateError> {
        let (mut offset, mut taken_in) = (from, 0);
        while let Some(record) = self.0.get(usize::try_from(offset).unwrap()) {
            offset += 1;
            match store.restore(record, offset)? {
                Restored::Rewind(again_from) => {
                    offset = again_from;
                    taken_in += 1;
                }
                Restored::TakenIn => taken_in += 1,
                Restored::Applied(_)
                | Restored::Incomplete
                | Restored::Known
                | Restored::PassedOver => {}
            }
        }
        store.check_whole().map(|()| taken_in)
    }
}

/// A store that can keep so many bytes of deltas until a snapshot is in.
fn open_with_room(dir: &Path, room: usize) -> Store {
    Store::open(dir, &identity(), &Memory::new(8 << 20, 2 * room)).unwrap()
}

/// A store with some rows, each of a delta of its own, and its changelog.
fn filled(store: &mut Store, rows: u32) -> Log {
    let mut log = Log::default();
    for n in 0..rows {
        store.put(format!("Erow-{n:04}").as_bytes(), format!("value {n}").as_bytes());
        log.commit(store, Vec::new());
    }
    log
}

/// Writes a snapshot slice by slice, with a delta after each that changes, adds and deletes rows on both sides
/// of where the snapshot has come to. Returns the offset of its first record.
fn write_snapshot(store: &mut Store, log: &mut Log) -> i64 {
    let start = log.next();
    let mut cursor = Some(store.begin_snapshot());
    let mut turn = 0;
    while let Some(at) = cursor {
        let slice = store.snapshot_slice(&at, SMALL_PART_BYTES, SMALL_SLICE_BYTES).unwrap();
        cursor = slice.next;
        turn += 1;
        store.put(format!("Erow-{turn:04}").as_bytes(), b"changed early");
        store.put(format!("Erow-{:04}", 90 - turn).as_bytes(), b"changed late");
        store.put(format!("Erow-new-{turn}").as_bytes(), b"new");
        store.delete(format!("Erow-{:04}", 30 + turn).as_bytes());
        store.delete(format!("Erow-{:04}", 60 - turn).as_bytes());
        log.commit(store, slice.records);
    }
    assert!(turn > 4, "the snapshot took {turn} slices");
    start
}

#[test]
fn a_snapshot_and_the_deltas_behind_its_start_are_the_ledger() {
    let (home, dir) = home();
    let mut store = open(&dir);
    let mut log = filled(&mut store, 100);
    let start = write_snapshot(&mut store, &mut log);
    store.put(b"Eafter", b"x");
    log.commit(&mut store, Vec::new());

    let mut restored = open(&home.path().join("restored"));
    assert_eq!(log.restore(&mut restored, start).unwrap(), 1);
    assert_eq!(all(&mut restored), all(&mut store));
    assert_eq!(restored.sequence(), store.sequence());
    assert_eq!(restored.changelog_offset(), store.changelog_offset());
    restored.flush().unwrap();
    drop(restored);
    let mut again = open(&home.path().join("restored"));
    assert_eq!(all(&mut again), all(&mut store));
    assert_eq!(
        log.restore(&mut again, start).unwrap(),
        0,
        "a store that is not empty passes over it"
    );
}

#[test]
fn a_snapshot_of_an_empty_ledger_is_whole() {
    let (home, dir) = home();
    let mut store = open(&dir);
    let mut log = Log::default();
    store.put(b"Erow", b"x");
    log.commit(&mut store, Vec::new());
    store.delete(b"Erow");
    log.commit(&mut store, Vec::new());
    let start = log.next();
    let slice =
        store.snapshot_slice(&store.begin_snapshot(), SMALL_PART_BYTES, SMALL_SLICE_BYTES).unwrap();
    assert_eq!(slice.next, None);
    let end = slice.records.last().cloned();
    store.put(b"Eafter", b"y");
    log.commit(&mut store, slice.records);

    let mut restored = open(&home.path().join("restored"));
    assert_eq!(log.restore(&mut restored, start).unwrap(), 1);
    assert_eq!(all(&mut restored), all(&mut store));
    assert_eq!(restored.sequence(), store.sequence());
    // Some were written with their end alone, which said that there was no part before it.
    let mut bytes = end.unwrap();
    bytes.get_mut(9..13).unwrap().fill(0);
    let body = bytes.len() - 4;
    let checksum = crc32c::crc32c(bytes.get(..body).unwrap());
    bytes.get_mut(body..).unwrap().copy_from_slice(&checksum.to_be_bytes());
    let mut alone = Log(vec![bytes, log.0.last().cloned().unwrap()]);
    alone.0.splice(0..0, vec![Vec::new(); usize::try_from(start).unwrap()]);
    let mut restored = open(&home.path().join("alone"));
    assert_eq!(alone.restore(&mut restored, start).unwrap(), 1);
    assert_eq!(all(&mut restored), all(&mut store));
}

/// The rows before the first that is still needed may be more than a slice passes over.
#[test]
fn a_snapshot_begins_before_the_deltas_that_belong_to_it() {
    let (home, dir) = home();
    let forget = |key: &[u8], _: &[u8], _: LineOf<'_>| key < b"Erow-100500".as_slice();
    let rule = Rule { forget, ..Rule::default() };
    let memory = Memory::new(8 << 20, 8 << 20);
    let mut store = Store::open_with(&dir, &identity(), &memory, rule).unwrap();
    for n in 0..101_000 {
        store.put(format!("Erow-{n:06}").as_bytes(), b"");
    }
    let mut log = Log::default();
    log.commit(&mut store, Vec::new());
    let (start, mut cursor, mut turn) = (log.next(), Some(store.begin_snapshot()), 0);
    while let Some(at) = cursor {
        let slice = store.snapshot_slice(&at, PART_BYTES, PART_BYTES).unwrap();
        cursor = slice.next;
        turn += 1;
        store.put(format!("Ezz-{turn}").as_bytes(), b"meanwhile");
        log.commit(&mut store, slice.records);
    }
    assert!(turn > 1, "one slice was enough");
    let dir = home.path().join("restored");
    let mut restored = Store::open_with(&dir, &identity(), &memory, rule).unwrap();
    assert_eq!(log.restore(&mut restored, start).unwrap(), 1);
    assert_eq!(all(&mut restored).len(), 500 + turn);
    assert_eq!(restored.sequence(), store.sequence());
}

#[test]
fn deltas_before_a_snapshot_are_not_needed_and_do_no_harm() {
    let (home, dir) = home();
    let mut store = open(&dir);
    let mut log = filled(&mut store, 100);
    let start = write_snapshot(&mut store, &mut log);
    for from in [0, start - 20, start - 1] {
        let mut restored = open(&home.path().join(format!("from-{from}")));
        log.restore(&mut restored, from).unwrap();
        assert_eq!(all(&mut restored), all(&mut store), "from {from}");
    }
}

#[test]
fn records_that_come_twice_do_no_harm() {
    let (home, dir) = home();
    let mut store = open(&dir);
    let mut log = filled(&mut store, 100);
    let start = write_snapshot(&mut store, &mut log);
    let mut restored = open(&home.path().join("restored"));
    let (mut offset, mut taken_in) = (start, 0);
    while let Some(record) = log.0.get(usize::try_from(offset).unwrap()) {
        offset += 1;
        let once = restored.restore(record, offset).unwrap();
        if once == Restored::TakenIn {
            taken_in += 1;
        } else if once == Restored::PassedOver {
            restored.restore(record, offset).unwrap();
        }
    }
    restored.check_whole().unwrap();
    assert_eq!(taken_in, 1);
    assert_eq!(all(&mut restored), all(&mut store));
}

#[test]
fn deltas_that_find_no_room_are_read_again() {
    let (home, dir) = home();
    let mut store = open(&dir);
    let mut log = filled(&mut store, 100);
    let start = write_snapshot(&mut store, &mut log);
    for room in [0, 500, 1_000] {
        let mut restored = open_with_room(&home.path().join(format!("room-{room}")), room);
        let (mut offset, mut again_from) = (start, None);
        while let Some(record) = log.0.get(usize::try_from(offset).unwrap()) {
            offset += 1;
            if let Restored::Rewind(from) = restored.restore(record, offset).unwrap() {
                assert_eq!(again_from.replace(from), None);
                offset = from;
            }
        }
        restored.check_whole().unwrap();
        let again_from = again_from.unwrap();
        assert!(again_from > start, "room {room}: from {again_from}, the snapshot from {start}");
        assert_eq!(all(&mut restored), all(&mut store), "room {room}");
        assert_eq!(restored.changelog_offset(), store.changelog_offset(), "room {room}");
    }
}

#[test]
fn a_slice_that_was_not_committed_is_written_again() {
    let (home, dir) = home();
    let mut store = open(&dir);
    let mut log = filled(&mut store, 100);
    let cursor = store.begin_snapshot();
    let slice = store.snapshot_slice(&cursor, SMALL_PART_BYTES, SMALL_SLICE_BYTES).unwrap();
    let again = store.snapshot_slice(&cursor, SMALL_PART_BYTES, SMALL_SLICE_BYTES).unwrap();
    assert_eq!(slice.records, again.records);
    let start = write_snapshot(&mut store, &mut log);
    let mut restored = open(&home.path().join("restored"));
    log.restore(&mut restored, start).unwrap();
    assert_eq!(all(&mut restored), all(&mut store));
}

#[test]
fn an_interrupted_snapshot_is_nothing() {
    let (home, dir) = home();
    let mut store = open(&dir);
    let mut log = filled(&mut store, 100);
    let broken_from = log.next();
    let cursor = store.begin_snapshot();
    let slice = store.snapshot_slice(&cursor, SMALL_PART_BYTES, SMALL_SLICE_BYTES).unwrap();
    assert!(slice.records.len() > 1);
    log.commit(&mut store, slice.records);
    let mut without = open(&home.path().join("without"));
    let error = log.restore(&mut without, broken_from).unwrap_err();
    assert!(matches!(error, StateError::NoSnapshot { .. }), "{error}");
    assert_eq!(error.remedy(), Remedy::Stop);
    let mut whole = open(&home.path().join("whole"));
    log.restore(&mut whole, 0).unwrap();
    assert_eq!(all(&mut whole), all(&mut store));
    write_snapshot(&mut store, &mut log);
    let mut behind = open(&home.path().join("behind"));
    assert_eq!(log.restore(&mut behind, broken_from).unwrap(), 1);
    assert_eq!(all(&mut behind), all(&mut store));
}

#[test]
fn a_changelog_that_begins_too_late_is_said_to() {
    let (home, dir) = home();
    let mut store = open(&dir);
    let log = filled(&mut store, 5);
    let error = log.restore(&mut open(&home.path().join("empty")), 2).unwrap_err();
    assert!(matches!(error, StateError::NoSnapshot { found: 3, .. }), "{error}");
}

#[test]
fn a_crash_within_a_restore_begins_it_anew() {
    let (home, dir) = home();
    let mut store = open(&dir);
    let mut log = filled(&mut store, 100);
    let start = write_snapshot(&mut store, &mut log);
    let target = home.path().join("restored");
    let mut restored = open_with_room(&target, 0);
    let (mut offset, mut after_rewind) = (start, false);
    loop {
        let record = &log.0[usize::try_from(offset).unwrap()];
        offset += 1;
        match restored.restore(record, offset).unwrap() {
            Restored::Rewind(to) => {
                offset = to;
                after_rewind = true;
            }
            Restored::Applied(_) if after_rewind => break,
            Restored::Applied(_)
            | Restored::Incomplete
            | Restored::Known
            | Restored::PassedOver
            | Restored::TakenIn => {}
        }
    }
    restored.flush().unwrap();
    let crashed = crash(&target, &home);
    let error = Store::open(&crashed, &crate::support::identity(), &crate::support::memory());
    let error = error.unwrap_err();
    assert!(matches!(error, StateError::Interrupted { .. }), "{error}");
    assert_eq!(error.remedy(), Remedy::Rebuild);
    Store::destroy(&crashed).unwrap();
    let mut anew = open(&crashed);
    log.restore(&mut anew, start).unwrap();
    assert_eq!(all(&mut anew), all(&mut store));
}

#[test]
fn nothing_is_left_beside_a_store() {
    let (home, dir) = home();
    let mut store = open(&dir);
    let mut log = filled(&mut store, 100);
    let start = write_snapshot(&mut store, &mut log);
    let mut restored = open(&home.path().join("restored"));
    log.restore(&mut restored, start).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["restored", "state"]);
}

#[test]
fn what_is_on_disk_is_known_without_a_wait() {
    let (_home, dir) = home();
    let mut store = open(&dir);
    let log = filled(&mut store, 5);
    assert_eq!(store.flushed_offset().unwrap(), 0);
    store.flush().unwrap();
    assert_eq!(store.flushed_offset().unwrap(), log.next());
    store.put(b"Emore", b"x");
    store.commit(log.next() + 1).unwrap();
    assert_eq!(store.flushed_offset().unwrap(), log.next());
    store.flush_soon().unwrap();
    store.flush().unwrap();
    assert_eq!(store.flushed_offset().unwrap(), log.next() + 1);
    assert!(store.bytes() > 0);
    assert_eq!(get(&mut store, b"Emore"), Some(b"x".to_vec()));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Persisted bytes are forever.
#[test]
fn a_snapshot_has_these_bytes() {
    let (_home, dir) = home();
    let mut store = open(&dir);
    store.put(b"Ea", b"1");
    store.put(b"Eab", b"");
    store.commit(1).unwrap();
    let slice = store.snapshot_slice(&store.begin_snapshot(), PART_BYTES, PART_BYTES).unwrap();
    assert_eq!(slice.next, None);
    let part = concat!(
        "02",               // format of a part
        "0000000000000001", // sequence
        "00000001",         // part
        "00000002",         // rows
        "000202",
        "4561",
        "31", // Ea = 1
        "020101",
        "62",
        "", // Eab =
    );
    let end = concat!(
        "03",               // format
        "0000000000000001", // sequence
        "00000001",         // parts
        "0000000000000001", // closed at
    );
    let expected = [format!("{part}26fc4aa4"), format!("{end}efc38b88")];
    assert_eq!(slice.records.iter().map(|record| hex(record)).collect::<Vec<_>>(), expected);
}

/// With `LETHE_MEASURE` set, on 3 million rows, it says how fast.
#[test]
fn a_large_snapshot_is_taken_in() {
    let rows: u32 = if std::env::var_os("LETHE_MEASURE").is_some() { 3_000_000 } else { 20_000 };
    let (home, dir) = home();
    let mut store = open(&dir);
    let mut key = Vec::new();
    for n in 0..rows {
        key.clear();
        key.extend_from_slice(b"E\x08tenant-1");
        key.extend_from_slice(&(1_700_000_000_000_u64 + u64::from(n) * 7).to_be_bytes()[2..]);
        key.extend_from_slice(format!("conversation-{:06}/message-{n:010}", n % 9973).as_bytes());
        store.put(&key, b"\x01\x00\x05user-12345\x02");
        if n % 50_000 == 49_999 {
            store.commit(i64::from(n)).unwrap();
        }
    }
    store.put(b"Elast", b"x");
    store.commit(i64::from(rows)).unwrap();
    let (mut records, mut cursor) = (Vec::new(), Some(store.begin_snapshot()));
    let (started, mut longest) = (std::time::Instant::now(), std::time::Duration::ZERO);
    while let Some(at) = cursor {
        let since = std::time::Instant::now();
        let slice = store.snapshot_slice(&at, PART_BYTES, 4 << 20).unwrap();
        longest = longest.max(since.elapsed());
        records.extend(slice.records);
        cursor = slice.next;
    }
    let written = started.elapsed();
    let bytes: usize = records.iter().map(Vec::len).sum();
    let mut restored = open(&home.path().join("restored"));
    let started = std::time::Instant::now();
    for (record, next) in records.iter().zip(1..) {
        restored.restore(record, next).unwrap();
    }
    let took = started.elapsed();
    assert_eq!(restored.sequence(), store.sequence());
    restored.check_whole().unwrap();
    assert_eq!(get(&mut restored, &key), Some(b"\x01\x00\x05user-12345\x02".to_vec()));
    let rate = f64::from(rows) / took.as_secs_f64();
    eprintln!(
        "{rows} rows, {bytes} bytes: written in {written:?} (longest slice {longest:?}), taken in at {rate:.0} rows/s"
    );
}

/// A ledger that was put together elsewhere begins its changelog with a snapshot under a number of its own.
#[test]
fn a_changelog_can_begin_with_a_snapshot_of_any_number() {
    let (_home, dir) = home();
    let mut made = open(&dir.join("made"));
    for n in 0..100 {
        made.put(format!("Erow-{n:04}").as_bytes(), b"value");
    }
    made.commit(0).unwrap();
    made.number(1_000).unwrap();
    let mut log = Log::default();
    let slice = made.snapshot_slice(&made.begin_snapshot(), SMALL_PART_BYTES, usize::MAX).unwrap();
    assert!(slice.next.is_none() && slice.records.len() > 2);
    log.commit(&mut made, slice.records);
    let mut restored = open(&dir.join("restored"));
    assert_eq!(log.restore(&mut restored, 0).unwrap(), 1);
    assert_eq!(restored.sequence(), 1_001);
    assert_eq!(all(&mut restored), all(&mut made));
    // What is left of the one before cannot go on with it.
    let mut before = open(&dir.join("before"));
    before.put(b"Eold", b"value");
    before.commit(0).unwrap();
    let error = log.restore(&mut before, 0).unwrap_err();
    assert_eq!(error.remedy(), Remedy::Rebuild);
}
