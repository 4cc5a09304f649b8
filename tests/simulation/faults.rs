//! What can go wrong, where, and how often it did.

use std::collections::BTreeMap;

use crate::random::Random;

/// A step of the worker: a call through the seam, or a look at the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Join,
    Poll,
    Assign,
    Unassign,
    Committed,
    Bounds,
    Start,
    Pause,
    Membership,
    Init,
    Begin,
    Send,
    SendPositions,
    Commit,
    Abort,
    LogOpen,
    LogPoll,
    LogStable,
    LogWhole,
    Clock,
}

pub(crate) const CALLS: [Call; 20] = [
    Call::Join,
    Call::Poll,
    Call::Assign,
    Call::Unassign,
    Call::Committed,
    Call::Bounds,
    Call::Start,
    Call::Pause,
    Call::Membership,
    Call::Init,
    Call::Begin,
    Call::Send,
    Call::SendPositions,
    Call::Commit,
    Call::Abort,
    Call::LogOpen,
    Call::LogPoll,
    Call::LogStable,
    Call::LogWhole,
    Call::Clock,
];

/// Something that goes wrong at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The process dies before the call has any effect; RocksDB keeps what was flushed.
    CrashBefore,
    /// The process dies after the effect, before the answer.
    CrashAfter,
    /// The process dies and its disk with it.
    DiskLoss,
    /// The call fails without an effect.
    Refuse,
    /// The call takes effect (at once, or later), and its answer is an error.
    Lose,
    /// The answer brings again what was there before.
    Repeat,
    /// The call takes long; sometimes longer than a transaction may.
    Slow,
    /// Other workers run meanwhile.
    Meanwhile,
    /// The process stands still past its session, the others take over, and it goes on.
    Zombie,
    /// The group gives up on this member while it runs.
    Evict,
    /// The group moves partitions.
    Rebalance,
    /// The host's clock jumps.
    HostClock,
    /// The broker's clock jumps.
    BrokerClock,
    /// Somebody writes to the control topic.
    Control,
}

pub(crate) const FAULTS: [Fault; 14] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::DiskLoss,
    Fault::Refuse,
    Fault::Lose,
    Fault::Repeat,
    Fault::Slow,
    Fault::Meanwhile,
    Fault::Zombie,
    Fault::Evict,
    Fault::Rebalance,
    Fault::HostClock,
    Fault::BrokerClock,
    Fault::Control,
];

/// Whether a fault can happen at a step at all.
pub(crate) fn applies(fault: Fault, call: Call) -> bool {
    match fault {
        Fault::Refuse => !matches!(call, Call::Join | Call::Assign | Call::Unassign | Call::Clock),
        Fault::Lose => matches!(
            call,
            Call::Start
                | Call::Pause
                | Call::Init
                | Call::Send
                | Call::SendPositions
                | Call::Commit
                | Call::Abort
                | Call::LogOpen
        ),
        Fault::Repeat => matches!(call, Call::Poll | Call::LogPoll),
        _ => true,
    }
}

/// How often each fault struck at each step.
pub(crate) type Strikes = BTreeMap<(Call, Fault), u64>;

/// Which faults strike in a run: a few everywhere, and one that looks for its step.
pub(crate) struct Plan {
    pub(crate) on: bool,
    focus: (Call, Fault),
    focus_left: u32,
    /// One fault in so many calls.
    one_in: usize,
    pub(crate) strikes: Strikes,
}

/// How often the fault that looks for its step strikes in one run.
const FOCUS_STRIKES: u32 = 8;

impl Plan {
    pub(crate) fn new(seed: u64, random: &mut Random) -> Self {
        let pairs: Vec<_> = CALLS
            .iter()
            .flat_map(|&call| FAULTS.iter().map(move |&fault| (call, fault)))
            .filter(|&(call, fault)| applies(fault, call))
            .collect();
        let focus = pairs[(seed % pairs.len() as u64) as usize];
        let one_in = random.pick(&[60, 120, 250, 500]);
        Self { on: false, focus, focus_left: FOCUS_STRIKES, one_in, strikes: Strikes::new() }
    }

    /// What strikes at this call, if anything.
    pub(crate) fn draw(&mut self, call: Call, nested: bool, random: &mut Random) -> Option<Fault> {
        if !self.on {
            return None;
        }
        let fault = if call == self.focus.0 && self.focus_left > 0 && random.chance(1, 3) {
            self.focus_left -= 1;
            self.focus.1
        } else {
            let rare =
                if matches!(call, Call::Clock | Call::Membership | Call::Begin) { 3 } else { 1 };
            if !random.chance(1, self.one_in * rare) {
                return None;
            }
            random.pick(&FAULTS)
        };
        let too_deep = nested && matches!(fault, Fault::Meanwhile | Fault::Zombie);
        if too_deep || !applies(fault, call) {
            return None;
        }
        *self.strikes.entry((call, fault)).or_default() += 1;
        Some(fault)
    }
}
