//! What the engine wants done: the outputs of one batch, as values.

use std::fmt::Write as _;

use crate::Storage;
use crate::ledger::{ErasureCounts, ReplayRow};
use crate::policy::{End, Reason};

/// What became of an input record; the `outcome` label of `lethe_records_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Its content went to `store.*`.
    Stored,
    /// Its content went to `transit.*`.
    Transit,
    /// An event about a known or coming record: remembered or acted on.
    Learned,
    /// A duplicate, or older than what is known.
    Known,
    /// Its record is over: nothing is emitted.
    Over,
    /// There is nothing that it could act on.
    Nothing,
}

impl Outcome {
    /// The label's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Transit => "transit",
            Self::Learned => "learned",
            Self::Known => "known",
            Self::Over => "over",
            Self::Nothing => "nothing",
        }
    }
}

/// The offset of the control record that decided, or none: the defaults did (`lethe-policy`).
pub type PolicyOffset = Option<i64>;

/// The tags of a content record, for information: policies change, a null value decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    /// What the policy of this moment gives the record in ms; none: for ever.
    pub retention_ms: Option<i64>,
    /// When that policy ends it (Unix ms); none: never.
    pub expires_at_ms: Option<i64>,
    /// Which control record says so.
    pub policy: PolicyOffset,
}

/// One thing to be done. Keys are record keys of the contract (`tenant/conversation/message` …).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// Emit the value of the input record at hand, byte for byte.
    Content {
        /// To which of the class's two topics.
        storage: Storage,
        /// The record key.
        key: &'a str,
        /// The tags.
        tags: Tags,
    },
    /// Emit a null value: the record's life has ended.
    Tombstone {
        /// On which of the class's two topics.
        storage: Storage,
        /// The record key.
        key: &'a str,
        /// Why it ended.
        reason: Reason,
        /// Which control record decided.
        policy: PolicyOffset,
    },
    /// Report to `lethe.audit`.
    Audit {
        /// The request or the tenant that it is about: the audit record's key.
        key: &'a str,
        /// What is reported.
        what: Audit,
    },
    /// Report to `lethe.audit` that a replay has come to its end in this partition.
    Replayed {
        /// The key of its control record.
        key: &'a str,
        /// The offset of its first control record.
        offset: i64,
        /// What it did.
        row: &'a ReplayRow,
    },
    /// Emit a null value under a reserved key: a replay in mode `refresh` begins or ends.
    Marker {
        /// On which of the class's two topics.
        storage: Storage,
        /// The reserved key: `lethe:replay/<id>`.
        key: &'a str,
        /// Which of them.
        mark: Mark,
    },
}

/// What a marker of a replay says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// What is live follows.
    Begin,
    /// All of it has come.
    End,
    /// The rest will not come.
    Cancelled,
}

impl Mark {
    /// The header's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::End => "end",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What is reported to `lethe.audit` of control records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// A control record is in force from now on.
    ControlInForce {
        /// Its offset.
        offset: i64,
    },
    /// A control record waits for its `effective_at`.
    ControlWaiting {
        /// Its offset.
        offset: i64,
        /// When it comes into force (Unix ms).
        effective_at_ms: i64,
    },
    /// A control record is invalid; the last valid one stays in force.
    ControlRefused {
        /// Its offset.
        offset: i64,
        /// What is wrong with it, without its content.
        why: &'static str,
    },
    /// A hold is in force from now on.
    HoldInForce {
        /// Its control record.
        offset: i64,
    },
    /// A hold is released.
    HoldReleased {
        /// The control record that withdrew it.
        offset: i64,
    },
    /// An erasure has been carried out in this partition.
    ErasureDone {
        /// Its control record.
        offset: i64,
        /// Since when it is in force (Unix ms).
        at_ms: i64,
        /// What it found here.
        counts: ErasureCounts,
    },
    /// The tenant's end of use has come into force.
    TenantEnded {
        /// The terms record that said so.
        offset: i64,
    },
}

impl Audit {
    /// Whether it is a fact of this partition alone: all others are the same in each.
    #[must_use]
    pub const fn is_of_partition(&self) -> bool {
        match self {
            Self::ErasureDone { .. } => true,
            Self::ControlInForce { .. }
            | Self::ControlWaiting { .. }
            | Self::ControlRefused { .. }
            | Self::HoldInForce { .. }
            | Self::HoldReleased { .. }
            | Self::TenantEnded { .. } => false,
        }
    }
}

