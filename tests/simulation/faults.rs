//! What can go wrong, where, and how often it did.

use std::collections::BTreeMap;

use crate::random::Random;

/// A step of the worker: a call through the seam, or a look at the clock. What is sent, opened and read is
/// told apart, because a crash means something else at each.
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
    /// An output, a report or a dead letter.
    Send,
    SendDelta,
    /// A part of a snapshot.
    SendPart,
    /// The end of one.
    SendEnd,
    SendPositions,
    Commit,
    Abort,
    /// The removal of a changelog's front.
    Remove,
    LogOpen,
    /// Going back to a snapshot's start once it is in.
    LogRewind,
    LogPoll,
    /// A part of a snapshot, or its end, comes next.
    LogSnapshot,
    LogStable,
    LogWhole,
    SourceTopic,
    SourceBounds,
    SourceOpen,
    SourcePoll,
    Clock,
}

pub(crate) const CALLS: [Call; 30] = [
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
    Call::SendDelta,
    Call::SendPart,
    Call::SendEnd,
    Call::SendPositions,
    Call::Commit,
    Call::Abort,
    Call::Remove,
    Call::LogOpen,
    Call::LogRewind,
    Call::LogPoll,
    Call::LogSnapshot,
    Call::LogStable,
    Call::LogWhole,
    Call::SourceTopic,
    Call::SourceBounds,
    Call::SourceOpen,
    Call::SourcePoll,
    Call::Clock,
];

impl Call {
    /// Calls of which a run has thousands: what strikes by chance would strike there alone.
    fn is_common(self) -> bool {
        matches!(self, Self::Poll | Self::Clock | Self::LogPoll | Self::Send | Self::SourcePoll)
    }

    pub(crate) fn is_of_snapshots(self) -> bool {
        matches!(
            self,
            Self::SendPart | Self::SendEnd | Self::Remove | Self::LogRewind | Self::LogSnapshot
        )
    }

    /// Calls of a restore that begins with a snapshot.
    fn is_of_restores(self) -> bool {
        matches!(self, Self::LogRewind | Self::LogSnapshot)
    }

    /// Calls of replays: a run has few of them, or none.
    pub(crate) fn is_of_sources(self) -> bool {
        matches!(self, Self::SourceTopic | Self::SourceBounds | Self::SourceOpen | Self::SourcePoll)
    }

    /// Calls of which even a run that looks for them has a few alone: none of them is let pass.
    fn is_scarce(self) -> bool {
        self == Self::LogRewind || self.is_of_sources()
    }

    /// In so many times the runs it is the step that is looked for: a run comes to it a few times at most.
    fn turns(self) -> usize {
        match self {
            Self::SendEnd | Self::LogRewind => 6,
            Self::SourceOpen => 5,
            Self::Remove => 4,
            Self::SourceBounds | Self::SourceTopic => 3,
            Self::Pause => 2,
            _ => 1,
        }
    }

    /// What leads to a call that is rare by itself.
    fn led_to_by(self) -> Option<(Self, Fault)> {
        Some(match self {
            Self::Join => (Self::Poll, Fault::CrashBefore),
            Self::Assign | Self::Unassign => (Self::Poll, Fault::Rebalance),
            Self::Pause => (Self::Commit, Fault::Lose),
            Self::Abort => (Self::SendPositions, Fault::Refuse),
            Self::LogRewind | Self::LogSnapshot => (Self::Poll, Fault::DiskLoss),
            Self::SourceTopic | Self::SourceBounds | Self::SourceOpen => {
                (Self::Poll, Fault::Control)
            }
            _ => return None,
        })
    }
}

/// Something that goes wrong at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The process dies before the call has any effect; RocksDB keeps what was flushed.
    CrashBefore,
    /// The process dies after the effect, before the answer.
    CrashAfter,
    /// The process dies and its disk with it.
    DiskLoss,
    /// The process dies and comes back with its disk of an earlier time.
    OldDisk,
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
    /// Another process is started with this one's name.
    Twin,
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

pub(crate) const FAULTS: [Fault; 16] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::DiskLoss,
    Fault::OldDisk,
    Fault::Refuse,
    Fault::Lose,
    Fault::Repeat,
    Fault::Slow,
    Fault::Meanwhile,
    Fault::Zombie,
    Fault::Twin,
    Fault::Evict,
    Fault::Rebalance,
    Fault::HostClock,
    Fault::BrokerClock,
    Fault::Control,
];

