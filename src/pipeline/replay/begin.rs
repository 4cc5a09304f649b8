//! The beginning of a replay in a partition: whether its source can be read, and its range as offsets.

use lethe_engine::Replaying;
use lethe_engine::ledger::ReplayRange;

use super::plan::{self, Kind, Spot};
use super::{Halt, source};
use crate::pipeline::clock::{HostClock, Now};
use crate::pipeline::partition::Stage;
use crate::pipeline::seam::{Fault, Kafka, PartitionId, Role, Source, SourceId, SourceTopic};
use crate::pipeline::worker::Worker;

/// A source that a partition can read.
pub(super) struct Readable {
    pub(super) kind: Kind,
    pub(super) topic: SourceTopic,
    pub(super) lane: SourceId,
    /// How many partitions the input has.
    pub(super) partitions: i32,
}

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// Freezes a replay's range, or refuses it.
    pub(super) fn begin_replay(
        &mut self,
        now: Now,
        id: PartitionId,
        replaying: Replaying,
    ) -> Result<(), Halt> {
        let Some(readable) = self.readable(id, &replaying)? else {
            let offset = replaying.offset;
            self.desk.act(id, now, |engine, store, _, _| {
                engine.leave_replay(store, offset);
                Ok(())
            })?;
            self.replays.hot = true;
            return Ok(());
        };
        let (range, lost) = self.range(id, &replaying, &readable)?;
        let (topic, partition) = (&readable.lane.topic, readable.lane.partition);
        let (from, to) = (range.from, range.to);
        let replay = replaying.row.id();
        tracing::info!(replay, source = topic, partition, from, to, "a replay begins");
        if lost > 0 {
            let left = to - from;
            tracing::warn!(
                replay,
                source = topic,
                partition,
                lost,
                left,
                "retention has removed the beginning of a replay's range; it reads what is left"
            );
        }
        self.desk.act(id, now, |engine, store, now_ms, effects| {
            let mut replaying = replaying;
            replaying.row.counts.lost += lost;
            engine.begin_replay(store, replaying, range, now_ms, effects);
            Ok(())
        })?;
        self.replays.hot = true;
        Ok(())
    }

    /// What a replay reads for a partition; none: it is none of its.
    pub(super) fn readable(
        &mut self,
        id: PartitionId,
        replaying: &Replaying,
    ) -> Result<Option<Readable>, Halt> {
        let replay = &replaying.replay;
        let topics = &self.desk.settings.topics;
        let Some(kind) = plan::kind(replay, id, topics).map_err(Halt::Refused)? else {
            return Ok(None);
        };
        let input = topics.input(id.class).to_owned();
        let partitions = source(self.kafka.partitions(Role::Input(id.class)))?;
        let name = &replay.source;
        let Some(topic) = source(self.source()?.topic(name))? else {
            return Err(Halt::Refused(format!("the topic {name} is not there")));
        };
        if let Some(why) = plan::misfit(kind, name, topic.partitions, &input, partitions) {
            return Err(Halt::Refused(why));
        }
        if let Some(partition) = plan::stranger(replay, topic.partitions) {
            let has = topic.partitions;
            let why = format!("its range names partition {partition}, {name} has {has} partitions");
            return Err(Halt::Refused(why));
        }
        let lane = plan::lane(kind, replay, id, &topic);
        Ok(Some(Readable { kind, topic, lane, partitions }))
    }

    fn range(
        &mut self,
        id: PartitionId,
        replaying: &Replaying,
        readable: &Readable,
    ) -> Result<(ReplayRange, u64), Halt> {
        let Readable { lane, kind, topic, .. } = readable;
        // What lies behind the live position comes by itself.
        let end_max = match (kind, self.desk.partitions.get(&id)) {
            (Kind::Input, Some(Stage::Live(live))) => Some(live.next),
            (_, _) => None,
        };
        let reader = self.source()?;
        let bounds = source(reader.bounds(lane))?;
        let mut find = |place| -> Result<Option<i64>, Halt> {
            Ok(match plan::spot(place, lane.partition) {
                Spot::Default => None,
                Spot::At(offset) => Some(offset),
                Spot::Time(time_ms) => Some(source(reader.offset_at(lane, time_ms))?),
            })
        };
        let from = find(replaying.replay.from.as_ref())?;
        let to = find(replaying.replay.to.as_ref())?;
        let (from, to, lost) = plan::range(from, to, bounds, end_max);
        Ok((ReplayRange { from, to, source_id: topic.id.clone() }, lost))
    }

    /// The reader of sources.
    pub(super) fn source(&mut self) -> Result<&mut K::Source, Halt> {
        if self.replays.source.is_none() {
            self.replays.source = Some(source(self.kafka.source())?);
        }
        let made = self.replays.source.as_mut();
        made.ok_or_else(|| Halt::Source(Fault::Retry("a reader that was just made".to_owned())))
    }
}
