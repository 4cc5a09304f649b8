//! Child processes that cannot outlive the test process, and its directory, which goes with it.
//!
//! Linux kills a child when the *thread* that started it ends (`PR_SET_PDEATHSIG`), so one thread that lives
//! as long as the process starts them all. A janitor waits for the end of a pipe that only this process
//! holds, and then removes the directory: also after SIGKILL.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{PATIENCE, eventually, within};

/// Keeps the directory of this test process (with the brokers' and lethe's logs) where it is set.
const KEEP: &str = "LETHE_TEST_KEEP";

type Order = (Command, SyncSender<io::Result<Child>>);

/// A running child; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

/// A command for a program that dies with this process.
pub fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]).stdin(Stdio::null()).process_group(0);
    command
}

impl Process {
    /// Starts a command made by [`command`].
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn start(name: &str, command: Command) -> Self {
        let (answer, answered) = sync_channel(1);
        keeper().send((command, answer)).expect("the keeper lives as long as the process");
        let child = answered.recv().expect("the keeper answers every order").unwrap_or_else(|error| {
            panic!("{name} cannot be started: {error} (setpriv is in the Debian package util-linux)")
        });
        Self { name: name.to_owned(), child }
    }

    /// How it ended, if it did.
    pub fn exit(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked for its status")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it has not ended after [`PATIENCE`].
    pub fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        eventually(&format!("the end of {name}"), || {
            self.exit().ok_or_else(|| "it is still running".to_owned())
        })
    }

    /// Sends a signal; nothing happens where it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.exit().is_none()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        let _ = within(PATIENCE, || self.exit().ok_or_else(String::new));
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A new directory in this test process's own.
///
/// # Panics
/// Where it cannot be created.
#[must_use]
pub fn directory(name: &str) -> PathBuf {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = root().join(format!("{number}-{name}"));
    fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

/// Removes a directory whose owner has ended, where it is not to be kept.
pub(crate) fn discard(dir: &Path) {
    if std::env::var_os(KEEP).is_none() {
        let _ = fs::remove_dir_all(dir);
    }
}

fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("lethe-tests-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if std::env::var_os(KEEP).is_none() {
            set_janitor(&path);
        }
        path
    })
}

/// Starts the process that removes `path` once this one is gone: `cat` ends when its pipe does.
fn set_janitor(path: &Path) {
    const SWEEP: &str =
        "trap '' INT TERM HUP; cat; rm -rf -- \"$1\" || { sleep 1; rm -rf -- \"$1\"; }";
    let mut command = Command::new("sh");
    command.args(["-c", SWEEP, "janitor"]).arg(path).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let janitor = command.spawn().expect("sh starts");
    // The pipe stays open until this process ends, however that happens.
    std::mem::forget(janitor);
}

fn keeper() -> &'static Sender<Order> {
    static KEEPER: OnceLock<Sender<Order>> = OnceLock::new();
    KEEPER.get_or_init(|| {
        let (orders, queue) = channel::<Order>();
        let keep = move || {
            for (mut command, answer) in queue {
                let _ = answer.send(command.spawn());
            }
        };
        thread::Builder::new().name("keeper".to_owned()).spawn(keep).expect("a thread starts");
        orders
    })
}
