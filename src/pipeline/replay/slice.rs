//! A slice of a replay: records are taken from the source, decided, and counted in the replay's row.

use std::time::Duration;

use lethe_engine::Replaying;

use super::plan::Kind;
use super::{At, Halt, source};
use crate::pipeline::clock::{HostClock, Now};
use crate::pipeline::desk::Desk;
use crate::pipeline::partition::Stage;
use crate::pipeline::seam::{InputRecord, Kafka, Output, PartitionId, Source, SourceId, Sourced};
use crate::pipeline::worker::Worker;

/// What a slice came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// It took what it might.
    More,
    /// The source had nothing more for now.
    Nothing,
    /// All of the range is read.
    Through,
    /// The source no longer holds the position.
    OutOfRange,
}

/// Keys that begin like this are lethe's own: markers.
const RESERVED: &[u8] = b"lethe:";

impl<K: Kafka, C: HostClock> Worker<K, C> {
    pub(super) fn replay_slice(
        &mut self,
        now: Now,
        id: PartitionId,
        mut replaying: Replaying,
    ) -> Result<(), Halt> {
        let Some(at) = self.stand(id, &replaying)? else {
            return Err(Halt::Refused("it is none of this partition's any more".to_owned()));
        };
        let rate = self.share(id, &replaying, at.partitions);
        let in_batch = self.desk.batch.replayed();
        let records_max = self.replays.pace.slice(now.monotonic, rate, in_batch);
        if records_max == 0 {
            return Ok(());
        }
        let before = replaying.row.counts;
        // If the batch fails, the replay is back where it was, and the reader is further.
        self.replays.at = None;
        let (mut came, mut taken) = (Ok(Came::Nothing), 0);
        if let Some(reader) = self.replays.source.as_mut() {
            (came, taken) = match at.kind {
                Kind::DeadLetters => {
                    let kafka = &*self.kafka;
                    let letters = &mut self.replays.letters;
                    letters.read(
                        kafka,
                        reader,
                        &mut self.desk,
                        &mut replaying,
                        records_max,
                        id,
                        now,
                    )
                }
                Kind::Input | Kind::Events | Kind::Outputs(_) => {
                    read_events(reader, &mut self.desk, &mut replaying, records_max, at.kind, now)
                }
            };
        }
        if matches!(came, Err(Halt::Batch(_))) {
            return came.map(|_| ());
        }
        self.replays.pace.taken(taken);
        self.replays.at = Some(At { next: replaying.row.next, ..at });
        if matches!(came, Ok(Came::OutOfRange)) {
            came = self.beyond(&at, &mut replaying);
        }
        // Whatever halted it: what was taken is kept with its position.
        let Some(Stage::Live(live)) = self.desk.partitions.get_mut(&id) else { return Ok(()) };
        live.counts.replayed(&before, &replaying.row.counts);
        live.engine.keep_replay(&mut live.store, &replaying);
        live.touched = true;
        live.stirred = true;
        match came? {
            Came::More => self.replays.hot = true,
            Came::Nothing | Came::OutOfRange => self.replays.pace.nothing_came(now.monotonic),
            Came::Through => self.complete_replay(now, id, replaying, at.kind)?,
        }
        self.replays.said = None;
        Ok(())
    }

    /// Sends the reader to where the replay stands, if it is elsewhere. None: it is none of the partition's.
    fn stand(&mut self, id: PartitionId, replaying: &Replaying) -> Result<Option<At>, Halt> {
        let next = replaying.row.next;
        if let Some(at) = self.replays.at
            && (at.id, at.replay, at.next) == (id, replaying.offset, next)
        {
            return Ok(Some(at));
        }
        let Some(readable) = self.readable(id, replaying)? else { return Ok(None) };
        let before = replaying.row.range.source_id.as_ref();
        if let (Some(before), Some(now)) = (before, readable.topic.id.as_ref())
            && before != now
        {
            let name = &replaying.replay.source;
            return Err(Halt::Refused(format!("{name} was recreated since the replay began")));
        }
        source(self.source()?.open(&readable.lane, next, id))?;
        self.replays.letters.forget();
        let (replay, kind, partitions) = (replaying.offset, readable.kind, readable.partitions);
        let at = At { id, replay, next, kind, partitions };
        self.replays.at = Some(at);
        Ok(Some(at))
    }

