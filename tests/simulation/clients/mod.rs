//! The seam, played by the simulated cluster: what a process's clients do and see.

mod input;
mod log;
mod output;
mod source;

use std::sync::Arc;
use std::time::Duration;

use lethe::pipeline::clock::{HostClock, Now};
use lethe::pipeline::seam::{Capabilities, Fault as Failure, Kafka, Reading, Role};

use crate::broker::{Removal, START_MS};
use crate::faults::Call;
use crate::node::{Node, Strike};
use input::SimInput;
pub(crate) use log::SimLog;
use output::SimOutput;
use source::SimSource;

/// How many positions a repeated answer goes back, at most.
const REPEATED_MAX: usize = 4;

/// The cluster as one process sees it.
pub(crate) struct SimKafka {
    pub(crate) node: Node,
    pub(crate) instance: String,
    /// The control topic's id as of the process's start.
    control_id: String,
}

impl SimKafka {
    pub(crate) fn new(node: Node, instance: String) -> Self {
        let control_id = node.broker().control_id();
        Self { node, instance, control_id }
    }
}

impl Kafka for SimKafka {
    type Input = SimInput;
    type Output = SimOutput;
    type Log = SimLog;
    type Source = SimSource;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            broker_time: true,
            group_fencing: true,
            isolation: true,
            delete_records: self.node.broker().removal != Removal::Unknown,
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

    fn topic_id(&self, role: Role) -> Option<String> {
        Some(if role == Role::Control { self.control_id.clone() } else { "id".to_owned() })
    }

    fn remove_before(&self, role: Role, partition: i32, offset: i64) {
        let strike = self.node.strike(Call::Remove);
        if strike != Strike::Refuse {
            self.node.broker().remove_before(role, partition, offset);
        }
        self.node.settle(strike);
    }

    fn input(&self, worker: usize) -> Result<SimInput, Failure> {
        let strike = self.node.strike(Call::Join);
        if strike == Strike::Refuse {
            return Err(retry("joining the group"));
        }
        let client = {
            let broker = &mut *self.node.broker();
            let (now_ms, instance) = (broker.now_ms, format!("{}-{worker}", self.instance));
            broker.group.connect(self.node.host, &instance, now_ms, &mut broker.random)
        };
        self.node.settle(strike);
        Ok(SimInput::new(self.node.clone(), client))
    }

    fn output(&self, worker: usize) -> Result<SimOutput, Failure> {
        let id = format!("group-{}-{worker}", self.instance);
        Ok(SimOutput::new(self.node.clone(), worker, id))
    }

    fn log(&self, _reading: Reading) -> Result<SimLog, Failure> {
        Ok(SimLog::new(self.node.clone()))
    }

    fn source(&self) -> Result<SimSource, Failure> {
        Ok(SimSource::new(self.node.clone()))
    }
}

fn retry(what: &str) -> Failure {
    Failure::Retry(format!("{what} (simulated)"))
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
