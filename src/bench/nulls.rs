//! The floor of expiry: the same tombstones, produced in transactions with lethe's own settings, and
//! nothing else.
//!
//! Their keys are made beforehand. As lethe does, each worker has partitions of its own, writes the keys of
//! a partition tenant by tenant, and commits by time or size.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use lethe_proto::v1;
use prost::Message as _;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde::{Deserialize, Serialize};

use super::load::send;
use super::messages::{Messages, Shape};
use super::own_cpu;
use crate::pipeline::kafka::{config, flush};
use crate::pipeline::settings::{
    BATCH_EFFECTS_MAX, CALL_TIMEOUT, CLOCK_RECORDS, LOOK_ROWS, PipelineSettings,
};
use crate::telemetry::process;
use crate::traffic::record_key;

/// What is to be produced.
#[derive(Clone, Debug)]
pub struct Nulls {
    /// Brokers, group (which begins the transactional ids), workers, commit interval and librdkafka's
    /// properties.
    pub settings: PipelineSettings,
    /// Where to.
    pub output: String,
    /// How many partitions that has.
    pub partitions: u32,
    /// Whose messages' tombstones.
    pub shape: Shape,
}

/// What was produced.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Produced {
    /// Tombstones.
    pub records: i64,
    /// How long it took.
    pub seconds: f64,
    /// CPU seconds meanwhile, of the whole process.
    pub cpu_seconds: f64,
    /// Resident memory at the end, with all keys in it.
    pub memory_bytes: u64,
}

/// Produces them.
///
/// # Errors
/// The broker refuses something.
pub fn nulls(of: &Nulls) -> anyhow::Result<Produced> {
    let keys = keys(&of.shape, of.partitions)?;
    let records: usize = keys.iter().map(|(_, keys)| keys.len()).sum();
    let mut workers = Vec::new();
    for number in 0..of.settings.workers {
        let share = keys.iter().skip(number).step_by(of.settings.workers).collect();
        workers.push(Worker::new(of, number, share)?);
    }
    let (started, cpu_before) = (Instant::now(), own_cpu::of_process());
    let done: anyhow::Result<()> = thread::scope(|scope| {
        let started: Vec<_> =
            workers.iter_mut().map(|worker| scope.spawn(|| worker.run())).collect();
        for worker in started {
            worker.join().map_err(|_| anyhow!("a worker has panicked"))??;
        }
        Ok(())
    });
    done?;
    Ok(Produced {
        records: i64::try_from(records)?,
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: own_cpu::of_process() - cpu_before,
        memory_bytes: process::used("self").map_or(0.0, |(_, resident)| resident) as u64,
    })
}

/// The record keys of all messages, by partition and there tenant by tenant in the order of their times.
fn keys(shape: &Shape, partitions: u32) -> anyhow::Result<Vec<(i32, Vec<String>)>> {
    let mut messages = Messages::new(shape);
    let mut keys: Vec<(i32, Vec<String>)> =
        (0..i32::try_from(partitions)?).map(|number| (number, Vec::new())).collect();
    let partitions = keys.len();
    while let Some(record) = messages.next_record(0) {
        let event = v1::MessageEvent::decode(&*record.value)?;
        let mut hasher = DefaultHasher::new();
        record.key.hash(&mut hasher);
        let partition = hasher.finish() as usize % partitions.max(1);
        if let Some((_, keys)) = keys.get_mut(partition) {
            keys.push(record_key(&[&event.tenant, &event.conversation, &event.message]));
        }
    }
    for (_, keys) in &mut keys {
        // Stable: a tenant's own stay in the order of their times.
        keys.sort_by(|a, b| a.split('/').next().cmp(&b.split('/').next()));
    }
    Ok(keys)
}

struct Worker<'k> {
    producer: BaseProducer,
    output: String,
    interval: Duration,
    share: Vec<&'k (i32, Vec<String>)>,
    /// When the transaction began, and how many records it has.
    since: Option<Instant>,
    records: usize,
}

impl<'k> Worker<'k> {
    fn new(of: &Nulls, number: usize, share: Vec<&'k (i32, Vec<String>)>) -> anyhow::Result<Self> {
        let transactional_id = format!("{}-nulls-{number}", of.settings.group);
        let producer: BaseProducer =
            config::output(&of.settings, &transactional_id).create().context("a producer")?;
        producer.init_transactions(CALL_TIMEOUT)?;
        Ok(Self {
            producer,
            output: of.output.clone(),
            interval: of.settings.commit_interval,
            share,
            since: None,
            records: 0,
        })
    }

    /// A look's worth of each partition in turn, until there is none left.
    fn run(&mut self) -> anyhow::Result<()> {
        for look in 0.. {
            let mut over = true;
            for (partition, keys) in self.share.clone() {
                let left = keys.get(look * LOOK_ROWS..).unwrap_or_default();
                over &= left.is_empty();
                self.write(*partition, left.get(..LOOK_ROWS).unwrap_or(left))?;
            }
            if over {
                break;
            }
        }
        self.commit()
    }

    fn write(&mut self, partition: i32, keys: &[String]) -> anyhow::Result<()> {
        for key in keys {
            if self.since.is_none() {
                self.producer.begin_transaction()?;
                self.since = Some(Instant::now());
            }
            let headers = OwnedHeaders::new_with_capacity(2)
                .insert(Header { key: "lethe-reason", value: Some("expired") })
                .insert(Header { key: "lethe-policy", value: Some("100") });
            let record: BaseRecord<'_, str, [u8]> = BaseRecord::to(&self.output)
                .partition(partition)
                .key(key.as_str())
                .headers(headers);
            send(&self.producer, record)?;
            self.records += 1;
            let is_due = self.records.is_multiple_of(CLOCK_RECORDS)
                && self.since.is_some_and(|since| since.elapsed() >= self.interval);
            if is_due || self.records >= BATCH_EFFECTS_MAX {
                self.commit()?;
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        if self.since.take().is_some() {
            flush(&self.producer, CALL_TIMEOUT)?;
            self.producer.commit_transaction(CALL_TIMEOUT)?;
        }
        self.records = 0;
        Ok(())
    }
}
