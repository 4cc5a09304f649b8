//! Which records a replay's source has for a partition, and whether it may be read at all.

use lethe_engine::policy::{Mode, Replay, ReplayPlace};
use lethe_engine::{Class, Storage};

use crate::pipeline::seam::{Bounds, PartitionId, Role, SourceId, SourceTopic};
use crate::pipeline::settings::{CLASSES, Topics};

/// What a source carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Events; it is the class's own input.
    Input,
    /// Events of another topic.
    Events,
    /// What lethe has emitted to one of the class's two topics.
    Outputs(Storage),
    /// Pointers to input that could not be processed.
    DeadLetters,
}

impl Kind {
    /// Which of the class's storages its content can be of; none: both.
    pub(crate) const fn holds(self) -> Option<Storage> {
        match self {
            Self::Input | Self::Events | Self::DeadLetters => None,
            Self::Outputs(storage) => Some(storage),
        }
    }
}

/// What a replay's source is to a partition; none: nothing. An error says why it cannot be read.
pub(crate) fn kind(
    replay: &Replay,
    id: PartitionId,
    topics: &Topics,
) -> Result<Option<Kind>, String> {
    let source = replay.source.as_str();
    let (kind, class) = match own(source, topics) {
        Some((Kind::DeadLetters, _)) if replay.mode == Mode::Refresh => {
            return Err(format!("{source} has dead letters, which mode refresh has no use for"));
        }
        Some((kind @ Kind::Outputs(_), class)) if replay.dry_run => (kind, class),
        Some((Kind::Outputs(_), _)) => {
            return Err(format!("{source} is an output of lethe's: a dry run alone may read it"));
        }
        Some((kind, class)) => (kind, class),
        None if is_own(source, topics) => {
            return Err(format!("{source} is lethe's own, and carries no events"));
        }
        None if replay.class.is_none() => {
            return Err(format!("which class of events {source} carries is not said"));
        }
        None => (Kind::Events, None),
    };
    if let (Some(said), Some(class)) = (replay.class, class)
        && said != class
    {
        let (class, said) = (class.name(), said.name());
        return Err(format!("{source} carries events of class {class}, not {said}"));
    }
    let class = class.or(replay.class);
    Ok(class.is_none_or(|class| class == id.class).then_some(kind))
}

/// A topic of lethe's that can be a source, and its class where it has one.
fn own(source: &str, topics: &Topics) -> Option<(Kind, Option<Class>)> {
    if source == topics.dead_letters {
        return Some((Kind::DeadLetters, None));
    }
    if let Some(class) = topics.class(source) {
        return Some((Kind::Input, Some(class)));
    }
    let outputs = CLASSES
        .into_iter()
        .flat_map(|class| [Storage::Stored, Storage::Transit].map(|storage| (class, storage)));
    let is_it =
        |&(class, storage): &(Class, Storage)| topics.name(Role::Output(class, storage)) == source;
    outputs.into_iter().find(is_it).map(|(class, storage)| (Kind::Outputs(storage), Some(class)))
}

fn is_own(source: &str, topics: &Topics) -> bool {
    source == topics.control
        || source == topics.audit
        || source.starts_with(&topics.changelog_prefix)
}

/// Why a source with so many partitions cannot be read for an input with so many, if so.
pub(crate) fn misfit(
    kind: Kind,
    source: &str,
    has: i32,
    input: &str,
    wants: i32,
) -> Option<String> {
    let fits = match kind {
        Kind::Input | Kind::Events => has == wants,
        // Outputs have at least as many as their input, and use as many.
        Kind::Outputs(_) => has >= wants,
        Kind::DeadLetters => has > 0,
    };
    (!fits).then(|| {
        format!(
            "{source} has {has} partitions, {input} has {wants}: all events of one message must stay on one \
             partition"
        )
    })
}

/// The partition of the source that is read for a partition of the input.
pub(crate) fn lane(kind: Kind, replay: &Replay, id: PartitionId, source: &SourceTopic) -> SourceId {
    let partition = match kind {
        Kind::Input | Kind::Events | Kind::Outputs(_) => id.partition,
        Kind::DeadLetters => id.partition % source.partitions.max(1),
    };
    SourceId { topic: replay.source.clone(), partition }
}

/// A partition that an object of offsets names and the source does not have.
pub(crate) fn stranger(replay: &Replay, partitions: i32) -> Option<i32> {
    let named = [replay.from.as_ref(), replay.to.as_ref()].into_iter().flatten();
    let mut named = named.flat_map(|place| match place {
        ReplayPlace::Offsets(offsets) => offsets.keys().copied().collect(),
        ReplayPlace::Time(_) | ReplayPlace::Offset(_) => Vec::new(),
    });
    named.find(|partition| *partition >= partitions)
}

/// Where a place is in one partition, as far as that can be said without asking for a time.
pub(crate) enum Spot {
    /// Where it would be if nothing were said.
    Default,
    /// At this offset.
    At(i64),
    /// Where this time is (Unix ms).
    Time(i64),
}