/// Under which key a record is on its output topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    /// Its record key.
    Plain,
    /// The record key and the version's time (Unix ms): beside the others.
    Version(i64),
}

/// Keys that begin like this are lethe's own.
const RESERVED: &str = "lethe:";

/// The effects of a batch, in order, in buffers that are used again.
#[derive(Debug, Default)]
pub struct Effects {
    keys: String,
    /// Each effect, with where its key ends.
    list: Vec<(Kind, usize)>,
    /// Early events that found nothing to act on until the transit limit had passed.
    unmatched: u64,
    /// The replays that came to their ends, with their offsets: seldom, so apart.
    replayed: Vec<(i64, ReplayRow)>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Content {
        storage: Storage,
        tags: Tags,
    },
    Tombstone {
        storage: Storage,
        reason: Reason,
        policy: PolicyOffset,
    },
    Audit(Audit),
    /// Which of those that came to their ends.
    Replayed(usize),
    Marker {
        storage: Storage,
        mark: Mark,
    },
}

impl Effects {
    /// Empties the list, keeping its memory.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.list.clear();
        self.replayed.clear();
        self.unmatched = 0;
    }

    /// How many effects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Events that waited for a record which did not come within the transit limit.
    #[must_use]
    pub fn unmatched(&self) -> u64 {
        self.unmatched
    }

    /// The effects, in order.
    pub fn iter(&self) -> impl Iterator<Item = Effect<'_>> {
        let mut start = 0;
        self.list.iter().filter_map(move |&(kind, end)| {
            let key = self.keys.get(start..end).unwrap_or_default();
            start = end;
            Some(match kind {
                Kind::Content { storage, tags } => Effect::Content { storage, key, tags },
                Kind::Tombstone { storage, reason, policy } => {
                    Effect::Tombstone { storage, key, reason, policy }
                }
                Kind::Audit(what) => Effect::Audit { key, what },
                Kind::Replayed(number) => {
                    let (offset, row) = self.replayed.get(number)?;
                    Effect::Replayed { key, offset: *offset, row }
                }
                Kind::Marker { storage, mark } => Effect::Marker { storage, key, mark },
            })
        })
    }

    pub(crate) fn content(
        &mut self,
        storage: Storage,
        tenant: &str,
        id: &str,
        under: Under,
        tags: Tags,
    ) {
        self.push(Kind::Content { storage, tags }, tenant, id, under);
    }

    pub(crate) fn tombstone(
        &mut self,
        storage: Storage,
        tenant: &str,
        id: &str,
        under: Under,
        end: End,
    ) {
        let End { reason, policy, .. } = end;
        self.push(Kind::Tombstone { storage, reason, policy }, tenant, id, under);
    }

    pub(crate) fn audit(&mut self, key: &str, what: Audit) {
        self.keys.push_str(key);
        self.list.push((Kind::Audit(what), self.keys.len()));
    }

    pub(crate) fn replayed(&mut self, offset: i64, row: &ReplayRow) {
        self.keys.push_str(&row.control_key);
        self.list.push((Kind::Replayed(self.replayed.len()), self.keys.len()));
        self.replayed.push((offset, row.clone()));
    }

    pub(crate) fn marker(&mut self, storage: Storage, control_key: &str, mark: Mark) {
        self.keys.push_str(RESERVED);
        self.keys.push_str(control_key);
        self.list.push((Kind::Marker { storage, mark }, self.keys.len()));
    }

    /// How many tombstones are among the effects from one on.
    pub(crate) fn tombstones_from(&self, first: usize) -> u64 {
        let list = self.list.iter().skip(first);
        list.filter(|(kind, _)| matches!(kind, Kind::Tombstone { .. })).count() as u64
    }

    pub(crate) fn count_unmatched(&mut self) {
        self.unmatched += 1;
    }

    fn push(&mut self, kind: Kind, tenant: &str, id: &str, under: Under) {
        crate::ledger::key::push_part(&mut self.keys, tenant);
        self.keys.push('/');
        self.keys.push_str(id);
        if let Under::Version(time_ms) = under {
            // Writing to a String cannot fail.
            let _ = write!(self.keys, "/{time_ms}");
        }
        self.list.push((kind, self.keys.len()));
    }
}
