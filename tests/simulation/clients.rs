//! The seam, played by the simulated cluster: what a process's clients do and see.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lethe::pipeline::clock::{HostClock, Now};
use lethe::pipeline::seam::{
    Appended, Bounds, Capabilities, Committed, Fault as Failure, Input, InputRecord, Kafka,
    LogPolled, LogReader, LogRecord, Membership, Output, OutputRecord, PartitionId, Polled,
    Position, Reading, Role,
};

use crate::broker::START_MS;
use crate::faults::Call;
use crate::group::{Flow, Wish};
use crate::world::{Node, Strike};

/// How many positions a repeated answer goes back, at most.
const REPEATED_MAX: usize = 4;

/// The cluster as one process sees it.
pub(crate) struct SimKafka {
    pub(crate) node: Node,
    pub(crate) instance: String,
}

impl Kafka for SimKafka {
    type Input = SimInput;
    type Output = SimOutput;
    type Log = SimLog;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            broker_time: true,
            group_fencing: true,
            isolation: true,
            delete_records: true,
        }
    }

    fn cluster_id(&self) -> &str {
        "simulated"
    }

    fn partitions(&self, role: Role) -> Result<i32, Failure> {
        Ok(match role {
            Role::Control | Role::Audit => 1,
            Role::Input(_) | Role::Output(..) | Role::Changelog(_) | Role::DeadLetters => 2,
        })
    }

    fn topic_id(&self, _role: Role) -> Option<String> {
        Some("id".to_owned())
    }

    fn input(&self, worker: usize) -> Result<SimInput, Failure> {
        let strike = self.node.strike(Call::Join);
        let client = {
            let broker = &mut *self.node.broker();
            let (now_ms, instance) = (broker.now_ms, format!("{}-{worker}", self.instance));
            broker.group.connect(self.node.host, &instance, now_ms, &mut broker.random)
        };
        self.node.settle(strike);
        Ok(SimInput { node: self.node.clone(), client })
    }

    fn output(&self, worker: usize) -> Result<SimOutput, Failure> {
        let id = format!("group-{}-{worker}", self.instance);
        Ok(SimOutput {
            node: self.node.clone(),
            id,
            epoch: -1,
            state: Producer::Ready,
            appended: Vec::new(),
        })
    }

    fn log(&self, _reading: Reading) -> Result<SimLog, Failure> {
        Ok(SimLog { node: self.node.clone(), at: None })
    }
}

fn retry(what: &str) -> Failure {
    Failure::Retry(format!("{what} (simulated)"))
}

/// A worker's consumer.
pub(crate) struct SimInput {
    node: Node,
    client: usize,
}

impl SimInput {
    /// A strike at a call; meanwhile the client may hear from the group.
    fn strike(&self, call: Call) -> Strike {
        let strike = self.node.strike(call);
        self.hear(1, 2);
        strike
    }

    fn hear(&self, times: usize, of: usize) {
        let broker = &mut *self.node.broker();
        if !self.node.world.is_faulty() || broker.random.chance(times, of) {
            broker.group.hear(self.client);
        }
    }

    fn change(&self) -> Option<Result<Polled<SimRecord>, Failure>> {
        Some(Ok(match self.node.broker().group.wish(self.client) {
            Wish::Nothing => return None,
            Wish::Fenced => {
                return Some(Err(Failure::Stop("another process has joined".to_owned())));
            }
            Wish::Assigned(ids) => Polled::Assigned(ids),
            Wish::Revoked(partitions, lost) => Polled::Revoked { partitions, lost },
        }))
    }

