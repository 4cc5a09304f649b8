//! The keys of the ledger's rows: a tag byte, then parts whose byte order is the order of a scan.
//!
//! Invariant: a home key depends on the event alone (tenant, time, id), never on policy, so that events
//! in any order find the same entry and nothing ever moves.

/// Appends an id to a record key: `%` and `/` percent-encoded, so that two ids never share a key.
pub fn push_part(text: &mut String, part: &str) {
    for character in part.chars() {
        match character {
            '%' => text.push_str("%25"),
            '/' => text.push_str("%2F"),
            other => text.push(other),
        }
    }
}
