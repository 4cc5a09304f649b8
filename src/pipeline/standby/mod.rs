//! What a process does beside its own partitions, on a thread of its own that yields to the workers:
//! it follows the changelogs of others' partitions (`follow`), those that fall to it (`choice`), so
//! that it can take them over at once; it sees to it that no partition is without an owner
//! (`coverage`); and it removes state that is not needed any more (`leftovers`).
//!
//! A standby is a restore that goes on: it applies what is committed, and nothing else. Who takes a
//! partition over goes the whole way of `restore` from there, so that a standby need not be right
//! about anything but its prefix of the changelog.
//!
//! Invariant: nothing here ends the process. What cannot be followed is said, and tried again later.

mod choice;
mod coverage;
mod follow;
mod leftovers;
mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use metrics::Gauge;

pub use coverage::Rejoin;
pub(super) use shelf::Found;
pub use shelf::Shelf;

use super::clock::{HostClock, Now};
use super::seam::{Fault, Kafka, PartitionId, Role};
use super::settings::CLASSES;
use super::worker::Shared;
use crate::telemetry::health::StandbyReport;
use crate::telemetry::names;
use coverage::Coverage;
use follow::Following;
use leftovers::Leftovers;

/// How often the group is asked for: a partition that moves is followed so much later.
const ROSTER_EVERY: Duration = Duration::from_secs(5);
/// Between two rounds over the partitions.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// The thread's nice value: the workers go first wherever the machine is busy.
const NICENESS: i32 = 10;

/// The thread's state.
pub struct Standby<K: Kafka, C: HostClock> {
    kafka: Arc<K>,
    clock: C,
    shared: Shared,
    /// This process's name in the group.
    instance: String,
    /// Reads changelogs; made when there is one to follow.
    log: Option<K::Log>,
    following: BTreeMap<PartitionId, Following>,
    /// Where the round goes on.
    after: Option<PartitionId>,
    roster_at: Duration,
    coverage: Coverage,
    leftovers: Leftovers,
    /// What was last said of a trouble that goes on, so that it is said once.
    said: Option<String>,
    gauges: Gauges,
}

struct Gauges {
    wanted: Gauge,
    current: Gauge,
    lag: Gauge,
}

impl<K: Kafka, C: HostClock> Standby<K, C> {
    /// Of a process that goes by this name.
    pub fn new(kafka: Arc<K>, clock: C, shared: Shared, instance: String) -> Self {
        let configured = u32::try_from(shared.settings.standbys).unwrap_or(u32::MAX);
        metrics::gauge!(names::STANDBYS).set(configured);
        let state = |state| metrics::gauge!(names::STANDBY_PARTITIONS, "state" => state);
        let gauges = Gauges {
            wanted: state("wanted"),
            current: state("current"),
            lag: metrics::gauge!(names::STANDBY_LAG),
        };
        let standby = Self {
            kafka,
            clock,
            shared,
            instance,
            log: None,
            following: BTreeMap::new(),
            after: None,
            roster_at: Duration::ZERO,
            coverage: Coverage::default(),
            leftovers: Leftovers::default(),
            said: None,
            gauges,
        };
        standby.report();
        standby
    }

    /// Lets the workers' threads go before this one.
    pub fn yield_to_workers(&self) {
        // On Linux the call is about the thread that makes it. Without the right to it: no matter.
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "the standby's thread keeps its priority");
        }
    }

    /// Does a slice of what there is to do, and says how long there is nothing.
    pub fn step(&mut self) -> Duration {
        let now = self.clock.now();
        if now.monotonic >= self.roster_at {
            self.roster_at = now.monotonic + ROSTER_EVERY;
            match self.look_at_group(now) {
                Ok(()) => self.said = None,
                Err(fault) => self.say(&fault.to_string()),
            }
            let followed = self.following.keys().copied().collect();
            self.leftovers.look(&self.shared, &followed, now);
        }
        let mut due = self.following.iter().filter(|(_, following)| following.is_due(now));
        let next = due.find(|(id, _)| self.after.is_none_or(|after| **id > after));
        let Some(id) = next.map(|(&id, _)| id) else {
            self.after = None;
            self.report();
            return ROUND_PAUSE;
        };
        self.after = Some(id);
        self.visit(id, now);
        Duration::ZERO
    }

    /// Closes what it has, so that the next start finds it on disk: the last call.
    pub fn stop(&mut self) {
        for id in std::mem::take(&mut self.following).into_keys() {
            self.close(id);
        }
    }

    /// Asks who has what, and draws the consequences.
    fn look_at_group(&mut self, now: Now) -> Result<(), Fault> {
        let Some(roster) = self.kafka.roster()? else { return Ok(()) };
        let mut inputs = BTreeSet::new();
        let mut processed = BTreeSet::new();
        for class in CLASSES {
            let there = self.kafka.partitions(Role::Input(class))?;
            let accepted = self.kafka.partitions(Role::Changelog(class))?;
            inputs.extend((0..there).map(|partition| PartitionId { class, partition }));
            let both = there.min(accepted);
            processed.extend((0..both).map(|partition| PartitionId { class, partition }));
        }
        if let Some((worker, left_out)) =
            self.coverage.look(&roster, &inputs, &self.instance, now.monotonic)
        {
            tracing::warn!(
                worker,
                left_out,
                "partitions of the inputs are nobody's: this worker joins the group anew"
            );
            self.shared.rejoin.ask(worker);
        }
        let standbys = self.shared.settings.standbys;
        if standbys == 0 || !self.kafka.capabilities().isolation {
            return Ok(());
        }
        let mut wanted = choice::followed(&roster, &self.instance, standbys, &processed);
        wanted.retain(|id| !self.shared.shelf.is_owned(*id));
        self.follow_these(&wanted);
        Ok(())
    }

    fn follow_these(&mut self, wanted: &BTreeSet<PartitionId>) {
        let dropped: Vec<PartitionId> =
            self.following.keys().filter(|id| !wanted.contains(id)).copied().collect();
        for id in dropped {
            self.following.remove(&id);
            self.close(id);
        }
        for &id in wanted {
            if !self.following.contains_key(&id) {
                tracing::info!(
                    topic = self.shared.settings.topics.input(id.class),
                    partition = id.partition,
                    "following another's partition"
                );
                self.following.insert(id, Following::default());
            }
        }
    }

    /// Says what is wrong, once for as long as it goes on.
    fn say(&mut self, why: &str) {
        if self.said.as_deref() != Some(why) {
            tracing::warn!("standby: {why}; trying again");
            self.said = Some(why.to_owned());
        }
    }

    fn report(&self) {
        let current = self.following.values().filter(|following| following.is_current()).count();
        let behind = self.following.values().map(Following::behind).sum();
        let wanted = self.following.len();
        self.gauges.wanted.set(u32::try_from(wanted).unwrap_or(u32::MAX));
        self.gauges.current.set(u32::try_from(current).unwrap_or(u32::MAX));
        self.gauges.lag.set(super::progress::number(behind));
        if self.shared.settings.standbys > 0 {
            self.shared.health.standby(StandbyReport { wanted, current, behind });
        }
    }
}
