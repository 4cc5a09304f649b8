//! Which topics there must be and with which settings; what is missing or wrong; how to mend it.
//!
//! [`plan()`] compares what is there with what is wanted, purely; [`admin`] looks and changes.
//!
//! Invariant: input topics are the producer's. They are never altered, and created only when told to.

pub mod admin;
pub mod control;
pub mod plan;
pub mod wanted;

mod log_in;
mod render;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

pub use plan::{Asked, Change, Plan, SettingChange, plan};
pub use render::Rendered;

/// A topic as the broker describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// How many partitions it has.
    pub partitions: i32,
    /// Every setting's effective value, wherever it comes from.
    pub settings: BTreeMap<String, String>,
    /// The names of those that are set on the topic itself.
    pub own: Vec<String>,
    /// Its settings may not be looked at: there are none here.
    pub hidden: bool,
}

impl Topic {
    /// A setting that is a number of something; -1 stays -1.
    #[must_use]
    pub fn number(&self, setting: &str) -> Option<i64> {
        self.settings.get(setting)?.parse().ok()
    }
}

/// The topics that are there, by name; one that is missing is not in it.
pub type Current = BTreeMap<String, Topic>;

/// Whose topic it is, for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The producer's.
    Input,
    /// What stays, for its retention.
    Store,
    /// What passes through.
    Transit,
    /// What tenants and operators say.
    Control,
    /// lethe's memory.
    Changelog,
    /// lethe's reports.
    Audit,
    /// Input that cannot be processed.
    DeadLetters,
}
