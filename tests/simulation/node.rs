//! A process's way to the world: at each call something can go wrong.

use std::cell::RefMut;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use crate::broker::Broker;
use crate::faults::{Call, Fault};
use crate::host::Disk;
use crate::world::World;

/// What a strike leaves for the call itself to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    None,
    Refuse,
    Lose,
    Repeat,
    CrashAfter,
}

/// The process has died: unwinds out of whatever it was doing.
struct Crashed;

/// Runs something of a process; none: the process has died in it.
pub(crate) fn unless_crashed<T>(run: impl FnOnce() -> T) -> Option<T> {
    match panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => Some(value),
        Err(why) if why.is::<Crashed>() => None,
        Err(why) => panic::resume_unwind(why),
    }
}

/// A process's way to the world.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) world: Rc<World>,
    pub(crate) host: usize,
    /// Of which start of the process.
    pub(crate) incarnation: u64,
}

impl Node {
    pub(crate) fn broker(&self) -> RefMut<'_, Broker> {
        self.world.broker.borrow_mut()
    }

    pub(crate) fn chance(&self, times: usize, of: usize) -> bool {
        self.broker().random.chance(times, of)
    }

    /// Whatever goes wrong before the call takes effect.
    pub(crate) fn strike(&self, call: Call) -> Strike {
        let world = &self.world;
        let nested = *world.depth.borrow() > 0;
        let drawn = world.plan.borrow_mut().draw(call, nested, &mut self.broker().random);
        let Some(fault) = drawn else { return Strike::None };
        world.say(|| format!("{} {fault:?} at {call:?}", world.name(self.host)));
        let strike = match fault {
            Fault::CrashBefore => self.crash(Disk::Flushed),
            Fault::DiskLoss => self.crash(Disk::Lost),
            Fault::OldDisk => self.crash(Disk::Old),
            Fault::CrashAfter => Strike::CrashAfter,
            Fault::Refuse => Strike::Refuse,
            Fault::Lose => Strike::Lose,
            Fault::Repeat => Strike::Repeat,
            fault => {
                self.happen(fault);
                Strike::None
            }
        };
        self.check_alive();
        strike
    }

    /// Something that the call does not notice.
    fn happen(&self, fault: Fault) {
        let world = &self.world;
        match fault {
            Fault::Slow => {
                let ms = self.broker().random.pick(&[50, 500, 3_000, 11_000]);
                self.broker().advance(ms);
            }
            Fault::Meanwhile => world.others(self.host, false),
            Fault::Zombie => world.others(self.host, true),
            Fault::Twin => world.twin(self.host),
            Fault::Evict => {
                let broker = &mut *self.broker();
                broker.group.evict_host(self.host, &mut broker.random);
            }
            Fault::Rebalance => {
                let broker = &mut *self.broker();
                broker.group.rebalance(&mut broker.random);
            }
            Fault::HostClock => {
                let ms = self.broker().random.ms(-60_000, 60_000);
                let jump = self.broker().random.pick(&[ms, ms / 10, -3_600_000]);
                world.hosts.borrow_mut()[self.host].skew_ms = jump;
            }
            Fault::BrokerClock => {
                let ms = self.broker().random.ms(-4_000, 4_000);
                self.broker().skew_ms = ms;
                self.broker().advance(0);
            }
            Fault::Control => world.say_something(),
            _ => {}
        }
    }

    /// Whatever goes wrong between the effect and the answer.
    pub(crate) fn settle(&self, strike: Strike) {
        if strike == Strike::CrashAfter {
            self.crash(Disk::Flushed);
        }
    }

    fn crash(&self, disk: Disk) -> ! {
        self.world.crash(self.host, disk, None);
        panic::resume_unwind(Box::new(Crashed));
    }

    /// Others may have ended this process while it stood in a call.
    fn check_alive(&self) {
        if self.world.hosts.borrow()[self.host].incarnation != self.incarnation {
            panic::resume_unwind(Box::new(Crashed));
        }
    }
}
