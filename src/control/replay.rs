//! A replay before its record is written: whether it can be, and its range as offsets of each partition.
//!
//! What the workers would refuse only once they have read the record is said to whoever asks for it. The range is
//! frozen here, so that it says the same however late a partition begins.

use std::collections::BTreeMap;

use lethe_engine::ControlRecord;
use lethe_engine::policy::{Replay, Statement};
use serde_json::{Value, json};

use super::book::Book;
use super::key::Kind;
use super::topic::{Change, ControlError};
use super::value::time;
use crate::pipeline::replay::plan::{self, Spot};
use crate::pipeline::seam::{Bounds, Fault, PartitionId, Source, SourceId};
use crate::pipeline::settings::{CLASSES, Topics};

/// The change as it is to be written: a new replay's range becomes offsets.
///
/// # Errors
/// It cannot be, or its id is used.
pub(super) fn settled(
    source: &mut impl Source,
    partitions: impl Fn(lethe_engine::Class) -> Result<i32, Fault>,
    topics: &Topics,
    change: &Change,
    book: &Book,
    now_ms: i64,
) -> Result<Change, ControlError> {
    let Some(after) = replay(&change.key, change.value.as_deref(), now_ms) else {
        return Ok(change.clone());
    };
    let entry = book.get(&change.key);
    if let Some(before) = entry.and_then(|entry| entry.in_force.as_ref()) {
        let before = replay(&change.key, Some(&before.value.to_string()), now_ms);
        if before.is_some_and(|before| before.is_same_work(&after)) {
            return Ok(change.clone());
        }
        return Err(ControlError::Used {
            key: change.key.clone(),
            why: "there is one with this id that does something else: its rate and whether it stands still can \
                  be changed, for anything else take another id",
        });
    }
    // One that was refused has never been one.
    if entry.is_some_and(|entry| entry.refused.is_none()) {
        return Err(ControlError::Used {
            key: change.key.clone(),
            why: "it was cancelled, and its id is used up: take another",
        });
    }
    let unfit = |why: String| ControlError::Unfit { key: change.key.clone(), why };
    let asked = Asked { source, topics, replay: &after, now_ms };
    let range = asked.range(partitions).map_err(|error| match error {
        Cannot::Kafka(fault) => fault.into(),
        Cannot::Be(why) => unfit(why),
    })?;
    let mut value: Value = change
        .value
        .as_deref()
        .and_then(|value| serde_json::from_str(value).ok())
        .unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        let ends = |end: fn(&(i64, i64)) -> i64| -> BTreeMap<String, i64> {
            range.iter().map(|(partition, range)| (partition.to_string(), end(range))).collect()
        };
        fields.insert("from".to_owned(), json!(ends(|range| range.0)));
        fields.insert("to".to_owned(), json!(ends(|range| range.1)));
    }
    Ok(Change { value: Some(value.to_string()), ..change.clone() })
}

/// What a value says; none: it is none of a replay's.
fn replay(key: &str, value: Option<&str>, now_ms: i64) -> Option<Replay> {
    if Kind::of(key) != Some(Kind::Replay) {
        return None;
    }
    let record = ControlRecord::parse(0, now_ms, key.as_bytes(), Some(value?.as_bytes()));
    match record.statement()? {
        Statement::Replay(replay) => Some(replay),
        Statement::Tenant(_)
        | Statement::Conversation(_)
        | Statement::Terms(_)
        | Statement::Hold(_)
        | Statement::Erasure(_) => None,
    }
}

/// Why a range cannot be told.
enum Cannot {
    Kafka(Fault),
    Be(String),
}

impl From<Fault> for Cannot {
    fn from(fault: Fault) -> Self {
        Self::Kafka(fault)
    }
}

struct Asked<'a, S> {
    source: &'a mut S,
    topics: &'a Topics,
    replay: &'a Replay,
    now_ms: i64,
}

impl<S: Source> Asked<'_, S> {
    /// The range of each partition of the source.
    fn range(
        self,
        partitions: impl Fn(lethe_engine::Class) -> Result<i32, Fault>,
    ) -> Result<BTreeMap<i32, (i64, i64)>, Cannot> {
        let Self { source, topics, replay, now_ms } = self;
        if let Some(ahead_ms) = replay.latest_ms().filter(|latest_ms| *latest_ms > now_ms) {
            return Err(Cannot::Be(format!("{} lies in the future", time(ahead_ms))));
        }
        let name = replay.source.as_str();
        let Some(topic) = source.topic(name)? else {
            return Err(Cannot::Be(format!("the topic {name} is not there")));
        };
        for class in CLASSES {
            let first = PartitionId { class, partition: 0 };
            let Some(kind) = plan::kind(replay, first, topics).map_err(Cannot::Be)? else {
                continue;
            };
            let input = topics.input(class);
            let wants = partitions(class)?;
            if let Some(why) = plan::misfit(kind, name, topic.partitions, input, wants) {
                return Err(Cannot::Be(why));
            }
        }
        if let Some(stranger) = plan::stranger(replay, topic.partitions) {
            let has = topic.partitions;
            return Err(Cannot::Be(format!(
                "its range names partition {stranger}, {name} has {has} partitions"
            )));
        }
        let (mut ranges, mut left, mut gone) = (BTreeMap::new(), Vec::new(), false);
        for partition in 0..topic.partitions {
            let id = SourceId { topic: name.to_owned(), partition };
            let bounds = source.bounds(&id)?;
            let range = one(source, replay, &id, bounds)?;
            gone |= range.is_none();
            left.push(format!("{partition}: {} to {}", bounds.start, bounds.end));
            ranges.insert(partition, range.unwrap_or_default());
        }
        if gone {
            return Err(Cannot::Be(format!(
                "retention has removed the beginning of what is asked for; what is left of {name} by partition, \
                 in offsets: {}",
                left.join(", ")
            )));
        }
        Ok(ranges)
    }
}

/// The range of one partition; none: its beginning is gone.
fn one(
    source: &mut impl Source,
    replay: &Replay,
    id: &SourceId,
    bounds: Bounds,
) -> Result<Option<(i64, i64)>, Cannot> {
    let mut find = |place| {
        Ok::<_, Fault>(match plan::spot(place, id.partition) {
            Spot::Default => None,
            Spot::At(offset) => Some(offset),
            Spot::Time(time_ms) => Some(source.offset_at(id, time_ms)?),
        })
    };
    let (from, to) = (find(replay.from.as_ref())?, find(replay.to.as_ref())?);
    let (from, to, lost) = plan::range(from, to, bounds, None);
    Ok((lost == 0).then_some((from, to)))
}
