//! What a store belongs to. Written when it is made, compared whenever it is opened, so that a directory
//! that was copied, or whose topic was deleted and made anew, is never taken for the right one.

use std::fmt;
use std::path::Path;

use crate::error::StateError;

const LAYOUT: u8 = 1;

/// What a store belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The Kafka cluster's id.
    pub cluster: String,
    /// The input topic.
    pub topic: String,
    /// The id of the changelog, of which the store is a prefix, where the broker tells it. Compared where both
    /// sides know it; a store that does not know it yet learns it.
    pub changelog_id: Option<String>,
    /// The partition of the input topic.
    pub partition: i32,
    /// How many partitions of the input topic are processed: keys move between partitions when this
    /// changes. A store takes over a greater number: whoever opens it has made sure that it is meant.
    pub partitions: i32,
}

/// The part of an [`Identity`] in which two differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityField {
    /// The cluster's id.
    Cluster,
    /// The topic's name.
    Topic,
    /// The changelog's id: it was deleted and made anew.
    ChangelogId,
    /// The partition.
    Partition,
    /// The number of the topic's partitions.
    Partitions,
}

impl fmt::Display for IdentityField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "the cluster",
            Self::Topic => "the topic",
            Self::ChangelogId => "the changelog with the id",
            Self::Partition => "partition",
            Self::Partitions => "a topic whose number of partitions is",
        })
    }
}

impl Identity {
    /// The value of the identity row.
    pub(crate) fn row(&self) -> Vec<u8> {
        let mut row = vec![LAYOUT];
        row.extend_from_slice(&self.partition.to_be_bytes());
        row.extend_from_slice(&self.partitions.to_be_bytes());
        for text in
            [&self.cluster, &self.topic, self.changelog_id.as_ref().unwrap_or(&String::new())]
        {
            // Names of a cluster and a topic are at most a few hundred bytes long.
            row.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            row.extend_from_slice(text.as_bytes());
        }
        row
    }

    /// Reads an identity row.
    pub(crate) fn read(row: &[u8]) -> Option<Self> {
        let (&LAYOUT, row) = row.split_first()? else {
            return None;
        };
        let (partition, row) = row.split_first_chunk()?;
        let (partitions, row) = row.split_first_chunk()?;
        let (cluster, row) = read_text(row)?;
        let (topic, row) = read_text(row)?;
        let (changelog_id, row) = read_text(row)?;
        row.is_empty().then(|| Self {
            cluster: cluster.to_owned(),
            topic: topic.to_owned(),
            changelog_id: (!changelog_id.is_empty()).then(|| changelog_id.to_owned()),
            partition: i32::from_be_bytes(*partition),
            partitions: i32::from_be_bytes(*partitions),
        })
    }

    /// What a store whose row says `self` is to say from now on, opened as `expected`; an error if it is
    /// another's.
    pub(crate) fn reconcile(self, expected: &Self, dir: &Path) -> Result<Self, StateError> {
        let other = |field, found: &dyn fmt::Display, expected: &dyn fmt::Display| {
            Err(StateError::OtherIdentity {
                dir: dir.to_owned(),
                field,
                found: found.to_string(),
                expected: expected.to_string(),
            })
        };
        if self.cluster != expected.cluster {
            return other(IdentityField::Cluster, &self.cluster, &expected.cluster);
        }
        if self.topic != expected.topic {
            return other(IdentityField::Topic, &self.topic, &expected.topic);
        }
        if let (Some(found), Some(expected)) = (&self.changelog_id, &expected.changelog_id)
            && found != expected
        {
            return other(IdentityField::ChangelogId, found, expected);
        }
        if self.partition != expected.partition {
            return other(IdentityField::Partition, &self.partition, &expected.partition);
        }
        if self.partitions > expected.partitions {
            return other(IdentityField::Partitions, &self.partitions, &expected.partitions);
        }
        let changelog_id = self.changelog_id.or_else(|| expected.changelog_id.clone());
        Ok(Self { changelog_id, ..expected.clone() })
    }
}

fn read_text(row: &[u8]) -> Option<(&str, &[u8])> {
    let (length, row) = row.split_first_chunk()?;
    let (text, row) = row.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((std::str::from_utf8(text).ok()?, row))
}
