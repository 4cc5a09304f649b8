//! The processes of the group, and the faults that strike them.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use lethe::traffic::Random;
use lethe_test_support::bus::Bus;
use lethe_test_support::lethe::{Lethe, Setup};
use rustix::process::Signal;

use crate::Struck;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_lethe");

/// Processes at most and at least.
const PROCESSES_MAX: usize = 5;
const PROCESSES_MIN: usize = 2;

/// Short, so that the group gives up on a process within a run; far above a heartbeat.
const SESSION_MS: u32 = 4_000;
/// How long a process stands still, within its session and past it.
const PAUSED_MS: (u32, u32) = (300, 2_000);
const PAUSED_LONG_MS: (u32, u32) = (SESSION_MS + 1_000, SESSION_MS + 9_000);
/// How long a killed process is down.
const DOWN_MS: (u32, u32) = (0, 2_000);

/// A process is killed (SIGKILL) and started again.
const KILL: &str = "processes killed";
/// The same, and its disk is lost.
const WIPE: &str = "processes killed and their disks wiped";
/// It stands still (SIGSTOP) within its session.
const PAUSE: &str = "processes paused";
/// It stands still until the group has given up on it, and goes on.
pub(crate) const PAUSE_LONG: &str = "processes paused past their session";
/// It is told to stop (SIGTERM) and started again.
const STOP: &str = "processes stopped";
/// One more.
const ADD: &str = "processes added";
/// One less, killed or told to stop.
const REMOVE: &str = "processes removed";

/// It was told that another process had joined under its name, where there was none. Seen on a cluster whose
/// answers came late: a static member's call to join that is repeated may count as another's. Whoever
/// supervises it starts it again.
const FENCED: &str = "processes fenced by a call of their own";
/// What it says then.
const TWIN: &str = "another process has joined the group under this instance's name";

/// How much is shown of what a process said that has ended by itself.
const LAST_LINES: usize = 12;

/// Faults and how many of a hundred are of this kind.
const FAULTS: [(&str, u64); 7] =
    [(KILL, 35), (WIPE, 12), (PAUSE, 12), (PAUSE_LONG, 15), (STOP, 12), (ADD, 7), (REMOVE, 7)];

/// How many kills of processes are among the faults.
pub(crate) fn kills(struck: &Struck) -> usize {
    [KILL, WIPE].iter().filter_map(|name| struck.get(name)).sum()
}

enum State {
    Running,
    Paused(Instant),
    Down(Instant),
    /// Told to stop: with a broker that is away too that takes a while.
    Stopping,
}

struct Member {
    setup: Setup,
    lethe: Lethe,
    state: State,
}

/// The processes of the group.
pub(crate) struct Crew {
    members: Vec<Member>,
    random: Random,
    struck: Struck,
    /// Names are not used twice.
    named: usize,
    first: Setup,
}

impl Crew {
    pub(crate) fn new(bus: &Bus<'_>, random: Random, count: usize) -> Self {
        let mut first = Setup::new(PROGRAM, bus, "first");
        first.workers = 2;
        // Snapshots all the time, and records of changelogs that go.
        first.settings.push_str("changelog_slack = \"32KiB\"\n");
        for (name, value) in
            [("session.timeout.ms", SESSION_MS), ("heartbeat.interval.ms", SESSION_MS / 8)]
        {
            first.kafka.insert(name.to_owned(), value.to_string());
        }
        let mut crew = Self { members: Vec::new(), random, struck: Struck::new(), named: 0, first };
        for _ in 0..count {
            crew.add();
        }
        crew
    }

    /// A fault, on a process that runs.
    pub(crate) fn strike(&mut self) {
        self.check();
        let running: Vec<usize> = self
            .members
            .iter()
            .enumerate()
            .filter(|(_, member)| matches!(member.state, State::Running))
            .map(|(at, _)| at)
            .collect();
        let mut roll = self.random.below(FAULTS.iter().map(|(_, share)| share).sum());
        let fault = FAULTS.iter().find(|(_, share)| {
            let hit = roll < *share;
            roll = roll.saturating_sub(*share);
            hit
        });
        let fault = fault.map_or(KILL, |(name, _)| name);
        // The first long pause comes early, so that every run has one.
        let first = self.struck.len() == 1 && !self.struck.contains_key(PAUSE_LONG);
        let fault = if first { PAUSE_LONG } else { fault };
        let Some(&at) = self.random.pick(&running) else { return };
        if self.apply(fault, at, running.len()) {
            *self.struck.entry(fault).or_default() += 1;
        }
    }

