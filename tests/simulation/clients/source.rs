//! A reader of what is read again.

use std::time::Duration;

use lethe::pipeline::seam::{
    Bounds, Fault as Failure, PartitionId, Role, Source, SourceId, SourceTopic, Sourced,
};
use lethe::pipeline::settings::{CLASSES, Topics};

use super::input::SimRecord;
use super::{REPEATED_MAX, retry};
use crate::faults::Call;
use crate::node::{Node, Strike};

/// A reader of one partition at a time.
pub(crate) struct SimSource {
    node: Node,
    open: Option<Reader>,
}

struct Reader {
    role: Role,
    partition: i32,
    of: PartitionId,
    position: i64,
    /// The end was said, and nothing came since.
    said: bool,
}

/// The role of the topic with this name.
fn role(name: &str) -> Option<Role> {
    let topics = Topics::default();
    let inputs = CLASSES.map(Role::Input);
    inputs.into_iter().chain([Role::DeadLetters]).find(|&role| topics.name(role) == name)
}

impl SimSource {
    pub(super) fn new(node: Node) -> Self {
        Self { node, open: None }
    }
}

impl Source for SimSource {
    type Record<'a> = SimRecord;

    fn topic(&mut self, name: &str) -> Result<Option<SourceTopic>, Failure> {
        let strike = self.node.strike(Call::SourceTopic);
        if strike == Strike::Refuse {
            return Err(retry("asking for a topic"));
        }
        self.node.settle(strike);
        let known = role(name);
        Ok(known.map(|_| SourceTopic { partitions: 2, id: Some("id".to_owned()) }))
    }

    fn bounds(&mut self, id: &SourceId) -> Result<Bounds, Failure> {
        let strike = self.node.strike(Call::SourceBounds);
        if strike == Strike::Refuse {
            return Err(retry("asking for the bounds of a source"));
        }
        let bounds = {
            let mut broker = self.node.broker();
            let log = broker.log(role(&id.topic).unwrap(), id.partition);
            Bounds { start: log.start, end: log.stable() }
        };
        self.node.settle(strike);
        Ok(bounds)
    }

    fn offset_at(&mut self, id: &SourceId, time_ms: i64) -> Result<i64, Failure> {
        let mut broker = self.node.broker();
        let log = broker.log(role(&id.topic).unwrap(), id.partition);
        let mut at = log.start;
        while let Ok((offset, record)) = log.read(at) {
            if record.at_ms >= time_ms {
                return Ok(offset);
            }
            at = offset + 1;
        }
        Ok(log.stable())
    }

    fn open(&mut self, id: &SourceId, offset: i64, of: PartitionId) -> Result<(), Failure> {
        let strike = self.node.strike(Call::SourceOpen);
        if strike == Strike::Refuse {
            return Err(retry("opening a source"));
        }
        let role = role(&id.topic).unwrap();
        let partition = id.partition;
        self.open = Some(Reader { role, partition, of, position: offset, said: false });
        self.node.settle(strike);
        if strike == Strike::Lose { Err(retry("opening a source")) } else { Ok(()) }
    }

    fn poll(&mut self, wait: Duration) -> Result<Sourced<SimRecord>, Failure> {
        let strike = self.node.strike(Call::SourcePoll);
        if strike == Strike::Refuse && self.node.chance(1, 2) {
            return Err(retry("reading a source"));
        }
        let Some(reader) = self.open.as_mut().filter(|_| strike != Strike::Refuse) else {
            return Ok(Sourced::Nothing);
        };
        let polled = {
            let broker = &mut *self.node.broker();
            let repeats = strike == Strike::Repeat;
            let back = if repeats { 1 + broker.random.below(REPEATED_MAX) as i64 } else { 0 };
            let log = broker.log(reader.role, reader.partition);
            if reader.position < log.start || reader.position > log.end() {
                return Ok(Sourced::OutOfRange);
            }
            match log.read((reader.position - back).max(log.start)) {
                Ok((offset, record)) => {
                    reader.position = offset + 1;
                    reader.said = false;
                    Sourced::Record(SimRecord::new(reader.of, offset, record))
                }
                Err(position) => {
                    reader.position = position;
                    if std::mem::replace(&mut reader.said, true) {
                        broker.advance(wait.as_millis() as i64);
                        Sourced::Nothing
                    } else {
                        Sourced::End(position)
                    }
                }
            }
        };
        self.node.settle(strike);
        Ok(polled)
    }
}
