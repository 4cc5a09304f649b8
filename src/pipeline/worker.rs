//! A worker: one thread's consumer, producer and partitions, driven step by step.
//!
//! Nothing is shared with other workers but the control log, the health and RocksDB's memory. A
//! step returns within a bounded time, so that a simulation can drive it, crash it between any two
//! calls, and give it any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lethe_engine::Class;
use lethe_state::Memory;

use super::answers::Answering;
use super::clock::{HostClock, Now, Time};
use super::completion::{Completions, Looked};
use super::control::ControlLog;
use super::desk::{Desk, Trouble};
use super::error::PipelineError;
use super::partition::Stage;
use super::progress::Progress;
use super::questions::Questions;
use super::replay::Replays;
use super::seam::{Fault, Input, Kafka, Output, PartitionId, Polled, Reading, Role};
use super::settings::{
    BACKOFF_MAX, BACKOFF_MIN, CLOCK_RECORDS, IDLE_WAIT, LEAVE_TIMEOUT, PipelineSettings,
    STEP_RECORDS_MAX, TIME_REFRESH,
};
use super::standby::{Rejoin, Shelf};
use crate::telemetry::health::Health;
use crate::telemetry::reports::Reports;
use crate::telemetry::tenants::Tenants;

/// How often a restore that takes long says how much is left.
const RESTORE_SAID_EVERY: Duration = Duration::from_secs(2);

/// What a process's workers share.
#[derive(Clone)]
pub struct Shared {
    /// The settings.
    pub settings: Arc<PipelineSettings>,
    /// What tenants and operators said.
    pub control: Arc<ControlLog>,
    /// Whether the process may be sent work.
    pub health: Arc<Health>,
    /// How far behind time the workers are.
    pub progress: Arc<Progress>,
    /// RocksDB's memory.
    pub memory: Arc<Memory>,
    /// What is counted of tenants.
    pub tenants: Arc<Tenants>,
    /// Told of what is reported.
    pub reports: Arc<Reports>,
    /// The stores that the standby has.
    pub shelf: Arc<Shelf>,
    /// Which worker is to join the group anew.
    pub rejoin: Arc<Rejoin>,
    /// What the workers are asked beside their work.
    pub questions: Arc<Questions>,
    /// Which partitions have carried out which erasure.
    pub completions: Arc<Completions>,
}

/// When to call [`Worker::step`] again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once: it has waited for input itself.
    Now,
    /// After a wait: something has failed.
    After(Duration),
}

/// One thread's share of the work.
pub struct Worker<K: Kafka, C: HostClock> {
    pub(super) number: usize,
    pub(super) kafka: Arc<K>,
    pub(super) clock: C,
    pub(super) health: Arc<Health>,
    pub(super) memory: Arc<Memory>,
    pub(super) tenants: Arc<Tenants>,
    pub(super) reports: Arc<Reports>,
    pub(super) shelf: Arc<Shelf>,
    rejoin: Arc<Rejoin>,
    pub(super) questions: Arc<Questions>,
    pub(super) completions: Arc<Completions>,
    /// Its last look at them.
    pub(super) completion: Looked,
    /// What it was asked and has not answered yet.
    pub(super) answering: Option<Answering>,
    /// What it reads again.
    pub(super) replays: Replays<K::Source>,
    /// It has been given its share of the partitions, be it empty.
    pub(super) given: bool,
    /// It gives up its place in the group, to take one anew, until this moment at the latest.
    leaving_until: Option<Duration>,
    progress: Arc<Progress>,
    pub(super) input: K::Input,
    pub(super) log: K::Log,
    pub(super) desk: Desk<K::Output>,
    /// The producer is initialised: nothing of an earlier one is open.
    pub(super) output_ready: bool,
    /// The partitions whose changelogs are being read.
    pub(super) reading: BTreeSet<PartitionId>,
    /// The generation of the group in which this worker last had its place.
    pub(super) generation: Option<i32>,
    /// It was away from the group: its consumer is to be replaced.
    pub(super) displaced: bool,
    /// When the producer was replaced, lately (monotonic).
    pub(super) replaced: Vec<Duration>,
    /// When changelogs are looked at again.
    pub(super) upkeep_at: Duration,
    /// Whose books are counted next.
    pub(super) census_turn: usize,
    /// Changelog records that restores have read since the last report.
    pub(super) restored: BTreeMap<Class, u64>,
    /// How long a slice of a snapshot has held the work up, at most.
    pub(super) snapshot_stall: Duration,
    /// The last look has left something that is due.
    more_is_due: bool,
    /// When it was last said how much is left to restore (monotonic).
    restore_said_at: Duration,
    rest_until: Duration,
    backoff: Duration,
    /// What was last said of a trouble that goes on, so that it is said once.
    said: Option<String>,
}

