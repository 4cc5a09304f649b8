//! Whether a partition of an input is meant to be processed.
//!
//! When an input gains partitions, keys move between them: what is known of a record stays where it
//! was. So the partitions beyond those of the changelog wait until an operator has accepted them,
//! and the changelog's own number of partitions is the record of that: `lethe run` never raises it.

use super::clock::HostClock;
use super::seam::{Fault, Kafka, PartitionId, Role};
use super::settings::OUTPUTS;
use super::worker::Worker;

/// What is known of the partitions of an input.
pub(super) enum Room {
    /// So many are processed, and this is one of them.
    For(i32),
    /// This one is not: why, and what to do.
    Not(String),
}

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// Looks at the partitions that there are now.
    pub(super) fn room(&self, id: PartitionId) -> Result<Room, Fault> {
        let input = self.kafka.partitions(Role::Input(id.class))?;
        let accepted = self.kafka.partitions(Role::Changelog(id.class))?;
        let topics = &self.desk.settings.topics;
        if id.partition >= accepted {
            return Ok(Room::Not(format!(
                "{} has {input} partitions, of which {accepted} were accepted: keys have moved to \
                 this one, and what is known of their records has not. \
                 `lethe topics apply --accept-partitions` adds it to {} and accepts that",
                topics.input(id.class),
                topics.name(Role::Changelog(id.class)),
            )));
        }
        for role in OUTPUTS {
            if !matches!(role, Role::Output(class, _) if class == id.class) {
                continue;
            }
            let there = self.kafka.partitions(role)?;
            if id.partition >= there {
                return Ok(Room::Not(format!(
                    "its output {} has {there} partitions: `lethe topics apply` adds what is missing",
                    topics.name(role)
                )));
            }
        }
        Ok(Room::For(input.min(accepted)))
    }
}
