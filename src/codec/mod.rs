//! An input record's bytes as a valid event, read in place: nothing is copied or allocated.
//!
//! Invariant: past [`decode`] only valid events exist. The producer's content (fields from 16 up) is
//! stepped over by its length and never looked at; no error carries any of the input.

mod limits;
mod message;
mod version;
mod wire;

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;

pub use limits::{AHEAD_MS_MAX, ID_BYTES_MAX, TENANT_BYTES_MAX, TIME_MS_MAX, TimeLimits};

use lethe_engine::{Class, Event};

/// Why a record's value is not a valid event: the `lethe-error` header of the dead-letter topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not a protobuf message with the schema's types.
    #[error("the value is not an event of the schema")]
    Malformed,
    /// The message says nothing that this version knows.
    #[error("the value says nothing that lethe knows")]
    NoEvent,
    /// An id is missing, too long or reserved.
    #[error("an id is missing, too long or reserved")]
    Id,
    /// A time is outside 1970-9999 or too far ahead, or a time to live is negative.
    #[error("a time is out of range")]
    Time,
}

impl DecodeError {
    /// The header's value, and the metric's label.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "decode",
            Self::NoEvent => "no-event",
            Self::Id => "id",
            Self::Time => "time",
        }
    }
}

/// Reads a record's value as an event of its class.
///
/// An absent value reads like an empty one: it says nothing ([`DecodeError::NoEvent`]).
///
/// # Errors
/// What is wrong, checked in this order: the bytes, the presence of an event, ids, times.
pub fn decode(class: Class, value: &[u8], limits: TimeLimits) -> Result<Event<'_>, DecodeError> {
    match class {
        Class::Message => message::decode(value, limits).map(Event::Message),
        Class::Profile => version::decode(value, limits).map(Event::Profile),
        Class::Config => version::decode(value, limits).map(Event::Config),
    }
}
