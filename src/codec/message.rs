//! `lethe.v1.MessageEvent`, read in place.
//!
//! First the fields as they come (the last value wins; a repeated message of the same kind is merged,
//! another kind takes its place), then the limits.

use lethe_engine::{MessageAction, MessageEvent, Recipient, Sent};

use super::wire::Fields;
use super::{DecodeError, TimeLimits, limits};

/// The highest number of `lethe.v1.Kind` that lethe knows.
const KIND_MAX: u8 = 8;

/// A message's fields before the limits are checked.
#[derive(Default)]
struct Raw<'a> {
    tenant: &'a str,
    conversation: &'a str,
    message: &'a str,
    sent_at_ms: i64,
    event: Option<RawEvent<'a>>,
}

#[derive(Clone, Copy)]
enum RawEvent<'a> {
    Sent(RawSent<'a>),
    Delivered { recipient: &'a str, all: bool },
    Read { reader: &'a str },
    Recalled { by: &'a str },
    Edited { edited_at_ms: i64, sent: Option<RawSent<'a>> },
}

#[derive(Clone, Copy, Default)]
struct RawSent<'a> {
    sender: &'a str,
    kind: u32,
    recipients: u32,
    ttl_ms: i64,
}

pub(super) fn decode(value: &[u8], times: TimeLimits) -> Result<MessageEvent<'_>, DecodeError> {
    let raw = Raw::read(Fields::new(value))?;
    let event = raw.event.ok_or(DecodeError::NoEvent)?;
    // Ids before times, each in the order of the schema.
    let tenant = limits::tenant(raw.tenant)?;
    let conversation = limits::id(raw.conversation)?;
    let message = limits::id(raw.message)?;
    event.check_ids()?;
    let sent_at_ms = times.time(raw.sent_at_ms)?;
    let action = event.action(times)?;
    Ok(MessageEvent { tenant, conversation, message, sent_at_ms, action })
}

impl<'a> Raw<'a> {
    fn read(mut fields: Fields<'a>) -> Result<Self, DecodeError> {
        let mut raw = Self::default();
        while let Some(field) = fields.next()? {
            match field.number {
                1 => raw.tenant = fields.string(field)?,
                2 => raw.conversation = fields.string(field)?,
                3 => raw.message = fields.string(field)?,
                4 => raw.sent_at_ms = fields.int64(field)?,
                number @ 5..=9 => {
                    raw.event = Some(RawEvent::read(number, raw.event, fields.message(field)?)?);
                }
                _ => fields.skip(field)?,
            }
        }
        Ok(raw)
    }
}

impl<'a> RawEvent<'a> {
    /// Reads the event with this field number on top of `before`, if that is of the same kind.
    fn read(number: u32, before: Option<Self>, fields: Fields<'a>) -> Result<Self, DecodeError> {
        match number {
            5 => {
                let before = if let Some(Self::Sent(sent)) = before { Some(sent) } else { None };
                RawSent::read(before, fields).map(Self::Sent)
            }
            6 => Self::read_delivered(before, fields),
            7 => {
                let before = if let Some(Self::Read { reader }) = before { reader } else { "" };
                read_id(before, fields).map(|reader| Self::Read { reader })
            }
            8 => {
                let before = if let Some(Self::Recalled { by }) = before { by } else { "" };
                read_id(before, fields).map(|by| Self::Recalled { by })
            }
            _ => Self::read_edited(before, fields),
        }
    }

    fn read_delivered(before: Option<Self>, mut fields: Fields<'a>) -> Result<Self, DecodeError> {
        let (mut recipient, mut all) = match before {
            Some(Self::Delivered { recipient, all }) => (recipient, all),
            Some(
                Self::Sent(_) | Self::Read { .. } | Self::Recalled { .. } | Self::Edited { .. },
            )
            | None => ("", false),
        };
        while let Some(field) = fields.next()? {
            match field.number {
                1 => recipient = fields.string(field)?,
                2 => all = fields.bool(field)?,
                _ => fields.skip(field)?,
            }
        }
        Ok(Self::Delivered { recipient, all })
    }

    fn read_edited(before: Option<Self>, mut fields: Fields<'a>) -> Result<Self, DecodeError> {
        let (mut edited_at_ms, mut sent) = match before {
            Some(Self::Edited { edited_at_ms, sent }) => (edited_at_ms, sent),
            Some(
                Self::Sent(_) | Self::Delivered { .. } | Self::Read { .. } | Self::Recalled { .. },
            )
            | None => (0, None),
        };
        while let Some(field) = fields.next()? {
            match field.number {
                1 => edited_at_ms = fields.int64(field)?,
                2 => sent = Some(RawSent::read(sent, fields.message(field)?)?),
                _ => fields.skip(field)?,
            }
        }
        Ok(Self::Edited { edited_at_ms, sent })
    }

    fn check_ids(self) -> Result<(), DecodeError> {
        match self {
            Self::Sent(RawSent { sender: id, .. })
            | Self::Edited { sent: Some(RawSent { sender: id, .. }), .. }
            | Self::Delivered { recipient: id, all: false }
            | Self::Read { reader: id }
            | Self::Recalled { by: id } => limits::id(id).map(drop),
            Self::Delivered { all: true, .. } | Self::Edited { sent: None, .. } => Ok(()),
        }
    }

    fn action(self, times: TimeLimits) -> Result<MessageAction<'a>, DecodeError> {
        Ok(match self {
            Self::Sent(sent) => MessageAction::Sent(sent.check()?),
            Self::Delivered { all: true, .. } => MessageAction::Delivered(Recipient::Everyone),
            Self::Delivered { recipient, all: false } => {
                MessageAction::Delivered(Recipient::User(recipient))
            }
            Self::Read { reader } => MessageAction::Read(reader),
            Self::Recalled { .. } => MessageAction::Recalled,
            Self::Edited { edited_at_ms, sent } => MessageAction::Edited {
                edited_at_ms: times.time(edited_at_ms)?,
                sent: sent.map(RawSent::check).transpose()?,
            },
        })
    }
}

impl<'a> RawSent<'a> {
    fn read(before: Option<Self>, mut fields: Fields<'a>) -> Result<Self, DecodeError> {
        let mut sent = before.unwrap_or_default();
        while let Some(field) = fields.next()? {
            match field.number {
                1 => sent.sender = fields.string(field)?,
                2 => sent.kind = fields.uint32(field)?,
                3 => sent.recipients = fields.uint32(field)?,
                4 => sent.ttl_ms = fields.int64(field)?,
                _ => fields.skip(field)?,
            }
        }
        Ok(sent)
    }

    fn check(self) -> Result<Sent<'a>, DecodeError> {
        Ok(Sent {
            sender: self.sender,
            // A kind that a later schema adds is none that this one knows.
            kind: u8::try_from(self.kind).ok().filter(|&kind| kind <= KIND_MAX).unwrap_or(0),
            recipients: self.recipients,
            ttl_ms: limits::ttl(self.ttl_ms)?,
        })
    }
}

/// Reads a message of which field 1 is an id.
fn read_id<'a>(before: &'a str, mut fields: Fields<'a>) -> Result<&'a str, DecodeError> {
    let mut id = before;
    while let Some(field) = fields.next()? {
        match field.number {
            1 => id = fields.string(field)?,
            _ => fields.skip(field)?,
        }
    }
    Ok(id)
}
