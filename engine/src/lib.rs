//! What a record's life means: which policies hold for it, when it ends, what keeps it.
//!
//! This crate decides; it does nothing. It has no IO, no clock and no randomness: time, rows and
//! control records come in as arguments, and what is to be emitted or remembered goes out as values
//! ([`Effects`]) and as rows of a [`Ledger`]. Its dependencies are the proof: there is no Kafka,
//! no database and no runtime among them.
//!
//! - [`policy`]: what tenants and operators said, and [`policy::verdict`], the one place where
//!   precedence is decided.
//! - [`lifecycle`]: what an event, a control record or the passing of time does to the ledger.
//! - [`ledger`]: the rows that are remembered, and how they are written as bytes.

pub mod ledger;
pub mod lifecycle;
pub mod policy;

pub use ledger::{Corrupt, Ledger, Rows};
pub use lifecycle::{
    Budget, Effect, Effects, Engine, Event, Looked, Mark, MessageAction, MessageEvent, Origin,
    Outcome, Recipient, Replaying, Sent, Tags, VersionAction, VersionEvent,
};
pub use policy::{ControlRecord, Reason};

/// What a topic carries, and so which rules hold for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Chat messages: text, pictures, audio, video and the rest.
    Message,
    /// User profiles: nickname, avatar, signature.
    Profile,
    /// A tenant's configuration items.
    Config,
}

impl Class {
    /// The name that metrics, logs and the API use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Profile => "profile",
            Self::Config => "config",
        }
    }
}

/// Where a record's content is: kept for its tenant, or passing through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Storage {
    /// On `store.*`: the tenant opted in.
    Stored,
    /// On `transit.*`: the tenant opted out, or chose nothing.
    Transit,
}

impl Storage {
    /// The value of the `lethe-storage` header.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Stored => "in",
            Self::Transit => "out",
        }
    }

    /// The name that metrics and logs use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Transit => "transit",
        }
    }
}
