//! Putting the ledger together: the control records first, then what the outputs say, record by record.

use std::collections::HashMap;

use lethe_engine::ledger::Rebuilt;
use lethe_engine::ledger::key::read_part;
use lethe_engine::lifecycle::{Found as Adopted, FoundMessage, FoundVersions};
use lethe_engine::{Class, ControlRecord, Engine, Ledger as _, Rows, Storage};
use lethe_state::Store;

use super::scratch::{END, Fact, Place};
use super::{Failed, Found};

/// So many rows are read at once.
const SLICE_ROWS: usize = 1_024;
/// So many records are put into the ledger before it is written.
const RECORDS_MAX: usize = 20_000;

/// Builds a ledger in an empty store from what was read. Returns up to where it has applied the control topic.
pub(super) fn build(
    class: Class,
    rebuilt: Rebuilt,
    control: &[ControlRecord],
    seen: &HashMap<String, i64>,
    scratch: &mut Store,
    store: &mut Store,
    found: &mut Found,
) -> Result<i64, Failed> {
    let mut engine = Engine::open(class, store)?;
    let mut now_ms = found.last_ms;
    for record in control {
        now_ms = now_ms.max(record.written_at_ms());
        let seen_ms = |tenant: &str| {
            // The outputs' keys have it encoded.
            let mut key = String::new();
            lethe_engine::ledger::key::push_part(&mut key, tenant);
            seen.get(&key).copied()
        };
        engine.adopt_control(store, record, seen_ms)?;
    }
    engine.adopt_time(store, now_ms)?;
    engine.adopt_line(store, rebuilt);
    let mut building = Building { engine, store, found, now_ms, pending: 0 };
    building.records(scratch)?;
    let Building { mut engine, store, .. } = building;
    engine.adopt_erasures(store)?;
    engine.flush(store);
    store.commit(0)?;
    Ok(engine.control_offset())
}

struct Building<'b> {
    engine: Engine,
    store: &'b mut Store,
    found: &'b mut Found,
    now_ms: i64,
    pending: usize,
}

/// The rows of one record: what is under its key on either topic, and its versions.
#[derive(Default)]
struct Group {
    key: String,
    rows: Vec<(Storage, Option<i64>, Vec<u8>)>,
}

impl Building<'_> {
    fn records(&mut self, scratch: &mut Store) -> Result<(), Failed> {
        let (mut from, mut rows) = (vec![0], Rows::default());
        let mut group = Group::default();
        loop {
            scratch.scan(&from, &END, SLICE_ROWS, &mut rows)?;
            for (row, value) in rows.iter() {
                let place = Place::of_row(row)?;
                if place.key != group.key {
                    self.record(&group)?;
                    group.key = place.key.to_owned();
                    group.rows.clear();
                }
                group.rows.push((place.storage, place.version_ms, value.to_vec()));
                from.clear();
                from.extend_from_slice(row);
                from.push(0);
            }
            if rows.len() < SLICE_ROWS {
                return self.record(&group);
            }
        }
    }

    fn record(&mut self, group: &Group) -> Result<(), Failed> {
        let Some((tenant, id)) = group.key.split_once('/') else { return Ok(()) };
        let tenant = read_part(tenant);
        let mut facts = Vec::with_capacity(group.rows.len());
        for (storage, version_ms, value) in &group.rows {
            facts.push((*storage, *version_ms, Fact::read(value)?));
        }
        match self.engine.class() {
            Class::Message => self.message(&tenant, id, &facts)?,
            Class::Profile | Class::Config => self.versions(&tenant, id, &facts)?,
        }
        self.pending += 1;
        if self.pending >= RECORDS_MAX {
            self.pending = 0;
            self.engine.flush(self.store);
            self.store.commit(0)?;
        }
        Ok(())
    }

    fn adopt(&mut self, tenant: &str, id: &str, adopted: &Adopted<'_>) -> Result<(), Failed> {
        Ok(self.engine.adopt(self.store, tenant, id, adopted, self.now_ms)?)
    }

    fn message(
        &mut self,
        tenant: &str,
        id: &str,
        facts: &[(Storage, Option<i64>, Fact<'_>)],
    ) -> Result<(), Failed> {
        let mut contents = facts.iter().filter_map(|(storage, version_ms, fact)| match fact {
            Fact::Message { sent_at_ms, told, entry } => {
                Some((*storage, *version_ms, *sent_at_ms, *told, *entry))
            }
            Fact::Null(_) | Fact::Version(_) => None,
        });
        // The one under the plain key, else whichever is there.
        let plain = contents.clone().find(|(_, version_ms, ..)| version_ms.is_none());
        let Some((storage, _, sent_at_ms, told, entry)) = plain.or_else(|| contents.next()) else {
            return self.ended(tenant, id, facts);
        };
        let versions: Vec<i64> = facts
            .iter()
            .filter(|(_, _, fact)| !matches!(fact, Fact::Null(_)))
            .filter_map(|(_, version_ms, _)| *version_ms)
            .collect();
        let found = &mut self.found;
        found.count(storage);
        found.versions += versions.len() as u64;
        found.untold += u64::from(!told);
        found.waiting += u64::from(storage == Storage::Transit && entry.recipients > 1);
        let sent = lethe_engine::Sent {
            sender: entry.sender,
            kind: entry.kind,
            recipients: entry.recipients,
            ttl_ms: entry.ttl_ms,
        };
        let edited_at_ms = entry.edited_at_ms.filter(|_| plain.is_some());
        let adopted = FoundMessage { sent_at_ms, storage, sent, edited_at_ms, versions: &versions };
        self.adopt(tenant, id, &Adopted::Message(adopted))
    }

    fn versions(
        &mut self,
        tenant: &str,
        id: &str,
        facts: &[(Storage, Option<i64>, Fact<'_>)],
    ) -> Result<(), Failed> {
        let of = |wanted: Storage| {
            facts.iter().filter_map(move |(storage, version_ms, fact)| match fact {
                Fact::Version(at_ms) if *storage == wanted => Some((*at_ms, version_ms.is_none())),
                Fact::Version(_) | Fact::Null(_) | Fact::Message { .. } => None,
            })
        };
        let mut stored: Vec<i64> = of(Storage::Stored).map(|(at_ms, _)| at_ms).collect();
        stored.sort_unstable();
        let plain_ms = of(Storage::Stored).find(|(_, plain)| *plain).map(|(at_ms, _)| at_ms);
        let transit_ms = of(Storage::Transit).map(|(at_ms, _)| at_ms).max();
        if stored.is_empty() && transit_ms.is_none() {
            return self.ended(tenant, id, facts);
        }
        let found = &mut self.found;
        if !stored.is_empty() {
            found.count(Storage::Stored);
        }
        if transit_ms.is_some() {
            found.count(Storage::Transit);
        }
        found.versions += stored.len().saturating_sub(1) as u64;
        let adopted = FoundVersions { stored: &stored, plain_ms, transit_ms };
        self.adopt(tenant, id, &Adopted::Versions(adopted))
    }

    /// Null values alone.
    fn ended(
        &mut self,
        tenant: &str,
        id: &str,
        facts: &[(Storage, Option<i64>, Fact<'_>)],
    ) -> Result<(), Failed> {
        let ended = facts.iter().filter_map(|(_, _, fact)| match fact {
            Fact::Null(at_ms) => Some(*at_ms),
            Fact::Message { .. } | Fact::Version(_) => None,
        });
        let Some(at_ms) = ended.max() else { return Ok(()) };
        self.found.ended += 1;
        self.adopt(tenant, id, &Adopted::Ended(at_ms))
    }
}
