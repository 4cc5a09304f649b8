//! The process as the system sees it, under the names that Prometheus' own clients use.
//!
//! Read when `/metrics` is, and written as text: the recorder has no counter of fractions.

use std::fmt::Write as _;
use std::fs;

use super::names::{Metric, PROCESS_METRICS};

/// Where the fields of `/proc/self/stat` lie behind the name of the program (proc(5)), from 0.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const START_TICKS: usize = 19;
const RESIDENT_PAGES: usize = 21;

/// What the system says of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    pub(super) cpu_s: f64,
    pub(super) resident_bytes: f64,
    pub(super) open_files: f64,
    pub(super) started_s: f64,
}

/// Writes what the system tells in Prometheus' text format; nothing where it tells nothing.
pub(super) fn render(page: &mut String) {
    let Some(usage) = now() else { return };
    for (Metric { name, kind, help, .. }, value) in PROCESS_METRICS {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
        let _ = writeln!(page, "{name} {}", value(&usage));
    }
}

/// CPU seconds and resident bytes of a process so far; `self` is this one.
pub(crate) fn used(pid: &str) -> Option<(f64, f64)> {
    let usage = read(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?, 0.0, 0)?;
    Some((usage.cpu_s, usage.resident_bytes))
}

fn now() -> Option<Usage> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot_s = system.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
    let open_files = fs::read_dir("/proc/self/fd").ok()?.count();
    read(&stat, boot_s, open_files)
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53 for as long as a machine lives")]
fn read(stat: &str, boot_s: f64, open_files: usize) -> Option<Usage> {
    // The name may hold blanks and brackets: what counts is behind its last bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok().map(|number| number as f64);
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    Some(Usage {
        cpu_s: (number(USER_TICKS)? + number(SYSTEM_TICKS)?) / ticks,
        resident_bytes: number(RESIDENT_PAGES)? * rustix::param::page_size() as f64,
        open_files: open_files as f64,
        started_s: boot_s + number(START_TICKS)? / ticks,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test is the point")]

    use super::*;

    #[test]
    fn the_fields_are_those_of_proc() {
        let stat =
            "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 4 0 300 9999 25 18446744073709551615";
        let usage = read(stat, 1_000.0, 9).unwrap();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(usage.cpu_s, 200.0 / ticks);
        assert_eq!(usage.started_s, 1_000.0 + 300.0 / ticks);
        assert_eq!(usage.resident_bytes, 25.0 * rustix::param::page_size() as f64);
        assert_eq!(usage.open_files, 9.0);
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let usage = now().unwrap();
        assert!(usage.resident_bytes > 1e6 && usage.open_files >= 3.0, "{usage:?}");
    }
}
