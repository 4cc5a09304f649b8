//! Machines with a process on each: how processes start, die, are replaced and are stopped.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lethe::pipeline::control::ControlLog;
use lethe::pipeline::control_reader::{ControlReader, Topic};
use lethe::pipeline::progress::Progress;
use lethe::pipeline::questions::Questions;
use lethe::pipeline::seam::{Fault as Failure, Kafka, PartitionId, Reading};
use lethe::pipeline::settings::{Beginning, PipelineSettings, Portions, Topics};
use lethe::pipeline::worker::{Shared, Worker};
use lethe::telemetry::health::Health;
use lethe::telemetry::tenants::Tenants;

use crate::check;
use crate::clients::{SimClock, SimKafka, SimLog, shared};
use crate::disk;
use crate::faults::Call;
use crate::node::{Node, unless_crashed};
use crate::random::Random;
use crate::world::World;

/// How long a dead process takes to be started again (ms): within its session, or later.
pub(crate) const RESTART_MS: [i64; 5] = [20, 300, 2_000, 9_000, 15_000];
/// One crash in so many, and one partition given up, has what it leaves on the disk looked at.
const LOOK_AT_ONE_IN: usize = 6;
/// More machines than this a run does not have.
const HOSTS_MAX: usize = 8;

pub(crate) type SimWorker = Worker<SimKafka, SimClock>;

/// What a dead process finds of its disk when it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// What was flushed.
    Flushed,
    Lost,
    /// What was there before.
    Old,
}

/// How much everything takes in a run.
pub(crate) struct Sizes {
    pub(crate) slack_bytes: u64,
    portions: Portions,
}

impl Sizes {
    /// Mostly so little that snapshots come often, and that they, deltas, looks and batches are cut. A run that
    /// looks for a step of snapshots has some, and one that looks for going back to their start has deltas among them.
    pub(crate) fn new(looks_for: Call, random: &mut Random) -> Self {
        let slacks = [600, 1_500, 4_000, if looks_for.is_of_snapshots() { 600 } else { 64 << 20 }];
        let whole = Portions::default();
        let is_cut = looks_for == Call::LogRewind;
        let slice = if is_cut { 300 } else { whole.snapshot_slice_bytes };
        Self {
            slack_bytes: random.pick(&slacks),
            portions: Portions {
                batch_records_max: random.pick(&[3, 20, whole.batch_records_max]),
                batch_control_max: random.pick(&[1, whole.batch_control_max]),
                look_rows: random.pick(&[16, 64, whole.look_rows]),
                delta_part_bytes_max: random.pick(&[80, 400, whole.delta_part_bytes_max]),
                snapshot_slice_bytes: random.pick(&[1, 300, slice]),
            },
        }
    }
}

/// A machine with a process on it, or one that is to be started again.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) worker_count: usize,
    /// Changes with every start of the process.
    pub(crate) incarnation: u64,
    pub(crate) data_dir: PathBuf,
    /// What the disk was at earlier crashes.
    old: Vec<PathBuf>,
    pub(crate) skew_ms: i64,
    pub(crate) paused: bool,
    /// Down, and to be started at this time (Unix ms).
    pub(crate) down_until_ms: Option<i64>,
    /// Another process has its name: this one has ended, and is not started again.
    pub(crate) gone: bool,
    pub(crate) workers: Vec<Option<(SimWorker, i64)>>,
    /// It has read the control topic since that was lost.
    pub(crate) knows_of_loss: bool,
    /// Which of its workers began their step with that.
    pub(crate) cautious: Vec<bool>,
    pub(crate) reader: Option<ControlReader<SimLog>>,
    pub(crate) health: Option<Arc<Health>>,
}

impl Host {
    pub(crate) fn new(name: &str, worker_count: usize, data_dir: PathBuf, skew_ms: i64) -> Self {
        Self {
            name: name.to_owned(),
            worker_count,
            incarnation: 0,
            data_dir,
            old: Vec::new(),
            skew_ms,
            paused: false,
            down_until_ms: Some(0),
            gone: false,
            workers: Vec::new(),
            knows_of_loss: false,
            cautious: vec![false; worker_count],
            reader: None,
            health: None,
        }
    }

