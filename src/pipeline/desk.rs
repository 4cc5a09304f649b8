//! Where a worker's batch is made: the partitions, the producer, and what the batch has done so far.
//!
//! Apart from the worker, so that a record can be borrowed from the consumer meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lethe_engine::policy::Mode;
use lethe_engine::{
    Budget, Class, Effects, Event, MessageAction, Origin, Replaying, Storage, VersionAction,
};

use super::clock::{Now, Time};
use super::control::ControlLog;
use super::counters::Counters;
use super::error::PipelineError;
use super::outputs::{Counted, Writer};
use super::partition::{Live, Stage};
use super::replay::Act;
use super::seam::{Fault, InputRecord, Output, PartitionId, Role, VisitHeader};
use super::settings::{
    BATCH_BYTES_MAX, BATCH_EFFECTS_MAX, BATCH_ENDED_BESIDE, LIVE_FLOWS_RECORDS, PipelineSettings,
    RECORD_OVERHEAD_BYTES,
};
use super::tallies::Tallies;
use crate::codec::{self, TimeLimits};

/// A record that no topic would take.
pub(super) const TOO_LARGE: &str = "too-large";
/// A null or undecodable value.
const UNDECODABLE: &str = "decode";
/// How long a partition is left alone after a look that could do nothing.
const LOOK_REST_MS: i64 = 200;
/// How far percent-encoding can lengthen an id.
const ENCODED_MAX: usize = 3;

/// One record in so many is timed, beside the first of each partition: what a batch holds of them is
/// bounded, and costs nothing that could be felt.
const TIMED_RECORDS: usize = 64;

/// Why a step could not be done: a fault of the broker, or a reason to stop.
#[derive(Debug)]
pub(super) enum Trouble {
    Fault(Fault),
    Stop(PipelineError),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Stop(_) => Self::Stop(fault.into()),
            Fault::Retry(_) | Fault::Abort(_) | Fault::Unknown(_) => Self::Fault(fault),
        }
    }
}

impl From<lethe_state::StateError> for Trouble {
    fn from(error: lethe_state::StateError) -> Self {
        Self::Stop(error.into())
    }
}

/// What the batch at hand has taken so far.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// A transaction is open.
    pub(super) open: bool,
    /// When it took its first record (monotonic).
    pub(super) since: Option<Duration>,
    /// It is to be committed without waiting for more.
    pub(super) urgent: bool,
    records: usize,
    bytes: usize,
    /// Records and bytes of replays among them.
    replayed: (usize, usize),
    /// What looks have ended.
    ended: usize,
    /// Timestamps (Unix ms) of some of its input records.
    pub(super) timestamps: Vec<(Class, i64)>,
}

impl Batch {
    fn take<R: InputRecord>(&mut self, input: &R, is_first: bool, bytes: usize) {
        if (is_first || self.records.is_multiple_of(TIMED_RECORDS))
            && let Some(timestamp_ms) = input.timestamp_ms()
        {
            self.timestamps.push((input.id().class, timestamp_ms));
        }
        self.records += 1;
        self.bytes += bytes;
    }

    fn take_replayed(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes;
        self.replayed.0 += 1;
        self.replayed.1 += bytes;
    }

    /// Whether so much is live that looks have to leave it room, and they have had theirs.
    const fn leaves_no_look(&self) -> bool {
        let live = self.records - self.replayed.0;
        live >= LIVE_FLOWS_RECORDS && self.ended >= BATCH_ENDED_BESIDE
    }

    /// How many of its records and bytes are of replays.
    pub(super) const fn replayed(&self) -> (usize, usize) {
        self.replayed
    }
}

/// Where a batch is made.
pub(super) struct Desk<O> {
    pub(super) settings: Arc<PipelineSettings>,
    pub(super) control: Arc<ControlLog>,
    pub(super) output: O,
    pub(super) partitions: BTreeMap<PartitionId, Stage>,
    pub(super) time: Time,
    pub(super) batch: Batch,
    pub(super) writer: Writer,
    pub(super) counters: Counters,
    pub(super) dead_letter_partitions: i32,
    /// Where the control log ended, and whether it was trusted, when it was last applied.
    control_was: (Option<i64>, bool),
    effects: Effects,
    /// The largest content that both of a class's outputs take.
    limits: Vec<(Class, usize)>,
}

