//! The codec beside prost: for any bytes both accept or both refuse, and read the same.

use lethe_engine::{
    Class, Event, MessageAction, MessageEvent, Recipient, Sent, VersionAction, VersionEvent,
};
use lethe_proto::v1;
use lethe_proto::v1::message_event::Event as Says;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use prost::bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::{DecodeError, TimeLimits, decode};

const LATEST_MS: i64 = 1_800_000_000_000;
const LIMITS: TimeLimits = TimeLimits { latest_ms: LATEST_MS };

/// The contract's limits over prost's types, written apart from the codec.
mod reference {
    use super::*;

    fn time(ms: i64) -> Result<i64, DecodeError> {
        let late = i128::from(ms) > i128::from(LATEST_MS) + 600_000;
        if ms < 0 || late { Err(DecodeError::Time) } else { Ok(ms) }
    }

    fn id_fits(id: &str, bytes_max: usize) -> Result<(), DecodeError> {
        if id.is_empty() || id.len() > bytes_max { Err(DecodeError::Id) } else { Ok(()) }
    }

    fn tenant_fits(tenant: &str) -> Result<(), DecodeError> {
        let reserved = tenant == "*" || tenant.get(..6) == Some("lethe:");
        if reserved { Err(DecodeError::Id) } else { id_fits(tenant, 64) }
    }

    fn sent(sent: &v1::Sent) -> Result<Sent<'_>, DecodeError> {
        let kind = v1::Kind::try_from(sent.kind).unwrap_or_default();
        if sent.ttl_ms < 0 {
            return Err(DecodeError::Time);
        }
        Ok(Sent {
            sender: &sent.sender,
            kind: u8::try_from(i32::from(kind)).unwrap_or(0),
            recipients: sent.recipients,
            ttl_ms: sent.ttl_ms,
        })
    }

    fn user_of(says: &Says) -> Option<&str> {
        match says {
            Says::Sent(sent) => Some(&sent.sender),
            Says::Delivered(delivered) if delivered.all => None,
            Says::Delivered(delivered) => Some(&delivered.recipient),
            Says::Read(read) => Some(&read.reader),
            Says::Recalled(recalled) => Some(&recalled.by),
            Says::Edited(edited) => edited.sent.as_ref().map(|sent| sent.sender.as_str()),
        }
    }

    fn action(says: &Says) -> Result<MessageAction<'_>, DecodeError> {
        Ok(match says {
            Says::Sent(body) => MessageAction::Sent(sent(body)?),
            Says::Delivered(body) if body.all => MessageAction::Delivered(Recipient::Everyone),
            Says::Delivered(body) => MessageAction::Delivered(Recipient::User(&body.recipient)),
            Says::Read(body) => MessageAction::Read(&body.reader),
            Says::Recalled(_) => MessageAction::Recalled,
            Says::Edited(body) => MessageAction::Edited {
                edited_at_ms: time(body.edited_at_ms)?,
                sent: body.sent.as_ref().map(sent).transpose()?,
            },
        })
    }

    pub(super) fn message(event: &v1::MessageEvent) -> Result<Event<'_>, DecodeError> {
        let says = event.event.as_ref().ok_or(DecodeError::NoEvent)?;
        tenant_fits(&event.tenant)?;
        id_fits(&event.conversation, 256)?;
        id_fits(&event.message, 256)?;
        user_of(says).map_or(Ok(()), |user| id_fits(user, 256))?;
        Ok(Event::Message(MessageEvent {
            tenant: &event.tenant,
            conversation: &event.conversation,
            message: &event.message,
            sent_at_ms: time(event.sent_at_ms)?,
            action: action(says)?,
        }))
    }

    pub(super) fn profile(event: &v1::ProfileEvent) -> Result<Event<'_>, DecodeError> {
        let action = match event.event.as_ref().ok_or(DecodeError::NoEvent)? {
            v1::profile_event::Event::Updated(_) => VersionAction::Set,
            v1::profile_event::Event::Removed(_) => VersionAction::Removed,
        };
        tenant_fits(&event.tenant)?;
        id_fits(&event.user, 256)?;
        let updated_at_ms = time(event.updated_at_ms)?;
        let (tenant, id) = (event.tenant.as_str(), event.user.as_str());
        Ok(Event::Profile(VersionEvent { tenant, id, updated_at_ms, action }))
    }

    pub(super) fn config(event: &v1::ConfigEvent) -> Result<Event<'_>, DecodeError> {
        let action = match event.event.as_ref().ok_or(DecodeError::NoEvent)? {
            v1::config_event::Event::Set(_) => VersionAction::Set,
            v1::config_event::Event::Removed(_) => VersionAction::Removed,
        };
        tenant_fits(&event.tenant)?;
        id_fits(&event.item, 256)?;
        let updated_at_ms = time(event.updated_at_ms)?;
        let (tenant, id) = (event.tenant.as_str(), event.item.as_str());
        Ok(Event::Config(VersionEvent { tenant, id, updated_at_ms, action }))
    }
}

