//! A partition that the group gave to this worker: its ledger, its engine, and how far it is.

use std::time::Duration;

use lethe_engine::{Engine, Origin};
use lethe_state::Store;

use super::census::Census;
use super::counters::Counts;
use super::provenance::{Provenance, differs};
use super::seam::Committed;
use super::upkeep::Upkeep;

/// What a partition is doing.
pub(super) enum Stage {
    /// Its state is to be opened, not before a moment of the monotonic clock.
    Opening { not_before: Duration, tries: u32 },
    /// Its ledger follows its changelog to the end.
    Restoring(Box<Restoring>),
    /// Its ledger is complete.
    Live(Box<Live>),
    /// It stands still: an operator has to do something, which was said.
    Refused,
}

impl Stage {
    /// To be opened at once.
    pub(super) fn opening() -> Self {
        Self::Opening { not_before: Duration::ZERO, tries: 0 }
    }
}

/// A ledger that follows its changelog.
pub(super) struct Restoring {
    pub(super) store: Store,
    /// Not to be looked at before this moment: an open transaction holds the end back.
    pub(super) not_before: Duration,
    /// What the group knows of it, and what the changelog holds, once asked.
    pub(super) goal: Option<Goal>,
    /// How often in a row there was no answer about it.
    pub(super) unanswered: u32,
    /// What the last delta says, as far as one was read.
    pub(super) last: Option<LastDelta>,
    /// A batch whose commit had no answer: its sequence, and what it did.
    pub(super) unsure: Option<(u64, Counts)>,
    /// Reads that ended in disagreement with the committed position.
    pub(super) disagreements: u32,
    /// Deltas applied so far, for the log.
    pub(super) applied: u64,
    /// Changelog records read and not yet counted, and the offset after the last.
    pub(super) records: u64,
    pub(super) next: i64,
}

impl Restoring {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            not_before: Duration::ZERO,
            goal: None,
            unanswered: 0,
            last: None,
            unsure: None,
            disagreements: 0,
            applied: 0,
            records: 0,
            next: 0,
        }
    }
}

/// Up to where a changelog is to be read.
pub(super) struct Goal {
    pub(super) committed: Option<Committed>,
    /// Everything below it has to be read.
    pub(super) end: i64,
}

/// What the last delta on the changelog says.
#[derive(Clone, Debug)]
pub(super) struct LastDelta {
    pub(super) input_offset: i64,
    /// Of which topics its offsets are.
    pub(super) provenance: Provenance,
    /// When the broker wrote it.
    pub(super) written_ms: i64,
}

/// A partition whose ledger is complete.
pub(super) struct Live {
    pub(super) store: Store,
    pub(super) engine: Engine,
    /// The key of its deltas: of which topics their offsets are.
    pub(super) key: Vec<u8>,
    /// The input is the one of which a rebuilt ledger knows an offset.
    pub(super) input_known: bool,
    /// The next input offset to process.
    pub(super) next: i64,
    /// The same as of the last commit: where an aborted batch goes back to.
    pub(super) committed: i64,
    /// The first delta after the take-over is committed, so that the broker's time is known.
    pub(super) announced: bool,
    /// Its input flows.
    pub(super) started: bool,
    /// Every control record below has been applied in this batch or before.
    pub(super) control_seen: i64,
    /// What the engine was last told of the control topic; none: nothing yet.
    pub(super) suspended: Option<bool>,
    /// The batch at hand has a delta for it, even if it is empty.
    pub(super) touched: bool,
    /// The engine was called since the last commit: it may have something to flush.
    pub(super) stirred: bool,
    /// The next look is not before this time (Unix ms, by the clock that ends things).
    pub(super) look_not_before_ms: i64,
    pub(super) overdue_since_ms: Option<i64>,
    pub(super) counts: Counts,
    /// Bytes of the delta of the batch at hand.
    pub(super) delta_bytes: u64,
    /// What is done about its changelog.
    pub(super) upkeep: Upkeep,
    /// How many records live.
    pub(super) census: Census,
}

impl Live {
    pub(super) fn new(
        store: Store,
        engine: Engine,
        provenance: &Provenance,
        next: i64,
        upkeep: Upkeep,
    ) -> Self {
        let of = engine.rebuilt().and_then(|rebuilt| rebuilt.input.as_ref());
        Self {
            input_known: !differs(of, provenance.input.as_ref()),
            key: provenance.key(),
            store,
            engine,
            next,
            committed: next,
            announced: false,
            started: false,
            control_seen: 0,
            suspended: None,
            touched: true,
            stirred: false,
            look_not_before_ms: i64::MIN,
            overdue_since_ms: None,
            counts: Counts::default(),
            delta_bytes: 0,
            upkeep,
            census: Census::default(),
        }
    }

    /// What the offset of a record of the input says.
    pub(super) const fn origin(&self, offset: i64) -> Origin {
        if self.input_known { Origin::Input(offset) } else { Origin::Elsewhere }
    }

    /// Whether the batch at hand has done anything with it.
    pub(super) fn in_batch(&self) -> bool {
        self.touched || self.stirred
    }
}
