//! What producers and operators write, and the record of it that the check works from.

use std::collections::BTreeMap;

use lethe::pipeline::seam::{PartitionId, Role};
use lethe::pipeline::settings::Topics;
use lethe_engine::Class;
use lethe_proto::v1;
use lethe_test_support::event::{self, Message};
pub(crate) use lethe_test_support::warrant::What;

use crate::broker::Broker;
use crate::random::Random;

/// Opted in, for ever, under names that say how each tenant lives.
pub(crate) const KEEP: &str = "keep";
/// Opted in, for [`SHORT_MS`].
pub(crate) const SHORT: &str = "short";
/// Said nothing: in transit, for a day.
pub(crate) const OUT: &str = "out";
/// Said nothing, with a transit limit of [`SHORT_MS`].
pub(crate) const BRIEF: &str = "brief";
/// Changes its mind.
pub(crate) const FLIP: &str = "flip";
/// The retention and transit limit of the tenants that have short ones.
pub(crate) const SHORT_MS: i64 = 5_000;
/// The life of messages that have one of their own.
pub(crate) const TTL_MS: i64 = 3_000;

const TENANTS: [&str; 5] = [KEEP, SHORT, OUT, BRIEF, FLIP];
const USERS: [&str; 3] = ["x", "y", "z"];
/// Events are about one of so many recent messages.
const RECENT: usize = 24;

/// An input record.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) what: What,
    pub(crate) key: String,
    pub(crate) tenant: &'static str,
    /// Its sent or updated time.
    pub(crate) at_ms: i64,
    pub(crate) recipients: u32,
    pub(crate) ttl_ms: i64,
    pub(crate) value: Vec<u8>,
}

/// A control record that matters to the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    FlipIn,
    FlipOut,
    HoldOn,
    HoldOff,
    Invalid,
    Other,
}

/// What was asked to be read again.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Its number is its id.
    pub(crate) number: usize,
    /// Of which class; none: the dead letters, for all.
    pub(crate) class: Option<Class>,
    pub(crate) tenant: Option<&'static str>,
    pub(crate) refresh: bool,
    paused: bool,
    pub(crate) cancelled: bool,
}

impl Asked {
    fn key(&self) -> String {
        format!("replay/{}", self.number)
    }

    fn value(&self) -> String {
        let topics = Topics::default();
        let source = self.class.map_or(topics.dead_letters.as_str(), |class| topics.input(class));
        let mode = if self.refresh { "refresh" } else { "missing" };
        let tenants =
            self.tenant.map_or(String::new(), |name| format!(", \"tenants\": [\"{name}\"]"));
        let paused = self.paused;
        format!("{{\"source\": \"{source}\", \"mode\": \"{mode}\", \"paused\": {paused}{tenants}}}")
    }
}

#[derive(Clone)]
struct Sent {
    id: PartitionId,
    tenant: &'static str,
    message: Message,
    recipients: u32,
    ttl_ms: i64,
}

pub(crate) struct Traffic {
    random: Random,
    pub(crate) inputs: Vec<PartitionId>,
    messages: Vec<Sent>,
    count: u64,
    flip_in: bool,
    held: bool,
    /// Every input record, by partition and offset.
    pub(crate) events: BTreeMap<(PartitionId, i64), Event>,
    /// The control topic was lost for a while, and every tombstone stood still.
    pub(crate) stood_still: bool,
    /// How far the control topic went before anything ran.
    pub(crate) begun: i64,
    /// Every control record.
    pub(crate) said: Vec<(i64, Said)>,
    /// Everything that was asked to be read again.
    pub(crate) replays: Vec<Asked>,
    /// So many replays it has at most: each is a pass over all that is there.
    replays_max: usize,
}

/// How many replays a run has at most, and one that looks for their steps.
const REPLAYS_MAX: [usize; 2] = [6, 18];

fn partition(class: Class, partition: i32) -> PartitionId {
    PartitionId { class, partition }
}

impl Traffic {
    pub(crate) fn new(random: Random, looks_for_replays: bool) -> Self {
        let inputs = vec![
            partition(Class::Message, 0),
            partition(Class::Message, 1),
            partition(Class::Profile, 0),
            partition(Class::Config, 0),
        ];
        Self {
            random,
            inputs,
            messages: Vec::new(),
            count: 0,
            flip_in: false,
            held: false,
            events: BTreeMap::new(),
            stood_still: false,
            begun: 0,
            said: Vec::new(),
            replays: Vec::new(),
            replays_max: REPLAYS_MAX[usize::from(looks_for_replays)],
        }
    }

