//! What happens to the processes: everything of a run, in one thread, chosen by its seed.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lethe::pipeline::worker::Next;
use lethe_state::Memory;

use crate::broker::{Broker, Removal};
use crate::control::Loss;
use crate::faults::Plan;
use crate::host::{Host, Sizes};
use crate::node::unless_crashed;
use crate::random::Random;
use crate::traffic::Traffic;

/// A process that reads the control topic so long after its loss knows of it.
const NOTICED_MS: i64 = 1_200;

/// How long a round takes beside what its calls take (ms).
const ROUND_MS: i64 = 5;

/// How far a host's clock may be from true time when a run begins (ms).
const SKEWS_MS: [i64; 6] = [0, 0, 0, -300, -20_000, 40_000];

pub(crate) struct World {
    pub(crate) broker: RefCell<Broker>,
    pub(crate) hosts: RefCell<Vec<Host>>,
    pub(crate) plan: RefCell<Plan>,
    pub(crate) random: RefCell<Random>,
    pub(crate) traffic: RefCell<Traffic>,
    pub(crate) sizes: Sizes,
    pub(crate) home: PathBuf,
    pub(crate) memory: Arc<Memory>,
    pub(crate) depth: RefCell<u32>,
    /// Whether the control topic gets lost.
    pub(crate) loss: RefCell<Loss>,
    /// The id of the control topic that the operator has stated to be the same as before.
    pub(crate) control_accepted: RefCell<Option<String>>,
    /// What must not have happened.
    pub(crate) errors: RefCell<Vec<String>>,
    trace: bool,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        home: &Path,
        memory: &Arc<Memory>,
        loss: Loss,
        trace: bool,
    ) -> Rc<Self> {
        let mut random = Random::new(seed);
        let plan = Plan::new(seed, &mut random);
        let traffic = Traffic::new(Random::new(random.next()), plan.focus.0.is_of_sources());
        let mut broker = Broker::new(Random::new(random.next()), traffic.inputs.clone());
        let looks_for = plan.focus.0;
        let sizes = Sizes::new(looks_for, &mut random);
        if !looks_for.is_of_snapshots() {
            use Removal::{Done, Refused, Unknown};
            broker.removal = random.pick(&[Done, Done, Done, Done, Refused, Unknown]);
        }
        broker.tells_unstable = random.chance(1, 4);
        let counts = [1 + random.below(2), 1];
        let hosts = ["a", "b"].iter().zip(counts).map(|(name, worker_count)| {
            let skew_ms = random.pick(&SKEWS_MS);
            Host::new(name, worker_count, home.join(name), skew_ms)
        });
        let hosts = RefCell::new(hosts.collect());
        Rc::new(Self {
            broker: RefCell::new(broker),
            hosts,
            plan: RefCell::new(plan),
            random: RefCell::new(random),
            traffic: RefCell::new(traffic),
            sizes,
            home: home.to_owned(),
            memory: Arc::clone(memory),
            depth: RefCell::new(0),
            loss: RefCell::new(loss),
            control_accepted: RefCell::default(),
            errors: RefCell::default(),
            trace,
        })
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.plan.borrow().on
    }

    pub(crate) fn say(&self, what: impl Fn() -> String) {
        if self.trace {
            let at_ms = self.broker.borrow().now_ms - crate::broker::START_MS;
            eprintln!("{at_ms:>8} {}", what());
        }
    }

    pub(crate) fn name(&self, host: usize) -> String {
        self.hosts.borrow()[host].name.clone()
    }

    /// One step of somebody.
    pub(crate) fn turn(self: &Rc<Self>) {
        let (who, what, ms) = {
            let mut random = self.random.borrow_mut();
            let hosts = self.hosts.borrow().len();
            (random.below(hosts), random.below(100), random.ms(0, 9))
        };
        let ms = ms.max(self.idle_ms());
        self.broker.borrow_mut().advance(ms);
        match what {
            0..72 => self.step(who),
            72..84 => self.read_control(who),
            84..97 => self.traffic.borrow_mut().events(&mut self.broker.borrow_mut()),
            97 => self.say_something(),
            98 if self.is_faulty() && self.random.borrow_mut().chance(1, 4) => self.restart(who),
            _ => {
                let broker = &mut *self.broker.borrow_mut();
                if self.is_faulty() && broker.random.chance(1, 3) {
                    broker.group.rebalance(&mut broker.random);
                }
            }
        }
    }

    /// How long it takes until anybody is there.
    fn idle_ms(&self) -> i64 {
        let hosts = self.hosts.borrow();
        let there = hosts.iter().filter(|host| !host.gone);
        let down_ms = there.map(|host| host.down_until_ms).min().flatten();
        down_ms.map_or(0, |until_ms| until_ms - self.broker.borrow().now_ms)
    }

    /// Somebody writes to the control topic, if it is there.
    pub(crate) fn say_something(&self) {
        if !self.loss.borrow().is_gone() {
            self.traffic.borrow_mut().control(&mut self.broker.borrow_mut());
        }
    }

    /// Every process has a turn, without chance. Where none is there, time goes on until one is.
    pub(crate) fn round(self: &Rc<Self>) {
        let hosts = self.hosts.borrow().len();
        for host in 0..hosts {
            self.read_control(host);
            for _ in 0..2 {
                self.step(host);
            }
        }
        let ms = self.idle_ms().max(ROUND_MS);
        self.broker.borrow_mut().advance(ms);
    }

    /// Lets others work while a process stands in a call; past its session if it is given up on.
    pub(crate) fn others(self: &Rc<Self>, host: usize, zombie: bool) {
        *self.depth.borrow_mut() += 1;
        let turns = self.random.borrow_mut().below(if zombie { 60 } else { 12 });
        if zombie {
            self.hosts.borrow_mut()[host].paused = true;
            self.broker.borrow_mut().group.frozen.insert(host);
            let early = self.random.borrow_mut().ms(0, 12_000);
            self.broker.borrow_mut().advance(early);
            self.broker.borrow_mut().advance(11_000);
        }
        for _ in 0..turns {
            self.turn();
        }
        if zombie {
            self.hosts.borrow_mut()[host].paused = false;
            self.broker.borrow_mut().group.frozen.remove(&host);
        }
        *self.depth.borrow_mut() -= 1;
    }

    /// Steps a worker of a host, or starts its process where it is due.
    fn step(self: &Rc<Self>, host: usize) {
        let now_ms = self.broker.borrow().now_ms;
        let taken = {
            let mut hosts = self.hosts.borrow_mut();
            let of = &mut hosts[host];
            if of.paused || of.gone {
                return;
            }
            if of.down_until_ms.is_some() {
                None
            } else {
                let at = self.random.borrow_mut().below(of.worker_count);
                of.cautious[at] = of.knows_of_loss;
                match of.workers.get_mut(at) {
                    Some(slot)
                        if slot.as_ref().is_some_and(|(_, until_ms)| *until_ms <= now_ms) =>
                    {
                        slot.take().map(|(worker, _)| (at, worker, of.incarnation))
                    }
                    _ => return,
                }
            }
        };
        let Some((at, mut worker, incarnation)) = taken else { return self.start(host, now_ms) };
        let Some(stepped) = unless_crashed(|| worker.step()) else { return };
        match stepped {
            Ok(next) => {
                let until_ms = match next {
                    Next::Now => 0,
                    Next::After(time) => self.broker.borrow().now_ms + time.as_millis() as i64,
                };
                let mut hosts = self.hosts.borrow_mut();
                if hosts[host].incarnation == incarnation {
                    hosts[host].workers[at] = Some((worker, until_ms));
                }
            }
            Err(error) => self.ended(host, &error.to_string()),
        }
    }

    fn read_control(self: &Rc<Self>, host: usize) {
        let taken = {
            let mut hosts = self.hosts.borrow_mut();
            let of = &mut hosts[host];
            if of.paused { None } else { of.reader.take().map(|reader| (reader, of.incarnation)) }
        };
        let Some((mut reader, incarnation)) = taken else { return };
        let (now_ms, skew_ms) = (self.broker.borrow().now_ms, self.hosts.borrow()[host].skew_ms);
        let monotonic = Duration::from_millis((now_ms - crate::broker::START_MS) as u64);
        let now = lethe::pipeline::clock::Now { wall_ms: now_ms + skew_ms, monotonic };
        // A fault is waited about: the next turn tries again.
        if let Some(read) = unless_crashed(|| reader.step(now)) {
            let gone = self.loss.borrow().is_gone_since(now_ms - NOTICED_MS);
            let of = &mut self.hosts.borrow_mut()[host];
            if of.incarnation == incarnation {
                of.reader = Some(reader);
                of.knows_of_loss |= read.is_ok() && gone;
            }
        }
    }

    /// Whatever is wrong from outside is put right; the processes stay as they are.
    pub(crate) fn calm(self: &Rc<Self>) {
        self.plan.borrow_mut().on = false;
        self.broker.borrow_mut().skew_ms = 0;
        for host in self.hosts.borrow_mut().iter_mut() {
            host.skew_ms = 0;
        }
        self.bring_control_back();
        self.say(|| "calm".to_owned());
    }

    /// Whether every process is there and every partition taken over by one.
    pub(crate) fn is_taken_over(&self) -> bool {
        let hosts = self.hosts.borrow();
        let there = hosts.iter().filter(|host| !host.gone);
        let taken_over: Option<usize> = there.map(Host::taken_over).sum();
        taken_over == Some(self.traffic.borrow().inputs.len())
    }

    /// Ends every process.
    pub(crate) fn clear(&self) {
        let hosts = std::mem::take(&mut *self.hosts.borrow_mut());
        drop(hosts);
    }

    /// Where the hosts have their state.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        self.hosts.borrow().iter().map(|host| host.data_dir.clone()).collect()
    }
}
