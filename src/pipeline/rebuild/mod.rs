//! Putting ledgers together whose changelog is lost: from what the outputs hold, the control records and the
//! group's positions. With lethe stopped.
//!
//! - `plan`: which partitions have lost their ledger;
//! - `read`: the outputs of a partition, into `scratch` rows;
//! - `build`: the ledger, by the engine;
//! - `publish`: a fresh snapshot on each changelog, then the positions of all at once.
//!
//! Invariants: a rebuild that dies leaves positions that nothing starts from, and is started again; content is
//! decoded in place and kept nowhere.

mod build;
mod plan;
mod publish;
mod read;
mod report;
mod scratch;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lethe_engine::ledger::{Corrupt, Rebuilt};
use lethe_engine::{ControlRecord, Storage};
use lethe_state::{Identity, Memory, StateError, Store};

use super::clock::{HostClock as _, SystemClock};
use super::control_reader::CONTROL;
use super::kafka::{Positions, RdKafka};
use super::provenance::Provenance;
use super::seam::{
    Fault, Kafka as _, LogPolled, LogReader as _, Output as _, PartitionId, Position, Reading, Role,
};
use super::settings::{PipelineSettings, SESSION_TIMEOUT};
use super::transaction::REBUILDING;
use crate::audit::{self, Author, LedgerRebuilt, What};
use plan::Lost;
pub use report::{Found, Report, Unknown};

/// Whose transactions are a rebuild's.
const INSTANCE: &str = "rebuild";
/// How long one is waited for that has just stopped: it keeps its place in the group for a while.
const MEMBERS_WAIT: Duration = SESSION_TIMEOUT.saturating_mul(2);
/// How often it is looked whether it has gone.
const MEMBERS_PAUSE: Duration = Duration::from_millis(500);
/// How long one poll of the control topic waits.
const POLL: Duration = Duration::from_millis(100);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Every partition, whether its ledger is lost or not.
    pub all: bool,
    /// Tell what would be found, and write nothing.
    pub dry_run: bool,
    /// By whom, for the audit.
    pub author: Author,
}

/// How far a rebuild is.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// Somebody is still in the group.
    Waiting,
    /// So many offsets of the outputs are to be read.
    Begun(u64),
    /// So many more are read.
    Read(u64),
    /// So many bytes of a partition's ledger are written.
    Written(u64),
}

/// Is told how far it is.
pub type Seen<'s> = &'s mut dyn FnMut(Progress);

/// Why a rebuild failed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Kafka does not answer, or refuses.
    #[error("{0}")]
    Kafka(#[from] Fault),
    /// The disk on which it works.
    #[error(transparent)]
    State(#[from] StateError),
    /// Something else, which the text says.
    #[error("{0}")]
    Other(String),
}

impl From<Corrupt> for Failed {
    fn from(corrupt: Corrupt) -> Self {
        Self::State(corrupt.into())
    }
}

/// Puts the lost ledgers together.
///
/// # Errors
/// Somebody is in the group, nothing is lost, or Kafka or the disk fail: nothing has changed then, or the positions
/// say that nothing may start from them until it was started again.
pub fn rebuild(settings: PipelineSettings, asked: Asked, seen: Seen<'_>) -> Result<Report, Failed> {
    let work = settings.data_dir.join(INSTANCE);
    let settings = Arc::new(settings);
    let kafka = RdKafka::connect(Arc::clone(&settings), INSTANCE.to_owned())?;
    kafka.learn_topics()?;
    let group = kafka.positions()?;
    until_nobody(&kafka, &settings.group, seen)?;
    let mut log = kafka.log(Reading::ToTheEnd)?;
    let lost = plan::plan(&settings, &kafka, &group, &mut log, &asked)?;
    let control = control(&kafka)?;
    if !asked.dry_run {
        let rebuilding = |lost: &Lost| Position {
            id: lost.id,
            offset: lost.position,
            metadata: REBUILDING.to_owned(),
        };
        group.set(&lost.iter().map(rebuilding).collect::<Vec<_>>())?;
    }
    seen(Progress::Begun(lost.iter().map(|lost| lost.offsets).sum()));
    let rebuilding = Rebuilding {
        settings: &settings,
        kafka: &kafka,
        group: &group,
        control: &control,
        asked: &asked,
    };
    let done = rebuilding.all(&work, &lost, seen);
    // Whatever became of it: nothing of it is needed again.
    drop(std::fs::remove_dir_all(&work));
    done
}

struct Rebuilding<'r> {
    settings: &'r PipelineSettings,
    kafka: &'r RdKafka,
    group: &'r Positions,
    control: &'r [ControlRecord],
    asked: &'r Asked,
}

