//! A directory that is open is not opened again.

use lethe_state::{Remedy, StateError, Store};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{home, identity, memory, open};

#[test]
fn a_second_open_says_that_the_directory_is_in_use() {
    let (_home, dir) = home();
    let store = open(&dir);
    let error = Store::open(&dir, &identity(), &memory()).unwrap_err();
    assert!(matches!(&error, StateError::Locked { dir: named } if *named == dir), "{error}");
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
    let holder = hold_lock(&dir.join("LOCK"));
    let error = Store::open(&dir, &identity(), &memory()).unwrap_err();
    assert!(matches!(error, StateError::Locked { .. }), "{error}");
    release(holder);
    open(&dir);
}

/// Ends when its input does.
const HOLDER: &str = r#"
use Fcntl qw(F_SETLK F_WRLCK SEEK_SET);
open(my $file, '+<', $ARGV[0]) or die;
my $lock = pack('s s x4 q q l x4', F_WRLCK, SEEK_SET, 0, 0, 0);
fcntl($file, F_SETLK, $lock) or die;
$| = 1;
print 'h';
<STDIN>;
"#;

/// A process with a POSIX lock on a file, as RocksDB takes it.
fn hold_lock(file: &Path) -> Child {
    let mut holder = Command::new("perl")
        .args(["-e", HOLDER])
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    holder.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    holder
}

fn release(mut holder: Child) {
    drop(holder.stdin.take());
    holder.wait().unwrap();
}
