//! The records of `lethe.audit`, of whoever writes them: one schema, which docs/audit.md describes.
//!
//! Invariants: no content; a user's id is there as a keyed hash alone; a field once named keeps its meaning.

mod pseudonym;
mod told;

use std::collections::BTreeMap;

use lethe_engine::Class;
use lethe_engine::ledger::{ErasureCounts, ReplayRow, ReplayStatus};
use lethe_engine::lifecycle::Audit;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use pseudonym::Pseudonyms;

use crate::control::safety::Toll;
use crate::pipeline::rebuild;
use crate::pipeline::seam::PartitionId;

/// All reports are in one order.
pub const PARTITION: i32 = 0;
/// The key of reports of a rebuild, which no control record asks for.
pub const REBUILD: &str = "rebuild";

/// One report.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    what: What,
    /// When it was decided (Unix ms): by the processor, at the time that ends things.
    at_ms: i64,
}

/// What is reported.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum What {
    /// A control record is in force.
    ControlInForce {
        /// Where it lies.
        control_offset: i64,
    },
    /// A control record waits.
    ControlWaiting {
        /// Where it lies.
        control_offset: i64,
        /// When it comes into force (Unix ms).
        effective_at_ms: i64,
    },
    /// A control record is invalid.
    ControlRefused {
        /// Where it lies.
        control_offset: i64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A hold is in force.
    HoldInForce {
        /// Its control record.
        control_offset: i64,
    },
    /// A hold is released.
    HoldReleased {
        /// The control record that withdrew it.
        control_offset: i64,
    },
    /// A tenant's use has ended, and two months have passed.
    TenantEnded {
        /// The terms that said so.
        control_offset: i64,
    },
    /// An erasure has been carried out in a partition.
    ErasureDone(ErasureDone),
    /// An erasure has been carried out in every partition.
    ErasureCompleted {
        /// Its control record.
        control_offset: i64,
        /// Partitions that have carried it out.
        partitions: usize,
        /// What they found, by class.
        by_class: BTreeMap<&'static str, Found>,
    },
    /// A replay has come to its end in a partition.
    ReplayDone(Replayed),
    /// A replay was taken back before its end in a partition.
    ReplayCancelled(Replayed),
    /// A replay could not go on in a partition.
    ReplayRefused(Replayed),
    /// A ledger whose changelog was lost is put together from the outputs.
    LedgerRebuilt(LedgerRebuilt),
    /// Somebody has changed what a key says.
    ChangeMade(ChangeMade),
    /// Somebody has confirmed a change that the safety catch had held.
    ChangeConfirmed(ChangeConfirmed),
    /// Somebody's change was refused.
    ChangeRefused(ChangeRefused),
}

/// An erasure has been carried out in a partition.
#[derive(Debug, Serialize, Deserialize)]
pub struct ErasureDone {
    /// Its control record.
    pub control_offset: i64,
    /// Of which class the partition is.
    pub class: String,
    /// Its number.
    pub partition: i32,
    /// Since when the erasure is in force (Unix ms).
    pub in_force_at_ms: i64,
    /// What was found.
    #[serde(flatten)]
    pub found: Found,
}

/// What an erasure has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Records that it ended, and that are gone.
    pub ended: u64,
    /// Records that have ended and that a hold keeps.
    pub held: u64,
    /// Records that have ended and that the legal minimum keeps.
    pub minimum: u64,
    /// The earliest sent time of them (Unix ms); none: there was none.
    pub first_ms: Option<i64>,
    /// The latest (Unix ms).
    pub last_ms: Option<i64>,
}

/// What a replay did in a partition.
#[derive(Debug, Serialize)]
pub struct Replayed {
    /// Its first control record.
    pub control_offset: i64,
    /// Of which class the partition is.
    pub class: &'static str,
    /// Its number.
    pub partition: i32,
    /// Why it could not go on, if it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it began (Unix ms); none: its range was never known.
    pub began_at_ms: Option<i64>,
    /// The first offset of its range in the source.
    pub from: i64,
    /// The offset before which its range ends.
    pub to: i64,
    /// How far it came.
    pub next: i64,
    /// Records by outcome.
    pub counts: BTreeMap<&'static str, u64>,
    /// Live records at the end of a dry run of mode `refresh`.
    pub live: Option<u64>,
}

/// A ledger whose changelog was lost is put together from the outputs.
#[derive(Debug, Serialize)]
pub struct LedgerRebuilt {
    /// Who had it done.
    #[serde(flatten)]
    pub author: Author,
    /// Of which class the partition is.
    pub class: &'static str,
    /// Its number.
    pub partition: i32,
    /// The next input offset to process: of what lies before, nothing that the outputs do not know is emitted.
    pub position: i64,
    /// What was found.
    #[serde(flatten)]
    pub outputs: rebuild::Found,
}

/// Who changes what, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Author {
    /// Who: the name of the token; on the command line whoever it says to be.
    pub by: String,
    /// By which way.
    pub via: Via,
}

/// By which way a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The command line.
    Cli,
    /// The HTTP API.
    Http,
}