/// Where a place is in a partition.
pub(crate) fn spot(place: Option<&ReplayPlace>, partition: i32) -> Spot {
    match place {
        None => Spot::Default,
        Some(ReplayPlace::Time(time_ms)) => Spot::Time(*time_ms),
        Some(ReplayPlace::Offset(offset)) => Spot::At(*offset),
        Some(ReplayPlace::Offsets(offsets)) => {
            offsets.get(&partition).map_or(Spot::Default, |&offset| Spot::At(offset))
        }
    }
}

/// The range that is read, where so much was asked for, and how many offsets of it are gone.
pub(crate) fn range(
    from: Option<i64>,
    to: Option<i64>,
    bounds: Bounds,
    end_max: Option<i64>,
) -> (i64, i64, u64) {
    let end = end_max.map_or(bounds.end, |end_max| end_max.min(bounds.end));
    let to = to.map_or(end, |to| to.min(end));
    let asked = from.unwrap_or(bounds.start);
    // What retention removed of it; a start behind the end leaves nothing to read.
    let from = asked.max(bounds.start).min(to.max(bounds.start));
    let lost = from.min(to.max(asked)).saturating_sub(asked);
    (from, to.max(from), u64::try_from(lost).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    fn replay(source: &str) -> Replay {
        Replay {
            source: source.to_owned(),
            class: None,
            from: None,
            to: None,
            tenants: None,
            mode: Mode::Missing,
            rate: None,
            dry_run: false,
            paused: false,
        }
    }

    fn of(class: Class) -> PartitionId {
        PartitionId { class, partition: 5 }
    }

    #[test]
    fn an_input_is_of_its_class_alone() {
        let topics = Topics::default();
        let asked = replay("im.profiles");
        assert_eq!(kind(&asked, of(Class::Profile), &topics), Ok(Some(Kind::Input)));
        assert_eq!(kind(&asked, of(Class::Message), &topics), Ok(None));
        let wrong = Replay { class: Some(Class::Message), ..asked };
        assert!(kind(&wrong, of(Class::Message), &topics).unwrap_err().contains("class profile"));
    }

    #[test]
    fn what_another_topic_carries_must_be_said() {
        let topics = Topics::default();
        assert!(kind(&replay("old"), of(Class::Message), &topics).is_err());
        let said = Replay { class: Some(Class::Message), ..replay("old") };
        assert_eq!(kind(&said, of(Class::Message), &topics), Ok(Some(Kind::Events)));
        assert_eq!(kind(&said, of(Class::Profile), &topics), Ok(None));
        for own in ["lethe.control", "lethe.audit", "lethe.changelog.im.messages"] {
            let said = Replay { class: Some(Class::Message), ..replay(own) };
            assert!(kind(&said, of(Class::Message), &topics).is_err(), "{own}");
        }
    }

    #[test]
    fn outputs_are_read_by_dry_runs_alone() {
        let topics = Topics::default();
        let asked = replay("store.messages");
        assert!(kind(&asked, of(Class::Message), &topics).unwrap_err().contains("dry run"));
        let dry = Replay { dry_run: true, ..asked };
        let outputs = Kind::Outputs(Storage::Stored);
        assert_eq!(kind(&dry, of(Class::Message), &topics), Ok(Some(outputs)));
        assert_eq!(misfit(outputs, "s", 6, "i", 4), None);
    }

    #[test]
    fn dead_letters_are_for_all_classes_and_not_for_refreshes() {
        let topics = Topics::default();
        let asked = replay("lethe.dlq");
        assert_eq!(kind(&asked, of(Class::Config), &topics), Ok(Some(Kind::DeadLetters)));
        let refresh = Replay { mode: Mode::Refresh, ..asked.clone() };
        assert!(kind(&refresh, of(Class::Config), &topics).is_err());
        let source = SourceTopic { partitions: 3, id: None };
        assert_eq!(lane(Kind::DeadLetters, &asked, of(Class::Message), &source).partition, 2);
    }

    #[test]
    fn another_number_of_partitions_is_refused() {
        for kind in [Kind::Input, Kind::Events] {
            assert_eq!(misfit(kind, "a", 4, "b", 4), None);
            assert!(misfit(kind, "a", 3, "b", 4).unwrap().contains("a has 3 partitions, b has 4"));
        }
        let named = ReplayPlace::Offsets([(4, 0)].into());
        assert_eq!(stranger(&Replay { to: Some(named), ..replay("a") }, 4), Some(4));
    }

    #[test]
    fn a_range_stays_within_what_is_there() {
        let bounds = Bounds { start: 10, end: 20 };
        for (from, to, end_max, expected) in [
            (None, None, None, (10, 20, 0)),
            (None, None, Some(15), (10, 15, 0)),
            (Some(0), None, None, (10, 20, 10)),
            (Some(12), Some(14), None, (12, 14, 0)),
            (Some(12), Some(99), None, (12, 20, 0)),
            (Some(25), None, None, (20, 20, 0)),
            (Some(14), Some(12), None, (12, 12, 0)),
            (Some(2), Some(5), None, (10, 10, 3)),
            (None, None, Some(3), (10, 10, 0)),
        ] {
            assert_eq!(range(from, to, bounds, end_max), expected, "{from:?} {to:?} {end_max:?}");
        }
    }
}
