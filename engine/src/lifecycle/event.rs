//! What can be said about a record, as valid values: past the codec nothing else exists.
//!
//! Everything borrows from the input's bytes. Content has no place here: it is never looked at.

use crate::ledger::key::push_part;

/// A valid event of one of the input topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Of `im.messages`.
    Message(MessageEvent<'a>),
    /// Of `im.profiles`; the id is the user.
    Profile(VersionEvent<'a>),
    /// Of `im.configs`; the id is the item.
    Config(VersionEvent<'a>),
}

/// Where an event was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// At this offset of the partition of the input.
    Input(i64),
    /// Somewhere else, or in another incarnation of the input: its offset says nothing.
    #[default]
    Elsewhere,
}

/// An event about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageEvent<'a> {
    /// The app on the bus.
    pub tenant: &'a str,
    /// The conversation that the message belongs to.
    pub conversation: &'a str,
    /// The message's id, unique in its conversation.
    pub message: &'a str,
    /// When the message was sent (Unix ms): the same in every event about it.
    pub sent_at_ms: i64,
    /// What happened to it.
    pub action: MessageAction<'a>,
}

/// What can happen to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageAction<'a> {
    /// It was sent; the record's value is its content.
    Sent(Sent<'a>),
    /// It reached a recipient, or all of them.
    Delivered(Recipient<'a>),
    /// A user read it, and so has it.
    Read(&'a str),
    /// It was taken back.
    Recalled,
    /// Its content was replaced by the record's value.
    Edited {
        /// When (Unix ms): the highest wins.
        edited_at_ms: i64,
        /// The original's description, where the producer carries it along.
        sent: Option<Sent<'a>>,
    },
}

/// How a message was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent<'a> {
    /// The user who sent it.
    pub sender: &'a str,
    /// `lethe.v1.Kind` as its number.
    pub kind: u8,
    /// How many users must have it before it is delivered; 0: not stated.
    pub recipients: u32,
    /// How long it may live, counted from its sent time; 0: no limit of its own.
    pub ttl_ms: i64,
}

/// To whom a message was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient<'a> {
    /// To this user.
    User(&'a str),
    /// To everyone: there is nobody left to wait for.
    Everyone,
}

/// An event about something of which the newest version counts: a profile, a config item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionEvent<'a> {
    /// The app on the bus.
    pub tenant: &'a str,
    /// The user or the item.
    pub id: &'a str,
    /// When it was updated or removed (Unix ms): the highest wins.
    pub updated_at_ms: i64,
    /// What happened to it.
    pub action: VersionAction,
}

/// What can happen to a profile or a config item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionAction {
    /// The record's value is its new content.
    Set,
    /// It is gone.
    Removed,
}

impl Event<'_> {
    /// Whose it is.
    #[must_use]
    pub const fn tenant(&self) -> &str {
        match self {
            Self::Message(event) => event.tenant,
            Self::Profile(event) | Self::Config(event) => event.tenant,
        }
    }

    /// The sent or update time of the record that it is about (Unix ms).
    #[must_use]
    pub const fn time_ms(&self) -> i64 {
        match self {
            Self::Message(event) => event.sent_at_ms,
            Self::Profile(event) | Self::Config(event) => event.updated_at_ms,
        }
    }

    /// Who sent the message, where the event says so.
    pub(super) const fn sender(&self) -> &str {
        match self {
            Self::Message(event) => match event.action {
                MessageAction::Sent(sent) | MessageAction::Edited { sent: Some(sent), .. } => {
                    sent.sender
                }
                MessageAction::Edited { sent: None, .. }
                | MessageAction::Delivered(_)
                | MessageAction::Read(_)
                | MessageAction::Recalled => "",
            },
            Self::Profile(_) | Self::Config(_) => "",
        }
    }

    /// Appends what follows the tenant in the record key.
    pub(super) fn push_id(&self, id: &mut String) {
        match self {
            Self::Message(event) => {
                push_part(id, event.conversation);
                id.push('/');
                push_part(id, event.message);
            }
            Self::Profile(event) | Self::Config(event) => push_part(id, event.id),
        }
    }
}