/// Both readings of the same bytes, for each class.
fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let malformed = |_| DecodeError::Malformed;
    let message = v1::MessageEvent::decode(bytes).map_err(malformed);
    let expected = message.as_ref().map_err(|&error| error).and_then(reference::message);
    prop_assert_eq!(decode(Class::Message, bytes, LIMITS), expected);
    let profile = v1::ProfileEvent::decode(bytes).map_err(malformed);
    let expected = profile.as_ref().map_err(|&error| error).and_then(reference::profile);
    prop_assert_eq!(decode(Class::Profile, bytes, LIMITS), expected);
    let config = v1::ConfigEvent::decode(bytes).map_err(malformed);
    let expected = config.as_ref().map_err(|&error| error).and_then(reference::config);
    prop_assert_eq!(decode(Class::Config, bytes, LIMITS), expected);
    Ok(())
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => "[a-z]{1,8}",
        1 => Just(String::new()),
        1 => ".{1,90}",
        1 => Just("*".to_owned()),
        1 => Just("lethe:x".to_owned()),
        1 => (62..67_usize).prop_map(|n| "t".repeat(n)),
        1 => (254..259_usize).prop_map(|n| "i".repeat(n)),
    ]
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => 0..LATEST_MS,
        2 => (LATEST_MS + 599_990)..(LATEST_MS + 600_010),
        1 => -3..3_i64,
        1 => any::<i64>(),
    ]
}

fn sent() -> impl Strategy<Value = v1::Sent> {
    let kind = prop_oneof![4 => 0..12_i32, 1 => any::<i32>()];
    let recipients = prop_oneof![4 => 0..9_u32, 1 => any::<u32>()];
    let ttl_ms = prop_oneof![4 => 0..999_999_i64, 1 => any::<i64>()];
    (id(), kind, recipients, ttl_ms).prop_map(|(sender, kind, recipients, ttl_ms)| v1::Sent {
        sender,
        kind,
        recipients,
        ttl_ms,
    })
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        sent().prop_map(Says::Sent),
        (id(), any::<bool>())
            .prop_map(|(recipient, all)| Says::Delivered(v1::Delivered { recipient, all })),
        id().prop_map(|reader| Says::Read(v1::Read { reader })),
        id().prop_map(|by| Says::Recalled(v1::Recalled { by })),
        (time(), proptest::option::of(sent()))
            .prop_map(|(edited_at_ms, sent)| Says::Edited(v1::Edited { edited_at_ms, sent })),
    ]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let event = proptest::option::weighted(0.9, says());
    (id(), id(), id(), time(), event).prop_map(
        |(tenant, conversation, message, sent_at_ms, event)| {
            let event = v1::MessageEvent { tenant, conversation, message, sent_at_ms, event };
            event.encode_to_vec()
        },
    )
}

fn version() -> impl Strategy<Value = Vec<u8>> {
    (id(), id(), time(), any::<Option<bool>>()).prop_map(|(tenant, user, updated_at_ms, set)| {
        let event = set.map(|set| match set {
            true => v1::profile_event::Event::Updated(v1::Updated {}),
            false => v1::profile_event::Event::Removed(v1::Removed {}),
        });
        v1::ProfileEvent { tenant, user, updated_at_ms, event }.encode_to_vec()
    })
}

/// One field with any number and type, mostly well-formed, nested now and then.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let number = || prop_oneof![6 => 1..11_u32, 1 => 11..40_u32, 1 => 1..(1_u32 << 29)];
    let varint = (number(), any::<u64>()).prop_map(|(number, value)| {
        let mut bytes = Vec::new();
        encode_key(number, WireType::Varint, &mut bytes);
        encode_varint(value, &mut bytes);
        bytes
    });
    let fixed = (number(), any::<u64>(), any::<bool>()).prop_map(|(number, value, long)| {
        let mut bytes = Vec::new();
        let wire = if long { WireType::SixtyFourBit } else { WireType::ThirtyTwoBit };
        encode_key(number, wire, &mut bytes);
        if long {
            bytes.put_u64(value)
        } else {
            bytes.put_u32(7)
        }
        bytes
    });
    let text = (number(), id()).prop_map(|(number, text)| delimited(number, text.as_bytes()));
    prop_oneof![2 => varint, 1 => fixed, 2 => text].prop_recursive(3, 12, 4, move |inner| {
        let body = vec(inner, 0..4).prop_map(|fields| fields.concat());
        let nested = (number(), body.clone()).prop_map(|(number, body)| delimited(number, &body));
        let group = (number(), body, 0..9_u32).prop_map(|(number, body, slip)| {
            let mut bytes = Vec::new();
            encode_key(number, WireType::StartGroup, &mut bytes);
            bytes.extend(body);
            // Now and then the group is closed by another number.
            let end = if slip == 0 { number % 100 + 1 } else { number };
            encode_key(end, WireType::EndGroup, &mut bytes);
            bytes
        });
        prop_oneof![3 => nested, 1 => group]
    })
}

fn delimited(number: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(body.len() as u64, &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_valid_encoding_reads_the_same(bytes in prop_oneof![3 => message(), 1 => version()]) {
        agree(&bytes)?;
    }

    #[test]
    fn messages_written_one_after_the_other_merge_the_same(
        parts in vec(prop_oneof![2 => message(), 1 => field()], 1..4),
    ) {
        agree(&parts.concat())?;
    }

    #[test]
    fn any_fields_read_the_same(fields in vec(field(), 0..8)) {
        agree(&fields.concat())?;
    }

    #[test]
    fn mutated_bytes_read_the_same(
        mut bytes in message(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        for (at, byte) in changes {
            if let Some(place) = (!bytes.is_empty()).then(|| at.get_mut(&mut bytes)) {
                *place = byte;
            }
        }
        if let Some(cut) = cut.filter(|_| !bytes.is_empty()) {
            bytes.truncate(cut.index(bytes.len()));
        }
        agree(&bytes)?;
    }

    #[test]
    fn arbitrary_bytes_read_the_same(bytes in vec(any::<u8>(), 0..64)) {
        agree(&bytes)?;
    }
}
