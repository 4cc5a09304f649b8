//! What the group gives to this worker and takes away.
//!
//! A partition that is taken away leaves after its batch is committed (or aborted, if the group
//! has given up on this member) and its ledger is on disk.
//!
//! A member can be away from the group without hearing of it: librdkafka keeps what it had where a
//! rebalance goes on while it cannot reach the group, and comes back as a new member that believes to
//! own it. Others may have worked on it meanwhile, and may own it now: in a generation that both are
//! valid members of, so that the broker takes the commits of both. The generations tell that it was
//! away; it then lets go of all that it holds and goes on with a new consumer, as after a restart.

use super::clock::{HostClock, Now};
use super::error::PipelineError;
use super::partition::Stage;
use super::seam::{Fault, Input, Kafka, Membership, PartitionId};
use super::worker::Worker;

/// This worker's place in the group, compared with the one that it had when it last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tenure {
    /// It was never without it.
    Same,
    /// It may have been away in between.
    Another,
    /// It has none now.
    None,
}

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// New partitions: they stand still until they are restored.
    pub(super) fn assigned(&mut self, now: Now, ids: &[PartitionId]) -> Result<(), PipelineError> {
        match self.input.assign(ids) {
            Ok(()) => {}
            Err(Fault::Stop(why)) => return Err(PipelineError::Kafka(why)),
            // What the group gave may be another's by now: a new place makes it certain.
            Err(fault) => return self.give_place_up(now, &fault.to_string()),
        }
        // Before they are restored: who has them until then is told apart from here on.
        if self.membership() == Tenure::Another {
            return self.was_away(now);
        }
        for &id in ids {
            let topic = self.desk.settings.topics.input(id.class);
            self.health.assigned(self.number, topic, id.partition);
            self.shelf.own(id, self.number);
            self.desk.partitions.insert(id, Stage::opening());
        }
        self.given = true;
        self.health.joined(self.number);
        tracing::info!(worker = self.number, partitions = ids.len(), "assigned");
        Ok(())
    }

    /// Asks for this worker's place, and compares it with the one that it had.
    pub(super) fn membership(&mut self) -> Tenure {
        let Membership::Valid { generation } = self.input.membership() else { return Tenure::None };
        let before = self.generation.replace(generation);
        let goes_on =
            before.is_none_or(|before| (before..=before.saturating_add(1)).contains(&generation));
        if goes_on { Tenure::Same } else { Tenure::Another }
    }

    /// Others may have what this worker holds: nothing of it is worked on any more.
    pub(super) fn was_away(&mut self, now: Now) -> Result<(), PipelineError> {
        self.give_place_up(now, "this worker was away from its group")
    }

    /// Nothing of what it holds is worked on any more, and another place in the group is taken.
    fn give_place_up(&mut self, now: Now, why: &str) -> Result<(), PipelineError> {
        self.abort_batch(now, why)?;
        let held: Vec<PartitionId> = self.desk.partitions.keys().copied().collect();
        self.let_go(&held)?;
        self.displaced = true;
        Ok(())
    }

    /// Takes a place in the group with nothing in hand, of which the group gives it its share. Until it has one,
    /// there is nothing to do.
    pub(super) fn take_new_place(&mut self, now: Now) -> Result<(), PipelineError> {
        match self.kafka.input(self.number) {
            Ok(input) => {
                self.input = input;
                self.generation = None;
                self.displaced = false;
            }
            Err(Fault::Stop(why)) => return Err(PipelineError::Kafka(why)),
            Err(fault) => self.trouble(now, &fault.to_string()),
        }
        Ok(())
    }

    /// Partitions go, or are gone already.
    pub(super) fn revoked(
        &mut self,
        now: Now,
        ids: &[PartitionId],
        lost: bool,
    ) -> Result<(), PipelineError> {
        if lost {
            self.abort_batch(now, "the group has given this worker's partitions to others")?;
        } else {
            self.finish_batch(now)?;
        }
        self.let_go(ids)?;
        match self.input.unassign(ids) {
            Ok(()) => {}
            Err(Fault::Stop(why)) => return Err(PipelineError::Kafka(why)),
            // The group would wait for an answer that it does not get.
            Err(fault) => return self.give_place_up(now, &fault.to_string()),
        }
        tracing::info!(worker = self.number, partitions = ids.len(), lost, "revoked");
        Ok(())
    }

    /// Closes partitions, with their ledgers on disk.
    fn let_go(&mut self, ids: &[PartitionId]) -> Result<(), PipelineError> {
        for id in ids {
            self.close_log(*id);
            let stage = self.desk.partitions.remove(id);
            match stage {
                Some(Stage::Live(live)) => live.store.flush()?,
                Some(Stage::Restoring(restoring)) => restoring.store.flush()?,
                Some(Stage::Opening { .. } | Stage::Refused) | None => {}
            }
            let topic = self.desk.settings.topics.input(id.class);
            self.health.revoked(self.number, topic, id.partition);
            self.shelf.disown(*id, self.number);
        }
        Ok(())
    }

    /// Lets the input flow of every partition that has caught up with the control log.
    pub(super) fn start_ready(&mut self) -> Result<(), PipelineError> {
        let Some(end) = self.desk.control.end() else { return Ok(()) };
        let mut said = None;
        for (&id, stage) in &mut self.desk.partitions {
            let Stage::Live(live) = stage else { continue };
            let ready = live.announced && live.suspended.is_some() && live.control_seen >= end;
            if live.started || !ready {
                continue;
            }
            match self.input.start(id, live.next) {
                Ok(()) => {
                    live.started = true;
                    let topic = self.desk.settings.topics.input(id.class);
                    self.health.restored(self.number, topic, id.partition);
                }
                Err(Fault::Stop(why)) => return Err(PipelineError::Kafka(why)),
                Err(fault) => said = Some(fault.to_string()),
            }
        }
        if let Some(why) = said {
            self.say(&why);
        }
        Ok(())
    }

    /// Some position is outside of its log: the input's retention was faster than lethe, or the
    /// topic is another one.
    pub(super) fn check_positions(&mut self) -> Result<(), PipelineError> {
        let mut refused = Vec::new();
        let mut said = None;
        for (&id, stage) in &mut self.desk.partitions {
            let Stage::Live(live) = stage else { continue };
            let bounds = match self.input.bounds(id) {
                Ok(bounds) => bounds,
                Err(Fault::Stop(why)) => return Err(PipelineError::Kafka(why)),
                Err(fault) => {
                    said = Some(fault.to_string());
                    // Asked again when it is started again.
                    live.started = false;
                    continue;
                }
            };
            let topic = self.desk.settings.topics.input(id.class);
            if live.next > bounds.end {
                refused.push(id);
            } else if live.next < bounds.start {
                tracing::warn!(
                    topic,
                    partition = id.partition,
                    lost = bounds.start - live.next,
                    "the input has dropped records before lethe read them"
                );
                live.next = bounds.start;
                live.touched = true;
                live.started = false;
            }
        }
        for id in refused {
            let topic = self.desk.settings.topics.input(id.class);
            tracing::error!(
                topic,
                partition = id.partition,
                "the partition stands still: the input ends before lethe's position, so it was \
                 recreated or truncated; set the group's position by hand and restart lethe"
            );
            let stage = self.desk.partitions.insert(id, Stage::Refused);
            if let Some(Stage::Live(live)) = stage {
                live.store.flush()?;
            }
        }
        if let Some(why) = said {
            self.say(&why);
        }
        Ok(())
    }
}
