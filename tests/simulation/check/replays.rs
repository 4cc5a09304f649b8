//! What replays emitted, apart from what the live input warrants.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use lethe::pipeline::seam::PartitionId;

use super::header;
use crate::log::Record;
use crate::traffic::{Event, Traffic, What};

/// A refresh as one partition of an output has it.
#[derive(Default)]
struct Refresh {
    ended: bool,
    /// What was out as it began, and is still the same.
    unchanged: BTreeSet<Rc<[u8]>>,
    emitted: BTreeSet<Rc<[u8]>>,
    /// What was out all the while and was not emitted.
    missed: Vec<Rc<[u8]>>,
}

/// The records that no refresh emitted. Those that one did are what is out at that moment, each once, between
/// its markers; and, if the input is `whole`, all that was out all the while.
pub(super) fn without<'r>(
    records: &[(i64, &'r Record)],
    traffic: &Traffic,
    id: PartitionId,
    whole: bool,
) -> Result<Vec<&'r Record>, String> {
    let events = traffic.events.iter().filter(|((of, _), _)| *of == id);
    let versions: BTreeMap<&[u8], &Event> =
        events.map(|(_, event)| (event.value.as_slice(), event)).collect();
    let mut rest = Vec::new();
    let mut out: BTreeMap<Rc<[u8]>, Rc<[u8]>> = BTreeMap::new();
    let mut refreshes: BTreeMap<String, Refresh> = BTreeMap::new();
    for &(offset, record) in records {
        let Some(id) = header(record, "lethe-replay") else {
            rest.push(record);
            let key = record.key.clone().unwrap_or_default();
            for refresh in refreshes.values_mut() {
                refresh.unchanged.remove(&key);
            }
            match &record.value {
                Some(value) => out.insert(key, Rc::clone(value)),
                None => out.remove(&key),
            };
            continue;
        };
        if let Some(mark) = header(record, "lethe-replay-marker") {
            marked(&id, &mark, &out, &mut refreshes, traffic, whole)?;
            continue;
        }
        let key = record.key.clone().unwrap_or_default();
        let text = String::from_utf8_lossy(&key).into_owned();
        let running = refreshes.get_mut(&id).filter(|refresh| !refresh.ended);
        let running =
            running.ok_or(format!("{text} at {offset} is not between the markers of {id}"))?;
        let value =
            record.value.clone().ok_or(format!("{text} at {offset} is a null of replay {id}"))?;
        // The traffic repeats a version under other bytes; of those the input may have dropped the first.
        let is_out = out
            .get(&key)
            .is_some_and(|out| *out == value || same(versions.get(&**out), versions.get(&*value)));
        if !is_out {
            return Err(format!("{text} at {offset} is not what is out, but replay {id} emits it"));
        }
        if !running.emitted.insert(key) {
            return Err(format!("{text} at {offset} is there twice in replay {id}"));
        }
    }
    for (id, refresh) in refreshes {
        if !refresh.ended {
            return Err(format!("replay {id} has no end"));
        }
        // What was over already has its tombstone later.
        if let Some(key) = refresh.missed.iter().find(|key| out.contains_key(*key)) {
            let key = String::from_utf8_lossy(key);
            return Err(format!("{key} is out, but replay {id} has not emitted it"));
        }
    }
    Ok(rest)
}

/// Whether two records carry the same version of one record.
fn same(one: Option<&&Event>, other: Option<&&Event>) -> bool {
    let version = |event: &&Event| {
        let edited_at_ms = match event.what {
            What::Edited { at_ms, .. } => Some(at_ms),
            _ => None,
        };
        (event.key.clone(), event.at_ms, edited_at_ms)
    };
    one.map(version).is_some_and(|one| Some(one) == other.map(version))
}

fn marked(
    id: &str,
    mark: &str,
    out: &BTreeMap<Rc<[u8]>, Rc<[u8]>>,
    refreshes: &mut BTreeMap<String, Refresh>,
    traffic: &Traffic,
    whole: bool,
) -> Result<(), String> {
    let known = refreshes.get_mut(id);
    let refresh = match (mark, known) {
        ("begin", None) => {
            let refresh =
                Refresh { unchanged: out.keys().cloned().collect(), ..Refresh::default() };
            refreshes.insert(id.to_owned(), refresh);
            return Ok(());
        }
        ("end" | "cancelled", Some(refresh)) if !refresh.ended => refresh,
        _ => return Err(format!("replay {id} has a marker {mark} too many")),
    };
    refresh.ended = true;
    let tenant = traffic.replays.iter().find(|asked| asked.number.to_string() == id);
    let tenant = tenant.and_then(|asked| asked.tenant).map(|tenant| format!("{tenant}/"));
    let wanted =
        |key: &[u8]| tenant.as_ref().is_none_or(|tenant| key.starts_with(tenant.as_bytes()));
    if whole && mark == "end" {
        let missed = refresh.unchanged.iter();
        let missed = missed.filter(|key| wanted(key) && !refresh.emitted.contains(*key));
        refresh.missed = missed.cloned().collect();
    }
    Ok(())
}

/// Each replay has come to one end in each of its partitions.
pub(super) fn ended(
    reports: &[(String, serde_json::Value)],
    traffic: &Traffic,
) -> Result<(), String> {
    for asked in &traffic.replays {
        let key = format!("replay/{}", asked.number);
        let of = |class: lethe_engine::Class| asked.class.is_none_or(|asked| asked == class);
        let parts = traffic.inputs.iter().filter(|id| of(id.class)).count();
        let ends: Vec<&str> = reports
            .iter()
            .filter(|(of, _)| *of == key)
            .map(|(_, report)| report["type"].as_str().unwrap_or_default())
            .collect();
        let right = |kind: &&str| {
            *kind == "replay-done" || (*kind == "replay-cancelled" && asked.cancelled)
        };
        // A cancelled one of the dead letters, or of another class, was nobody's where it had not begun.
        let enough = if asked.cancelled { ends.len() >= parts } else { ends.len() == parts };
        if !enough || !ends.iter().all(right) {
            return Err(format!("{key} of {parts} partitions ended as {ends:?}"));
        }
    }
    Ok(())
}