    /// The next record of a running partition, chosen by chance.
    fn next(&self) -> Option<Polled<SimRecord>> {
        let broker = &mut *self.node.broker();
        let assigned = &broker.group.clients[self.client].assigned;
        let flows: Vec<(PartitionId, Flow)> = assigned
            .iter()
            .filter(|(_, flow)| flow.running)
            .map(|(&id, &flow)| (id, flow))
            .collect();
        let first = if flows.is_empty() { 0 } else { broker.random.below(flows.len()) };
        for (id, flow) in flows.iter().cycle().skip(first).take(flows.len()) {
            let log = broker.log(Role::Input(id.class), id.partition);
            if flow.position < log.start || flow.position > log.end() {
                return Some(Polled::OutOfRange);
            }
            let (position, record) = match log.read(flow.position) {
                Ok((offset, record)) => (offset + 1, Some((offset, record.clone()))),
                Err(position) => (position, None),
            };
            if let Some(flow) = broker.group.clients[self.client].assigned.get_mut(id) {
                flow.position = position;
            }
            if let Some((offset, record)) = record {
                let (key, value, headers) = (record.key, record.value, record.headers);
                return Some(Polled::Record(SimRecord { id: *id, offset, key, value, headers }));
            }
        }
        None
    }

    fn go_back(&self) {
        let broker = &mut *self.node.broker();
        let back = 1 + broker.random.below(REPEATED_MAX) as i64;
        let starts: Vec<(PartitionId, i64)> = broker
            .logs
            .iter()
            .filter_map(|(&(role, partition), log)| match role {
                Role::Input(class) => Some((PartitionId { class, partition }, log.start)),
                _ => None,
            })
            .collect();
        for (id, flow) in &mut broker.group.clients[self.client].assigned {
            let start = starts.iter().find(|(of, _)| of == id).map_or(0, |&(_, start)| start);
            flow.position = (flow.position - back).max(start);
        }
    }
}

impl Input for SimInput {
    type Record<'a> = SimRecord;

    fn poll(&mut self, wait: Duration) -> Result<Polled<SimRecord>, Failure> {
        let strike = self.strike(Call::Poll);
        match strike {
            Strike::Refuse if self.node.chance(1, 2) => return Err(retry("reading the input")),
            Strike::Refuse => return Ok(Polled::Nothing),
            Strike::Repeat => self.go_back(),
            _ => {}
        }
        self.hear(3, 4);
        let polled = match self.change() {
            Some(change) => change?,
            None => self.next().unwrap_or_else(|| {
                self.node.broker().advance(wait.as_millis() as i64);
                Polled::Nothing
            }),
        };
        self.node.settle(strike);
        Ok(polled)
    }

    fn assign(&mut self, partitions: &[PartitionId]) -> Result<(), Failure> {
        let strike = self.strike(Call::Assign);
        self.node.broker().group.assign(self.client, partitions);
        self.node.settle(strike);
        Ok(())
    }

    fn unassign(&mut self, partitions: &[PartitionId]) -> Result<(), Failure> {
        let strike = self.strike(Call::Unassign);
        {
            let broker = &mut *self.node.broker();
            let now_ms = broker.now_ms;
            broker.group.unassign(self.client, partitions, now_ms, &mut broker.random);
        }
        self.node.settle(strike);
        Ok(())
    }

    fn committed(&mut self, id: PartitionId) -> Result<Option<Committed>, Failure> {
        let strike = self.strike(Call::Committed);
        if strike == Strike::Refuse {
            return Err(retry("asking for the committed position"));
        }
        if self.node.broker().is_unstable(id) {
            return Err(retry("the committed position is not stable"));
        }
        let committed = self.node.broker().group.committed.get(&id).cloned();
        self.node.settle(strike);
        Ok(committed)
    }

    fn bounds(&mut self, id: PartitionId) -> Result<Bounds, Failure> {
        let strike = self.strike(Call::Bounds);
        if strike == Strike::Refuse {
            return Err(retry("asking for the bounds of the input"));
        }
        let bounds = {
            let broker = &mut *self.node.broker();
            let log = broker.log(Role::Input(id.class), id.partition);
            Bounds { start: log.start, end: log.end() }
        };
        self.node.settle(strike);
        Ok(bounds)
    }

