//! One run: a history with faults, then calm until all is due, then the verdict.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use lethe::pipeline::seam::Role;
use lethe_state::Memory;

use crate::broker::Broker;
use crate::check;
use crate::control::Loss;
use crate::faults::{self, Call, Strikes};
use crate::host::{Disk, has_twin};
use crate::random::Random;
use crate::world::World;

/// A run commits at least this often, or it has proven nothing.
const COMMITS_MIN: u64 = 50;
/// Commits of the part with faults.
const COMMITS: u64 = 70;
/// Turns of the part with faults.
const TURNS_MIN: u32 = 400;
const TURNS_MAX: u32 = 5_000;
/// Rounds until everything must have come to rest.
const ROUNDS_MAX: u32 = 6_000;
/// Rounds without a commit, after which there is rest.
const QUIET: u32 = 12;
/// More than the longest transit limit (ms).
const DAY_MS: i64 = 26 * 3_600_000;

/// What a run did.
#[derive(Default)]
pub(crate) struct Ran {
    pub(crate) commits: u64,
    pub(crate) aborts: u64,
    pub(crate) evictions: u64,
    pub(crate) starts: u64,
    pub(crate) inputs: u64,
    pub(crate) outputs: u64,
    /// Snapshots that were finished, fronts of changelogs that were removed, restores from snapshots.
    pub(crate) snapshots: u64,
    pub(crate) removals: u64,
    pub(crate) restores: u64,
    /// Runs with a snapshot at all; processes that were replaced; control topics that were lost.
    pub(crate) with_snapshots: u64,
    pub(crate) replaced: u64,
    pub(crate) control_losses: u64,
    pub(crate) strikes: Strikes,
    /// Of every log: two runs of one seed have the same.
    pub(crate) digest: u64,
}

impl Ran {
    pub(crate) fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.aborts += other.aborts;
        self.evictions += other.evictions;
        self.starts += other.starts;
        self.inputs += other.inputs;
        self.outputs += other.outputs;
        self.snapshots += other.snapshots;
        self.removals += other.removals;
        self.restores += other.restores;
        self.with_snapshots += other.with_snapshots;
        self.replaced += other.replaced;
        self.control_losses += other.control_losses;
        self.digest ^= other.digest;
        for (&at, count) in &other.strikes {
            *self.strikes.entry(at).or_default() += count;
        }
    }
}

/// A directory for the stores: in memory, where there is such a place.
pub(crate) fn home() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("lethe-simulation-").tempdir_in(base).unwrap()
}

/// RocksDB's memory of a run. In most, restores find no room for the deltas among a snapshot's records, and read
/// them again; one in four has some, but for those that look for that step.
pub(crate) fn memory(seed: u64) -> Arc<Memory> {
    let looks_for_it = faults::focus(seed).0 == Call::LogRewind;
    let has_room = !looks_for_it && Random::new(seed).below(4) == 0;
    let room = if has_room { ROOM_BYTES } else { 0 };
    Arc::new(Memory::new(8 << 20, 8 << 20).in_step(room))
}

/// What room there is where there is any: for some deltas, so that a restore finds an end of it too.
const ROOM_BYTES: usize = 1024;

/// What a run is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) faulty: bool,
    pub(crate) trace: bool,
    /// Every run loses the control topic.
    pub(crate) loses_control: bool,
    /// A process is replaced by another with its name.
    pub(crate) twin: bool,
}

/// One run in so many loses the control topic, after so many turns at the least.
const LOSS_ONE_IN: u64 = 8;
const LOSS_TURNS: u32 = 120;

/// Runs a seed; an error says what is wrong with what came of it.
pub(crate) fn run(seed: u64, home: &Path, memory: &Arc<Memory>, mode: Mode) -> Result<Ran, String> {
    let loses = mode.loses_control || (mode.faulty && seed % LOSS_ONE_IN == 3);
    let loss = if loses { Loss::After(LOSS_TURNS) } else { Loss::Never };
    let world = World::new(seed, home, memory, loss, mode.trace);
    let result = history(&world, mode).and_then(|()| verdict(&world, memory));
    let ran = result.map(|()| tally(&world));
    // The processes hold the world that holds them.
    world.clear();
    ran
}

