//! The control topic as those who write to it see it: what is in force, what waits, and changes to it.
//!
//! - [`book`]: what the topic says under each key;
//! - [`topic`]: reading it whole, and changing it so that no two writers overwrite each other;
//! - [`key`] and [`value`]: records made of what was asked for;
//! - [`erasure`]: until when one may not go;
//! - `replay`: whether one can be, and its range as offsets;
//! - [`safety`]: what has to be confirmed first, and waits then;
//! - [`files`]: a directory of records, as a repository keeps them.
//!
//! Invariant: what is written here has passed the parser that the processor uses; nothing that it
//! would refuse gets onto the topic.

pub mod book;
pub mod erasure;
pub mod files;
pub mod key;
mod replay;
pub mod safety;
pub mod topic;
pub mod value;

pub use book::{Book, Entry, Version};
pub use topic::{Change, ControlError, ControlTopic, Expected, allowed, check};
