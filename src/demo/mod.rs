//! `lethe demo`: broker, bus, lethe and a store downstream in one process, and a proof at the end.
//!
//! lethe runs by the same code as `lethe run`, on an embedded broker with the capabilities that it
//! declares. What must come out is worked out apart, from what the generator knows. The embedded
//! broker hides no aborted records: the demo proves the rules of the lifecycle, not exactly-once.

mod bus;
mod cast;
mod downstream;
mod expect;
mod picture;
mod process;
mod proof;
mod search;
mod view;

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};

use crate::pipeline::settings::Topics;
use crate::traffic::{Content, Plans, Random};
use bus::{Traffic, Writer};
use downstream::{Downstream, Follower};
use expect::Books;
use process::Lethe;
pub use proof::{Check, Lateness, Summary, Tally, TenantTally};
use view::{Scene, View};

/// How long after its time the last end may come before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(15);
/// After the last end, what should not come would have come within this time.
const AFTERMATH: Duration = Duration::from_secs(1);
/// Nothing that ends by time within the play lives longer; what does (of a tenant that was to leave,
/// in a play that was cut short) is not waited for, and must still live.
const WAITED_FOR_MS: i64 = 20_000;
/// How often the play is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What the demo is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long traffic flows.
    pub length: Duration,
    /// Messages a second.
    pub rate: u32,
    /// The seed of the traffic.
    pub seed: u64,
    /// Where HTTP listens.
    pub http: String,
    /// The summary is JSON, and nothing else is shown.
    pub json: bool,
}

/// What the parts of the demo share.
#[derive(Default)]
struct Stage {
    books: Books,
    downstream: Downstream,
    /// What happened, and when.
    news: Vec<(Duration, &'static str)>,
    started: Option<Instant>,
}

impl Stage {
    fn news(&mut self, says: &'static str) {
        let at = self.started.map_or(Duration::ZERO, |started| started.elapsed());
        self.news.push((at, says));
    }
}

/// Unix ms.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Plays the demo; `stop` ends its traffic early.
///
/// # Errors
/// Something could not be started or has failed; a broken rule is no error but in the summary.
pub fn run(options: &Options, stop: &AtomicBool) -> anyhow::Result<Summary> {
    let data_dir = tempfile::Builder::new().prefix("lethe-demo-").tempdir()?;
    let topics = Topics::default();
    let broker = bus::broker(&topics)?;
    let brokers = broker.bootstrap_servers();

    let cast = cast::cast();
    let writer = Writer::new(&brokers, topics.clone())?;
    for actor in &cast {
        writer.say(&actor.tenant.controls())?;
    }
    let said: Vec<_> = cast.iter().map(|actor| (actor.tenant.name.clone(), actor.says)).collect();
    let never_in: Vec<_> = cast
        .iter()
        .filter(|actor| actor.never_in())
        .map(|actor| actor.tenant.name.clone())
        .collect();

    let lethe = Lethe::start(&brokers, data_dir.path(), &options.http)?;
    lethe.wait_until_ready(stop)?;

    let stage = Arc::new(Mutex::new(Stage { started: Some(Instant::now()), ..Stage::default() }));
    let follower = Follower::new(&brokers, &topics, Arc::clone(&stage))?;
    let done = Arc::new(AtomicBool::new(false));
    let following = spawn("demo-store", {
        let done = Arc::clone(&done);
        move || follower.run(&done)
    })?;
    let marker = marker(options.seed);
    let plans = Plans { random: Random::new(options.seed), content: Content::new(marker.clone()) };
    let traffic = Traffic {
        writer,
        plans,
        cast,
        stage: Arc::clone(&stage),
        rate: options.rate,
        length: options.length,
    };
    let quiet = Arc::new(AtomicBool::new(false));
    let playing = spawn("demo-bus", {
        let quiet = Arc::clone(&quiet);
        move || traffic.run(&quiet)
    })?;

    let scene = Scene { cast: &said, http: lethe.http(), length: options.length };
    let mut show = Show { view: View::new(), scene, stage: &stage, json: options.json };
    watch(&mut show, &lethe, &playing, stop, &quiet)?;
    join(playing)?;
    wait_for_the_last(&mut show, &lethe)?;
    let seconds = show.seconds();
    done.store(true, Ordering::Relaxed);
    join(following)?;
    let counted = lethe.counted();
    let page = lethe.stop()?;

    let stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
    let summary = summarize(
        options,
        &stage,
        seconds,
        &Evidence {
            never_in: &never_in,
            data_dir: data_dir.path(),
            marker: &marker,
            page: &page,
            counted,
        },
    )?;
    drop(stage);
    drop(broker);
    data_dir.close().context("removing the data directory")?;
    tell(options, &summary)?;
    Ok(summary)
}

/// What the demo shows while it plays.
struct Show<'s> {
    view: View,
    scene: Scene<'s>,
    stage: &'s Mutex<Stage>,
    json: bool,
}

