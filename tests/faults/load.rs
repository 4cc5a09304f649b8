//! What producers and operators write while faults strike. Tenants bear names that say how they live.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lethe::traffic::Random;
use lethe_proto::v1;
use lethe_test_support::bus::{Bus, CONTROL, Put};
use lethe_test_support::event::{self, Message};
use serde_json::{Value, json};

/// Opted in, for longer than any run.
pub(crate) const KEEP: &str = "keep";
/// Opted in, for [`LIMIT_MS`].
pub(crate) const SHORT: &str = "short";
/// Said nothing: in transit, for a day.
pub(crate) const OUT: &str = "out";
/// Said nothing, with a transit limit of [`LIMIT_MS`].
pub(crate) const BRIEF: &str = "brief";
/// Changes its mind all the time.
pub(crate) const FLIP: &str = "flip";
const TENANTS: [&str; 5] = [KEEP, SHORT, OUT, BRIEF, FLIP];

/// The retention and transit limit of the tenants that have short ones.
pub(crate) const LIMIT_MS: i64 = 10_000;
/// The life of messages that have one of their own.
const TTL_MS: i64 = 6_000;

/// Some thousand records a second, in small batches.
const PAUSE: Duration = Duration::from_millis(20);
const BATCH_MAX: u32 = 24;
/// More than this waits for lethe: a slow machine is not to drown.
const BACKLOG_MAX: i64 = 20_000;
/// Events are about one of so many recent messages.
const RECENT: usize = 200;
/// One batch in so many brings a control record.
const CONTROL_EVERY: u64 = 60;
const USERS: [&str; 3] = ["x", "y", "z"];
const CONVERSATIONS: u64 = 12;
const VERSIONED: u64 = 40;

/// The time (Unix ms).
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[derive(Clone)]
struct Known {
    partition: i32,
    tenant: &'static str,
    message: Message,
    recipients: u32,
    ttl_ms: i64,
}

struct State {
    random: Random,
    recent: Vec<Known>,
    count: u64,
    flip_in: bool,
    held: bool,
}

/// An input record that is to be produced.
struct Produced {
    topic: &'static str,
    partition: i32,
    value: Vec<u8>,
}

/// What is written to the inputs and the control topic.
pub(crate) struct Load<'b> {
    bus: &'b Bus<'b>,
    state: Mutex<State>,
}

impl<'b> Load<'b> {
    pub(crate) fn new(bus: &'b Bus<'b>, seed: u64) -> Self {
        let random = Random::new(seed);
        let state = State { random, recent: Vec::new(), count: 0, flip_in: false, held: false };
        Self { bus, state: Mutex::new(state) }
    }

    /// What tenants and operators have said before anything runs.
    pub(crate) fn begin(&self) {
        let limit = format!("{LIMIT_MS}ms");
        let limit = limit.strip_suffix("000ms").map_or(limit.clone(), |s| format!("{s}s"));
        let class = |retention: &str| json!({"storage": "in", "retention": retention, "since": "2000-01-01T00:00:00Z"});
        let keep = json!({"message": class("30d"), "profile": class("30d")});
        self.bus.control("tenant/keep", &keep);
        self.bus.control("tenant/short", &json!({"message": class(&limit)}));
        for tenant in [SHORT, BRIEF, FLIP] {
            self.bus.control(&format!("terms/{tenant}"), &json!({"transit_limit": limit}));
        }
    }

    /// Writes until it is told to stop. `backlog` says how much lethe has not processed.
    pub(crate) fn run_until(&self, over: &AtomicBool, backlog: impl Fn() -> i64) {
        while !over.load(Ordering::Relaxed) {
            if backlog() < BACKLOG_MAX {
                self.batch();
            }
            thread::sleep(PAUSE);
        }
    }

    /// What was said for a while is taken back.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        if state.held {
            self.hold(&mut state);
        }
        if state.flip_in {
            self.flip(&mut state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn batch(&self) {
        let mut state = self.lock();
        if state.random.below(CONTROL_EVERY) == 0 {
            self.operate(&mut state);
        }
        let count = state.random.between(1, BATCH_MAX);
        let records: Vec<Produced> = (0..count).map(|_| state.record()).collect();
        drop(state);
        for topic in lethe_test_support::bus::INPUTS {
            let of_topic = records.iter().filter(|record| record.topic == topic);
            let put = |record: &'_ Produced| -> (i32, Vec<u8>) {
                (record.partition, record.value.clone())
            };
            let of_topic: Vec<(i32, Vec<u8>)> = of_topic.map(put).collect();
            self.bus.put_all(
                topic,
                of_topic.iter().map(|(partition, value)| Put {
                    partition: *partition,
                    key: "load",
                    value: Some(value),
                    headers: &[],
                }),
            );
        }
    }

    fn operate(&self, state: &mut State) {
        match state.random.below(6) {
            0..=2 => self.flip(state),
            3 | 4 => self.hold(state),
            _ => {
                let invalid = Some(b"{\"message\": 1}".as_slice());
                self.bus.put(CONTROL, Put { key: "tenant/keep", value: invalid, ..Put::default() });
            }
        }
    }

    fn flip(&self, state: &mut State) {
        state.flip_in = !state.flip_in;
        if state.flip_in {
            let retention = format!("{}s", LIMIT_MS / 1_000);
            let chosen: Value = json!({"message": {"storage": "in", "retention": retention}});
            self.bus.control("tenant/flip", &chosen);
        } else {
            self.bus.withdraw("tenant/flip");
        }
    }

    fn hold(&self, state: &mut State) {
        state.held = !state.held;
        if state.held {
            self.bus.control("hold/1", &json!({"tenant": SHORT, "reason": "a court"}));
        } else {
            self.bus.withdraw("hold/1");
        }
    }
}

