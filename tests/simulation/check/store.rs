//! The local state: a prefix of its changelog, but for what was forgotten.
//!
//! A compaction drops rows by the books that are committed, and these may be later than what was flushed. So
//! a store may lack rows that its own sequence still has, if both cursors of their tenant have passed them
//! by the changelog's end: the deltas up to there are applied again before anything reads the store, cursors
//! never go back, and a row behind both of them is absent to every reader. It may lack no other row, and have
//! none too many.

use std::collections::BTreeMap;
use std::path::Path;

use lethe::pipeline::directory::partition_path;
use lethe::pipeline::seam::PartitionId;
use lethe::pipeline::settings::Topics;
use lethe_engine::ledger::{Books, Latest, key};
use lethe_engine::{Ledger, Rows};
use lethe_state::{Delta, Identity, Memory, StateError, Store};

use super::deltas;
use crate::broker::Broker;

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

/// Checks a partition's store in a data directory. Gives how far it is.
pub(crate) fn store(
    broker: &Broker,
    id: PartitionId,
    dir: &Path,
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
    let mut store = match Store::open(&dir, &identity, memory) {
        Ok(store) => store,
        // A snapshot was being taken in: it says so, and begins anew.
        Err(StateError::Interrupted { .. }) => return Ok(0),
        // Another worker of its process has taken it over by now.
        Err(StateError::Locked { .. }) => return Ok(0),
        Err(error) => return Err(error.to_string()),
    };
    let (expected, end) = tables(broker, id, store.sequence())?;
    let Some(expected) = expected else {
        return Err(format!("{id:?}: the store is at {}, its changelog is not", store.sequence()));
    };
    let mut rows = Rows::default();
    store.scan(b"", &[0xff; 8], usize::MAX, &mut rows).map_err(|error| error.to_string())?;
    let found: Table = rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    let lacking = expected.iter().filter(|(key, value)| {
        found.get(*key) != Some(value) && (found.contains_key(*key) || !is_behind(key, value, &end))
    });
    let lacking = lacking.count();
    let extra = found.keys().filter(|key| !expected.contains_key(*key)).count();
    if lacking + extra == 0 {
        return Ok(store.sequence());
    }
    let sequence = store.sequence();
    Err(format!(
        "{id:?}: the store at {sequence} differs from its changelog: {lacking} rows lack, {extra} are too many"
    ))
}

/// What the changelog says: the rows as of a sequence, if it has that, and those of its end.
fn tables(
    broker: &Broker,
    id: PartitionId,
    sequence: u64,
) -> Result<(Option<Table>, Table), String> {
    let mut all = Table::new();
    let mut then = (sequence == 0).then(Table::new);
    for (_, record) in deltas(broker, id) {
        let value = record.value.as_deref().unwrap_or_default();
        let mut delta = Delta::decode(value).map_err(|error| error.to_string())?;
        while let Some((key, value)) = delta.next_row().map_err(|error| error.to_string())? {
            match value {
                Some(value) => drop(all.insert(key.to_vec(), value.to_vec())),
                None => drop(all.remove(key)),
            }
        }
        let header = delta.header();
        if header.sequence == sequence && header.part == header.parts {
            then = Some(all.clone());
        }
    }
    Ok((then, all))
}

/// Whether both cursors of a row's tenant have passed it by the changelog's end.
fn is_behind(row: &[u8], value: &[u8], end: &Table) -> bool {
    let Some((&tag, rest)) = row.split_first() else { return false };
    let Some((&length, rest)) = rest.split_first() else { return false };
    let Some((tenant, rest)) = rest.split_at_checked(usize::from(length)) else { return false };
    let time_ms = match tag {
        key::tag::ENTRY | key::tag::RECIPIENT => {
            rest.get(..6).map(|time| time.iter().fold(0, |sum, &byte| (sum << 8) | i64::from(byte)))
        }
        key::tag::LATEST => Latest::read(value).ok().map(|latest| latest.newest_ms),
        _ => None,
    };
    let books = end.get(&[&[key::tag::BOOKS], tenant].concat());
    let Some(books) = books.and_then(|books| Books::read(books).ok()) else { return false };
    time_ms.is_some_and(|time_ms: i64| {
        time_ms <= books.stored.cursor_ms && time_ms <= books.transit.cursor_ms
    })
}
