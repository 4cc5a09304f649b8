//! What a process answers of its partitions, as JSON: to be put together with what the others answer.
//!
//! Invariant: no content, for none is known.

use std::collections::{BTreeMap, BTreeSet};

use lethe_engine::ledger::{ErasureRow, ReplayRow, ReplayStatus};
use lethe_engine::lifecycle::{Deciding, Ends, Explanation, Forecast};
use lethe_engine::policy::Keep;
use serde::{Deserialize, Serialize};

use crate::control::safety::Toll;

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Partition {
    /// Its input topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
}

/// Every partition of these topics, as it is called.
#[must_use]
pub fn all(inputs: &BTreeMap<String, i32>) -> BTreeSet<String> {
    let all = inputs.iter().flat_map(|(topic, &count)| {
        (0..count).map(move |partition| format!("{topic}/{partition}"))
    });
    all.collect()
}

/// Those of them that are not among these.
pub fn missing<'p>(
    inputs: &BTreeMap<String, i32>,
    answered: impl IntoIterator<Item = &'p Partition>,
) -> BTreeSet<String> {
    let mut missing = all(inputs);
    for Partition { topic, partition } in answered {
        missing.remove(&format!("{topic}/{partition}"));
    }
    missing
}

/// What holds for a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The partitions that were asked.
    pub partitions: Vec<Partition>,
    /// What they know.
    pub found: Vec<Found>,
}

/// What a partition knows of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Where.
    #[serde(flatten)]
    pub partition: Partition,
    /// Its sent or update time (Unix ms).
    pub at_ms: Option<i64>,
    /// What holds.
    #[serde(flatten)]
    pub standing: Standing,
}

/// What holds for a record under one time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Standing {
    /// Its content is out.
    Kept {
        /// `in` or `out`.
        storage: String,
        /// When that ends (Unix ms); none: without end.
        until_ms: Option<i64>,
        /// By which rule.
        reason: String,
        /// Of which record.
        by: By,
    },
    /// It has ended, and something keeps it.
    Waits {
        /// `in` or `out`.
        storage: String,
        /// By which rule it ended.
        reason: String,
        /// Of which record.
        by: By,
        /// What keeps it: `hold`, `stop` or `minimum`.
        keep: String,
        /// Until when (Unix ms), where that is known.
        keep_until_ms: Option<i64>,
        /// Of which record.
        kept_by: By,
    },
    /// It is over; why, as far as still known.
    Over {
        /// The rule.
        reason: Option<String>,
        /// Of which record.
        by: Option<By>,
    },
    /// Nothing is known of it.
    Unknown,
}

/// A control record; no key: what holds where nobody said anything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct By {
    /// Its key.
    pub key: Option<String>,
    /// Its offset.
    pub offset: Option<i64>,
}

impl From<Deciding> for By {
    fn from(Deciding { key, offset }: Deciding) -> Self {
        Self { key, offset }
    }
}

impl From<Explanation> for Standing {
    fn from(explanation: Explanation) -> Self {
        match explanation {
            Explanation::Unknown => Self::Unknown,
            Explanation::Kept { storage, until_ms, reason, by } => Self::Kept {
                storage: storage.tag().to_owned(),
                until_ms,
                reason: reason.name().to_owned(),
                by: by.into(),
            },
            Explanation::Waits { storage, reason, by, keep, kept_by } => {
                let (keep, keep_until_ms) = match keep {
                    Keep::Stop { .. } => ("stop", None),
                    Keep::Hold { .. } => ("hold", None),
                    Keep::Minimum { until_ms } => ("minimum", Some(until_ms)),
                };
                Self::Waits {
                    storage: storage.tag().to_owned(),
                    reason: reason.name().to_owned(),
                    by: by.into(),
                    keep: keep.to_owned(),
                    keep_until_ms,
                    kept_by: kept_by.into(),
                }
            }
            Explanation::Over { reason } => {
                let (reason, by) =
                    reason.map(|(reason, by)| (reason.name().to_owned(), by)).unzip();
                Self::Over { reason, by: by.map(By::from) }
            }
        }
    }
}