impl State {
    fn record(&mut self) -> Produced {
        match self.random.below(100) {
            0 => self.garbage(),
            1..=8 => self.version("im.profiles"),
            9..=12 => self.version("im.configs"),
            _ => self.message(),
        }
    }

    fn garbage(&mut self) -> Produced {
        let topic = *self.random.pick(&lethe_test_support::bus::INPUTS).unwrap_or(&"im.messages");
        let partition = self.partition();
        Produced { topic, partition, value: vec![0xff; 3] }
    }

    fn partition(&mut self) -> i32 {
        self.below_i32(crate::PARTITIONS)
    }

    fn below_i32(&mut self, end: i32) -> i32 {
        i32::try_from(self.random.below(u64::try_from(end).unwrap_or(1))).unwrap_or(0)
    }

    /// Bytes that no other record has.
    fn content(&mut self) -> Vec<u8> {
        self.count += 1;
        let mut text = vec![0; usize::try_from(self.random.between(20, 300)).unwrap_or(20)];
        self.random.text(&mut text);
        [format!("content-{} ", self.count).into_bytes(), text].concat()
    }

    /// A profile or a config item; its number tells its partition.
    fn version(&mut self, topic: &'static str) -> Produced {
        let tenant = if self.random.percent(50) { KEEP } else { OUT };
        let number = i32::try_from(self.random.below(VERSIONED)).unwrap_or(0);
        let name = format!("u{number}");
        let at_ms = now_ms() - i64::from(self.random.between(0, 3_000));
        let content = self.content();
        let removed = self.random.percent(25);
        let value = match (topic, removed) {
            ("im.configs", false) => event::config_set(tenant, &name, at_ms, &content),
            ("im.configs", true) => event::config_removed(tenant, &name, at_ms),
            (_, false) => event::profile_updated(tenant, &name, at_ms, &content),
            (_, true) => event::profile_removed(tenant, &name, at_ms),
        };
        Produced { topic, partition: number % crate::PARTITIONS, value }
    }

    fn message(&mut self) -> Produced {
        let is_new = self.recent.is_empty() || self.random.percent(40);
        if is_new {
            self.begin_message();
        }
        let place = if is_new {
            self.recent.len().saturating_sub(1)
        } else {
            usize::try_from(self.random.below(self.recent.len() as u64)).unwrap_or(0)
        };
        let Some(known) = self.recent.get(place).cloned() else { return self.garbage() };
        let value = self.event(&known, is_new);
        Produced { topic: "im.messages", partition: known.partition, value }
    }

    /// Most messages begin with their `Sent`; some with what is about them.
    fn event(&mut self, known: &Known, is_new: bool) -> Vec<u8> {
        let Known { message, recipients, ttl_ms, tenant, .. } = known;
        let content = self.content();
        let sent = v1::Sent {
            sender: "alice".to_owned(),
            kind: v1::Kind::Text.into(),
            recipients: *recipients,
            ttl_ms: *ttl_ms,
        };
        // What time ends has no edits: which of them came in time could not be told.
        let edits = *ttl_ms == 0 && [KEEP, OUT].contains(tenant);
        match self.random.below(if is_new { 60 } else { 20 }) {
            0..=5 => message.delivered(self.random.pick(&USERS).unwrap_or(&"x")),
            6 => message.delivered_to_all(),
            7..=9 => message.recalled(),
            10..=13 if edits => {
                let edited_at_ms = message.sent_at_ms + i64::from(self.random.between(1, 4_000));
                if *tenant == KEEP && self.random.percent(50) {
                    message.edited_carrying(edited_at_ms, sent, &content)
                } else {
                    message.edited(edited_at_ms, &content)
                }
            }
            _ => message.sent_as(sent, &content),
        }
    }

    fn begin_message(&mut self) {
        self.count += 1;
        let tenant = *self.random.pick(&TENANTS).unwrap_or(&KEEP);
        let talk = self.random.below(CONVERSATIONS);
        let sent_at_ms = now_ms() - i64::from(self.random.between(0, 1_000));
        let message =
            Message::new(tenant, &format!("c{talk}"), &format!("m{}", self.count), sent_at_ms);
        let known = Known {
            partition: i32::try_from(talk).unwrap_or(0) % crate::PARTITIONS,
            tenant,
            message,
            recipients: self.random.between(0, 2),
            ttl_ms: if self.random.percent(10) { TTL_MS } else { 0 },
        };
        if self.recent.len() >= RECENT {
            self.recent.remove(0);
        }
        self.recent.push(known);
    }
}
