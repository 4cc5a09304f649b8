//! A reader of one partition.

use std::time::Duration;

use lethe::pipeline::seam::{Bounds, Fault as Failure, LogPolled, LogReader, LogRecord, Role};
use lethe_state::snapshot::{END_FORMAT, PART_FORMAT};

use super::{REPEATED_MAX, retry};
use crate::faults::Call;
use crate::log::Record;
use crate::node::{Node, Strike};

/// A reader of one partition.
pub(crate) struct SimLog {
    node: Node,
    at: Option<Reader>,
}

impl SimLog {
    pub(super) fn new(node: Node) -> Self {
        Self { node, at: None }
    }
}

#[derive(Clone, Copy)]
struct Reader {
    role: Role,
    partition: i32,
    position: i64,
    /// The end was said, and nothing came since.
    said: bool,
    /// The end of a snapshot was the last that was read.
    behind_end: bool,
}

/// What kind of a changelog's record this is.
fn first_byte(record: &Record) -> Option<u8> {
    record.value.as_deref()?.first().copied()
}

impl SimLog {
    /// Whether a record of a snapshot comes next.
    fn is_at_snapshot(&self) -> bool {
        let Some(Reader { role: role @ Role::Changelog(_), partition, position, .. }) = self.at
        else {
            return false;
        };
        let mut broker = self.node.broker();
        let next = broker.log(role, partition).read(position);
        next.is_ok_and(|(_, record)| matches!(first_byte(record), Some(PART_FORMAT | END_FORMAT)))
    }

    /// The next record, or the end.
    fn read(
        &mut self,
        wait: Duration,
        repeat: bool,
        visit: &mut dyn FnMut(LogRecord<'_>),
    ) -> LogPolled {
        let Some(reader) = self.at.as_mut() else { return LogPolled::Nothing };
        let mut broker = self.node.broker();
        let back = if repeat { 1 + broker.random.below(REPEATED_MAX) as i64 } else { 0 };
        let log = broker.log(reader.role, reader.partition);
        if reader.position < log.start || reader.position > log.end() {
            return LogPolled::OutOfRange;
        }
        match log.read((reader.position - back).max(log.start)) {
            Ok((offset, record)) => {
                reader.position = offset + 1;
                reader.said = false;
                reader.behind_end = first_byte(record) == Some(END_FORMAT);
                let (timestamp_ms, key, value) =
                    (record.at_ms, record.key.clone(), record.value.clone());
                drop(broker);
                let (key, value) = (key.as_deref(), value.as_deref());
                visit(LogRecord { offset, timestamp_ms, key, value });
                LogPolled::Record
            }
            Err(position) => {
                reader.position = position;
                if !std::mem::replace(&mut reader.said, true) {
                    return LogPolled::End;
                }
                broker.advance(wait.as_millis().min(5) as i64);
                LogPolled::Nothing
            }
        }
    }
}

impl LogReader for SimLog {
    fn open(&mut self, role: Role, partition: i32, offset: i64) -> Result<(), Failure> {
        let rewinds = self.at.is_some_and(|reader| {
            (reader.role, reader.partition) == (role, partition)
                && reader.behind_end
                && offset < reader.position
        });
        let strike = self.node.strike(if rewinds { Call::LogRewind } else { Call::LogOpen });
        self.node.broker().restores += u64::from(rewinds);
        if strike == Strike::Refuse {
            return Err(retry("opening a log"));
        }
        self.at =
            Some(Reader { role, partition, position: offset, said: false, behind_end: false });
        self.node.settle(strike);
        if strike == Strike::Lose { Err(retry("opening a log")) } else { Ok(()) }
    }

    fn close(&mut self) {
        self.at = None;
    }

    fn poll(
        &mut self,
        wait: Duration,
        visit: &mut dyn FnMut(LogRecord<'_>),
    ) -> Result<LogPolled, Failure> {
        let call = if self.is_at_snapshot() { Call::LogSnapshot } else { Call::LogPoll };
        let strike = self.node.strike(call);
        let refused = strike == Strike::Refuse;
        if refused && self.node.chance(1, 2) {
            return Err(retry("reading a log"));
        }
        if refused {
            return Ok(LogPolled::Nothing);
        }
        let polled = self.read(wait, strike == Strike::Repeat, visit);
        self.node.settle(strike);
        Ok(polled)
    }

    fn stable(&mut self, role: Role, partition: i32) -> Result<Bounds, Failure> {
        let strike = self.node.strike(Call::LogStable);
        if strike == Strike::Refuse {
            return Err(retry("asking for bounds"));
        }
        let bounds = {
            let mut broker = self.node.broker();
            let log = broker.log(role, partition);
            Bounds { start: log.start, end: log.stable() }
        };
        self.node.settle(strike);
        Ok(bounds)
    }

    fn whole(&mut self, role: Role, partition: i32) -> Result<Bounds, Failure> {
        let strike = self.node.strike(Call::LogWhole);
        if strike == Strike::Refuse {
            return Err(retry("asking for bounds"));
        }
        let bounds = {
            let mut broker = self.node.broker();
            let log = broker.log(role, partition);
            Bounds { start: log.start, end: log.end() }
        };
        self.node.settle(strike);
        Ok(bounds)
    }
}