    /// What operators and tenants have said before anything runs.
    pub(crate) fn begin(&mut self, broker: &mut Broker) {
        let since = "\"since\": \"2020-01-01T00:00:00Z\"";
        let keep = format!("{{\"storage\": \"in\", \"retention\": \"forever\", {since}}}");
        let keep = format!("{{\"message\": {keep}, \"profile\": {keep}}}");
        let short =
            format!("{{\"message\": {{\"storage\": \"in\", \"retention\": \"5s\", {since}}}}}");
        let limit = "{\"transit_limit\": \"5s\"}";
        for (key, value) in [
            ("terms/keep", "{\"maximum\": \"forever\"}"),
            ("tenant/keep", &keep),
            ("tenant/short", &short),
            ("terms/short", limit),
            ("terms/brief", limit),
            ("terms/flip", limit),
        ] {
            self.say(broker, Said::Other, key, Some(value));
        }
        self.begun = broker.log(Role::Control, 0).end();
    }

    /// Whatever was said for a while is taken back.
    pub(crate) fn end(&mut self, broker: &mut Broker) {
        if self.held {
            self.hold(broker);
        }
        if self.flip_in {
            self.flip(broker);
        }
        for at in 0..self.replays.len() {
            if self.replays[at].paused && !self.replays[at].cancelled {
                self.replays[at].paused = false;
                self.say_of(broker, at);
            }
        }
    }

    /// Somebody asks for a replay, or changes one.
    fn replay(&mut self, broker: &mut Broker) {
        let count = self.replays.len();
        if count == 0 || (count < self.replays_max && self.random.chance(1, 2)) {
            let message = Some(Class::Message);
            let classes =
                [message, message, message, Some(Class::Profile), Some(Class::Config), None];
            let class = self.random.pick(&classes);
            self.replays.push(Asked {
                number: count,
                class,
                tenant: self.random.pick(&[None, None, Some(KEEP)]),
                refresh: class.is_some() && self.random.chance(1, 2),
                paused: false,
                cancelled: false,
            });
            return self.say_of(broker, count);
        }
        let at = self.random.below(count);
        let asked = &mut self.replays[at];
        if asked.cancelled {
            return;
        }
        if self.random.chance(1, 4) {
            asked.cancelled = true;
        } else {
            asked.paused = !asked.paused;
        }
        self.say_of(broker, at);
    }

    fn say_of(&mut self, broker: &mut Broker, at: usize) {
        let asked = &self.replays[at];
        let (key, value) = (asked.key(), asked.value());
        let value = (!asked.cancelled).then_some(value);
        self.say(broker, Said::Other, &key, value.as_deref());
    }

    fn say(&mut self, broker: &mut Broker, said: Said, key: &str, value: Option<&str>) {
        let offset = broker.write(Role::Control, 0, key.as_bytes(), value.map(str::as_bytes));
        self.said.push((offset, said));
    }

    fn flip(&mut self, broker: &mut Broker) {
        self.flip_in = !self.flip_in;
        let value = "{\"message\": {\"storage\": \"in\", \"retention\": \"5s\"}}";
        let (said, value) =
            if self.flip_in { (Said::FlipIn, Some(value)) } else { (Said::FlipOut, None) };
        self.say(broker, said, "tenant/flip", value);
    }

    fn hold(&mut self, broker: &mut Broker) {
        self.held = !self.held;
        let value = "{\"tenant\": \"short\", \"reason\": \"a court\"}";
        let (said, value) =
            if self.held { (Said::HoldOn, Some(value)) } else { (Said::HoldOff, None) };
        self.say(broker, said, "hold/1", value);
    }

    /// Somebody writes to the control topic.
    pub(crate) fn control(&mut self, broker: &mut Broker) {
        match self.random.below(10) {
            0..=2 => self.flip(broker),
            3 | 4 => self.hold(broker),
            5..=8 => self.replay(broker),
            _ => self.say(broker, Said::Invalid, "tenant/keep", Some("{\"message\": 1}")),
        }
    }

    /// Producers write some events.
    pub(crate) fn events(&mut self, broker: &mut Broker) {
        for _ in 0..=self.random.below(4) {
            match self.random.below(40) {
                0 => self.garbage(broker),
                1 => {
                    let ghost = Message::new(KEEP, "ghost", "ghost", broker.now_ms).sent(b"never");
                    broker.write_aborted(Role::Input(Class::Message), 0, b"ghost", &ghost);
                }
                2 => self.truncate(broker),
                3..=6 => self.version(broker, Class::Profile),
                7 | 8 => self.version(broker, Class::Config),
                _ => self.message(broker),
            }
        }
    }

    fn garbage(&mut self, broker: &mut Broker) {
        let at = self.random.below(self.inputs.len());
        let event = Event {
            what: What::Garbage,
            key: String::new(),
            tenant: OUT,
            at_ms: 0,
            recipients: 0,
            ttl_ms: 0,
            value: vec![0xff; 3],
        };
        self.write(broker, self.inputs[at], event);
    }

