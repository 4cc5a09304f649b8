//! What an event, a control record or the passing of time does to the ledger.
mod effect;
mod event;

pub use effect::{Audit, Effect, Effects, Outcome, PolicyOffset, Tags};
pub use event::{
    Event, MessageAction, MessageEvent, Recipient, Sent, VersionAction, VersionEvent,
};

use crate::{Class, ControlRecord, Ledger, Storage};

/// How much work a look may do.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Ledger rows that it may still read.
    pub rows: usize,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    /// There is more to do at once: the budget ran out.
    pub more: bool,
    /// Since when the oldest overdue record has been overdue (Unix ms), if any is left.
    pub overdue_since_ms: Option<i64>,
}

/// The lifecycle of one partition: what it has cached of its ledger, and the decisions.
///
/// Everything in it can be read again from the ledger: after an aborted batch it is opened anew.
#[derive(Debug)]
pub struct Engine {
    class: Class,
}

impl Engine {
    /// Opens the engine of a partition over its committed ledger.
    pub fn open<L: Ledger>(class: Class, _ledger: &mut L) -> Result<Self, L::Error> {
        Ok(Self { class })
    }

    /// The class of the partition's records.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// Applies an event, in the order of its partition.
    pub fn apply<L: Ledger>(
        &mut self,
        _ledger: &mut L,
        _event: &Event<'_>,
        _now_ms: i64,
        _effects: &mut Effects,
    ) -> Result<Outcome, L::Error> {
        Ok(Outcome::Nothing)
    }

    /// The control offset to apply next: every record below it has been applied.
    #[must_use]
    pub fn control_offset(&self) -> i64 {
        0
    }

    /// Applies a control record, in the order of the control topic. One that has been applied is passed over.
    pub fn control<L: Ledger>(
        &mut self,
        _ledger: &mut L,
        _record: &ControlRecord,
        _now_ms: i64,
        _effects: &mut Effects,
    ) -> Result<(), L::Error> {
        Ok(())
    }

    /// Stops every tombstone, or lets them go again: for as long as the control topic is not trusted.
    pub fn suspend<L: Ledger>(
        &mut self,
        _ledger: &mut L,
        _suspended: bool,
        _now_ms: i64,
    ) -> Result<(), L::Error> {
        Ok(())
    }

    /// Ends what is due, within a budget; to be called between events, and while idle at [`Engine::wake_ms`].
    pub fn look<L: Ledger>(
        &mut self,
        _ledger: &mut L,
        _now_ms: i64,
        _budget: &mut Budget,
        _effects: &mut Effects,
    ) -> Result<Looked, L::Error> {
        Ok(Looked { more: false, overdue_since_ms: None })
    }

    /// When the next look is due (Unix ms), if anything is.
    #[must_use]
    pub fn wake_ms(&self) -> Option<i64> {
        None
    }

    /// Writes what the batch changed in the cache to the ledger: before its delta is taken.
    pub fn flush<L: Ledger>(&mut self, _ledger: &mut L) {}

    /// Counts the live records of each tenant and storage, as of the last flush.
    pub fn census<L: Ledger>(
        &self,
        _ledger: &mut L,
        _visit: &mut dyn FnMut(&str, Storage, u64),
    ) -> Result<(), L::Error> {
        Ok(())
    }
}
