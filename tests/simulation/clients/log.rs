//! A reader of logs.

use std::time::Duration;

use lethe::pipeline::seam::{
    Bounds, Fault as Failure, LogId, LogPolled, LogReader, LogRecord, Role,
};
use lethe_state::snapshot::{END_FORMAT, PART_FORMAT};

use super::{REPEATED_MAX, retry};
use crate::faults::Call;
use crate::log::{Log, Record};
use crate::node::{Node, Strike};

/// A reader of logs.
pub(crate) struct SimLog {
    node: Node,
    open: Vec<Reader>,
}

impl SimLog {
    pub(super) fn new(node: Node) -> Self {
        Self { node, open: Vec::new() }
    }
}

#[derive(Clone, Copy)]
struct Reader {
    log: LogId,
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
    /// Whether a record of a snapshot may come next.
    fn is_at_snapshot(&self) -> bool {
        self.open.iter().filter(|reader| matches!(reader.log.role, Role::Changelog(_))).any(
            |reader| {
                let mut broker = self.node.broker();
                let next = broker.log(reader.log.role, reader.log.partition).read(reader.position);
                next.is_ok_and(|(_, record)| {
                    matches!(first_byte(record), Some(PART_FORMAT | END_FORMAT))
                })
            },
        )
    }

    /// The next record of a log chosen by chance, or an end that was not said.
    fn read(
        &mut self,
        wait: Duration,
        repeat: bool,
        visit: &mut dyn FnMut(LogRecord<'_>),
    ) -> LogPolled {
        let count = self.open.len();
        let first = if count == 0 { 0 } else { self.node.broker().random.below(count) };
        for number in (first..count).chain(0..first) {
            let polled = self.read_one(number, repeat, visit);
            if polled != LogPolled::Nothing {
                return polled;
            }
        }
        if count > 0 {
            self.node.broker().advance(wait.as_millis().min(5) as i64);
        }
        LogPolled::Nothing
    }

    fn read_one(
        &mut self,
        number: usize,
        repeat: bool,
        visit: &mut dyn FnMut(LogRecord<'_>),
    ) -> LogPolled {
        let reader = &mut self.open[number];
        let mut broker = self.node.broker();
        let back = if repeat { 1 + broker.random.below(REPEATED_MAX) as i64 } else { 0 };
        let log = broker.log(reader.log.role, reader.log.partition);
        if reader.position < log.start || reader.position > log.end() {
            return LogPolled::OutOfRange(reader.log);
        }
        match log.read((reader.position - back).max(log.start)) {
            Ok((offset, record)) => {
                reader.position = offset + 1;
                reader.said = false;
                reader.behind_end = first_byte(record) == Some(END_FORMAT);
                let (timestamp_ms, key, value) =
                    (record.at_ms, record.key.clone(), record.value.clone());
                drop(broker);
                let (log, key, value) = (reader.log, key.as_deref(), value.as_deref());
                visit(LogRecord { log, offset, timestamp_ms, key, value });
                LogPolled::Record
            }
            Err(position) => {
                reader.position = position;
                if std::mem::replace(&mut reader.said, true) {
                    LogPolled::Nothing
                } else {
                    LogPolled::End(reader.log)
                }
            }
        }
    }

    fn bounds(
        &mut self,
        call: Call,
        logs: &[LogId],
        end: impl Fn(&Log) -> i64,
    ) -> Result<Vec<Bounds>, Failure> {
        let strike = self.node.strike(call);
        if strike == Strike::Refuse {
            return Err(retry("asking for bounds"));
        }
        let bounds = logs.iter().map(|log| {
            let mut broker = self.node.broker();
            let log = broker.log(log.role, log.partition);
            Bounds { start: log.start, end: end(log) }
        });
        let bounds = bounds.collect();
        self.node.settle(strike);
        Ok(bounds)
    }
}

impl LogReader for SimLog {
    fn open(&mut self, log: LogId, offset: i64) -> Result<(), Failure> {
        let rewinds = self
            .open
            .iter()
            .any(|reader| reader.log == log && reader.behind_end && offset < reader.position);
        let strike = self.node.strike(if rewinds { Call::LogRewind } else { Call::LogOpen });
        self.node.broker().restores += u64::from(rewinds);
        if strike == Strike::Refuse {
            return Err(retry("opening a log"));
        }
        self.open.retain(|reader| reader.log != log);
        self.open.push(Reader { log, position: offset, said: false, behind_end: false });
        self.node.settle(strike);
        if strike == Strike::Lose { Err(retry("opening a log")) } else { Ok(()) }
    }

    fn close(&mut self, log: LogId) {
        self.open.retain(|reader| reader.log != log);
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

    fn stable(&mut self, logs: &[LogId]) -> Result<Vec<Bounds>, Failure> {
        self.bounds(Call::LogStable, logs, Log::stable)
    }

    fn whole(&mut self, logs: &[LogId]) -> Result<Vec<Bounds>, Failure> {
        self.bounds(Call::LogWhole, logs, Log::end)
    }
}
