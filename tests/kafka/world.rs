//! A bus with lethe on it, and what a case says and sees in its users' words.
//!
//! Nothing here waits for a time: a case waits for what it expects, or until lethe has committed all of its input,
//! and then looks. What is *not* to happen is looked for behind such a barrier.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lethe_test_support::broker::Broker;
use lethe_test_support::bus::{Bus, Put};
use lethe_test_support::event::{self, Message};
use lethe_test_support::lethe::{Lethe, Setup};
use lethe_test_support::record::Record;
use lethe_test_support::wait::eventually;
use serde_json::{Value, json};

use crate::Version;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_lethe");

/// Units of time in ms.
pub(crate) const SECOND: i64 = 1_000;
pub(crate) const HOUR: i64 = 3_600 * SECOND;
pub(crate) const DAY: i64 = 24 * HOUR;

/// Before everything that a case sends, so that all of it counts as sent by an opted-in tenant.
pub(crate) const EVER: &str = "2000-01-01T00:00:00Z";

/// What became of a key on an output, in order.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Content(Vec<u8>),
    Tombstone(String),
}

impl std::fmt::Debug for Step {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Content(value) => {
                write!(formatter, "content {:?}", String::from_utf8_lossy(value))
            }
            Self::Tombstone(reason) => write!(formatter, "tombstone ({reason})"),
        }
    }
}

pub(crate) fn content(value: &[u8]) -> Step {
    Step::Content(value.to_vec())
}

pub(crate) fn tombstone(reason: &str) -> Step {
    Step::Tombstone(reason.to_owned())
}

/// A bus, and lethe running on it.
pub(crate) struct World<'b> {
    pub(crate) bus: Bus<'b>,
    pub(crate) setup: Setup,
    lethe: Mutex<Lethe>,
    canaries: AtomicU32,
}

/// The worlds that the cases of a file share, one for each version.
pub(crate) struct Shared {
    name: &'static str,
    v4: OnceLock<World<'static>>,
    v2: OnceLock<World<'static>>,
}

impl Shared {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, v4: OnceLock::new(), v2: OnceLock::new() }
    }

    pub(crate) fn on(&self, version: Version) -> &World<'static> {
        let world = match version {
            Version::V4 => &self.v4,
            Version::V2 => &self.v2,
        };
        world.get_or_init(|| World::new(version, self.name))
    }
}

impl<'b> Deref for World<'b> {
    type Target = Bus<'b>;

    fn deref(&self) -> &Self::Target {
        &self.bus
    }
}

impl World<'static> {
    /// lethe on two partitions of the shared broker.
    pub(crate) fn new(version: Version, name: &str) -> Self {
        Self::with(version, name, |_, _| {})
    }

    /// The same, prepared by the case before lethe starts.
    pub(crate) fn with(
        version: Version,
        name: &str,
        prepare: impl FnOnce(&Bus<'static>, &mut Setup),
    ) -> Self {
        Self::over(Broker::shared(version), name, prepare)
    }
}

