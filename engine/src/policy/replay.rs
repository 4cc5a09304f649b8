//! What is read again: `replay/<id>`.
//!
//! Only what can be known from the record alone is checked here; whether the source is there, and whether the
//! times have come, each partition finds out when it first sees the record.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::duration::parse_time;
use super::record::{Common, Refused, check_tenant};
use crate::Class;

/// A topic's name is at most so many bytes long (Kafka's own limit).
const TOPIC_BYTES_MAX: usize = 249;

/// A request to read a topic again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The topic to read.
    pub source: String,
    /// The class of its records, where its name does not tell.
    pub class: Option<Class>,
    /// From where on; none: from the first record that is there.
    pub from: Option<Place>,
    /// Up to where, that place left out; none: to what was its end when a partition first saw the request.
    pub to: Option<Place>,
    /// Of these tenants; none: of all.
    pub tenants: Option<BTreeSet<String>>,
    /// What is done with what is read.
    pub mode: Mode,
    /// Records a second over all partitions of the source, of which each takes its share; none: no limit.
    pub rate: Option<u32>,
    /// It counts what it would do, and does nothing.
    pub dry_run: bool,
    /// It stands still.
    pub paused: bool,
}

/// A place in a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first record of this time or later (Unix ms).
    Time(i64),
    /// This offset, in every partition.
    Offset(i64),
    /// An offset for each partition; one that is left out has its default.
    Offsets(BTreeMap<i32, i64>),
}

/// What a replay does with what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Processes what lethe never did, by the rules of live events.
    Missing,
    /// Emits again what is out and has no tombstone, in its winning version.
    Refresh,
}

impl Mode {
    /// The name in records, reports and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Refresh => "refresh",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayBody {
    source: String,
    class: Option<ClassName>,
    from: Option<PlaceBody>,
    to: Option<PlaceBody>,
    tenants: Option<Vec<String>>,
    mode: ModeName,
    rate: Option<u32>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    paused: bool,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ClassName {
    Message,
    Profile,
    Config,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    Missing,
    Refresh,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PlaceBody {
    Time(String),
    Offset(i64),
    Offsets(BTreeMap<String, i64>),
}

impl Replay {
    pub(super) fn parse(body: &[u8]) -> Result<Common<Self>, Refused> {
        let body: ReplayBody = super::record::json(body)?;
        check_topic(&body.source)?;
        let from = body.from.map(Place::parse).transpose()?;
        let to = body.to.map(Place::parse).transpose()?;
        check_order(from.as_ref(), to.as_ref())?;
        if body.rate == Some(0) {
            return Err("a rate of nothing: pause the replay instead");
        }
        let tenants = match body.tenants {
            Some(tenants) if tenants.is_empty() => return Err("an empty list of tenants"),
            Some(tenants) => {
                for tenant in &tenants {
                    check_tenant(tenant)?;
                }
                Some(tenants.into_iter().collect())
            }
            None => None,
        };
        let replay = Self {
            source: body.source,
            class: body.class.map(Class::from),
            from,
            to,
            tenants,
            mode: match body.mode {
                ModeName::Missing => Mode::Missing,
                ModeName::Refresh => Mode::Refresh,
            },
            rate: body.rate,
            dry_run: body.dry_run,
            paused: body.paused,
        };
        Common::new(replay, None)
    }

    /// Whether it asks for the same work: only the rate may change, and whether it stands still.
    #[must_use]
    pub fn is_same_work(&self, other: &Self) -> bool {
        let without = |replay: &Self| Self { rate: None, paused: false, ..replay.clone() };
        without(self) == without(other)
    }

    /// The time in its range that lies furthest ahead (Unix ms).
    #[must_use]
    pub fn latest_ms(&self) -> Option<i64> {
        let times = [self.from.as_ref(), self.to.as_ref()].into_iter().flatten();
        let times = times.filter_map(|place| match place {
            Place::Time(time_ms) => Some(*time_ms),
            Place::Offset(_) | Place::Offsets(_) => None,
        });
        times.max()
    }
}

impl Place {
    fn parse(body: PlaceBody) -> Result<Self, Refused> {
        match body {
            PlaceBody::Time(text) => Ok(Self::Time(parse_time(&text)?)),
            PlaceBody::Offset(offset) => Ok(Self::Offset(check_offset(offset)?)),
            PlaceBody::Offsets(offsets) => {
                let parsed = offsets.into_iter().map(|(partition, offset)| {
                    let number: i32 = partition.parse().map_err(|_| NOT_A_PARTITION)?;
                    // A partition has one spelling, so that none is named twice.
                    if number < 0 || number.to_string() != partition {
                        return Err(NOT_A_PARTITION);
                    }
                    Ok((number, check_offset(offset)?))
                });
                Ok(Self::Offsets(parsed.collect::<Result<_, _>>()?))
            }
        }
    }
}

const NOT_A_PARTITION: Refused = "offsets are named by the numbers of their partitions";

fn check_offset(offset: i64) -> Result<i64, Refused> {
    if offset < 0 { Err("a negative offset") } else { Ok(offset) }
}

fn check_order(from: Option<&Place>, to: Option<&Place>) -> Result<(), Refused> {
    let turned = match (from, to) {
        (Some(Place::Time(from)), Some(Place::Time(to)))
        | (Some(Place::Offset(from)), Some(Place::Offset(to))) => from > to,
        (Some(Place::Offsets(from)), Some(Place::Offsets(to))) => {
            from.iter().any(|(partition, from)| to.get(partition).is_some_and(|to| from > to))
        }
        // Which comes first is to be seen in the topic.
        (_, _) => false,
    };
    if turned { Err("from is later than to") } else { Ok(()) }
}

/// Checks a topic's name by Kafka's own rules.
fn check_topic(topic: &str) -> Result<(), Refused> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match topic {
        "" => Err("an empty source"),
        "." | ".." => Err("a source that is no topic's name"),
        topic if topic.len() > TOPIC_BYTES_MAX || !topic.bytes().all(legal) => {
            Err("a source that is no topic's name")
        }
        _ => Ok(()),
    }
}

impl From<ClassName> for Class {
    fn from(name: ClassName) -> Self {
        match name {
            ClassName::Message => Self::Message,
            ClassName::Profile => Self::Profile,
            ClassName::Config => Self::Config,
        }
    }
}