    fn start(&mut self, id: PartitionId, offset: i64) -> Result<(), Failure> {
        let strike = self.strike(Call::Start);
        if strike == Strike::Refuse {
            return Err(retry("setting the position"));
        }
        if let Some(flow) = self.node.broker().group.clients[self.client].assigned.get_mut(&id) {
            *flow = Flow { position: offset, running: true };
        }
        self.node.settle(strike);
        if strike == Strike::Lose { Err(retry("setting the position")) } else { Ok(()) }
    }

    fn pause(&mut self, id: PartitionId) -> Result<(), Failure> {
        let strike = self.strike(Call::Pause);
        if strike == Strike::Refuse {
            return Err(retry("pausing"));
        }
        if let Some(flow) = self.node.broker().group.clients[self.client].assigned.get_mut(&id) {
            flow.running = false;
        }
        self.node.settle(strike);
        if strike == Strike::Lose { Err(retry("pausing")) } else { Ok(()) }
    }

    fn membership(&mut self) -> Membership {
        let strike = self.strike(Call::Membership);
        let believes = self.node.broker().group.believes(self.client);
        self.node.settle(strike);
        match believes {
            Some(generation) if strike != Strike::Refuse => Membership::Valid { generation },
            Some(_) | None => Membership::Invalid,
        }
    }
}

/// An input record.
#[derive(Debug)]
pub(crate) struct SimRecord {
    id: PartitionId,
    offset: i64,
    key: Option<Rc<[u8]>>,
    value: Option<Rc<[u8]>>,
    headers: super::log::Headers,
}

impl InputRecord for SimRecord {
    fn id(&self) -> PartitionId {
        self.id
    }

    fn offset(&self) -> i64 {
        self.offset
    }

    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }

    fn headers(&self, visit: &mut dyn FnMut(&[u8], Option<&[u8]>)) {
        for (name, value) in self.headers.iter() {
            visit(name, value.as_deref());
        }
    }
}

/// What a producer may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Producer {
    Ready,
    /// It must abort first.
    Failed,
    /// It must be replaced.
    Fatal,
}

/// A worker's transactional producer.
pub(crate) struct SimOutput {
    node: Node,
    id: String,
    epoch: i32,
    state: Producer,
    appended: Vec<Appended>,
}

impl SimOutput {
    fn usable(&self) -> Result<(), Failure> {
        match self.state {
            Producer::Ready => Ok(()),
            Producer::Failed => {
                Err(Failure::Abort("the transaction has failed (simulated)".to_owned()))
            }
            Producer::Fatal => {
                Err(Failure::Unknown("the producer is fenced (simulated)".to_owned()))
            }
        }
    }

    /// Fails for now or for good, as chance has it.
    fn fail(&mut self) -> Failure {
        self.state = if self.node.chance(2, 3) { Producer::Failed } else { Producer::Fatal };
        self.fault()
    }

    fn fatal(&mut self) -> Failure {
        self.state = Producer::Fatal;
        self.fault()
    }

    fn fault(&self) -> Failure {
        self.usable().err().unwrap_or_else(|| retry("nothing failed"))
    }
}

impl Output for SimOutput {
    type Input = SimInput;

    fn init(&mut self) -> Result<(), Failure> {
        let strike = self.node.strike(Call::Init);
        if strike == Strike::Refuse {
            return Err(if self.node.chance(3, 4) { retry("initialising") } else { self.fatal() });
        }
        self.usable()?;
        self.epoch = self.node.broker().init(&self.id);
        self.node.settle(strike);
        if strike == Strike::Lose { Err(retry("initialising")) } else { Ok(()) }
    }

    fn begin(&mut self) -> Result<(), Failure> {
        let strike = self.node.strike(Call::Begin);
        if strike == Strike::Refuse {
            return Err(self.fatal());
        }
        self.usable()?;
        self.appended.clear();
        self.node.settle(strike);
        Ok(())
    }

