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
    let total = ends.values().map(|(start, end)| end - start).sum();
    // When work was first seen, and how much of it was done by then: joining a group takes seconds
    // that are not work.
    let mut first = None;
    let mut done = 0;
    while done < total && started.elapsed() < WORK_WITHIN {
        thread::sleep(LOOK);
        // Wait4 is the one to collect a child: whether it has ended is seen in its state. Asked
        // first, so that what it committed last is not overlooked.
        let ended = has_ended(child.id());
        done = committed(&watcher, &settings.topics.messages, ends);
        if done > 0 {
            first.get_or_insert((Instant::now(), done));
        }
        if ended {
            break;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let speed =
        first.map_or(0.0, |(at, before)| (done - before) as f64 / at.elapsed().as_secs_f64());
    let _gone = kill_process(Pid::from_child(&child), Signal::TERM);
    let used = child.wait4().context("waiting for the child's end")?;
    let failed = used.status.code().is_some_and(|code| code != 0);
    if done < total || failed {
        bail!("{command:?} has not committed all of its input, or has failed: {}", used.status);
    }
    let cpu = used.rusage.utime + used.rusage.stime;
    Ok(Figures::new(total, cpu, seconds, speed, used.rusage.maxrss))
}

/// How many records the group has committed.
fn committed(watcher: &BaseConsumer, topic: &str, ends: &Ends) -> i64 {
    let mut list = TopicPartitionList::new();
    for &partition in ends.keys() {
        list.add_partition(topic, partition);
    }
    // Before the group exists there is nothing to be told: asked again.
    let Ok(committed) = watcher.committed_offsets(list, CALL_TIMEOUT) else { return 0 };
    let done = ends.iter().map(|(&partition, &(start, end))| {
        let at = committed.find_partition(topic, partition);
        // Without a position it is a negative number.
        let offset = at.and_then(|at| at.offset().to_raw()).unwrap_or(start);
        offset.clamp(start, end) - start
    });
    done.sum()
}

/// Whether a process has ended and waits to be collected.
fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold anything.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}
