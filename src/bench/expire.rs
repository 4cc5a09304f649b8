//! Records that are due all at once: what their tombstones cost, beside the same nulls alone.
//!
//! In each round lethe takes in messages of tenants that all opted in, and comes to rest. Then one control
//! record a tenant shortens their retention: all of them are due at that moment. What it uses from there
//! until it is at rest again is what the tombstones cost: commits, flushes and compactions are in it.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::child::{self, Running, WORK_WITHIN};
use super::figures::{Comparison, Figures, Floor, Round, line};
use super::load::{self, Load};
use super::messages::Shape;
use super::nulls::Produced;
use super::page;
use super::pass_through;
use super::site::Site;
use crate::pipeline::kafka::config;
use crate::pipeline::settings::{CALL_TIMEOUT, PipelineSettings};
use crate::telemetry::names;
use crate::traffic::{Choice, Tenant};

/// How often it is looked how many tombstones are committed.
const LOOK: Duration = Duration::from_millis(25);
/// The retention that ends everything: all messages are older when it is written.
const SHORT_RETENTION_S: u32 = 1;
/// Long enough for the youngest message to be older than that.
const AGE: Duration = Duration::from_millis(1_500);

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Expire {
    /// Brokers, workers, commit interval and librdkafka's properties.
    pub settings: PipelineSettings,
    /// Messages that are due at once: see [`shape`].
    pub records: u64,
    /// Tenants.
    pub tenants: u32,
    /// Bytes of content.
    pub bytes: u32,
    /// Partitions of the input.
    pub partitions: u32,
    /// Rounds.
    pub rounds: u32,
    /// The seed of the messages.
    pub seed: u64,
    /// Where data directories are made.
    pub scratch: PathBuf,
}

/// Stored messages of so many tenants, not delivered.
#[must_use]
pub fn shape(records: u64, tenants: u32, bytes: u32, seed: u64) -> Shape {
    let size = super::messages::Size::Bytes(bytes);
    let (messages, opted_in) = (records, tenants);
    Shape { messages, delivered: false, size, tenants, opted_in, seed, ..Shape::default() }
}

/// Measures round by round; `told` hears of each step.
///
/// # Errors
/// The broker refuses something, or a child has not done its work.
pub fn expire(of: &Expire, told: &mut dyn FnMut(&str)) -> anyhow::Result<Comparison> {
    let mut rounds = Vec::new();
    for number in 1..=of.rounds {
        let site = Site::new(&of.settings, of.partitions);
        let bench = Bench { of, site: &site };
        let round = Round { lethe: bench.lethe()?, floor: bench.nulls()? };
        told(&format!(
            "round {number}: nulls        {}\n         lethe        {}",
            line(&round.floor),
            line(&round.lethe)
        ));
        rounds.push(round);
    }
    Ok(Comparison::new(Floor::Nulls, of.settings.workers, rounds))
}

struct Bench<'b> {
    of: &'b Expire,
    site: &'b Site,
}

