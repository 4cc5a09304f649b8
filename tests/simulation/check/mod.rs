//! The verdict on a run: what a `read_committed` consumer sees, against what the input warrants.

mod case;
mod replays;
mod store;

use std::collections::BTreeMap;

use lethe::pipeline::seam::{PartitionId, Role};
use lethe::pipeline::settings::Topics;
use lethe::pipeline::transaction;
use lethe_engine::Storage;
use lethe_state::snapshot::{END_FORMAT, PART_FORMAT};
use lethe_state::{Delta, DeltaHeader};

use crate::broker::Broker;
use crate::expect::Out;
use crate::log::Record;
use crate::traffic::{Event, SHORT, Traffic, What};
use case::Case;
pub(crate) use store::store;

/// A delta as it lies on the changelog.
struct Written {
    header: DeltaHeader,
    serial: Option<u64>,
    clock_max_ms: i64,
}

/// Something that came out, and when.
struct Seen {
    storage: Storage,
    out: Out,
    serial: Option<u64>,
    /// The latest that the broker's clock can be taken for by then.
    clock_max_ms: i64,
}

/// Checks everything but the local state; an error says what is wrong.
pub(crate) fn outputs(broker: &Broker, traffic: &Traffic) -> Result<(), String> {
    for &id in &traffic.inputs {
        let deltas = changelog(broker, id)?;
        partition(broker, traffic, id, &deltas).map_err(|wrong| format!("{id:?}: {wrong}"))?;
    }
    dead_letters(broker, traffic)?;
    audits(broker, traffic)
}

fn committed(broker: &Broker, role: Role, partition: i32) -> Vec<(i64, &Record)> {
    broker.logs.get(&(role, partition)).map(|log| log.committed()).unwrap_or_default()
}

/// The records of a changelog that are deltas, those that were removed since included.
fn deltas(broker: &Broker, id: PartitionId) -> Vec<(i64, &Record)> {
    let mut records = committed(broker, Role::Changelog(id.class), id.partition);
    let of_snapshot = |record: &Record| {
        matches!(record.value.as_deref().and_then(<[u8]>::first), Some(&(PART_FORMAT | END_FORMAT)))
    };
    records.retain(|(_, record)| !of_snapshot(record));
    records
}

/// How many snapshots were finished on a partition's changelog.
pub(crate) fn snapshots(broker: &Broker, id: PartitionId) -> usize {
    let ends =
        |record: &Record| record.value.as_deref().and_then(<[u8]>::first) == Some(&END_FORMAT);
    let records = committed(broker, Role::Changelog(id.class), id.partition);
    records.iter().filter(|(_, record)| ends(record)).count()
}

/// The deltas of a partition: gapless, whole, never going back, and agreeing with the committed position.
fn changelog(broker: &Broker, id: PartitionId) -> Result<Vec<Written>, String> {
    let mut all: Vec<Written> = Vec::new();
    let mut parts = 0;
    for (offset, record) in deltas(broker, id) {
        let delta = Delta::decode(record.value.as_deref().unwrap_or_default());
        let header = *delta.map_err(|error| format!("{id:?}: {error}"))?.header();
        let before = all.last().map(|written| written.header);
        let follows = before.is_none_or(|before| {
            header.input_offset >= before.input_offset
                && header.control_offset >= before.control_offset
        });
        let next = before.map_or(0, |before| before.sequence) + 1;
        if header.sequence != next || header.part != parts + 1 || !follows {
            return Err(format!("{id:?}: the delta at {offset} is {header:?}, after {before:?}"));
        }
        parts = if header.part < header.parts { header.part } else { 0 };
        if parts == 0 {
            let (serial, clock_max_ms) = (record.serial, record.clock_max_ms);
            all.push(Written { header, serial, clock_max_ms });
        }
    }
    let last = all.last().map(|written| written.header);
    let position = broker.group.committed.get(&id);
    let position = position.map(|at| (at.offset, transaction::sequence(&at.metadata)));
    if parts > 0 || position != last.map(|last| (last.input_offset, Some(last.sequence))) {
        return Err(format!("{id:?}: the position is {position:?}, the last delta {last:?}"));
    }
    Ok(all)
}