impl<O: Output> Desk<O> {
    pub(super) fn new(
        settings: Arc<PipelineSettings>,
        control: Arc<ControlLog>,
        output: O,
        time: Time,
        dead_letter_partitions: i32,
    ) -> Self {
        let limit = |class| {
            let stored = settings.record_bytes_max(Role::Output(class, Storage::Stored));
            stored.min(settings.record_bytes_max(Role::Output(class, Storage::Transit)))
        };
        let limits = super::settings::CLASSES.iter().map(|&class| (class, limit(class))).collect();
        Self {
            counters: Counters::new(&settings.topics),
            writer: Writer::new(Tallies::new(settings.tenants_shown > 0)),
            settings,
            control,
            output,
            partitions: BTreeMap::new(),
            time,
            batch: Batch::default(),
            dead_letter_partitions,
            control_was: (None, false),
            effects: Effects::default(),
            limits,
        }
    }

    /// The partitions whose ledger is complete.
    pub(super) fn live(&mut self) -> impl Iterator<Item = (PartitionId, &mut Live)> {
        self.partitions.iter_mut().filter_map(|(&id, stage)| match stage {
            Stage::Live(live) => Some((id, &mut **live)),
            Stage::Opening { .. } | Stage::Restoring(_) | Stage::Refused => None,
        })
    }

    /// Whether the batch has reached its size.
    pub(super) fn is_full(&self) -> bool {
        self.batch.records >= self.settings.portions.batch_records_max
            || self.batch.bytes >= BATCH_BYTES_MAX
            || self.writer.written >= BATCH_EFFECTS_MAX
    }

    /// Begins the transaction, where it has not begun, and the batch.
    pub(super) fn begin(&mut self, now: Now) -> Result<(), Fault> {
        self.batch.since.get_or_insert(now.monotonic);
        if !self.batch.open {
            self.output.begin()?;
            self.batch.open = true;
        }
        Ok(())
    }

    /// Processes an input record.
    pub(super) fn process<R: InputRecord>(&mut self, input: &R, now: Now) -> Result<(), Trouble> {
        let Some(ending_ms) = self.time.ending_ms(now) else { return Ok(()) };
        let id = input.id();
        let Some(Stage::Live(live)) = self.partitions.get_mut(&id) else { return Ok(()) };
        // What was in the queue when the partition stood still or went back comes again.
        if !live.started || input.offset() < live.next {
            return Ok(());
        }
        // The record is taken from the input: if the transaction cannot begin, it is to come again.
        live.stirred = true;
        self.begin(now)?;
        let Some(Stage::Live(live)) = self.partitions.get_mut(&id) else { return Ok(()) };
        live.next = input.offset() + 1;
        live.touched = true;
        let bytes = input.value().map_or(0, <[u8]>::len);
        let is_first = live.counts.is_empty();
        live.counts.taken(bytes);
        self.batch.take(input, is_first, bytes);
        match decode(&self.limits, self.time.latest_ms(now), input) {
            Ok(event) => {
                self.writer.tenants.record(event.tenant(), bytes);
                self.effects.clear();
                let origin = live.origin(input.offset());
                let outcome = live.engine.apply(
                    &mut live.store,
                    &event,
                    origin,
                    ending_ms,
                    &mut self.effects,
                )?;
                live.counts.outcome(outcome);
                self.writer.effects(
                    &mut self.output,
                    id,
                    &self.effects,
                    (Some(input), None),
                    ending_ms,
                    &mut live.counts,
                )?;
            }
            Err(why) => {
                live.counts.dead_letter(why);
                self.writer.dead_letter(
                    &mut Counted { output: &mut self.output, counts: &mut live.counts },
                    &self.settings,
                    self.dead_letter_partitions,
                    input,
                    why,
                )?;
            }
        }
        Ok(())
    }