/// Whether a fault can happen at a step at all.
pub(crate) fn applies(fault: Fault, call: Call) -> bool {
    match fault {
        Fault::Refuse => call != Call::Clock,
        Fault::Lose => matches!(
            call,
            Call::Start
                | Call::Pause
                | Call::Init
                | Call::Send
                | Call::SendDelta
                | Call::SendPart
                | Call::SendEnd
                | Call::SendPositions
                | Call::Commit
                | Call::Abort
                | Call::LogOpen
                | Call::LogRewind
                | Call::SourceOpen
        ),
        Fault::Repeat => {
            matches!(call, Call::Poll | Call::LogPoll | Call::LogSnapshot | Call::SourcePoll)
        }
        _ => true,
    }
}

/// How often each fault struck at each step.
pub(crate) type Strikes = BTreeMap<(Call, Fault), u64>;

/// Which faults strike in a run: a few everywhere, and one that looks for its step.
pub(crate) struct Plan {
    pub(crate) on: bool,
    pub(crate) focus: (Call, Fault),
    focus_left: u32,
    /// How often it may still be led to its step.
    leads_left: u32,
    /// A changelog was cut: who loses its disk from here on begins with a snapshot.
    cut: bool,
    /// One fault in so many common calls.
    one_in: usize,
    pub(crate) strikes: Strikes,
}

/// The fault that looks for its step in a run, and that step.
pub(crate) fn focus(seed: u64) -> (Call, Fault) {
    let pairs = looked_for();
    pairs[(seed % pairs.len() as u64) as usize]
}

/// In so many seeds each pair has had its turns.
pub(crate) fn round() -> u64 {
    looked_for().len() as u64
}

fn looked_for() -> Vec<(Call, Fault)> {
    CALLS
        .iter()
        .flat_map(|&call| FAULTS.iter().map(move |&fault| (call, fault)))
        .flat_map(|pair| std::iter::repeat_n(pair, pair.0.turns()))
        .filter(|&(call, fault)| applies(fault, call))
        .collect()
}

/// How often the fault that looks for its step strikes in one run.
const FOCUS_STRIKES: u32 = 12;
/// The same where it is a step that many runs do not come to.
const SCARCE_STRIKES: u32 = 24;
/// How much oftener a call that is not common is struck.
const RARE: usize = 4;
/// Beyond this a run would do nothing else.
const LEADS_MAX: u32 = 40;
/// One in so many calls that lead to a rare one does.
const LEAD_ONE_IN: usize = 12;

impl Plan {
    pub(crate) fn new(seed: u64, random: &mut Random) -> Self {
        let one_in = random.pick(&[120, 250, 500, 1_000]);
        let focus = focus(seed);
        Self {
            on: false,
            focus,
            focus_left: if focus.0.is_scarce() { SCARCE_STRIKES } else { FOCUS_STRIKES },
            leads_left: LEADS_MAX,
            cut: false,
            one_in,
            strikes: Strikes::new(),
        }
    }

    /// What strikes at this call, if anything.
    pub(crate) fn draw(&mut self, call: Call, nested: bool, random: &mut Random) -> Option<Fault> {
        if !self.on {
            return None;
        }
        self.cut |= call == Call::Remove;
        let fault = self.choose(call, random)?;
        let too_deep = nested && matches!(fault, Fault::Meanwhile | Fault::Zombie);
        if too_deep || !applies(fault, call) {
            return None;
        }
        *self.strikes.entry((call, fault)).or_default() += 1;
        Some(fault)
    }

    /// One in so many of these calls leads to the step that is looked for.
    fn lead_one_in(&self, call: Call) -> usize {
        match (call.is_common(), self.focus.0.is_of_sources()) {
            (true, false) => LEAD_ONE_IN * RARE,
            (true, true) => LEAD_ONE_IN,
            (false, _) => RARE,
        }
    }

    fn choose(&mut self, call: Call, random: &mut Random) -> Option<Fault> {
        if self.focus_left > 0 {
            if call == self.focus.0 && (call.is_scarce() || random.chance(1, 2)) {
                self.focus_left -= 1;
                return Some(self.focus.1);
            }
            if let Some((leads, fault)) = self.focus.0.led_to_by()
                && call == leads
                && self.leads_left > 0
                && (self.cut || !self.focus.0.is_of_restores())
                && random.chance(1, self.lead_one_in(call))
            {
                self.leads_left -= 1;
                return Some(fault);
            }
        }
        let one_in = if call.is_common() { self.one_in } else { self.one_in / RARE };
        random.chance(1, one_in).then(|| random.pick(&FAULTS))
    }
}
