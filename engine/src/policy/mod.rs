//! What tenants and operators said of their records, and what follows from it.
//!
//! [`ControlRecord`] parses what the control topic carries, [`Rules`] puts together what holds for one tenant,
//! and [`verdict()`] decides about one record.

pub mod duration;
mod erasure;
mod hold;
mod record;
mod replay;
mod rules;
mod scope;
mod tenant;
mod terms;
mod verdict;

pub use duration::Retention;
pub use erasure::{Erasure, ErasureLine, Erasures, InForce, Reach, TenantErasures};
pub use hold::{Hold, Holds, TenantHolds};
pub use record::{ControlRecord, ID_BYTES_MAX, Refused, Statement, Subject, TENANT_BYTES_MAX};
pub use replay::{Mode, Place as ReplayPlace, Replay};
pub use rules::Rules;
pub use scope::{ByScope, Covered, Place, Scope, conversation_of};
pub use tenant::{Choice, RETENTION_DEFAULT_MS, TenantChoice};
pub use terms::{MONTHS_AFTER_END, Terms};
pub use verdict::{Decider, End, Facts, Keep, Verdict, View, keep, verdict};
/// Why a record's life ended: the `lethe-reason` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Its retention has passed.
    Expired,
    /// Transit content that every recipient has.
    Delivered,
    /// Transit content at the transit limit.
    Undelivered,
    /// Its sender took it back.
    Recalled,
    /// A profile or config item was removed, or its newer version replaced it in the other storage.
    Removed,
    /// An erasure request covers it.
    Erased,
    /// Its tenant opted out of storage.
    OptedOut,
    /// Its tenant's use ended.
    Ended,
    /// Its own time to live has passed.
    Burned,
}

impl Reason {
    /// The header's value, and the label's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Recalled => "recalled",
            Self::Removed => "removed",
            Self::Erased => "erased",
            Self::OptedOut => "opted-out",
            Self::Ended => "ended",
            Self::Burned => "burned",
        }
    }
}
