//! State that is left over: of partitions that have moved away and are not followed.
//!
//! It is kept for a while, because a partition that comes back soon reads on from there. Then it is
//! removed: it would only take up room, and ids that its owner has forgotten would stay on this disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lethe_state::Store;

use super::super::clock::Now;
use super::super::directory::partition_path;
use super::super::seam::PartitionId;
use super::super::settings::{CLASSES, PipelineSettings};
use super::super::worker::Shared;
use super::shelf::Lent;

/// How often the data directory is looked through.
const EVERY: Duration = Duration::from_secs(60);
/// A partition must have been nobody's for so long in this process too: after a start it may come yet.
const CERTAIN_AFTER: Duration = Duration::from_secs(600);

/// What is left over, as far as it was seen.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    look_at: Duration,
    since: BTreeMap<PartitionId, Duration>,
}

impl Leftovers {
    /// Removes what has been left over for long enough.
    pub(super) fn look(&mut self, shared: &Shared, followed: &BTreeSet<PartitionId>, now: Now) {
        if now.monotonic < self.look_at {
            return;
        }
        let kept = shared.settings.state_kept;
        self.look_at = now.monotonic + EVERY.min(kept);
        let health = shared.health.snapshot();
        if health.workers_joined < health.workers {
            // What the group gives to this process is not known yet.
            self.since.clear();
            return;
        }
        let there = on_disk(&shared.settings);
        self.since.retain(|id, _| there.contains(id));
        for id in there {
            if followed.contains(&id) || shared.shelf.is_owned(id) {
                self.since.remove(&id);
                continue;
            }
            let since = *self.since.entry(id).or_insert(now.monotonic);
            let certain = now.monotonic.saturating_sub(since) >= CERTAIN_AFTER.min(kept);
            if certain && age(shared, id).is_some_and(|age| age >= kept) {
                remove(shared, id);
            }
        }
    }
}

/// The partitions whose state lies in the data directory.
fn on_disk(settings: &PipelineSettings) -> BTreeSet<PartitionId> {
    let Ok(entries) = fs::read_dir(&settings.data_dir) else { return BTreeSet::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| partition_of(settings, &name)).collect()
}

/// The partition whose state has this directory.
fn partition_of(settings: &PipelineSettings, name: &str) -> Option<PartitionId> {
    CLASSES.into_iter().find_map(|class| {
        let number = name.strip_prefix(settings.topics.input(class))?.strip_prefix('-')?;
        let partition = number.parse().ok().filter(|partition| *partition >= 0)?;
        Some(PartitionId { class, partition })
    })
}

/// How long nothing has been written to the state.
fn age(shared: &Shared, id: PartitionId) -> Option<Duration> {
    let written = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
    let files = fs::read_dir(directory(shared, id)).ok()?.flatten();
    let newest = files.filter_map(|file| written(&file.path())).max()?;
    SystemTime::now().duration_since(newest).ok()
}

fn remove(shared: &Shared, id: PartitionId) {
    match shared.shelf.lend(id) {
        Lent::Owned => return,
        Lent::Store(store) => drop(store),
        Lent::Directory => {}
    }
    let dir = directory(shared, id);
    match Store::destroy(&dir) {
        Ok(()) => tracing::info!(dir = %dir.display(), "state that was left over is removed"),
        Err(error) => tracing::warn!(%error, "state that was left over cannot be removed"),
    }
    shared.shelf.give_back(id, None);
}

fn directory(shared: &Shared, id: PartitionId) -> std::path::PathBuf {
    let settings = &shared.settings;
    partition_path(&settings.data_dir, settings.topics.input(id.class), id.partition)
}
