//! What a worker does for replays: a slice a step, after the live input, of one partition at a time.
//!
//! Replays of a partition run one after another, in the order of their records; a paused one lets others pass. A
//! slice goes into the batch at hand, so that its outputs, its delta and the replay's position commit together,
//! with the partition's input position, which fences it.
//!
//! Invariants: the position is what the ledger says, and a reader that stands elsewhere is sent there; a source
//! that cannot be read never stops the live work.

mod begin;
mod letters;
mod pace;
pub(crate) mod plan;
mod slice;

use std::time::Duration;

use lethe_engine::{Budget, Engine, Replaying};
use lethe_state::{StateError, Store};

use super::clock::{HostClock, Now};
use super::desk::Trouble;
use super::error::PipelineError;
use super::partition::{Live, Stage};
use super::seam::{Fault, Kafka, PartitionId};
use super::worker::Worker;
use letters::Letters;
use pace::Pace;
use plan::Kind;

/// How often all partitions are looked at for replays that begin, end or are paused.
const SEARCH_EVERY: Duration = Duration::from_millis(100);
/// How long a source is left alone that could not be read.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);
/// Rows that a step forgets of a replay that has come to its end: some 5 ms.
const FORGET_ROWS: usize = 4_096;

/// A worker's replays.
pub(super) struct Replays<S> {
    /// Reads the source. Made for the first replay, dropped after the last.
    source: Option<S>,
    letters: Letters<S>,
    /// Where the source stands.
    at: Option<At>,
    pub(super) pace: Pace,
    /// The live input had nothing more when it was last asked.
    pub(super) input_empty: bool,
    /// There is more to do at once.
    hot: bool,
    search_at: Duration,
    /// What was last said of a trouble that goes on, so that it is said once.
    said: Option<String>,
}

/// Where a reader stands: for which partition and replay, and at which offset.
#[derive(Clone, Copy, Debug)]
struct At {
    id: PartitionId,
    replay: i64,
    next: i64,
    kind: Kind,
    /// How many partitions share its rate.
    partitions: i32,
}

/// Why a slice could not go on.
enum Halt {
    /// The batch has failed, or the worker has to stop.
    Batch(Trouble),
    /// The source cannot be read now.
    Source(Fault),
    /// The replay cannot be done.
    Refused(String),
}

impl From<Trouble> for Halt {
    fn from(trouble: Trouble) -> Self {
        Self::Batch(trouble)
    }
}

impl From<StateError> for Halt {
    fn from(error: StateError) -> Self {
        Self::Batch(error.into())
    }
}

/// The source alone is told by a fault that is not the batch's.
fn source<T>(result: Result<T, Fault>) -> Result<T, Halt> {
    result.map_err(|fault| match fault {
        Fault::Stop(why) => Halt::Refused(why),
        fault @ (Fault::Retry(_) | Fault::Abort(_) | Fault::Unknown(_)) => Halt::Source(fault),
    })
}

impl<S> Default for Replays<S> {
    fn default() -> Self {
        Self {
            source: None,
            letters: Letters::default(),
            at: None,
            pace: Pace::default(),
            input_empty: false,
            hot: false,
            search_at: Duration::ZERO,
            said: None,
        }
    }
}

impl<S> Replays<S> {
    /// How long the live input may be waited for; none: as long as it likes.
    pub(super) fn wait(&self, now: Now) -> Option<Duration> {
        let rest = self.pace.rests_for(now.monotonic);
        rest.or_else(|| self.hot.then_some(Duration::ZERO))
    }

    fn stop(&mut self) {
        self.source = None;
        self.letters = Letters::default();
        self.at = None;
        self.hot = false;
    }
}

/// What is to be done for a replay.
enum Work {
    Begin,
    Run,
    Forget,
}