impl Explained {
    /// Takes in what others answer. Of a record that somebody has, the others know nothing worth
    /// saying; that it is over by its age, everybody says.
    pub fn add(&mut self, other: Self) {
        self.partitions.extend(other.partitions);
        self.found.extend(other.found);
        let says = |found: &Found| match &found.standing {
            Standing::Kept { .. } | Standing::Waits { .. } => 2,
            Standing::Over { reason: Some(_), .. } => 2,
            Standing::Over { reason: None, .. } => 1,
            Standing::Unknown => 0,
        };
        let most = self.found.iter().map(says).max().unwrap_or_default();
        self.found.retain(|found| says(found) == most && most > 0);
        if most == 1 {
            self.found.truncate(1);
        }
    }
}

/// What changes would end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecasts {
    /// The partitions that were counted.
    pub partitions: Vec<Partition>,
    /// What they hold.
    pub forecasts: Vec<OfTenant>,
}

/// What becomes of a tenant's records of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfTenant {
    /// Whose; `*`: of all.
    pub tenant: String,
    /// Of which class.
    pub class: String,
    /// As things are.
    pub as_is: Counts,
    /// With the changes.
    pub proposed: Counts,
}

/// How many records end when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// At once.
    pub now: u64,
    /// Have ended, and are kept by a hold or the minimum.
    pub kept: u64,
    /// On each of the days ahead.
    pub by_day: Vec<u64>,
    /// Later, or never.
    pub later: u64,
}

impl Forecasts {
    /// Takes in what others answer; what the same partitions have said already counts once.
    pub fn add(&mut self, other: Self) {
        if other.partitions.iter().all(|partition| self.partitions.contains(partition)) {
            return;
        }
        self.partitions.extend(other.partitions);
        for one in other.forecasts {
            self.count(&one.tenant, &one.class, (&one.as_is, &one.proposed));
        }
    }

    /// What the changes would end that would not have ended without them.
    #[must_use]
    pub fn tolls(&self) -> Vec<Toll> {
        let toll = |one: &OfTenant| {
            let OfTenant { tenant, class, as_is, proposed } = one;
            // What a hold kept goes with it; what one keeps has ended all the same.
            let gone = proposed.now.saturating_sub(as_is.now);
            let condemned = proposed.kept.saturating_sub(as_is.kept);
            Toll {
                tenant: tenant.clone(),
                class: class.clone(),
                ends: gone + condemned,
                of: as_is.all(),
            }
        };
        self.forecasts.iter().map(toll).filter(|toll| toll.of > 0).collect()
    }

    /// Takes in what a partition counted.
    pub(super) fn take(&mut self, tenant: &str, class: &str, forecast: &Forecast) {
        let (as_is, proposed) = ((&forecast.as_is).into(), (&forecast.proposed).into());
        self.count(tenant, class, (&as_is, &proposed));
    }

    fn count(&mut self, tenant: &str, class: &str, (as_is, proposed): (&Counts, &Counts)) {
        let same = |known: &&mut OfTenant| known.tenant == tenant && known.class == class;
        if let Some(known) = self.forecasts.iter_mut().find(same) {
            known.as_is.add(as_is);
            known.proposed.add(proposed);
        } else {
            let (tenant, class) = (tenant.to_owned(), class.to_owned());
            let (as_is, proposed) = (as_is.clone(), proposed.clone());
            self.forecasts.push(OfTenant { tenant, class, as_is, proposed });
        }
    }
}

impl Counts {
    /// All of the records.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.now + self.kept + self.by_day.iter().sum::<u64>() + self.later
    }

    fn add(&mut self, other: &Self) {
        self.now += other.now;
        self.kept += other.kept;
        self.later += other.later;
        let days = self.by_day.len().max(other.by_day.len());
        self.by_day.resize(days, 0);
        for (day, count) in self.by_day.iter_mut().zip(&other.by_day) {
            *day += count;
        }
    }
}

impl From<&Ends> for Counts {
    fn from(Ends { now, kept, by_day, later }: &Ends) -> Self {
        Self { now: *now, kept: *kept, by_day: by_day.clone(), later: *later }
    }
}

