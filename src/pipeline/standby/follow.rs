//! Following one partition's changelog: a slice at each visit.
//!
//! Only what is stable is read, and applied in order. What no longer fits (the changelog was cut off
//! before the position, a file is damaged) is built anew from the changelog, whose last snapshot an
//! empty store takes in.

use std::path::PathBuf;
use std::time::Duration;

use lethe_state::{Identity, Remedy, Restored, StateError, Store};

use super::super::clock::{HostClock, Now};
use super::super::directory::partition_path;
use super::super::restore::changelog;
use super::super::seam::{Bounds, Fault, Kafka, LogPolled, LogReader, PartitionId, Reading, Role};
use super::Standby;
use super::shelf::Lent;

/// Changelog records of one visit: the others have their turn, and a worker that is given the
/// partition does not wait long for its store.
const VISIT_RECORDS_MAX: usize = 4_096;
/// How often a visit looks whether a worker wants the store.
const LOOK_RECORDS: usize = 32;
/// How long a visit waits for records that the broker is known to have.
const RECORD_WAIT: Duration = Duration::from_millis(200);
/// What is applied is put on disk this often, so that a crash does not leave the store so far behind
/// that its changelog has been cut off meanwhile.
const FLUSH_EVERY: Duration = Duration::from_secs(60);
/// How often a partition is visited that has nothing to read: each visit asks the broker.
const VISIT_EVERY: Duration = Duration::from_secs(1);
/// How long a partition is left alone whose store is in use, or could not be read.
const PAUSE: Duration = Duration::from_secs(1);
/// The same for what an operator has to see to, and between two attempts to build a store anew.
const PAUSE_LONG: Duration = Duration::from_secs(60);

/// How far a partition is followed.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// Not to be visited before this moment.
    not_before: Duration,
    /// The offset to read on from; none: the store knows.
    next: Option<i64>,
    /// Changelog records that it lacked when it was last visited.
    behind: u64,
    /// It was at the end of what is stable when it was last visited.
    current: bool,
    /// When it is put on disk, if anything was applied since.
    flush_at: Option<Duration>,
    rebuilt_at: Option<Duration>,
    said: bool,
}

impl Following {
    pub(super) fn is_due(&self, now: Now) -> bool {
        self.not_before <= now.monotonic
    }

    pub(super) fn is_current(&self) -> bool {
        self.current
    }

    pub(super) fn behind(&self) -> u64 {
        self.behind
    }
}

/// Why a visit ended early.
enum Setback {
    Kafka(Fault),
    State(StateError),
}

impl From<Fault> for Setback {
    fn from(fault: Fault) -> Self {
        Self::Kafka(fault)
    }
}

impl From<StateError> for Setback {
    fn from(error: StateError) -> Self {
        Self::State(error)
    }
}

impl<K: Kafka, C: HostClock> Standby<K, C> {
    /// Applies what has come to a partition's changelog.
    pub(super) fn visit(&mut self, id: PartitionId, now: Now) {
        let Some(mut following) = self.following.remove(&id) else { return };
        let lent = match self.shared.shelf.lend(id) {
            Lent::Owned => return,
            Lent::Store(store) => Ok(store),
            Lent::Directory => {
                following.next = None;
                self.open(id).map(Box::new)
            }
        };
        let (store, outcome) = match lent {
            Ok(mut store) => {
                let outcome = self.advance(id, &mut store, &mut following, now);
                (Some(store), outcome)
            }
            Err(setback) => (None, Err(setback)),
        };
        let store = match outcome {
            Ok(()) => {
                following.said = false;
                store
            }
            Err(setback) => self.set_back(id, store, &mut following, setback, now),
        };
        self.shared.shelf.give_back(id, store);
        self.following.insert(id, following);
    }

    /// Closes a partition's store, which writes to disk what was applied.
    pub(super) fn close(&self, id: PartitionId) {
        match self.shared.shelf.lend(id) {
            Lent::Store(store) => drop(store),
            Lent::Directory => {}
            Lent::Owned => return,
        }
        self.shared.shelf.give_back(id, None);
    }

    fn open(&self, id: PartitionId) -> Result<Store, Setback> {
        let topics = &self.shared.settings.topics;
        let topic = topics.input(id.class).to_owned();
        let there = self.kafka.partitions(Role::Input(id.class))?;
        let accepted = self.kafka.partitions(Role::Changelog(id.class))?;
        let identity = Identity {
            cluster: self.kafka.cluster_id().to_owned(),
            topic,
            changelog_id: self.kafka.topic_id(Role::Changelog(id.class)),
            partition: id.partition,
            partitions: there.min(accepted),
        };
        Ok(Store::open(&self.directory(id), &identity, &self.shared.memory)?)
    }

    fn advance(
        &mut self,
        id: PartitionId,
        store: &mut Store,
        following: &mut Following,
        now: Now,
    ) -> Result<(), Setback> {
        let mut log = match self.log.take() {
            Some(log) => log,
            None => self.kafka.log(Reading::ToTheEnd)?,
        };
        let read = self.read_slice(id, &mut log, store, following);
        self.log = Some(log);
        if read? && following.flush_at.is_none() {
            following.flush_at = Some(now.monotonic + FLUSH_EVERY);
        }
        if following.current {
            following.not_before = now.monotonic + VISIT_EVERY;
            store.check_whole()?;
        }
        if following.flush_at.is_some_and(|at| at <= now.monotonic) {
            following.flush_at = None;
            store.flush_soon()?;
        }
        Ok(())
    }