/// Somebody has changed what a key says.
#[derive(Debug, Serialize)]
pub struct ChangeMade {
    /// Who.
    #[serde(flatten)]
    pub author: Author,
    /// Where the record lies.
    pub control_offset: i64,
    /// Which record was the last one before; none: there was none.
    pub replaces: Option<i64>,
    /// What it says, with users as keyed hashes; none: what was said is withdrawn.
    pub value: Option<Value>,
}

/// Somebody has confirmed a change that the safety catch had held.
#[derive(Debug, Serialize)]
pub struct ChangeConfirmed {
    /// Who.
    #[serde(flatten)]
    pub author: Author,
    /// Where the record lies.
    pub control_offset: i64,
    /// When it comes into force (Unix ms), if it waits.
    pub effective_at_ms: Option<i64>,
    /// What the change, with those that were made with it, would end; none: it was not known.
    pub forecast: Option<Vec<Toll>>,
}

/// Somebody's change was refused.
#[derive(Debug, Serialize)]
pub struct ChangeRefused {
    /// Who.
    #[serde(flatten)]
    pub author: Author,
    /// Why, in a word.
    pub why: Refusal,
    /// What it would have ended, where the safety catch held it and that was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Vec<Toll>>,
}

/// Why a change was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The processor would refuse the record.
    Invalid,
    /// Something else is there than was expected.
    Conflict,
    /// The erasure is still needed.
    Needed,
    /// The safety catch held it.
    SafetyCatch,
}

impl Report {
    /// A report as of a time (Unix ms).
    #[must_use]
    pub const fn new(what: What, at_ms: i64) -> Self {
        Self { what, at_ms }
    }

    /// What the processor reports of a partition.
    #[must_use]
    pub fn of_partition(id: PartitionId, what: Audit, at_ms: i64) -> Self {
        let what = match what {
            Audit::ControlInForce { offset } => What::ControlInForce { control_offset: offset },
            Audit::ControlWaiting { offset, effective_at_ms } => {
                What::ControlWaiting { control_offset: offset, effective_at_ms }
            }
            Audit::ControlRefused { offset, why } => {
                What::ControlRefused { control_offset: offset, why }
            }
            Audit::HoldInForce { offset } => What::HoldInForce { control_offset: offset },
            Audit::HoldReleased { offset } => What::HoldReleased { control_offset: offset },
            Audit::TenantEnded { offset } => What::TenantEnded { control_offset: offset },
            Audit::ErasureDone { offset, at_ms, counts } => What::ErasureDone(ErasureDone {
                control_offset: offset,
                class: id.class.name().to_owned(),
                partition: id.partition,
                in_force_at_ms: at_ms,
                found: counts.into(),
            }),
        };
        Self { what, at_ms }
    }

    /// Of a replay that has come to its end in a partition.
    #[must_use]
    pub fn of_replay(id: PartitionId, offset: i64, row: &ReplayRow, at_ms: i64) -> Self {
        let replayed = |why: Option<&String>| Replayed {
            control_offset: offset,
            class: id.class.name(),
            partition: id.partition,
            why: why.cloned(),
            began_at_ms: row.began_at_ms,
            from: row.range.from,
            to: row.range.to,
            next: row.next,
            counts: row.counts.named().into_iter().collect(),
            live: row.live,
        };
        let what = match &row.status {
            ReplayStatus::Failed(why) => What::ReplayRefused(replayed(Some(why))),
            ReplayStatus::Cancelled => What::ReplayCancelled(replayed(None)),
            ReplayStatus::Waiting | ReplayStatus::Running | ReplayStatus::Done => {
                What::ReplayDone(replayed(None))
            }
        };
        Self { what, at_ms }
    }

    /// The record's value.
    ///
    /// # Errors
    /// It cannot be written, which is a bug.
    pub fn json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

impl ErasureDone {
    /// Reads a record's value; none: it reports something else.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Typed {
            #[serde(rename = "type")]
            kind: String,
            #[serde(flatten)]
            done: ErasureDone,
        }
        let typed: Typed = serde_json::from_slice(value).ok()?;
        (typed.kind == "erasure-done").then_some(typed.done)
    }

    /// Of which partition it is.
    #[must_use]
    pub fn partition(&self) -> Option<PartitionId> {
        let classes = [Class::Message, Class::Profile, Class::Config];
        let class = classes.into_iter().find(|class| class.name() == self.class)?;
        Some(PartitionId { class, partition: self.partition })
    }
}

impl Found {
    /// Adds what another partition found.
    pub fn add(&mut self, other: Self) {
        self.ended += other.ended;
        self.held += other.held;
        self.minimum += other.minimum;
        self.first_ms = self.first_ms.into_iter().chain(other.first_ms).min();
        self.last_ms = self.last_ms.max(other.last_ms);
    }
}

impl From<ErasureCounts> for Found {
    fn from(counts: ErasureCounts) -> Self {
        let ErasureCounts { ended, held, minimum, first_ms, last_ms } = counts;
        Self { ended, held, minimum, first_ms, last_ms }
    }
}

#[cfg(test)]
#[path = "audit/tests.rs"]
mod tests;
