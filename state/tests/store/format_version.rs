//! A directory in a format of the future, or of another program, is refused.

use lethe_state::{FORMAT_VERSION, Remedy, StateError, Store};
use rocksdb::DB;

use crate::support::{home, identity, memory, open};

#[test]
fn a_future_version_is_refused() {
    let (_home, dir) = home();
    drop(open(&dir));
    let raw = DB::open_default(&dir).unwrap();
    let row = [b"lethe-state".as_slice(), &(FORMAT_VERSION + 1).to_be_bytes()].concat();
    raw.put([0, b'F'], row).unwrap();
    drop(raw);
    let error = Store::open(&dir, &identity(), &memory()).unwrap_err();
    assert!(
        matches!(error, StateError::OtherFormat { found, supported, .. }
            if (found, supported) == (FORMAT_VERSION + 1, FORMAT_VERSION)),
        "{error}"
    );
    assert_eq!(error.remedy(), Remedy::Stop);
}

#[test]
fn another_programs_database_is_refused_and_left_as_it_is() {
    let (_home, dir) = home();
    let raw = DB::open_default(&dir).unwrap();
    raw.put("theirs", "1").unwrap();
    drop(raw);
    let error = Store::open(&dir, &identity(), &memory()).unwrap_err();
    assert!(matches!(error, StateError::Foreign { .. }), "{error}");
    assert_eq!(error.remedy(), Remedy::Stop);
    assert_eq!(DB::open_default(&dir).unwrap().get("theirs").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn a_database_without_rows_is_a_new_store() {
    let (_home, dir) = home();
    drop(DB::open_default(&dir).unwrap());
    assert_eq!(open(&dir).sequence(), 0);
}
