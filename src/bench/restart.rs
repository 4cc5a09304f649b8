//! How long a process that was killed is away: with its disk, or (wiped) without.
//!
//! The ledger is filled through Kafka, every message stored and alive. Then, in each round, the process
//! is killed under live load and started again. Two times are taken from its start on: until `/readyz`
//! says yes, and until a transaction has committed input that was not committed before, and with it
//! its outputs. At the end every message that was written must be live: nothing was lost or forgotten.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde::Serialize;

use super::fill::{Fill, fill};
use super::load::{Load, load};
use super::messages::{Shape, Size};
use super::page;
use super::site::Site;
use crate::pipeline::kafka::config;
use crate::pipeline::settings::{CALL_TIMEOUT, PipelineSettings};
use crate::telemetry::names;

/// How often it is looked whether a process is ready.
const LOOK: Duration = Duration::from_millis(5);
/// What takes longer has failed.
const WITHIN: Duration = Duration::from_secs(900);
/// How long a process works before it is killed; a little longer each round, so that the kill
/// strikes at different moments of a transaction.
const WORK: Duration = Duration::from_millis(1_500);
/// See [`WORK`].
const WORK_MORE: Duration = Duration::from_millis(37);
/// Messages that the live load writes at once, and its pause.
const LIVE_MESSAGES: u64 = 2_000;
const LIVE_PAUSE: Duration = Duration::from_millis(100);
/// Tenants, all of which opted in.
const TENANTS: u32 = 100;
/// Beyond those of the load, so that no id comes twice.
const FILL_SEED: u64 = 1 << 40;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Restart {
    /// Brokers, workers, commit interval and librdkafka's properties.
    pub settings: PipelineSettings,
    /// Live records before the first kill.
    pub records: u64,
    /// Bytes of content.
    pub bytes: u32,
    /// Partitions of each input.
    pub partitions: u32,
    /// How often it is killed.
    pub rounds: u32,
    /// Where the data directory is made.
    pub scratch: PathBuf,
    /// The data directory is emptied each time.
    pub wipe: bool,
    /// Fill changelogs at once, rather than by processing so many messages.
    pub direct: bool,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Restarts {
    /// The data directory was emptied each time.
    pub wiped: bool,
    /// Workers.
    pub workers: usize,
    /// Messages that were written in all.
    pub written: u64,
    /// Records that live at the end.
    pub live: u64,
    /// Each kill.
    pub rounds: Vec<Away>,
    /// The longest of each.
    pub longest: Away,
}

/// How long a process was away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Away {
    /// Seconds from its start until it was ready.
    pub ready_seconds: f64,
    /// Seconds from its start until it had committed an output.
    pub output_seconds: f64,
    /// Live records by the seconds until it was ready.
    pub records_a_second: f64,
}

/// Fills, then kills round by round; `told` hears of each step.
///
/// # Errors
/// The broker refuses something, a process has not done its work, or a record was lost.
pub fn restart(of: &Restart, told: &mut dyn FnMut(&str)) -> anyhow::Result<Restarts> {
    let site = Site::new(&of.settings, of.partitions);
    site.make_topics(0)?;
    let data = tempfile::Builder::new().prefix("bench-").tempdir_in(&of.scratch)?;
    let bench = Bench { of, site, data: data.path().join("data"), written: AtomicU64::new(0) };
    let started = Instant::now();
    bench.fill(data.path())?;
    told(&format!("wrote {} records in {:.1} s", of.records, started.elapsed().as_secs_f64()));
    let mut lethe = bench.start()?;
    bench.wait_until_live(&mut lethe)?;
    told(&format!("they live after {:.1} s", started.elapsed().as_secs_f64()));
    let mut rounds = Vec::new();
    for number in 0..of.rounds {
        let away = bench.round(&mut lethe, number)?;
        told(&line(&away));
        rounds.push(away);
    }
    let live = bench.wait_until_live(&mut lethe)?;
    let longest = |of: fn(&Away) -> f64| rounds.iter().map(of).fold(0.0, f64::max);
    Ok(Restarts {
        wiped: of.wipe,
        workers: of.settings.workers,
        written: bench.written.load(Ordering::Relaxed),
        live,
        longest: Away {
            ready_seconds: longest(|away| away.ready_seconds),
            output_seconds: longest(|away| away.output_seconds),
            records_a_second: rounds
                .iter()
                .map(|away| away.records_a_second)
                .fold(f64::INFINITY, f64::min),
        },
        rounds,
    })
}

/// What was measured, for a person.
#[must_use]
pub fn rendered(restarts: &Restarts) -> String {
    let what = if restarts.wiped { "an empty disk" } else { "its own disk" };
    format!(
        "{} live records, {} workers, {} kills, on {what}; the longest: {}\n",
        restarts.live,
        restarts.workers,
        restarts.rounds.len(),
        line(&restarts.longest)
    )
}

fn line(away: &Away) -> String {
    format!(
        "ready after {:.2} s, first output after {:.2} s ({:.0} records/s)",
        away.ready_seconds, away.output_seconds, away.records_a_second
    )
}

/// A running process, killed when it is dropped.
struct Lethe {
    child: Child,
    http: SocketAddr,
    started: Instant,
}

impl Drop for Lethe {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _collected = self.child.wait();
    }
}

struct Bench<'b> {
    of: &'b Restart,
    site: Site,
    data: PathBuf,
    /// Messages so far.
    written: AtomicU64,
}