/// What a poll brought apart from records.
enum Event {
    Assigned(Vec<PartitionId>),
    Revoked(Vec<PartitionId>, bool),
    OutOfRange,
    Fault(Trouble),
}

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// Makes the worker's clients. `Fault::Retry` as long as the cluster cannot be reached.
    pub fn new(number: usize, kafka: Arc<K>, clock: C, shared: Shared) -> Result<Self, Fault> {
        // The group is joined while the producer ends what was left open.
        let input = kafka.input(number)?;
        let log = kafka.log(Reading::ToTheEnd)?;
        let output = kafka.output(number)?;
        let time = Time::new(kafka.capabilities().broker_time);
        let dead_letter_partitions = kafka.partitions(Role::DeadLetters)?;
        let desk = Desk::new(shared.settings, shared.control, output, time, dead_letter_partitions);
        Ok(Self {
            number,
            kafka,
            clock,
            health: shared.health,
            memory: shared.memory,
            tenants: shared.tenants,
            reports: shared.reports,
            shelf: shared.shelf,
            rejoin: shared.rejoin,
            questions: shared.questions,
            completions: shared.completions,
            completion: Looked::default(),
            answering: None,
            replays: Replays::default(),
            given: false,
            leaving_until: None,
            progress: shared.progress,
            input,
            log,
            desk,
            output_ready: false,
            reading: BTreeSet::new(),
            generation: None,
            displaced: false,
            replaced: Vec::new(),
            upkeep_at: Duration::ZERO,
            census_turn: 0,
            restored: BTreeMap::new(),
            snapshot_stall: Duration::ZERO,
            more_is_due: false,
            restore_said_at: Duration::ZERO,
            rest_until: Duration::ZERO,
            backoff: BACKOFF_MIN,
            said: None,
        })
    }

    /// Does what there is to do. An error ends the worker.
    pub fn step(&mut self) -> Result<Next, PipelineError> {
        let now = self.clock.now();
        if now.monotonic < self.rest_until {
            return Ok(Next::After(self.rest_until - now.monotonic));
        }
        if !self.output_ready {
            match self.desk.output.init() {
                Ok(()) => self.output_ready = true,
                Err(Fault::Stop(why)) => return Err(PipelineError::Kafka(why)),
                Err(Fault::Retry(why)) => {
                    self.trouble(now, &why);
                    return Ok(Next::Now);
                }
                Err(Fault::Abort(why) | Fault::Unknown(why)) => {
                    self.replace_output(now, &why)?;
                    return Ok(Next::Now);
                }
            }
        }
        if self.displaced {
            self.take_new_place(now)?;
            return Ok(Next::Now);
        }
        self.rejoin_step(now)?;
        self.restore_step(now)?;
        let applied = self.desk.apply_control(now);
        if applied.is_err() {
            // Nothing is decided under older rules than are known.
            self.settle(now, applied)?;
            return Ok(Next::Now);
        }
        self.start_ready()?;
        self.refresh_time(now);
        self.take_input(now)?;
        let now = self.clock.now();
        self.replay_step(now)?;
        let now = self.clock.now();
        let looked = self.desk.look(now);
        self.more_is_due = matches!(looked, Ok(true));
        self.settle(now, looked.map(|_| ()))?;
        let completed = self.complete_erasures(now);
        self.settle(now, completed)?;
        self.keep_changelogs_short(now)?;
        if self.is_due(now) {
            self.finish_batch(now)?;
        }
        self.answer_step(now)?;
        self.report(now)?;
        Ok(Next::Now)
    }

    /// Finishes the batch and puts everything on disk: the last call.
    pub fn stop(&mut self) -> Result<(), PipelineError> {
        let now = self.clock.now();
        if self.output_ready {
            self.finish_batch(now)?;
        }
        for stage in self.desk.partitions.values() {
            match stage {
                Stage::Live(live) => live.store.flush()?,
                Stage::Restoring(restoring) => restoring.store.flush()?,
                Stage::Opening { .. } | Stage::Refused => {}
            }
        }
        Ok(())
    }

    /// Leaves the group for good, after [`Worker::stop`]: others take the partitions over at once,
    /// rather than after the session's time. The last call.
    pub fn leave(&mut self) -> Result<(), PipelineError> {
        let until = self.clock.now().monotonic + LEAVE_TIMEOUT;
        // A join that is under way would leave a member behind that nobody is.
        while !self.given && self.clock.now().monotonic < until {
            self.serve_group()?;
        }
        self.input.leave();
        while !(self.input.has_left() && self.desk.partitions.is_empty()) {
            if self.clock.now().monotonic >= until {
                tracing::warn!(
                    worker = self.number,
                    "the group has not answered: it gives this worker's partitions to others \
                     after its session's time"
                );
                return Ok(());
            }
            self.serve_group()?;
        }
        tracing::info!(worker = self.number, "left the group");
        Ok(())
    }

    /// Answers the group, and takes nothing from the input.
    fn serve_group(&mut self) -> Result<(), PipelineError> {
        let event = match self.input.poll(IDLE_WAIT) {
            Ok(Polled::Assigned(ids)) => Event::Assigned(ids),
            Ok(Polled::Revoked { partitions, lost }) => Event::Revoked(partitions, lost),
            Ok(Polled::Record(_) | Polled::OutOfRange | Polled::Nothing) => return Ok(()),
            Err(fault) => Event::Fault(fault.into()),
        };
        let now = self.clock.now();
        self.handle(now, event)
    }

    /// Where this worker was asked to, gives up its place in the group and takes one anew, so that the
    /// partitions are shared out again. What it has is committed and let go by the way.
    fn rejoin_step(&mut self, now: Now) -> Result<(), PipelineError> {
        if self.leaving_until.is_none() && self.rejoin.is_asked(self.number) {
            self.input.leave();
            self.leaving_until = Some(now.monotonic + LEAVE_TIMEOUT);
        }
        let Some(until) = self.leaving_until else { return Ok(()) };
        if self.input.has_left() || now.monotonic >= until {
            match self.input.join() {
                Ok(()) => self.leaving_until = None,
                Err(fault @ Fault::Stop(_)) => return Err(fault.into()),
                Err(fault) => self.say(&fault.to_string()),
            }
        }
        Ok(())
    }

    fn take_input(&mut self, mut now: Now) -> Result<(), PipelineError> {
        let mut wait = self.wait(now);
        self.replays.input_empty = false;
        for count in 0..STEP_RECORDS_MAX {
            if count % CLOCK_RECORDS == 0 && count > 0 {
                now = self.clock.now();
                // What is acknowledged gives its memory back while it is still warm.
                self.desk.output.serve();
                if self.is_due(now) {
                    return Ok(());
                }
            }
            if self.desk.is_full() {
                return Ok(());
            }
            let event = match self.input.poll(wait) {
                Ok(Polled::Record(record)) => {
                    self.replays.pace.live(now.monotonic);
                    // What was said before the record came holds for it: the poll may have waited.
                    let desk = &mut self.desk;
                    let ready =
                        if desk.has_control_moved() { desk.apply_control(now) } else { Ok(()) };
                    ready.and_then(|()| desk.process(&record, now)).err().map(Event::Fault)
                }
                Ok(Polled::Assigned(ids)) => Some(Event::Assigned(ids)),
                Ok(Polled::Revoked { partitions, lost }) => Some(Event::Revoked(partitions, lost)),
                Ok(Polled::OutOfRange) => Some(Event::OutOfRange),
                Ok(Polled::Nothing) => {
                    self.replays.input_empty = true;
                    return Ok(());
                }
                Err(fault) => Some(Event::Fault(fault.into())),
            };
            wait = Duration::ZERO;
            if let Some(event) = event {
                return self.handle(now, event);
            }
        }
        Ok(())
    }

    fn handle(&mut self, now: Now, event: Event) -> Result<(), PipelineError> {
        match event {
            Event::Assigned(ids) => self.assigned(now, &ids),
            Event::Revoked(ids, lost) => self.revoked(now, &ids, lost),
            Event::OutOfRange => self.check_positions(),
            Event::Fault(trouble) => self.settle(now, Err(trouble)),
        }
    }

    /// How long the input may be waited for.
    fn wait(&self, now: Now) -> Duration {
        let at_once = self.desk.batch.urgent || self.more_is_due || self.is_asked();
        if at_once || self.is_restoring(now) {
            return Duration::ZERO;
        }
        let interval = self.desk.settings.commit_interval;
        let wait = match self.desk.batch.since {
            Some(since) => (since + interval).saturating_sub(now.monotonic).min(IDLE_WAIT),
            None => IDLE_WAIT,
        };
        self.replays.wait(now).map_or(wait, |replays| replays.min(wait))
    }

    fn is_due(&self, now: Now) -> bool {
        let interval = self.desk.settings.commit_interval;
        self.desk.is_full()
            || self.desk.batch.urgent
            || self.desk.batch.since.is_some_and(|since| now.monotonic >= since + interval)
    }

    /// Sees to it that a taken-over partition gets its first delta, and that the broker's time is
    /// asked for often enough.
    fn refresh_time(&mut self, now: Now) {
        let old = self.desk.time.broker_tells()
            && self.desk.time.age(now).is_some_and(|age| age >= TIME_REFRESH);
        if old && let Some((_, live)) = self.desk.live().next() {
            live.touched = true;
        }
        if self.desk.live().any(|(_, live)| live.touched) {
            self.desk.batch.since.get_or_insert(now.monotonic);
        }
        // What was taken over stands still until its first delta is committed: nothing is worth
        // waiting for but the others that are about to follow.
        let taken_over = self.desk.live().any(|(_, live)| !live.announced);
        self.desk.batch.urgent = taken_over && !self.is_restoring(now);
    }

    /// What to do about a batch that could not go on.
    pub(super) fn settle(
        &mut self,
        now: Now,
        result: Result<(), Trouble>,
    ) -> Result<(), PipelineError> {
        match result {
            Ok(()) => Ok(()),
            Err(Trouble::Stop(error)) => Err(error),
            Err(Trouble::Fault(Fault::Retry(why) | Fault::Abort(why))) => {
                self.abort_batch(now, &why)
            }
            Err(Trouble::Fault(Fault::Unknown(why))) => self.replace_output(now, &why),
            Err(Trouble::Fault(fault @ Fault::Stop(_))) => Err(fault.into()),
        }
    }

    /// Something has failed that may pass: said once, and waited about.
    pub(super) fn trouble(&mut self, now: Now, why: &str) {
        self.say(why);
        self.rest_until = now.monotonic + self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }

    /// Says what is wrong, once for as long as it goes on.
    pub(super) fn say(&mut self, why: &str) {
        if self.said.as_deref() != Some(why) {
            tracing::warn!(worker = self.number, "{why}; trying again");
            self.said = Some(why.to_owned());
        }
    }

    /// A batch has committed: whatever was wrong has passed.
    pub(super) fn calm(&mut self, now: Now) {
        self.rest_until = now.monotonic;
        self.backoff = BACKOFF_MIN;
        if self.said.take().is_some() {
            tracing::info!(worker = self.number, "the trouble has passed");
        }
    }

    fn report(&mut self, now: Now) -> Result<(), PipelineError> {
        if !self.progress.is_due(self.number, now) {
            return Ok(());
        }
        let overdue_since_ms = self.desk.live().filter_map(|(_, live)| live.overdue_since_ms).min();
        let lag_ms = match (self.desk.time.ending_ms(now), overdue_since_ms) {
            (Some(ending_ms), Some(since_ms)) => ending_ms.saturating_sub(since_ms).max(0),
            (_, None) | (None, _) => 0,
        };
        let holdings = self.holdings(now)?;
        let left = holdings.remaining.values().sum();
        self.health.restoring(self.number, left);
        if left == 0 {
            self.restore_said_at = now.monotonic;
        } else if now.monotonic.saturating_sub(self.restore_said_at) >= RESTORE_SAID_EVERY {
            self.restore_said_at = now.monotonic;
            tracing::info!(worker = self.number, changelog_records_left = left, "restoring");
        }
        self.progress.report(self.number, lag_ms, self.desk.time.difference_ms(now), holdings);
        Ok(())
    }
}