impl<'b> World<'b> {
    /// lethe on two partitions of a broker, prepared by the case before it starts.
    pub(crate) fn over(
        broker: &'b Broker,
        name: &str,
        prepare: impl FnOnce(&Bus<'b>, &mut Setup),
    ) -> Self {
        let bus = Bus::new(broker, name, 2);
        let mut setup = Setup::new(PROGRAM, &bus, "first");
        prepare(&bus, &mut setup);
        let lethe = Mutex::new(setup.run());
        Self { bus, setup, lethe, canaries: AtomicU32::new(0) }
    }

    /// The process.
    pub(crate) fn lethe(&self) -> MutexGuard<'_, Lethe> {
        self.lethe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the process again; the former one has ended.
    pub(crate) fn start_again(&self) {
        *self.lethe() = self.setup.run();
    }

    /// Waits until lethe has committed all of the input.
    pub(crate) fn settle(&self) {
        self.wait_until_processed(&self.setup.group);
    }

    /// The tenant stores messages and profiles for a time, whatever their age; gives the record's offset once it is
    /// in force on every partition.
    pub(crate) fn opt_in(&self, tenant: &str, retention: &str) -> i64 {
        self.say(&control_key("tenant", &[tenant]), &stored(retention))
    }

    /// The operator's terms for a tenant, once they are in force.
    pub(crate) fn terms(&self, tenant: &str, terms: &Value) -> i64 {
        self.say(&control_key("terms", &[tenant]), terms)
    }

    /// Writes a control record and waits until it is in force on every partition.
    pub(crate) fn say(&self, key: &str, value: &Value) -> i64 {
        let offset = self.control(key, value);
        self.wait_until_in_force();
        offset
    }

    /// Waits until every partition of messages and profiles has applied the control topic up to here.
    ///
    /// Each applies the records in order, so a later record of another tenant tells: its content is tagged with it.
    pub(crate) fn wait_until_in_force(&self) {
        let number = self.canaries.fetch_add(1, Ordering::Relaxed);
        let tenant = format!("canary-{number}");
        let offset = self.control(&format!("tenant/{tenant}"), &stored("1d")).to_string();
        let mut round = 0;
        eventually("the control records to be in force", || {
            round += 1;
            for partition in 0..self.partitions() {
                let id = format!("{partition}-{round}");
                let message = Message::new(&tenant, "canary", &id, now()).sent(b"");
                self.send("im.messages", partition, &message);
                let profile = event::profile_updated(&tenant, &id, now(), b"");
                self.send("im.profiles", partition, &profile);
            }
            self.settle();
            for topic in ["store.messages", "store.profiles"] {
                let in_force = self.tags_of(topic, &tenant, "lethe-policy", &offset);
                if in_force < self.partitions() {
                    return Err(format!("on {in_force} partitions of {topic}"));
                }
            }
            Ok(())
        });
    }

    /// On how many partitions a tenant's records bear a tag.
    fn tags_of(&self, topic: &str, tenant: &str, name: &str, value: &str) -> i32 {
        let mut partitions: Vec<i32> = self
            .read_of(topic, tenant)
            .iter()
            .filter(|record| record.header(name).as_deref() == Some(value))
            .map(|record| record.partition)
            .collect();
        partitions.sort_unstable();
        partitions.dedup();
        i32::try_from(partitions.len()).unwrap_or(i32::MAX)
    }

    /// Produces an event to a partition.
    pub(crate) fn send(&self, topic: &str, partition: i32, value: &[u8]) -> i64 {
        self.put(topic, Put { partition, key: "key", value: Some(value), headers: &[] })
    }

    /// Produces an event about a message to partition 0.
    pub(crate) fn tell(&self, value: &[u8]) -> i64 {
        self.send("im.messages", 0, value)
    }

    /// The committed records of a key on an output.
    pub(crate) fn records(&self, topic: &str, key: &str) -> Vec<Record> {
        let mut records = self.read(topic);
        records.retain(|record| record.key == key);
        records
    }

    /// What has become of a key on an output.
    pub(crate) fn life(&self, topic: &str, key: &str) -> Vec<Step> {
        self.records(topic, key).into_iter().map(step).collect()
    }

    /// Waits until this has become of a key, and nothing else.
    pub(crate) fn expect(&self, topic: &str, key: &str, life: &[Step]) {
        eventually(&format!("{key} on {topic} to become {life:?}"), || {
            let seen = self.life(topic, key);
            if seen == life { Ok(()) } else { Err(format!("{seen:?}")) }
        });
    }

    /// Once all input has been processed, this has become of a key, and nothing else.
    pub(crate) fn expect_settled(&self, topic: &str, key: &str, life: &[Step]) {
        self.settle();
        assert_eq!(self.life(topic, key), life, "{key} on {topic}");
    }

    /// How many input records had an outcome.
    pub(crate) fn outcomes(&self, outcome: &str) -> f64 {
        self.lethe().metric("lethe_records_total", &[("outcome", outcome)]).unwrap_or(0.0)
    }
}

/// A tenant's record: messages and profiles are stored for a time, whatever their age.
pub(crate) fn stored(retention: &str) -> Value {
    let class = json!({"storage": "in", "retention": retention, "since": EVER});
    json!({"message": class, "profile": class})
}

/// A control record's key: parts percent-encoded as record keys are.
pub(crate) fn control_key(kind: &str, parts: &[&str]) -> String {
    format!("{kind}/{}", event::record_key(parts))
}

/// The time (Unix ms).
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A Unix time in ms as RFC 3339.
pub(crate) fn text(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map(|at| at.to_string()).unwrap_or_default()
}

/// What a record on an output says.
pub(crate) fn step(record: Record) -> Step {
    match (record.reason(), record.value) {
        (Some(reason), _) => Step::Tombstone(reason),
        (None, value) => Step::Content(value.unwrap_or_default()),
    }
}