impl Rebuilding<'_> {
    fn all(&self, work: &Path, lost: &[Lost], seen: Seen<'_>) -> Result<Report, Failed> {
        let wall_ms = SystemClock::default().now().wall_ms;
        // Behind every sequence that the lost ledgers had, so that nothing that is left of one goes on with it.
        let after = lost.iter().map(|lost| lost.sequence + 2).max().unwrap_or_default();
        let sequence = after.max(u64::try_from(wall_ms).unwrap_or_default());
        let mut output = self.kafka.output(0)?;
        if !self.asked.dry_run {
            output.init()?;
        }
        let mut report = Report::new(self.asked.dry_run);
        let (mut written, mut reports) = (Vec::new(), Vec::new());
        for lost in lost {
            let id = lost.id;
            drop(std::fs::remove_dir_all(work));
            let (mut store, stand, found) = self.one(work, lost, wall_ms, seen)?;
            let topic = self.settings.topics.input(id.class);
            report.add(topic, id, lost.position, found);
            if self.asked.dry_run {
                continue;
            }
            store.number(sequence)?;
            let key = self.provenance(id).key();
            let audit = self.audit(lost, found, wall_ms)?;
            written.push(publish::snapshot(&mut output, id, key, &mut store, stand, seen)?);
            reports.push(audit);
        }
        if !self.asked.dry_run {
            until_nobody(self.kafka, &self.settings.group, seen)?;
            publish::finish(&mut output, self.group, &written, &reports)?;
        }
        Ok(report)
    }

    /// Puts one partition's ledger together.
    fn one(
        &self,
        work: &Path,
        lost: &Lost,
        wall_ms: i64,
        seen: Seen<'_>,
    ) -> Result<(Store, publish::Stand, Found), Failed> {
        let Lost { id, position, .. } = *lost;
        let memory = Memory::new(self.settings.cache_bytes, self.settings.write_buffer_bytes);
        let identity = Identity {
            cluster: self.kafka.cluster_id().to_owned(),
            topic: self.settings.topics.input(id.class).to_owned(),
            changelog_id: None,
            partition: id.partition,
            partitions: 0,
        };
        let mut scratch = Store::open(&work.join("outputs"), &identity, &memory)?;
        let mut store = Store::open(&work.join("ledger"), &identity, &memory)?;
        let mut found = Found::default();
        let tick = &mut |offsets| seen(Progress::Read(offsets));
        let read = read::read(self.kafka, id, &mut scratch, &mut found, tick)?;
        let input = self.provenance(id).input;
        let rebuilt = Rebuilt { below: position, at_ms: wall_ms.max(found.last_ms), input };
        let control_offset = build::build(
            id.class,
            rebuilt,
            self.control,
            &read.seen,
            &mut scratch,
            &mut store,
            &mut found,
        )?;
        let stand = publish::Stand {
            input_offset: position,
            control_offset,
            decided_at_ms: found.last_ms,
            wall_ms,
        };
        Ok((store, stand, found))
    }

    /// What is reported of a partition: with the positions, so that it is there once, and not of what failed.
    fn audit(&self, lost: &Lost, outputs: Found, wall_ms: i64) -> Result<Vec<u8>, Failed> {
        let rebuilt = What::LedgerRebuilt(LedgerRebuilt {
            author: self.asked.author.clone(),
            class: lost.id.class.name(),
            partition: lost.id.partition,
            position: lost.position,
            outputs,
        });
        let report = audit::Report::new(rebuilt, wall_ms);
        report.json().map_err(|error| Failed::Other(format!("writing a report: {error}")))
    }

    fn provenance(&self, id: PartitionId) -> Provenance {
        Provenance {
            input: self.kafka.topic_id(Role::Input(id.class)),
            control: self.kafka.topic_id(Role::Control),
            group: Some(self.settings.group.clone()),
        }
    }
}

/// Waits for those who have just stopped, and refuses while anybody works.
fn until_nobody(kafka: &RdKafka, group: &str, seen: Seen<'_>) -> Result<(), Failed> {
    let started = Instant::now();
    loop {
        let Some(members) = kafka.group_members()? else {
            return Err(Failed::Other(format!(
                "the brokers do not tell who is in the group {group}: grant Describe on it"
            )));
        };
        if members.is_empty() {
            return Ok(());
        }
        if started.elapsed() > MEMBERS_WAIT {
            return Err(Failed::Other(format!(
                "the group {group} has members ({}): stop every lethe of the group first",
                members.join(", ")
            )));
        }
        seen(Progress::Waiting);
        thread::sleep(MEMBERS_PAUSE);
    }
}

/// Every record of the control topic, in order.
fn control(kafka: &RdKafka) -> Result<Vec<ControlRecord>, Failed> {
    let mut log = kafka.log(Reading::ToTheEnd)?;
    let mut records = Vec::new();
    let Some(&bounds) = read::stable(&mut log, &[CONTROL])?.first() else { return Ok(records) };
    if bounds.start >= bounds.end {
        return Ok(records);
    }
    log.open(CONTROL, bounds.start)?;
    loop {
        let polled = log.poll(POLL, &mut |record| {
            let key = record.key.unwrap_or_default();
            let (offset, at_ms) = (record.offset, record.timestamp_ms);
            records.push(ControlRecord::parse(offset, at_ms, key, record.value));
        })?;
        match polled {
            LogPolled::End(_) => return Ok(records),
            LogPolled::OutOfRange(_) => {
                return Err(Failed::Other("the control topic was truncated meanwhile".into()));
            }
            LogPolled::Record | LogPolled::Nothing => {}
        }
    }
}

impl Found {
    fn count(&mut self, storage: Storage) {
        match storage {
            Storage::Stored => self.stored += 1,
            Storage::Transit => self.transit += 1,
        }
    }
}
