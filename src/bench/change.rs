//! What a change that ends many records takes, and what it costs the live traffic beside it: a tenant's retention is
//! cut, or the messages of one of its users are erased.
//!
//! Each round fills a tenant's ledger, and then changes it: once alone, and once beside an open loop whose contents
//! are told apart: those that came out before the change, and those that were under way while it was worked off.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use serde::Serialize;
use serde_json::{Value, json};

use super::beside::{self, Live};
use super::child::{Running, WORK_WITHIN};
use super::figures::median;
use super::fill::{Fill, fill};
use super::load;
use super::messages::{Shape, Size};
use super::open_loop::Pace;
use super::page;
use super::site::Site;
use crate::demo::now_ms;
use crate::pipeline::kafka::config;
use crate::pipeline::settings::{CALL_TIMEOUT, PipelineSettings};
use crate::telemetry::names;
use crate::traffic::{Control, Tenant, record_key};

/// How often it is looked how far the change has come.
const LOOK: Duration = Duration::from_millis(25);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How old the tenant's messages are: within 30 days, and not within one.
const AGES: [Duration; 2] = [DAY.saturating_mul(29), DAY.saturating_mul(2)];
/// Tells the filled messages from those of the live load.
const FILL_SEED: u64 = 1 << 40;

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A tenant's retention is cut from 30 days to one: all that it has is due at once.
    Cut,
    /// What one of its users has sent is erased.
    Erase,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Changing {
    /// Brokers, workers, commit interval and librdkafka's properties.
    pub settings: PipelineSettings,
    /// What is changed.
    pub change: Change,
    /// The tenant's stored messages.
    pub records: u64,
    /// In so many conversations in each partition, each with a sender of its own.
    pub conversations: u32,
    /// Records a second of the live load beside it.
    pub rate: u32,
    /// For how long that goes on before it is measured.
    pub warm_up: Duration,
    /// For how long it is measured before the change.
    pub before: Duration,
    /// Partitions of the input.
    pub partitions: u32,
    /// Rounds.
    pub rounds: u32,
    /// Where ledgers are made on the way, and data directories.
    pub scratch: PathBuf,
}

/// One change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Changed {
    /// Records that it ended.
    pub ended: u64,
    /// Seconds from the control record until the last of them had its tombstone, and of an erasure until it was
    /// reported as completed.
    pub seconds: f64,
    /// Records that ended a second.
    pub ended_a_second: f64,
}

/// The change alone, and beside a live load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Round {
    /// With no other traffic.
    pub alone: Changed,
    /// Beside the live load.
    pub beside: Changed,
    /// The live load before the change.
    pub before: Live,
    /// The live load while the change was worked off.
    pub during: Live,
}

/// All rounds, with their medians.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changes {
    /// The tenant's stored messages.
    pub records: u64,
    /// Records a second of the live load.
    pub rate: u32,
    /// Workers.
    pub workers: usize,
    /// In their order.
    pub rounds: Vec<Round>,
    /// The median of each figure.
    pub median: Round,
    /// The live load's p99 during the change, as a multiple of that before.
    pub p99_ratio: f64,
}

/// Measures round by round; `told` hears of each step.
///
/// # Errors
/// The broker refuses something, the change is not worked off, or content does not come out.
pub fn change(of: &Changing, told: &mut dyn FnMut(&str)) -> anyhow::Result<Changes> {
    let mut rounds = Vec::new();
    for number in 1..=of.rounds {
        let alone = alone(of)?;
        let round = Round { alone, ..beside(of)? };
        told(&format!("round {number}:\n{}", lines(&round)));
        rounds.push(round);
    }
    let of_changed = |figure: fn(&Round) -> Changed| {
        let of = |part: fn(&Changed) -> f64| median(&rounds, |round| part(&figure(round)));
        Changed {
            ended: rounds.first().map_or(0, |round| figure(round).ended),
            seconds: of(|changed| changed.seconds),
            ended_a_second: of(|changed| changed.ended_a_second),
        }
    };
    let median = Round {
        alone: of_changed(|round| round.alone),
        beside: of_changed(|round| round.beside),
        before: beside::median(&rounds, |round| round.before),
        during: beside::median(&rounds, |round| round.during),
    };
    Ok(Changes {
        records: of.records,
        rate: of.rate,
        workers: of.settings.workers,
        p99_ratio: median.during.p99_ms / median.before.p99_ms,
        rounds,
        median,
    })
}

