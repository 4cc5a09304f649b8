//! Opening the stores of partitions that were assigned, all at once: most of it is waiting for the disk.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use lethe_state::{Identity, IdentityField, Memory, Remedy, StateError, Store};

use super::clock::{HostClock, Now};
use super::error::PipelineError;
use super::partition::{Restoring, Stage};
use super::room::Room;
use super::seam::{Fault, Kafka, PartitionId, Role};
use super::settings::OPENS_MAX;
use super::standby::Found;
use super::worker::Worker;

/// How long one waits whose directory is in use or fails.
const OPEN_PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked whether a partition that the input has gained is accepted.
const ROOM_PAUSE: Duration = Duration::from_secs(5);
/// How often a directory that is in use, or fails, is tried again: another worker of this process
/// closes it within moments.
const OPEN_TRIES: u32 = 100;
/// How often state that does not fit its changelog is built anew.
const REBUILD_TRIES: u32 = 1;

/// How long one waits whose store the standby has in its hands.
const SHELF_PAUSE: Duration = Duration::from_millis(5);

/// What is to be done for a partition that has just come.
enum Plan {
    Open(Opening),
    /// Its store stands open: the standby has followed it.
    Take(Box<Store>),
    Wait(Duration),
    /// The standby has its store in its hands.
    Busy,
}

/// A store that is to be opened.
struct Opening {
    id: PartitionId,
    tries: u32,
    dir: PathBuf,
    identity: Identity,
}

impl<K: Kafka, C: HostClock> Worker<K, C> {
    /// Opens the stores of partitions that have just come, all at once: most of it is waiting for
    /// the disk.
    pub(super) fn open_stores(&mut self, now: Now) -> Result<(), PipelineError> {
        let ready = self.desk.partitions.iter().filter_map(|(&id, stage)| match stage {
            Stage::Opening { not_before, tries } if *not_before <= now.monotonic => {
                Some((id, *tries))
            }
            Stage::Opening { .. } | Stage::Restoring(_) | Stage::Live(_) | Stage::Refused => None,
        });
        let ready: Vec<_> = ready.take(OPENS_MAX).collect();
        let mut openings = Vec::new();
        for (id, tries) in ready {
            let stage = match self.plan(id, tries)? {
                Plan::Open(opening) => {
                    openings.push(opening);
                    continue;
                }
                Plan::Take(store) => Stage::Restoring(Box::new(Restoring::new(*store))),
                Plan::Wait(pause) => again(now, pause, tries),
                Plan::Busy => Stage::Opening { not_before: now.monotonic + SHELF_PAUSE, tries },
            };
            self.desk.partitions.insert(id, stage);
        }
        let stores = open_all(&openings, &self.memory);
        for (opening, store) in openings.into_iter().zip(stores) {
            let stage = self.opened(now, &opening, store)?;
            self.desk.partitions.insert(opening.id, stage);
        }
        Ok(())
    }

    fn plan(&mut self, id: PartitionId, tries: u32) -> Result<Plan, PipelineError> {
        let topic = self.desk.settings.topics.input(id.class).to_owned();
        let partitions = match self.room(id) {
            Ok(Room::For(partitions)) => partitions,
            Ok(Room::Not(why)) => {
                if tries == 0 {
                    tracing::error!(topic, partition = id.partition, "the partition waits: {why}");
                }
                return Ok(Plan::Wait(ROOM_PAUSE));
            }
            Err(fault @ Fault::Stop(_)) => return Err(fault.into()),
            Err(fault) => {
                self.say(&fault.to_string());
                return Ok(Plan::Wait(OPEN_PAUSE));
            }
        };
        match self.shelf.take(id) {
            Found::Store(store) => return Ok(Plan::Take(store)),
            Found::Busy => return Ok(Plan::Busy),
            Found::Nothing => {}
        }
        let identity = Identity {
            cluster: self.kafka.cluster_id().to_owned(),
            topic,
            changelog_id: self.kafka.topic_id(Role::Changelog(id.class)),
            partition: id.partition,
            partitions,
        };
        Ok(Plan::Open(Opening { id, tries, dir: self.directory(id), identity }))
    }

    /// What became of a store that was to be opened.
    fn opened(
        &mut self,
        now: Now,
        opening: &Opening,
        store: Result<Store, StateError>,
    ) -> Result<Stage, PipelineError> {
        let Opening { id, tries, dir, identity } = opening;
        let (topic, partition) = (&identity.topic, id.partition);
        match store {
            Ok(store) => Ok(Stage::Restoring(Box::new(Restoring::new(store)))),
            Err(StateError::Locked { .. }) if *tries < OPEN_TRIES => {
                Ok(again(now, OPEN_PAUSE, *tries))
            }
            Err(error @ StateError::OtherIdentity { field: IdentityField::ChangelogId, .. }) => {
                tracing::error!(
                    topic,
                    partition,
                    "the partition stands still: its changelog was recreated. {error}; without the \
                     directory it begins with what the changelog holds now"
                );
                Ok(Stage::Refused)
            }
            Err(error) => match error.remedy() {
                Remedy::Retry if *tries < OPEN_TRIES => {
                    self.say(&error.to_string());
                    Ok(again(now, OPEN_PAUSE, *tries))
                }
                Remedy::Rebuild if *tries <= REBUILD_TRIES => {
                    tracing::warn!(%error, "the state is built anew from its changelog");
                    Store::destroy(dir)?;
                    Ok(again(now, OPEN_PAUSE, *tries))
                }
                Remedy::Retry | Remedy::Rebuild | Remedy::Stop => Err(error.into()),
            },
        }
    }
}

/// Opens stores, each on a thread of its own where there are several.
fn open_all(openings: &[Opening], memory: &Memory) -> Vec<Result<Store, StateError>> {
    let open = |opening: &Opening| Store::open(&opening.dir, &opening.identity, memory);
    if let [opening] = openings {
        return vec![open(opening)];
    }
    thread::scope(|scope| {
        let threads: Vec<_> =
            openings.iter().map(|opening| (opening, scope.spawn(move || open(opening)))).collect();
        threads
            .into_iter()
            .map(|(opening, thread)| thread.join().unwrap_or_else(|_| Err(panicked(&opening.dir))))
            .collect()
    })
}

fn panicked(dir: &Path) -> StateError {
    StateError::Io { dir: dir.to_owned(), what: "a thread has panicked opening it".to_owned() }
}

/// To be opened again after a while.
fn again(now: Now, pause: Duration, tries: u32) -> Stage {
    Stage::Opening { not_before: now.monotonic + pause, tries: tries + 1 }
}
