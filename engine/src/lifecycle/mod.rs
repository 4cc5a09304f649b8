//! What an event, a control record or the passing of time does to the ledger.

mod adopt;
mod beside;
mod case;
mod control;
mod conversation;
mod edits;
mod effect;
mod engine;
mod erasure;
mod event;
mod explain;
mod forecast;
mod judge;
mod look;
mod message;
mod newest;
mod refresh;
mod rehearsal;
mod replay;
mod replayed;
mod sweep;
mod version;

pub use adopt::{Found, FoundMessage, FoundVersions};
pub use effect::{Audit, Effect, Effects, Mark, Outcome, PolicyOffset, Tags};
pub use engine::Engine;
pub use event::{
    Event, MessageAction, MessageEvent, Origin, Recipient, Sent, VersionAction, VersionEvent,
};
pub use explain::{Deciding, Explanation, Search};
pub use forecast::{Ends, FORECAST_DAYS_MAX, Forecast};
pub use message::RECIPIENTS_COUNTED_MAX;
pub use replay::{REPLAYS_KEPT_MAX, Replaying};

use case::Case;

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