    /// The input drops what is behind its consumers.
    fn truncate(&mut self, broker: &mut Broker) {
        let at = self.random.below(self.inputs.len());
        let id = self.inputs[at];
        if let Some(committed) = broker.group.committed.get(&id) {
            let offset = committed.offset;
            let log = broker.log(Role::Input(id.class), id.partition);
            log.start = log.start.max(offset);
        }
    }

    fn write(&mut self, broker: &mut Broker, id: PartitionId, event: Event) {
        let offset = broker.write(Role::Input(id.class), id.partition, b"k", Some(&event.value));
        self.events.insert((id, offset), event);
    }

    /// Bytes that no other record has.
    fn content(&mut self) -> Vec<u8> {
        self.count += 1;
        format!("content-{}", self.count).into_bytes()
    }

    fn version(&mut self, broker: &mut Broker, class: Class) {
        let tenant = self.random.pick(&[KEEP, OUT]);
        let name = self.random.pick(&["p", "q", "r", "s"]);
        let at_ms = broker.now_ms - self.random.ms(0, 3_000);
        let content = self.content();
        let removed = self.random.chance(1, 4);
        let value = match (class, removed) {
            (Class::Config, false) => event::config_set(tenant, name, at_ms, &content),
            (Class::Config, true) => event::config_removed(tenant, name, at_ms),
            (_, false) => event::profile_updated(tenant, name, at_ms, &content),
            (_, true) => event::profile_removed(tenant, name, at_ms),
        };
        let what = if removed { What::Removed } else { What::Set };
        let key = format!("{tenant}/{name}");
        self.write(
            broker,
            partition(class, 0),
            Event { what, key, tenant, at_ms, recipients: 0, ttl_ms: 0, value },
        );
    }

    fn message(&mut self, broker: &mut Broker) {
        let is_new = self.messages.is_empty() || self.random.chance(1, 2);
        if is_new {
            self.new_message(broker);
        }
        let recent = self.messages.len().min(RECENT);
        let at = if is_new { 0 } else { self.random.below(recent) };
        let sent = self.messages[self.messages.len() - 1 - at].clone();
        // Most messages begin with their `Sent`; some with what is about them.
        let what = match self.random.below(if is_new { 60 } else { 20 }) {
            0..=4 => What::Delivered(self.random.pick(&USERS).to_owned()),
            5 => What::Everyone,
            6..=8 => What::Recalled,
            9..=13 => {
                let at_ms = sent.message.sent_at_ms + self.random.ms(1, 4_000);
                // What carries a `Sent` may begin a message too.
                let carries =
                    sent.tenant != OUT && sent.tenant != BRIEF && self.random.chance(1, 2);
                What::Edited { at_ms, carries }
            }
            _ => What::Sent,
        };
        let value = self.encode(&sent, &what);
        let key = sent.message.key();
        let (tenant, at_ms) = (sent.tenant, sent.message.sent_at_ms);
        let (recipients, ttl_ms) = (sent.recipients, sent.ttl_ms);
        self.write(broker, sent.id, Event { what, key, tenant, at_ms, recipients, ttl_ms, value });
    }

    fn new_message(&mut self, broker: &Broker) {
        self.count += 1;
        let tenant = self.random.pick(&TENANTS);
        let place = self.random.below(2) as i32;
        let sent_at_ms = broker.now_ms - self.random.ms(0, 2_000);
        let message =
            Message::new(tenant, &format!("c{place}"), &format!("m{}", self.count), sent_at_ms);
        let ttl_ms = if self.random.chance(1, 10) { TTL_MS } else { 0 };
        let recipients = self.random.below(3) as u32;
        self.messages.push(Sent {
            id: partition(Class::Message, place),
            tenant,
            message,
            recipients,
            ttl_ms,
        });
    }

    fn encode(&mut self, of: &Sent, what: &What) -> Vec<u8> {
        let content = self.content();
        let sent = v1::Sent {
            sender: "alice".to_owned(),
            kind: v1::Kind::Text.into(),
            recipients: of.recipients,
            ttl_ms: of.ttl_ms,
        };
        match what {
            What::Sent => of.message.sent_as(sent, &content),
            What::Edited { at_ms, carries: true } => {
                of.message.edited_carrying(*at_ms, sent, &content)
            }
            What::Edited { at_ms, carries: false } => of.message.edited(*at_ms, &content),
            What::Delivered(user) => of.message.delivered(user),
            What::Everyone => of.message.delivered_to_all(),
            What::Recalled | What::Set | What::Removed | What::Garbage => of.message.recalled(),
        }
    }
}
