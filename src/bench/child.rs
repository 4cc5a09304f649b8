//! A child process whose work is watched from outside and whose use of the machine is measured.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rustix::process::{Pid, Signal, kill_process};
use wait4::Wait4 as _;

use super::figures::Figures;
use super::pass_through::Ends;
use crate::pipeline::kafka::config;
use crate::pipeline::settings::{CALL_TIMEOUT, PipelineSettings};

/// How often the group's positions are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// What takes longer has failed.
const WORK_WITHIN: Duration = Duration::from_secs(600);

/// Runs a command until its group has committed the whole input, asks it to stop, and measures it
/// from its start to its end.
pub(super) fn measure(
    mut command: Command,
    settings: &PipelineSettings,
    ends: &Ends,
) -> anyhow::Result<Figures> {
    let watcher: BaseConsumer = config::input(settings, "watcher").create()?;
    let started = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("{command:?} cannot be started"))?;
    let mut done = false;
    while !done && started.elapsed() < WORK_WITHIN {
        thread::sleep(LOOK);
        // Wait4 is the one to collect a child: whether it has ended is seen in its state. Asked
        // first, so that what it committed last is not overlooked.
        let ended = has_ended(child.id());
        done = all_committed(&watcher, &settings.topics.messages, ends);
        if ended {
            break;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let _gone = kill_process(Pid::from_child(&child), Signal::TERM);
    let used = child.wait4().context("waiting for the child's end")?;
    let failed = used.status.code().is_some_and(|code| code != 0);
    if !done || failed {
        bail!("{command:?} has not committed all of its input, or has failed: {}", used.status);
    }
    let records = ends.values().map(|(start, end)| end - start).sum();
    let cpu = used.rusage.utime + used.rusage.stime;
    Ok(Figures::new(records, cpu, seconds, used.rusage.maxrss))
}

/// Whether the group's committed position is the end of every partition.
fn all_committed(watcher: &BaseConsumer, topic: &str, ends: &Ends) -> bool {
    let mut list = TopicPartitionList::new();
    for &partition in ends.keys() {
        list.add_partition(topic, partition);
    }
    // Before the group exists there is nothing to be told: asked again.
    let Ok(committed) = watcher.committed_offsets(list, CALL_TIMEOUT) else { return false };
    ends.iter().all(|(&partition, &(start, end))| {
        let at = committed.find_partition(topic, partition);
        let offset = at.and_then(|at| at.offset().to_raw());
        start == end || offset.is_some_and(|offset| offset >= end)
    })
}

/// Whether a process has ended and waits to be collected.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold anything.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}