impl Bench<'_> {
    fn shape(&self) -> Shape {
        shape(self.of.records, self.of.tenants, self.of.bytes, self.of.seed)
    }

    /// Fills the ledger, then ends all of it.
    fn lethe(&self) -> anyhow::Result<Figures> {
        let settings = self.site.settings(0);
        self.site.make_topics(0)?;
        load::load(&Load {
            brokers: settings.brokers.clone(),
            topic: settings.topics.messages.clone(),
            control: Some(settings.topics.control.clone()),
            shape: self.shape(),
            rate: None,
        })?;
        let loaded = Instant::now();
        let ends = pass_through::ends(&settings, &settings.topics.messages)?;
        let data_dir = tempfile::Builder::new().prefix("bench-").tempdir_in(&self.of.scratch)?;
        let http = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let command = self.site.run(0, &http.to_string(), data_dir.path())?;
        let mut lethe = Running::start(command)?;
        child::wait_until_committed(&lethe, &settings, &ends)?;
        lethe.wait_until_at_rest();
        thread::sleep(AGE.saturating_sub(loaded.elapsed()));

        let before = lethe.cpu_seconds();
        let records = i64::try_from(self.of.records)?;
        let watch = Watch::new(&settings, records)?;
        self.shorten(&settings)?;
        let (seconds, speed) = watch.wait(&lethe, || {
            let (_, metrics) = page::get(http, "/metrics")?;
            Ok(page::sum(&metrics, names::TOMBSTONES) as i64)
        })?;
        lethe.wait_until_at_rest();
        let cpu = Duration::from_secs_f64(lethe.cpu_seconds() - before);
        let used = lethe.stop()?;
        Ok(Figures::new(records, cpu, seconds, speed, used.maxrss))
    }

    /// Each tenant takes back its retention.
    fn shorten(&self, settings: &PipelineSettings) -> anyhow::Result<()> {
        let producer = load::producer(&settings.brokers)?;
        let choice = Choice::In { retention_s: SHORT_RETENTION_S };
        let tenants = Tenant::crowd(self.of.tenants, self.of.tenants, 1.0, SHORT_RETENTION_S);
        let controls = tenants.iter().map(|tenant| tenant.chooses(choice, choice));
        load::say_all(&producer, &settings.topics.control, controls).map(drop)
    }

    /// The floor, to topics of its own.
    fn nulls(&self) -> anyhow::Result<Figures> {
        self.site.make_topics(1)?;
        let settings = self.site.settings(1);
        let mut command = self.site.program(1)?;
        command.args(["bench", "nulls", "--json", "--output", &settings.topics.store_messages]);
        for (flag, value) in [
            ("--partitions", u64::from(self.of.partitions)),
            ("--records", self.of.records),
            ("--tenants", u64::from(self.of.tenants)),
            ("--seed", self.of.seed),
        ] {
            command.args([flag, &value.to_string()]);
        }
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("{command:?} has failed: {}", output.status);
        }
        let produced: Produced = serde_json::from_slice(&output.stdout)?;
        let Produced { records, seconds, cpu_seconds, memory_bytes } = produced;
        let cpu = Duration::from_secs_f64(cpu_seconds);
        Ok(Figures::new(records, cpu, seconds, records as f64 / seconds, memory_bytes))
    }
}

/// Watches the output of stored messages from the outside.
struct Watch {
    client: BaseConsumer,
    topic: String,
    partitions: Vec<i32>,
    before: i64,
    records: i64,
    started: Instant,
}

impl Watch {
    fn new(settings: &PipelineSettings, records: i64) -> anyhow::Result<Self> {
        let client: BaseConsumer = config::input(settings, "watcher").create()?;
        let topic = settings.topics.store_messages.clone();
        let partitions = pass_through::ends(settings, &topic)?.into_keys().collect();
        let mut watch =
            Self { client, topic, partitions, before: 0, records, started: Instant::now() };
        watch.before = watch.committed()?;
        Ok(watch)
    }

    /// How many records are stable on the topic, with the markers of transactions.
    fn committed(&self) -> anyhow::Result<i64> {
        let ends = self.partitions.iter().map(|&partition| {
            let (_, end) = self.client.fetch_watermarks(&self.topic, partition, CALL_TIMEOUT)?;
            Ok(end)
        });
        ends.sum()
    }

    /// Waits until all are over by the count of `tombstones`, which is asked once the topic has as many;
    /// how long that took, and how many a second it were from the first ones on.
    fn wait(
        &self,
        lethe: &Running,
        tombstones: impl Fn() -> anyhow::Result<i64>,
    ) -> anyhow::Result<(f64, f64)> {
        let mut first = None;
        loop {
            let ended = lethe.has_ended();
            let done = self.committed()? - self.before;
            if done > 0 {
                first.get_or_insert((Instant::now(), done));
            }
            if done >= self.records && tombstones()? >= self.records {
                break;
            }
            if ended || self.started.elapsed() > WORK_WITHIN {
                bail!("about {done} of {} tombstones are committed", self.records);
            }
            thread::sleep(LOOK);
        }
        let first = first.context("no tombstone was seen")?;
        let speed = child::speed(self.started, first, self.records);
        Ok((self.started.elapsed().as_secs_f64(), speed))
    }
}
