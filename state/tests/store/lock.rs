//! A directory that is open is not opened again.

use lethe_state::{Remedy, StateError, Store};

use crate::support::{home, identity, memory, open};

#[test]
fn a_second_open_says_that_the_directory_is_in_use() {
    let (_home, dir) = home();
    let store = open(&dir);
    let error = Store::open(&dir, &identity(), &memory()).unwrap_err();
    assert!(
        matches!(&error, StateError::Locked { dir: named } if *named == dir),
        "{error}"
    );
    assert_eq!(error.remedy(), Remedy::Stop);
    let error = Store::destroy(&dir).unwrap_err();
    assert!(matches!(error, StateError::Locked { .. }), "{error}");
    drop(store);
    open(&dir);
}

#[test]
fn a_lock_that_another_process_holds_says_so_too() {
    let (_home, dir) = home();
    drop(open(&dir));
    let mut holder = hold_lock(&dir.join("LOCK"));
    let error = Store::open(&dir, &identity(), &memory()).unwrap_err();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(matches!(error, StateError::Locked { .. }), "{error}");
    open(&dir);
}

/// A process with a POSIX lock on a file, as RocksDB takes it.
fn hold_lock(file: &std::path::Path) -> std::process::Child {
    use std::io::Read;
    use std::process::{Command, Stdio};

    const SCRIPT: &str = "use Fcntl qw(F_SETLK F_WRLCK SEEK_SET); open(my $f, '+<', $ARGV[0]) or die; \
        fcntl($f, F_SETLK, pack('s s l! l! i x4', F_WRLCK, SEEK_SET, 0, 0, 0)) or die; \
        $| = 1; print 'h'; sleep 600;";
    let mut holder = Command::new("perl")
        .args(["-e", SCRIPT])
        .arg(file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = [0];
    holder
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut held)
        .unwrap();
    holder
}