    fn send(&mut self, record: &OutputRecord<'_>) -> Result<(), Failure> {
        let strike = self.node.strike(Call::Send);
        self.usable()?;
        if strike == Strike::Refuse {
            return Err(self.fail());
        }
        let produced = self.node.broker().produce(&self.id, self.epoch, record);
        let Ok((offset, at_ms)) = produced else { return Err(self.fatal()) };
        if let Role::Changelog(class) = record.role {
            let id = PartitionId { class, partition: record.partition };
            self.appended.push(Appended { id, offset, broker_ms: Some(at_ms) });
        }
        self.node.settle(strike);
        if strike == Strike::Lose { Err(self.fail()) } else { Ok(()) }
    }

    fn send_positions(&mut self, input: &SimInput, positions: &[Position]) -> Result<(), Failure> {
        let strike = self.node.strike(Call::SendPositions);
        input.hear(1, 2);
        self.usable()?;
        if strike == Strike::Refuse {
            return Err(self.fail());
        }
        let has_place = self.node.broker().group.believes(input.client);
        if has_place.is_none() || !self.node.broker().group.accepts(input.client) {
            self.state = Producer::Failed;
            return Err(self.fault());
        }
        if self.node.broker().add_positions(&self.id, self.epoch, positions).is_err() {
            return Err(self.fatal());
        }
        self.node.settle(strike);
        if strike == Strike::Lose { Err(self.fail()) } else { Ok(()) }
    }

    fn commit(&mut self, appended: &mut Vec<Appended>) -> Result<(), Failure> {
        let strike = self.node.strike(Call::Commit);
        self.usable()?;
        if strike == Strike::Refuse {
            return Err(self.fail());
        }
        if strike == Strike::Lose && self.node.chance(1, 2) {
            self.node.broker().end_late(&self.id, self.epoch);
            return Err(self.fatal());
        }
        if self.node.broker().end(&self.id, self.epoch, true).is_err() {
            return Err(self.fatal());
        }
        self.node.settle(strike);
        if strike == Strike::Lose {
            return Err(self.fatal());
        }
        appended.append(&mut self.appended);
        Ok(())
    }

    fn abort(&mut self) -> Result<(), Failure> {
        let strike = self.node.strike(Call::Abort);
        if self.state == Producer::Fatal || strike == Strike::Refuse {
            return Err(self.fatal());
        }
        if self.node.broker().end(&self.id, self.epoch, false).is_err() {
            return Err(self.fatal());
        }
        self.node.settle(strike);
        if strike == Strike::Lose {
            return Err(self.fatal());
        }
        self.state = Producer::Ready;
        Ok(())
    }

    fn serve(&mut self) {}
}

/// A reader of one partition.
pub(crate) struct SimLog {
    node: Node,
    at: Option<Reader>,
}

#[derive(Clone, Copy)]
struct Reader {
    role: Role,
    partition: i32,
    position: i64,
    /// The end was said, and nothing came since.
    said: bool,
}

impl SimLog {
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
        let strike = self.node.strike(Call::LogOpen);
        if strike == Strike::Refuse {
            return Err(retry("opening a log"));
        }
        self.at = Some(Reader { role, partition, position: offset, said: false });
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
        let strike = self.node.strike(Call::LogPoll);
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

/// A host's clocks.
pub(crate) struct SimClock {
    pub(crate) node: Node,
}

impl HostClock for SimClock {
    fn now(&self) -> Now {
        let strike = self.node.strike(Call::Clock);
        let skew_ms = self.node.world.hosts.borrow()[self.node.host].skew_ms;
        let now_ms = self.node.broker().now_ms;
        self.node.settle(strike);
        let monotonic = Duration::from_millis((now_ms - START_MS) as u64);
        Now { wall_ms: now_ms + skew_ms, monotonic }
    }
}

/// The seam wants processes to share their cluster.
#[expect(clippy::arc_with_non_send_sync, reason = "a run has one thread; the seam says Arc")]
pub(crate) fn shared(kafka: SimKafka) -> Arc<SimKafka> {
    Arc::new(kafka)
}
