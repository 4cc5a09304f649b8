//! The control topic gets lost, and comes back: meanwhile every tombstone stands still.

use std::rc::Rc;

use lethe::pipeline::seam::Role;
use lethe_state::Delta;

use crate::broker::Broker;
use crate::host::Disk;
use crate::log::Log;
use crate::traffic::Traffic;
use crate::world::World;

/// For how many turns it is gone.
const GONE_TURNS: u32 = 150;

/// What becomes of the control topic in a run.
#[derive(Debug)]
pub(crate) enum Loss {
    Never,
    /// After so many turns somebody makes it anew.
    After(u32),
    /// It is empty for so many turns; this is what it was, and since when (true time, Unix ms).
    Gone(Log, u32, i64),
    /// The operator has brought its records back.
    Back,
}

impl Loss {
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone_since(i64::MAX)
    }

    /// Whether it has been gone since a time (Unix ms).
    pub(crate) fn is_gone_since(&self, time_ms: i64) -> bool {
        matches!(self, Self::Gone(_, _, since_ms) if *since_ms <= time_ms)
    }
}

impl World {
    /// A turn has passed.
    pub(crate) fn age_control(self: &Rc<Self>) {
        let mut loss = self.loss.borrow_mut();
        match &mut *loss {
            Loss::Never | Loss::Back => {}
            Loss::After(turns) | Loss::Gone(_, turns, _) if *turns > 0 => *turns -= 1,
            Loss::After(_) => {
                let broker = &mut *self.broker.borrow_mut();
                if knows_control(broker, &self.traffic.borrow()) {
                    self.traffic.borrow_mut().stood_still = true;
                    broker.control_made += 1;
                    let was = std::mem::take(broker.log(Role::Control, 0));
                    *loss = Loss::Gone(was, GONE_TURNS, broker.now_ms);
                }
            }
            Loss::Gone(..) => {
                drop(loss);
                self.bring_control_back();
            }
        }
    }

    /// The operator brings the records back, says that they are the same, and restarts every process.
    pub(crate) fn bring_control_back(self: &Rc<Self>) {
        if !self.loss.borrow().is_gone() {
            return;
        }
        if let Loss::Gone(was, ..) = self.loss.replace(Loss::Back) {
            let broker = &mut *self.broker.borrow_mut();
            *broker.log(Role::Control, 0) = was;
            broker.control_made += 1;
            *self.control_accepted.borrow_mut() = Some(broker.control_id());
        }
        self.say(|| "the control topic is back".to_owned());
        let hosts = self.hosts.borrow().len();
        for host in 0..hosts {
            if !self.hosts.borrow()[host].gone {
                self.crash(host, Disk::Flushed, None);
            }
        }
    }

    /// A worker sends a tombstone.
    pub(crate) fn tombstone(&self, host: usize, worker: usize) {
        if self.hosts.borrow()[host].cautious[worker] {
            self.errors.borrow_mut().push(format!(
                "{} sends a tombstone while the control topic is not to be trusted",
                self.name(host)
            ));
        }
    }
}

/// Whether every ledger has applied what was said before anything ran: one that never has cannot know that
/// anything is missing.
fn knows_control(broker: &Broker, traffic: &Traffic) -> bool {
    traffic.inputs.iter().all(|id| {
        let log = broker.logs.get(&(Role::Changelog(id.class), id.partition));
        let deltas = log.map(Log::committed).unwrap_or_default();
        deltas.into_iter().any(|(_, record)| {
            let delta = Delta::decode(record.value.as_deref().unwrap_or_default());
            delta.is_ok_and(|delta| delta.header().control_offset >= traffic.begun)
        })
    })
}
