//! One partition's log: records, markers, and what is stable of them.

use std::collections::BTreeMap;
use std::rc::Rc;

/// A record's headers, in order.
pub(crate) type Headers = Rc<[(Vec<u8>, Option<Vec<u8>>)]>;

/// A record as the log holds it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Of which transaction; none: written without one.
    pub(crate) serial: Option<u64>,
    pub(crate) key: Option<Rc<[u8]>>,
    pub(crate) value: Option<Rc<[u8]>>,
    pub(crate) headers: Headers,
    /// The broker's clock at the append (Unix ms).
    pub(crate) at_ms: i64,
    /// The latest that anybody who has ever read the broker's clock can take it to be by then (Unix ms).
    pub(crate) clock_max_ms: i64,
}

#[derive(Debug)]
enum Entry {
    Record(Record),
    Marker,
}

/// What became of a transaction in this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Committed,
    Aborted,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Records below are removed.
    pub(crate) start: i64,
    entries: Vec<Entry>,
    /// Open transactions, with their first offset here.
    open: BTreeMap<u64, i64>,
    ended: BTreeMap<u64, Ended>,
}

impl Log {
    /// One past the last offset.
    pub(crate) fn end(&self) -> i64 {
        self.entries.len() as i64
    }

    /// One past the last offset that no open transaction can change.
    pub(crate) fn stable(&self) -> i64 {
        self.open.values().copied().min().unwrap_or(self.end())
    }

    pub(crate) fn append(&mut self, record: Record) -> i64 {
        let offset = self.end();
        if let Some(serial) = record.serial {
            self.open.entry(serial).or_insert(offset);
        }
        self.entries.push(Entry::Record(record));
        offset
    }

    /// Writes a transaction's marker.
    pub(crate) fn mark(&mut self, serial: u64, commit: bool) {
        if self.open.remove(&serial).is_some() {
            self.ended.insert(serial, if commit { Ended::Committed } else { Ended::Aborted });
            self.entries.push(Entry::Marker);
        }
    }

    /// The first record from an offset on that a `read_committed` reader sees, with its offset; else
    /// where it stands then.
    pub(crate) fn read(&self, from: i64) -> Result<(i64, &Record), i64> {
        let stable = self.stable();
        let mut at = from;
        while at < stable {
            if let Some(Entry::Record(record)) = self.entries.get(at as usize)
                && record.serial.is_none_or(|s| self.ended.get(&s) == Some(&Ended::Committed))
            {
                return Ok((at, record));
            }
            at += 1;
        }
        Err(at)
    }

    /// Everything that a `read_committed` reader has ever been able to see.
    pub(crate) fn committed(&self) -> Vec<(i64, &Record)> {
        let mut all = Vec::new();
        let mut at = 0;
        while let Ok((offset, record)) = self.read(at) {
            all.push((offset, record));
            at = offset + 1;
        }
        all
    }
}
