//! Events of `lethe.v1` as producers write them: lethe's fields from its schema, content behind field 16.

use lethe_proto::v1;
use lethe_proto::v1::message_event::Event;
use prost::Message as _;

/// Field 16, length-delimited: the first that belongs to the producer.
const CONTENT_TAG: [u8; 2] = [0x82, 0x01];

/// A message's identity, from which every event about it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The app on the bus.
    pub tenant: String,
    /// The conversation.
    pub conversation: String,
    /// The message's id.
    pub id: String,
    /// Its sent time (Unix ms).
    pub sent_at_ms: i64,
}

impl Message {
    /// A message's identity.
    #[must_use]
    pub fn new(tenant: &str, conversation: &str, id: &str, sent_at_ms: i64) -> Self {
        let [tenant, conversation, id] = [tenant, conversation, id].map(str::to_owned);
        Self { tenant, conversation, id, sent_at_ms }
    }

    /// Its record key on the outputs.
    #[must_use]
    pub fn key(&self) -> String {
        record_key(&[&self.tenant, &self.conversation, &self.id])
    }

    /// It was sent by `alice` to one recipient.
    #[must_use]
    pub fn sent(&self, content: &[u8]) -> Vec<u8> {
        self.sent_as(sent_to(1), content)
    }

    /// It was sent as described.
    #[must_use]
    pub fn sent_as(&self, sent: v1::Sent, content: &[u8]) -> Vec<u8> {
        self.event(Event::Sent(sent), content)
    }

    /// It reached a user.
    #[must_use]
    pub fn delivered(&self, recipient: &str) -> Vec<u8> {
        let recipient = recipient.to_owned();
        self.event(Event::Delivered(v1::Delivered { recipient, all: false }), b"")
    }

    /// It reached everyone.
    #[must_use]
    pub fn delivered_to_all(&self) -> Vec<u8> {
        let delivered = v1::Delivered { recipient: String::new(), all: true };
        self.event(Event::Delivered(delivered), b"")
    }

    /// A user read it.
    #[must_use]
    pub fn read(&self, reader: &str) -> Vec<u8> {
        self.event(Event::Read(v1::Read { reader: reader.to_owned() }), b"")
    }

    /// It was taken back.
    #[must_use]
    pub fn recalled(&self) -> Vec<u8> {
        self.event(Event::Recalled(v1::Recalled { by: "alice".to_owned() }), b"")
    }

    /// Its content was replaced.
    #[must_use]
    pub fn edited(&self, edited_at_ms: i64, content: &[u8]) -> Vec<u8> {
        self.event(Event::Edited(v1::Edited { edited_at_ms, sent: None }), content)
    }

    /// Its content was replaced, and the event carries the original's description.
    #[must_use]
    pub fn edited_carrying(&self, edited_at_ms: i64, sent: v1::Sent, content: &[u8]) -> Vec<u8> {
        self.event(Event::Edited(v1::Edited { edited_at_ms, sent: Some(sent) }), content)
    }

    /// An event without its `oneof`: something that lethe does not know.
    #[must_use]
    pub fn without_event(&self, content: &[u8]) -> Vec<u8> {
        self.encode(None, content)
    }

    fn event(&self, event: Event, content: &[u8]) -> Vec<u8> {
        self.encode(Some(event), content)
    }

    fn encode(&self, event: Option<Event>, content: &[u8]) -> Vec<u8> {
        let fields = v1::MessageEvent {
            tenant: self.tenant.clone(),
            conversation: self.conversation.clone(),
            message: self.id.clone(),
            sent_at_ms: self.sent_at_ms,
            event,
        };
        with_content(fields.encode_to_vec(), content)
    }
}

/// `alice` sends a text to this many users; 0: not stated.
#[must_use]
pub fn sent_to(recipients: u32) -> v1::Sent {
    v1::Sent { sender: "alice".to_owned(), kind: v1::Kind::Text.into(), recipients, ttl_ms: 0 }
}

/// A profile's new content.
#[must_use]
pub fn profile_updated(tenant: &str, user: &str, updated_at_ms: i64, content: &[u8]) -> Vec<u8> {
    let event = v1::profile_event::Event::Updated(v1::Updated {});
    profile(tenant, user, updated_at_ms, event, content)
}

/// A profile is gone.
#[must_use]
pub fn profile_removed(tenant: &str, user: &str, updated_at_ms: i64) -> Vec<u8> {
    let event = v1::profile_event::Event::Removed(v1::Removed {});
    profile(tenant, user, updated_at_ms, event, b"")
}

/// A config item's new content.
#[must_use]
pub fn config_set(tenant: &str, item: &str, updated_at_ms: i64, content: &[u8]) -> Vec<u8> {
    config(tenant, item, updated_at_ms, v1::config_event::Event::Set(v1::Set {}), content)
}

/// A config item is gone.
#[must_use]
pub fn config_removed(tenant: &str, item: &str, updated_at_ms: i64) -> Vec<u8> {
    let event = v1::config_event::Event::Removed(v1::Removed {});
    config(tenant, item, updated_at_ms, event, b"")
}

/// The record key of ids on the outputs: `%` and `/` inside a part are percent-encoded.
#[must_use]
pub fn record_key(parts: &[&str]) -> String {
    let parts: Vec<String> =
        parts.iter().map(|part| part.replace('%', "%25").replace('/', "%2F")).collect();
    parts.join("/")
}

fn profile(
    tenant: &str,
    user: &str,
    updated_at_ms: i64,
    event: v1::profile_event::Event,
    content: &[u8],
) -> Vec<u8> {
    let (tenant, user) = (tenant.to_owned(), user.to_owned());
    let fields = v1::ProfileEvent { tenant, user, updated_at_ms, event: Some(event) };
    with_content(fields.encode_to_vec(), content)
}

fn config(
    tenant: &str,
    item: &str,
    updated_at_ms: i64,
    event: v1::config_event::Event,
    content: &[u8],
) -> Vec<u8> {
    let (tenant, item) = (tenant.to_owned(), item.to_owned());
    let fields = v1::ConfigEvent { tenant, item, updated_at_ms, event: Some(event) };
    with_content(fields.encode_to_vec(), content)
}

fn with_content(mut fields: Vec<u8>, content: &[u8]) -> Vec<u8> {
    if !content.is_empty() {
        fields.extend_from_slice(&CONTENT_TAG);
        prost::encode_length_delimiter(content.len(), &mut fields).expect("a vector grows");
        fields.extend_from_slice(content);
    }
    fields
}