/// How far an erasure is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// In each partition that was asked.
    pub partitions: Vec<InPartition>,
}

/// How far an erasure is in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InPartition {
    /// Which one.
    #[serde(flatten)]
    pub partition: Partition,
    /// Of which class it is.
    pub class: String,
    /// The erasure's control record; none: the partition has not applied it.
    pub offset: Option<i64>,
    /// When it was through (Unix ms); none: it is not.
    pub done_at_ms: Option<i64>,
    /// What was found.
    #[serde(flatten)]
    pub found: Erased,
}

/// What an erasure found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Records that it ended.
    pub ended: u64,
    /// Records that have ended, and that a hold keeps.
    pub held: u64,
    /// Records that have ended, and that the legal minimum keeps.
    pub minimum: u64,
    /// The earliest sent time of them (Unix ms).
    pub first_ms: Option<i64>,
    /// The latest (Unix ms).
    pub last_ms: Option<i64>,
}

impl Erased {
    pub(super) fn of(row: &ErasureRow) -> Self {
        let counts = row.counts;
        Self {
            ended: counts.ended,
            held: counts.held,
            minimum: counts.minimum,
            first_ms: counts.first_ms,
            last_ms: counts.last_ms,
        }
    }
}

/// How far a replay is, in the partitions of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayProgress {
    /// In each partition that was asked.
    pub partitions: Vec<ReplayIn>,
}

/// How far a replay is in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayIn {
    /// Which one.
    #[serde(flatten)]
    pub partition: Partition,
    /// Of which class it is.
    pub class: String,
    /// The replay; none: it is none of this partition's, or not known there.
    pub replay: Option<Replayed>,
}

/// What a partition says of a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Its first control record.
    pub offset: i64,
    /// `waiting`, `running`, `done`, `cancelled` or `failed`.
    pub status: String,
    /// Why it failed.
    pub why: Option<String>,
    /// The first offset of its range in its source.
    pub from: i64,
    /// The one behind the last.
    pub to: i64,
    /// The next one to be read.
    pub next: i64,
    /// When its range was known here (Unix ms).
    pub began_at_ms: Option<i64>,
    /// When it came to its end here (Unix ms).
    pub ended_at_ms: Option<i64>,
    /// What became of what it read.
    pub counts: BTreeMap<String, u64>,
    /// Of a dry run: how many live records the state had at its end, that the source could have.
    pub live: Option<u64>,
}

impl Replayed {
    pub(super) fn of(offset: i64, row: &ReplayRow) -> Self {
        let counts = row.counts.named().into_iter();
        Self {
            offset,
            status: row.status.name().to_owned(),
            why: match &row.status {
                ReplayStatus::Failed(why) => Some(why.clone()),
                ReplayStatus::Waiting
                | ReplayStatus::Running
                | ReplayStatus::Done
                | ReplayStatus::Cancelled => None,
            },
            from: row.range.from,
            to: row.range.to,
            next: row.next,
            began_at_ms: row.began_at_ms,
            ended_at_ms: row.ended_at_ms,
            counts: counts.map(|(name, count)| (name.to_owned(), count)).collect(),
            live: row.live,
        }
    }

    fn is_ended(&self) -> bool {
        matches!(self.status.as_str(), "done" | "cancelled" | "failed")
    }
}

impl ReplayProgress {
    /// The partitions that have a part of it.
    pub fn replays(&self) -> impl Iterator<Item = (&Partition, &Replayed)> {
        self.partitions.iter().filter_map(|one| Some((&one.partition, one.replay.as_ref()?)))
    }

    /// Whether it has come to its end in each partition that has a part of it.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.replays().next().is_some() && self.replays().all(|(_, replay)| replay.is_ended())
    }

    /// What can be said of it as a whole: the worst end of any partition, once all have come to one.
    #[must_use]
    pub fn status(&self) -> &'static str {
        let any = |status: &str| self.replays().any(|(_, replay)| replay.status == status);
        if !self.is_ended() {
            return if any("running") { "running" } else { "waiting" };
        }
        let worst = ["failed", "cancelled"].into_iter().find(|status| any(status));
        worst.unwrap_or("done")
    }

    /// How many offsets have been read.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.replays().map(|(_, replay)| length(replay.from, replay.next)).sum()
    }

    /// Of how many.
    #[must_use]
    pub fn of(&self) -> u64 {
        self.replays().map(|(_, replay)| length(replay.from, replay.to)).sum()
    }

    /// What became of what was read.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&str, u64> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, replay) in self.replays() {
            for (outcome, count) in &replay.counts {
                *counts.entry(outcome).or_default() += count;
            }
        }
        counts
    }
}

