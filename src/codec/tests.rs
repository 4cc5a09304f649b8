//! Each error of the contract in the users' words, and the semantics of repeated fields.
#![expect(clippy::unwrap_used, reason = "a failing test is the point")]

use lethe_engine::{Class, Event, MessageAction, MessageEvent, Recipient, Sent, VersionAction};
use lethe_proto::v1;
use lethe_proto::v1::message_event::Event as Says;
use prost::Message;

use super::{AHEAD_MS_MAX, DecodeError, TIME_MS_MAX, TimeLimits, decode};

const NOW_MS: i64 = 1_800_000_000_000;
const LIMITS: TimeLimits = TimeLimits { latest_ms: NOW_MS };

fn sent() -> v1::Sent {
    v1::Sent { sender: "alice".into(), kind: 1, recipients: 2, ttl_ms: 60_000 }
}

fn message(event: Says) -> v1::MessageEvent {
    v1::MessageEvent {
        tenant: "app".into(),
        conversation: "room".into(),
        message: "m1".into(),
        sent_at_ms: NOW_MS,
        event: Some(event),
    }
}

fn profile() -> v1::ProfileEvent {
    v1::ProfileEvent {
        tenant: "app".into(),
        user: "alice".into(),
        updated_at_ms: NOW_MS,
        event: Some(v1::profile_event::Event::Updated(v1::Updated {})),
    }
}

/// What becomes of a message: its action, or the word on the dead-letter topic.
fn check(bytes: &[u8]) -> Result<MessageEvent<'_>, &'static str> {
    match decode(Class::Message, bytes, LIMITS) {
        Ok(Event::Message(event)) => Ok(event),
        Ok(Event::Profile(_) | Event::Config(_)) => Err("another class"),
        Err(error) => Err(error.code()),
    }
}

/// The word on the dead-letter topic for a message changed like this, or "accepted".
fn word(change: impl FnOnce(&mut v1::MessageEvent)) -> &'static str {
    let mut event = message(Says::Sent(sent()));
    change(&mut event);
    check(&event.encode_to_vec()).err().unwrap_or("accepted")
}

fn word_of(event: Says) -> &'static str {
    word(|message| message.event = Some(event))
}

fn word_of_sent(change: impl FnOnce(&mut v1::Sent)) -> &'static str {
    let mut sent = sent();
    change(&mut sent);
    word_of(Says::Sent(sent))
}

#[test]
fn a_sent_message_is_read_whole() {
    let bytes = message(Says::Sent(sent())).encode_to_vec();
    let expected = MessageEvent {
        tenant: "app",
        conversation: "room",
        message: "m1",
        sent_at_ms: NOW_MS,
        action: MessageAction::Sent(Sent {
            sender: "alice",
            kind: 1,
            recipients: 2,
            ttl_ms: 60_000,
        }),
    };
    assert_eq!(check(&bytes), Ok(expected));
}

#[test]
fn an_id_that_is_missing_too_long_or_reserved() {
    assert_eq!(word(|m| m.tenant = "t".repeat(64)), "accepted");
    assert_eq!(word(|m| m.tenant = "t".repeat(65)), "id");
    assert_eq!(word(|m| m.tenant = "ä".repeat(33)), "id", "bytes count, not characters");
    assert_eq!(word(|m| m.tenant = String::new()), "id");
    assert_eq!(word(|m| m.tenant = "*".into()), "id");
    assert_eq!(word(|m| m.tenant = "**".into()), "accepted");
    assert_eq!(word(|m| m.tenant = "lethe:x".into()), "id");
    assert_eq!(word(|m| m.tenant = "lethe".into()), "accepted");
    assert_eq!(word(|m| m.conversation = String::new()), "id");
    assert_eq!(word(|m| m.conversation = "c".repeat(257)), "id");
    assert_eq!(word(|m| m.message = "m".repeat(256)), "accepted");
    assert_eq!(word(|m| m.message = "m".repeat(257)), "id");
    assert_eq!(word(|m| m.message = "*/%".into()), "accepted", "any characters");
}

#[test]
fn users_are_ids_too() {
    assert_eq!(word_of_sent(|s| s.sender = String::new()), "id");
    assert_eq!(word_of_sent(|s| s.sender = "u".repeat(257)), "id");
    assert_eq!(word_of(Says::Read(v1::Read::default())), "id");
    assert_eq!(word_of(Says::Recalled(v1::Recalled::default())), "id");
    assert_eq!(word_of(Says::Delivered(v1::Delivered::default())), "id");
    let everyone = v1::Delivered { recipient: String::new(), all: true };
    assert_eq!(word_of(Says::Delivered(everyone)), "accepted");
    let edited = v1::Edited { edited_at_ms: NOW_MS, sent: Some(v1::Sent::default()) };
    assert_eq!(word_of(Says::Edited(edited)), "id");
}

#[test]
fn a_time_out_of_range() {
    assert_eq!(word(|m| m.sent_at_ms = 0), "accepted", "the first moment of 1970");
    assert_eq!(word(|m| m.sent_at_ms = -1), "time");
    assert_eq!(word(|m| m.sent_at_ms = NOW_MS + AHEAD_MS_MAX), "accepted");
    assert_eq!(word(|m| m.sent_at_ms = NOW_MS + AHEAD_MS_MAX + 1), "time");
    assert_eq!(word(|m| m.sent_at_ms = i64::MAX), "time");
    assert_eq!(word_of_sent(|s| s.ttl_ms = -1), "time");
    assert_eq!(word_of_sent(|s| s.ttl_ms = i64::MAX), "accepted");
    let edited = |edited_at_ms| Says::Edited(v1::Edited { edited_at_ms, sent: None });
    assert_eq!(word_of(edited(NOW_MS)), "accepted");
    assert_eq!(word_of(edited(-1)), "time");
    assert_eq!(word_of(edited(NOW_MS + AHEAD_MS_MAX + 1)), "time");
}