fn partition(
    broker: &Broker,
    traffic: &Traffic,
    id: PartitionId,
    deltas: &[Written],
) -> Result<(), String> {
    let mut events: BTreeMap<&str, Vec<(i64, &Event)>> = BTreeMap::new();
    for (&(of, offset), event) in &traffic.events {
        if of == id && event.what != What::Garbage {
            events.entry(&event.key).or_default().push((offset, event));
        }
    }
    let mut seen: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
    for storage in [Storage::Stored, Storage::Transit] {
        let records = committed(broker, Role::Output(id.class, storage), id.partition);
        let whole = broker.logs.get(&(Role::Input(id.class), id.partition));
        let whole = whole.is_some_and(|log| log.start == 0);
        for record in replays::without(&records, traffic, id, whole)? {
            let key =
                String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
            seen.entry(key).or_default().push(seen_of(storage, record));
        }
    }
    if let Some(key) = seen.keys().find(|key| !events.contains_key(record_key(key))) {
        return Err(format!("{key} came out, but never went in"));
    }
    let unseen = events.keys().copied().filter(|key| !seen.contains_key(*key));
    for key in seen.keys().map(String::as_str).chain(unseen) {
        let events = &events[record_key(key)];
        let seen = seen.get(key).map_or(&[][..], Vec::as_slice);
        let case = Case { id, traffic, deltas, events, seen };
        case.check().map_err(|wrong| {
            let all: Vec<_> =
                seen.iter().map(|one| (one.storage, &one.out, one.clock_max_ms)).collect();
            format!("{key}: {wrong}\n  in:  {events:?}\n  out: {all:?}")
        })?;
    }
    Ok(())
}

/// The key of the record that a key is about: an edit of what a hold covers has its time behind it, and ends
/// as the record does. Only one tenant is ever held.
fn record_key(key: &str) -> &str {
    let version = key.rsplit_once('/').filter(|_| key.matches('/').count() == 3);
    version.filter(|_| key.starts_with(SHORT)).map_or(key, |(record, _)| record)
}

fn header(record: &Record, name: &str) -> Option<String> {
    let found = record.headers.iter().find(|(known, _)| known == name.as_bytes());
    Some(String::from_utf8_lossy(found?.1.as_deref()?).into_owned())
}

fn seen_of(storage: Storage, record: &Record) -> Seen {
    let out = match &record.value {
        Some(value) => Out::Content(value.to_vec()),
        None => Out::Tombstone(header(record, "lethe-reason").unwrap_or_default()),
    };
    Seen { storage, out, serial: record.serial, clock_max_ms: record.clock_max_ms }
}

/// Whatever could not be processed has one dead letter.
fn dead_letters(broker: &Broker, traffic: &Traffic) -> Result<(), String> {
    let topics = Topics::default();
    let mut expected: Vec<String> = traffic
        .events
        .iter()
        .filter(|(_, event)| event.what == What::Garbage)
        .map(|((id, offset), _)| format!("{}/{}/{offset}", topics.input(id.class), id.partition))
        .collect();
    let mut seen = Vec::new();
    for partition in 0..2 {
        for (_, record) in committed(broker, Role::DeadLetters, partition) {
            let source = record.headers.iter().find(|(name, _)| name == b"lethe-source");
            let source = source.and_then(|(_, value)| value.clone()).unwrap_or_default();
            seen.push(String::from_utf8_lossy(&source).into_owned());
        }
    }
    expected.sort();
    seen.sort();
    if seen == expected {
        Ok(())
    } else {
        Err(format!("dead letters {seen:?}, expected {expected:?}"))
    }
}

/// Each control record is reported once, and each replay's end once by each of its partitions.
fn audits(broker: &Broker, traffic: &Traffic) -> Result<(), String> {
    let (mut seen, mut replayed) = (Vec::new(), Vec::new());
    for (_, record) in committed(broker, Role::Audit, 0) {
        let text = record.value.as_deref().unwrap_or_default();
        let report: serde_json::Value =
            serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if report["type"].as_str().is_some_and(|kind| kind.starts_with("replay-")) {
            let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default());
            replayed.push((key.into_owned(), report));
            continue;
        }
        seen.push(report["control_offset"].as_i64().unwrap_or_default());
    }
    replays::ended(&replayed, traffic)?;
    let expected: Vec<i64> = traffic.said.iter().map(|&(offset, _)| offset).collect();
    if seen == expected {
        Ok(())
    } else {
        Err(format!("reports of {seen:?}, expected of {expected:?}"))
    }
}

/// The sequence of the last delta on a partition's changelog.
pub(crate) fn last_sequence(broker: &Broker, id: PartitionId) -> u64 {
    let last = deltas(broker, id).pop();
    let header =
        last.and_then(|(_, record)| Some(*Delta::decode(record.value.as_deref()?).ok()?.header()));
    header.map_or(0, |header| header.sequence)
}
