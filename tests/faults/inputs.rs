//! What lies on the inputs, read back from the broker: the truth that the outputs are held against.

use std::collections::BTreeMap;

use lethe_proto::v1;
use lethe_test_support::bus::{Bus, INPUTS};
use lethe_test_support::event::record_key;
use lethe_test_support::record::Record;
use lethe_test_support::warrant::{Said, What};
use prost::Message as _;

/// Classes of data by the name of their input.
pub(crate) type Topic = &'static str;

/// An input record about something.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) offset: i64,
    pub(crate) what: What,
    /// Its sent or updated time (Unix ms).
    pub(crate) at_ms: i64,
    value: Vec<u8>,
    recipients: u32,
    ttl_ms: i64,
}

/// Everything that was said about one message, profile or item.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) tenant: String,
    pub(crate) partition: i32,
    pub(crate) events: Vec<Event>,
}

impl Subject {
    /// What the contract's words need of it.
    pub(crate) fn said(&self) -> Vec<Said<'_>> {
        let recipients = self.events.iter().map(|event| event.recipients).max().unwrap_or(0);
        self.events
            .iter()
            .map(|event| Said {
                what: &event.what,
                recipients,
                at_ms: event.at_ms,
                value: &event.value,
            })
            .collect()
    }

    /// Its own life (ms); 0: none.
    pub(crate) fn ttl_ms(&self) -> i64 {
        self.events.iter().map(|event| event.ttl_ms).max().unwrap_or(0)
    }
}

/// All input.
#[derive(Default)]
pub(crate) struct Inputs {
    pub(crate) subjects: BTreeMap<(Topic, String), Subject>,
    /// `lethe-source` of what cannot be read.
    pub(crate) garbage: Vec<String>,
    pub(crate) records: usize,
}

impl Inputs {
    pub(crate) fn read(bus: &Bus<'_>) -> Self {
        let mut inputs = Self::default();
        for topic in INPUTS {
            for record in bus.read(topic) {
                inputs.records += 1;
                inputs.add(bus, topic, &record);
            }
        }
        inputs
    }

    fn add(&mut self, bus: &Bus<'_>, topic: Topic, record: &Record) {
        let value = record.value.as_deref().unwrap_or_default();
        let decoded = match topic {
            "im.messages" => message(value),
            "im.profiles" => profile(value),
            _ => config(value),
        };
        let Some((tenant, key, event)) = decoded else {
            let source = format!("{}/{}/{}", bus.topic(topic), record.partition, record.offset);
            self.garbage.push(source);
            return;
        };
        let subject = self.subjects.entry((topic, key)).or_insert_with(|| Subject {
            tenant,
            partition: record.partition,
            events: Vec::new(),
        });
        subject.events.push(Event { offset: record.offset, ..event });
    }
}

type Decoded = Option<(String, String, Event)>;

fn event(what: What, at_ms: i64, value: &[u8]) -> Event {
    Event { offset: 0, what, at_ms, value: value.to_vec(), recipients: 0, ttl_ms: 0 }
}

fn message(value: &[u8]) -> Decoded {
    use v1::message_event::Event as E;
    let fields = v1::MessageEvent::decode(value).ok()?;
    let key = record_key(&[&fields.tenant, &fields.conversation, &fields.message]);
    let (mut recipients, mut ttl_ms) = (0, 0);
    let what = match fields.event? {
        E::Sent(sent) => {
            (recipients, ttl_ms) = (sent.recipients, sent.ttl_ms);
            What::Sent
        }
        E::Delivered(delivered) if delivered.all => What::Everyone,
        E::Delivered(delivered) => What::Delivered(delivered.recipient),
        E::Read(read) => What::Delivered(read.reader),
        E::Recalled(_) => What::Recalled,
        E::Edited(edited) => {
            recipients = edited.sent.as_ref().map_or(0, |sent| sent.recipients);
            What::Edited { at_ms: edited.edited_at_ms, carries: edited.sent.is_some() }
        }
    };
    let event = Event { recipients, ttl_ms, ..event(what, fields.sent_at_ms, value) };
    Some((fields.tenant, key, event))
}

fn profile(value: &[u8]) -> Decoded {
    let fields = v1::ProfileEvent::decode(value).ok()?;
    let key = record_key(&[&fields.tenant, &fields.user]);
    let what = match fields.event? {
        v1::profile_event::Event::Updated(_) => What::Set,
        v1::profile_event::Event::Removed(_) => What::Removed,
    };
    Some((fields.tenant, key, event(what, fields.updated_at_ms, value)))
}

fn config(value: &[u8]) -> Decoded {
    let fields = v1::ConfigEvent::decode(value).ok()?;
    let key = record_key(&[&fields.tenant, &fields.item]);
    let what = match fields.event? {
        v1::config_event::Event::Set(_) => What::Set,
        v1::config_event::Event::Removed(_) => What::Removed,
    };
    Some((fields.tenant, key, event(what, fields.updated_at_ms, value)))
}