fn work(replaying: &Replaying) -> Option<Work> {
    use lethe_engine::ledger::ReplayStatus;
    match replaying.row.status {
        ReplayStatus::Waiting => Some(Work::Begin),
        ReplayStatus::Running => replaying.runs().then_some(Work::Run),
        ReplayStatus::Done | ReplayStatus::Cancelled | ReplayStatus::Failed(_) => {
            replaying.row.remembers.then_some(Work::Forget)
        }
    }
}

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// Reads on for a replay, if there is one and the live input leaves room. A slice of each batch is a replay's, even
    /// beside an input that never does.
    pub(super) fn replay_step(&mut self, now: Now) -> Result<(), PipelineError> {
        let hot = std::mem::take(&mut self.replays.hot);
        if !self.desk.live().any(|(_, live)| live.engine.has_replays()) {
            self.replays.stop();
            return Ok(());
        }
        let rests = self.replays.pace.rests_for(now.monotonic).is_some();
        let has_none = self.desk.batch.replayed().0 == 0;
        let ready = (self.replays.input_empty || has_none) && !self.desk.is_full();
        if rests || !ready || self.desk.time.ending_ms(now).is_none() {
            return Ok(());
        }
        let Some((id, replaying, what)) = self.next_replay(now, hot)? else { return Ok(()) };
        let offset = replaying.offset;
        let done = match what {
            Work::Begin => self.begin_replay(now, id, replaying),
            Work::Run => self.replay_slice(now, id, replaying),
            Work::Forget => self.forget_replayed(now, id, replaying),
        };
        match done {
            Ok(()) => Ok(()),
            Err(Halt::Batch(trouble)) => self.settle(now, Err(trouble)),
            Err(Halt::Source(fault)) => {
                self.replays.at = None;
                self.replays.pace.rest(now.monotonic, TROUBLE_PAUSE);
                self.say_of_replays(&fault.to_string());
                Ok(())
            }
            Err(Halt::Refused(why)) => {
                self.replays.at = None;
                self.replays.hot = true;
                let failed = self.fail_replay(now, id, offset, &why);
                self.settle(now, failed)
            }
        }
    }

    /// What is to be done next: what begins first, then what was begun, one partition after another.
    fn next_replay(
        &mut self,
        now: Now,
        hot: bool,
    ) -> Result<Option<(PartitionId, Replaying, Work)>, PipelineError> {
        // Whether a replay was taken back meanwhile, a control topic that is not trusted cannot tell.
        if !self.desk.control.trusted() {
            return Ok(None);
        }
        let at = self.replays.at;
        if let Some(At { id, replay, .. }) = at
            && now.monotonic < self.replays.search_at
            && let Some(Stage::Live(live)) = self.desk.partitions.get_mut(&id)
            && let Some(replaying) = live.engine.read_replay(&mut live.store, replay)?
            && replaying.runs()
        {
            return Ok(Some((id, replaying, Work::Run)));
        }
        // Paused ones are not looked at all the time.
        if at.is_none() && !hot && now.monotonic < self.replays.search_at {
            return Ok(None);
        }
        self.replays.search_at = now.monotonic + SEARCH_EVERY;
        let mut found: Option<(PartitionId, Replaying, Work)> = None;
        for (id, live) in self.desk.live().filter(|(_, live)| live.started) {
            // Of a partition one runs at a time: the first that does.
            let mut runs = false;
            for offset in live.engine.open_replays().to_vec() {
                let Some(replaying) = live.engine.read_replay(&mut live.store, offset)? else {
                    continue;
                };
                let Some(what) = work(&replaying) else { continue };
                match what {
                    Work::Begin => return Ok(Some((id, replaying, what))),
                    Work::Run if std::mem::replace(&mut runs, true) => continue,
                    Work::Run | Work::Forget => {}
                }
                let goes_on = at.is_some_and(|at| at.id == id && at.replay == offset);
                if goes_on || found.is_none() {
                    found = Some((id, replaying, what));
                }
            }
        }
        Ok(found)
    }

    fn forget_replayed(
        &mut self,
        now: Now,
        id: PartitionId,
        replaying: Replaying,
    ) -> Result<(), Halt> {
        let hot = &mut self.replays.hot;
        self.desk.act(id, now, |engine, store, _, _| {
            *hot = engine.forget_replayed(store, replaying, Budget { rows: FORGET_ROWS })?;
            Ok(())
        })?;
        Ok(())
    }

    fn fail_replay(
        &mut self,
        now: Now,
        id: PartitionId,
        offset: i64,
        why: &str,
    ) -> Result<(), Trouble> {
        tracing::warn!(
            topic = self.desk.settings.topics.input(id.class),
            partition = id.partition,
            "a replay cannot be done: {why}"
        );
        self.desk.act(id, now, |engine, store, now_ms, effects| {
            if let Some(replaying) = engine.read_replay(store, offset)? {
                engine.fail_replay(store, replaying, why, now_ms, effects);
            }
            Ok(())
        })
    }

    fn say_of_replays(&mut self, why: &str) {
        if self.replays.said.as_deref() != Some(why) {
            tracing::warn!(worker = self.number, "a replay waits: {why}; trying again");
            self.replays.said = Some(why.to_owned());
        }
    }
}

/// What has a partition's engine do something beside events.
pub(super) trait Act:
    FnOnce(&mut Engine, &mut Store, i64, &mut lethe_engine::Effects) -> Result<(), StateError>
{
}

impl<F> Act for F where
    F: FnOnce(&mut Engine, &mut Store, i64, &mut lethe_engine::Effects) -> Result<(), StateError>
{
}

impl Live {
    /// How many replays run here or wait, and how many offsets they have still to read.
    pub(super) fn replays_left(&mut self) -> Result<(u64, u64), StateError> {
        let (mut open, mut remaining) = (0, 0);
        for offset in self.engine.open_replays().to_vec() {
            if let Some(replaying) = self.engine.read_replay(&mut self.store, offset)?
                && !replaying.row.status.is_terminal()
            {
                open += 1;
                remaining += replaying.row.remaining();
            }
        }
        Ok((open, remaining))
    }
}
