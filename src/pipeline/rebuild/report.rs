//! What a rebuild found, and what it could not know.

use serde::Serialize;

use crate::pipeline::seam::PartitionId;

/// What the outputs of a partition hold.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Found {
    /// Records with content on `store.*`.
    pub stored: u64,
    /// Records with content on `transit.*`.
    pub transit: u64,
    /// Versions that stand beside others.
    pub versions: u64,
    /// Records of which a null value is left.
    pub ended: u64,
    /// Transit messages to several: who of them has it already is not known.
    pub waiting: u64,
    /// Edited messages of which nothing but the last edit is left, and that does not tell who sent it.
    pub untold: u64,
    /// Records that are none of lethe's.
    pub foreign: u64,
    /// When the last of them was written (Unix ms).
    #[serde(skip)]
    pub(super) last_ms: i64,
}

/// A partition's part of a report.
#[derive(Clone, Debug, Serialize)]
pub struct OfPartition {
    /// The input topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The next input offset to process.
    pub position: i64,
    /// What was found.
    #[serde(flatten)]
    pub found: Found,
}

/// Something that the outputs do not tell.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Unknown {
    /// What it is.
    pub what: &'static str,
    /// What follows from it.
    pub so: &'static str,
    /// How many records it may concern; none: nobody knows.
    pub records: Option<u64>,
}

/// What a rebuild found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Nothing was written.
    pub dry_run: bool,
    /// Each partition.
    pub partitions: Vec<OfPartition>,
    /// What it could not know.
    pub unknown: Vec<Unknown>,
}

impl Report {
    pub(super) fn new(dry_run: bool) -> Self {
        let mut report = Self { dry_run, partitions: Vec::new(), unknown: Vec::new() };
        report.tell();
        report
    }

    pub(super) fn add(&mut self, topic: &str, id: PartitionId, position: i64, found: Found) {
        let topic = topic.to_owned();
        self.partitions.push(OfPartition { topic, partition: id.partition, position, found });
        self.tell();
    }

    /// Everything that was found.
    #[must_use]
    pub fn sum(&self) -> Found {
        self.partitions.iter().fold(Found::default(), |sum, one| Found {
            stored: sum.stored + one.found.stored,
            transit: sum.transit + one.found.transit,
            versions: sum.versions + one.found.versions,
            ended: sum.ended + one.found.ended,
            waiting: sum.waiting + one.found.waiting,
            untold: sum.untold + one.found.untold,
            foreign: sum.foreign + one.found.foreign,
            last_ms: sum.last_ms.max(one.found.last_ms),
        })
    }

    fn tell(&mut self) {
        let Found { waiting, untold, versions, .. } = self.sum();
        let unknown = |what, so, records| Unknown { what, so, records };
        self.unknown = vec![
            unknown(
                "who of the recipients of a message in transit has it already",
                "the wait begins anew, and the transit limit ends it at the latest",
                Some(waiting),
            ),
            unknown(
                "who sent a message, to how many, and for how long, where the last edit alone is left and does \
                 not tell",
                "a hold or an erasure of one user does not reach it; a time to live is read from its tags",
                Some(untold),
            ),
            unknown(
                "whether a version that stands beside a newer one had ended",
                "it goes as soon as nothing keeps it",
                Some(versions),
            ),
            unknown(
                "that a held message was recalled, or a held profile removed",
                "it lives until its retention ends",
                None,
            ),
            unknown(
                "a recall, a delivery or a removal that came before its record and whose record has not come",
                "it has not been said",
                None,
            ),
            unknown(
                "how many records an erasure had ended, and that a replay had been carried out",
                "erasures are carried out again over what is there and reported again; replays are not",
                None,
            ),
        ];
    }
}