fn history(world: &Rc<World>, mode: Mode) -> Result<(), String> {
    world.traffic.borrow_mut().begin(&mut world.broker.borrow_mut());
    world.plan.borrow_mut().on = mode.faulty;
    for turn in 0..TURNS_MAX {
        world.turn();
        world.age_control();
        failed(world)?;
        if mode.twin && turn == TURNS_MIN / 2 {
            world.twin(0);
        }
        if turn >= TURNS_MIN && world.broker.borrow().commits >= COMMITS {
            break;
        }
    }
    world.calm();
    // Where faults left no room for it, the traffic goes on without them.
    for _ in 0..TURNS_MAX {
        if world.broker.borrow().commits >= COMMITS_MIN {
            break;
        }
        world.turn();
        failed(world)?;
    }
    world.traffic.borrow_mut().end(&mut world.broker.borrow_mut());
    settle(world)?;
    for _ in 0..2 {
        world.broker.borrow_mut().advance(DAY_MS);
        settle(world)?;
    }
    stop_all(world);
    settle(world)?;
    if world.random.borrow_mut().chance(1, 3) {
        lose_all(world)?;
    }
    stop_all(world);
    failed(world)?;
    let commits = world.broker.borrow().commits;
    if commits < COMMITS_MIN {
        return Err(format!("it has proven nothing: {commits} commits"));
    }
    let hosts = world.hosts.borrow();
    match (0..hosts.len()).find(|&host| !hosts[host].gone && has_twin(&hosts, host)) {
        Some(host) => Err(format!("two processes go on as {}", hosts[host].name)),
        None => Ok(()),
    }
}

/// Stops every process; each starts again with its next turn.
fn stop_all(world: &Rc<World>) {
    let hosts = world.hosts.borrow().len();
    for host in 0..hosts {
        world.restart(host);
    }
}

/// At the end every disk is lost: what the changelogs hold is all there is.
fn lose_all(world: &Rc<World>) -> Result<(), String> {
    world.say(|| "every disk is lost".to_owned());
    let count = world.hosts.borrow().len();
    for host in 0..count {
        if !world.hosts.borrow()[host].gone {
            world.crash(host, Disk::Lost, Some(0));
        }
    }
    settle(world)
}

fn failed(world: &World) -> Result<(), String> {
    world.errors.borrow().first().map_or(Ok(()), |why| Err(why.clone()))
}

/// Goes on until nothing is left to do.
pub(crate) fn settle(world: &Rc<World>) -> Result<(), String> {
    let (mut quiet, mut commits) = (0, 0);
    for _ in 0..ROUNDS_MAX {
        world.round();
        failed(world)?;
        let taken_over = world.is_taken_over();
        let broker = world.broker.borrow();
        let rests = taken_over && broker.commits == commits && all_read(&broker);
        quiet = if rests { quiet + 1 } else { 0 };
        commits = broker.commits;
        if quiet >= QUIET {
            return Ok(());
        }
    }
    Err(format!("it does not come to rest: {:?}", world.broker.borrow().group))
}

/// Whether the group's positions are at the end of their inputs.
fn all_read(broker: &Broker) -> bool {
    broker.logs.iter().all(|(&(role, partition), log)| {
        let Role::Input(class) = role else { return true };
        let id = lethe::pipeline::seam::PartitionId { class, partition };
        let position = broker.group.committed.get(&id).map_or(0, |committed| committed.offset);
        log.read(position.max(log.start)).is_err()
    })
}

fn verdict(world: &World, memory: &Memory) -> Result<(), String> {
    let (broker, traffic) = (world.broker.borrow(), world.traffic.borrow());
    check::outputs(&broker, &traffic)?;
    for &id in &traffic.inputs {
        let mut furthest = 0;
        for dir in world.directories() {
            furthest = furthest.max(check::store(&broker, id, &dir, memory)?);
        }
        let end = check::last_sequence(&broker, id);
        if furthest != end {
            return Err(format!("{id:?}: its owner stopped at delta {furthest} of {end}"));
        }
    }
    Ok(())
}

fn tally(world: &World) -> Ran {
    let (broker, traffic) = (world.broker.borrow(), world.traffic.borrow());
    let outputs = broker.logs.iter().filter(|((role, _), _)| matches!(role, Role::Output(..)));
    let snapshots: usize = traffic.inputs.iter().map(|&id| check::snapshots(&broker, id)).sum();
    let hosts = world.hosts.borrow();
    Ran {
        commits: broker.commits,
        aborts: broker.aborts,
        evictions: broker.group.evictions,
        starts: broker.group.clients.len() as u64,
        inputs: traffic.events.len() as u64,
        outputs: outputs.map(|(_, log)| log.committed().len() as u64).sum(),
        snapshots: snapshots as u64,
        removals: broker.removed,
        restores: broker.restores,
        with_snapshots: u64::from(snapshots > 0),
        replaced: hosts.iter().filter(|host| host.gone).count() as u64,
        control_losses: u64::from(broker.control_made > 1),
        strikes: world.plan.borrow().strikes.clone(),
        digest: broker.digest(),
    }
}