impl Show<'_> {
    fn look(&mut self, phase: &str) -> anyhow::Result<()> {
        if !self.json && self.view.is_due() {
            let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            self.view.show(&self.scene, &stage, phase)?;
        }
        thread::sleep(LOOK);
        Ok(())
    }

    fn seconds(&self) -> u64 {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.started.map_or(0, |started| started.elapsed().as_secs())
    }
}

/// Shows the play until its traffic is over.
fn watch(
    show: &mut Show<'_>,
    lethe: &Lethe,
    playing: &JoinHandle<anyhow::Result<()>>,
    stop: &AtomicBool,
    quiet: &AtomicBool,
) -> anyhow::Result<()> {
    while !playing.is_finished() {
        lethe.check()?;
        if stop.load(Ordering::Relaxed) {
            quiet.store(true, Ordering::Relaxed);
        }
        show.look("traffic flows")?;
    }
    Ok(())
}

/// Waits until everything that is due has ended, or for as long as one may.
fn wait_for_the_last(show: &mut Show<'_>, lethe: &Lethe) -> anyhow::Result<()> {
    let patience_ms = i64::try_from(PATIENCE.as_millis()).unwrap_or(0);
    let last_due_ms = {
        let mut stage = show.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.news("no more traffic: what is still live ends in its time");
        stage.books.last_due_ms(now_ms() + WAITED_FOR_MS).unwrap_or(0)
    };
    while now_ms() < last_due_ms + patience_ms {
        lethe.check()?;
        show.look("waiting for the last to end")?;
        let stage = show.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = now_ms();
        if now_ms >= last_due_ms && stage.downstream.ended >= stage.books.due(now_ms) {
            break;
        }
    }
    thread::sleep(AFTERMATH);
    Ok(())
}

/// What the proof rests on beside the outputs.
struct Evidence<'e> {
    never_in: &'e [String],
    data_dir: &'e Path,
    marker: &'e str,
    /// What `/metrics` said at the end.
    page: &'e str,
    /// Input records that lethe counted.
    counted: u64,
}

fn summarize(
    options: &Options,
    stage: &Stage,
    seconds: u64,
    evidence: &Evidence<'_>,
) -> anyhow::Result<Summary> {
    let mut proof = proof::prove(stage, now_ms());
    proof.checks.push(opted_out(stage, evidence.never_in));
    proof.checks.push(counted_once(stage, evidence.counted));
    proof.checks.push(nowhere(evidence)?);
    Ok(Summary {
        held: proof.checks.iter().all(|check| check.held),
        seed: options.seed,
        seconds,
        records_in: stage.books.records,
        records_out: stage.downstream.records,
        tenants: proof.tenants,
        tombstones: proof.tombstones,
        lateness: proof.lateness,
        checks: proof.checks,
    })
}

/// Nothing of who never opted in was ever stored; configuration is kept for everyone.
fn opted_out(stage: &Stage, never_in: &[String]) -> Check {
    use lethe_engine::{Class, Storage};
    let mut check = Check::new("nothing of a tenant that is opted out was ever on store.*");
    for (class, storage, key) in stage.downstream.seen.keys() {
        let tenant = key.split('/').next().unwrap_or_default();
        if *class != Class::Config && never_in.iter().any(|name| name == tenant) {
            check.see(*storage == Storage::Transit, || key.clone());
        }
    }
    check
}

fn counted_once(stage: &Stage, counted: u64) -> Check {
    let mut check = Check::new("every input record was counted once");
    check.see(counted == stage.books.records, || {
        format!("{counted} counted, {} written", stage.books.records)
    });
    check.checked = usize::try_from(stage.books.records).unwrap_or(usize::MAX);
    check
}

/// Content is in no file and on no page of lethe's; ids are, which shows that the search works.
fn nowhere(evidence: &Evidence<'_>) -> anyhow::Result<Check> {
    let mut check = Check::new("content is in no file and on no page of lethe's");
    let marker = evidence.marker.as_bytes();
    let (found, files) = search::files_with(evidence.data_dir, marker)?;
    check.see(found.is_empty(), || format!("in {found:?}"));
    check.checked = files;
    check.see(!search::contains(evidence.page.as_bytes(), marker), || "on /metrics".to_owned());
    let (known, _) = search::files_with(evidence.data_dir, b"atlas")?;
    check.see(!known.is_empty(), || "the search does not even find ids: it proves nothing".into());
    Ok(check)
}

fn tell(options: &Options, summary: &Summary) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if options.json {
        writeln!(out, "{}", serde_json::to_string_pretty(summary)?)?;
    } else {
        write!(out, "{}", picture::summary(summary))?;
    }
    Ok(())
}

/// What all content begins with: of this run alone, and without any pattern that compresses.
fn marker(seed: u64) -> String {
    let mut random = Random::new(seed ^ u64::from(std::process::id()));
    format!("planted-{:016x}{:016x}-", random.number(), random.number())
}

fn spawn(
    name: &str,
    work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    Ok(thread::Builder::new().name(name.to_owned()).spawn(work)?)
}

fn join(thread: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    thread.join().map_err(|_| anyhow!("a thread of the demo has panicked"))?
}