    /// How many partitions it has taken over, if it does nothing else at the moment.
    pub(crate) fn taken_over(&self) -> Option<usize> {
        let health = self.health.as_ref()?.snapshot();
        let (assigned, restored) = (health.partitions_assigned, health.partitions_restored);
        (self.down_until_ms.is_none() && assigned == restored).then_some(restored)
    }

    fn is_idle(&self) -> bool {
        !self.gone
            && self.down_until_ms.is_none()
            && !self.paused
            && self.workers.iter().all(Option::is_some)
    }
}

/// Whether another process has a host's name.
pub(crate) fn has_twin(hosts: &[Host], host: usize) -> bool {
    let name = &hosts[host].name;
    hosts.iter().enumerate().any(|(at, other)| at != host && !other.gone && other.name == *name)
}

/// Whether another process ever had a host's name. Each may end the other: nobody is left then.
fn had_twin(hosts: &[Host], host: usize) -> bool {
    hosts.iter().filter(|other| other.name == hosts[host].name).count() > 1
}

impl World {
    pub(crate) fn start(self: &Rc<Self>, host: usize, now_ms: i64) {
        let (settings, node, instance) = {
            let mut hosts = self.hosts.borrow_mut();
            let of = &mut hosts[host];
            if of.down_until_ms.is_none_or(|at_ms| at_ms > now_ms) {
                return;
            }
            of.incarnation += 1;
            let node = Node { world: Rc::clone(self), host, incarnation: of.incarnation };
            (self.settings(&of.data_dir, of.worker_count), node, of.name.clone())
        };
        self.say(|| format!("{instance} ({host}) starts"));
        let worker_count = settings.workers;
        let health = Arc::new(Health::new(worker_count));
        let progress = Arc::new(Progress::new(worker_count, &settings.topics));
        let all = Shared {
            settings: Arc::new(settings),
            control: Arc::new(ControlLog::default()),
            health,
            progress,
            memory: Arc::clone(&self.memory),
            shelf: Arc::default(),
            tenants: Arc::new(Tenants::new(0)),
            reports: Arc::default(),
            rejoin: Arc::default(),
            questions: Arc::new(Questions::new(worker_count)),
            completions: Arc::default(),
        };
        let kafka = shared(SimKafka::new(node.clone(), instance));
        let made = unless_crashed(|| {
            let log = kafka.log(Reading::Following)?;
            let check = Box::new(|| Some(Ok(())));
            let (control, health) = (Arc::clone(&all.control), Arc::clone(&all.health));
            let topic = Topic { name: "lethe.control".to_owned(), id: None };
            let reader = ControlReader::new(log, topic, control, health, check);
            let workers = (0..worker_count).map(|number| {
                let clock = SimClock { node: node.clone() };
                let worker = Worker::new(number, Arc::clone(&kafka), clock, all.clone())?;
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
            of.health = Some(all.health);
        }
    }

    /// Another process is started with this one's name, on another machine.
    pub(crate) fn twin(&self, host: usize) {
        let mut hosts = self.hosts.borrow_mut();
        if hosts.len() >= HOSTS_MAX {
            return;
        }
        let data_dir = self.home.join(format!("twin-{}", hosts.len()));
        let of = &hosts[host];
        if self.random.borrow_mut().chance(1, 2) {
            disk::copy(&of.data_dir, &data_dir);
        }
        let twin = Host::new(&of.name, of.worker_count, data_dir, of.skew_ms);
        hosts.push(twin);
    }

    /// A process ended by itself.
    pub(crate) fn ended(self: &Rc<Self>, host: usize, why: &str) {
        self.say(|| format!("{} ({host}) ends: {why}", self.name(host)));
        // Under this many faults a worker may rightly give up, and is started again.
        let rightly = (self.is_faulty() && why.contains("had to be replaced"))
            || (why.contains("another process") && had_twin(&self.hosts.borrow(), host));
        if !rightly {
            self.errors.borrow_mut().push(format!("a process ended: {why}"));
        }
        self.crash(host, Disk::Flushed, None);
    }

    /// A process dies: what RocksDB has not flushed is gone, or the whole disk.
    pub(crate) fn crash(self: &Rc<Self>, host: usize, disk: Disk, down_ms: Option<i64>) {
        let by_chance_ms = self.random.borrow_mut().pick(&RESTART_MS);
        let now_ms = self.broker.borrow().now_ms;
        let dead = {
            let mut hosts = self.hosts.borrow_mut();
            let gone = has_twin(&hosts, host);
            let of = &mut hosts[host];
            of.incarnation += 1;
            let left = self.home.join(format!("{host}-{}", of.incarnation));
            match disk {
                Disk::Flushed => disk::copy(&of.data_dir, &left),
                Disk::Lost => {}
                Disk::Old => {
                    let at = self.random.borrow_mut().below(of.old.len() + 1);
                    disk::copy(of.old.get(at).unwrap_or(&of.data_dir), &left);
                }
            }
            of.old.push(std::mem::replace(&mut of.data_dir, left));
            of.gone = gone;
            of.down_until_ms = (!gone).then_some(now_ms + down_ms.unwrap_or(by_chance_ms));
            of.paused = false;
            of.health = None;
            of.knows_of_loss = false;
            (std::mem::take(&mut of.workers), of.reader.take())
        };
        let mut broker = self.broker.borrow_mut();
        broker.group.disconnect(host);
        broker.group.frozen.remove(&host);
        drop(broker);
        drop(dead);
        if self.random.borrow_mut().chance(1, LOOK_AT_ONE_IN) {
            let all = self.traffic.borrow().inputs.clone();
            self.look_at(host, &all, "after a crash");
        }
    }

    /// Partitions that a process has let go are closed: what is on its disk is looked at now and then.
    pub(crate) fn look_at_closed(&self, host: usize, ids: &[PartitionId]) {
        if self.random.borrow_mut().chance(1, LOOK_AT_ONE_IN) {
            self.look_at(host, ids, "given up");
        }
    }

    /// What a process has left must be a prefix of its changelogs at any time.
    fn look_at(&self, host: usize, ids: &[PartitionId], when: &str) {
        let dir = self.hosts.borrow()[host].data_dir.clone();
        let mut broker = self.broker.borrow_mut();
        // What is decided is committed, even if it cannot be read yet.
        broker.write_all_markers();
        for &id in ids {
            if let Err(wrong) = check::store(&broker, id, &dir, &self.memory) {
                self.errors.borrow_mut().push(format!("{when}: {wrong}"));
            }
        }
    }

    /// A process is stopped as an operator does it, and started again.
    pub(crate) fn restart(self: &Rc<Self>, host: usize) {
        let workers = {
            let of = &mut self.hosts.borrow_mut()[host];
            if !of.is_idle() {
                return;
            }
            std::mem::take(&mut of.workers)
        };
        self.say(|| format!("{} ({host}) stops", self.name(host)));
        for (mut worker, _) in workers.into_iter().flatten() {
            match unless_crashed(|| worker.stop()) {
                Some(Ok(())) => {}
                Some(Err(error)) => return self.ended(host, &error.to_string()),
                None => return,
            }
        }
        let mut hosts = self.hosts.borrow_mut();
        let gone = has_twin(&hosts, host);
        let of = &mut hosts[host];
        of.incarnation += 1;
        (of.reader, of.health, of.knows_of_loss) = (None, None, false);
        (of.gone, of.down_until_ms) = (gone, (!gone).then_some(0));
        self.broker.borrow_mut().group.disconnect(host);
    }

    fn settings(&self, data_dir: &Path, workers: usize) -> PipelineSettings {
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
            changelog_slack_bytes: self.sizes.slack_bytes,
            portions: self.sizes.portions,
            standbys: 0,
            state_kept: Duration::from_secs(86_400),
            control_id: self.control_accepted.borrow().clone(),
        }
    }
}
