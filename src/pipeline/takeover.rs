//! The end of taking over a partition: its ledger and its position agree, and it may start.

use std::time::Duration;

use lethe_engine::Engine;

use super::clock::{HostClock, Now};
use super::desk::Trouble;
use super::error::PipelineError;
use super::partition::{Live, Restoring, Stage};
use super::provenance::{Provenance, differs};
use super::restore::PAUSE;
use super::seam::{Committed, Fault, Input, Kafka, PartitionId, Role};
use super::settings::Beginning;
use super::transaction::{Mark, sequence};
use super::upkeep::Upkeep;
use super::worker::Worker;

/// How long a partition is left alone whose changelog another group has.
const OTHER_GROUP_PAUSE: Duration = Duration::from_secs(1);

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// Everything is read: where to start, if all of it agrees.
    pub(super) fn place(
        &mut self,
        id: PartitionId,
        now: Now,
        restoring: &mut Restoring,
    ) -> Result<Option<Place>, Trouble> {
        self.close_log(id);
        let Some(goal) = restoring.goal.take() else { return Ok(None) };
        restoring.store.check_whole()?;
        if let Some(why) = self.other_group(id, restoring)? {
            self.say(&why);
            restoring.not_before = now.monotonic + OTHER_GROUP_PAUSE;
            return Ok(None);
        }
        let applied = restoring.store.sequence();
        let next = match &goal.committed {
            Some(Committed { offset, metadata }) => match sequence(metadata) {
                Some(committed) if committed == applied => *offset,
                Some(committed) => {
                    let why = format!(
                        "its changelog ends at delta {applied}, the group's committed position \
                         is of delta {committed}: one of them was reset or lost records. \
                         Restore the changelog topic, or set the group's position by hand"
                    );
                    self.ask_again(id, now, restoring, &why)?;
                    return Ok(None);
                }
                None => {
                    tracing::warn!(
                        topic = self.desk.settings.topics.input(id.class),
                        partition = id.partition,
                        offset,
                        "the group's position was set by hand; lethe goes on from there"
                    );
                    *offset
                }
            },
            None => self.first_offset(id, restoring)?,
        };
        let bounds = self.input.bounds(id)?;
        if next < bounds.start {
            tracing::warn!(
                topic = self.desk.settings.topics.input(id.class),
                partition = id.partition,
                lost = bounds.start - next,
                "the input has dropped records before lethe read them"
            );
        }
        let refused = (next > bounds.end).then(|| {
            format!(
                "the input ends at {}, before the position {next}: it was recreated or \
                     truncated. Its events would be taken for known ones; set the group's position \
                     by hand to go on",
                bounds.end
            )
        });
        let engine = Engine::open(id.class, &mut restoring.store)?;
        if !self.control_fits(engine.control_offset())? {
            restoring.not_before = now.monotonic + PAUSE;
            return Ok(None);
        }
        let last = restoring.last.as_ref();
        let input = self.kafka.topic_id(Role::Input(id.class));
        let before = last.and_then(|last| last.provenance.input.as_ref());
        let by_hand =
            goal.committed.as_ref().is_some_and(|place| sequence(&place.metadata).is_none());
        let refused = refused
            .or_else(|| (!by_hand).then(|| other_input(before, input.as_ref())).flatten())
            .or_else(|| self.control_gap(&engine, last, now));
        let control = self.control_id(last.and_then(|last| last.provenance.control.as_ref()));
        let group = Some(self.desk.settings.group.clone());
        let provenance = Provenance { input: input.or_else(|| before.cloned()), control, group };
        // Where nobody says how long the changelog is, it is taken for long.
        let slack = self.desk.settings.changelog_slack_bytes;
        let unknown = Mark { snapshot: None, since: u64::from(applied > 0) * slack };
        let mark = goal.committed.and_then(|place| Mark::read(&place.metadata)).unwrap_or(unknown);
        Ok(Some(Place { next: next.max(bounds.start), engine, provenance, mark, refused }))
    }

    /// Why the partition must wait: another group has written its changelog, and may go on to do so, which
    /// nothing would fence.
    fn other_group(&self, id: PartitionId, restoring: &Restoring) -> Result<Option<String>, Fault> {
        let own = &self.desk.settings.group;
        let group = restoring.last.as_ref().and_then(|last| last.provenance.group.as_ref());
        let Some(group) = group.filter(|group| *group != own) else { return Ok(None) };
        let members = match self.kafka.members(group)? {
            Some(0) => {
                tracing::warn!(
                    topic = self.desk.settings.topics.input(id.class),
                    partition = id.partition,
                    before = group,
                    "the changelog was another group's, which has no members; this one goes on with it"
                );
                return Ok(None);
            }
            Some(count) => format!("which has {count} members"),
            None => {
                "of which the broker does not tell whether it has members (grant Describe on it)"
                    .to_owned()
            }
        };
        Ok(Some(format!(
            "the changelog of {} is that of the group {group}, {members}. One changelog must not have \
             two groups: this one waits until the other has ended. To process the input twice, give this \
             group outputs and a changelog of its own ([topics])",
            self.desk.settings.topics.input(id.class)
        )))
    }

    /// Where a group without a position begins.
    fn first_offset(&mut self, id: PartitionId, restoring: &Restoring) -> Result<i64, Trouble> {
        if let Some(last) = &restoring.last {
            tracing::warn!(
                topic = self.desk.settings.topics.input(id.class),
                partition = id.partition,
                offset = last.input_offset,
                "the group's position has expired; the changelog knows it"
            );
            return Ok(last.input_offset);
        }
        let bounds = self.input.bounds(id)?;
        Ok(match self.desk.settings.beginning {
            Beginning::Earliest => bounds.start,
            Beginning::Latest => bounds.end,
        })
    }

    pub(super) fn complete(
        &mut self,
        id: PartitionId,
        restoring: Restoring,
        place: Place,
    ) -> Result<Stage, PipelineError> {
        let topic = self.desk.settings.topics.input(id.class);
        *self.restored.entry(id.class).or_default() += restoring.records;
        if let Some((sequence, counts)) = &restoring.unsure
            && restoring.store.sequence() >= *sequence
        {
            self.desk.counters.committed(id.class, counts);
        }
        if let Some(why) = place.refused {
            tracing::error!(topic, partition = id.partition, "the partition stands still: {why}");
            restoring.store.flush()?;
            return Ok(Stage::Refused);
        }
        tracing::info!(
            topic,
            partition = id.partition,
            deltas = restoring.applied,
            sequence = restoring.store.sequence(),
            offset = place.next,
            "restored"
        );
        let upkeep = Upkeep::new(place.mark);
        let live = Live::new(restoring.store, place.engine, &place.provenance, place.next, upkeep);
        Ok(Stage::Live(Box::new(live)))
    }
}

/// Where a restored partition starts.
pub(super) struct Place {
    next: i64,
    engine: Engine,
    /// Of which topics its offsets are.
    provenance: Provenance,
    /// What its changelog holds.
    mark: Mark,
    /// Why it must not.
    refused: Option<String>,
}

/// Why positions of one input topic are none of another's.
fn other_input(before: Option<&String>, now: Option<&String>) -> Option<String> {
    differs(before, now).then(|| {
        format!(
            "the input was recreated (its id is {}, the ledger speaks of {}): its events would be \
             taken for known ones. Set the group's position by hand to go on with what the ledger \
             knows, so that nothing comes back",
            now.map_or("unknown", String::as_str),
            before.map_or("unknown", String::as_str)
        )
    })
}