fn length(from: i64, to: i64) -> u64 {
    u64::try_from(to.saturating_sub(from)).unwrap_or_default()
}

impl Progress {
    /// What all partitions have found, by class.
    #[must_use]
    pub fn by_class(&self) -> BTreeMap<&str, Erased> {
        let mut classes: BTreeMap<&str, Erased> = BTreeMap::new();
        for InPartition { class, found, .. } in &self.partitions {
            let sum = classes.entry(class).or_default();
            sum.ended += found.ended;
            sum.held += found.held;
            sum.minimum += found.minimum;
            sum.first_ms = sum.first_ms.into_iter().chain(found.first_ms).min();
            sum.last_ms = sum.last_ms.max(found.last_ms);
        }
        classes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(partition: i32, standing: Standing) -> Explained {
        let partition = Partition { topic: "im.messages".to_owned(), partition };
        let at = partition.clone();
        Explained {
            partitions: vec![partition],
            found: vec![Found { partition: at, at_ms: Some(1), standing }],
        }
    }

    fn over(reason: Option<&str>) -> Standing {
        Standing::Over { reason: reason.map(str::to_owned), by: None }
    }

    #[test]
    fn who_has_the_record_is_believed() {
        let mut all = Explained::default();
        for (partition, standing) in [(0, Standing::Unknown), (1, over(None)), (2, over(None))] {
            all.add(found(partition, standing));
        }
        assert_eq!((all.partitions.len(), all.found.len()), (3, 1), "over, said once");
        all.add(found(3, over(Some("erased"))));
        let places: Vec<i32> = all.found.iter().map(|found| found.partition.partition).collect();
        assert_eq!(places, [3]);
    }

    #[test]
    fn counts_are_summed() {
        let counts = |now| Counts { now, kept: 1, by_day: vec![2], later: 3 };
        let one = |tenant: &str, now| Forecasts {
            partitions: vec![Partition {
                topic: "im.messages".to_owned(),
                partition: i32::try_from(now).unwrap_or_default(),
            }],
            forecasts: vec![OfTenant {
                tenant: tenant.to_owned(),
                class: "message".to_owned(),
                as_is: Counts::default(),
                proposed: counts(now),
            }],
        };
        let mut all = Forecasts::default();
        all.add(one("a", 4));
        all.add(one("b", 1));
        all.add(one("a", 6));
        all.add(one("a", 6));
        let now: Vec<u64> = all.forecasts.iter().map(|one| one.proposed.now).collect();
        assert_eq!(now, [10, 1]);
        let twice = Counts { now: 10, kept: 2, by_day: vec![4], later: 6 };
        assert_eq!(all.forecasts.first().map(|one| &one.proposed), Some(&twice));
    }

    #[test]
    fn a_change_is_blamed_for_what_ends_by_it_alone() {
        let counts = |now, kept, later| Counts { now, kept, by_day: vec![1], later };
        for (as_is, proposed, ends, of) in [
            (counts(2, 0, 7), counts(7, 0, 2), 5, 10),
            (counts(0, 4, 5), counts(4, 0, 5), 4, 10),
            (counts(1, 1, 7), counts(1, 4, 4), 3, 10),
            (counts(5, 0, 4), counts(1, 0, 8), 0, 10),
        ] {
            let (tenant, class) = ("a".to_owned(), "message".to_owned());
            let forecasts = vec![OfTenant { tenant, class, as_is, proposed }];
            let tolls = Forecasts { partitions: Vec::new(), forecasts }.tolls();
            assert_eq!(tolls.first().map(|toll| (toll.ends, toll.of)), Some((ends, of)));
        }
    }
}
