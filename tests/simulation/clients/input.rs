//! A worker's consumer.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use lethe::pipeline::seam::{
    Bounds, Committed, Fault as Failure, Input, InputRecord, Membership, PartitionId, Polled, Role,
};

use super::{REPEATED_MAX, retry};
use crate::faults::Call;
use crate::group::{Flow, Wish};
use crate::log::{Headers, Record};
use crate::node::{Node, Strike};

/// A worker's consumer.
pub(crate) struct SimInput {
    node: Node,
    pub(super) client: usize,
    /// The generation that its worker was told of last.
    pub(super) told: Cell<Option<i32>>,
}

impl SimInput {
    pub(super) fn new(node: Node, client: usize) -> Self {
        Self { node, client, told: Cell::default() }
    }

    /// A strike at a call; meanwhile the client may hear from the group.
    fn strike(&self, call: Call) -> Strike {
        let strike = self.node.strike(call);
        self.hear(1, 2);
        strike
    }

    pub(super) fn hear(&self, times: usize, of: usize) {
        let broker = &mut *self.node.broker();
        if !self.node.world.is_faulty() || broker.random.chance(times, of) {
            let now_ms = broker.now_ms;
            broker.group.hear(self.client, now_ms, &mut broker.random);
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
                return Some(Polled::Record(SimRecord::new(*id, offset, &record)));
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
        if strike == Strike::Refuse {
            return Err(retry("taking partitions over"));
        }
        self.node.broker().group.assign(self.client, partitions);
        self.node.settle(strike);
        Ok(())
    }

    fn unassign(&mut self, partitions: &[PartitionId]) -> Result<(), Failure> {
        let strike = self.strike(Call::Unassign);
        if strike == Strike::Refuse {
            return Err(retry("letting partitions go"));
        }
        {
            let broker = &mut *self.node.broker();
            let now_ms = broker.now_ms;
            broker.group.unassign(self.client, partitions, now_ms, &mut broker.random);
        }
        self.node.world.look_at_closed(self.node.host, partitions);
        self.node.settle(strike);
        Ok(())
    }

    fn committed(&mut self, ids: &[PartitionId]) -> Result<Vec<Option<Committed>>, Failure> {
        let strike = self.strike(Call::Committed);
        if strike == Strike::Refuse {
            return Err(retry("asking for the committed position"));
        }
        let unstable = ids.iter().any(|&id| self.node.broker().is_unstable(id));
        if unstable && !self.node.broker().tells_unstable {
            return Err(retry("the committed position is not stable"));
        }
        let of = |id| self.node.broker().group.committed.get(id).cloned();
        let committed = ids.iter().map(of).collect();
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
        self.told.set(believes.filter(|_| strike != Strike::Refuse));
        match self.told.get() {
            Some(generation) => Membership::Valid { generation },
            None => Membership::Invalid,
        }
    }

    fn leave(&mut self) {
        let broker = &mut *self.node.broker();
        broker.group.leave(self.client, &mut broker.random);
    }

    fn has_left(&mut self) -> bool {
        self.node.broker().group.has_left(self.client)
    }

    fn join(&mut self) -> Result<(), Failure> {
        let broker = &mut *self.node.broker();
        let now_ms = broker.now_ms;
        broker.group.rejoin(self.client, now_ms, &mut broker.random);
        Ok(())
    }
}

/// An input record.
#[derive(Debug)]
pub(crate) struct SimRecord {
    id: PartitionId,
    offset: i64,
    key: Option<Rc<[u8]>>,
    value: Option<Rc<[u8]>>,
    headers: Headers,
}

impl SimRecord {
    pub(super) fn new(id: PartitionId, offset: i64, record: &Record) -> Self {
        let Record { key, value, headers, .. } = record.clone();
        Self { id, offset, key, value, headers }
    }
}

impl InputRecord for SimRecord {
    fn id(&self) -> PartitionId {
        self.id
    }

    fn offset(&self) -> i64 {
        self.offset
    }

    fn timestamp_ms(&self) -> Option<i64> {
        None
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
