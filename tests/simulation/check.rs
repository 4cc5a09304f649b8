//! The verdict on a run: what a `read_committed` consumer sees, against what the input warrants.

use std::collections::{BTreeMap, BTreeSet};

use lethe::pipeline::directory::partition_path;
use lethe::pipeline::seam::{PartitionId, Role};
use lethe::pipeline::settings::Topics;
use lethe::pipeline::transaction;
use lethe_engine::ledger::{forget, forgotten_line};
use lethe_engine::{Class, Ledger, Rows, Storage};
use lethe_state::{Delta, DeltaHeader, Identity, Memory, Store};

use crate::broker::Broker;
use crate::expect::{Out, without_time};
use crate::log::Record;
use crate::traffic::{BRIEF, Event, FLIP, KEEP, OUT, SHORT, SHORT_MS, Said, Traffic, What};

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

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

/// The deltas of a partition: gapless, never going back, and agreeing with the committed position.
fn changelog(broker: &Broker, id: PartitionId) -> Result<Vec<Written>, String> {
    let mut deltas: Vec<Written> = Vec::new();
    for (offset, record) in committed(broker, Role::Changelog(id.class), id.partition) {
        let delta = Delta::decode(record.value.as_deref().unwrap_or_default());
        let header = *delta.map_err(|error| format!("{id:?}: {error}"))?.header();
        let before = deltas.last().map(|written| written.header);
        let follows = before.is_none_or(|before| {
            header.input_offset >= before.input_offset
                && header.control_offset >= before.control_offset
        });
        if header.sequence != before.map_or(0, |before| before.sequence) + 1 || !follows {
            return Err(format!("{id:?}: the delta at {offset} is {header:?}, after {before:?}"));
        }
        deltas.push(Written { header, serial: record.serial, clock_max_ms: record.clock_max_ms });
    }
    let last = deltas.last().map(|written| written.header);
    let position = broker.group.committed.get(&id);
    let position = position.map(|at| (at.offset, transaction::sequence(&at.metadata)));
    if position != last.map(|last| (last.input_offset, Some(last.sequence))) {
        return Err(format!("{id:?}: the position is {position:?}, the last delta {last:?}"));
    }
    Ok(deltas)
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
        for (_, record) in committed(broker, Role::Output(id.class, storage), id.partition) {
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

fn seen_of(storage: Storage, record: &Record) -> Seen {
    let header = |name: &str| {
        let found = record.headers.iter().find(|(known, _)| known == name.as_bytes());
        found.and_then(|(_, value)| value.clone()).unwrap_or_default()
    };
    let out = match &record.value {
        Some(value) => Out::Content(value.to_vec()),
        None => Out::Tombstone(String::from_utf8_lossy(&header("lethe-reason")).into_owned()),
    };
    Seen { storage, out, serial: record.serial, clock_max_ms: record.clock_max_ms }
}

/// One record's life.
struct Case<'a> {
    id: PartitionId,
    traffic: &'a Traffic,
    deltas: &'a [Written],
    events: &'a [(i64, &'a Event)],
    seen: &'a [Seen],
}

