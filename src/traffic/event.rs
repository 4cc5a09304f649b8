//! Events of `lethe.v1` as producers write them: lethe's fields from its schema, content as field 16.

use lethe_engine::Class;
use lethe_proto::v1;
use lethe_proto::v1::message_event::Event;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};

/// The first field that belongs to the producer.
const CONTENT_FIELD: u32 = 16;

/// A record for one of the input topics. Its value is content: it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// To which input topic.
    pub class: Class,
    /// What keeps all events of one thing on one partition: the conversation, the user or the item.
    pub key: String,
    /// The event.
    pub value: Vec<u8>,
}

/// What every event about a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageId {
    /// The app on the bus.
    pub tenant: String,
    /// The conversation.
    pub conversation: String,
    /// The message's own id.
    pub message: String,
    /// Unix ms.
    pub sent_at_ms: i64,
}

impl MessageId {
    /// Its record key on the outputs.
    #[must_use]
    pub fn record_key(&self) -> String {
        record_key(&[&self.tenant, &self.conversation, &self.message])
    }

    /// An event about it.
    #[must_use]
    pub fn event(&self, event: Event, content: &[u8]) -> Record {
        let fields = v1::MessageEvent {
            tenant: self.tenant.clone(),
            conversation: self.conversation.clone(),
            message: self.message.clone(),
            sent_at_ms: self.sent_at_ms,
            event: Some(event),
        };
        Record {
            class: Class::Message,
            key: record_key(&[&self.tenant, &self.conversation]),
            value: with_content(fields.encode_to_vec(), content),
        }
    }

    /// It reached a user.
    #[must_use]
    pub fn delivered(&self, recipient: String) -> Record {
        self.event(Event::Delivered(v1::Delivered { recipient, all: false }), b"")
    }

    /// It reached everyone.
    #[must_use]
    pub fn delivered_to_all(&self) -> Record {
        self.event(Event::Delivered(v1::Delivered { recipient: String::new(), all: true }), b"")
    }

    /// A user read it.
    #[must_use]
    pub fn read(&self, reader: String) -> Record {
        self.event(Event::Read(v1::Read { reader }), b"")
    }

    /// It was taken back.
    #[must_use]
    pub fn recalled(&self, by: String) -> Record {
        self.event(Event::Recalled(v1::Recalled { by }), b"")
    }
}

/// A profile's new content; none: it is gone.
#[must_use]
pub fn profile(tenant: &str, user: &str, updated_at_ms: i64, content: Option<&[u8]>) -> Record {
    use v1::profile_event::Event;
    let event = match content {
        Some(_) => Event::Updated(v1::Updated {}),
        None => Event::Removed(v1::Removed {}),
    };
    let fields = v1::ProfileEvent {
        tenant: tenant.to_owned(),
        user: user.to_owned(),
        updated_at_ms,
        event: Some(event),
    };
    Record {
        class: Class::Profile,
        key: record_key(&[tenant, user]),
        value: with_content(fields.encode_to_vec(), content.unwrap_or_default()),
    }
}

/// A config item's new content; none: it is gone.
#[must_use]
pub fn config(tenant: &str, item: &str, updated_at_ms: i64, content: Option<&[u8]>) -> Record {
    use v1::config_event::Event;
    let event = match content {
        Some(_) => Event::Set(v1::Set {}),
        None => Event::Removed(v1::Removed {}),
    };
    let fields = v1::ConfigEvent {
        tenant: tenant.to_owned(),
        item: item.to_owned(),
        updated_at_ms,
        event: Some(event),
    };
    Record {
        class: Class::Config,
        key: record_key(&[tenant, item]),
        value: with_content(fields.encode_to_vec(), content.unwrap_or_default()),
    }
}

/// The record key of ids on the outputs, as the contract writes it.
#[must_use]
pub fn record_key(parts: &[&str]) -> String {
    let encoded: Vec<_> =
        parts.iter().map(|part| part.replace('%', "%25").replace('/', "%2F")).collect();
    encoded.join("/")
}

fn with_content(mut value: Vec<u8>, content: &[u8]) -> Vec<u8> {
    if !content.is_empty() {
        encode_key(CONTENT_FIELD, WireType::LengthDelimited, &mut value);
        encode_varint(content.len() as u64, &mut value);
        value.extend_from_slice(content);
    }
    value
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn content_is_behind_what_lethe_reads() {
        let record = profile("t", "u", 7, Some(b"nickname"));
        let decoded = v1::ProfileEvent::decode(&*record.value).unwrap();
        assert_eq!((decoded.tenant.as_str(), decoded.updated_at_ms), ("t", 7));
        assert!(record.value.ends_with(b"\x82\x01\x08nickname"));
    }

    #[test]
    fn different_ids_never_share_a_key() {
        assert_eq!(record_key(&["t", "a/b%"]), "t/a%2Fb%25");
    }
}