impl Changes {
    /// What was measured, for a person.
    #[must_use]
    pub fn rendered(&self) -> String {
        format!(
            "median:\n{}\n\nof {} records, with {} workers, beside {} records/s: the p99 of live contents is {:.2} \
             times what it was before.\n",
            lines(&self.median),
            self.records,
            self.workers,
            self.rate,
            self.p99_ratio
        )
    }
}

fn lines(round: &Round) -> String {
    let changed = |changed: &Changed| {
        let Changed { ended, seconds, ended_a_second } = changed;
        format!("{ended} records ended in {seconds:.2} s, {ended_a_second:.0}/s")
    };
    format!(
        "  alone         {}\n  beside a load {}\n  live before   {}\n  live during   {}",
        changed(&round.alone),
        changed(&round.beside),
        round.before.line(),
        round.during.line()
    )
}

fn alone(of: &Changing) -> anyhow::Result<Changed> {
    let mut bench = Bench::start(of)?;
    let (changed, _) = bench.change(&|| bench.lethe.has_ended())?;
    bench.lethe.stop()?;
    Ok(changed)
}

fn beside(of: &Changing) -> anyhow::Result<Round> {
    let mut bench = Bench::start(of)?;
    let settings = bench.site.settings(0);
    let shape = live_shape();
    let Changing { rate, warm_up, before, partitions, .. } = *of;
    let pace = Pace { shape: &shape, rate, warm_up, measured: WORK_WITHIN, partitions };
    let change = |ended: &dyn Fn() -> bool| bench.change(ended);
    let (beside, [before, during]) =
        beside::measure(pace, before, &settings, &bench.lethe, change)?;
    bench.lethe.stop()?;
    Ok(Round { alone: Changed::default(), beside, before, during })
}

/// A process with a filled ledger.
struct Bench<'b> {
    of: &'b Changing,
    site: Site,
    /// Whose sent messages are erased.
    user: String,
    http: SocketAddr,
    lethe: Running,
    /// Removed at the end.
    _data: tempfile::TempDir,
}

impl<'b> Bench<'b> {
    fn start(of: &'b Changing) -> anyhow::Result<Self> {
        let site = Site::new(&of.settings, of.partitions);
        site.make_topics(0)?;
        let data = tempfile::Builder::new().prefix("bench-").tempdir_in(&of.scratch)?;
        let settings = site.settings(0);
        let own = chooses(&tenant(), "30d");
        let live = live_shape();
        let others = live.controls().filter(|control| control.key != own.key);
        let controls: Vec<Control> = others.chain([own.clone()]).collect();
        let producer = load::producer(&settings.brokers)?;
        load::say_all(&producer, &settings.topics.control, controls.iter().cloned())?;
        let (messages, conversations) = (of.records, of.conversations);
        let shape = Shape { messages, conversations, seed: FILL_SEED, ..live.clone() };
        let filling = Fill {
            settings: &settings,
            partitions: of.partitions,
            shape: Shape {
                delivered: false,
                tenants: 1,
                opted_in: 1,
                size: Size::Bytes(0),
                ..shape
            },
            controls: &controls,
            ages: AGES,
            scratch: data.path(),
        };
        let user = filling.shape(0, 0).sender(0, 0);
        fill(&filling)?;
        let http = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let command = site.run(0, &http.to_string(), &data.path().join("data"))?;
        let lethe = Running::start(command)?;
        let bench = Self { of, site, user, http, lethe, _data: data };
        bench.wait_until_live()?;
        bench.lethe.wait_until_at_rest();
        Ok(bench)
    }