impl Bench<'_> {
    /// Writes what lives before the first kill.
    fn fill(&self, scratch: &Path) -> anyhow::Result<()> {
        if !self.of.direct {
            return self.write(self.of.records, true);
        }
        self.write(0, true)?;
        self.written.fetch_add(self.of.records, Ordering::Relaxed);
        let shape = Shape { messages: self.of.records, seed: FILL_SEED, ..shape(0) };
        fill(&Fill {
            settings: &self.site.settings(0),
            partitions: self.of.partitions,
            controls: &shape.controls().collect::<Vec<_>>(),
            shape,
            ages: [Duration::ZERO; 2],
            scratch,
        })
    }

    /// Writes messages that live; at first with what their tenants chose.
    fn write(&self, messages: u64, first: bool) -> anyhow::Result<()> {
        let settings = self.site.settings(0);
        let before = self.written.fetch_add(messages, Ordering::Relaxed);
        load(&Load {
            brokers: settings.brokers.clone(),
            topic: settings.topics.messages.clone(),
            control: first.then(|| settings.topics.control.clone()),
            shape: Shape { messages, first: before, ..shape(self.of.bytes) },
            rate: None,
        })?;
        Ok(())
    }

    fn start(&self) -> anyhow::Result<Lethe> {
        let http = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = self.site.run(0, &http.to_string(), &self.data)?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let started = Instant::now();
        let child = command.spawn().context("lethe cannot be started")?;
        Ok(Lethe { child, http, started })
    }

    /// Kills the process under load and starts it again.
    fn round(&self, lethe: &mut Lethe, number: u32) -> anyhow::Result<Away> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let live = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    self.write(LIVE_MESSAGES, false)?;
                    thread::sleep(LIVE_PAUSE);
                }
                Ok(())
            });
            thread::sleep(WORK + WORK_MORE * number);
            let away = self.kill_and_start(lethe);
            stop.store(true, Ordering::Relaxed);
            let loaded: anyhow::Result<()> = match live.join() {
                Ok(loaded) => loaded,
                Err(_) => bail!("the live load has panicked"),
            };
            loaded.and(away)
        })
    }

    fn kill_and_start(&self, lethe: &mut Lethe) -> anyhow::Result<Away> {
        let records = live_records(lethe).unwrap_or_default();
        lethe.child.kill()?;
        lethe.child.wait()?;
        let settings = self.site.settings(0);
        // Without waiting for transactions that are open: the killed process has left some.
        let mut watcher = config::input(&settings, "watcher");
        let watcher: BaseConsumer = watcher.set("isolation.level", "read_uncommitted").create()?;
        let before = self.committed(&watcher).context("the group's positions")?;
        if self.of.wipe {
            std::fs::remove_dir_all(&self.data)?;
        }
        *lethe = self.start()?;
        let (mut ready, mut output) = (None, None);
        while ready.is_none() || output.is_none() {
            thread::sleep(LOOK);
            let seconds = lethe.started.elapsed().as_secs_f64();
            if ready.is_none() && is_ready(lethe) {
                ready = Some(seconds);
            }
            if output.is_none() && self.committed(&watcher).is_some_and(|now| now > before) {
                output = Some(seconds);
            }
            self.check(lethe)?;
        }
        let ready_seconds = ready.unwrap_or_default();
        Ok(Away {
            ready_seconds,
            output_seconds: output.unwrap_or_default(),
            records_a_second: records / ready_seconds,
        })
    }

    /// How many records the group has committed; none: it could not be asked.
    fn committed(&self, watcher: &BaseConsumer) -> Option<i64> {
        let topic = &self.site.settings(0).topics.messages;
        let mut list = TopicPartitionList::new();
        for partition in 0..i32::try_from(self.of.partitions).ok()? {
            list.add_partition(topic, partition);
        }
        let committed = watcher.committed_offsets(list, CALL_TIMEOUT).ok()?;
        let offsets = committed.elements().into_iter().filter_map(|at| at.offset().to_raw());
        Some(offsets.map(|offset| offset.max(0)).sum())
    }

    /// Waits until all that was written lives, and says how many that are.
    fn wait_until_live(&self, lethe: &mut Lethe) -> anyhow::Result<u64> {
        let (started, mut live) = (Instant::now(), 0.0);
        let written = self.written.load(Ordering::Relaxed);
        while started.elapsed() < WITHIN {
            self.check(lethe)?;
            live = live_records(lethe).unwrap_or(live);
            if live == written as f64 {
                return Ok(written);
            }
            thread::sleep(WORK / 10);
        }
        bail!("{written} messages were written and {live} live")
    }

    fn check(&self, lethe: &mut Lethe) -> anyhow::Result<()> {
        if let Some(status) = lethe.child.try_wait()? {
            bail!("lethe has ended: {status}");
        }
        if lethe.started.elapsed() > WITHIN {
            bail!("lethe did not work again within {} s", WITHIN.as_secs());
        }
        Ok(())
    }
}

/// Messages that live, with so much content.
fn shape(bytes: u32) -> Shape {
    let size = Size::Bytes(bytes);
    Shape { delivered: false, tenants: TENANTS, opted_in: TENANTS, size, ..Shape::default() }
}

fn is_ready(lethe: &Lethe) -> bool {
    page::get(lethe.http, "/readyz").is_ok_and(|(status, _)| status == 200)
}

fn live_records(lethe: &Lethe) -> Option<f64> {
    let (_, metrics) = page::get(lethe.http, "/metrics").ok()?;
    Some(page::sum(&metrics, names::LIVE_RECORDS))
}