    /// Processes a record that is read again, of the input itself or of another topic; the replay's position is
    /// the caller's to move.
    pub(super) fn replay<R: InputRecord>(
        &mut self,
        replaying: &mut Replaying,
        input: &R,
        is_of_input: bool,
        now: Now,
    ) -> Result<(), Trouble> {
        let Some(ending_ms) = self.time.ending_ms(now) else { return Ok(()) };
        let id = input.id();
        self.begin(now)?;
        self.batch.take_replayed(input.value().map_or(0, <[u8]>::len));
        let Some(Stage::Live(live)) = self.partitions.get_mut(&id) else { return Ok(()) };
        live.touched = true;
        live.stirred = true;
        let Ok(event) = decode(&self.limits, self.time.latest_ms(now), input) else {
            replaying.row.counts.bad += 1;
            return Ok(());
        };
        self.effects.clear();
        let origin = if is_of_input { live.origin(input.offset()) } else { Origin::Elsewhere };
        let (engine, store) = (&mut live.engine, &mut live.store);
        engine.replay(store, replaying, &event, origin, ending_ms, &mut self.effects)?;
        let again = replaying.replay.mode == Mode::Refresh;
        self.writer.effects(
            &mut self.output,
            id,
            &self.effects,
            (Some(input), again.then(|| replaying.row.id())),
            ending_ms,
            &mut live.counts,
        )?;
        Ok(())
    }

    /// Has a partition's engine do something that is no event's, and writes what comes of it.
    pub(super) fn act(&mut self, id: PartitionId, now: Now, act: impl Act) -> Result<(), Trouble> {
        let Some(ending_ms) = self.time.ending_ms(now) else { return Ok(()) };
        self.begin(now)?;
        let Some(Stage::Live(live)) = self.partitions.get_mut(&id) else { return Ok(()) };
        live.touched = true;
        live.stirred = true;
        self.effects.clear();
        act(&mut live.engine, &mut live.store, ending_ms, &mut self.effects)?;
        self.writer.effects::<O, NoRecord>(
            &mut self.output,
            id,
            &self.effects,
            (None, None),
            ending_ms,
            &mut live.counts,
        )?;
        Ok(())
    }

    /// Whether the control log has moved on, or lost or won trust, since it was last applied.
    pub(super) fn has_control_moved(&self) -> bool {
        self.control_was != (self.control.end(), self.control.trusted())
    }

    /// Applies what the control log has that partitions have not, in its order.
    pub(super) fn apply_control(&mut self, now: Now) -> Result<(), Trouble> {
        self.control_was = (self.control.end(), self.control.trusted());
        let (Some(end), Some(ending_ms)) = (self.control.end(), self.time.ending_ms(now)) else {
            return Ok(());
        };
        let suspended = !self.control.trusted();
        let records_max = self.settings.portions.batch_control_max;
        let behind = |live: &Live| {
            live.announced && (live.control_seen < end || live.suspended != Some(suspended))
        };
        let ids: Vec<PartitionId> =
            self.live().filter(|(_, live)| behind(live)).map(|(id, _)| id).collect();
        for id in ids {
            self.begin(now)?;
            let Some(Stage::Live(live)) = self.partitions.get_mut(&id) else { continue };
            live.touched = true;
            live.stirred = true;
            if live.suspended != Some(suspended) {
                live.engine.suspend(&mut live.store, suspended, ending_ms)?;
                live.suspended = Some(suspended);
            }
            let records = self.control.from(live.engine.control_offset(), records_max);
            for record in &records {
                self.effects.clear();
                live.engine.control(&mut live.store, record, ending_ms, &mut self.effects)?;
                self.writer.effects::<O, NoRecord>(
                    &mut self.output,
                    id,
                    &self.effects,
                    (None, None),
                    ending_ms,
                    &mut live.counts,
                )?;
            }
            live.control_seen =
                if records.len() < records_max { end } else { live.engine.control_offset() };
        }
        Ok(())
    }

