//! A directory that cannot be made or written is an error that names it.

use lethe_state::{Remedy, StateError, Store};
use std::fs;

use crate::support::{home, identity, memory};

#[test]
fn a_file_in_the_way_is_named() {
    let (home, _) = home();
    let file = home.path().join("file");
    fs::write(&file, "in the way").unwrap();
    for dir in [file.clone(), file.join("state")] {
        let error = Store::open(&dir, &identity(), &memory()).unwrap_err();
        assert!(matches!(&error, StateError::Io { dir: named, .. } if *named == dir), "{error}");
        assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
        assert_eq!(error.remedy(), Remedy::Retry);
    }
}

/// Not even root can write there.
#[cfg(target_os = "linux")]
#[test]
fn a_place_that_cannot_be_written_is_named() {
    let dir = std::path::Path::new("/proc/self/state");
    let error = Store::open(dir, &identity(), &memory()).unwrap_err();
    assert!(matches!(&error, StateError::Io { dir: named, .. } if named == dir), "{error}");
}

/// The directory is there, but nothing can be written into it.
#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_cannot_be_written_into_is_named() {
    let dir = std::path::Path::new("/proc/self/fd");
    let error = Store::open(dir, &identity(), &memory()).unwrap_err();
    assert!(matches!(&error, StateError::Io { dir: named, .. } if named == dir), "{error}");
}
