//! A store downstream: reads the outputs `read_committed`, keeps what came, forgets at a null value.
//!
//! Of content it keeps a hash alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use lethe_engine::{Class, Storage};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::bus::PARTITIONS;
use super::{Stage, now_ms};
use crate::pipeline::seam::Role;
use crate::pipeline::settings::Topics;
use crate::traffic::hash;

/// The outputs that it follows.
const FOLLOWED: [(Class, Storage); 5] = [
    (Class::Message, Storage::Stored),
    (Class::Message, Storage::Transit),
    (Class::Profile, Storage::Stored),
    (Class::Profile, Storage::Transit),
    (Class::Config, Storage::Stored),
];
/// How long a poll waits.
const WAIT: Duration = Duration::from_millis(50);

/// What came of one record key on one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Hashes of its contents, in order.
    pub(super) contents: Vec<u64>,
    /// Reasons of its tombstones, and when each came (Unix ms).
    pub(super) tombstones: Vec<(String, i64)>,
    /// Contents that came after a tombstone.
    pub(super) returned: u32,
}

/// What came of everything.
#[derive(Default)]
pub(super) struct Downstream {
    pub(super) seen: HashMap<(Class, Storage, String), Seen>,
    /// What is live, by tenant, class and storage.
    pub(super) live: BTreeMap<(String, Class, Storage), u64>,
    /// Tombstones by reason.
    pub(super) reasons: BTreeMap<String, u64>,
    /// Records of every kind.
    pub(super) records: u64,
    /// Record keys that have ended.
    pub(super) ended: usize,
    pub(super) dead_letters: u64,
    /// Dead letters that carry a value, which they must not.
    pub(super) dead_letter_values: u64,
    /// How late the last tombstone was that came by time, against its own tag (ms).
    pub(super) late_ms: i64,
    /// When the content of a live record says that it ends (Unix ms).
    expires: HashMap<(Class, Storage, String), i64>,
}

impl Downstream {
    fn content(&mut self, class: Class, storage: Storage, key: &str, content: &Content) {
        self.records += 1;
        let of = (class, storage, key.to_owned());
        if let Some(expires_at_ms) = content.expires_at_ms {
            self.expires.insert(of.clone(), expires_at_ms);
        }
        let seen = self.seen.entry(of).or_default();
        if seen.tombstones.is_empty() {
            if seen.contents.is_empty() {
                *self.live.entry((tenant(key), class, storage)).or_default() += 1;
            }
        } else {
            seen.returned += 1;
        }
        seen.contents.push(content.hash);
    }

    fn tombstone(&mut self, class: Class, storage: Storage, key: &str, reason: &str, now_ms: i64) {
        self.records += 1;
        *self.reasons.entry(reason.to_owned()).or_default() += 1;
        let of = (class, storage, key.to_owned());
        let expires_at_ms = self.expires.remove(&of);
        if let (Some(expires_at_ms), "expired" | "undelivered") = (expires_at_ms, reason) {
            self.late_ms = now_ms - expires_at_ms;
        }
        let seen = self.seen.entry(of).or_default();
        if seen.tombstones.is_empty() && !seen.contents.is_empty() {
            self.ended += 1;
            if let Some(live) = self.live.get_mut(&(tenant(key), class, storage)) {
                *live = live.saturating_sub(1);
            }
        }
        seen.tombstones.push((reason.to_owned(), now_ms));
    }
}

struct Content {
    hash: u64,
    expires_at_ms: Option<i64>,
}

/// The tenant of a record key.
fn tenant(key: &str) -> String {
    key.split('/').next().unwrap_or_default().to_owned()
}

/// Follows the outputs.
pub(super) struct Follower {
    consumer: BaseConsumer,
    roles: HashMap<String, Role>,
    stage: Arc<Mutex<Stage>>,
}

impl Follower {
    pub(super) fn new(
        brokers: &str,
        topics: &Topics,
        stage: Arc<Mutex<Stage>>,
    ) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        config.set("client.id", "demo-store");
        config.set("group.id", "demo-store");
        config.set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "false");
        config.set("fetch.wait.max.ms", "50");
        let consumer: BaseConsumer = config.create().context("a consumer")?;
        let outputs = FOLLOWED.map(|(class, storage)| (Role::Output(class, storage), PARTITIONS));
        let mut list = TopicPartitionList::new();
        let mut roles = HashMap::new();
        for (role, partitions) in outputs.into_iter().chain([(Role::DeadLetters, 1)]) {
            let name = topics.name(role);
            for partition in 0..partitions {
                list.add_partition_offset(&name, partition, Offset::Beginning)?;
            }
            roles.insert(name, role);
        }
        consumer.assign(&list).context("following the outputs")?;
        Ok(Self { consumer, roles, stage })
    }

    /// Follows until `stop`.
    pub(super) fn run(&self, stop: &AtomicBool) -> anyhow::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            match self.consumer.poll(WAIT) {
                Some(Ok(message)) => self.take(&message),
                // The embedded broker is in this process: it comes back.
                Some(Err(error)) => tracing::debug!(%error, "following the outputs"),
                None => {}
            }
        }
        Ok(())
    }

    fn take(&self, message: &BorrowedMessage<'_>) {
        let now_ms = now_ms();
        let key = String::from_utf8_lossy(message.key().unwrap_or_default());
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let downstream = &mut stage.downstream;
        match (self.roles.get(message.topic()), message.payload()) {
            (Some(&Role::Output(class, storage)), Some(value)) => {
                let expires_at_ms = header(message, "lethe-expires-at");
                let content = Content {
                    hash: hash(value),
                    expires_at_ms: expires_at_ms.and_then(|at| at.parse().ok()),
                };
                downstream.content(class, storage, &key, &content);
            }
            (Some(&Role::Output(class, storage)), None) => {
                let reason = header(message, "lethe-reason").unwrap_or("none");
                downstream.tombstone(class, storage, &key, reason, now_ms);
            }
            (Some(Role::DeadLetters), value) => {
                downstream.dead_letters += 1;
                downstream.dead_letter_values += u64::from(value.is_some());
            }
            (Some(Role::Input(_) | Role::Changelog(_) | Role::Control | Role::Audit) | None, _) => {
            }
        }
    }
}

fn header<'m>(message: &'m BorrowedMessage<'_>, name: &str) -> Option<&'m str> {
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    std::str::from_utf8(found.value?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_is_not_live_and_what_returns_is_noticed() {
        let mut downstream = Downstream::default();
        let content = Content { hash: 1, expires_at_ms: Some(1_000) };
        let of = (Class::Message, Storage::Stored);
        downstream.content(of.0, of.1, "t/c/m", &content);
        let live = ("t".to_owned(), of.0, of.1);
        assert_eq!(downstream.live.get(&live), Some(&1));
        downstream.tombstone(of.0, of.1, "t/c/m", "expired", 1_200);
        assert_eq!((downstream.live.get(&live), downstream.late_ms), (Some(&0), 200));
        downstream.content(of.0, of.1, "t/c/m", &content);
        let seen = downstream.seen.get(&(of.0, of.1, "t/c/m".to_owned()));
        assert_eq!(seen.map(|seen| seen.returned), Some(1));
        assert_eq!(downstream.ended, 1);
    }
}