    /// How many records a second this worker may take of a replay: of its partitions one is read at a time.
    fn share(&mut self, id: PartitionId, replaying: &Replaying, partitions: i32) -> Option<f64> {
        let rate = f64::from(replaying.replay.rate?);
        let own = self.desk.live().filter(|(of, _)| of.class == id.class).count();
        let own = f64::from(u32::try_from(own.max(1)).unwrap_or(u32::MAX));
        Some(rate * own / f64::from(partitions.max(1)))
    }

    /// The position is outside of the source: retention was faster, or it is another topic.
    fn beyond(&mut self, at: &At, replaying: &mut Replaying) -> Result<Came, Halt> {
        let lane = match self.readable(at.id, replaying)? {
            Some(readable) => readable.lane,
            None => return Ok(Came::OutOfRange),
        };
        let bounds = source(self.source()?.bounds(&lane))?;
        let row = &mut replaying.row;
        self.replays.at = None;
        if row.next >= bounds.start {
            let SourceId { topic, partition } = lane;
            return Err(Halt::Refused(format!(
                "{topic}/{partition} ends at {}, before the position {}: it was recreated or truncated",
                bounds.end, row.next
            )));
        }
        let next = bounds.start.min(row.range.to);
        let lost = u64::try_from(next - row.next).unwrap_or_default();
        tracing::warn!(
            replay = row.id(),
            lost,
            "retention has removed records before a replay read them; it goes on behind them"
        );
        row.counts.lost += lost;
        row.next = next;
        Ok(Came::OutOfRange)
    }

    fn complete_replay(
        &mut self,
        now: Now,
        id: PartitionId,
        replaying: Replaying,
        kind: Kind,
    ) -> Result<(), Halt> {
        self.replays.at = None;
        self.replays.hot = true;
        let replay = replaying.row.id();
        let topic = self.desk.settings.topics.input(id.class);
        tracing::info!(replay, topic, partition = id.partition, "a replay is done here");
        self.desk.act(id, now, |engine, store, now_ms, effects| {
            engine.complete_replay(store, replaying, kind.holds(), now_ms, effects)
        })?;
        Ok(())
    }
}

/// Reads records of a topic of events. Gives what it came to, and how many it took.
fn read_events<S: Source, O: Output>(
    reader: &mut S,
    desk: &mut Desk<O>,
    replaying: &mut Replaying,
    records_max: usize,
    kind: Kind,
    now: Now,
) -> (Result<Came, Halt>, usize) {
    let mut taken = 0;
    while taken < records_max && !desk.is_full() {
        if replaying.row.next >= replaying.row.range.to {
            return (Ok(Came::Through), taken);
        }
        let record = match source(reader.poll(Duration::ZERO)) {
            Ok(Sourced::Record(record)) => record,
            Ok(Sourced::End(end)) if end >= replaying.row.range.to => {
                return (Ok(Came::Through), taken);
            }
            Ok(Sourced::End(_) | Sourced::Nothing) => return (Ok(Came::Nothing), taken),
            Ok(Sourced::OutOfRange) => return (Ok(Came::OutOfRange), taken),
            Err(halt) => return (Err(halt), taken),
        };
        // What was fetched before the reader was sent elsewhere.
        if record.offset() < replaying.row.next {
            continue;
        }
        if record.offset() >= replaying.row.range.to {
            return (Ok(Came::Through), taken);
        }
        taken += 1;
        replaying.row.next = record.offset() + 1;
        let is_marker = record.key().is_some_and(|key| key.starts_with(RESERVED));
        let is_tombstone = matches!(kind, Kind::Outputs(_)) && record.value().is_none();
        if is_marker {
            replaying.row.counts.filtered += 1;
        } else if is_tombstone {
            replaying.row.counts.nothing += 1;
        } else if let Err(trouble) = desk.replay(replaying, &record, kind == Kind::Input, now) {
            return (Err(trouble.into()), taken);
        }
    }
    (Ok(Came::More), taken)
}
