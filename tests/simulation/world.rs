//! The processes and what happens to them: everything of a run, in one thread, chosen by its seed.

use std::cell::{RefCell, RefMut};
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lethe::pipeline::control::ControlLog;
use lethe::pipeline::control_reader::{ControlReader, Topic};
use lethe::pipeline::progress::Progress;
use lethe::pipeline::seam::{Fault as Failure, Kafka, Reading};
use lethe::pipeline::settings::{Beginning, PipelineSettings, Topics};
use lethe::pipeline::worker::{Next, Shared, Worker};
use lethe::telemetry::health::Health;
use lethe::telemetry::tenants::Tenants;
use lethe_state::Memory;

use crate::broker::Broker;
use crate::clients::{SimClock, SimKafka, SimLog, shared};
use crate::faults::{Call, Fault, Plan};
use crate::random::Random;
use crate::traffic::Traffic;

/// How long a dead process takes to be started again (ms): within its session, or later.
const RESTART_MS: [i64; 5] = [20, 300, 2_000, 9_000, 15_000];

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

type SimWorker = Worker<SimKafka, SimClock>;

/// A machine with a process on it, or one that is to be started again.
pub(crate) struct Host {
    name: String,
    worker_count: usize,
    /// Changes with every start of the process.
    incarnation: u64,
    data_dir: PathBuf,
    pub(crate) skew_ms: i64,
    paused: bool,
    /// Down, and to be started at this time (Unix ms).
    down_until_ms: Option<i64>,
    workers: Vec<Option<(SimWorker, i64)>>,
    reader: Option<ControlReader<SimLog>>,
}

pub(crate) struct World {
    pub(crate) broker: RefCell<Broker>,
    pub(crate) hosts: RefCell<Vec<Host>>,
    pub(crate) plan: RefCell<Plan>,
    random: RefCell<Random>,
    pub(crate) traffic: RefCell<Traffic>,
    home: PathBuf,
    memory: Arc<Memory>,
    depth: RefCell<u32>,
    /// What ended a process by itself, and must not have.
    pub(crate) errors: RefCell<Vec<String>>,
    pub(crate) trace: bool,
}