impl Case<'_> {
    fn check(&self) -> Result<(), String> {
        let first = self.events[0].1;
        self.once()?;
        self.warranted(first)?;
        if first.tenant == SHORT {
            self.held()?;
        }
        let is_message = self.id.class == Class::Message;
        let timed = first.ttl_ms > 0 || [SHORT, BRIEF, FLIP].contains(&first.tenant);
        if timed && is_message { self.timed(first) } else { self.exact(first) }
    }

    /// Each content once, byte for byte one of the inputs'; never on both topics; a message has at most one
    /// tombstone, its last; and each output has its delta in its transaction.
    fn once(&self) -> Result<(), String> {
        let mut contents = BTreeSet::new();
        let (mut live, mut ended) = (false, false);
        for one in self.seen {
            if !self.deltas.iter().any(|delta| delta.serial == one.serial) {
                return Err("an output without a delta in its transaction".to_owned());
            }
            if self.id.class == Class::Message && one.storage != self.seen[0].storage {
                return Err("it is on both topics".to_owned());
            }
            match &one.out {
                Out::Content(value) => {
                    if !self.events.iter().any(|(_, event)| event.value == *value) {
                        return Err("a content that never went in".to_owned());
                    }
                    if !contents.insert(value) {
                        return Err("a content twice".to_owned());
                    }
                    if ended && self.id.class == Class::Message {
                        return Err("a content after its tombstone".to_owned());
                    }
                    live = true;
                }
                Out::Tombstone(_) if !live => {
                    return Err("a tombstone of what is not there".to_owned());
                }
                Out::Tombstone(_) => (live, ended) = (false, true),
            }
        }
        Ok(())
    }

    /// Nothing of opted-out tenants is stored, nothing ends early, and each reason is a true one.
    fn warranted(&self, first: &Event) -> Result<(), String> {
        for one in self.seen {
            let stored = one.storage == Storage::Stored;
            if stored && self.id.class != Class::Config && [OUT, BRIEF].contains(&first.tenant) {
                return Err("opted-out content is stored".to_owned());
            }
            if stored
                && first.tenant == FLIP
                && matches!(one.out, Out::Content(_))
                && !self.was_in(one)
            {
                return Err("it was stored while its tenant had opted out".to_owned());
            }
            let Out::Tombstone(reason) = &one.out else { continue };
            // What has ended by its tenant's change of mind may be told as aged, too.
            let changed = first.tenant == FLIP
                && self.traffic.said.iter().any(|(_, said)| *said == Said::FlipOut);
            let due_ms = match reason.as_str() {
                "expired" if changed => i64::MIN,
                "expired" => first.at_ms + SHORT_MS,
                "undelivered" if first.tenant == OUT => first.at_ms + 24 * 3_600_000,
                "undelivered" => first.at_ms + SHORT_MS,
                "burned" => first.at_ms + first.ttl_ms,
                "recalled" if self.any(|what| *what == What::Recalled) => i64::MIN,
                "removed" if self.any(|what| *what == What::Removed) => i64::MIN,
                "delivered"
                    if self.any(|what| matches!(what, What::Delivered(_) | What::Everyone)) =>
                {
                    i64::MIN
                }
                "opted-out" if first.tenant == FLIP => i64::MIN,
                _ => return Err(format!("it cannot have been {reason}")),
            };
            if due_ms > one.clock_max_ms {
                return Err(format!("{reason} {} ms early", due_ms - one.clock_max_ms));
            }
        }
        Ok(())
    }

    fn any(&self, is: impl Fn(&What) -> bool) -> bool {
        self.events.iter().any(|(_, event)| is(&event.what))
    }

    /// The control offsets between which a batch was decided.
    fn range(&self, one: &Seen) -> (i64, i64) {
        let at =
            self.deltas.iter().position(|delta| delta.serial == one.serial).unwrap_or_default();
        let before = at.checked_sub(1).map_or(0, |at| self.deltas[at].header.control_offset);
        (before, self.deltas[at].header.control_offset)
    }

    /// Whether the tenant that changes its mind was in at any moment of a batch.
    fn was_in(&self, one: &Seen) -> bool {
        let (from, to) = self.range(one);
        let mut now_in = false;
        let mut was = false;
        for &(offset, said) in &self.traffic.said {
            if offset >= from {
                was |= now_in;
            }
            if offset >= to {
                return was;
            }
            match said {
                Said::FlipIn => now_in = true,
                Said::FlipOut => now_in = false,
                Said::HoldOn | Said::HoldOff | Said::Invalid | Said::Other => {}
            }
        }
        was | now_in
    }

    /// No tombstone in a batch that was under a hold from its beginning to its end.
    fn held(&self) -> Result<(), String> {
        for one in self.seen.iter().filter(|one| matches!(one.out, Out::Tombstone(_))) {
            let (from, to) = self.range(one);
            let mut before = self.traffic.said.iter().filter(|(offset, _)| *offset < from);
            let holds = before.rfind(|(_, said)| matches!(said, Said::HoldOn | Said::HoldOff));
            let changes = self
                .traffic
                .said
                .iter()
                .any(|&(offset, said)| (from..to).contains(&offset) && said == Said::HoldOff);
            if holds.is_some_and(|(_, said)| *said == Said::HoldOn)
                && !changes
                && one.storage == Storage::Stored
            {
                return Err("a tombstone under a hold".to_owned());
            }
        }
        Ok(())
    }

    /// A record that no time ends within the run: exactly what its events say, and at the very end what the
    /// transit limit says.
    fn exact(&self, first: &Event) -> Result<(), String> {
        let events: Vec<&Event> = self.events.iter().map(|(_, event)| *event).collect();
        let mut expected = without_time(self.id.class, &events);
        let in_transit = first.tenant == OUT && self.id.class != Class::Config;
        if in_transit && matches!(expected.last(), Some(Out::Content(_))) {
            expected.push(Out::Tombstone("undelivered".to_owned()));
        }
        let seen: Vec<&Out> = self.seen.iter().map(|one| &one.out).collect();
        if seen != expected.iter().collect::<Vec<_>>() {
            return Err(format!("expected {expected:?}"));
        }
        let storage = if in_transit { Storage::Transit } else { Storage::Stored };
        match self.seen.iter().find(|one| one.storage != storage) {
            Some(_) => Err("it is on the wrong topic".to_owned()),
            None => Ok(()),
        }
    }

    /// A record that time ends: it ends exactly once, and is missing only if it came too late.
    fn timed(&self, first: &Event) -> Result<(), String> {
        let events: Vec<&Event> = self.events.iter().map(|(_, event)| *event).collect();
        let expected = without_time(Class::Message, &events);
        let limit_ms = match (first.ttl_ms, [KEEP, OUT].contains(&first.tenant)) {
            (0, _) => SHORT_MS,
            (ttl_ms, true) => ttl_ms,
            (ttl_ms, false) => ttl_ms.min(SHORT_MS),
        };
        let begins =
            |event: &Event| matches!(event.what, What::Sent | What::Edited { carries: true, .. });
        if self.seen.is_empty() {
            let Some((offset, _)) = self.events.iter().find(|(_, event)| begins(event)) else {
                return Ok(());
            };
            let covering = self.deltas.iter().find(|delta| delta.header.input_offset > *offset);
            let late = covering.is_none_or(|delta| first.at_ms + limit_ms <= delta.clock_max_ms);
            // Deliveries count in transit alone, and where this was to be is not always known.
            let over = expected.is_empty() || self.any(|what| matches!(what, What::Recalled));
            return if late || over || first.tenant == FLIP {
                Ok(())
            } else {
                Err("it is missing".to_owned())
            };
        }
        if !matches!(self.seen.last().map(|one| &one.out), Some(Out::Tombstone(_))) {
            return Err("it has no tombstone".to_owned());
        }
        Ok(())
    }
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

