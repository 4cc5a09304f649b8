//! The simulated group: static members, generations, cooperative rebalances, and who was given up.

use std::collections::{BTreeMap, BTreeSet};

use lethe::pipeline::seam::{Committed, PartitionId};
use lethe::pipeline::settings::SESSION_TIMEOUT;

use crate::random::Random;

/// A member as the coordinator knows it.
#[derive(Debug)]
struct Member {
    id: u64,
    client: usize,
    seen_ms: i64,
}

/// A consumer's side: what its process knows.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) host: usize,
    instance: String,
    member: u64,
    /// −1: it knows that it has lost its place.
    generation: i32,
    /// It gives up its place for good.
    leaving: bool,
    /// Its process is gone.
    pub(crate) gone: bool,
    /// Another process has joined under its name.
    fenced: bool,
    /// The worker has been told of a change, and has not answered.
    changing: bool,
    pub(crate) assigned: BTreeMap<PartitionId, Flow>,
}

/// How a partition's input flows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) position: i64,
    pub(crate) running: bool,
}

/// What the group wants of a client.
pub(crate) enum Wish {
    Fenced,
    Assigned(Vec<PartitionId>),
    Revoked(Vec<PartitionId>, bool),
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Group {
    inputs: Vec<PartitionId>,
    generation: i32,
    members: BTreeMap<String, Member>,
    member_ids: u64,
    /// Who is to have each partition, and who has it.
    target: BTreeMap<PartitionId, String>,
    owner: BTreeMap<PartitionId, String>,
    pub(crate) committed: BTreeMap<PartitionId, Committed>,
    pub(crate) clients: Vec<Client>,
    /// Hosts that stand still: nobody hears of them.
    pub(crate) frozen: BTreeSet<usize>,
    pub(crate) evictions: u64,
}

impl Group {
    pub(crate) fn new(inputs: Vec<PartitionId>) -> Self {
        Self {
            inputs,
            generation: 0,
            members: BTreeMap::new(),
            member_ids: 0,
            target: BTreeMap::new(),
            owner: BTreeMap::new(),
            committed: BTreeMap::new(),
            clients: Vec::new(),
            frozen: BTreeSet::new(),
            evictions: 0,
        }
    }

    /// A process has made a consumer.
    pub(crate) fn connect(
        &mut self,
        host: usize,
        instance: &str,
        now_ms: i64,
        random: &mut Random,
    ) -> usize {
        let client = self.clients.len();
        self.clients.push(Client {
            host,
            instance: instance.to_owned(),
            member: 0,
            generation: -1,
            leaving: false,
            gone: false,
            fenced: false,
            changing: false,
            assigned: BTreeMap::new(),
        });
        self.join(client, now_ms, random);
        client
    }

    fn join(&mut self, client: usize, now_ms: i64, random: &mut Random) {
        self.member_ids += 1;
        let id = self.member_ids;
        let instance = self.clients[client].instance.clone();
        let member = Member { id, client, seen_ms: now_ms };
        match self.members.insert(instance, member) {
            Some(before) if before.client != client => {
                self.clients[before.client].fenced = true;
                // A process that comes back has nothing yet: what it was to give up is free.
                let (name, target) = (&self.clients[client].instance, &self.target);
                self.owner.retain(|id, owner| owner != name || target.get(id) == Some(name));
            }
            Some(_) => {}
            None => self.rebalance(random),
        }
        self.clients[client].member = id;
        self.clients[client].generation = self.generation;
    }

    /// The process is gone; the group learns of it by its silence.
    pub(crate) fn disconnect(&mut self, host: usize) {
        for client in self.clients.iter_mut().filter(|client| client.host == host) {
            client.gone = true;
        }
    }

    /// Gives up on members that were silent too long.
    pub(crate) fn advance(&mut self, now_ms: i64, random: &mut Random) {
        let timeout_ms = SESSION_TIMEOUT.as_millis() as i64;
        let mut silent = Vec::new();
        for (instance, member) in &mut self.members {
            let client = &self.clients[member.client];
            if !client.gone && !client.fenced && !self.frozen.contains(&client.host) {
                member.seen_ms = now_ms;
            } else if now_ms - member.seen_ms > timeout_ms {
                silent.push(instance.clone());
            }
        }
        for instance in silent {
            self.evict(&instance, random);
        }
    }

    fn evict(&mut self, instance: &str, random: &mut Random) {
        self.members.remove(instance);
        self.owner.retain(|_, owner| owner != instance);
        self.evictions += 1;
        self.rebalance(random);
    }

    /// A client gives up its place, once it has let go of what it has.
    pub(crate) fn leave(&mut self, at: usize, random: &mut Random) {
        self.clients[at].leaving = true;
        if self.clients[at].assigned.is_empty() && self.is_member(&self.clients[at]) {
            let instance = self.clients[at].instance.clone();
            self.depart(&instance, random);
        }
    }

    pub(crate) fn has_left(&self, at: usize) -> bool {
        !self.is_member(&self.clients[at])
    }

    /// A client that has left takes a place again.
    pub(crate) fn rejoin(&mut self, at: usize, now_ms: i64, random: &mut Random) {
        self.clients[at].leaving = false;
        self.join(at, now_ms, random);
    }

    fn depart(&mut self, instance: &str, random: &mut Random) {
        self.members.remove(instance);
        self.owner.retain(|_, owner| owner != instance);
        self.rebalance(random);
    }