/// A process's way to the world.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) world: Rc<World>,
    pub(crate) host: usize,
    incarnation: u64,
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
        world.say(|| format!("{} {fault:?} at {call:?}", world.hosts.borrow()[self.host].name));
        let mut strike = Strike::None;
        match fault {
            Fault::CrashBefore => self.crash(false),
            Fault::DiskLoss => self.crash(true),
            Fault::CrashAfter => strike = Strike::CrashAfter,
            Fault::Refuse => strike = Strike::Refuse,
            Fault::Lose => strike = Strike::Lose,
            Fault::Repeat => strike = Strike::Repeat,
            Fault::Slow => {
                let ms = self.broker().random.pick(&[50, 500, 3_000, 11_000]);
                self.broker().advance(ms);
            }
            Fault::Meanwhile => world.others(self.host, false),
            Fault::Zombie => world.others(self.host, true),
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
            Fault::Control => world.traffic.borrow_mut().control(&mut self.broker()),
        }
        self.check_alive();
        strike
    }

    /// Whatever goes wrong between the effect and the answer.
    pub(crate) fn settle(&self, strike: Strike) {
        if strike == Strike::CrashAfter {
            self.crash(false);
        }
    }

    fn crash(&self, disk_loss: bool) -> ! {
        self.world.crash(self.host, disk_loss);
        panic::resume_unwind(Box::new(Crashed));
    }

    /// Others may have ended this process while it stood in a call.
    fn check_alive(&self) {
        if self.world.hosts.borrow()[self.host].incarnation != self.incarnation {
            panic::resume_unwind(Box::new(Crashed));
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, home: &Path, memory: &Arc<Memory>, trace: bool) -> Rc<Self> {
        let mut random = Random::new(seed);
        let plan = Plan::new(seed, &mut random);
        let traffic = Traffic::new(Random::new(random.next()));
        let broker = Broker::new(Random::new(random.next()), traffic.inputs.clone());
        let counts = [1 + random.below(2), 1];
        let hosts = ["a", "b"].iter().zip(counts).map(|(name, worker_count)| Host {
            name: (*name).to_owned(),
            worker_count,
            incarnation: 0,
            data_dir: home.join(format!("{name}-0")),
            skew_ms: 0,
            paused: false,
            down_until_ms: Some(0),
            workers: Vec::new(),
            reader: None,
        });
        Rc::new(Self {
            broker: RefCell::new(broker),
            hosts: RefCell::new(hosts.collect()),
            plan: RefCell::new(plan),
            random: RefCell::new(random),
            traffic: RefCell::new(traffic),
            home: home.to_owned(),
            memory: Arc::clone(memory),
            depth: RefCell::new(0),
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

    /// One step of somebody.
    pub(crate) fn turn(self: &Rc<Self>) {
        let (who, what, ms) = {
            let mut random = self.random.borrow_mut();
            (random.below(2), random.below(100), random.ms(0, 9))
        };
        let down_ms = self.hosts.borrow().iter().map(|host| host.down_until_ms).min().flatten();
        let idle_ms = down_ms.map_or(0, |until_ms| until_ms - self.broker.borrow().now_ms);
        self.broker.borrow_mut().advance(ms.max(idle_ms));
        match what {
            0..72 => self.step(who),
            72..84 => self.read_control(who),
            84..97 => self.traffic.borrow_mut().events(&mut self.broker.borrow_mut()),
            97 => self.traffic.borrow_mut().control(&mut self.broker.borrow_mut()),
            98 if self.is_faulty() && self.random.borrow_mut().chance(1, 4) => self.restart(who),
            _ => {
                let broker = &mut *self.broker.borrow_mut();
                if self.is_faulty() && broker.random.chance(1, 3) {
                    broker.group.rebalance(&mut broker.random);
                }
            }
        }
    }

    /// Every process has a turn, without chance.
    pub(crate) fn round(self: &Rc<Self>) {
        for host in 0..2 {
            self.read_control(host);
            for _ in 0..2 {
                self.step(host);
            }
        }
        self.broker.borrow_mut().advance(5);
    }

    /// Lets others work while a process stands in a call; past its session if it is given up on.
    fn others(self: &Rc<Self>, host: usize, zombie: bool) {
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
            if of.paused {
                return;
            }
            if of.down_until_ms.is_some() {
                None
            } else {
                let at = self.random.borrow_mut().below(of.worker_count);
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

    /// A process ended by itself.
    fn ended(self: &Rc<Self>, host: usize, why: &str) {
        self.say(|| format!("{} ends: {why}", self.hosts.borrow()[host].name));
        // Under this many faults a worker may rightly give up, and is started again.
        if !(self.is_faulty() && why.contains("had to be replaced")) {
            self.errors.borrow_mut().push(why.to_owned());
        }
        self.crash(host, false);
    }

    fn start(self: &Rc<Self>, host: usize, now_ms: i64) {
        let (settings, node, instance) = {
            let mut hosts = self.hosts.borrow_mut();
            let of = &mut hosts[host];
            if of.down_until_ms.is_none_or(|at_ms| at_ms > now_ms) {
                return;
            }
            of.incarnation += 1;
            let node = Node { world: Rc::clone(self), host, incarnation: of.incarnation };
            (settings(&of.data_dir, of.worker_count), node, of.name.clone())
        };
        self.say(|| format!("{instance} starts"));
        let worker_count = settings.workers;
        let health = Arc::new(Health::new(worker_count));
        let progress = Arc::new(Progress::new(worker_count, &settings.topics));
        let shared_all = Shared {
            tenants: Arc::new(Tenants::new(0)),
            settings: Arc::new(settings),
            control: Arc::new(ControlLog::default()),
            health: Arc::clone(&health),
            progress,
            memory: Arc::clone(&self.memory),
            shelf: Arc::default(),
            rejoin: Arc::default(),
        };
        let kafka = shared(SimKafka { node: node.clone(), instance });
        let made = unless_crashed(|| {
            let log = kafka.log(Reading::Following)?;
            let check = Box::new(|| Some(Ok(())));
            let topic = Topic { name: "lethe.control".to_owned(), id: None };
            let control = Arc::clone(&shared_all.control);
            let reader = ControlReader::new(log, topic, control, health, check);
            let workers = (0..worker_count).map(|number| {
                let clock = SimClock { node: node.clone() };
                let worker = Worker::new(number, Arc::clone(&kafka), clock, shared_all.clone())?;
                Ok(Some((worker, 0)))
            });
            Ok::<_, Failure>((reader, workers.collect::<Result<Vec<_>, Failure>>()?))
        });
        let Some(Ok((reader, workers))) = made else { return };
        let of = &mut self.hosts.borrow_mut()[host];
        if of.incarnation == node.incarnation {
            of.down_until_ms = None;
            of.reader = Some(reader);
            of.workers = workers;
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
        if unless_crashed(|| reader.step(now)).is_some() {
            let of = &mut self.hosts.borrow_mut()[host];
            if of.incarnation == incarnation {
                of.reader = Some(reader);
            }
        }
    }

    /// A process dies: what RocksDB has not flushed is gone, or the whole disk.
    fn crash(self: &Rc<Self>, host: usize, disk_loss: bool) {
        let ms = self.random.borrow_mut().pick(&RESTART_MS);
        let now_ms = self.broker.borrow().now_ms;
        let (workers, reader) = {
            let of = &mut self.hosts.borrow_mut()[host];
            of.incarnation += 1;
            let left = self.home.join(format!("{}-{}", of.name, of.incarnation));
            if !disk_loss {
                copy_unflushed(&of.data_dir, &left);
            }
            of.data_dir = left;
            of.down_until_ms = Some(now_ms + ms);
            of.paused = false;
            (std::mem::take(&mut of.workers), of.reader.take())
        };
        let mut broker = self.broker.borrow_mut();
        broker.group.disconnect(host);
        broker.group.frozen.remove(&host);
        drop(broker);
        drop((workers, reader));
    }

    /// A process is stopped as an operator does it, and started again.
    pub(crate) fn restart(self: &Rc<Self>, host: usize) {
        let workers = {
            let of = &mut self.hosts.borrow_mut()[host];
            let idle =
                of.down_until_ms.is_none() && !of.paused && of.workers.iter().all(Option::is_some);
            if !idle {
                return;
            }
            std::mem::take(&mut of.workers)
        };
        self.say(|| format!("{} stops", self.hosts.borrow()[host].name));
        for (mut worker, _) in workers.into_iter().flatten() {
            match unless_crashed(|| worker.stop()) {
                Some(Ok(())) => {}
                Some(Err(error)) => return self.ended(host, &error.to_string()),
                None => return,
            }
        }
        let of = &mut self.hosts.borrow_mut()[host];
        of.incarnation += 1;
        of.reader = None;
        of.down_until_ms = Some(0);
        self.broker.borrow_mut().group.disconnect(host);
    }

    /// Whatever is wrong from outside is put right; the processes stay as they are.
    pub(crate) fn calm(&self) {
        self.plan.borrow_mut().on = false;
        self.broker.borrow_mut().skew_ms = 0;
        for host in self.hosts.borrow_mut().iter_mut() {
            host.skew_ms = 0;
        }
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

/// Runs something of a process; none: the process has died in it.
fn unless_crashed<T>(run: impl FnOnce() -> T) -> Option<T> {
    match panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => Some(value),
        Err(why) if why.is::<Crashed>() => None,
        Err(why) => panic::resume_unwind(why),
    }
}

/// No history is so long that it would bring a snapshot: the checker reads changelogs of deltas.
const CHANGELOG_SLACK_BYTES: u64 = 64 << 20;

fn settings(data_dir: &Path, workers: usize) -> PipelineSettings {
    PipelineSettings {
        brokers: String::new(),
        group: "group".to_owned(),
        data_dir: data_dir.to_owned(),
        instance: None,
        workers,
        cache_bytes: 0,
        write_buffer_bytes: 0,
        commit_interval: Duration::from_millis(30),
        topics: Topics::default(),
        kafka: Default::default(),
        dead_letter_values: false,
        beginning: Beginning::Earliest,
        single_process: false,
        embedded_broker: false,
        tenants_shown: 0,
        record_bytes_max: Default::default(),
        changelog_slack_bytes: CHANGELOG_SLACK_BYTES,
        standbys: 0,
        state_kept: Duration::from_secs(86_400),
        control_id: None,
    }
}

/// Copies what a killed process leaves of its stores: the files as they are. A compaction may change them
/// meanwhile: then it is done again.
fn copy_unflushed(from: &Path, to: &Path) {
    let Ok(stores) = fs::read_dir(from) else { return };
    for store in stores.flatten() {
        let target = to.join(store.file_name());
        loop {
            let _ = fs::remove_dir_all(&target);
            fs::create_dir_all(&target).unwrap();
            let before = listing(&store.path());
            let copied = before
                .iter()
                .all(|(name, _)| fs::copy(store.path().join(name), target.join(name)).is_ok());
            if copied && before == listing(&store.path()) {
                break;
            }
        }
    }
}

/// A store's files that matter, with their lengths.
fn listing(dir: &Path) -> Vec<(std::ffi::OsString, u64)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|file| !file.file_name().to_string_lossy().starts_with("LOG"))
        .map(|file| (file.file_name(), file.metadata().map_or(0, |data| data.len())))
        .collect();
    files.sort();
    files
}