    fn wait_until_live(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let live = page::get(self.http, "/metrics")
                .map(|(_, metrics)| page::sum(&metrics, names::LIVE_RECORDS));
            match live {
                Ok(live) if live == self.of.records as f64 => return Ok(()),
                Ok(_) | Err(_) if started.elapsed() < WORK_WITHIN && !self.lethe.has_ended() => {}
                live => bail!("of {} records {live:?} live", self.of.records),
            }
            thread::sleep(LOOK);
        }
    }

    /// Makes the change and waits until it is worked off; with when that was (Unix ms). `ended`: nothing more comes.
    fn change(&self, ended: &dyn Fn() -> bool) -> anyhow::Result<(Changed, [i64; 2])> {
        let settings = self.site.settings(0);
        let producer = load::producer(&settings.brokers)?;
        let audit = match self.of.change {
            Change::Cut => None,
            Change::Erase => Some(reports(&settings)?),
        };
        let (started, from_ms) = (Instant::now(), now_ms());
        load::say_all(&producer, &settings.topics.control, [self.control()])?;
        let records = loop {
            let done = match &audit {
                None => self.expired()?,
                Some(audit) => erased(audit)?,
            };
            if let Some(records) = done {
                break records;
            }
            if ended() || started.elapsed() > WORK_WITHIN {
                bail!("the change was not worked off");
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        let changed = Changed { ended: records, seconds, ended_a_second: records as f64 / seconds };
        Ok((changed, [from_ms, now_ms()]))
    }

    fn control(&self) -> Control {
        match self.of.change {
            Change::Cut => chooses(&tenant(), "1d"),
            Change::Erase => {
                let value = json!({ "tenant": tenant(), "user": self.user }).to_string();
                Control { key: record_key(&["erasure", "bench"]), value }
            }
        }
    }

    /// How many records have expired, once all have.
    fn expired(&self) -> anyhow::Result<Option<u64>> {
        thread::sleep(LOOK);
        let (_, metrics) = page::get(self.http, "/metrics")?;
        let tombstones = metrics.lines().filter(|line| line.contains("reason=\"expired\""));
        let tombstones = tombstones.collect::<Vec<_>>().join("\n");
        let expired = page::sum(&tombstones, names::TOMBSTONES) as u64;
        Ok((expired >= self.of.records).then_some(expired))
    }
}

/// The tenant that is changed: the largest of the live load.
fn tenant() -> String {
    Tenant::crowd(1, 1, 1.0, 0).swap_remove(0).name
}

/// The tenant stores, and has done so for longer than any message is old.
fn chooses(tenant: &str, retention: &str) -> Control {
    let choice =
        json!({ "storage": "in", "retention": retention, "since": "2020-01-01T00:00:00Z" });
    let value = json!({ "message": choice }).to_string();
    Control { key: record_key(&["tenant", tenant]), value }
}

/// The load that figures are compared by.
fn live_shape() -> Shape {
    Shape { messages: u64::MAX, ..Shape::default() }
}

/// A reader of lethe's reports, from their start.
fn reports(settings: &PipelineSettings) -> anyhow::Result<BaseConsumer> {
    let consumer: BaseConsumer = config::input(settings, "auditor").create().context("a reader")?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&settings.topics.audit, 0, Offset::Beginning)?;
    consumer.assign(&list)?;
    Ok(consumer)
}

/// How many records an erasure has ended, once it is reported as completed.
fn erased(audit: &BaseConsumer) -> anyhow::Result<Option<u64>> {
    let Some(message) = audit.poll(CALL_TIMEOUT.min(LOOK)) else { return Ok(None) };
    let message = message?;
    let report: Value = serde_json::from_slice(message.payload().unwrap_or_default())?;
    if report.get("type") != Some(&json!("erasure-completed")) {
        return Ok(None);
    }
    let ended = report.pointer("/by_class/message/ended").and_then(Value::as_u64);
    Ok(Some(ended.unwrap_or_default()))
}