    /// Ends what is due on every partition, within a budget each. Returns whether there is more to do at once.
    pub(super) fn look(&mut self, now: Now) -> Result<bool, Trouble> {
        let Some(ending_ms) = self.time.ending_ms(now) else { return Ok(false) };
        let due = |live: &Live| {
            let wake_ms = live.engine.wake_ms();
            live.started && wake_ms.is_some_and(|at| at.max(live.look_not_before_ms) <= ending_ms)
        };
        let ids: Vec<PartitionId> =
            self.live().filter(|(_, live)| due(live)).map(|(id, _)| id).collect();
        let look_rows = self.settings.portions.look_rows;
        let mut more = false;
        for id in ids {
            if self.is_full() {
                return Ok(true);
            }
            if self.batch.leaves_no_look() {
                return Ok(false);
            }
            self.batch.since.get_or_insert(now.monotonic);
            let Some(Stage::Live(live)) = self.partitions.get_mut(&id) else { continue };
            live.stirred = true;
            self.effects.clear();
            let mut budget = Budget { rows: look_rows };
            let looked =
                live.engine.look(&mut live.store, ending_ms, &mut budget, &mut self.effects)?;
            live.overdue_since_ms = looked.overdue_since_ms;
            // A look that could do nothing (everything is held) is not repeated at once.
            let idle = self.effects.is_empty() && budget.rows == look_rows;
            live.look_not_before_ms = if idle { ending_ms + LOOK_REST_MS } else { ending_ms };
            more |= looked.more && !idle;
            if self.effects.is_empty() {
                continue;
            }
            live.touched = true;
            self.begin(now)?;
            self.batch.ended += self.effects.len();
            let Some(Stage::Live(live)) = self.partitions.get_mut(&id) else { continue };
            self.writer.effects::<O, NoRecord>(
                &mut self.output,
                id,
                &self.effects,
                (None, None),
                ending_ms,
                &mut live.counts,
            )?;
        }
        Ok(more)
    }
}

/// Stands for "no input record at hand".
enum NoRecord {}

impl InputRecord for NoRecord {
    fn id(&self) -> PartitionId {
        match *self {}
    }

    fn offset(&self) -> i64 {
        match *self {}
    }

    fn timestamp_ms(&self) -> Option<i64> {
        match *self {}
    }

    fn key(&self) -> Option<&[u8]> {
        match *self {}
    }

    fn value(&self) -> Option<&[u8]> {
        match *self {}
    }

    fn headers(&self, _visit: VisitHeader<'_>) {
        match *self {}
    }
}

/// The event that a record is; an error is what is wrong with it, in one word.
fn decode<'r, R: InputRecord>(
    limits: &[(Class, usize)],
    latest_ms: i64,
    input: &'r R,
) -> Result<Event<'r>, &'static str> {
    let class = input.id().class;
    let value = input.value().ok_or(UNDECODABLE)?;
    let event =
        codec::decode(class, value, TimeLimits { latest_ms }).map_err(codec::DecodeError::code)?;
    if carries_content(&event) && too_large(limits, class, &event, input) {
        return Err(TOO_LARGE);
    }
    Ok(event)
}

/// Whether an event's value may be emitted.
fn carries_content(event: &Event<'_>) -> bool {
    match event {
        Event::Message(event) => match event.action {
            MessageAction::Sent(_) | MessageAction::Edited { .. } => true,
            MessageAction::Delivered(_) | MessageAction::Read(_) | MessageAction::Recalled => false,
        },
        Event::Profile(event) | Event::Config(event) => event.action == VersionAction::Set,
    }
}

/// Whether a content would not fit its output topic, whichever of the two that will be. Known
/// before anything is decided, because a decision that cannot be carried out would be remembered.
fn too_large<R: InputRecord>(
    limits: &[(Class, usize)],
    class: Class,
    event: &Event<'_>,
    input: &R,
) -> bool {
    let limit =
        limits.iter().find(|(known, _)| *known == class).map_or(usize::MAX, |&(_, max)| max);
    let ids = match event {
        Event::Message(event) => {
            event.tenant.len() + event.conversation.len() + event.message.len()
        }
        Event::Profile(event) | Event::Config(event) => event.tenant.len() + event.id.len(),
    };
    let value = input.value().map_or(0, <[u8]>::len);
    let known = value + ids * ENCODED_MAX + RECORD_OVERHEAD_BYTES;
    let mut headers = 0;
    input.headers(&mut |name, value| {
        headers += name.len() + value.map_or(0, <[u8]>::len) + HEADER_OVERHEAD_BYTES;
    });
    known + headers > limit
}

/// Lengths of a header's name and value, at most.
const HEADER_OVERHEAD_BYTES: usize = 10;
