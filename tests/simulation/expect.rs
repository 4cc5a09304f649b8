//! What a record's events warrant, told from the contract alone and without any clock: which contents
//! come out, in which order, and what ends them.
//!
//! Invariant: nothing of the engine or the shell is used.

use std::collections::BTreeSet;

use lethe_engine::Class;

use crate::traffic::{Event, KEEP, What};

/// Something on an output topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Out {
    Content(Vec<u8>),
    Tombstone(String),
}

/// What is warranted if nothing but its events ever ended the record.
pub(crate) fn without_time(class: Class, events: &[&Event]) -> Vec<Out> {
    match class {
        Class::Message => message(events),
        Class::Profile | Class::Config => version(events),
    }
}

fn message(events: &[&Event]) -> Vec<Out> {
    let mut out = Vec::new();
    let in_transit = events.iter().any(|event| event.tenant != KEEP);
    let (mut over, mut edit_ms) = (false, None);
    let (mut everyone, mut users) = (false, BTreeSet::new());
    for event in events {
        let live = !out.is_empty() && !over;
        let delivered = |everyone: bool, users: &BTreeSet<&str>| {
            let enough = event.recipients > 0 && users.len() >= event.recipients as usize;
            in_transit && (everyone || enough)
        };
        match &event.what {
            What::Sent if !over && !live => {
                over = delivered(everyone, &users);
                if !over {
                    out.push(Out::Content(event.value.clone()));
                }
            }
            What::Edited { at_ms, carries } if !over => {
                let first = !live && *carries;
                if first || (live && edit_ms.is_none_or(|before| *at_ms > before)) {
                    out.push(Out::Content(event.value.clone()));
                    edit_ms = Some(*at_ms);
                }
            }
            What::Recalled if !over => {
                over = true;
                if live {
                    out.push(Out::Tombstone("recalled".to_owned()));
                }
            }
            What::Delivered(_) | What::Everyone if !over => {
                match event.what {
                    What::Delivered(user) => drop(users.insert(user)),
                    _ => everyone = true,
                }
                if live && delivered(everyone, &users) {
                    over = true;
                    out.push(Out::Tombstone("delivered".to_owned()));
                }
            }
            _ => {}
        }
    }
    out
}

fn version(events: &[&Event]) -> Vec<Out> {
    let mut out = Vec::new();
    let (mut newest_ms, mut removed) = (i64::MIN, false);
    for event in events {
        let removes = event.what == What::Removed;
        let newer = event.at_ms > newest_ms || (event.at_ms == newest_ms && removes && !removed);
        if !newer {
            continue;
        }
        (newest_ms, removed) = (event.at_ms, removes);
        if !removes {
            out.push(Out::Content(event.value.clone()));
        } else if matches!(out.last(), Some(Out::Content(_))) {
            out.push(Out::Tombstone("removed".to_owned()));
        }
    }
    out
}
