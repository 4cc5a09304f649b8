//! The words of a history: what can happen to a partition, one step at a time.
//!
//! Invariant: a step says everything about itself, its time included, so that any part of a history is a history.

use lethe_engine::{Reason, Storage};

/// Times in histories count from here: 2026-01-01T00:00:00Z (Unix ms).
pub const START_MS: i64 = 1_767_225_600_000;

/// Something that happens at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the clock shows (ms since [`START_MS`]).
    pub now: i64,
    /// What happens.
    pub action: Action,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An event about a message.
    Message(Message, Said),
    /// A new version of a profile or a config item of that time.
    Set(Item, i64),
    /// The removal of a profile or a config item at that time.
    Remove(Item, i64),
    /// A record on the control topic: when it was written, its key and value (`@5` in it is a time).
    Control { written: i64, key: String, value: Option<String> },
    /// Looks for what is due: once with so many rows, or until there is no more to do.
    Look(Option<usize>),
    /// The batch commits.
    Commit,
    /// The batch commits, and the engine is opened anew.
    Reopen,
    /// The batch aborts, and the engine is opened anew.
    Abort,
    /// The control topic is not trusted, or is again.
    Suspend(bool),
    /// A compaction drops some of what may be forgotten (a seed chooses).
    Filter(u64),
    /// Everything that was said so far is read again.
    Again(Pass),
}

/// How everything is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Missing,
    Refresh,
    /// A dry run of mode `missing`.
    Rehearse,
}

/// A message: its path and its sent time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    pub tenant: String,
    pub conversation: String,
    pub message: String,
    /// In ms since [`START_MS`].
    pub sent_at: i64,
}

/// A profile or config item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    pub tenant: String,
    pub id: String,
}

/// What an event says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Sent(How),
    Delivered(String),
    DeliveredToAll,
    Read(String),
    Recalled,
    Edited { at: i64, sent: Option<How> },
}

/// How a message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct How {
    pub recipients: u32,
    pub ttl: i64,
    pub by: Sender,
}

/// Who sends: few enough that a scope of one user covers some and not others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sender {
    #[default]
    Alice,
    Bob,
}

impl Sender {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alice => "alice",
            Self::Bob => "bob",
        }
    }
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Content was emitted.
    Content { storage: Storage, key: String },
    /// A null value was emitted.
    Tombstone { storage: Storage, key: String, reason: Reason },
}

/// The key of a version of that time that stands beside others.
pub fn version_key(key: &str, at: i64) -> String {
    format!("{key}/{}", START_MS + at)
}

impl Message {
    /// Its record key; ids in histories need no encoding.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.tenant, self.conversation, self.message)
    }
}

impl Item {
    /// Its record key.
    pub fn key(&self) -> String {
        format!("{}/{}", self.tenant, self.id)
    }
}

/// A control value with its times written out: `@5` becomes an RFC 3339 time.
pub fn with_times(value: &str) -> String {
    let mut parts = value.split("\"@");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (time, rest) = part.split_once('"').expect("a quoted time");
        let at = jiff::Timestamp::from_millisecond(START_MS + super::text::ms(time)).unwrap();
        text.push_str(&format!("\"{at}\"{rest}"));
    }
    text
}
