//! What a record's events warrant: the contract's own words are in the tests' support.

use lethe_engine::Class;
pub(crate) use lethe_test_support::warrant::Out;
use lethe_test_support::warrant::{Said, message, version};

use crate::traffic::{Event, KEEP};

/// What is warranted if nothing but its events ever ended the record.
pub(crate) fn without_time(class: Class, events: &[&Event]) -> Vec<Out> {
    let in_transit = events.iter().any(|event| event.tenant != KEEP);
    let said: Vec<Said<'_>> = events
        .iter()
        .map(|event| Said {
            what: &event.what,
            recipients: event.recipients,
            at_ms: event.at_ms,
            value: &event.value,
        })
        .collect();
    match class {
        Class::Message => message(in_transit, &said),
        Class::Profile | Class::Config => version(&said),
    }
}
