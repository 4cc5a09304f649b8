//! Realistic traffic, for `lethe demo` and `lethe bench`: what an instant-messaging bus would carry.
//!
//! Pure and deterministic: the seed and the time are arguments, so that a run can be repeated.
//! Content begins with the marker that its maker was given, so that it can be searched for.
//!
//! - [`Tenant`]: who sends how much, what it chose, and the control records that say so.
//! - [`Life`]: everything that happens to one message, profile or config item, planned ahead.
//! - [`event`]: the events as bytes.

pub mod event;

mod life;
mod random;
mod shape;
mod tenant;

pub use event::{MessageId, Record, record_key};
pub use life::{ACTIVE_MS_MAX, LIFE_MS_MAX, Life, Planned, Plans, hash};
pub use random::Random;
pub use shape::{Content, Conversation, Conversations};
pub use tenant::{Choice, Control, Tenant};