    /// Reads what there is, within bounds. Gives whether there was anything.
    fn read_slice(
        &self,
        id: PartitionId,
        log: &mut K::Log,
        store: &mut Store,
        following: &mut Following,
    ) -> Result<bool, Setback> {
        let Some(&bounds) = log.stable(&[changelog(id)])?.first() else { return Ok(false) };
        let from = self.beginning(id, store, following, bounds)?;
        let (mut next, mut ended) = (from, true);
        if from < bounds.end {
            let read = self.read(id, log, store, from);
            log.close(changelog(id));
            (next, ended) = read?;
        }
        if ended {
            // What lies between the last record and the end are the markers of transactions.
            next = next.max(bounds.end);
        }
        following.behind = u64::try_from(bounds.end.saturating_sub(next)).unwrap_or_default();
        following.current = ended;
        following.next = Some(next);
        Ok(next > from)
    }

    /// Where to read on from, if the changelog still goes back so far.
    fn beginning(
        &self,
        id: PartitionId,
        store: &Store,
        following: &Following,
        bounds: Bounds,
    ) -> Result<i64, Setback> {
        let begun = store.sequence() > 0;
        match following.next.or_else(|| begun.then(|| store.changelog_offset())) {
            Some(next) if next > bounds.end => Err(Fault::Retry(format!(
                "{}/{} ends at {}, before the position {next}",
                self.shared.settings.topics.name(Role::Changelog(id.class)),
                id.partition,
                bounds.end
            ))
            .into()),
            Some(next) if next >= bounds.start => Ok(next),
            // The owner has removed what was still to be read.
            Some(_) if begun => Err(self.cut_off(id, store)),
            Some(_) | None => Ok(bounds.start),
        }
    }

    /// The changelog begins behind the position.
    fn cut_off(&self, id: PartitionId, store: &Store) -> Setback {
        let applied = store.sequence();
        if applied == 0 {
            let text = "the changelog was cut off while its snapshot was read".to_owned();
            return Fault::Retry(text).into();
        }
        let found = applied.saturating_add(2);
        StateError::Gap { dir: self.directory(id), applied, found }.into()
    }

    fn directory(&self, id: PartitionId) -> PathBuf {
        let settings = &self.shared.settings;
        partition_path(&settings.data_dir, settings.topics.input(id.class), id.partition)
    }

    /// Reads from an offset on. Gives the next one, and whether the end was reached.
    fn read(
        &self,
        id: PartitionId,
        log: &mut K::Log,
        store: &mut Store,
        from: i64,
    ) -> Result<(i64, bool), Setback> {
        log.open(changelog(id), from)?;
        let mut next = from;
        for count in 0..VISIT_RECORDS_MAX {
            if count % LOOK_RECORDS == 0 && self.shared.shelf.is_owned(id) {
                return Ok((next, false));
            }
            let mut restored = Ok(Restored::PassedOver);
            let polled = log.poll(RECORD_WAIT, &mut |record| {
                next = record.offset + 1;
                restored = store.restore(record.value.unwrap_or_default(), next);
            })?;
            if let Restored::Rewind(start) = restored? {
                // A snapshot is in: the deltas among and behind its records are next.
                next = start;
                log.open(changelog(id), start)?;
                continue;
            }
            match polled {
                LogPolled::Record => {}
                LogPolled::End(_) => return Ok((next, true)),
                LogPolled::OutOfRange(_) => return Err(self.cut_off(id, store)),
                LogPolled::Nothing => return Ok((next, false)),
            }
        }
        Ok((next, false))
    }

    /// What comes of a store after an error.
    fn set_back(
        &mut self,
        id: PartitionId,
        store: Option<Box<Store>>,
        following: &mut Following,
        setback: Setback,
        now: Now,
    ) -> Option<Box<Store>> {
        following.current = false;
        let error = match setback {
            Setback::Kafka(fault) => {
                self.say(&fault.to_string());
                if store.as_ref().is_some_and(|store| store.sequence() == 0) {
                    // The parts of a snapshot are taken in without a break, or from the first on.
                    following.next = None;
                }
                following.not_before = now.monotonic
                    + if matches!(fault, Fault::Stop(_)) { PAUSE_LONG } else { PAUSE };
                return store;
            }
            Setback::State(error) => error,
        };
        drop(store);
        let topic = self.shared.settings.topics.input(id.class).to_owned();
        let again =
            following.rebuilt_at.is_some_and(|at| now.monotonic.saturating_sub(at) < PAUSE_LONG);
        if error.remedy() == Remedy::Rebuild && !again {
            tracing::warn!(topic, partition = id.partition, %error, "a standby is built anew");
            following.rebuilt_at = Some(now.monotonic);
            following.next = None;
            if let Err(error) = Store::destroy(&self.directory(id)) {
                self.say(&error.to_string());
            }
            return None;
        }
        if matches!(error, StateError::Locked { .. }) {
            following.not_before = now.monotonic + PAUSE;
            return None;
        }
        if !std::mem::replace(&mut following.said, true) {
            tracing::error!(topic, partition = id.partition, %error, "a standby stands still");
        }
        following.not_before = now.monotonic + PAUSE_LONG;
        None
    }
}
