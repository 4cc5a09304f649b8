//! What a record's events warrant, told from the contract alone and without any clock: which contents
//! come out, in which order, and what ends them.
//!
//! Invariant: nothing of lethe's own code is used.

use std::collections::BTreeSet;

/// What an input record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A message's content; so many users are to have it, 0: nobody said.
    Sent,
    /// A later content; `carries`: with the original's description.
    Edited {
        /// When (Unix ms).
        at_ms: i64,
        /// It may begin a message.
        carries: bool,
    },
    /// It reached a user.
    Delivered(String),
    /// It reached everyone.
    Everyone,
    /// It was taken back.
    Recalled,
    /// A profile's or an item's content.
    Set,
    /// A profile or an item is gone.
    Removed,
    /// Nothing that can be read.
    Garbage,
}

/// An input record about a message, a profile or an item.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// What it says.
    pub what: &'a What,
    /// Users to wait for.
    pub recipients: u32,
    /// Its sent or updated time (Unix ms).
    pub at_ms: i64,
    /// Its bytes.
    pub value: &'a [u8],
}

/// Something on an output topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// A content.
    Content(Vec<u8>),
    /// A tombstone, and its reason.
    Tombstone(String),
}

/// What a message's events warrant if no time ever ended it. Deliveries count in transit alone.
#[must_use]
pub fn message(in_transit: bool, events: &[Said<'_>]) -> Vec<Out> {
    let mut out = Vec::new();
    let (mut over, mut edit_ms) = (false, None);
    let (mut everyone, mut users) = (false, BTreeSet::new());
    for event in events {
        let live = !out.is_empty() && !over;
        let delivered = |everyone: bool, users: &BTreeSet<&str>| {
            let enough = event.recipients > 0 && users.len() >= event.recipients as usize;
            in_transit && (everyone || enough)
        };
        match event.what {
            What::Sent if !over && !live => {
                over = delivered(everyone, &users);
                if !over {
                    out.push(Out::Content(event.value.to_vec()));
                }
            }
            What::Edited { at_ms, carries } if !over => {
                let first = !live && *carries;
                if first || (live && edit_ms.is_none_or(|before| *at_ms > before)) {
                    out.push(Out::Content(event.value.to_vec()));
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
                if let What::Delivered(user) = event.what {
                    users.insert(user.as_str());
                } else {
                    everyone = true;
                }
                if live && delivered(everyone, &users) {
                    over = true;
                    out.push(Out::Tombstone("delivered".to_owned()));
                }
            }
            What::Sent | What::Edited { .. } | What::Delivered(_) | What::Everyone => {}
            What::Recalled | What::Set | What::Removed | What::Garbage => {}
        }
    }
    out
}

/// What the versions of a profile or an item warrant if no time ever ended it.
#[must_use]
pub fn version(events: &[Said<'_>]) -> Vec<Out> {
    let mut out = Vec::new();
    let (mut newest_ms, mut removed) = (i64::MIN, false);
    for event in events {
        let removes = *event.what == What::Removed;
        let newer = event.at_ms > newest_ms || (event.at_ms == newest_ms && removes && !removed);
        if !newer {
            continue;
        }
        (newest_ms, removed) = (event.at_ms, removes);
        if !removes {
            out.push(Out::Content(event.value.to_vec()));
        } else if matches!(out.last(), Some(Out::Content(_))) {
            out.push(Out::Tombstone("removed".to_owned()));
        }
    }
    out
}
