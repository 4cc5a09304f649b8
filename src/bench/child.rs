//! A child process whose work is watched from outside and whose use of the machine is measured.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rustix::process::{Pid, Signal, kill_process};
use wait4::{ResourceUsage, Wait4 as _};

use super::figures::Figures;
use super::pass_through::Ends;
use super::rest;
use crate::pipeline::kafka::config;
use crate::pipeline::settings::{CALL_TIMEOUT, PipelineSettings};
use crate::telemetry::process;

/// How often the group's positions are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// What takes longer has failed.
pub(super) const WORK_WITHIN: Duration = Duration::from_secs(600);
/// A running child; killed when it is dropped.
pub(super) struct Running {
    /// Until it has been waited for.
    child: Option<Child>,
    pid: u32,
    pub(super) started: Instant,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _collected = child.wait();
        }
    }
}

impl Running {
    /// Starts a command that reads and says nothing here.
    pub(super) fn start(mut command: Command) -> anyhow::Result<Self> {
        let started = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("{command:?} cannot be started"))?;
        Ok(Self { pid: child.id(), child: Some(child), started })
    }

    /// Whether it has ended and waits to be collected: seen in its state, since it is [`Running::stop`]
    /// that collects it.
    pub(super) fn has_ended(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The state follows the name, which is in parentheses and may hold anything.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
    }

    /// CPU seconds so far.
    pub(super) fn cpu_seconds(&self) -> f64 {
        process::used(&self.pid.to_string()).map_or(0.0, |(cpu_s, _)| cpu_s)
    }

    /// Waits until hardly anything is done any more: flushes and compactions are over too.
    pub(super) fn wait_until_at_rest(&self) {
        rest::wait(|| self.cpu_seconds());
    }

    /// Asks it to stop and waits for its end; what it used in all. One that ended by the signal itself has
    /// not failed.
    pub(super) fn stop(&mut self) -> anyhow::Result<ResourceUsage> {
        let child = self.child.take().context("it has been stopped before")?;
        let _gone = kill_process(Pid::from_child(&child), Signal::TERM);
        let used = child.wait4().context("waiting for the child's end")?;
        if used.status.code().is_some_and(|code| code != 0) {
            bail!("the child has failed: {}", used.status);
        }
        Ok(used.rusage)
    }
}

/// Runs a command until its group has committed the whole input, asks it to stop, and measures it
/// from its start to its end.
pub(super) fn measure(
    command: Command,
    settings: &PipelineSettings,
    ends: &Ends,
) -> anyhow::Result<Figures> {
    let told = format!("{command:?}");
    let mut running = Running::start(command)?;
    let speed = wait_until_committed(&running, settings, ends)
        .with_context(|| format!("{told} has not done its work"))?;
    let seconds = running.started.elapsed().as_secs_f64();
    let used = running.stop().context(told)?;
    let cpu = used.utime + used.stime;
    Ok(Figures::new(records(ends), cpu, seconds, speed, used.maxrss))
}

/// How many records there are.
pub(super) fn records(ends: &Ends) -> i64 {
    ends.values().map(|(start, end)| end - start).sum()
}

/// Waits until a group has committed the whole input; how many records a second that were.
pub(super) fn wait_until_committed(
    running: &Running,
    settings: &PipelineSettings,
    ends: &Ends,
) -> anyhow::Result<f64> {
    let watcher: BaseConsumer = config::input(settings, "watcher").create()?;
    let (started, total) = (Instant::now(), records(ends));
    // When work was first seen, and how much of it was done by then: joining a group takes seconds
    // that are not work.
    let mut first = None;
    let mut done = 0;
    while done < total {
        thread::sleep(LOOK);
        // Asked first, so that what it committed last is not overlooked.
        let ended = running.has_ended();
        done = committed(&watcher, &settings.topics.messages, ends);
        if done > 0 {
            first.get_or_insert((Instant::now(), done));
        }
        if done < total && (ended || started.elapsed() > WORK_WITHIN) {
            bail!("{done} of {total} input records are committed");
        }
    }
    Ok(speed(started, first.unwrap_or((started, 0)), total))
}

/// How many records a second it were since work was first seen, and how much of it was done by then. If
/// that was all, it is known of the whole time alone.
pub(super) fn speed(started: Instant, first: (Instant, i64), total: i64) -> f64 {
    let (since, before) = if first.1 < total { first } else { (started, 0) };
    (total - before) as f64 / since.elapsed().as_secs_f64()
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