/// Each control record is reported once.
fn audits(broker: &Broker, traffic: &Traffic) -> Result<(), String> {
    let mut seen = Vec::new();
    for (_, record) in committed(broker, Role::Audit, 0) {
        let text = record.value.as_deref().unwrap_or_default();
        let report: serde_json::Value =
            serde_json::from_slice(text).map_err(|error| error.to_string())?;
        seen.push(report["control_offset"].as_i64().unwrap_or_default());
    }
    let expected: Vec<i64> = traffic.said.iter().map(|&(offset, _)| offset).collect();
    if seen == expected {
        Ok(())
    } else {
        Err(format!("reports of {seen:?}, expected of {expected:?}"))
    }
}

/// A store is a prefix of its changelog: the same rows, but for what a compaction may have dropped. Gives
/// how far it is.
pub(crate) fn store(
    broker: &Broker,
    id: PartitionId,
    dir: &std::path::Path,
    memory: &Memory,
) -> Result<u64, String> {
    let topic = Topics::default().input(id.class).to_owned();
    let dir = partition_path(dir, &topic, id.partition);
    if !dir.exists() {
        return Ok(0);
    }
    let identity = Identity {
        cluster: "simulated".to_owned(),
        topic,
        changelog_id: Some("id".to_owned()),
        partition: id.partition,
        partitions: 2,
    };
    let mut store = Store::open(&dir, &identity, memory).map_err(|error| error.to_string())?;
    let (mut table, mut all) = (Table::new(), Table::new());
    for (_, record) in committed(broker, Role::Changelog(id.class), id.partition) {
        let value = record.value.as_deref().unwrap_or_default();
        let mut delta = Delta::decode(value).map_err(|error| error.to_string())?;
        while let Some((key, value)) = delta.next_row().map_err(|error| error.to_string())? {
            match value {
                Some(value) => drop(all.insert(key.to_vec(), value.to_vec())),
                None => drop(all.remove(key)),
            }
        }
        if delta.header().sequence <= store.sequence() {
            table.clone_from(&all);
        }
    }
    // A compaction may have dropped what was forgotten after the last flush: the changelog says so too.
    let lines: BTreeMap<Vec<u8>, i64> = all
        .iter()
        .filter_map(|(key, value)| forgotten_line(key, value))
        .map(|(tenant, line)| (tenant.to_vec(), line))
        .collect();
    let line_of = |tenant: &[u8]| lines.get(tenant).copied().unwrap_or(i64::MIN);
    let mut rows = Rows::default();
    store.scan(b"", &[0xff; 8], usize::MAX, &mut rows).map_err(|error| error.to_string())?;
    let is_kept = |(key, value): &(Vec<u8>, Vec<u8>)| !forget(key, value, &line_of);
    let found: Table =
        rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).filter(is_kept).collect();
    let expected: Table = table.clone().into_iter().filter(is_kept).collect();
    if found == expected {
        return Ok(store.sequence());
    }
    let missing = expected.iter().filter(|(key, value)| found.get(*key) != Some(value)).count();
    let extra = found.keys().filter(|key| !expected.contains_key(*key)).count();
    let sequence = store.sequence();
    Err(format!(
        "{id:?}: the store at {sequence} differs from its changelog: {missing} rows lack, {extra} are too many"
    ))
}

/// The sequence of the last delta on a partition's changelog.
pub(crate) fn last_sequence(broker: &Broker, id: PartitionId) -> u64 {
    let last = committed(broker, Role::Changelog(id.class), id.partition).pop();
    let header =
        last.and_then(|(_, record)| Some(*Delta::decode(record.value.as_deref()?).ok()?.header()));
    header.map_or(0, |header| header.sequence)
}
