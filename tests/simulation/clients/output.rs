//! A worker's transactional producer.

use lethe::pipeline::seam::{
    Appended, Fault as Failure, Output, OutputRecord, PartitionId, Position, Role,
};
use lethe_state::snapshot::{END_FORMAT, PART_FORMAT};

use super::input::SimInput;
use super::retry;
use crate::faults::Call;
use crate::node::{Node, Strike};

/// Which step the sending of a record is.
fn call_of(record: &OutputRecord<'_>) -> Call {
    match (record.role, record.value.and_then(<[u8]>::first)) {
        (Role::Changelog(_), Some(&PART_FORMAT)) => Call::SendPart,
        (Role::Changelog(_), Some(&END_FORMAT)) => Call::SendEnd,
        (Role::Changelog(_), _) => Call::SendDelta,
        _ => Call::Send,
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
    /// Of which worker.
    worker: usize,
    id: String,
    epoch: i32,
    state: Producer,
    appended: Vec<Appended>,
}

impl SimOutput {
    pub(super) fn new(node: Node, worker: usize, id: String) -> Self {
        Self { node, worker, id, epoch: -1, state: Producer::Ready, appended: Vec::new() }
    }

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
        let strike = self.node.strike(call_of(record));
        self.usable()?;
        if matches!(record.role, Role::Output(..)) && record.value.is_none() {
            self.node.world.tombstone(self.node.host, self.worker);
        }
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
        if positions.is_empty() {
            // As librdkafka does it: nothing is sent, and nobody is fenced.
            return Ok(());
        }
        let place = self.node.broker().group.believes(input.client);
        let as_told = place.is_some() && place == input.told.get();
        if !as_told || !self.node.broker().group.accepts(input.client) {
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