    /// Gives up on the members of a host.
    pub(crate) fn evict_host(&mut self, host: usize, random: &mut Random) {
        let of_host = |member: &Member| self.clients[member.client].host == host;
        let instances: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| of_host(member))
            .map(|(name, _)| name.clone())
            .collect();
        for instance in instances {
            self.evict(&instance, random);
        }
    }

    /// A new generation, in which some partitions are to move.
    pub(crate) fn rebalance(&mut self, random: &mut Random) {
        self.generation += 1;
        let names: Vec<&String> = self.members.keys().collect();
        for &id in &self.inputs {
            let keeps = self.target.get(&id).is_some_and(|name| self.members.contains_key(name));
            if names.is_empty() {
                self.target.remove(&id);
            } else if !keeps || random.chance(1, 2) {
                self.target.insert(id, names[random.below(names.len())].clone());
            }
        }
    }

    fn is_member(&self, client: &Client) -> bool {
        self.members.get(&client.instance).is_some_and(|member| member.id == client.member)
    }

    /// What the client's own thread hears from the group beside its worker.
    pub(crate) fn hear(&mut self, at: usize, now_ms: i64, random: &mut Random) {
        if self.frozen.contains(&self.clients[at].host) {
            return;
        }
        let is_member = self.is_member(&self.clients[at]);
        let client = &mut self.clients[at];
        let replaced = client.fenced || self.members.contains_key(&client.instance);
        let knows = is_member || client.generation < 0 || client.gone || replaced;
        // As librdkafka does where it hears of its eviction amid a rebalance: it joins anew with what it
        // had, and does not tell its worker.
        if !knows && !client.changing && random.chance(1, 2) {
            self.join(at, now_ms, random);
            return;
        }
        client.generation = if is_member { self.generation } else { -1 };
    }

    /// The generation in which the client believes to have its place.
    pub(crate) fn believes(&self, at: usize) -> Option<i32> {
        let generation = self.clients[at].generation;
        (generation >= 0).then_some(generation)
    }

    /// Whether the coordinator takes a commit of what the client believes to be.
    pub(crate) fn accepts(&self, at: usize) -> bool {
        let client = &self.clients[at];
        // As brokers do: without a generation there is nothing to compare.
        client.generation < 0 || (self.is_member(client) && client.generation == self.generation)
    }

    /// The next change for the worker.
    pub(crate) fn wish(&mut self, at: usize) -> Wish {
        let client = &self.clients[at];
        let name = client.instance.clone();
        if client.fenced {
            return Wish::Fenced;
        }
        if client.changing {
            return Wish::Nothing;
        }
        if client.generation < 0 {
            let all: Vec<PartitionId> = client.assigned.keys().copied().collect();
            self.clients[at].changing = true;
            return Wish::Revoked(all, true);
        }
        let mine = |of: &BTreeMap<PartitionId, String>, id: &PartitionId| of.get(id) == Some(&name);
        if !self.is_member(client) {
            return Wish::Nothing;
        }
        let others = |id: &PartitionId| self.owner.get(id).is_some_and(|owner| *owner != name);
        let go: Vec<PartitionId> = client
            .assigned
            .keys()
            .filter(|id| client.leaving || !mine(&self.target, id) || others(id))
            .copied()
            .collect();
        if !go.is_empty() {
            self.clients[at].changing = true;
            return Wish::Revoked(go, false);
        }
        if client.leaving {
            return Wish::Nothing;
        }
        for &id in client.assigned.keys() {
            self.owner.insert(id, name.clone());
        }
        // What moves on before it was taken up is free.
        let held = &client.assigned;
        let target = &self.target;
        self.owner.retain(|id, owner| {
            *owner != name || held.contains_key(id) || target.get(id) == Some(&name)
        });
        let free = |id: &PartitionId| !self.owner.contains_key(id) || mine(&self.owner, id);
        let come: Vec<PartitionId> = self
            .inputs
            .iter()
            .filter(|id| mine(&self.target, id) && free(id) && !client.assigned.contains_key(id))
            .copied()
            .collect();
        if come.is_empty() {
            return Wish::Nothing;
        }
        for &id in &come {
            self.owner.insert(id, name.clone());
        }
        self.clients[at].changing = true;
        Wish::Assigned(come)
    }

    pub(crate) fn assign(&mut self, at: usize, ids: &[PartitionId]) {
        let client = &mut self.clients[at];
        client.changing = false;
        client.assigned.extend(ids.iter().map(|&id| (id, Flow::default())));
    }

    pub(crate) fn unassign(
        &mut self,
        at: usize,
        ids: &[PartitionId],
        now_ms: i64,
        random: &mut Random,
    ) {
        let is_member = self.is_member(&self.clients[at]);
        let client = &mut self.clients[at];
        client.changing = false;
        client.assigned.retain(|id, _| !ids.contains(id));
        if is_member {
            let name = client.instance.clone();
            let leaves = client.leaving && client.assigned.is_empty();
            self.owner.retain(|id, owner| *owner != name || !ids.contains(id));
            if leaves {
                self.depart(&name, random);
            }
        } else if client.leaving {
            // There is no place to come back to.
        } else if client.assigned.is_empty() && !client.fenced {
            self.join(at, now_ms, random);
        }
    }
}