#[test]
fn a_clock_at_the_end_of_time_reaches_no_further_than_9999() {
    let limits = TimeLimits { latest_ms: i64::MAX };
    assert_eq!(limits.time(TIME_MS_MAX), Ok(TIME_MS_MAX));
    assert_eq!(limits.time(TIME_MS_MAX + 1), Err(DecodeError::Time));
}

#[test]
fn a_message_that_says_nothing() {
    assert_eq!(check(&[]), Err("no-event"));
    assert_eq!(word(|m| m.event = None), "no-event");
    assert_eq!(word(|m| (m.event, m.tenant) = (None, String::new())), "no-event");
    // Field 10: an event that a later schema may add.
    let mut bytes = message(Says::Read(v1::Read::default())).encode_to_vec();
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(&[10 << 3 | 2, 0]);
    assert_eq!(check(&bytes), Err("no-event"));
}

#[test]
fn bytes_that_are_no_event() {
    assert_eq!(check(b"{\"tenant\": \"app\"}"), Err("decode"));
    assert_eq!(check(&[0xff; 16]), Err("decode"));
    assert_eq!(check(&[1 << 3 | 2, 1, 0xff]), Err("decode"), "not UTF-8");
    assert_eq!(check(&[1 << 3, 1]), Err("decode"), "a number where the tenant should be");
    assert_eq!(check(&[0x82, 0x01, 5, 0]), Err("decode"), "content that is cut off");
    let bytes = message(Says::Sent(sent())).encode_to_vec();
    assert_eq!(check(bytes.get(..bytes.len() - 1).unwrap()), Err("decode"));
}

#[test]
fn a_kind_of_a_later_schema_is_unspecified() {
    let kind = |kind| {
        let bytes = message(Says::Sent(v1::Sent { kind, ..sent() })).encode_to_vec();
        match check(&bytes).unwrap().action {
            MessageAction::Sent(sent) => sent.kind,
            MessageAction::Delivered(_)
            | MessageAction::Read(_)
            | MessageAction::Recalled
            | MessageAction::Edited { .. } => 255,
        }
    };
    assert_eq!((kind(8), kind(9), kind(257), kind(-1)), (8, 0, 0, 0));
}

#[test]
fn an_event_said_twice_is_merged_and_another_one_replaces_it() {
    let part = |event| {
        let event = v1::MessageEvent { event: Some(event), ..Default::default() };
        event.encode_to_vec()
    };
    let mut bytes = message(Says::Read(v1::Read { reader: "bob".into() })).encode_to_vec();
    bytes.extend(part(Says::Delivered(v1::Delivered { recipient: "carol".into(), all: false })));
    bytes.extend(part(Says::Delivered(v1::Delivered { recipient: String::new(), all: true })));
    let action = check(&bytes).unwrap().action;
    assert_eq!(action, MessageAction::Delivered(Recipient::Everyone));
    bytes.extend(part(Says::Read(v1::Read { reader: "dave".into() })));
    bytes.extend(part(Says::Read(v1::Read::default())));
    assert_eq!(check(&bytes).unwrap().action, MessageAction::Read("dave"));
}

#[test]
fn content_is_stepped_over_whatever_it_holds() {
    let mut bytes = message(Says::Recalled(v1::Recalled { by: "alice".into() })).encode_to_vec();
    bytes.extend_from_slice(&[0x82, 0x01, 4, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(check(&bytes).unwrap().action, MessageAction::Recalled);
}

#[test]
fn profiles_and_items() {
    let check = |class, bytes: &[u8]| match decode(class, bytes, LIMITS) {
        Ok(Event::Profile(event) | Event::Config(event)) => Ok(event.action),
        Ok(Event::Message(_)) => Err("another class"),
        Err(error) => Err(error.code()),
    };
    let bytes = profile().encode_to_vec();
    assert_eq!(check(Class::Profile, &bytes), Ok(VersionAction::Set));
    assert_eq!(check(Class::Config, &bytes), Ok(VersionAction::Set));
    let removed = v1::config_event::Event::Removed(v1::Removed {});
    let removed = v1::ConfigEvent { event: Some(removed), ..Default::default() };
    let both = [bytes, removed.encode_to_vec()].concat();
    assert_eq!(check(Class::Profile, &both), Ok(VersionAction::Removed), "the last one counts");
    let nameless = v1::ProfileEvent { user: String::new(), ..profile() }.encode_to_vec();
    assert_eq!(check(Class::Profile, &nameless), Err("id"));
    let early = v1::ProfileEvent { updated_at_ms: -1, ..profile() }.encode_to_vec();
    assert_eq!(check(Class::Profile, &early), Err("time"));
    let silent = v1::ProfileEvent { event: None, ..profile() }.encode_to_vec();
    assert_eq!(check(Class::Profile, &silent), Err("no-event"));
    assert_eq!(check(Class::Config, &[0xff]), Err("decode"));
}

#[test]
fn errors_carry_none_of_the_input() {
    let secret = "secret-secret";
    let mut event = message(Says::Sent(sent()));
    event.tenant = secret.repeat(6);
    let bytes = event.encode_to_vec();
    let error = decode(Class::Message, &bytes, LIMITS).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
}