    /// Returns whether there was something to do.
    fn apply(&mut self, fault: &'static str, at: usize, running: usize) -> bool {
        let (down, paused) = (self.span(DOWN_MS), self.span(PAUSED_MS));
        let away = self.span(PAUSED_LONG_MS);
        let room = self.members.len() < PROCESSES_MAX;
        let Some(member) = self.members.get_mut(at) else { return false };
        match fault {
            PAUSE | PAUSE_LONG => {
                member.lethe.pause();
                let time = if fault == PAUSE { paused } else { away };
                member.state = State::Paused(Instant::now() + time);
            }
            STOP => {
                member.lethe.tell_to_stop();
                member.state = State::Stopping;
            }
            ADD if room => self.add(),
            REMOVE if running > PROCESSES_MIN => {
                let mut member = self.members.swap_remove(at);
                if self.random.percent(50) {
                    member.lethe.kill();
                } else {
                    member.lethe.tell_to_stop();
                    member.end_well();
                }
            }
            ADD | REMOVE => return false,
            _ => {
                member.lethe.kill();
                member.state = State::Down(Instant::now() + down);
                if fault == WIPE {
                    fs::remove_dir_all(&member.setup.data)
                        .unwrap_or_else(|error| panic!("{error}"));
                }
            }
        }
        true
    }

    /// Lets those go on, or starts those again, whose time has come.
    pub(crate) fn resume(&mut self) {
        let now = Instant::now();
        for member in &mut self.members {
            member.resume_if(|until| until <= now);
        }
    }

    /// Everybody works again.
    pub(crate) fn resume_all(&mut self) {
        for member in &mut self.members {
            if matches!(member.state, State::Stopping) {
                member.end_well();
            }
            member.resume_if(|_| true);
        }
    }

    /// None of those that should run has ended by itself, but as said at [`FENCED`].
    pub(crate) fn check(&mut self) {
        for member in &mut self.members {
            if !matches!(member.state, State::Running) || member.lethe.is_running() {
                continue;
            }
            let (status, said) = (member.lethe.wait(), member.lethe.said());
            let lines: Vec<&str> = said.lines().collect();
            let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
            let instance = &member.setup.instance;
            assert!(said.contains(TWIN), "{instance} has ended ({status}):\n{}", last.join("\n"));
            *self.struck.entry(FENCED).or_default() += 1;
            member.lethe = member.setup.start();
        }
    }

    /// Waits for some time, and lets those go on whose time has come.
    pub(crate) fn rest(&mut self, ms: (u32, u32)) {
        std::thread::sleep(self.span(ms));
        self.resume();
    }

    /// Everybody is told to stop, and does.
    pub(crate) fn stop_all(&mut self) {
        for member in &mut self.members {
            member.lethe.tell_to_stop();
            member.end_well();
            member.state = State::Down(Instant::now());
        }
    }

    /// One of them is started again, on an empty disk: a position that was set by hand does not say where the
    /// changelog's snapshot is, which older state would need.
    pub(crate) fn start_one(&mut self) {
        if let Some(member) = self.members.first_mut() {
            fs::remove_dir_all(&member.setup.data).unwrap_or_else(|error| panic!("{error}"));
            member.lethe = member.setup.run();
            member.state = State::Running;
        }
    }

    pub(crate) fn kills(&self) -> usize {
        kills(&self.struck)
    }

    pub(crate) fn struck(&self) -> Struck {
        self.struck.clone()
    }

    /// What became of the transactions of those that run.
    pub(crate) fn transactions(&self) -> String {
        let count = |result: &str| -> f64 {
            let labels = [("result", result)];
            let of = |member: &Member| member.lethe.metric("lethe_transactions_total", &labels);
            self.members.iter().filter_map(of).sum()
        };
        let results = ["committed", "aborted", "unknown"];
        results.map(|result| format!("{} {result}", count(result))).join(", ")
    }

    fn add(&mut self) {
        self.named += 1;
        let instance = format!("p{}", self.named);
        let mut setup = self.first.clone();
        setup.data = lethe_test_support::process::directory(&format!("faults-{instance}"));
        setup.instance = instance;
        let lethe = setup.start();
        self.members.push(Member { setup, lethe, state: State::Running });
    }

    fn span(&mut self, (min_ms, max_ms): (u32, u32)) -> Duration {
        Duration::from_millis(u64::from(self.random.between(min_ms, max_ms)))
    }
}

impl Member {
    fn resume_if(&mut self, due: impl Fn(Instant) -> bool) {
        match self.state {
            State::Paused(until) if due(until) => self.lethe.go_on(),
            State::Down(until) if due(until) => self.lethe = self.setup.start(),
            State::Stopping if !self.lethe.is_running() => {
                self.end_well();
                self.lethe = self.setup.start();
            }
            State::Running | State::Paused(_) | State::Down(_) | State::Stopping => return,
        }
        self.state = State::Running;
    }

    fn end_well(&mut self) {
        let (status, said) = (self.lethe.wait(), self.lethe.said());
        // On a slow machine it may be told before it can listen: then it has not begun.
        let unheard = status.signal() == Some(Signal::TERM.as_raw()) && said.is_empty();
        assert!(status.success() || unheard, "{status}: {said}");
    }
}
