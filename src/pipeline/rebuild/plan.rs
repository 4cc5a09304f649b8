//! Which partitions have lost their ledger, and whether it can be put together.

use std::collections::BTreeMap;

use super::{Asked, Failed};
use crate::pipeline::kafka::{Positions, RdKafka, RdLog};
use crate::pipeline::restore::changelog;
use crate::pipeline::seam::{Bounds, Committed, Fault, Kafka as _, PartitionId, Role};
use crate::pipeline::settings::{CLASSES, PipelineSettings};
use crate::pipeline::transaction::REBUILDING;

/// How often positions are asked for that an open transaction can still change, each time for a second.
const POSITIONS_TRIES: usize = 30;

/// A partition whose ledger is to be put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    pub(super) id: PartitionId,
    /// Up to where the lost ledger had seen the input.
    pub(super) position: i64,
    /// The lost ledger's last sequence, where the position tells it.
    pub(super) sequence: u64,
    /// Offsets of its outputs.
    pub(super) offsets: u64,
}

/// Looks at every partition.
pub(super) fn plan(
    settings: &PipelineSettings,
    kafka: &RdKafka,
    group: &Positions,
    log: &mut RdLog,
    asked: &Asked,
) -> Result<Vec<Lost>, Failed> {
    let (mut ids, mut there) = (Vec::new(), Vec::new());
    for class in CLASSES {
        let input = kafka.partitions(Role::Input(class))?;
        let of_changelog = match kafka.find(Role::Changelog(class))? {
            // A trial does not make it anew.
            None if asked.dry_run => None,
            Some(_) | None => Some(kafka.partitions(Role::Changelog(class))?),
        };
        // What an input has gained beyond its changelog waits to be accepted.
        let count = of_changelog.map_or(input, |count| count.min(input));
        let of_class = (0..count).map(|partition| PartitionId { class, partition });
        ids.extend(of_class.clone());
        there.extend(of_class.filter(|_| of_changelog.is_some()));
    }
    let changelogs: Vec<_> = there.iter().map(|&id| changelog(id)).collect();
    let lengths = super::read::stable(log, &changelogs)?.into_iter().map(|bounds| length(&bounds));
    let lengths: BTreeMap<PartitionId, u64> = there.into_iter().zip(lengths).collect();
    let committed = committed(group, &ids)?;
    let mut lost = Vec::new();
    for (id, committed) in ids.into_iter().zip(committed) {
        let changelog = lengths.get(&id).copied().unwrap_or_default();
        let name = format!("{}/{}", settings.topics.input(id.class), id.partition);
        let outputs = super::read::stable(log, &super::read::logs(id))?;
        let offsets: u64 = outputs.iter().map(length).sum();
        let Some(committed) = committed else {
            if offsets == 0 || changelog > 0 {
                // Nothing was ever done with it, or its changelog knows its position.
                continue;
            }
            return Err(Failed::Other(format!(
                "{name}: the group {} has no position, and the outputs hold something: how far the input \
                 was processed is not known. Set the group's position by hand to where lethe was: of what \
                 lies before, nothing that the outputs do not know is emitted again",
                settings.group
            )));
        };
        if changelog > 0 && committed.metadata != REBUILDING && !asked.all {
            continue;
        }
        let sequence = crate::pipeline::transaction::sequence(&committed.metadata);
        let sequence = sequence.filter(|_| committed.metadata != REBUILDING).unwrap_or_default();
        lost.push(Lost { id, position: committed.offset, sequence, offsets });
    }
    if lost.is_empty() {
        return Err(Failed::Other(
            "nothing is lost: every partition that has a position has a changelog, from which `lethe run` \
             restores it. --all puts the ledgers together all the same"
                .into(),
        ));
    }
    Ok(lost)
}

/// The group's positions; one that an open transaction can still change is waited for.
fn committed(group: &Positions, ids: &[PartitionId]) -> Result<Vec<Option<Committed>>, Failed> {
    let mut tries = 0;
    loop {
        match group.committed(ids) {
            Err(Fault::Retry(_)) if tries < POSITIONS_TRIES => tries += 1,
            answer => return Ok(answer?),
        }
    }
}

fn length(bounds: &Bounds) -> u64 {
    u64::try_from(bounds.end - bounds.start).unwrap_or_default()
}
